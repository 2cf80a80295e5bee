"""Which patient an image is of, as far as an index, a set's records or the files' names tell."""

from __future__ import annotations

import csv
import json
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from nerp.data.folders import RECORDS
from nerp.errors import DataError

PATIENT_COLUMNS = ("patient_id", "patientid", "patient", "subject_id", "subjectid", "subject")
FILE_COLUMNS = ("file", "file_name", "filename", "image", "image_index", "path", "image_path", "name", "id")
RECORD_KEYS = ("patient_id", "ct_sha256")

NAME_OF_NIH = re.compile(r"(\d{8})_\d{3}")
"""Wang 2017: patient and follow-up, `00000013_005.png`."""
FOLDER_OF_PATIENT = re.compile(r"patient\d{5,}|p\d{8}")
"""CheXpert (Irvin 2019) and MIMIC-CXR (Johnson 2019): a folder a patient."""


@dataclass(frozen=True)
class Patients:
    """Whom images are of.

    Args:
        labels:  one an image; images of one label are of one patient, or rendered from one CT.
        by:      what told it: `index`, `records`, `names`, or `nothing`, where every image stands alone.
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
    """Whom the images of one set are of: by the index where there is one, else its records, else the names.

    Args:
        files: the images.
        index: names of files and the patients they are of, from `read_index`; one that lists none of the files is
            passed over, so that one index serves for one of two sets.

    Raises:
        DataError: records that cannot be read.
    """
    ways = (("index", index or {}), ("records", _of_records(files)), ("names", _of_names(files)))
    for by, known in ways:
        told = [_lookup(path, known) for path in files]
        if any(told):
            labels = tuple(f"image {path}" if one is None else one for path, one in zip(files, told, strict=True))
            return Patients(labels, by, told.count(None))
    return Patients(tuple(f"image {path}" for path in files), "nothing", len(files))


def read_index(path: str | Path) -> dict[str, str]:
    """Names of image files and the patients they are of, from a CSV with a column of each.

    Args:
        path: of the CSV. Its columns are known by their usual names, such as `file` or `Image Index`, and
            `patient_id` or `Patient ID`.

    Raises:
        DataError: missing, no table, or without such columns.
    """
    path = Path(path)
    try:
        with open(path, newline="", encoding="utf-8-sig") as stream:
            table = csv.DictReader(stream)
            titles = {re.sub(r"\W+", "_", title.strip().lower()): title for title in table.fieldnames or [] if title}
            patient, file = _title(titles, PATIENT_COLUMNS), _title(titles, FILE_COLUMNS)
            if patient is None or file is None:
                found = ", ".join(titles.values()) or "none"
                raise DataError(
                    f"{path} has columns {found}; expected one of files and one of patients: file,patient_id"
                )
            rows = [(row[file], row[patient]) for row in table]
    except FileNotFoundError:
        raise DataError(
            f"no index at {path}: expected a CSV with columns file and patient_id; check the path"
        ) from None
    except (UnicodeDecodeError, csv.Error) as error:
        raise DataError(f"{path} is no CSV ({error}); expected columns file and patient_id") from error
    return {name.strip(): f"patient {whose.strip()}" for name, whose in rows if name and whose}


def _title(titles: dict[str, str], usual: Iterable[str]) -> str | None:
    return next((titles[name] for name in usual if name in titles), None)


def _lookup(path: Path, known: dict[str, str]) -> str | None:
    """By its path as known, by the last parts of it, or by its stem."""
    names = [str(path), *("/".join(path.parts[-depth:]) for depth in (3, 2, 1)), path.stem]
    return next((known[name] for name in names if name in known), None)


def _of_names(files: Sequence[Path]) -> dict[str, str]:
    found = {}
    for path in files:
        match = NAME_OF_NIH.fullmatch(path.stem)
        folder = next((part for part in path.parts[:-1] if FOLDER_OF_PATIENT.fullmatch(part)), None)
        if match or folder:
            found[str(path)] = f"patient {match[1] if match else folder}"
    return found


def _of_records(files: Sequence[Path]) -> dict[str, str]:
    """Of a set of pairs, or of an image folder with `metadata.jsonl`: the patient, or the CT it was rendered from."""
    found: dict[str, str] = {}
    folders = dict.fromkeys(folder for path in files for folder in (path.parent, path.parent.parent))
    for folder in folders:
        records = folder / RECORDS
        if not records.is_file():
            continue
        for line in records.read_bytes().split(b"\n")[:-1]:
            record = _record(line, records)
            whose = next((record[key] for key in RECORD_KEYS if record.get(key)), None)
            if whose is not None and record.get("file_name"):
                found[str(folder / str(record["file_name"]))] = f"patient {whose}"
    return found


def _record(line: bytes, path: Path) -> dict:
    try:
        record = json.loads(line or b"{}")
    except ValueError as error:
        raise DataError(f"{path} has a line that is no JSON ({error}); restore the file or delete that line") from error
    return record if isinstance(record, dict) else {}
