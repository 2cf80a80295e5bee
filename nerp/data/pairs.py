"""Labelled pairs on disk: images, masks, one record a pair, and what the whole set is.

    PAIRS/images/ID.png     8 or 16 bit, the radiograph as displayed
    PAIRS/masks/ID.png      0 or 255, the same rays; of several masks PAIRS/masks/NAME/ID.png
    PAIRS/objects/ID/…      likewise each object on or in the patient, where there are any
    PAIRS/metadata.jsonl    one record a pair, `file_name` first; the record is the pair's commit
    PAIRS/dataset.json      settings, counts, label names, terms

A pair's files are durable before its record is appended, so a run killed at any moment leaves
only whole pairs behind; opened again with the same settings, the folder is completed.
"""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np

from nerp.data.images import read_binary, read_grey
from nerp.data.records import PairRecord
from nerp.errors import DataError

RECORDS = "metadata.jsonl"
DATASET = "dataset.json"
FOLDERS = ("images", "masks")
OBJECTS = "objects"
SETTINGS = "settings.yaml"
"""File beside pairs and single views that `--config` takes to make them again; it names no file."""


def read_records(path: str | Path) -> list[PairRecord]:
    """The records of a `metadata.jsonl` in file order; a torn last line, never committed, is left out.

    Raises:
        DataError: the file is missing, or a line of it is no record; the line is named.
    """
    path = Path(path)
    if not path.is_file():
        raise DataError(f"no records at {path}: expected the {RECORDS} that nerp synthesize writes")
    lines = path.read_bytes().split(b"\n")[:-1]
    return [_parse(line, path, number) for number, line in enumerate(lines, start=1)]


def _parse(line: bytes, path: Path, number: int) -> PairRecord:
    where = f"line {number} of {path}"
    try:
        values = json.loads(line)
    except ValueError as error:
        raise DataError(f"{where} is no JSON ({error}); restore the file or delete that line") from error
    return PairRecord.from_dict(values, where=where)


def read_dataset(folder: str | Path) -> dict:
    """What `dataset.json` says of a folder of pairs.

    Raises:
        DataError: the file is missing or damaged.
    """
    path = Path(folder) / DATASET
    try:
        dataset = json.loads(path.read_bytes())
    except OSError as error:
        raise DataError(
            f"{folder} holds no {DATASET}: it is no folder of pairs that nerp synthesize wrote; choose another"
        ) from error
    except ValueError as error:
        raise DataError(f"{path} is no JSON ({error}); restore it or synthesize into a new folder") from error
    if not isinstance(dataset, dict) or not isinstance(dataset.get("settings"), dict):
        raise DataError(f"{path} is not what nerp synthesize writes: it has no settings; choose another folder")
    return dataset


def image_path(folder: str | Path, record: PairRecord) -> Path:
    """Where a record's image lies.

    Args:
        folder: PAIRS.
        record: of one of its pairs.

    Raises:
        DataError: the name leads out of the folder.
    """
    return _inside(Path(folder), record.file_name, record)


def mask_path(folder: str | Path, record: PairRecord, mask: str | None = None) -> Path:
    """Where a record's mask lies.

    Args:
        folder: PAIRS.
        record: of one of its pairs.
        mask:   the mask's name, where there are several; None takes the first.

    Raises:
        DataError: the name leads out of the folder, or the record has no mask, or none of that name.
    """
    if not record.masks:
        raise DataError(f"record {record.id} names no mask; expected pairs of image and mask")
    named = {one.name: one for one in reversed(record.masks)}
    if mask is not None and mask not in named:
        raise DataError(f"record {record.id} has no mask {mask!r}; it has {', '.join(sorted(named)) or 'one'}")
    return _inside(Path(folder), (record.masks[0] if mask is None else named[mask]).file_name, record)


def file_paths(folder: str | Path, record: PairRecord) -> list[Path]:
    """Where a record's image, its masks and its objects' masks lie.

    Args:
        folder: PAIRS.
        record: of one of its pairs.

    Raises:
        DataError: a name leads out of the folder.
    """
    return [_inside(Path(folder), name, record) for name in record.file_names]


def _inside(folder: Path, name: str, record: PairRecord) -> Path:
    path = folder / name
    if not path.resolve().is_relative_to(folder.resolve()):
        raise DataError(f"record {record.id} names {name!r}, outside its folder; the records were altered")
    return path


def read_pair(folder: str | Path, record: PairRecord, mask: str | None = None) -> tuple[np.ndarray, np.ndarray]:
    """Image `(H, W)` uint8 and mask `(H, W)` bool of a record.

    Args:
        folder: PAIRS.
        record: of one of its pairs.
        mask:   the mask's name, where there are several; None takes the first.

    Raises:
        DataError: a file is missing, is no image, or lies outside the folder.
    """
    image = np.rint(255 * read_grey(image_path(folder, record))).astype(np.uint8)
    inside = read_binary(mask_path(folder, record, mask))
    if image.shape != inside.shape:
        raise DataError(f"pair {record.id} has an image of {image.shape} and a mask of {inside.shape} pixels")
    return image, inside
