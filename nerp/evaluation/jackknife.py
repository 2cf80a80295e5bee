"""Intervals of scores of whole sets, such as FID, by leaving blocks of images out.

A bootstrap draws images twice, which no set of distinct images does: it makes every set look narrower than it is, so
that a bootstrapped FID lies wholly above the FID that it is to be the interval of. Leaving images out repeats none.
"""

from __future__ import annotations

import math
from collections.abc import Hashable, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from nerp.devices import WHOLE
from nerp.errors import EvaluationError

FEWEST_LEFT = 2
"""Images that a subset must hold for its score to be one."""


@dataclass(frozen=True)
class Subsets:
    """All images of one or several sets; and then, set by set, all but one block of one of them.

    Args:
        kept:   (R, N) bool for each set, True where a subset holds an image.
        blocks: (B, N) bool for each set, True where a block does; B is 0 where a set has no interval.
    """

    kept: tuple[Tensor, ...]
    blocks: tuple[Tensor, ...]

    @property
    def has_interval(self) -> bool:
        """Whether the share of every set in the spread of a score can be told."""
        return all(len(of_set) for of_set in self.blocks)

    @property
    def sizes(self) -> list[list[int]]:
        """Images in each block of each set."""
        return [of_set.sum(1).tolist() for of_set in self.blocks]

    def fewest(self) -> int:
        """Images in the smallest subset of any set."""
        return min(int(of_set.sum(1).min()) for of_set in self.kept)

    def whole(self) -> Subsets:
        """All images alone, without an interval."""
        return Subsets(tuple(of_set[:1] for of_set in self.kept), tuple(of_set[:0] for of_set in self.blocks))


def leave_out(groups: Sequence[Sequence[Hashable]], n_blocks: int, *, generator: torch.Generator) -> Subsets:
    """Subsets of sets of images, each without one block of whole groups of one set.

    Args:
        groups:    for each set one label an image (a patient's id); `range(N)` where every image stands alone.
        n_blocks:  blocks of each set, about equal in size; fewer where there are fewer groups; 0 leaves none out.
        generator: source of the blocks.

    Returns:
        Of which the first holds all. A set of one group, or of so few images that no two would be left, has no
        blocks: nothing tells how another would differ.

    Raises:
        EvaluationError: a set without images.
    """
    blocks = tuple(_blocks(of_set, n_blocks, generator) for of_set in groups)
    count, kept = 1 + sum(map(len, blocks)), []
    start = 1
    for of_set in blocks:
        held = torch.ones(count, of_set.shape[1], dtype=torch.bool, device="cpu")
        held[start : start + len(of_set)] = ~of_set
        start += len(of_set)
        kept.append(held)
    return Subsets(tuple(kept), blocks)


def _blocks(groups: Sequence[Hashable], n_blocks: int, generator: torch.Generator) -> Tensor:
    """(B, N) bool: each image is in one block, groups are whole."""
    members: dict[Hashable, list[int]] = {}
    for image, group in enumerate(groups):
        members.setdefault(group, []).append(image)
    if not members:
        raise EvaluationError("no image to leave out: found 0, expected at least 1")
    count = min(n_blocks, len(members))
    blocks = torch.zeros(max(count, 1), len(groups), dtype=torch.bool, device="cpu")
    order = torch.randperm(len(members), generator=generator, **WHOLE).tolist()
    of_group = [list(members.values())[number] for number in order]
    for images in sorted(of_group, key=len, reverse=True):
        blocks[int(blocks.sum(1).argmin()), images] = True
    is_enough = count >= 2 and len(groups) - int(blocks.sum(1).max()) >= FEWEST_LEFT
    return blocks if is_enough else blocks[:0]


def interval(value: float, statistics: Sequence[float], subsets: Subsets) -> tuple[float, float] | None:
    """The 95 % interval of Student's t around a score.

    Args:
        value:      the score.
        statistics: of each subset of `subsets`, (R,), the first that of all images.
        subsets:    from `leave_out`.

    Returns:
        None where a set has no blocks.

    Source: Welch 1947 (the degrees of freedom of a sum of variances).
    """
    return interval_of(value, statistics, subsets.sizes)


def interval_of(
    value: float, statistics: Sequence[float], sizes: Sequence[Sequence[int]]
) -> tuple[float, float] | None:
    """Likewise, of the sizes of the blocks alone.

    Args:
        value:      the score.
        statistics: (R,) of all images first, then without each block of the first set, and so on.
        sizes:      images in each block of each set.

    Returns:
        None where a set has no blocks.

    Source: Welch 1947, as `interval`.
    """
    from scipy.stats import t

    if not all(sizes):
        return None
    shares, start = [], 1
    for of_set in sizes:
        end = start + len(of_set)
        shares.append((variance(statistics[0], statistics[start:end], of_set), len(of_set)))
        start = end
    total = sum(share for share, _ in shares)
    if total == 0.0:
        return value, value
    degrees = total**2 / sum(share**2 / (count - 1) for share, count in shares)
    half = float(t.ppf(0.975, degrees)) * math.sqrt(total)
    return value - half, value + half


def variance(whole: float, without: Sequence[float], sizes: Sequence[int]) -> float:
    """The variance of a score from its values without each block of images.

    Args:
        whole:   the score of all images.
        without: of all but block b, for each of B blocks, B of 2 or more.
        sizes:   images in each block.

    Source: Busing, Meijer and van der Leeden 1999, the delete-m(j) jackknife; for blocks of one size it is
    (B - 1) / B times the sum of squared deviations from the mean, Quenouille 1956 and Tukey 1958.
    """
    values, held = np.asarray(without), sum(sizes) / np.asarray(sizes)
    centre = len(values) * whole - float(((1 - 1 / held) * values).sum())
    pseudo = held * whole - (held - 1) * values
    return float(((pseudo - centre) ** 2 / (held - 1)).mean())


def proportion_interval(value: float, found: tuple[float, float], n_groups: int) -> tuple[float, float]:
    """A proportion's interval within 0..1; at 0 or 1 as wide as so few groups leave open.

    Args:
        value:    the proportion.
        found:    its interval from `interval`, which has no width where all images are alike.
        n_groups: independent groups that it was taken of.

    Source: Clopper and Pearson 1934, where none or all succeed: 1 - 0.025^(1/n).
    """
    open_end = 1.0 - 0.025 ** (1.0 / n_groups)
    low, high = max(found[0], 0.0), min(found[1], 1.0)
    return (min(low, 1.0 - open_end) if value == 1.0 else low), (max(high, open_end) if value == 0.0 else high)
