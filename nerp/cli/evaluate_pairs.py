"""Commands that look at pairs of image and mask: evaluate alignment, evaluate quality."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from nerp.cli import options as o
from nerp.cli.output import score_line
from nerp.cli.scoring import Asked, score

if TYPE_CHECKING:
    from nerp.evaluation.pair_settings import AlignmentConfig, QualityConfig
    from nerp.training.loop import Progress

FOLDER = "Folder with images/ and masks/, a set of pairs, or a public set: montgomery:FOLDER."
MASK_NAME = "Which mask, where the images have several."
PATTERN = "How a mask is called, such as '{name}_lung.png'."
INSIDE = "The structure is dark, bright, or auto: as it fits the set better. Default auto."


def alignment(
    pairs: Annotated[Path, typer.Argument(help=FOLDER)],
    overrides: o.Overrides = None,
    *,
    mask_name: Annotated[str | None, typer.Option(help=MASK_NAME)] = None,
    masks_pattern: Annotated[str | None, typer.Option(help=PATTERN)] = None,
    inside: Annotated[str | None, typer.Option(help=INSIDE)] = None,
    probe_px: Annotated[
        int | None,
        typer.Option("--probe", help="Also shift and mirror the masks, by so many pixels, and tell if it is found."),
    ] = None,
    ct: Annotated[
        Path | None, typer.Option(help="CTs of the set, to tell how much of the lungs the masks leave out.")
    ] = None,
    labels: Annotated[Path | None, typer.Option(help="Labels of these CTs.")] = None,
    patients: o.Patients = None,
    skip_bad: o.SkipBad = False,
    seed: o.Seed = None,
    save: o.Save = None,
    config: o.ConfigFile = None,
    dry_run: o.DryRun = False,
    as_json: o.AsJson = False,
) -> None:
    """Tell whether masks lie on their images: a score from 0 to 1, the shift that would fit better, and mirroring."""
    from nerp.evaluation.pair_settings import AlignmentConfig

    options = o.stated(pairs=pairs, mask_name=mask_name, masks_pattern=masks_pattern, inside=inside, ct=ct)
    options |= o.stated(labels=labels, patients=patients, probe_px=probe_px, skip_bad=skip_bad or None, seed=seed)
    asked = Asked(overrides, config, save, dry_run, as_json)
    score(asked, AlignmentConfig, options, evaluate=_alignment, lines=_lines, task="pairs")


def _alignment(settings: AlignmentConfig, tick: Progress) -> dict[str, Any]:
    from nerp.evaluation.alignment import evaluate_alignment

    finder = _finder(settings.ct, settings.labels)
    return evaluate_alignment(settings, find_labels=finder, progress=tick)


def _finder(ct: str | None, labels: str | None) -> Any:
    """What finds the labels that a record names, where CTs and labels are given."""
    from nerp.errors import UsageError

    if ct is None and labels is None:
        return None
    if ct is None or labels is None:
        raise UsageError("give both --ct and --labels, or neither: the labels are laid on their CT")
    from nerp.synthesis.recorded import labels_finder

    return labels_finder(ct, labels)


def _lines(result: dict[str, Any]) -> list[str]:
    lines = [f"{name:10} {score_line(result[name], 'value')}" for name in ("alignment", "agreement", "dx", "dy")]
    lines.append(f"{'mirrored':10} {score_line(result['mirrored'], 'value')}  n={result['alignment']['n']}")
    for name, area in (result["separation"] or {}).items():
        if name in ("shifted", "mirrored"):
            lines.append(f"AUROC of masks {name} on purpose: {score_line(area, 'value')}")
    for name in ("lungs", "right", "left"):
        if name in result["uncovered"]:
            lines.append(f"outside the masks, {name}: {score_line(result['uncovered'][name], 'value')}")
    return lines


def quality(
    pairs: Annotated[Path, typer.Argument(help=FOLDER)],
    overrides: o.Overrides = None,
    *,
    mask_name: Annotated[str | None, typer.Option(help=MASK_NAME)] = None,
    masks_pattern: Annotated[str | None, typer.Option(help=PATTERN)] = None,
    structure: Annotated[
        str | None,
        typer.Option(help="The masks show lungs, other, or auto: what records tell, else lungs."),
    ] = None,
    inside: Annotated[str | None, typer.Option(help=INSIDE)] = None,
    extractor: Annotated[
        str | None,
        typer.Option(help="Look for outliers in its features, too, such as efficientnet-lite0. Default none."),
    ] = None,
    weights: Annotated[Path | None, typer.Option(help="The extractor's weights file.")] = None,
    reject: Annotated[
        Path | None,
        typer.Option(help="Write the pairs that are kept: copies into a new folder, or their list into FILE.jsonl."),
    ] = None,
    patients: o.Patients = None,
    seed: o.Seed = None,
    device: o.OnDevice = None,
    save: o.Save = None,
    config: o.ConfigFile = None,
    dry_run: o.DryRun = False,
    as_json: o.AsJson = False,
) -> None:
    """List pairs that cannot be right, with the reasons: blank images, cut lungs, misplaced masks, outliers."""
    from nerp.evaluation.pair_settings import QualityConfig

    options = o.stated(pairs=pairs, mask_name=mask_name, masks_pattern=masks_pattern, inside=inside, reject=reject)
    options |= o.stated(structure=structure, extractor=extractor, weights=weights, patients=patients, seed=seed)
    options |= o.stated(device=device)
    asked = Asked(overrides, config, save, dry_run, as_json)
    score(asked, QualityConfig, options, evaluate=_quality, lines=_faults)


def _quality(settings: QualityConfig, tick: Progress) -> dict[str, Any]:
    from nerp.evaluation.quality import evaluate_quality

    return evaluate_quality(settings, progress=tick)


def _faults(result: dict[str, Any]) -> list[str]:
    lines = [f"{result['n_rejected']} of {result['n']} pairs are rejected"]
    return lines + [f"{one['file_name']}: {_reasons(one['faults'])}" for one in result["pairs"]]


def _reasons(faults: list[dict[str, str]]) -> str:
    return "; ".join(f"{fault['check']}: {fault['reason']}" for fault in faults)
