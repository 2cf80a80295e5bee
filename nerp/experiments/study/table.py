"""A study's table: every row's scores with intervals over trainings and images, contrasts, and the worst images."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import numpy as np
import torch

from nerp.evaluation.crossed import crossed_draws
from nerp.evaluation.segmentation import Scored
from nerp.experiments.overlap_table import Values, apart, told, values_of
from nerp.experiments.study.settings import MEAN_MASK, Row, StudyConfig

WORST = 0.1
"""The part of the images that is named as the worst."""

Runs = Mapping[int, Scored]
"""The scores of a row's trainings, by seed."""


def table_of(config: StudyConfig, scored: Mapping[str, Runs]) -> dict[str, Any]:
    """All rows and contrasts; a contrast is of the seeds that both rows have.

    Args:
        config: the study.
        scored: of each row; rows of which nothing is there yet are left out.

    Returns:
        JSON-ready, of kind `arms`: for each of `arms`, the rows, and of `differences`, the contrasts, for each metric a
        dict of value, ci95, n, per_seed; `rows`, what each learned from; `worst_tenth` of each row: mean Dice, and the
        images; `distance_unit`, `part`; `warnings`; `skipped`.
    """
    there = {name: runs for name, runs in scored.items() if runs}
    couples = {f"{later} minus {earlier}": (later, earlier) for later, earlier in config.contrasts}
    shared = {name: _shared(config, there, *couple) for name, couple in couples.items()}
    return {
        "kind": "arms",
        "arms": {name: _told(values_of(list(runs.values())), config) for name, runs in there.items()},
        "differences": {name: _told(apart(*both), config) for name, both in shared.items() if both is not None},
        "rows": {name: _learned(config.table[name]) for name in there},
        "worst_tenth": {name: _worst(list(runs.values())) for name, runs in there.items()},
        "distance_unit": "px",
        "part": config.part,
        "warnings": _doubts(config, scored),
        "skipped": [],
    }


def _learned(row: Row) -> dict[str, Any]:
    return {"arm": row.arm, "sets": list(row.sets), "fraction": row.fraction if row.learns_real else None}


def _shared(config: StudyConfig, there: Mapping[str, Runs], later: str, earlier: str) -> tuple[Values, Values] | None:
    """The scores of two rows with the seeds of both; what learns nothing goes with every seed."""
    if later not in there or earlier not in there:
        return None
    fixed = [name for name in (later, earlier) if config.table[name].arm == MEAN_MASK]
    seeds = [set(there[name]) for name in (later, earlier) if name not in fixed]
    common = sorted(set.intersection(*seeds)) if seeds else sorted(there[later])
    if not common:
        return None
    first, second = (
        values_of(list(there[name].values()) if name in fixed else [there[name][seed] for seed in common])
        for name in (later, earlier)
    )
    return first, second


def _doubts(config: StudyConfig, scored: Mapping[str, Runs]) -> list[str]:
    alone = [name for name, runs in scored.items() if len(runs) == 1 and config.table[name].arm != MEAN_MASK]
    missing = [name for name, runs in scored.items() if not runs]
    chance = f"one training of {', '.join(alone)}: the interval says nothing of the chance in training"
    return [*([chance] if alone else []), *([f"no cell of {', '.join(missing)} is there yet"] if missing else [])]


def _told(values: Values, config: StudyConfig) -> dict[str, Any]:
    n_trainings, n_images = values["dice"].shape
    return told(values, crossed_draws(n_trainings, n_images, generator=torch.Generator().manual_seed(config.seed)))


def _worst(runs: list[Scored]) -> dict[str, Any]:
    dice = values_of(runs)["dice"].mean(axis=0)
    stems = list(runs[0].scores)
    order = np.argsort(dice)[: math.ceil(WORST * len(stems))]
    return {"dice": float(dice[order].mean()), "images": {stems[index]: float(dice[index]) for index in order}}
