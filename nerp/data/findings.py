"""Which findings images show, from tables of images or of the CTs they are from: a column each, or one of names."""

from __future__ import annotations

import csv
import logging
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cache
from importlib.resources import files as package_files
from pathlib import Path

import numpy as np

from nerp.data.beside import records_beside
from nerp.data.indexed import FILE_COLUMNS, column_of, plain_name, read_columns, told_of
from nerp.data.source_files import volume_sha256
from nerp.errors import DataError
from nerp.formats import ITK, NIFTI, extension

LIST_COLUMNS = ("findings", "finding_labels")
"""Columns of names with `|` between them, as NIH ChestX-ray14 has."""
EXPECTED = "file,effusion,... with 0, 1 or nothing; or file,findings with names and | between"
VALUES = {"0": 0, "0.0": 0, "false": 0, "1": 1, "1.0": 1, "true": 1, "-1": None, "-1.0": None}
"""What a cell says: -1 is uncertain, as in CheXpert."""
EMPTY = ("", "nan", "none")
NOTHING_FOUND = "no_finding"

Row = dict[str, int | None]
"""Findings by their names: 1, 0, or None where it is not known."""

_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class FindingTable:
    """What a table tells.

    Args:
        path:  of its file.
        names: of the findings, as nerp calls them.
        rows:  by names of files: of images or of CTs.
    """

    path: Path
    names: tuple[str, ...]
    rows: dict[str, Row]


@cache
def vocabulary() -> dict[str, str]:
    """Plain names of findings in several data sets, such as `pleural_effusion`, and what nerp calls them."""
    text = (package_files("nerp.data") / "tables" / "findings.csv").read_text(encoding="utf-8")
    return {plain_name(row["name"]): row["finding"] for row in csv.DictReader(text.splitlines())}


def finding_name(title: str) -> str:
    """What nerp calls a finding: `effusion` of `Pleural Effusion`; one that it does not know by its plain name."""
    plain = plain_name(title)
    return vocabulary().get(plain, plain)


def find_tables(folder: str | Path, asked: Iterable[str] = ()) -> list[Path]:
    """The CSV files with findings in a folder; where it is called `images`, also in the one above.

    Args:
        folder: of images.
        asked:  findings that count though no vocabulary has them.
    """
    folder = Path(folder)
    places = [folder, folder.parent] if folder.name == "images" else [folder]
    found = [path for place in places if place.is_dir() for path in sorted(place.glob("*.csv"))]
    return [path for path in found if _is_table(path, set(asked))]


def _is_table(path: Path, asked: set[str]) -> bool:
    try:
        titles, _ = read_columns(path, EXPECTED)
    except DataError:
        return False
    plain = [plain_name(title) for title in titles]
    known = {*vocabulary().values(), *asked}
    tells = column_of(plain, LIST_COLUMNS) is not None or any(finding_name(title) in known for title in titles)
    return tells and column_of(plain, FILE_COLUMNS) is not None


def read_table(path: str | Path, asked: Sequence[str] = (), *, empty: int | None = None) -> FindingTable:
    """A table of findings: one column each with 0, 1, -1 or nothing; or one of names with `|` between them.

    Args:
        path:  of the CSV; a column of files is known by its usual names.
        asked: findings to read though no vocabulary has them.
        empty: what an empty cell says: None, not known; or 0.

    Raises:
        DataError: no CSV, no such columns, a cell that is neither, or a file listed twice and otherwise.
    """
    path = Path(path)
    titles, rows = read_columns(path, EXPECTED)
    plain = [plain_name(title) for title in titles]
    file, listed = column_of(plain, FILE_COLUMNS), column_of(plain, LIST_COLUMNS)
    columns = _columns(path, titles, asked)
    if file is None or not (columns or listed is not None):
        raise DataError(f"{path} has columns {', '.join(titles) or 'none'}; expected {EXPECTED}")
    filled = [row + [""] * (len(titles) - len(row)) for row in rows]  # spreadsheets leave empty last cells out
    whole = [(row[file].strip(), row) for row in filled if row[file].strip()]
    if columns:
        told = [
            (name, {key: finding_value(path, key, row[at], empty) for key, at in columns.items()})
            for name, row in whole
        ]
        return FindingTable(path, tuple(columns), _unique(path, told))
    assert listed is not None
    names = _listed_names(path, [row[listed] for _, row in whole], asked)
    return FindingTable(path, names, _unique(path, [(name, _of_list(row[listed], names)) for name, row in whole]))


def _columns(path: Path, titles: list[str], asked: Sequence[str]) -> dict[str, int]:
    """Finding -> column."""
    known = {*vocabulary().values(), *asked}
    columns: dict[str, int] = {}
    for at, title in enumerate(titles):
        name = finding_name(title)
        if name in known and columns.setdefault(name, at) != at:
            raise DataError(f"{path} has two columns of {name}, {titles[columns[name]]} and {title}; keep one")
    return columns


def finding_value(where: object, name: str, text: str, empty: int | None = None) -> int | None:
    """What a cell says of a finding: 1, 0, or None where it is not known.

    Args:
        where: the cell is, for the message.
        name:  of the finding.
        text:  of the cell.
        empty: what nothing means.

    Raises:
        DataError: it says something else.
    """
    cell = text.strip().lower()
    if cell in EMPTY:
        return empty
    if cell not in VALUES:
        raise DataError(f"{where} says {text!r} of {name}; expected 0, 1, nothing or -1, which is not known")
    return VALUES[cell]


def _split(cell: str) -> set[str]:
    return {finding_name(part) for part in cell.split("|") if part.strip()}


def _listed_names(path: Path, cells: list[str], asked: Sequence[str]) -> tuple[str, ...]:
    """The findings that occur in a column of names; a word is said on names that are none."""
    counts = Counter(name for cell in cells for name in _split(cell))
    known = {*vocabulary().values(), *asked}
    strange = sorted(counts.keys() - known - {NOTHING_FOUND})
    names = tuple(sorted(counts.keys() & known))
    if not names:
        raise DataError(f"{path} names no finding that is known; expected such as {', '.join(FIRST)} with | between")
    if strange:
        _log.warning("%s: %d names are no known findings and are passed over: %s", path, len(strange), strange[:5])
    return names


FIRST = ("Effusion", "Cardiomegaly")


def _of_list(cell: str, names: tuple[str, ...]) -> Row:
    """Of an empty cell nothing is known; what is not named is not there."""
    present = _split(cell)
    return {name: int(name in present) if present else None for name in names}


def _unique(path: Path, told: list[tuple[str, Row]]) -> dict[str, Row]:
    rows: dict[str, Row] = {}
    for name, row in told:
        if rows.setdefault(name, row) != row:
            raise DataError(f"{path} lists {name} twice, with other findings; keep one row")
    return {**_other_names(rows), **rows}


def _other_names(rows: dict[str, Row]) -> dict[str, Row]:
    """Rows by further names that mean one alone.

    Without the first folder, which in CheXpert's tables is that of the release; without a volume's ending, where a
    table of CTs serves for their radiographs, as in DRR-RATE.
    """
    found: dict[str, list[Row]] = {}
    for name, row in rows.items():
        for other in {name.partition("/")[2], name.removesuffix(".nii.gz")} - {"", name}:
            found.setdefault(other, []).append(row)
    return {name: of[0] for name, of in found.items() if len(of) == 1}


def findings_of(
    images: Sequence[Path], tables: Sequence[FindingTable], *, ct: str | Path | None = None
) -> list[Row | None]:
    """What tables tell of images; None of an image that none lists.

    An image that was rendered from a CT has the CT's findings where a table lists that: CTs are looked for beside the
    table, in `ct/` beside it and in `ct`, and known by the hash in the image's record.

    Args:
        images: files.
        tables: from `read_table`.
        ct:     folder of CTs.

    Raises:
        DataError: two tables tell otherwise of one image, or records cannot be read.
    """
    found = [_told(image, tables) for image in images]
    lacking = [image for image, row in zip(images, found, strict=True) if row is None]
    records = records_beside(lacking) if lacking else {}
    of_ct = _of_cts(tables, ct) if any(record.get("ct_sha256") for record in records.values()) else {}
    by_ct = {image: of_ct.get(str(record.get("ct_sha256"))) for image, record in records.items()}
    return [by_ct.get(image) if row is None else row for image, row in zip(images, found, strict=True)]


def _told(image: Path, tables: Sequence[FindingTable]) -> Row | None:
    rows = [(table.path, row) for table in tables if (row := told_of(image, table.rows)) is not None]
    merged: Row = {}
    for path, row in rows:
        for name, value in row.items():
            if merged.setdefault(name, value) != value:
                raise DataError(f"{path} and another table tell otherwise of {name} in {image.name}; keep one")
    return merged if rows else None


def _of_cts(tables: Sequence[FindingTable], ct: str | Path | None) -> dict[str, Row]:
    """The findings of the CTs that tables list, by the CTs' hashes."""
    found = {}
    for table in tables:
        places = [table.path.parent, table.path.parent / "ct", *([Path(ct)] if ct else [])]
        for name, row in table.rows.items():
            there = next((place / name for place in places if _is_ct(place / name)), None)
            if there is not None:
                found[volume_sha256(there)] = row
    return found


def _is_ct(path: Path) -> bool:
    return path.is_dir() or (path.is_file() and extension(path) in (*NIFTI, *ITK))


def label_matrix(rows: Sequence[Row], names: Sequence[str]) -> np.ndarray:
    """(N, K) float32: 1, 0, or NaN where it is not known, of N images and K findings.

    Args:
        rows:  of the images.
        names: of the findings.
    """
    values = [[row.get(name) for name in names] for row in rows]
    return np.array(values, dtype=np.float32).reshape(len(rows), len(names))  # None becomes NaN
