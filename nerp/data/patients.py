"""Which patient an image is of, as far as an index, a set's records or the names of known sets tell."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from nerp.data.beside import records_beside
from nerp.data.indexed import FILE_COLUMNS, column_of, plain_name, read_columns, told_of
from nerp.errors import DataError

PATIENT_COLUMNS = ("patient_id", "patientid", "patient", "subject_id", "subjectid", "subject")

NAME_OF_NIH = re.compile(r"(\d{8})_\d{3}")
"""Patient and follow-up, as in `00000013_005.png`: NIH ChestX-ray14, Wang 2017."""
FOLDER_OF_PATIENT = re.compile(r"patient\d{5,}|p\d{8}")
"""A folder a patient: CheXpert, Irvin 2019, and MIMIC-CXR, Johnson 2019."""


WAYS = ("index", "records", "names")
"""By which a patient is told, the surest first."""


@dataclass(frozen=True)
class Patients:
    """Whom images are of.

    Args:
        labels:  one an image; images of one label are of one patient, or rendered from one CT.
        by:      the surest way that told any: `index`, `records`, `names`, or `nothing`: every image stands alone.
        unknown: images of which nothing is told; each stands alone.
    """

    labels: tuple[str, ...]
    by: str
    unknown: int

    @property
    def count(self) -> int:
        """How many patients there are."""
        return len(set(self.labels))


def find_patients(files: Sequence[Path], *, index: dict[str, str] | None = None) -> Patients:
    """Whom the images of one set are of: each by the index where it lists it, else by its record, else by its name.

    A set's records tell the CT that an image was rendered from: one CT is one patient.

    Args:
        files: the images.
        index: names of files and the patients they are of, from `read_index`; it may list none of them, so that one
            index serves for one of two sets.

    Raises:
        DataError: records that cannot be read.
    """
    told = _told(files, index or {})
    labels = tuple(f"image {path}" if one is None else one[1] for path, one in zip(files, told, strict=True))
    ways = {one[0] for one in told if one is not None}
    return Patients(labels, next((way for way in WAYS if way in ways), "nothing"), told.count(None))


def patients_of(files: Sequence[Path], *, index: str | Path | None = None) -> dict[str, str] | None:
    """The images whose patient is known.

    Args:
        files: the images.
        index: CSV with a column of files and one of patients: `file,patient_id`.

    Returns:
        Paths as text and patients, such as `patient 13` or `CT 1f03…`; None where no patient is known.

    Raises:
        DataError: an index or records that cannot be read.
    """
    told = _told(files, {} if index is None else read_index(index))
    known = {str(path): one[1] for path, one in zip(files, told, strict=True) if one is not None}
    return known or None


def read_index(path: str | Path) -> dict[str, str]:
    """Names of image files and the patients they are of, from a CSV with a column of each.

    Args:
        path: of the CSV. Its columns are known by their usual names, such as `file` or `Image Index`, and
            `patient_id` or `Patient ID`.

    Raises:
        DataError: missing, no CSV, or without such columns.
    """
    given, rows = read_columns(path, "file,patient_id")
    titles = [plain_name(title) for title in given]
    file, patient = (column_of(titles, names) for names in (FILE_COLUMNS, PATIENT_COLUMNS))
    if file is None or patient is None:
        found = ", ".join(titles) or "none"
        raise DataError(f"{path} has columns {found}; expected one of files and one of patients: file,patient_id")
    whole = [row for row in rows if len(row) > max(file, patient) and row[file].strip() and row[patient].strip()]
    return {row[file].strip(): _patient(row[patient]) for row in whole}


def _told(files: Sequence[Path], index: dict[str, str]) -> list[tuple[str, str] | None]:
    """By which way which patient, of each image."""
    records = records_beside(files)
    return [_told_of(path, index, records.get(path)) for path in files]


def _told_of(path: Path, index: dict[str, str], record: dict[str, Any] | None) -> tuple[str, str] | None:
    found = zip(WAYS, (told_of(path, index), _by_record(record), _by_name(path)), strict=True)
    return next(((way, whose) for way, whose in found if whose is not None), None)


def _patient(identity: str) -> str:
    """`patient 13` of 13 and of 00000013 alike."""
    identity = identity.strip()
    return f"patient {identity.lstrip('0') or '0'}" if identity.isdecimal() else f"patient {identity}"


def _by_record(record: dict | None) -> str | None:
    if record is None:
        return None
    if record.get("patient_id"):
        return _patient(str(record["patient_id"]))
    return f"CT {record['ct_sha256']}" if record.get("ct_sha256") else None


def _by_name(path: Path) -> str | None:
    if named := NAME_OF_NIH.fullmatch(path.stem):
        return _patient(named[1])
    return next((_patient(part) for part in path.parts[:-1] if FOLDER_OF_PATIENT.fullmatch(part)), None)
