"""The floor under the scores: one half of the real images against the other, so that a number has a scale."""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from typing import Any

import numpy as np
import torch

from nerp.devices import WHOLE
from nerp.evaluation.distances import frechet, moments, squared_mmd
from nerp.evaluation.neighbours import METRICS, NEIGHBOURS, neighbour_scores
from nerp.evaluation.sample import Sample
from nerp.randomness import stream

FLOOR_METRICS = ("fid", "kid", *METRICS)


def floor(real: Sample, n_splits: int, *, seed: int = 0) -> dict[str, Any]:
    """The scores of real images against real images: random halves, patients whole.

    Args:
        real:     the real images.
        n_splits: how many times it is split.
        seed:     of the splits.

    Returns:
        JSON-ready: `fid`, `kid`, `precision`, `recall`, `density` and `coverage`, each with `value`, the mean over
        the splits, `ci95`, null, since the splits share their images, `spread`, the standard deviation over the
        splits, and `n`, the images of a half; `n_splits` and `by`, what was split: `patients` or `images`. Or
        `value` null throughout, and a `reason`.
    """
    smallest, drawn = 2 * (NEIGHBOURS + 1), stream(seed, 0, "floor")
    halves = [_halves(real.labels, drawn) for _ in range(n_splits)]
    fewest = min((len(half) for pair in halves for half in pair), default=0)
    by = {"n_splits": n_splits, "by": "images" if real.groups is None else "patients"}
    if 2 * fewest < smallest:
        reason = f"a half of the real images would hold {fewest}; expected {smallest // 2} or more"
        return {name: {"value": None, "ci95": None, "n": fewest} for name in FLOOR_METRICS} | by | {"reason": reason}
    found = [_scores(real, *pair) for pair in halves]
    table = {name: [one[name] for one in found] for name in FLOOR_METRICS}
    return {name: _entry(values, fewest) for name, values in table.items()} | by


def _entry(values: list[float], count: int) -> dict[str, Any]:
    spread = float(np.std(values, ddof=1)) if len(values) > 1 else None
    return {"value": float(np.mean(values)), "ci95": None, "n": count, "spread": spread}


def _scores(real: Sample, first: list[int], second: list[int]) -> dict[str, float]:
    one, other = real.features[first], real.features[second]
    scores = {"fid": frechet(moments(one), moments(other)), "kid": float(squared_mmd(one, other))}
    return scores | {name: float(values) for name, values in neighbour_scores(one, other).items()}


def _halves(labels: Sequence[Hashable], generator: torch.Generator) -> tuple[list[int], list[int]]:
    """Images of two halves, about equal, each group in one of them."""
    groups: dict[Hashable, list[int]] = {}
    for image, label in enumerate(labels):
        groups.setdefault(label, []).append(image)
    order = torch.randperm(len(groups), generator=generator, **WHOLE).tolist()
    halves: tuple[list[int], list[int]] = ([], [])
    for images in sorted((list(groups.values())[number] for number in order), key=len, reverse=True):
        min(halves, key=len).extend(images)
    return halves
