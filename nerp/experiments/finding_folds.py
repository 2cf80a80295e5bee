"""Folds in which each finding is about equally frequent, and no patient is in two of them."""

from __future__ import annotations

from collections.abc import Hashable, Sequence

import numpy as np
import torch

from nerp.errors import DataError
from nerp.evaluation.folds import grouped_folds


def finding_folds(labels: np.ndarray, groups: Sequence[Hashable], n_folds: int, *, seed: int) -> np.ndarray:
    """(N,) int64 folds, 0 to n_folds - 1, of N images: patients whole, spread evenly by their rarest finding.

    Args:
        labels:  (N, K): 1, 0, or NaN where it is not known.
        groups:  whom each image is of.
        n_folds: how many.
        seed:    of the order.

    Raises:
        DataError: fewer patients than folds.
    """
    members = list(dict.fromkeys(groups))
    if len(members) < n_folds:
        raise DataError(f"{len(members)} patients, or CTs, are too few for {n_folds} folds; give more images")
    place = {group: number for number, group in enumerate(members)}
    has = np.zeros((len(members), labels.shape[1]), dtype=bool)
    np.logical_or.at(has, [place[group] for group in groups], labels == 1)
    kinds = _rarest(has, n_folds)
    generator = torch.Generator().manual_seed(seed)
    folds = grouped_folds(members, kinds.tolist(), n_folds=n_folds, generator=generator)
    return np.array([folds[place[group]] for group in groups])


def _rarest(has: np.ndarray, n_folds: int) -> np.ndarray:
    """The rarest finding of each patient, from 1; 0 of those without any, or whose is rarer than there are folds."""
    counts = has.sum(0)
    kinds = np.where(has.any(1), np.where(has, counts, len(has) + 1).argmin(1) + 1, 0)
    names, sizes = np.unique(kinds, return_counts=True)
    for name in names[sizes < n_folds]:
        kinds[kinds == name] = 0
    if 0 < (kinds == 0).sum() < n_folds:
        kinds[kinds == 0] = names[sizes.argmax()]
    return kinds
