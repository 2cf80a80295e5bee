"""A study's table: every row's scores with intervals over trainings and images, contrasts, and the worst images."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import torch

from nerp.evaluation.crossed import crossed_draws, crossed_score
from nerp.evaluation.overlap import METRICS
from nerp.evaluation.segmentation import Scored
from nerp.experiments.study.cells import values_of
from nerp.experiments.study.settings import StudyConfig

WORST = 0.1
"""The part of the images that is named as the worst."""


def table_of(config: StudyConfig, scored: dict[str, list[Scored]]) -> dict[str, Any]:
    """All rows and contrasts.

    Args:
        config: the study.
        scored: of each row, one a training; rows of which nothing is there yet are left out.

    Returns:
        JSON-ready, of kind `arms`: for each of `arms`, the rows, and of `differences`, the contrasts, for each metric a
        dict of value, ci95, n, per_seed; `worst_tenth` of each row: mean Dice, and the images; `distance_unit`, `part`;
        `warnings`; `skipped`.
    """
    there = {name: runs for name, runs in scored.items() if runs}
    rows = {
        name: _told({metric: values_of(runs, metric) for metric in METRICS}, config) for name, runs in there.items()
    }
    couples = {f"{later} minus {earlier}": (later, earlier) for later, earlier in config.contrasts}
    apart = {
        name: _told(_apart(there[later], there[earlier]), config)
        for name, (later, earlier) in couples.items()
        if later in there and earlier in there
    }
    alone = [name for name, runs in there.items() if len(runs) == 1]
    doubts = (
        [f"one training of {', '.join(alone)}: its interval says nothing of the chance in training"] if alone else []
    )
    missing = [name for name in scored if name not in there]
    doubts += [f"no cell of {', '.join(missing)} is there yet"] if missing else []
    return {
        "kind": "arms",
        "arms": rows,
        "differences": apart,
        "worst_tenth": {name: _worst(runs) for name, runs in there.items()},
        "distance_unit": "px",
        "part": config.part,
        "warnings": doubts,
        "skipped": [],
    }


def _apart(later: list[Scored], earlier: list[Scored]) -> dict[str, np.ndarray]:
    """Differences of the trainings that both rows have, of one seed each; all of one where the other learns nothing."""
    count = max(len(later), len(earlier)) if 1 in (len(later), len(earlier)) else min(len(later), len(earlier))
    first, second = (runs[:count] if len(runs) > 1 else runs * count for runs in (later, earlier))
    return {metric: values_of(first, metric) - values_of(second, metric) for metric in METRICS}


def _told(values: dict[str, np.ndarray], config: StudyConfig) -> dict[str, Any]:
    n_trainings, n_images = next(iter(values.values())).shape
    draws = crossed_draws(n_trainings, n_images, generator=torch.Generator().manual_seed(config.seed))
    scores = {metric: crossed_score(of, draws).to_dict() for metric, of in values.items()}
    return {metric: {**score, "per_seed": values[metric].mean(axis=1).tolist()} for metric, score in scores.items()}


def _worst(runs: list[Scored]) -> dict[str, Any]:
    dice = values_of(runs, "dice").mean(axis=0)
    stems = list(runs[0].scores)
    order = np.argsort(dice)[: math.ceil(WORST * len(stems))]
    return {"dice": float(dice[order].mean()), "images": {stems[index]: float(dice[index]) for index in order}}
