"""When an image is near enough to another to be called its copy: a threshold with a stated rate of false alarms."""

from __future__ import annotations

import math
from collections.abc import Hashable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from nerp.evaluation.nearest import Distance, Nearest, nearest, part_below


@dataclass(frozen=True)
class Space:
    """Where images are compared.

    Args:
        name:     `pixels` or `features`.
        distance: between images.
        fake:     (N, ...) generated images, as `distance` takes them.
        real:     (M, ...) real ones.
        held_out: (K, ...) real ones that were not learned from; None without any.
    """

    name: str
    distance: Distance
    fake: Tensor
    real: Tensor
    held_out: Tensor | None


@dataclass(frozen=True)
class Judged:
    """What is near to what in one space.

    Args:
        space:     where.
        fake:      nearest real image of each generated one.
        real:      nearest real image of another patient, of each real one.
        held_out:  nearest real image of each held-out one; None without any.
        threshold: images nearer to a real one are flagged.
        pairs:     real pairs of different patients that are nearer, and all such pairs.
    """

    space: Space
    fake: Nearest
    real: Nearest
    held_out: Nearest | None
    threshold: float
    pairs: tuple[int, int]

    @property
    def flags(self) -> Tensor:
        """(N,) bool: which generated images are flagged."""
        return self.fake.distances < self.threshold


def judge(
    space: Space, groups: Sequence[Hashable], *, twins: Tensor, false_alarm: float, at_least: float = 0.0
) -> Judged:
    """Find all neighbours of a space, and what distance flags a copy.

    Args:
        space:       with the images.
        groups:      (M,) patient of each real image; no image is compared with its own patient's.
        twins:       (M,) bool, real images that are left out of the threshold.
        false_alarm: part of images of new patients that may be flagged, 0 to 1.
        at_least:    least threshold.
    """
    real = nearest(space.real, space.real, space.distance, groups=(groups, groups))
    threshold = max(at_least, copy_threshold(real.distances[~twins], false_alarm))
    held_out = None if space.held_out is None else nearest(space.held_out, space.real, space.distance)
    fake = nearest(space.fake, space.real, space.distance)
    pairs = part_below(space.real, space.distance, threshold, groups=groups)
    return Judged(space, fake, real, held_out, threshold, pairs)


def copy_threshold(distances: Tensor, false_alarm: float) -> float:
    """The distance below which no more than a part of new images' nearest neighbours lie.

    The k-th smallest of n distances, k = false_alarm (n + 1) rounded down and at least 1: a new image, drawn as these
    were, lies below it with a probability of k / (n + 1) at most. With fewer than 1 / false_alarm - 1 images that is
    more than asked for; `least_rate` tells.

    Args:
        distances:   (n,) of each real image to its nearest of another patient.
        false_alarm: 0 to 1.

    Returns:
        0 where there are no distances.

    Source: split conformal prediction, Vovk 2005; Lei 2018, section 2.2.
    """
    if not len(distances):
        return 0.0
    place = max(1, math.floor(false_alarm * (len(distances) + 1) + 1e-9))
    return float(distances.sort().values[place - 1])


def least_rate(count: int) -> float:
    """The smallest rate of false alarms that a threshold from so many images can promise: 1 / (count + 1).

    Source: as `copy_threshold`.
    """
    return 1 / (count + 1)


def twins_of(pixels: Nearest, threshold: float) -> Tensor:
    """(M,) bool: real images whose picture another patient has, too.

    Args:
        pixels:    nearest real image of another patient, of each real one, in pixels.
        threshold: distance of what can only be the same picture.
    """
    return pixels.distances < torch.tensor(threshold, dtype=torch.float64, device="cpu")
