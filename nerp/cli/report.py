"""The command that makes a page of what there is: report."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from nerp.cli import options as o
from nerp.cli.output import print_settings, progress


def report(
    arguments: Annotated[
        list[str] | None,
        typer.Argument(
            help="A RUN, a STUDY, a PAIRS folder, or one of saved results; several folders, of images too, are "
            "compared. And settings, as key=value."
        ),
    ] = None,
    *,
    out: Annotated[Path | None, typer.Option("--out", "-o", help="HTML file. Default: FOLDER/report.html.")] = None,
    pairs: Annotated[int | None, typer.Option(min=1, help="Pairs that the gallery shows. Default 20.")] = None,
    worst: Annotated[
        int | None, typer.Option(min=0, help="Worst examples of each result that are shown. Default 8.")
    ] = None,
    images: Annotated[
        list[Path] | None,
        typer.Option(help="Folder of images that results name, such as the real ones; give it again for more."),
    ] = None,
    ct: Annotated[
        Path | None, typer.Option(help="CTs of the pairs: then views are rendered again in every mode.")
    ] = None,
    labels: Annotated[Path | None, typer.Option(help="Labels of the pairs, a file or a folder to search.")] = None,
    run: Annotated[Path | None, typer.Option(help="Run of `nerp train`, for learned radiographs of the views.")] = None,
    views: Annotated[int | None, typer.Option(min=1, help="Views that are rendered again. Default 2.")] = None,
    device: o.OnDevice = None,
    config: o.ConfigFile = None,
    dry_run: o.DryRun = False,
) -> None:
    """Write one HTML page about a run, a study, pairs or results, or compare several folders; it needs no network."""
    from nerp.config import read_settings
    from nerp.report import ReportConfig, write_report

    folders, overrides = o.folders_and_overrides(arguments)
    options = o.stated(out=out, pairs=pairs, worst=worst, ct=ct, labels=labels, run=run, views=views, device=device)
    options |= o.stated(folders=folders or None, images=[str(path) for path in images] if images else None)
    settings = read_settings(ReportConfig, config, overrides, options=options)
    if dry_run:
        print_settings(settings)
        return
    with progress("views") as tick:
        path = write_report(settings, progress=tick)
    print(path)
