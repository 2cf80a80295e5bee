"""Commands that score: evaluate segmentation, evaluate fidelity."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from nerp.cli import options as o
from nerp.cli.output import score_line
from nerp.cli.scoring import Asked, score

if TYPE_CHECKING:
    from nerp.evaluation.settings import FidelityConfig
    from nerp.training.loop import Progress


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
    from nerp.experiments.settings import SegmentationConfig

    def evaluate(settings: SegmentationConfig, tick: Progress) -> dict[str, Any]:
        from nerp.experiments.utility import evaluate_segmentation

        return evaluate_segmentation(settings, progress=tick)

    options = o.stated(test=test, train=train, weights=weights, out=out, seed=seed, device=device)
    options |= o.stated(segmenter__epochs=epochs, segmenter__minutes=minutes, mask_name=mask_name)
    options |= o.stated(masks_pattern=masks_pattern, skip_bad=skip_bad or None)
    options |= o.stated(spacing_mm=o.pixel_spacing(spacing_mm), patients=patients)
    asked = Asked(overrides, config, save, dry_run, as_json)
    score(asked, SegmentationConfig, options, evaluate=evaluate, lines=overlap_lines, task="steps")


def overlap_lines(result: dict[str, Any]) -> list[str]:
    """Overlap scores for people, a line each, distances with their unit."""
    units = dict.fromkeys(("hd", "hd95", "asd"), f" {result['distance_unit']}")
    names = ("dice", "jaccard", *units)
    return [f"{name:8} {score_line(result[name], 'mean')}{units.get(name, '')} n={result[name]['n']}" for name in names]


def fidelity(
    fake: Annotated[Path, typer.Argument(help="Folder of generated images.")],
    real: Annotated[Path, typer.Argument(help="Folder of real images, or statistics of one (.safetensors).")],
    overrides: o.Overrides = None,
    *,
    extractor: Annotated[
        list[str] | None,
        typer.Option(
            help="inception (default), efficientnet-lite0, squeezenet, dinov2 or timm:ARCHITECTURE with --weights, a "
            "TorchScript or ONNX file. Several: give it again, or separate by commas."
        ),
    ] = None,
    weights: Annotated[Path | None, typer.Option(help="The extractor's weights file.")] = None,
    patients: Annotated[
        Path | None, typer.Option(help="CSV with columns file and patient_id. Default: records, or names of files.")
    ] = None,
    save_statistics: Annotated[
        Path | None, typer.Option(help="Keep what is needed of the real images: FILE.safetensors, given as REAL later.")
    ] = None,
    statistics_without_features: Annotated[
        bool,
        typer.Option("--statistics-without-features", help="Keep mean and covariance alone, which serve FID only."),
    ] = False,
    skip_bad: o.SkipBad = False,
    download: Annotated[bool, typer.Option(help="Fetch missing weights; never done unasked.")] = False,
    seed: o.Seed = None,
    device: o.OnDevice = None,
    save: o.Save = None,
    config: o.ConfigFile = None,
    dry_run: o.DryRun = False,
    as_json: o.AsJson = False,
) -> None:
    """Compare two sets of images: FID, KID, IS, precision, recall, density, coverage; beside real against real."""
    from nerp.evaluation.settings import FidelityConfig

    options = o.stated(fake=fake, real=real, weights=weights, seed=seed, device=device, patients=patients)
    options |= o.stated(extractor=",".join(extractor) if extractor else None, save_statistics=save_statistics)
    options |= o.stated(download=download or None, skip_bad=skip_bad or None)
    options |= o.stated(statistics_features=False if statistics_without_features else None)
    asked = Asked(overrides, config, save, dry_run, as_json)
    score(asked, FidelityConfig, options, evaluate=_fidelity, lines=fidelity_lines)


def _fidelity(settings: FidelityConfig, tick: Progress) -> dict[str, Any]:
    from nerp.evaluation.extractors import load_extractors
    from nerp.evaluation.fidelity import evaluate_fidelity

    place: dict[str, Any] = {"weights": settings.weights, "download": settings.download, "device": settings.device}
    networks = load_extractors(settings.extractor, **place)
    sides = str(settings.fake), str(settings.real)
    return evaluate_fidelity(*sides, extractor=networks, settings=settings, progress=tick)


FIDELITY_NAMES = ("kid", "fid", "fid_infinity", "precision", "recall", "density", "coverage", "isc")


def fidelity_lines(result: dict[str, Any]) -> list[str]:
    """The result for people: a few lines an extractor, the floor beside each score."""
    lines = []
    for name, scores in result["extractors"].items():
        lines.append(f"{name}: {scores['n_fake']} against {scores['n_real']} images; go by {scores['primary']}")
        floor = scores["floor"] or {}
        for key in FIDELITY_NAMES:
            if scores[key]["value"] is not None:
                beside = floor.get(key, {}).get("value")
                of_real = "" if beside is None else f"  real against real {beside:.4f}"
                lines.append(f"  {key:12} {score_line(scores[key], 'value')}{of_real}")
    return lines
