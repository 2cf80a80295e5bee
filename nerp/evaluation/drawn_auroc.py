"""AUROC of several trainings on the same images, each image counted as often as it is drawn."""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from dataclasses import dataclass

import numpy as np

from nerp.evaluation.auroc import auroc_interval
from nerp.evaluation.bootstrap import percentile_interval
from nerp.evaluation.crossed import CrossedDraws

AT_ONCE = 2**22
"""Counts that are worked on together."""


@dataclass(frozen=True)
class DrawnArea:
    """An AUROC, or a mean or difference of several, with its values over resamples.

    Args:
        per_training: (S,) of each training on all images.
        drawn:        (R,) of each resample, the mean over its trainings; NaN where it has one class only.
    """

    per_training: np.ndarray
    drawn: np.ndarray

    @property
    def value(self) -> float:
        """The mean over the trainings."""
        return float(self.per_training.mean())

    def interval(self) -> tuple[float, float] | None:
        """Of 95 %, percentiles over the resamples that have both classes.

        None where fewer than half of them have, or where all are equal, as those of two arms without a fault: that
        tells nothing of other images.
        """
        whole = self.drawn[np.isfinite(self.drawn)]
        if 2 * len(whole) < len(self.drawn) or whole.min() == whole.max():
            return None
        return percentile_interval(whole.tolist())

    def minus(self, other: DrawnArea) -> DrawnArea:
        """The difference of two arms, paired by training, image and resample."""
        return DrawnArea(self.per_training - other.per_training, self.drawn - other.drawn)


def mean_area(areas: Sequence[DrawnArea]) -> DrawnArea:
    """The mean over findings, resample by resample."""
    return DrawnArea(np.mean([one.per_training for one in areas], 0), np.mean([one.drawn for one in areas], 0))


def drawn_area(
    scores: np.ndarray, positive: np.ndarray, draws: CrossedDraws, *, strata: np.ndarray | None = None
) -> DrawnArea:
    """The AUROC of each training, and that of each resample of trainings and images.

    Args:
        scores:   (S, N) of each training on each image, finite; only their order within a stratum matters.
        positive: (N,) bool.
        draws:    of S trainings and N images.
        strata:   (N,) folds, each of which a network of its own scored: a positive is compared with negatives of its
            own fold alone. None: all are compared.

    Source: Hanley & McNeil 1982, with counts for cases; folds, the stratified form of the Mann-Whitney U, van Elteren
    1960, weighted by pairs.
    """
    once = np.ones((1, scores.shape[1]))
    whole = np.array([_areas(one, positive, once, strata)[0] for one in scores])
    each = np.stack([_areas(one, positive, draws.images, strata) for one in scores], 1)
    return DrawnArea(whole, (each * draws.trainings).sum(1) / draws.trainings.sum(1))


def area_interval(
    area: DrawnArea, scores: np.ndarray, positive: np.ndarray, groups: Sequence[Hashable]
) -> tuple[float, float] | None:
    """The interval of one finding's AUROC; at 0 and 1, where resampling finds no width, that of `auroc_interval`.

    Args:
        area:     from `drawn_area`.
        scores:   (S, N) that it is of.
        positive: (N,) bool.
        groups:   (N,) patients.
    """
    if area.value in (0.0, 1.0):
        first = np.where(positive, area.value, 1 - area.value)  # of a perfect order, whatever the folds' scales
        return auroc_interval(first, positive.astype(int), groups)
    return area.interval()


def _areas(scores: np.ndarray, positive: np.ndarray, counts: np.ndarray, strata: np.ndarray | None) -> np.ndarray:
    """(R,) areas of one training, of (R, N) counts."""
    labels = np.zeros(len(scores), dtype=int) if strata is None else strata
    wins, pairs = np.zeros(len(counts)), np.zeros(len(counts))
    for one in np.unique(labels):
        inside = labels == one
        won, compared = _wins(scores[inside], positive[inside], counts[:, inside])
        wins, pairs = wins + won, pairs + compared
    return np.divide(wins, pairs, out=np.full(len(counts), np.nan), where=pairs > 0)


def _wins(scores: np.ndarray, positive: np.ndarray, counts: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """(R,) pairs won by the positive, a tie half, and (R,) pairs in all."""
    order = np.argsort(scores, kind="stable")
    _, starts = np.unique(scores[order], return_index=True)
    wins, pairs = np.zeros(len(counts)), np.zeros(len(counts))
    step = max(1, AT_ONCE // len(scores))
    for begin in range(0, len(counts), step):
        rows = slice(begin, begin + step)
        drawn = counts[rows][:, order]
        ups, downs = (np.add.reduceat(drawn * of, starts, axis=1) for of in (positive[order], ~positive[order]))
        below = downs.cumsum(1) - downs / 2
        wins[rows], pairs[rows] = (ups * below).sum(1), ups.sum(1) * downs.sum(1)
    return wins, pairs
