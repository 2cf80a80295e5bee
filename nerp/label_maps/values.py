"""Which values a label map holds, how often, and where: counted slice by slice, for whole numbers take more memory."""

from __future__ import annotations

from collections.abc import Collection

import numpy as np
from torch import Tensor

from nerp.volume import Volume

COUNTED = 2**16
"""Larger values are sorted instead of counted in a table."""


def label_counts(labels: Volume) -> dict[int, int]:
    """How many voxels hold each value that is there, 0 too, in ascending order; of several maps the sum.

    Args:
        labels: `(M, D, H, W)`.
    """
    values = numbers_of(labels)
    if values.max(initial=0) >= COUNTED:
        found, counts = np.unique(values, return_counts=True)
        return {int(value): int(count) for value, count in zip(found, counts, strict=True)}
    totals = np.zeros(int(values.max(initial=0)) + 1, np.int64)
    for one in values:
        for plane in one:
            totals += np.bincount(plane.astype(np.int64).ravel(), minlength=len(totals))
    return {int(value): int(totals[value]) for value in np.flatnonzero(totals)}


def present_labels(labels: Volume) -> set[int]:
    """The values of `(M, D, H, W)` labels that some voxel has, but 0."""
    return set(label_counts(labels)) - {0}


def where_labelled(labels: Volume, values: Collection[int]) -> np.ndarray:
    """Where any map holds one of some values.

    Args:
        labels: `(M, D, H, W)`.
        values: of labels.

    Returns:
        (D, H, W) bool.
    """
    chosen = np.zeros(max(values, default=0) + 2, bool)
    chosen[list(values)] = True
    is_there = np.zeros(labels.shape, bool)
    for one in numbers_of(labels):
        for slab, plane in enumerate(one):
            is_there[slab] |= chosen[np.minimum(plane, len(chosen) - 1).astype(np.int32)]
    return is_there


def numbers_of(labels: Volume | Tensor) -> np.ndarray:
    """The values of labels as an array of the same shape."""
    values = labels.values if isinstance(labels, Volume) else labels
    return values.detach().cpu().numpy()
