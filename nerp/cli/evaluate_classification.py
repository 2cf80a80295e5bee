"""The command that compares what classifiers learn from: evaluate classification."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from nerp.cli import options as o
from nerp.cli.output import score_line
from nerp.cli.scoring import Asked, score

if TYPE_CHECKING:
    from nerp.experiments.settings import ClassificationConfig
    from nerp.training.loop import Progress


def classification(
    overrides: o.Overrides = None,
    *,
    real: Annotated[Path | None, typer.Option(help="Folder of real images with findings to learn from.")] = None,
    synthetic: Annotated[Path | None, typer.Option(help="Folder of synthetic images with findings.")] = None,
    test: Annotated[Path | None, typer.Option(help="Folder of images of other patients, with findings.")] = None,
    folds: Annotated[
        int | None, typer.Option(min=2, help="Instead of --test: cross-validation of the real images, by patient.")
    ] = None,
    which: Annotated[
        str | None,
        typer.Option("--arms", help="Some of real,synthetic,mixed,fine-tune. Default: all that the folders allow."),
    ] = None,
    findings: Annotated[
        str | None, typer.Option(help="Such as effusion,cardiomegaly. Default: all that every folder tells.")
    ] = None,
    labels: Annotated[
        list[Path] | None,
        typer.Option(help="CSV of file,effusion,... or file,findings; again for more. Default: those in the folders."),
    ] = None,
    ct: Annotated[Path | None, typer.Option(help="Folder of the CTs whose findings a table lists.")] = None,
    network: Annotated[str | None, typer.Option(help="densenet121 or small. Default densenet121.")] = None,
    weights: Annotated[Path | None, typer.Option(help="safetensors file to begin with. Default: none.")] = None,
    seeds: Annotated[int | None, typer.Option(min=1, help="Trainings of each arm. Default 3.")] = None,
    steps: Annotated[int | None, typer.Option(min=2, help="Steps of each training. Default 1000.")] = None,
    out: Annotated[Path | None, typer.Option("--out", "-o", help="Keep and continue the runs here.")] = None,
    patients: o.Patients = None,
    skip_bad: o.SkipBad = False,
    seed: o.Seed = None,
    device: o.OnDevice = None,
    save: o.Save = None,
    config: o.ConfigFile = None,
    dry_run: o.DryRun = False,
    as_json: o.AsJson = False,
) -> None:
    """Train a classifier on real, synthetic and both kinds of images: AUROC of each finding, and what each arm adds."""
    from nerp.experiments.settings import ClassificationConfig

    options = o.stated(real=real, synthetic=synthetic, test=test, folds=folds, arms=which, findings=findings, ct=ct)
    options |= o.stated(labels=",".join(map(str, labels)) if labels else None, seeds=seeds, out=out, seed=seed)
    options |= o.stated(classifier__network=network, classifier__weights=weights, classifier__steps=steps)
    options |= o.stated(patients=patients, skip_bad=skip_bad or None, device=device)
    asked = Asked(overrides, config, save, dry_run, as_json)
    score(asked, ClassificationConfig, options, evaluate=_classification, lines=_lines, task="steps")


def _classification(settings: ClassificationConfig, tick: Progress) -> dict[str, Any]:
    from nerp.experiments.classification import evaluate_classification

    return evaluate_classification(settings, progress=tick)


def _lines(result: dict[str, Any]) -> list[str]:
    """A block an arm and a difference, a line a finding; then what is not scored."""
    lines = []
    for name, scores in {**result["arms"], **result["differences"]}.items():
        lines.append(name)
        for finding, one in scores.items():
            of = f"{one['n_findings']} findings" if finding == "mean" else f"{one['n_positive']} of {one['n']}"
            lines.append(f"  {finding:20} {score_line(one, 'value')}  {of}")
    return lines + [f"not scored: {finding}: {one['reason']}" for finding, one in result["not_scored"].items()]
