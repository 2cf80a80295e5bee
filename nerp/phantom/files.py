"""Phantoms on disk: CT, labels, label names, and a table of what is in each."""

from __future__ import annotations

import csv
import io
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from nerp.errors import DataError, UsageError
from nerp.files import write_text
from nerp.phantom.findings import check_findings, draw_findings
from nerp.phantom.labels import LABELS
from nerp.phantom.thorax import check_request, describe, thorax
from nerp.volume import write_volume


def write_phantoms(
    folder: str | Path,
    *,
    count: int,
    seed: int,
    spacing_mm: float = 2.0,
    findings: str | Sequence[str] = "none",
    progress: Callable[[int, int], None] | None = None,
) -> None:
    """Write phantoms `seed`, `seed + 1`, ... and their tables; run again, it keeps what is there and completes it.

    `folder/ct/phantom_0000.nii.gz` (HU, int16), `folder/labels/phantom_0000.nii.gz` (uint8, same grid),
    `folder/labels.csv` (value, name), `folder/findings.csv` (a row a phantom: the patient's numbers, and 0 or 1
    for each finding). A phantom is in the table once both its files are whole.

    Args:
        folder:     made if it is not there.
        count:      how many, >= 1.
        seed:       of the first, >= 0.
        spacing_mm: between voxel centres.
        findings:   `none`, `random` (each with probability 0.3), or names of `FINDINGS` (comma-separated, or a list).
        progress:   called as `progress(done, count)` after each phantom.

    Raises:
        UsageError: a count, seed, spacing or finding that cannot be.
        DataError:  the folder holds phantoms of other settings.
    """
    if count < 1:
        raise UsageError(f"count is {count}; expected at least 1 phantom")
    folder = Path(folder)
    requested = {_name(k): _row(k, seed + k, spacing_mm, _choose(findings, seed + k)) for k in range(count)}
    table = _read_table(folder / "findings.csv", requested)
    for part in ("ct", "labels"):
        (folder / part).mkdir(parents=True, exist_ok=True)
    write_text(folder / "labels.csv", _csv([{"value": value, "name": name} for value, name in LABELS.items()]))
    for done, (name, row) in enumerate(requested.items(), start=1):
        if name not in table or not all((folder / part / name).is_file() for part in ("ct", "labels")):
            _write_one(folder, name, int(row["seed"]), spacing_mm, _choose(findings, int(row["seed"])))
            table[name] = row
            write_text(folder / "findings.csv", _csv([table[key] for key in sorted(table)]))
        if progress is not None:
            progress(done, count)


def _name(index: int) -> str:
    return f"phantom_{index:04d}.nii.gz"


def _choose(findings: str | Sequence[str], seed: int) -> tuple[str, ...]:
    if findings == "none":
        return ()
    return draw_findings(seed) if findings == "random" else check_findings(findings)


def _row(index: int, seed: int, spacing_mm: float, findings: tuple[str, ...]) -> dict[str, str]:
    check_request(seed, spacing_mm)
    row = {"file": _name(index), **describe(seed, findings=findings), "spacing_mm": float(spacing_mm)}
    return {key: _text(value) for key, value in row.items()}


def _text(value: object) -> str:
    if isinstance(value, bool):
        return str(int(value))
    return f"{value:.4g}" if isinstance(value, float) else str(value)


def _write_one(folder: Path, name: str, seed: int, spacing_mm: float, findings: tuple[str, ...]) -> None:
    phantom = thorax(seed, spacing_mm=spacing_mm, findings=findings)
    write_volume(folder / "ct" / name, phantom.ct)
    write_volume(folder / "labels" / name, phantom.labels)


def _read_table(path: Path, requested: dict[str, dict]) -> dict[str, dict]:
    if not path.is_file():
        return {}
    with path.open(newline="", encoding="utf-8") as stream:
        table = {row.get("file", ""): row for row in csv.DictReader(stream)}
    for name, row in table.items():
        if name in requested and row != requested[name]:
            key = next(key for key in requested[name] if row.get(key) != requested[name][key])
            found = f"{key} {row.get(key)!r}, asked for {requested[name][key]!r}"
            raise DataError(f"{path.parent} already holds {name} with {found}; write into another folder")
    return table


def _csv(rows: list[dict[str, Any]]) -> str:
    text = io.StringIO()
    writer = csv.DictWriter(text, fieldnames=list(rows[0]), lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    return text.getvalue()
