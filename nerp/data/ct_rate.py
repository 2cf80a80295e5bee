"""CT-RATE as it is published: NIfTI volumes, and tables that tell their voxels, their HU, labels and reports."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from nerp.data.findings import finding_value
from nerp.data.indexed import plain_name, read_columns
from nerp.errors import DataError

NAME = re.compile(r"(?P<split>train|valid)_(?P<number>\d+)_(?P<scan>[a-z]+)_(?P<reconstruction>\d+)(?:\.nii(?:\.gz)?)?")
"""Split, patient, scan, reconstruction: `train_1_a_1.nii.gz`."""
EXPECTED = "VolumeName,XYSpacing,ZSpacing,RescaleSlope,RescaleIntercept"
REPORT = ("ClinicalInformation_EN", "Technique_EN", "Findings_EN", "Impressions_EN")
MOST_NAMED = 3

Table = dict[str, dict[str, str]]
"""Names of volumes, without ending, and what each column says; titles as they stand."""


@dataclass(frozen=True)
class CTRateName:
    """What the name of a volume tells.

    Args:
        split:          `train` or `valid`.
        patient:        such as `train_1`.
        scan:           `a`, `b`, ...: a patient may have come several times.
        reconstruction: from 1 on; all of one scan show the same moment.
    """

    split: str
    patient: str
    scan: str
    reconstruction: int

    @classmethod
    def of(cls, name: str) -> CTRateName:
        """What a name tells.

        Raises:
            DataError: no name of CT-RATE.
        """
        found = NAME.fullmatch(name)
        if found is None:
            raise DataError(
                f"{name} is no name of CT-RATE; expected split, patient, scan, reconstruction: train_1_a_1.nii.gz"
            )
        split, number, scan, reconstruction = found.groups()
        return cls(split, f"{split}_{number}", scan, int(reconstruction))


@dataclass(frozen=True)
class CTRateVolume:
    """A volume, and what the tables tell of it.

    Args:
        path:           of the file.
        name:           what its name tells.
        spacing_mm:     between voxels along the three index axes.
        slope:          HU of one stored number.
        intercept:      HU of the stored number 0.
        orientation:    (6,) directions in which the first and the second index grow, LPS; none where no table tells.
        position_mm:    (3,) LPS place of the first voxel; none where no table tells.
        labels:         findings by the table's titles: 1, 0, or None where it is not known.
        report:         by the table's titles, such as `Findings_EN`.
        metadata:       all that the metadata table says.
    """

    path: Path
    name: CTRateName
    spacing_mm: tuple[float, float, float]
    slope: float
    intercept: float
    orientation: tuple[float, ...] | None = None
    position_mm: tuple[float, ...] | None = None
    labels: Mapping[str, int | None] = field(default_factory=dict)
    report: Mapping[str, str] = field(default_factory=dict)
    metadata: Mapping[str, str] = field(default_factory=dict)

    @property
    def split(self) -> str:
        """`train` or `valid`."""
        return self.name.split

    @property
    def patient(self) -> str:
        """Such as `train_1`."""
        return self.name.patient

    @property
    def scan(self) -> str:
        """Such as `a`."""
        return self.name.scan

    @property
    def reconstruction(self) -> int:
        """From 1 on."""
        return self.name.reconstruction


def read_ct_rate_table(
    folder: str | Path,
    metadata: str | Path | Sequence[str | Path],
    *,
    labels: str | Path | Sequence[str | Path] = (),
    reports: str | Path | Sequence[str | Path] = (),
) -> list[CTRateVolume]:
    """The volumes below a folder, with what the published tables tell of each.

    Args:
        folder:   holds `train/train_1/train_1_a/train_1_a_1.nii.gz`, or any part of such a tree.
        metadata: `train_metadata.csv`, `validation_metadata.csv` or both.
        labels:   `train_predicted_labels.csv`, ...: `VolumeName` and a column a finding.
        reports:  `train_reports.csv`, ...: `VolumeName`, `ClinicalInformation_EN`, `Technique_EN`, `Findings_EN`,
            `Impressions_EN`.

    Returns:
        In order of split, patient's number, scan and reconstruction. Volumes without a row of labels or reports have
        none; rows without a volume are passed over, since few people hold all of it.

    Raises:
        DataError: no volume, one that the metadata does not list, names that are none, or damaged tables.
    """
    paths = sorted(path for path in Path(folder).rglob("*.nii*") if NAME.match(path.name))
    if not paths:
        raise DataError(f"{folder}: holds no volume of CT-RATE; expected files such as train_1_a_1.nii.gz below it")
    told, found, said = (_merged(tables) for tables in (metadata, labels, reports))
    unlisted = [path.name for path in paths if _stem(path.name) not in told]
    if unlisted:
        named = ", ".join(unlisted[:MOST_NAMED]) + (", ..." if len(unlisted) > MOST_NAMED else "")
        raise DataError(
            f"{len(unlisted)} of {len(paths)} volumes are not in the metadata ({named}), and nothing else tells their "
            "voxels and HU; give the metadata of their split, too"
        )
    _check_twice(paths)
    return sorted((_volume(path, told, found, said) for path in paths), key=_order)


def _order(volume: CTRateVolume) -> tuple[str, int, int, str, int]:
    name = volume.name
    return name.split, int(name.patient.rpartition("_")[2]), len(name.scan), name.scan, name.reconstruction


def _check_twice(paths: Sequence[Path]) -> None:
    """Refuse two files of one name: which is right is not for us to say."""
    first: dict[str, Path] = {}
    for path in paths:
        other = first.setdefault(_stem(path.name), path)
        if other != path:
            raise DataError(f"{other} and {path} have one name; keep one, such as the one of train_fixed")


def _volume(path: Path, told: Table, found: Table, said: Table) -> CTRateVolume:
    stem = _stem(path.name)
    row = {plain_name(title): value for title, value in told[stem].items()}
    across = _numbers(stem, "XYSpacing", row.get("xyspacing"), 2)
    (along,) = _numbers(stem, "ZSpacing", row.get("zspacing"), 1)
    (slope,), (intercept,) = (_numbers(stem, title, row.get(title.lower()), 1) for title in EXPECTED.split(",")[3:])
    orientation, position = row.get("imageorientationpatient"), row.get("imagepositionpatient")
    return CTRateVolume(
        path,
        CTRateName.of(path.name),
        (across[0], across[1], along),
        slope,
        intercept,
        orientation=_numbers(stem, "ImageOrientationPatient", orientation, 6) if orientation else None,
        position_mm=_numbers(stem, "ImagePositionPatient", position, 3) if position else None,
        labels={title: finding_value(f"the row of {stem}", title, cell) for title, cell in found.get(stem, {}).items()},
        report={title: said[stem].get(title, "") for title in REPORT} if stem in said else {},
        metadata=told[stem],
    )


def _numbers(name: str, title: str, cell: str | None, count: int) -> tuple[float, ...]:
    """The numbers of a cell such as `[0.7, 0.7]` or `1.5`."""
    try:
        numbers = tuple(float(part) for part in (cell or "").strip().strip("[]()").split(","))
    except ValueError:
        numbers = ()
    if len(numbers) != count:
        expected = "a number" if count == 1 else f"{count} numbers, such as [{', '.join(['0.7'] * count)}]"
        raise DataError(f"the metadata says {cell!r} of {title} of {name}; expected {expected}")
    return numbers


def _merged(tables: str | Path | Sequence[str | Path]) -> Table:
    """The rows of one or several CSVs; one volume in two rows that differ is an error."""
    merged: Table = {}
    for path in [tables] if isinstance(tables, str | Path) else tables:
        for name, row in _rows(Path(path)):
            if merged.setdefault(name, row) != row:
                raise DataError(f"{path} lists {name} twice, with other values; keep one row")
    return merged


def _rows(path: Path) -> list[tuple[str, dict[str, str]]]:
    titles, rows = read_columns(path, EXPECTED)
    plain = [plain_name(title) for title in titles]
    if "volumename" not in plain:
        raise DataError(f"{path} has columns {', '.join(titles) or 'none'}; expected VolumeName among them")
    key = plain.index("volumename")
    whole = [row + [""] * (len(titles) - len(row)) for row in rows if len(row) > key and row[key].strip()]
    others = [(at, title) for at, title in enumerate(titles) if at != key]
    return [(_stem(row[key].strip()), {title: row[at] for at, title in others}) for row in whole]


def _stem(name: str) -> str:
    return name.removesuffix(".gz").removesuffix(".nii")
