"""Labelled pairs on disk: images, masks, one record a pair, and what the whole set is.

    PAIRS/images/ID.png     8 bit, the radiograph as displayed
    PAIRS/masks/ID.png      0 or 255, the same rays
    PAIRS/metadata.jsonl    one record a pair, `file_name` first; the record is the pair's commit
    PAIRS/dataset.json      settings, counts, label names, terms

A pair's files are durable before its record is appended, so a run killed at any moment leaves
only whole pairs behind; opened again with the same settings, the folder is completed.
"""

from __future__ import annotations

import io
import json
import os
from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path

import numpy as np

from nerp.errors import DataError
from nerp.files import replacing

RECORDS = "metadata.jsonl"
DATASET = "dataset.json"
FOLDERS = ("images", "masks")


def png_bytes(image: np.ndarray) -> bytes:
    """The PNG file of an 8 bit image `(H, W)` uint8; the same bytes for the same pixels."""
    from PIL import Image

    buffer = io.BytesIO()
    Image.fromarray(image).save(buffer, format="PNG")
    return buffer.getvalue()


def read_png(path: Path) -> np.ndarray:
    """The pixels `(H, W)` uint8 of an 8 bit PNG.

    Raises:
        DataError: the file is missing or is no image.
    """
    from PIL import Image

    try:
        with Image.open(path) as image:
            return np.asarray(image.convert("L"))
    except OSError as error:
        raise DataError(f"{path} cannot be read as an image: {error}") from error


def json_bytes(value) -> bytes:
    """Indented JSON, ready to be written; numbers keep every bit of a float64."""
    return (json.dumps(value, indent=2, allow_nan=False) + "\n").encode()


def write_durably(path: Path, data: bytes) -> None:
    """Write a file that is either whole or absent, even when the power goes."""
    with replacing(path) as temporary:
        temporary.write_bytes(data)


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
    if not isinstance(record, dict) or not {"id", "file_name", "mask_file_name"} <= record.keys():
        raise DataError(f"line {number} of {path} is no pair's record: expected id, file_name, mask_file_name")
    return record


def read_dataset(folder: str | Path) -> dict:
    """What `dataset.json` says of a folder of pairs.

    Raises:
        DataError: the file is missing or damaged.
    """
    path = Path(folder) / DATASET
    try:
        return json.loads(path.read_bytes())
    except OSError as error:
        raise DataError(f"{folder} holds no {DATASET}: it is no folder of pairs that nerp synthesize wrote") from error
    except ValueError as error:
        raise DataError(f"{path} is no JSON ({error}); restore it or synthesize into a new folder") from error


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
    image = read_png(pair_path(folder, record))
    mask = read_png(pair_path(folder, record, "mask_file_name")) > 127
    if image.shape != mask.shape:
        raise DataError(f"pair {record['id']} has an image of {image.shape} and a mask of {mask.shape} pixels")
    return image, mask


def canonical_order(record: dict) -> tuple:
    """Pairs stand by the hash of their CT, then by view: the same order whoever wrote them first."""
    return record["ct_sha256"], record["view_index"]


class PairWriter:
    """A folder of pairs being written; a context manager that one process may hold at a time.

    Args:
        folder:   PAIRS; made if absent. It must be empty or hold pairs of the same settings.
        settings: JSON values that decide every pair; kept in `dataset.json` and compared when the
                  folder is opened again.

    Raises:
        DataError: other settings (the differing keys are named), a folder of other things,
            damaged records, or another process writing there.
    """

    def __init__(self, folder: str | Path, settings: dict):
        self.folder = Path(folder)
        self.settings = json.loads(json_bytes(settings))
        self.records: dict[str, dict] = {}
        self._complete = False
        self._made: list[Path] = []

    def __enter__(self) -> PairWriter:
        if self.folder.exists() and not self.folder.is_dir():
            raise DataError(f"{self.folder} is a file; expected a folder for the pairs")
        self._make_folder(self.folder)
        self._lock = os.open(self.folder, os.O_RDONLY)
        try:
            self._open()
        except BaseException:
            self._withdraw()
            os.close(self._lock)
            raise
        return self

    def __exit__(self, kind, error, trace) -> None:
        if kind is not None and not self.records:
            self._withdraw()
        os.close(self._lock)

    def __contains__(self, pair_id: str) -> bool:
        """Whether a pair is committed and its files are still there."""
        record = self.records.get(pair_id)
        return record is not None and all(pair_path(self.folder, record, key).is_file() for key in _FILE_KEYS)

    def add(self, record: dict, image: np.ndarray, mask: np.ndarray) -> None:
        """Commit a pair: its files, then its record. Images are `(H, W)` uint8.

        A pair whose record stands but whose file was lost gets its file back, if it is the same.
        """
        known = self.records.get(record["id"])
        if known is not None and any(known[key] != record[key] for key in ("image_sha256", "mask_sha256")):
            raise DataError(
                f"a file of pair {record['id']} was lost and renders differently here (made by {known['nerp']}, "
                f"torch {known['torch']}); synthesize into a new folder"
            )
        for key, pixels in zip(_FILE_KEYS, (image, mask), strict=True):
            write_durably(pair_path(self.folder, record, key), png_bytes(pixels))
        if known is None:
            self._append(record)

    def finish(self, facts: dict) -> dict:
        """Put the records in canonical order and write `dataset.json` with the set's final `facts`."""
        ordered = sorted(self.records.values(), key=canonical_order)
        if list(self.records.values()) != ordered:
            write_durably(self.folder / RECORDS, b"".join(_line(record) for record in ordered))
        dataset = {"settings": self.settings, "complete": True, **facts}
        write_durably(self.folder / DATASET, json_bytes(dataset))
        return dataset

    def _append(self, record: dict) -> None:
        if self._complete:
            self._write_opening()
        with open(self.folder / RECORDS, "ab") as file:
            file.write(_line(record))
            file.flush()
            os.fsync(file.fileno())
        self.records[record["id"]] = record

    def _open(self) -> None:
        _hold(self._lock, self.folder)
        self._check_settings()
        for name in FOLDERS:
            self._make_folder(self.folder / name)
        _sweep([self.folder, *(self.folder / name for name in FOLDERS)])
        path = self.folder / RECORDS
        if not path.exists():
            self._made.append(path)
            write_durably(path, b"")
        _cut_torn_line(path)
        self.records = {record["id"]: record for record in read_records(path)}

    def _check_settings(self) -> None:
        entries = [entry.name for entry in self.folder.iterdir() if not entry.name.startswith(".")]
        if not entries:
            self._made.append(self.folder / DATASET)
            self._write_opening()
            return
        dataset = read_dataset(self.folder)
        self._complete, there = dataset.get("complete", False), dataset.get("settings", {})
        keys = sorted(key for key in there.keys() | self.settings.keys() if there.get(key) != self.settings.get(key))
        if keys:
            told = "; ".join(f"{key} is {there.get(key)!r} there, {self.settings.get(key)!r} here" for key in keys)
            raise DataError(f"{self.folder} holds pairs of other settings: {told}; repeat those or choose a new folder")

    def _write_opening(self) -> None:
        write_durably(self.folder / DATASET, json_bytes({"settings": self.settings, "complete": False}))
        self._complete = False

    def _make_folder(self, folder: Path) -> None:
        if not folder.exists():
            folder.mkdir(parents=True)
            self._made.append(folder)

    def _withdraw(self) -> None:
        for path in reversed(self._made):
            with suppress(OSError):
                path.rmdir() if path.is_dir() else path.unlink()


_FILE_KEYS = ("file_name", "mask_file_name")


def _line(record: dict) -> bytes:
    return (json.dumps(record, allow_nan=False) + "\n").encode()


def _hold(descriptor: int, folder: Path) -> None:
    try:
        import fcntl
    except ImportError:  # no such lock outside Unix; two writers are then the user's care
        return
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        raise DataError(
            f"another process is writing pairs into {folder}; wait for it or choose a new folder"
        ) from error


def _sweep(folders: Iterable[Path]) -> None:
    for folder in folders:
        for leftover in folder.glob(".*.partial*"):
            leftover.unlink()


def _cut_torn_line(path: Path) -> None:
    data = path.read_bytes()
    whole = data.rfind(b"\n") + 1
    if whole < len(data):
        with open(path, "r+b") as file:
            file.truncate(whole)
            os.fsync(file.fileno())
