"""The command that makes a table of segmenters: study."""

from __future__ import annotations

from enum import Enum
from pathlib import Path
from typing import Annotated, Any

import typer

from nerp.cli import options as o
from nerp.cli.output import answer, bars, check_save, print_settings, score_line


class Scale(str, Enum):
    """`small` is for two CPU cores, `full` for a GPU."""

    small = "small"
    full = "full"


class Part(str, Enum):
    """Of the real images with masks: which are scored."""

    dev = "dev"
    test = "test"


def study(
    config: Annotated[str, typer.Argument(help="YAML file of a study, or a preset: missing_annotations.")],
    overrides: o.Overrides = None,
    *,
    out: Annotated[Path | None, typer.Option("--out", "-o", help="Keep and continue everything here.")] = None,
    scale: Annotated[Scale, typer.Option(help="Take the study's settings, or those it has for full.")] = Scale.small,
    part: Annotated[Part | None, typer.Option(help="Score dev, while choosing, or test, once. Default dev.")] = None,
    only: Annotated[
        str | None, typer.Option(help="Cells to make, such as physics:0,physics:1. Default: all, in turn.")
    ] = None,
    seeds: Annotated[int | None, typer.Option(min=1, help="Trainings of each row.")] = None,
    seed: o.Seed = None,
    device: o.OnDevice = None,
    save: o.Save = None,
    dry_run: o.DryRun = False,
    as_json: o.AsJson = False,
) -> None:
    """Make sets of pairs, train the segmenters of a table on them, and score them on real images, cell by cell."""
    from nerp.config import read_settings
    from nerp.experiments.study.settings import StudyConfig

    options = o.stated(out=out, part=part, only=only, seeds=seeds, seed=seed, device=device)
    settings = read_settings(StudyConfig, config, overrides or [], options=options)
    if scale is Scale.full:
        settings = read_settings(StudyConfig, config, overrides or [], options={**settings.full, **options})
    if dry_run:
        print_settings(settings)
        return
    from nerp.experiments.study.run import run_study

    check_save(save)
    with bars() as move:
        result = run_study(settings, progress=move)
    answer(result, as_json, _lines(result), save)


def _lines(result: dict[str, Any]) -> list[str]:
    rows = {**result["arms"], **result["differences"]}
    width = max(map(len, rows), default=0)
    lines = [
        f"{name:{width}}  dice {score_line(scores['dice'], 'value')}  hd95 {score_line(scores['hd95'], 'value')} px"
        for name, scores in rows.items()
    ]
    return lines + [f"warning: {text}" for text in result["warnings"]]
