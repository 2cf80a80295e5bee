"""Commands about data: phantom, data."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from nerp.cli import options as o
from nerp.cli.output import answer, progress


def phantom(
    out: Annotated[Path, typer.Argument(help="Folder to write ct/, labels/, labels.csv and findings.csv into.")],
    count: Annotated[int, typer.Option(min=1, help="Number of phantoms.")] = 8,
    seed: Annotated[int, typer.Option(min=0, max=2**32 - 1, help="Seed of the first phantom.")] = 0,
    spacing_mm: Annotated[float, typer.Option(help="Voxel spacing, mm: 0.5 to 10.")] = 2.0,
    findings: Annotated[str, typer.Option(help="none, random, or a list such as effusion,nodule.")] = "none",
) -> None:
    """Make parametric thoraces: CTs in HU, label maps, and the findings they carry."""
    from nerp.phantom import write_phantoms

    with progress("phantoms") as tick:
        write_phantoms(out, count=count, seed=seed, spacing_mm=spacing_mm, findings=findings, progress=tick)
    print(out)


def data(
    root: Annotated[Path, typer.Argument(help="Folder that holds the public sets.")] = Path("data"),
    as_json: o.AsJson = False,
) -> None:
    """List the public sets: where to get them, what is expected, what is here."""
    from dataclasses import asdict

    from nerp.data.catalogue import survey

    rows = survey(root)
    lines = [f"{row.name:24} {row.state:11} {row.found}/{row.expected} {row.hint}" for row in rows]
    found = [{**asdict(row), "folder": row.folder and str(row.folder)} for row in rows]
    answer({"root": str(root), "sets": found}, as_json, lines)
