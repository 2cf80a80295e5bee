"""How well a segmenter's masks agree with those of people, image by image and over a set."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch

from nerp.data.images import png_bytes, read_image, read_mask
from nerp.evaluation.bootstrap import mean_interval
from nerp.evaluation.overlap import METRICS, overlap
from nerp.evaluation.score import Score
from nerp.files import write_bytes
from nerp.networks.segmenter import Segmenter, resize

Scores = dict[str, dict[str, float]]
"""Name of an image to name of a metric to its value."""


def score(
    network: Segmenter, pairs: Sequence[tuple[Path, Sequence[Path]]], *, predictions: Path | None = None
) -> tuple[Scores, dict[str, int]]:
    """Segment each image and compare it with its mask, at the mask's own size.

    Args:
        network:     in evaluation mode, on any device.
        pairs:       paths of images, and of the files whose union is each one's mask.
        predictions: folder that receives one PNG (0 or 255) an image.

    Returns:
        {stem: {metric: value}} with distances in pixels of the mask, and the counts of empty predictions and masks.
    """
    scores: Scores = {}
    empty = {"predicted": 0, "target": 0}
    for image_path, mask_paths in pairs:
        target = read_mask(mask_paths)
        predicted = segment_file(network, image_path, (target.shape[2], target.shape[3]))
        scores[image_path.stem] = overlap(predicted, target[0, 0].numpy())
        empty["predicted"] += int(not predicted.any())
        empty["target"] += int(not target.any())
        if predictions is not None:
            write_bytes(predictions / f"{image_path.stem}.png", png_bytes(predicted))
    return scores, empty


def segment_file(network: Segmenter, image: str | Path, shape: tuple[int, int]) -> np.ndarray:
    """What the network sees in an image file.

    Args:
        network: in evaluation mode, on any device.
        image:   the file.
        shape:   (H, W) of the answer.

    Returns:
        (H, W) bool, True inside the structure.
    """
    probability = network.segment(read_image(image))
    return (resize(probability, shape) > 0.5)[0, 0].cpu().numpy()


def summarise(scores: Scores, *, seed: int = 0, groups: dict[str, str] | None = None) -> dict[str, Any]:
    """Mean, 95 % bootstrap interval, count and single values of each metric.

    Args:
        scores: {stem: {metric: value}}.
        seed:   of the bootstrap's draws; every metric meets the same draws.
        groups: {stem: group} where images belong together (patients); otherwise each image stands alone.

    Returns:
        {metric: {"mean", "ci95": [low, high], "n", "per_image": {stem: value}}}.
    """
    labels = None if groups is None else [groups[stem] for stem in scores]
    result: dict[str, Any] = {}
    for metric in METRICS:
        values = {stem: row[metric] for stem, row in scores.items()}
        generator = torch.Generator().manual_seed(seed)
        interval = mean_interval(list(values.values()), generator=generator, groups=labels)
        mean = Score(float(np.mean(list(values.values()))), interval, len(values))
        result[metric] = {**mean.to_dict("mean"), "per_image": values}
    return result
