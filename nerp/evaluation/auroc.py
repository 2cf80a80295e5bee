"""The area under the ROC curve: how often a positive scores higher than a negative, with its interval by groups."""

from __future__ import annotations

import math
from collections.abc import Hashable, Sequence

import numpy as np
import torch

from nerp.errors import EvaluationError
from nerp.evaluation.bootstrap import percentile_interval, resamples

Z95 = 1.959964
"""The normal deviate of a 95 % interval."""


def auroc(scores: Sequence[float] | np.ndarray, labels: Sequence[int] | np.ndarray) -> float:
    """The probability that a positive scores higher than a negative; a tie counts half.

    Args:
        scores: (N,) one number a case, finite; only their order matters.
        labels: (N,) 1 or True where the case is positive, 0 or False where negative.

    Returns:
        0 to 1; .5 where the scores tell nothing.

    Raises:
        EvaluationError: not one label a score, other labels, scores that are not finite, or only one class.

    Source: Hanley & McNeil 1982: the Mann-Whitney U over the number of pairs, U from midranks.
    """
    values, positive = _checked(scores, labels)
    return _auroc(values, positive)


def auroc_interval(
    scores: Sequence[float] | np.ndarray,
    labels: Sequence[int] | np.ndarray,
    groups: Sequence[Hashable] | None = None,
    generator: torch.Generator | None = None,
    *,
    n_resamples: int = 1000,
) -> tuple[float, float]:
    """A 95 % percentile bootstrap interval of `auroc` over whole groups.

    Groups with positives only, with negatives only and with both are drawn apart, each as often as there are, so that
    every resample has both classes. Where the classes are told apart without a fault, resampling finds no width; the
    interval is then that of the score form of Hanley & McNeil's variance, with groups counted for cases.

    Args:
        scores:      (N,) one number a case, finite.
        labels:      (N,) 1 where the case is positive, 0 where negative.
        groups:      (N,) one label a case where cases belong together (a patient's images); else each stands alone.
        generator:   source of the draws; one seeded with 0 where none is given.
        n_resamples: how many sets are drawn, at least 1.

    Returns:
        (low, high), 0 to 1.

    Raises:
        EvaluationError: as `auroc`, or groups of another count.

    Source: percentile bootstrap, Efron 1979; at 0 and 1 Newcombe 2006, method 5.
    """
    values, positive = _checked(scores, labels)
    groups = list(range(len(values))) if groups is None else list(groups)
    if len(groups) != len(values):
        raise EvaluationError(f"found {len(groups)} groups for {len(values)} scores; expected one group a score")
    generator = torch.Generator().manual_seed(0) if generator is None else generator
    value = _auroc(values, positive)
    if value in (0.0, 1.0):
        return _at_the_end(value, *_counts(groups, positive))
    rows = _draws(_strata(groups, positive), groups, n_resamples, generator)
    return percentile_interval([_auroc(values[drawn], positive[drawn]) for drawn in rows])


def _auroc(values: np.ndarray, positive: np.ndarray) -> float:
    """U / (n_positive n_negative), from the midranks of the positives."""
    _, place, counts = np.unique(values, return_inverse=True, return_counts=True)
    midranks = np.cumsum(counts) - (counts - 1) / 2
    n_positive = int(positive.sum())
    above = midranks[place][positive].sum() - n_positive * (n_positive + 1) / 2
    return float(above / (n_positive * (len(values) - n_positive)))


def _checked(scores: Sequence[float] | np.ndarray, labels: Sequence[int] | np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """(N,) float64 scores and (N,) bool labels, fit for `auroc`."""
    values, given = np.asarray(scores, np.float64), np.asarray(labels)
    if values.ndim != 1 or values.shape != given.shape:
        raise EvaluationError(f"found scores {values.shape} and labels {given.shape}; expected one label a score")
    if not np.isfinite(values).all():
        raise EvaluationError(f"{int((~np.isfinite(values)).sum())} scores are not finite; expected a number a case")
    if not np.isin(given, (0, 1)).all():
        raise EvaluationError(f"labels are {sorted(set(given.tolist()))[:5]}; expected 1 for positive, 0 for negative")
    positive = given.astype(bool)
    if positive.all() or not positive.any():
        kind = "positive" if len(positive) and positive.all() else "negative"
        raise EvaluationError(f"all {len(positive)} cases are {kind}; an AUROC needs cases of both classes")
    return values, positive


def _strata(groups: Sequence[Hashable], positive: np.ndarray) -> list[list[int]]:
    """Indices of the cases whose groups have positives only, negatives only, or both."""
    has: dict[Hashable, set[bool]] = {}
    for group, label in zip(groups, positive.tolist(), strict=True):
        has.setdefault(group, set()).add(label)
    kinds = [frozenset(has[group]) for group in groups]
    return [[index for index, kind in enumerate(kinds) if kind == one] for one in dict.fromkeys(kinds)]


def _draws(
    strata: list[list[int]], groups: Sequence[Hashable], n_resamples: int, generator: torch.Generator
) -> list[np.ndarray]:
    """`n_resamples` arrays of indices: whole groups of each stratum, drawn with replacement."""
    drawn = [
        [
            np.asarray(cases)[rows.numpy()]
            for rows in resamples([groups[case] for case in cases], n_resamples, generator=generator)
        ]
        for cases in strata
    ]
    return [np.concatenate(parts) for parts in zip(*drawn, strict=True)]


def _counts(groups: Sequence[Hashable], positive: np.ndarray) -> tuple[int, int]:
    """How many groups have positives, and how many have negatives."""
    of = [{group for group, label in zip(groups, positive, strict=True) if label == wanted} for wanted in (True, False)]
    return len(of[0]), len(of[1])


def _at_the_end(value: float, n_positive: int, n_negative: int) -> tuple[float, float]:
    """The interval about 1, or mirrored about 0: all areas that a fault of z standard errors reaches."""
    pairs, extra = n_positive * n_negative, (n_positive + n_negative) / 2 - 1

    def is_reached(area: float) -> bool:
        spread = 1 + extra * ((1 - area) / (2 - area) + area / (1 + area))
        return 1 - area <= Z95 * math.sqrt(area * (1 - area) * spread / pairs)

    low, high = 0.0, 1.0
    for _ in range(50):
        middle = (low + high) / 2
        low, high = (low, middle) if is_reached(middle) else (middle, high)
    return (high, 1.0) if value == 1.0 else (0.0, 1.0 - high)
