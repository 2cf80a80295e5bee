"""The CTs of a study: listed in a CSV, laid side by side with their lungs as label 1."""

from __future__ import annotations

import csv
import json
from pathlib import Path
from typing import Any

import torch

from nerp.errors import DataError
from nerp.files import json_bytes, write_bytes
from nerp.formats import extension
from nerp.label_maps import read_label_map
from nerp.label_names import select_labels
from nerp.training.checkpoint import check_settings
from nerp.volume import Volume, read_volume, write_volume

COLUMNS = ("name", "ct", "labels", "lungs")


def lay_out(source: str | Path, out: str | Path, *, data: str | Path | None = None) -> tuple[Path, Path]:
    """Link the CTs of a list into one folder, and write their lungs into another; what is there is kept.

    Args:
        source: CSV of columns `name`, `ct`, `labels`, and `lungs`: labels by value or name, commas between.
        out:    receives ct/NAME and labels/NAME.nii.gz.
        data:   folder that relative paths start from; none: that of the list.

    Returns:
        The folder of CTs and that of labels, of value 1 in lungs.

    Raises:
        DataError: a list without these columns or rows, or a file that is not there.
        CheckpointError: what is there was made of another list.
        VolumeError, UsageError: labels that cannot be read, or hold no such structure.
    """
    root = Path(source).parent if data is None else Path(data)
    cts, labels = Path(out) / "ct", Path(out) / "labels"
    rows = listed(source)
    hold(Path(out) / "list.json", {row["name"]: [row[key] for key in COLUMNS[1:]] for row in rows})
    for folder in (cts, labels):
        folder.mkdir(parents=True, exist_ok=True)
    for row in rows:
        ct, link, target = root / row["ct"], cts / row["name"], labels / f"{row['name']}.nii.gz"
        link = link.with_name(link.name + extension(_there(ct, source)))
        if not link.is_symlink():
            link.symlink_to(ct.resolve())
        if not target.is_file():
            _write_lungs(_there(root / row["labels"], source), row["lungs"], ct=read_volume(ct), target=target)
    return cts, labels


def listed(source: str | Path) -> list[dict[str, str]]:
    """The rows of a list of CTs.

    Raises:
        DataError: a list without the columns of `COLUMNS`, or without rows.
    """
    with open(source, newline="", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    if not rows or not set(COLUMNS) <= set(rows[0]):
        raise DataError(f"{source} has columns {', '.join(rows[0]) if rows else 'none'}; expected {', '.join(COLUMNS)}")
    return rows


def hold(path: Path, stated: dict[str, Any]) -> None:
    """Keep what something is made by; refuse to go on by something else.

    Args:
        path:   the file that keeps it.
        stated: keys and JSON values.

    Raises:
        CheckpointError: the file keeps something else; the keys that differ are named.
    """
    stated = json.loads(json.dumps(stated))
    if path.is_file():
        check_settings(json.loads(path.read_bytes()), stated, path.with_suffix(""))
    write_bytes(path, json_bytes(stated))


def _there(path: Path, source: str | Path) -> Path:
    if not path.exists():
        raise DataError(f"{path}, listed in {source}, is not there; correct the list, or say where its data is")
    return path


def _write_lungs(source: Path, lungs: str, *, ct: Volume, target: Path) -> None:
    found = read_label_map(source, ct)
    values = torch.tensor(select_labels(lungs, found.names), dtype=found.volume.values.dtype, device=ct.values.device)
    inside = torch.isin(found.volume.values, values).any(0)
    if not inside.any():
        raise DataError(f"{source} has no voxel of {lungs}; expected the lungs' labels, by value or name")
    write_volume(target, Volume(inside[None].to(ct.values), ct.affine))
