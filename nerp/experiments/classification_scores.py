"""What classifiers' predictions are worth: AUROC of each finding and arm, and of every two arms the difference."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import combinations
from typing import Any

import numpy as np
import torch

from nerp.errors import DataError
from nerp.evaluation.crossed import CrossedDraws, crossed_draws
from nerp.evaluation.drawn_auroc import DrawnArea, area_interval, drawn_area, mean_area

FEW = 20
"""Positive patients below which an interval is said to be uncertain."""
MEAN = "mean"
"""Key of the mean over all findings, beside theirs."""


@dataclass(frozen=True)
class KnownFindings:
    """What is known of the tested images.

    Args:
        findings: names.
        labels:   (N, K): 1, 0, or NaN where it is not known.
        groups:   whom each image is of.
        strata:   (N,) folds, or None.
    """

    findings: tuple[str, ...]
    labels: np.ndarray
    groups: tuple[str, ...]
    strata: np.ndarray | None = None

    def known(self, finding: int) -> np.ndarray:
        """(N,) bool: where a finding, by its number, is known."""
        return ~np.isnan(self.labels[:, finding])

    def counts(self, finding: int) -> tuple[int, int, int]:
        """Images that are known, positive images, and the fewer of positive and of negative patients.

        A patient with images of both kinds counts for both.
        """
        values, groups = self.labels[:, finding], np.array(self.groups)
        sides = [len(set(groups[values == side])) for side in (1, 0)]
        return int(self.known(finding).sum()), int((values == 1).sum()), min(sides)


def classification_scores(
    predicted: dict[str, np.ndarray], tested: KnownFindings, *, seed: int, least: int, n_resamples: int
) -> dict[str, Any]:
    """The scores of arms on the same images.

    Seeds and patients are drawn together, the same for all arms and findings, so that differences are paired.

    Args:
        predicted:   (S, N, K) probabilities of each arm: trainings, images, findings.
        tested:      findings, patients and folds.
        seed:        of the draws.
        least:       positive and negative patients below which a finding is not scored.
        n_resamples: of the intervals.

    Returns:
        JSON-ready: `arms` and `differences`, each with `mean` and every finding: `value`, `ci95`, `n`, `n_positive`,
        `per_seed`; `not_scored`, with the reasons; `warnings`. `ci95` is None where resampling tells none.
    """
    n_trainings = next(iter(predicted.values())).shape[0]
    generator = torch.Generator().manual_seed(seed)
    options: dict[str, Any] = {"generator": generator, "groups": tested.groups, "n_resamples": n_resamples}
    draws = crossed_draws(n_trainings, len(tested.groups), **options)
    reasons = _reasons(tested, least)
    scored = [number for number in range(len(tested.findings)) if number not in reasons]
    areas = {arm: {one: _area(of, one, tested, draws) for one in scored} for arm, of in predicted.items()}
    apart = {
        f"{later} minus {earlier}": _told({one: areas[later][one].minus(areas[earlier][one]) for one in scored}, tested)
        for earlier, later in combinations(areas, 2)
    }
    return {
        "arms": {arm: _told(of, tested, predicted[arm]) for arm, of in areas.items()},
        "differences": apart,
        "not_scored": {
            tested.findings[number]: {"value": None, "ci95": None, **_numbers(tested, number), "reason": reason}
            for number, reason in reasons.items()
        },
        "warnings": _doubts(tested, scored),
    }


def check_scored(tested: KnownFindings, least: int) -> None:
    """Refuse images on which no finding can be scored, before long work is done for them.

    Args:
        tested: findings, patients and folds.
        least:  positive and negative patients that a finding needs.

    Raises:
        DataError: no finding has enough.
    """
    reasons = _reasons(tested, least)
    if len(reasons) == len(tested.findings):
        listed = "; ".join(f"{tested.findings[number]}: {reason}" for number, reason in reasons.items())
        raise DataError(f"no finding can be scored: {listed}")


def _reasons(tested: KnownFindings, least: int) -> dict[int, str]:
    """Numbers of the findings that are not scored, and why."""
    found = {number: _reason(tested, number, least) for number in range(len(tested.findings))}
    return {number: reason for number, reason in found.items() if reason}


def _reason(tested: KnownFindings, number: int, least: int) -> str:
    """Why a finding is not scored; empty where it is."""
    n, positive, fewer = tested.counts(number)
    if fewer < least:
        return (
            f"{positive} positive images of {n}, and only {fewer} patients of the rarer kind in the test; expected "
            f"{least} or more (least=)"
        )
    if tested.strata is not None and not any(_has_both(tested, number, one) for one in np.unique(tested.strata)):
        return "no fold has both a positive and a negative image; give fewer folds"
    return ""


def _has_both(tested: KnownFindings, number: int, stratum: int) -> bool:
    assert tested.strata is not None  # of the caller
    return {0.0, 1.0} <= set(tested.labels[tested.strata == stratum, number].tolist())


def _area(values: np.ndarray, number: int, tested: KnownFindings, draws: CrossedDraws) -> DrawnArea:
    known = tested.known(number)
    strata = None if tested.strata is None else tested.strata[known]
    inside = CrossedDraws(draws.trainings, draws.images[:, known])
    return drawn_area(values[:, known, number], tested.labels[known, number] == 1, inside, strata=strata)


def _told(areas: dict[int, DrawnArea], tested: KnownFindings, values: np.ndarray | None = None) -> dict[str, Any]:
    """Scores of an arm, whose predictions are given, or of a difference."""
    if not areas:
        return {}
    told = {}
    for number, area in areas.items():
        known = tested.known(number)
        interval = area.interval()
        if values is not None:
            groups = [group for group, is_known in zip(tested.groups, known, strict=True) if is_known]
            interval = area_interval(area, values[:, known, number], tested.labels[known, number] == 1, groups)
        told[tested.findings[number]] = {**_score(area, interval), **_numbers(tested, number)}
    mean, n = mean_area(list(areas.values())), int((~np.isnan(tested.labels)).any(1).sum())
    return {MEAN: {**_score(mean, mean.interval()), "n": n, "n_findings": len(areas)}, **told}


def _score(area: DrawnArea, interval: tuple[float, float] | None) -> dict[str, Any]:
    per_seed = area.per_training.tolist()
    return {"value": area.value, "ci95": None if interval is None else list(interval), "per_seed": per_seed}


def _numbers(tested: KnownFindings, number: int) -> dict[str, int]:
    n, positive, _ = tested.counts(number)
    return {"n": n, "n_positive": positive}


def _doubts(tested: KnownFindings, scored: Sequence[int]) -> list[str]:
    few = {tested.findings[number]: tested.counts(number)[2] for number in scored}
    few = {name: count for name, count in few.items() if count < FEW}
    if not few:
        return []
    listed = ", ".join(f"{name} ({count})" for name, count in few.items())
    return [f"fewer than {FEW} patients of the rarer kind in the test: {listed}; their intervals are uncertain"]
