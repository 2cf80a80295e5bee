"""Which patient an image is of, as far as an index, a set's records or the names of known sets tell."""

from __future__ import annotations

import csv
import re
from collections.abc import Sequence
from pathlib import Path

from nerp.data.beside import records_beside
from nerp.errors import DataError

FILE_COLUMNS = ("file", "file_name", "image", "image index")
PATIENT_COLUMNS = ("patient_id", "patient id", "patient", "subject_id")

NAME_OF_NIH = re.compile(r"(\d{8})_\d{3}")
"""Patient and follow-up, as in `00000013_005.png`: NIH ChestX-ray14, Wang 2017."""
FOLDER_OF_PATIENT = re.compile(r"patient\d{5}|p\d{8}")
"""A folder a patient: CheXpert, Irvin 2019, and MIMIC-CXR, Johnson 2019."""


def patients_of(files: Sequence[Path], *, index: str | Path | None = None) -> dict[str, str] | None:
    """Whom images are of: by the index where it lists them, else by their set's records, else by their names.

    A set's records tell the CT that an image was rendered from: one CT is one patient.

    Args:
        files: the images.
        index: CSV with a column of files and one of patients: `file,patient_id`.

    Returns:
        Paths as text and patients, such as `patient 13` or `CT 1f03…`, without the images whose patient nothing tells;
        None where no patient is known.

    Raises:
        DataError: an index or records that cannot be read.
    """
    listed = {} if index is None else read_patients(index)
    records = records_beside(files)
    found = {str(path): _by_index(path, listed) or _by_record(records.get(path)) or _by_name(path) for path in files}
    known = {path: patient for path, patient in found.items() if patient is not None}
    return known or None


def read_patients(path: str | Path) -> dict[str, str]:
    """Files as an index names them, and the patients they are of.

    Raises:
        DataError: missing, no CSV, or without a column of files and one of patients.
    """
    try:
        with open(path, newline="", encoding="utf-8-sig") as stream:
            rows = list(csv.reader(stream))
    except FileNotFoundError:
        raise DataError(f"no index at {path}: expected a CSV with columns file,patient_id; check the path") from None
    except (UnicodeDecodeError, csv.Error) as error:
        raise DataError(f"{path} is no CSV ({error}); expected columns file,patient_id") from error
    titles = [title.strip().lower() for title in rows[0]] if rows else []
    file, patient = (next((titles.index(name) for name in names if name in titles), None) for names in _COLUMNS)
    if file is None or patient is None:
        raise DataError(f"{path} has columns {', '.join(titles) or 'none'}; expected file,patient_id")
    whole = [row for row in rows[1:] if len(row) > max(file, patient) and row[file].strip() and row[patient].strip()]
    return {row[file].strip(): _patient(row[patient]) for row in whole}


_COLUMNS = (FILE_COLUMNS, PATIENT_COLUMNS)


def _patient(identity: str) -> str:
    """`patient 13` of 13 and of 00000013 alike."""
    identity = identity.strip()
    return f"patient {identity.lstrip('0') or '0'}" if identity.isdecimal() else f"patient {identity}"


def _by_index(path: Path, listed: dict[str, str]) -> str | None:
    """By the longest end of its path that is listed, or by its stem."""
    ends = ("/".join(path.parts[-depth:]) for depth in range(len(path.parts), 0, -1))
    return next((listed[name] for name in (str(path), *ends, path.stem) if name in listed), None)


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
