"""Whether the alignment's score would find a mask that is off: the same masks shifted and mirrored on purpose."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, TypeAlias

import numpy as np
import torch

from nerp.evaluation.auroc import auroc, auroc_interval
from nerp.evaluation.borders import Edges, maps_of
from nerp.evaluation.pair_settings import AlignmentConfig

Probes: TypeAlias = dict[str, np.ndarray]
"""What was done to a mask, such as `left`, to the maps of its agreement then; see `maps_of`."""

DIRECTIONS = {"right": (0, 1), "left": (0, -1), "down": (1, 0), "up": (-1, 0)}
"""Rows and columns of a shift by 1."""
MIRRORED = "mirrored"


def shifted(mask: np.ndarray, rows: int, columns: int) -> np.ndarray:
    """A mask moved; what leaves the image is lost, and nothing comes in.

    Args:
        mask:    (H, W) bool.
        rows:    down, pixels.
        columns: to the right, pixels.
    """
    moved = np.zeros_like(mask)
    height, width = mask.shape
    target = np.s_[max(rows, 0) : height + min(rows, 0), max(columns, 0) : width + min(columns, 0)]
    source = np.s_[max(-rows, 0) : height + min(-rows, 0), max(-columns, 0) : width + min(-columns, 0)]
    moved[target] = mask[source]
    return moved


def probed(edges: Edges, mask: np.ndarray, distance: int) -> Probes:
    """How a mask agrees with an image when it is shifted in each direction, diagonals too, and when it is mirrored.

    Args:
        edges:    of the image.
        mask:     (H, W) bool.
        distance: of each shift, pixels; diagonals go as far, rounded.
    """
    steps = {name: (distance * rows, distance * columns) for name, (rows, columns) in DIRECTIONS.items()}
    side = round(distance / np.sqrt(2))
    steps |= {f"{one}-{other}": (side * r, side * c) for one, r in (("up", -1), ("down", 1)) for other, c in _SIDES}
    moved = {name: shifted(mask, *step) for name, step in steps.items()} | {MIRRORED: mask[:, ::-1]}
    return {name: maps_of(edges, one) for name, one in moved.items() if one.any()}


_SIDES = (("left", -1), ("right", 1))


def separation(
    as_found: Sequence[float],
    probes: Sequence[Probes],
    groups: Sequence[str],
    config: AlignmentConfig,
    *,
    score_of: Callable[[np.ndarray], float],
) -> dict[str, Any] | None:
    """The area under the ROC curve of the score: masks as found against the same shifted, and mirrored.

    Args:
        as_found: score of each mask where it is.
        probes:   of each mask, shifted and mirrored; empty where nothing was probed.
        groups:   CT or patient of each.
        config:   distance, seed and count of the draws.
        score_of: the score of (2, 2 R + 1, 2 R + 1) maps.

    Returns:
        For `shifted`, all directions together, for each direction and for `mirrored` a score with `value`, `ci95` and
        `n`, the masks as found; `px`, the distance. None where nothing was probed.
    """
    if not config.probe_px:
        return None
    scores: dict[str, list[float]] = {}
    owners: dict[str, list[str]] = {}
    for group, probe in zip(groups, probes, strict=True):
        for name, maps in probe.items():
            for key in (name,) if name == MIRRORED else (name, "shifted"):
                scores.setdefault(key, []).append(score_of(maps))
                owners.setdefault(key, []).append(group)
    made = {key: _area(list(as_found), list(groups), scores[key], owners[key], config) for key in scores}
    return {"px": config.probe_px, **made}


def _area(
    good: list[float], groups: list[str], off: list[float], owners: list[str], config: AlignmentConfig
) -> dict[str, Any]:
    values, labels, whose = good + off, [1] * len(good) + [0] * len(off), groups + owners
    drawn = torch.Generator().manual_seed(config.seed)
    interval = auroc_interval(values, labels, whose, drawn, n_resamples=min(config.n_resamples, 200))
    return {"value": auroc(values, labels), "ci95": list(interval), "n": len(good)}
