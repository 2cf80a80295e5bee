"""Which values a label map holds, how often, and where: counted slice by slice, for whole numbers take more memory."""

from __future__ import annotations

from collections.abc import Collection

import numpy as np
import torch
from torch import Tensor

from nerp.volume import Volume

FEW = 8
"""So few bytes are compared one by one, which is quicker than a table."""
COUNTED = 2**16
"""Larger values are sorted instead of counted in a table."""


def label_counts(labels: Volume) -> dict[int, int]:
    """How many voxels hold each value that is there, 0 too, in ascending order; of several maps the sum.

    Args:
        labels: `(M, D, H, W)`.
    """
    if labels.values.dtype == torch.uint8:
        counted = torch.bincount(_in_memory_order(labels.values.cpu()), minlength=1).tolist()
        return {value: count for value, count in enumerate(counted) if count}
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
    is_there = np.zeros(labels.shape, bool)
    if labels.values.dtype == torch.uint8 and len(values) <= FEW:
        for one in numbers_of(labels):
            for value in values:
                is_there |= one == value
        return is_there
    chosen = np.zeros(max(values, default=0) + 2, bool)
    chosen[list(values)] = True
    for one in numbers_of(labels):
        for slab, plane in enumerate(one):
            is_there[slab] |= chosen[np.minimum(plane, len(chosen) - 1).astype(np.int32)]
    return is_there


def _in_memory_order(values: Tensor) -> Tensor:
    """All numbers in a row, in the order in which they lie, if they lie without gaps."""
    order = sorted(range(values.ndim), key=values.stride, reverse=True)
    return values.permute(order).reshape(-1)


def numbers_of(labels: Volume) -> np.ndarray:
    """The values of labels as an array (M, D, H, W)."""
    return labels.values.detach().cpu().numpy()
