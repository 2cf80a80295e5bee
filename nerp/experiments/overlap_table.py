"""Overlap scores of several trainings on the same images, metric by metric."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from nerp.evaluation.crossed import CrossedDraws, crossed_score
from nerp.evaluation.overlap import METRICS
from nerp.evaluation.segmentation import Scored

Values = dict[str, np.ndarray]
"""(S, N) of each metric: trainings by images."""


def values_of(runs: Sequence[Scored]) -> Values:
    """The scores of some trainings, images in the order of the first one's.

    Args:
        runs: each of the same images.
    """
    stems = list(runs[0].scores)
    return {metric: np.array([[run.scores[stem][metric] for stem in stems] for run in runs]) for metric in METRICS}


def apart(later: Values, earlier: Values) -> Values:
    """Differences by training and image.

    Args:
        later:   (S, N) of each metric, or (1, N) where one training stands for all.
        earlier: likewise, on the same images.
    """
    return {metric: later[metric] - earlier[metric] for metric in METRICS}


def told(values: Values, draws: CrossedDraws) -> dict[str, Any]:
    """Each metric's mean, interval, count of images, and mean of each training.

    Args:
        values: of each metric.
        draws:  for as many trainings and images.
    """
    scores = {metric: crossed_score(of, draws).to_dict() for metric, of in values.items()}
    return {metric: {**score, "per_seed": values[metric].mean(axis=1).tolist()} for metric, score in scores.items()}
