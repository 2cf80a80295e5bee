"""The command that compares what segmenters learn from: evaluate arms."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from nerp.cli import options as o
from nerp.cli.output import score_line
from nerp.cli.scoring import Asked, score

if TYPE_CHECKING:
    from nerp.experiments.settings import ArmsConfig
    from nerp.training.loop import Progress


def arms(
    overrides: o.Overrides = None,
    *,
    real: Annotated[Path | None, typer.Option(help="Folder of real images and masks to learn from.")] = None,
    synthetic: Annotated[Path | None, typer.Option(help="Folder of synthetic pairs to learn from.")] = None,
    test: Annotated[
        Path | None, typer.Option(help="Folder with images/ and masks/, or a public set: montgomery:FOLDER.")
    ] = None,
    which: Annotated[
        str | None,
        typer.Option("--arms", help="Some of real,synthetic,mixed,fine-tune,self-trained. Default: all but the last."),
    ] = None,
    unlabelled: o.Unlabelled = None,
    seeds: Annotated[int | None, typer.Option(min=1, help="Trainings of each arm. Default 3.")] = None,
    steps: Annotated[int | None, typer.Option(min=2, help="Steps of each training. Default 1000.")] = None,
    out: Annotated[Path | None, typer.Option("--out", "-o", help="Keep and continue the runs here.")] = None,
    mask_name: o.MaskName = None,
    masks_pattern: Annotated[
        str | None, typer.Option(help="How a test's mask is called, such as '{name}_lung.png'.")
    ] = None,
    spacing_mm: o.PixelSpacing = None,
    patients: o.Patients = None,
    skip_bad: o.SkipBad = False,
    seed: o.Seed = None,
    device: o.OnDevice = None,
    save: o.Save = None,
    config: o.ConfigFile = None,
    dry_run: o.DryRun = False,
    as_json: o.AsJson = False,
) -> None:
    """Train one segmenter on real, synthetic and both kinds of pairs, and tell what the synthetic ones add."""
    from nerp.experiments.settings import ArmsConfig

    options = o.stated(real=real, synthetic=synthetic, test=test, arms=which, seeds=seeds, segmenter__steps=steps)
    options |= o.stated(out=out, mask_name=mask_name, masks_pattern=masks_pattern, patients=patients, seed=seed)
    options |= o.stated(spacing_mm=o.pixel_spacing(spacing_mm), skip_bad=skip_bad or None, device=device)
    options |= o.stated(unlabelled__folders=[str(folder) for folder in unlabelled] if unlabelled else None)
    asked = Asked(overrides, config, save, dry_run, as_json)
    score(asked, ArmsConfig, options, evaluate=_arms, lines=arm_lines, task="steps")


def _arms(settings: ArmsConfig, tick: Progress) -> dict[str, Any]:
    from nerp.experiments.arms import evaluate_arms

    return evaluate_arms(settings, progress=tick)


def arm_lines(result: dict[str, Any]) -> list[str]:
    """Overlap scores of arms and of their differences for people, a line each."""
    unit = result["distance_unit"]
    rows = {**result["arms"], **result["differences"]}
    width = max(map(len, rows), default=0)
    return [
        f"{name:{width}}  dice {score_line(scores['dice'], 'value')}  hd95 {score_line(scores['hd95'], 'value')} {unit}"
        for name, scores in rows.items()
    ]
