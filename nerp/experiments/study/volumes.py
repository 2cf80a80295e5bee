"""The CTs of a study: listed in a CSV, laid side by side with their lungs as label 1."""

from __future__ import annotations

import csv
from pathlib import Path

import torch

from nerp.errors import DataError
from nerp.formats import extension
from nerp.label_maps import read_label_map
from nerp.label_names import select_labels
from nerp.volume import Volume, read_volume, write_volume

COLUMNS = ("name", "ct", "labels", "lungs")


def lay_out(listed: str | Path, out: str | Path, *, data: str | Path | None = None) -> tuple[Path, Path]:
    """Link the CTs of a list into one folder, and write their lungs into another; what is there is kept.

    Args:
        listed: CSV of columns `name`, `ct`, `labels`, and `lungs`: labels by value or name, commas between.
        out:    receives ct/NAME and labels/NAME.nii.gz.
        data:   folder that relative paths start from; none: that of the list.

    Returns:
        The folder of CTs and that of labels, of value 1 in lungs.

    Raises:
        DataError: a list without these columns or rows, or a file that is not there.
        VolumeError, UsageError: labels that cannot be read, or hold no such structure.
    """
    root = Path(listed).parent if data is None else Path(data)
    cts, labels = Path(out) / "ct", Path(out) / "labels"
    for row in _rows(Path(listed)):
        source = _there(root / row["ct"], listed)
        link = cts / f"{row['name']}{extension(source)}"
        cts.mkdir(parents=True, exist_ok=True)
        if not link.is_symlink():
            link.symlink_to(source.resolve())
        target = labels / f"{row['name']}.nii.gz"
        if not target.is_file():
            _write_lungs(_there(root / row["labels"], listed), row["lungs"], ct=read_volume(source), target=target)
    return cts, labels


def _rows(listed: Path) -> list[dict[str, str]]:
    with open(listed, newline="", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    if not rows or not set(COLUMNS) <= set(rows[0]):
        raise DataError(f"{listed} has columns {', '.join(rows[0]) if rows else 'none'}; expected {', '.join(COLUMNS)}")
    return rows


def _there(path: Path, listed: str | Path) -> Path:
    if not path.exists():
        raise DataError(f"{path}, listed in {listed}, is not there; correct the list, or say where its data is")
    return path


def _write_lungs(source: Path, lungs: str, *, ct: Volume, target: Path) -> None:
    found = read_label_map(source, ct)
    values = torch.tensor(select_labels(lungs, found.names), dtype=found.volume.values.dtype, device=ct.values.device)
    inside = torch.isin(found.volume.values, values).any(0)
    if not inside.any():
        raise DataError(f"{source} has no voxel of {lungs}; expected the lungs' labels, by value or name")
    target.parent.mkdir(parents=True, exist_ok=True)
    write_volume(target, Volume(inside[None].to(ct.values), ct.affine))
