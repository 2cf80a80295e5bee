"""Nearest neighbours among images, in any space that has a distance."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from nerp.devices import WHOLE
from nerp.evaluation.likeness import likeness

BLOCK = 256
"""Images compared at a time with all others."""

Distance = Callable[[Tensor, Tensor], Tensor]
"""(N, ...) and (M, ...) to (N, M)."""


@dataclass(frozen=True)
class Nearest:
    """The nearest of other images to each of some images.

    Args:
        distances: (N,) float64, >= 0; infinite where no other may be compared.
        indices:   (N,) int64 of it among the others.
    """

    distances: Tensor
    indices: Tensor


def nearest(
    first: Tensor,
    second: Tensor,
    distance: Distance,
    *,
    groups: tuple[Sequence[Hashable], Sequence[Hashable]] | None = None,
) -> Nearest:
    """The nearest of the second images to each of the first; memory stays flat.

    Args:
        first:    (N, ...) images or features.
        second:   (M, ...) likewise.
        distance: between them.
        groups:   one label an image of either; images of one label are not compared. None compares all.
    """
    numbers = None if groups is None else _numbered(*groups)
    found = []
    for rows in torch.arange(len(first), **WHOLE).split(BLOCK):
        block = distance(first[rows], second).double()
        if numbers is not None:
            block = block.masked_fill(numbers[0][rows, None] == numbers[1], torch.inf)
        found.append(block.min(dim=1))
    return Nearest(torch.cat([one.values for one in found]), torch.cat([one.indices for one in found]))


def part_below(images: Tensor, distance: Distance, threshold: float, *, groups: Sequence[Hashable]) -> tuple[int, int]:
    """How many pairs of images of different groups are nearer than a threshold, and how many pairs there are.

    Args:
        images:    (N, ...) images or features.
        distance:  between them.
        threshold: that counts as near, exclusive.
        groups:    one label an image.
    """
    numbers, _ = _numbered(groups, groups)
    near = pairs = 0
    for rows in torch.arange(len(images), **WHOLE).split(BLOCK):
        other = numbers[rows, None] != numbers
        near += int((other & (distance(images[rows], images).double() < threshold)).sum())
        pairs += int(other.sum())
    return near // 2, pairs // 2


def _numbered(first: Sequence[Hashable], second: Sequence[Hashable]) -> tuple[Tensor, Tensor]:
    """(N,) and (M,) int64: equal numbers for equal labels."""
    number = {label: place for place, label in enumerate(dict.fromkeys([*first, *second]))}
    found = [torch.tensor([number[label] for label in labels], **WHOLE) for labels in (first, second)]
    return found[0], found[1]


def picture_distance(first: Tensor, second: Tensor) -> Tensor:
    """(N, M): 1 minus `likeness`, 0 to 2.

    Args:
        first:  (N, S, S) from `flattened`.
        second: (M, S, S) likewise.
    """
    return 1.0 - likeness(first, second)


def cosine_distance(first: Tensor, second: Tensor) -> Tensor:
    """(N, M): 1 minus the cosine between features, 0 to 2.

    Args:
        first:  (N, F).
        second: (M, F).
    """
    units = [features / features.norm(dim=1, keepdim=True).clamp(min=1e-12) for features in (first, second)]
    return (1.0 - units[0] @ units[1].T).clamp(min=0.0)
