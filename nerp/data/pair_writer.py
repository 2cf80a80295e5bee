"""Writing pairs so that a kill at any moment loses none of them and leaves no half of one."""

from __future__ import annotations

import json
import os
from contextlib import ExitStack, suppress
from pathlib import Path
from types import TracebackType
from typing import Any

from nerp.data.pairs import DATASET, FOLDERS, OBJECTS, RECORDS, file_paths, read_dataset, read_records
from nerp.data.records import PairRecord
from nerp.errors import DataError
from nerp.files import check_folder, json_bytes, locked, remove_partial, write_bytes
from nerp.settings import dotted


def canonical_order(record: PairRecord) -> tuple[str, int]:
    """Pairs stand by the hash of their CT, then by view: the same order whoever wrote them first."""
    return record.ct_sha256, record.view_index


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

    def __init__(self, folder: str | Path, settings: dict[str, Any]):
        self.folder = Path(folder)
        self.settings = json.loads(json_bytes(settings))
        self.records: dict[str, PairRecord] = {}
        self._complete = False
        self._made: list[Path] = []
        self._lock = ExitStack()

    def __enter__(self) -> PairWriter:
        check_folder(self.folder)
        self._make_folder(self.folder)
        try:
            self._lock.enter_context(locked(self.folder))
        except BlockingIOError as error:
            raise DataError(
                f"another process is writing pairs into {self.folder}; wait for it or choose a new folder"
            ) from error
        try:
            self._open()
        except BaseException:
            self._withdraw()
            self._lock.close()
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if kind is not None and not self.records:
            self._withdraw()
        self._lock.close()

    def __contains__(self, pair_id: str) -> bool:
        """Whether a pair is committed and its files are still there."""
        record = self.records.get(pair_id)
        return record is not None and all(path.is_file() for path in file_paths(self.folder, record))

    def add(self, record: PairRecord, image_png: bytes, *mask_pngs: bytes) -> None:
        """Commit a pair: its files, then its record.

        A pair whose record stands but whose file was lost gets its file back, if it is the same.

        Args:
            record:    with the files' names.
            image_png: the image's file.
            mask_pngs: the masks' files and those of objects, in the order of the record.
        """
        known = self.records.get(record.id)
        if known is not None and known.hashes != record.hashes:
            raise DataError(
                f"a file of pair {record.id} was lost and renders differently here (made by {known.nerp}, "
                f"torch {known.torch}); synthesize into a new folder"
            )
        for path, data in zip(file_paths(self.folder, record), (image_png, *mask_pngs), strict=True):
            if not path.parent.is_dir():
                self._make_folder(path.parent)
            write_bytes(path, data)
        if known is None:
            self._append(record)

    def finish(self, facts: dict[str, Any]) -> dict[str, Any]:
        """Put the records in canonical order and write `dataset.json` with the set's final `facts`."""
        ordered = sorted(self.records.values(), key=canonical_order)
        if list(self.records.values()) != ordered:
            write_bytes(self.folder / RECORDS, b"".join(record.to_line() for record in ordered))
        dataset = {"settings": self.settings, "complete": True, **facts}
        write_bytes(self.folder / DATASET, json_bytes(dataset))
        return dataset

    def _append(self, record: PairRecord) -> None:
        if self._complete:
            self._write_opening()
        with open(self.folder / RECORDS, "ab") as file:
            file.write(record.to_line())
            file.flush()
            os.fsync(file.fileno())
        self.records[record.id] = record

    def _open(self) -> None:
        self._check_settings()
        for name in FOLDERS:
            self._make_folder(self.folder / name)
        inner = [path for name in (*FOLDERS, OBJECTS) for path in (self.folder / name).rglob("*") if path.is_dir()]
        for folder in (self.folder, *(self.folder / name for name in FOLDERS), *inner):
            remove_partial(folder)
        path = self.folder / RECORDS
        if not path.exists():
            self._made.append(path)
            write_bytes(path, b"")
        _cut_torn_line(path)
        self.records = {record.id: record for record in read_records(path)}

    def _check_settings(self) -> None:
        entries = [entry.name for entry in self.folder.iterdir() if not entry.name.startswith(".")]
        if not entries:
            self._made.append(self.folder / DATASET)
            self._write_opening()
            return
        dataset = read_dataset(self.folder)
        self._complete = dataset.get("complete", False)
        if "chosen" in dataset["settings"]:
            raise DataError(
                f"{self.folder} holds pairs chosen from another set, to which none can be added; synthesize into a new "
                "folder"
            )
        both = (dataset["settings"], self.settings)
        there, here = (dotted(settings, whole=("rule", "cameras")) for settings in both)
        keys = sorted(key for key in there.keys() | here.keys() if there.get(key) != here.get(key))
        if keys:
            if "cameras" in there:
                message = f"{self.folder} holds pairs of an older nerp: they still replay, but none can be added"
                raise DataError(f"{message}; synthesize into a new folder")
            message = "; ".join(f"{key} is {there.get(key)!r} there, {here.get(key)!r} here" for key in keys)
            raise DataError(f"{self.folder} holds pairs of other settings: {message}; repeat those or use a new folder")

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


def _cut_torn_line(path: Path) -> None:
    data = path.read_bytes()
    whole = data.rfind(b"\n") + 1
    if whole < len(data):
        with open(path, "r+b") as file:
            file.truncate(whole)
            os.fsync(file.fileno())
