"""Writing pairs so that a kill at any moment loses none of them and leaves no half of one."""

from __future__ import annotations

import json
import os
from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path

import numpy as np

from nerp.data.images import png_bytes
from nerp.data.pairs import (
    DATASET,
    FILE_KEYS,
    FOLDERS,
    RECORDS,
    pair_path,
    read_dataset,
    read_records,
)
from nerp.errors import DataError
from nerp.files import check_folder, json_bytes, write_bytes


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
        check_folder(self.folder)
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
        return record is not None and all(pair_path(self.folder, record, key).is_file() for key in FILE_KEYS)

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
        for key, pixels in zip(FILE_KEYS, (image, mask), strict=True):
            write_bytes(pair_path(self.folder, record, key), png_bytes(pixels))
        if known is None:
            self._append(record)

    def finish(self, facts: dict) -> dict:
        """Put the records in canonical order and write `dataset.json` with the set's final `facts`."""
        ordered = sorted(self.records.values(), key=canonical_order)
        if list(self.records.values()) != ordered:
            write_bytes(self.folder / RECORDS, b"".join(_line(record) for record in ordered))
        dataset = {"settings": self.settings, "complete": True, **facts}
        write_bytes(self.folder / DATASET, json_bytes(dataset))
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
            write_bytes(path, b"")
        _cut_torn_line(path)
        self.records = {record["id"]: record for record in read_records(path)}

    def _check_settings(self) -> None:
        entries = [entry.name for entry in self.folder.iterdir() if not entry.name.startswith(".")]
        if not entries:
            self._made.append(self.folder / DATASET)
            self._write_opening()
            return
        dataset = read_dataset(self.folder)
        self._complete, there = dataset.get("complete", False), dataset["settings"]
        keys = sorted(key for key in there.keys() | self.settings.keys() if there.get(key) != self.settings.get(key))
        if keys:
            told = "; ".join(f"{key} is {there.get(key)!r} there, {self.settings.get(key)!r} here" for key in keys)
            raise DataError(f"{self.folder} holds pairs of other settings: {told}; repeat those or choose a new folder")

    def _write_opening(self) -> None:
        write_bytes(self.folder / DATASET, json_bytes({"settings": self.settings, "complete": False}))
        self._complete = False

    def _make_folder(self, folder: Path) -> None:
        if not folder.exists():
            folder.mkdir(parents=True)
            self._made.append(folder)

    def _withdraw(self) -> None:
        for path in reversed(self._made):
            with suppress(OSError):
                path.rmdir() if path.is_dir() else path.unlink()


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
