"""Intervals that say how much a score owes to the images it was taken on."""

from __future__ import annotations

from collections.abc import Hashable, Iterator, Sequence

import numpy as np
import torch
from torch import Tensor

from nerp.devices import WHOLE, single
from nerp.errors import EvaluationError
from nerp.evaluation.score import Score


def resamples(groups: Sequence[Hashable], n_resamples: int, *, generator: torch.Generator) -> Iterator[Tensor]:
    """Draw whole groups with replacement, as many as there are.

    Images of one patient resemble one another; drawing them together keeps the interval honest.

    Args:
        groups:      one label an image (a patient's id); `range(n)` where every image stands alone.
        n_resamples: how many sets to draw.
        generator:   source of the draws.

    Yields:
        (M,) int64 indices of the images drawn; M varies where the groups differ in size.

    Raises:
        EvaluationError: there is no image to draw from.
    """
    numbers = {group: number for number, group in enumerate(dict.fromkeys(groups))}
    if not numbers:
        raise EvaluationError("no image to resample: found 0, expected at least 1")
    of_image = torch.tensor([numbers[group] for group in groups], **WHOLE)
    order, counts = of_image.argsort(stable=True), of_image.bincount()
    starts = counts.cumsum(0) - counts
    for _ in range(n_resamples):
        drawn = torch.randint(len(counts), (len(counts),), generator=generator, **WHOLE)
        yield order[_ranges(starts[drawn], counts[drawn])]


def _ranges(starts: Tensor, counts: Tensor) -> Tensor:
    """`start, start + 1, ...` of each group, `count` long, one after another."""
    before = counts.cumsum(0) - counts
    return torch.arange(int(counts.sum()), **WHOLE) + (starts - before).repeat_interleave(counts)


def percentile_interval(statistics: Sequence[float]) -> tuple[float, float]:
    """The 2.5th and the 97.5th percentile of resampled statistics. Source: Efron 1979."""
    low, high = torch.quantile(
        torch.tensor(statistics, dtype=torch.float64, device="cpu"), single([0.025, 0.975]).double()
    )
    return float(low), float(high)


def mean_interval(
    values: Sequence[float],
    *,
    generator: torch.Generator,
    groups: Sequence[Hashable] | None = None,
    n_resamples: int = 2000,
) -> tuple[float, float]:
    """A 95 % percentile bootstrap interval of the mean over images.

    Args:
        values:      one score an image, finite.
        generator:   source of the draws; the same seed gives the same interval.
        groups:      one label an image where images belong together (patients); otherwise each stands alone.
        n_resamples: how many sets are drawn.

    Returns:
        (low, high). A single image, or a single group, gives an interval of no width: it says nothing about others.

    Raises:
        EvaluationError: no values, or groups of another count.
    """
    scores = torch.as_tensor(values, dtype=torch.float64)
    groups = range(len(scores)) if groups is None else groups
    if len(groups) != len(scores):
        raise EvaluationError(f"found {len(groups)} groups for {len(scores)} values; expected one group a value")
    drawn = resamples(groups, n_resamples, generator=generator)
    return percentile_interval([float(scores[indices].mean()) for indices in drawn])


def mean_score(
    values: Sequence[float],
    *,
    generator: torch.Generator,
    groups: Sequence[Hashable] | None = None,
    n_resamples: int = 2000,
) -> Score:
    """The mean over images with its interval from `mean_interval`.

    Args:
        values:      one score an image, finite.
        generator:   source of the draws; the same seed gives the same interval.
        groups:      one label an image where images belong together (patients); otherwise each stands alone.
        n_resamples: how many sets are drawn.

    Raises:
        EvaluationError: no values, or groups of another count.
    """
    interval = mean_interval(values, generator=generator, groups=groups, n_resamples=n_resamples)
    return Score(float(np.mean(values)), interval, len(values))
