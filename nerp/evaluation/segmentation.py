"""How well a segmenter's masks agree with those of people, image by image and over a set."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from nerp.anatomy.lung_fields import clean_lungs
from nerp.data.images import png_bytes, read_image, read_mask
from nerp.data.structures import Outlined
from nerp.errors import UsageError
from nerp.evaluation.bootstrap import mean_interval
from nerp.evaluation.overlap import METRICS, overlap
from nerp.evaluation.score import Score
from nerp.files import write_bytes
from nerp.networks.segmenter import Segmenter, resize

LUNGS = ("", "lung", "lungs")
"""Names of structures that are both lungs together."""

Scores = dict[str, dict[str, float]]
"""Name of an image to name of a metric to its value."""

SpacingOf = Callable[[Path, tuple[int, int]], tuple[float, float] | None]
"""From an image and the (H, W) of its mask to the mm between the mask's rows and columns; None where unknown."""


@dataclass(frozen=True)
class Scored:
    """A set of images, segmented and compared with their masks.

    Args:
        scores: {stem: {metric: value}}.
        empty:  how many predictions and masks are empty.
        unit:   of the distances: `mm` where every mask's pixel spacing is known, else `px` of the mask files.
        unknown_spacing: how many masks' is not.
    """

    scores: Scores
    empty: dict[str, int]
    unit: str
    unknown_spacing: int


def score(
    network: Segmenter,
    pairs: Sequence[tuple[Path, Sequence[Path]]],
    *,
    predictions: Path | None = None,
    spacing_mm: SpacingOf | None = None,
    clean: bool = False,
) -> Scored:
    """Segment each image and compare it with its mask, at the mask's own size.

    Args:
        network:     of one structure, in evaluation mode, on any device.
        pairs:       paths of images, and of the files whose union is each one's mask.
        predictions: folder that receives one PNG (0 or 255) an image.
        spacing_mm:  tells of an image, and the (H, W) of its mask, the mm between the mask's rows and columns.
        clean:       see `score_structures`.
    """
    outlined: Outlined = [(image, (tuple(masks),)) for image, masks in pairs]
    places: dict[str, Any] = {"predictions": predictions, "spacing_mm": spacing_mm}
    return score_structures(network, outlined, (), **places, clean=clean)[""]


def score_structures(
    network: Segmenter,
    outlined: Outlined,
    names: Sequence[str],
    *,
    predictions: Path | None,
    spacing_mm: SpacingOf | None,
    clean: bool = False,
) -> dict[str, Scored]:
    """The scores of each structure, all with one unit; each image is segmented once.

    Args:
        network:     in evaluation mode, on any device.
        outlined:    images and the masks of each structure.
        names:       of the structures; none of a single one, which is then called "".
        predictions: folder that receives a PNG an image, of several structures in a folder each; or none.
        spacing_mm:  see `score`.
        clean:       of what is outlined as lungs (one structure without a name, or one of `LUNGS`), keep the one or two
                     largest parts, closed and filled: see `clean_lungs`.

    Raises:
        UsageError: the network does not know a structure.
    """
    channels = channels_of(network, names)
    found = {name: _Found() for name in channels}
    for image, masks in outlined:
        probability = network.segment(read_image(image))
        for (name, channel), files in zip(channels.items(), masks, strict=True):
            target = read_mask(files)[0, 0].numpy()
            predicted = _inside(probability, channel, target.shape)
            predicted = clean_lungs(predicted) if clean and name.lower() in LUNGS else predicted
            spacing = None if spacing_mm is None else spacing_mm(image, target.shape)
            found[name].add(image.stem, predicted, target, spacing)
            if predictions is not None:
                folder = predictions if len(channels) == 1 else predictions / name
                write_bytes(folder / f"{image.stem}.png", png_bytes(predicted))
    in_mm = not any(one.unknown for one in found.values())
    return {name: one.scored(in_mm) for name, one in found.items()}


class _Found:
    """The scores of a structure, image by image."""

    def __init__(self) -> None:
        self._pixels: Scores = {}
        self._millimetres: Scores = {}
        self._empty = {"predicted": 0, "target": 0}

    @property
    def unknown(self) -> int:
        """How many masks' pixel spacing is not known."""
        return len(self._pixels) - len(self._millimetres)

    def add(self, stem: str, predicted: np.ndarray, target: np.ndarray, spacing: tuple[float, float] | None) -> None:
        self._pixels[stem] = overlap(predicted, target)
        if spacing is not None:
            self._millimetres[stem] = overlap(predicted, target, spacing=spacing)
        self._empty["predicted"] += int(not predicted.any())
        self._empty["target"] += int(not target.any())

    def scored(self, in_mm: bool) -> Scored:
        return Scored(self._millimetres if in_mm else self._pixels, self._empty, "mm" if in_mm else "px", self.unknown)


def channels_of(network: Segmenter, names: Sequence[str]) -> dict[str, int]:
    """The network's channel of each structure, by its name; of a single, unnamed one by "".

    Args:
        network: of one structure or of several.
        names:   of structures.

    Raises:
        UsageError: the network does not know a structure.
    """
    if not network.structures and len(names) <= 1:
        return {(*names, "")[0]: 0}
    unknown = [name for name in names or ("",) if name not in network.structures]
    if unknown:
        known = ", ".join(network.structures) or "one structure"
        raise UsageError(f"the segmenter outlines {known}, and no {unknown[0]!r}; give --mask-name some of these")
    return {name: network.structures.index(name) for name in names}


def mean_of(scored: Sequence[Scored]) -> Scored:
    """Each image's mean over structures of every metric; the counts of empty masks add up.

    Args:
        scored: of the same images, with one unit.
    """
    first = scored[0]
    if len(scored) == 1:
        return first
    scores = {
        stem: {metric: float(np.mean([one.scores[stem][metric] for one in scored])) for metric in row}
        for stem, row in first.scores.items()
    }
    empty = {kind: sum(one.empty[kind] for one in scored) for kind in first.empty}
    return Scored(scores, empty, first.unit, max(one.unknown_spacing for one in scored))


def segment_file(network: Segmenter, image: str | Path, shape: tuple[int, int], channel: int = 0) -> np.ndarray:
    """What the network sees in an image file.

    Args:
        network: in evaluation mode, on any device.
        image:   the file.
        shape:   (H, W) of the answer.
        channel: of the network.

    Returns:
        (H, W) bool, True inside the structure.
    """
    return _inside(network.segment(read_image(image)), channel, shape)


def _inside(probability: Tensor, channel: int, shape: tuple[int, ...]) -> np.ndarray:
    return (resize(probability[:, channel : channel + 1], (shape[0], shape[1])) > 0.5)[0, 0].cpu().numpy()


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
