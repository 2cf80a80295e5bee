"""The worth of labelled pairs: a segmenter learns on them and is scored on other images and masks."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch

from nerp.data.images import find_pairs, png_bytes, read_image, read_mask
from nerp.errors import DataError, UsageError
from nerp.evaluation.bootstrap import mean_interval
from nerp.evaluation.overlap import METRICS, overlap
from nerp.files import check_folder, json_bytes, write_bytes
from nerp.networks.segmenter import Segmenter, load_segmenter, resize, save_segmenter
from nerp.training.supervised import Progress, SegmenterPlan, TrainedSegmenter, train_segmenter


def evaluate_segmentation(
    train_dir: str | Path | None,
    test_dir: str | Path,
    *,
    plan: SegmenterPlan | None = None,
    weights: str | Path | None = None,
    out: str | Path | None = None,
    progress: Progress | None = None,
) -> dict:
    """Train on one folder of pairs, or load weights, and score on another folder.

    Args:
        train_dir: folder of pairs to learn from; None where `weights` are given.
        test_dir:  folder with images/ and masks/, matched by file stem.
        plan:      budget, seed and settings of the training; the seed also draws the intervals.
        weights:   a segmenter.safetensors of an earlier run; then nothing is trained.
        out:       folder that receives segmenter.safetensors, scores.json and predictions/*.png.
        progress:  called as progress(steps done, steps planned, loss) while training.

    Returns:
        JSON-ready: for `dice`, `jaccard`, `hd95`, `asd` a dict of mean, ci95, n, per_image; `distance_unit` ("px" of
        the mask files); `training`, or null; `weights`; `images_without_mask`; `empty` (counts of empty masks).

    Raises:
        UsageError: both or neither of `train_dir` and `weights`, or tests among what is trained on.
        DataError, TrainingError, CheckpointError: see `train_segmenter`, `find_pairs`, `load_segmenter`.
    """
    _check_sources(train_dir, test_dir, weights)
    plan = plan or SegmenterPlan()
    if out is not None:
        check_folder(Path(out) / "predictions")
    tests, unmatched = _test_pairs(test_dir)
    trained = train_segmenter(train_dir, plan=plan, progress=progress) if weights is None else None
    network = load_segmenter(weights) if trained is None else trained.network
    scores, empty = score(network, tests, predictions=out and _new_folder(out, trained))
    result = summarise(scores, seed=plan.seed)
    result |= {"distance_unit": "px", "training": trained and trained.record(), "empty": empty}
    result |= {"weights": None if weights is None else Path(weights).name, "images_without_mask": unmatched}
    if out is not None:
        write_bytes(Path(out) / "scores.json", json_bytes(result))
    return result


def score(network: Segmenter, pairs: Sequence[tuple[Path, Path]], *, predictions: Path | None = None) -> tuple:
    """Segment each image and compare it with its mask, at the mask's own size.

    Args:
        network:     in evaluation mode.
        pairs:       (image, mask) paths.
        predictions: folder that receives one PNG (0 or 255) an image.

    Returns:
        {stem: {metric: value}} with distances in pixels of the mask, and the counts of empty predictions and masks.
    """
    scores, empty = {}, {"predicted": 0, "target": 0}
    for image_path, mask_path in pairs:
        target = read_mask(mask_path)
        predicted = segment_file(network, image_path, tuple(target.shape[2:]))
        scores[image_path.stem] = overlap(predicted, target[0, 0].numpy())
        empty["predicted"] += int(not predicted.any())
        empty["target"] += int(not target.any())
        if predictions is not None:
            write_bytes(predictions / f"{image_path.stem}.png", png_bytes(predicted))
    return scores, empty


def segment_file(network: Segmenter, image: str | Path, shape: tuple[int, int]) -> np.ndarray:
    """The boolean mask (H, W), of `shape`, that the network sees in an image file."""
    probability = network.segment(read_image(image))
    return (resize(probability, shape) > 0.5)[0, 0].numpy()


def summarise(scores: dict[str, dict[str, float]], *, seed: int = 0, groups: dict[str, str] | None = None) -> dict:
    """Mean, 95 % bootstrap interval, count and single values of each metric.

    Args:
        scores: {stem: {metric: value}}.
        seed:   of the bootstrap's draws; every metric meets the same draws.
        groups: {stem: group} where images belong together (patients); otherwise each image stands alone.

    Returns:
        {metric: {"mean", "ci95": [low, high], "n", "per_image": {stem: value}}}.
    """
    labels = None if groups is None else [groups[stem] for stem in scores]
    result = {}
    for metric in METRICS:
        values = {stem: row[metric] for stem, row in scores.items()}
        generator = torch.Generator().manual_seed(seed)
        low, high = mean_interval(list(values.values()), generator=generator, groups=labels)
        mean = float(np.mean(list(values.values())))
        result[metric] = {"mean": mean, "ci95": [low, high], "n": len(values), "per_image": values}
    return result


def _check_sources(train_dir, test_dir, weights) -> None:
    if (train_dir is None) == (weights is None):
        raise UsageError(
            "give either a folder of pairs to train on, or the weights of an earlier run, not both or none"
        )
    if train_dir is not None and Path(train_dir).resolve() == Path(test_dir).resolve():
        raise UsageError(f"{test_dir} is both the folder to train on and to test on; give images that were not learned")


def _test_pairs(folder: str | Path) -> tuple[list[tuple[Path, Path]], list[str]]:
    pairs, unmatched = find_pairs(folder)
    if not pairs:
        raise DataError(
            f"no image in {folder}/images has a mask of its name in {folder}/masks; expected equal file stems"
        )
    image, mask = pairs[0]  # a set of another kind is met before the training, not after
    read_image(image)
    read_mask(mask)
    return pairs, unmatched


def _new_folder(out: str | Path, trained: TrainedSegmenter | None) -> Path:
    """Where predictions go; what was learned is kept before anything else can fail."""
    folder = Path(out) / "predictions"
    if trained is not None:
        save_segmenter(Path(out) / "segmenter.safetensors", trained.network)
    return folder
