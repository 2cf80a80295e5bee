"""The lungs as a reader outlines them: each closed over what is diseased in it, and without the windpipe."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

from nerp.errors import GeometryError
from nerp.volume import Volume

WORKING_MM = 2.0
"""Voxel size at which lungs are closed, where the labels are finer."""
SEED_MM = 6.0
"""Two lungs that touch come apart when so much of their edge is taken off."""
LEAST_LUNG = 0.1
"""A piece with less than this part of the largest lung's voxels is none of its own."""
NEAR_MM = 6.0
"""A labelled finding so near to a lung is the lung's."""


def closed_lungs(
    labels: Volume,
    lungs: Sequence[int],
    *,
    close_mm: float,
    joined: Sequence[int] = (),
    apart: Tensor | None = None,
    working_mm: float = WORKING_MM,
) -> Volume:
    """The lungs' labels, closed: what a lung surrounds and what notches it take the label of the nearest lung voxel.

    Right and left lung are closed each by itself, so that what lies between them stays out. No voxel is taken from
    another structure's label.

    Args:
        labels:     `(M, D, H, W)` in 'label'.
        lungs:      their label values, sides or lobes or both lungs in one.
        close_mm:   radius of the ball that rolls about each lung: hollows too narrow for it are filled.
        joined:     label values of what is part of a lung where it touches one: nodules, consolidations, free air.
        apart:      (D, H, W) bool, voxels that are no lung whatever their label, such as the windpipe's.
        working_mm: voxel size at which it is done, where the labels are finer.

    Returns:
        `(1, D, H, W)` in 'label' on the same grid: a lung's value, or 0.

    Raises:
        GeometryError: the volume does not hold labels.
    """
    if labels.unit != "label":
        raise GeometryError(f"expected a volume in 'label', found {labels.unit!r}; read it with read_labels")
    own, near, others = _parts(labels.values.cpu().numpy(), lungs, joined)
    if apart is not None:
        own = np.where(apart.cpu().numpy(), 0, own)
    if not own.any():
        return Volume(torch.from_numpy(own)[None], labels.affine, "label").to(labels.values.device)
    steps = [max(1, round(working_mm / side)) for side in labels.spacing_mm]
    box = box_about(own > 0, [round((close_mm + SEED_MM) / side) + 1 for side in labels.spacing_mm])
    spacing_mm = [side * step for side, step in zip(labels.spacing_mm, steps, strict=True)]
    thin = tuple(slice(step // 2, None, step) for step in steps)
    taken = _closed(own[box][thin], near[box][thin], spacing_mm, close_mm)
    for axis, step in enumerate(steps):
        taken = taken.repeat(step, axis)
    whole = _fitted(taken, own[box].shape)
    free = (own[box] == 0) & ~others[box]
    own[box] = np.where(free, whole, own[box])
    if apart is not None:
        own = np.where(apart.cpu().numpy(), 0, own)
    return Volume(torch.from_numpy(own)[None], labels.affine, "label").to(labels.values.device)


def _parts(
    values: np.ndarray, lungs: Sequence[int], joined: Sequence[int]
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """(D, H, W) each: the lungs' own values, else 0; whether there is a joined label; whether there is any other."""
    own = np.where(np.isin(values, list(lungs)), values, 0.0).max(axis=0).astype(np.float32)
    near = np.isin(values, [value for value in joined if value not in set(lungs)])
    others = np.any((values > 0) & ~np.isin(values, list(lungs)) & ~near, axis=0)
    is_near = np.any(near, axis=0)
    return own, np.asarray(is_near), np.asarray(others & ~is_near)


def box_about(mask: np.ndarray, margin: Sequence[int]) -> tuple[slice, ...]:
    """The slices about a mask, and a margin, within the grid.

    Args:
        mask:   (D, H, W) bool, some of it True.
        margin: voxels along each axis.
    """
    found = []
    for axis, more in enumerate(margin):
        (where,) = np.nonzero(mask.any(axis=tuple(other for other in range(mask.ndim) if other != axis)))
        found.append(slice(max(0, int(where[0]) - more), int(where[-1]) + 1 + more))
    return tuple(found)


def _closed(own: np.ndarray, near: np.ndarray, spacing_mm: Sequence[float], close_mm: float) -> np.ndarray:
    """Lung values with each lung closed and what touches it joined; 0 elsewhere."""
    from scipy import ndimage

    sides = _sides(own > 0, spacing_mm)
    nearest = ndimage.distance_transform_edt(own == 0, sampling=spacing_mm, return_indices=True)
    away_mm, index = nearest
    sides = np.where(near & _touching(near, away_mm), sides[tuple(index)], sides)
    filled = np.zeros(own.shape, bool)
    for side in range(1, int(sides.max()) + 1):
        filled |= _filled(sides == side, spacing_mm, close_mm)
    return np.where(filled | (sides > 0), own[tuple(index)], 0.0).astype(np.float32)


def _touching(near: np.ndarray, away_mm: np.ndarray) -> np.ndarray:
    """The pieces of a mask that come near a lung."""
    from scipy import ndimage

    pieces, n_pieces = ndimage.label(near)
    least = np.asarray(ndimage.minimum(away_mm, pieces, np.arange(n_pieces + 1))) if n_pieces else np.zeros(1)
    touches = least <= NEAR_MM
    touches[0] = False
    return touches[pieces]


def _sides(lung: np.ndarray, spacing_mm: Sequence[float]) -> np.ndarray:
    """(D, H, W) number of the lung that each voxel belongs to, from 1; 0 outside."""
    from scipy import ndimage

    depth_mm = ndimage.distance_transform_edt(lung, sampling=spacing_mm)
    pieces, n_pieces = ndimage.label(depth_mm > SEED_MM)
    if n_pieces < 2:
        return lung.astype(np.int32)
    counts = np.bincount(pieces.ravel())
    counts[0] = 0
    large = np.flatnonzero(counts >= LEAST_LUNG * counts.max())
    numbers = np.zeros(n_pieces + 1, np.int32)
    numbers[large] = np.arange(1, len(large) + 1)
    seeds = numbers[pieces]
    index = ndimage.distance_transform_edt(seeds == 0, sampling=spacing_mm, return_distances=False, return_indices=True)
    return np.where(lung, seeds[tuple(index)], 0)


def _filled(lung: np.ndarray, spacing_mm: Sequence[float], close_mm: float) -> np.ndarray:
    """One lung, hollows narrower than a ball and holes within it filled."""
    from scipy import ndimage

    if not lung.any():
        return lung
    margin = [round(close_mm / side) + 1 for side in spacing_mm]
    box = box_about(lung, [0, 0, 0])
    padded = np.pad(lung[box], [(more, more) for more in margin])
    grown = ndimage.distance_transform_edt(~padded, sampling=spacing_mm) <= close_mm
    closed = (ndimage.distance_transform_edt(grown, sampling=spacing_mm) > close_mm) | padded
    closed = ndimage.binary_fill_holes(closed)
    filled = lung.copy()
    filled[box] = closed[tuple(slice(more, more + part) for more, part in zip(margin, lung[box].shape, strict=True))]
    return filled


def _fitted(values: np.ndarray, shape: Sequence[int]) -> np.ndarray:
    """Repeated voxels cut to a shape, or their last ones repeated up to it."""
    for axis, count in enumerate(shape):
        values = values.take(np.minimum(np.arange(count), values.shape[axis] - 1), axis=axis)
    return values
