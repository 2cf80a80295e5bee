"""Some of a folder's pairs as a set of their own, or as an index; the source stays as it is."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from nerp.data.folders import RECORDS, Pairs
from nerp.data.pair_facts import facts_of
from nerp.data.pairs import DATASET, SETTINGS, file_paths, read_dataset, read_records
from nerp.data.records import PairRecord
from nerp.errors import DataError
from nerp.files import check_file, check_folder, json_bytes, sha256, write_bytes

INDEX = ".jsonl"


def check_target(target: str | Path, source: str | Path) -> None:
    """Make sure that chosen pairs can be written, before long work is done for it.

    Args:
        target: FILE.jsonl, or a folder that is not there yet, or empty.
        source: the folder that is chosen from.

    Raises:
        DataError: the target holds something, is the source's own, or is not writable.
    """
    target, source = Path(target), Path(source)
    if target.suffix == INDEX:
        check_file(target)
        if target.resolve() == (source / RECORDS).resolve():
            raise DataError(f"{target} is the set's own list; give another name: the source stays as it is")
        return
    check_folder(target)
    if target.is_dir() and any(target.iterdir()):
        raise DataError(f"{target} is not empty; give a new folder for the pairs that are kept")
    if target.resolve().is_relative_to(source.resolve()):
        raise DataError(f"{target} lies in {source}; give a folder outside of it: the source stays as it is")


def write_chosen(
    target: str | Path,
    chosen: Pairs,
    *,
    source: str | Path,
    records: Mapping[Path, PairRecord],
    why: dict[str, Any],
    facts: Mapping[str, Any],
) -> None:
    """Write some of a folder's pairs, whole or not at all.

    An index holds one line a pair, its record or the names of its files, as they stand in the source. A folder holds
    copies of the files, too, and its own `metadata.jsonl`, so that whatever reads sets of pairs reads it: with records
    the pairs can be replayed, and `dataset.json` tells the source's settings and terms, and counts of what was chosen.

    Args:
        target:  FILE.jsonl, or a folder.
        chosen:  the pairs, at least one.
        source:  the folder that they are in.
        records: of the images, by their paths; empty where there are none.
        why:     JSON values that say how they were chosen; `chosen` among the settings of a set's `dataset.json`.
        facts:   JSON values that are told beside its settings.

    Raises:
        DataError: see `check_target`, or nothing chosen.
    """
    target, source = Path(target), Path(source)
    check_target(target, source)
    if not chosen:
        raise DataError(f"no pair of {source} is chosen: nothing is written to {target}; choose less strictly")
    if target.suffix == INDEX:
        write_bytes(target, b"".join(_line(pair, source, records.get(pair[0])) for pair in chosen))
        return
    with _new_folder(target) as folder:
        lines = [_copied(pair, source, folder, records.get(pair[0])) for pair in chosen]
        write_bytes(folder / RECORDS, b"".join(lines))
        if (source / DATASET).is_file():
            kept = [records[image] for image, _ in chosen if image in records]
            write_bytes(folder / DATASET, json_bytes({**_dataset(source, kept, len(chosen), why), **facts}))
        if (source / SETTINGS).is_file():
            _copy([source / SETTINGS], [folder / SETTINGS])


def _copied(pair: tuple[Path, tuple[Path, ...]], source: Path, folder: Path, record: PairRecord | None) -> bytes:
    """Copy a pair's files; tells its line."""
    if record is None:
        return _line(_copied_plainly(pair, folder), folder, None)
    _copy(file_paths(source, record), file_paths(folder, record))
    return _line(pair, source, record)


def _line(pair: tuple[Path, tuple[Path, ...]], folder: Path, record: PairRecord | None) -> bytes:
    if record is not None:
        return record.to_line()
    image, masks = (_below(pair[0], folder), [_below(mask, folder) for mask in pair[1]])
    values = {"file_name": image, "mask_file_name": masks[0]} | ({"mask_file_names": masks} if len(masks) > 1 else {})
    return (json.dumps(values) + "\n").encode()


def _below(path: Path, folder: Path) -> str:
    return path.relative_to(folder).as_posix() if path.is_relative_to(folder) else str(path)


def _copied_plainly(pair: tuple[Path, tuple[Path, ...]], folder: Path) -> tuple[Path, tuple[Path, ...]]:
    """Copies in images/ and masks/; of several masks their union, as one."""
    image, masks = pair
    to_image = folder / "images" / image.name
    to_mask = folder / "masks" / (f"{image.stem}{masks[0].suffix}" if len(masks) == 1 else f"{image.stem}.png")
    _copy([image], [to_image])
    if len(masks) == 1:
        _copy(masks, [to_mask])
    else:
        write_bytes(to_mask, _union(masks))
    return to_image, (to_mask,)


def _union(masks: Sequence[Path]) -> bytes:
    from nerp.data.images import png_bytes, read_mask

    return png_bytes(read_mask(list(masks))[0, 0].numpy() > 0)


def _copy(sources: Sequence[Path], targets: Sequence[Path]) -> None:
    for one, other in zip(sources, targets, strict=True):
        other.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(one, other)


def _dataset(source: Path, records: Sequence[PairRecord], count: int, why: dict[str, Any]) -> dict[str, Any]:
    """The source's facts, its counts made anew; its settings with the choice, so that no pairs are added to the
    chosen."""
    dataset = read_dataset(source)
    counted = facts_of(records) if len(records) == count else {"counts": {**dataset.get("counts", {}), "pairs": count}}
    of = {"pairs": len(read_records(source / RECORDS)), "records_sha256": sha256(source / RECORDS)}
    return {**dataset, **counted, "settings": {**dataset["settings"], "chosen": {**why, "of": of}}}


@contextmanager
def _new_folder(target: Path) -> Iterator[Path]:
    """A folder that takes its name once it is whole."""
    target.parent.mkdir(parents=True, exist_ok=True)
    building = target.with_name(f".{os.getpid()}.partial.{target.name}")
    shutil.rmtree(building, ignore_errors=True)
    building.mkdir()
    try:
        yield building
        if target.is_dir():
            target.rmdir()  # empty: not every system replaces it
        os.replace(building, target)
    finally:
        shutil.rmtree(building, ignore_errors=True)
