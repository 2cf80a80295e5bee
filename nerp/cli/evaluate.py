"""Commands that score: evaluate segmentation, evaluate fidelity."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from nerp.cli import options as o
from nerp.cli.output import answer, check_save, print_settings, progress, score_line


def segmentation(
    overrides: o.Overrides = None,
    *,
    test: Annotated[
        Path | None, typer.Option(help="Folder with images/ and masks/, or a public set: montgomery:FOLDER.")
    ] = None,
    train: Annotated[Path | None, typer.Option(help="Folder of pairs to learn from.")] = None,
    weights: Annotated[Path | None, typer.Option(help="segmenter.safetensors of an earlier run, instead.")] = None,
    epochs: Annotated[int | None, typer.Option(min=1, help="Passes over the pairs; default: as many as fit.")] = None,
    minutes: Annotated[float | None, typer.Option(help="Limit of the training time. Default 10.")] = None,
    out: Annotated[Path | None, typer.Option("--out", "-o", help="Keep weights, scores and predictions here.")] = None,
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
    """Train a U-Net on pairs, score it on other masks: Dice, Jaccard, HD, HD95, ASD."""
    from nerp.config import read_settings
    from nerp.experiments.utility import SegmentationConfig, evaluate_segmentation

    options = o.stated(test=test, train=train, weights=weights, out=out, seed=seed, device=device)
    options |= o.stated(segmenter__epochs=epochs, segmenter__minutes=minutes, mask_name=mask_name)
    options |= o.stated(masks_pattern=masks_pattern, skip_bad=skip_bad or None)
    options |= o.stated(spacing_mm=o.pixel_spacing(spacing_mm), patients=patients)
    settings = read_settings(SegmentationConfig, config, overrides or [], options=options)
    if dry_run:
        print_settings(settings)
        return
    check_save(save)
    with progress("steps") as tick:
        result = evaluate_segmentation(settings, progress=tick)
    answer(result, as_json, overlap_lines(result), save)


def overlap_lines(result: dict[str, Any]) -> list[str]:
    """Overlap scores for people, a line each, distances with their unit, and the warnings."""
    units = dict.fromkeys(("hd", "hd95", "asd"), f" {result['distance_unit']}")
    names = ("dice", "jaccard", *units)
    lines = [
        f"{name:8} {score_line(result[name], 'mean')}{units.get(name, '')} n={result[name]['n']}" for name in names
    ]
    return lines + [f"warning: {text}" for text in result["warnings"]]


def fidelity(
    fake: Annotated[Path, typer.Argument(help="Folder of generated images.")],
    real: Annotated[Path, typer.Argument(help="Folder of real images.")],
    overrides: o.Overrides = None,
    *,
    extractor: Annotated[
        str | None,
        typer.Option(help="inception, efficientnet-lite0, or a TorchScript file. Default inception."),
    ] = None,
    weights: Annotated[Path | None, typer.Option(help="The extractor's weights file.")] = None,
    skip_bad: o.SkipBad = False,
    download: Annotated[bool, typer.Option(help="Fetch missing weights; never done unasked.")] = False,
    seed: o.Seed = None,
    device: o.OnDevice = None,
    save: o.Save = None,
    config: o.ConfigFile = None,
    dry_run: o.DryRun = False,
    as_json: o.AsJson = False,
) -> None:
    """Compare two sets of images: IS, FID, KID."""
    from nerp.config import read_settings
    from nerp.evaluation.settings import FidelityConfig

    options = o.stated(fake=fake, real=real, extractor=extractor, weights=weights, seed=seed, device=device)
    options |= o.stated(download=download or None, skip_bad=skip_bad or None)
    settings = read_settings(FidelityConfig, config, overrides or [], options=options)
    if dry_run:
        print_settings(settings)
        return
    from nerp.evaluation.extractors import load_extractor
    from nerp.evaluation.fidelity import evaluate_fidelity

    check_save(save)
    loaded = load_extractor(
        settings.extractor, weights=settings.weights, download=settings.download, device=settings.device
    )
    numbers: dict[str, Any] = {"seed": settings.seed, "n_resamples": settings.n_resamples}
    handling: dict[str, Any] = {"skip_bad": settings.skip_bad, "extractor": loaded}
    with progress("images") as tick:
        result = evaluate_fidelity(str(settings.fake), str(settings.real), progress=tick, **handling, **numbers)
    result["settings"] = numbers
    names = [name for name in ("fid", "kid", "isc") if result[name]["value"] is not None]
    lines = [f"{name:8} {score_line(result[name], 'value')}" for name in names]
    answer(result, as_json, lines + [f"warning: {text}" for text in result["warnings"]], save)
