"""Labelled pairs on disk: images, masks, one record a pair, and what the whole set is.

    PAIRS/images/ID.png     8 bit, the radiograph as displayed
    PAIRS/masks/ID.png      0 or 255, the same rays
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
from nerp.errors import DataError

RECORDS = "metadata.jsonl"
DATASET = "dataset.json"
FOLDERS = ("images", "masks")
FILE_KEYS = ("file_name", "mask_file_name")


def read_records(path: str | Path) -> list[dict]:
    """The records of a `metadata.jsonl` in file order; a torn last line, never committed, is left out.

    Raises:
        DataError: the file is missing, or a line of it is no record; the line is named.
    """
    path = Path(path)
    if not path.is_file():
        raise DataError(f"no records at {path}: expected the {RECORDS} that nerp synthesize writes")
    lines = path.read_bytes().split(b"\n")[:-1]
    return [_parse(line, path, number) for number, line in enumerate(lines, start=1)]


def _parse(line: bytes, path: Path, number: int) -> dict:
    try:
        record = json.loads(line)
    except ValueError as error:
        raise DataError(
            f"line {number} of {path} is no JSON ({error}); restore the file or delete that line"
        ) from error
    if not isinstance(record, dict) or not {"id", *FILE_KEYS} <= record.keys():
        raise DataError(f"line {number} of {path} is no pair's record: expected id, file_name, mask_file_name")
    return record


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


def pair_path(folder: str | Path, record: dict, key: str = "file_name") -> Path:
    """Where a record's image (`file_name`) or mask (`mask_file_name`) lies.

    Raises:
        DataError: the name leads out of the folder.
    """
    folder = Path(folder)
    path = folder / record[key]
    if not path.resolve().is_relative_to(folder.resolve()):
        raise DataError(f"record {record['id']} names {record[key]!r}, outside its folder; the records were altered")
    return path


def read_pair(folder: str | Path, record: dict) -> tuple[np.ndarray, np.ndarray]:
    """Image `(H, W)` uint8 and mask `(H, W)` bool of a record.

    Raises:
        DataError: a file is missing, is no image, or lies outside the folder.
    """
    image = np.rint(255 * read_grey(pair_path(folder, record))).astype(np.uint8)
    mask = read_binary(pair_path(folder, record, "mask_file_name"))
    if image.shape != mask.shape:
        raise DataError(f"pair {record['id']} has an image of {image.shape} and a mask of {mask.shape} pixels")
    return image, mask
