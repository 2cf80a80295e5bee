"""Commands that look at pairs of image and mask: evaluate alignment, evaluate quality."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from nerp.cli import options as o
from nerp.cli.output import answer, check_save, print_settings, progress, score_line

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
    from nerp.config import read_settings
    from nerp.evaluation.pair_settings import AlignmentConfig

    options = o.stated(pairs=pairs, mask_name=mask_name, masks_pattern=masks_pattern, inside=inside, ct=ct)
    options |= o.stated(labels=labels, patients=patients, probe_px=probe_px, skip_bad=skip_bad or None, seed=seed)
    settings = read_settings(AlignmentConfig, config, overrides or [], options=options)
    if dry_run:
        print_settings(settings)
        return
    from nerp.evaluation.alignment import evaluate_alignment

    check_save(save)
    finder = _finder(settings.ct, settings.labels)
    with progress("pairs") as tick:
        result = evaluate_alignment(settings, find_labels=finder, progress=tick)
    answer(result, as_json, _lines(result), save)


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
    return lines + [f"warning: {text}" for text in result["warnings"]]


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
    from nerp.config import read_settings
    from nerp.evaluation.pair_settings import QualityConfig

    options = o.stated(pairs=pairs, mask_name=mask_name, masks_pattern=masks_pattern, inside=inside, reject=reject)
    options |= o.stated(structure=structure, extractor=extractor, weights=weights, patients=patients, seed=seed)
    options |= o.stated(device=device)
    settings = read_settings(QualityConfig, config, overrides or [], options=options)
    if dry_run:
        print_settings(settings)
        return
    from nerp.evaluation.quality import evaluate_quality

    check_save(save)
    with progress("images") as tick:
        result = evaluate_quality(settings, progress=tick)
    lines = [f"{result['n_rejected']} of {result['n']} pairs are rejected"]
    lines += [f"{one['file_name']}: {_reasons(one['faults'])}" for one in result["pairs"]]
    answer(result, as_json, lines + [f"warning: {text}" for text in result["warnings"]], save)


def _reasons(faults: list[dict[str, str]]) -> str:
    return "; ".join(f"{fault['check']}: {fault['reason']}" for fault in faults)
