"""Label maps carried onto a CT's grid through both affines, and what is odd about where they lie."""

from __future__ import annotations

import itertools
import logging
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch

from nerp.devices import SINGLE
from nerp.errors import VolumeError
from nerp.label_maps.stored import StoredMaps
from nerp.volume import Volume, as_affine

log = logging.getLogger(__name__)

SAME_VOXELS = 0.1
"""Grids of one shape that lie less apart, in voxels, are one grid whose affine was rounded."""
FAR = 2**31
"""Beyond any index; places further out lie there."""
BESIDE_VOXELS = 0.5
"""Grids of one shape that lie up to so far apart give labels that are right to one voxel; a warning tells them."""


def is_same_grid(path: Path, stored: StoredMaps, like: Volume) -> bool:
    """Whether labels lie on the CT's own grid, voxel by voxel.

    Args:
        path:   as messages name it.
        stored: maps (I, J, K) and their affine.
        like:   the CT, (C, D, H, W).

    Raises:
        VolumeError: the CT's shape in another place, which mostly means a header that was lost.
    """
    if stored.is_on_like:
        return True
    shape = stored.maps[0].shape
    if sorted(shape) != sorted(like.shape):
        return False
    apart = _voxels_apart(stored.affine, like) if shape == like.shape else np.inf
    if apart <= SAME_VOXELS:
        return True
    beside = _box_apart(shape, stored.affine, like)
    if shape != like.shape or beside <= SAME_VOXELS or not _boxes_meet(shape, stored.affine, like):
        return False
    if beside <= BESIDE_VOXELS:
        log.warning("%s: lies %.2g voxels beside the CT's grid; each voxel takes the nearest label", path, beside)
        return False
    spans = f"labels span {_extent_of(shape, stored.affine)}, CT {extent(like)} mm"
    raise VolumeError(
        f"{path}: has the CT's {'x'.join(map(str, shape))} voxels but another place ({spans}); if it was made on the "
        "CT's voxels, say so with --labels-on-ct-grid (on_ct_grid=True), else resample it onto the CT"
    )


def _voxels_apart(affine: np.ndarray, like: Volume) -> float:
    """How far the same voxel of two grids of one shape lies apart at most, in the CT's smallest voxel side."""
    corners = np.array(list(itertools.product(*((0, count - 1) for count in like.shape))))
    steps = corners @ (affine - like.affine.numpy())[:3, :3].T + (affine - like.affine.numpy())[:3, 3]
    return float(np.linalg.norm(steps, axis=1).max() / min(like.spacing_mm))


def _box_apart(shape: Sequence[int], affine: np.ndarray, like: Volume) -> float:
    """How far corners of two boxes lie apart at most, whichever way round; in the CT's smallest voxel side."""
    distances = torch.cdist(_empty(shape, affine).corners_mm(), like.corners_mm())
    return float(torch.maximum(distances.amin(0).max(), distances.amin(1).max())) / min(like.spacing_mm)


def _boxes_meet(shape: Sequence[int], affine: np.ndarray, like: Volume) -> bool:
    """Whether the boxes about two grids, along the world's axes, share any place."""
    ours, theirs = _empty(shape, affine).corners_mm(), like.corners_mm()
    return bool((ours.amin(0) < theirs.amax(0)).all() and (theirs.amin(0) < ours.amax(0)).all())


def on_grid_of(stored: StoredMaps, like: Volume) -> np.ndarray:
    """(M, D, H, W) float32: the label nearest to each voxel of the CT, 0 outside the label maps.

    Args:
        stored: maps (I, J, K) and their affine.
        like:   the CT, (C, D, H, W).
    """
    index_from_index = np.linalg.inv(stored.affine) @ like.affine.numpy()
    return np.stack([_nearest(one, index_from_index, like.shape) for one in stored.maps])


def _nearest(stored: np.ndarray, matrix: np.ndarray, shape: tuple[int, int, int]) -> np.ndarray:
    """Nearest values of `stored` on a grid of `shape`, slab by slab so that no index volume is built."""
    rows, columns = np.arange(shape[1])[:, None], np.arange(shape[2])[None, :]
    plane = [row[1] * rows + row[2] * columns + row[3] + 0.5 for row in matrix[:3]]
    values = np.zeros(shape, np.float32)
    for slab in range(shape[0]):
        places = [np.floor(part + row[0] * slab) for part, row in zip(plane, matrix, strict=False)]
        index = [np.clip(place, -1, FAR).astype(np.int64) for place in places]
        inside = np.logical_and.reduce([(i >= 0) & (i < n) for i, n in zip(index, stored.shape, strict=True)])
        values[slab][inside] = stored[tuple(i[inside] for i in index)]
    return values


def shares_outside(stored: StoredMaps, like: Volume) -> dict[int, float]:
    """The share of each label's voxels that lies outside the CT, where there are any.

    Args:
        stored: maps (I, J, K) and their affine.
        like:   the CT, (C, D, H, W).
    """
    matrix = np.linalg.inv(like.affine.numpy()) @ stored.affine
    corners = np.array(list(itertools.product(*((0, count - 1) for count in stored.maps[0].shape))))
    if _is_inside(corners @ matrix[:3, :3].T + matrix[:3, 3], like.shape).all():
        return {}
    inside: dict[int, int] = {}
    total: dict[int, int] = {}
    for one in stored.maps:
        for slab, plane in enumerate(one):
            rows, columns = np.nonzero(plane)
            index = np.stack([np.full(len(rows), slab), rows, columns], axis=1)
            is_inside = _is_inside(index @ matrix[:3, :3].T + matrix[:3, 3], like.shape)
            _count(total, plane[rows, columns])
            _count(inside, plane[rows, columns][is_inside])
    shares = {value: 1 - inside.get(value, 0) / count for value, count in total.items()}
    return {value: share for value, share in sorted(shares.items()) if share > 0}


def _is_inside(index: np.ndarray, shape: Sequence[int]) -> np.ndarray:
    return np.logical_and.reduce((index >= -0.5) & (index < np.array(shape) - 0.5), axis=-1)


def _count(counts: dict[int, int], values: np.ndarray) -> None:
    for value, count in zip(*np.unique(values, return_counts=True), strict=True):
        counts[int(value)] = counts.get(int(value), 0) + int(count)


def refuse_outside(path: Path, stored: StoredMaps, like: Volume) -> VolumeError:
    """The error for labels of which none lies inside the CT.

    Args:
        path:   as the message names it.
        stored: maps (I, J, K) and their affine.
        like:   the CT, (C, D, H, W).
    """
    spans = f"labels span {_extent_of(stored.maps[0].shape, stored.affine)}, CT {extent(like)} mm"
    repair = "check the pair, or say --labels-on-ct-grid (on_ct_grid=True) if the labels' header is what is wrong"
    return VolumeError(f"{path}: no label lies inside the CT ({spans}); {repair}")


def _extent_of(shape: Sequence[int], affine: np.ndarray) -> str:
    return extent(_empty(shape, affine))


def _empty(shape: Sequence[int], affine: np.ndarray) -> Volume:
    """A volume of this grid that takes no memory."""
    return Volume(torch.zeros(1, 1, 1, 1, **SINGLE).expand(1, *shape), as_affine(affine), "label")


def extent(volume: Volume) -> str:
    """Where a volume (C, D, H, W) lies, such as `x 0..300 y 0..300 z -340..0`, mm."""
    world = volume.corners_mm()
    ranges = zip(world.amin(0).tolist(), world.amax(0).tolist(), strict=True)
    return " ".join(f"{name} {low:.0f}..{high:.0f}" for name, (low, high) in zip("xyz", ranges, strict=True))
