"""The windpipe's middle, followed from above to where it divides."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from nerp.anatomy.body import BodyMap
from nerp.volume import Volume

WINDPIPE_HU = -900.0
"""Room air, nearly: lung, which a thin wall divides from the windpipe, is denser."""
AREAS_MM2 = (30.0, 700.0)
OFF_MIDLINE_MM = 40.0
STEP_MM = 14.0
"""So far the middle may lie from that of the slice above."""
WIDEST_MM = 36.0
"""A piece wider than this is the windpipe dividing, or a lung."""
BRONCHUS_MM = 11.0
"""Further than this from the middle of its path to either side, the windpipe is a bronchus."""
SHORTEST_MM = 30.0
WINDPIPE_MM = 14.0
"""Radius about its middle within which its air lies."""
LUMEN_HU = -900.0
WALL_MM = 2.5
"""So far outside its air, voxels that a threshold took for lung are its wall."""


def follow_windpipe(body: BodyMap, middle: float) -> np.ndarray | None:
    """(K, 3) world mm of the windpipe's middle, from above to the carina; None where there is none to be seen.

    Args:
        body:   (Z, Y, X) coarse voxels.
        middle: column of the midline.
    """
    path: list[np.ndarray] = []
    for number in range(len(body.hu) - 1, -1, -1):
        found = _round_air(body, number, middle, path)
        if found is not None:
            path.append(np.array([number, *found]))
        elif len(path) * body.spacing_mm[0] < SHORTEST_MM:
            path = []
        else:
            break
    if len(path) * body.spacing_mm[0] < SHORTEST_MM:
        return None
    path = _before_bronchus(path, body.spacing_mm[2])
    affine = body.affine.numpy()
    points = np.array(path) @ affine[:3, :3].T + affine[:3, 3]
    return _smooth(points)


def _round_air(body: BodyMap, number: int, middle: float, path: list[np.ndarray]) -> tuple[float, float] | None:
    """Row and column of the piece of air in a slice that goes on the path, or begins it."""
    from scipy import ndimage

    _, row_mm, column_mm = body.spacing_mm
    pieces, n_pieces = ndimage.label(body.inside[number] & (body.hu[number] < WINDPIPE_HU))
    best, nearest = None, np.inf
    for piece, box in enumerate(ndimage.find_objects(pieces, max_label=n_pieces), start=1):
        where = np.argwhere(pieces[box] == piece) + [box[0].start, box[1].start]
        area, width = len(where) * row_mm * column_mm, (box[1].stop - box[1].start) * column_mm
        row, column = where.mean(axis=0)
        start = path[-1][1:] if path else np.array([row, middle])
        apart = float(np.hypot((row - start[0]) * row_mm, (column - start[1]) * column_mm))
        near = apart < (STEP_MM if path else OFF_MIDLINE_MM)
        if near and AREAS_MM2[0] <= area <= AREAS_MM2[1] and width <= WIDEST_MM and apart < nearest:
            best, nearest = (float(row), float(column)), apart
    return best


def _before_bronchus(path: list[np.ndarray], column_mm: float) -> list[np.ndarray]:
    """The path as far as it keeps to its own middle: beyond that it has turned into one of the main bronchi."""
    columns = np.array([place[2] for place in path])
    aside = np.abs(columns - np.median(columns)) * column_mm
    late = np.flatnonzero((aside > BRONCHUS_MM) & (np.arange(len(path)) > len(path) / 2))
    return path[: late[0]] if len(late) else path


def _smooth(points: np.ndarray) -> np.ndarray:
    padded = np.pad(points, [(2, 2), (0, 0)], mode="reflect", reflect_type="odd")
    return np.stack([np.convolve(padded[:, axis], np.ones(5) / 5, mode="valid") for axis in range(3)], axis=1)


def windpipe_voxels(ct: Volume, body: BodyMap) -> Tensor:
    """The voxels of the windpipe down to where it divides, with the inner half of its wall.

    Args:
        ct:   `(1, D, H, W)` HU.
        body: its map.

    Returns:
        (D, H, W) bool; nothing where no windpipe is found.
    """
    columns = body.inside.sum(axis=(0, 1))
    path = follow_windpipe(body, float((np.arange(len(columns)) * columns).sum() / columns.sum()))
    if path is None:
        return torch.zeros(ct.shape, dtype=torch.bool, device="cpu")
    return _about(path, ct)


def _about(path: np.ndarray, ct: Volume) -> Tensor:
    """(D, H, W) bool: the air about a path, (K, 3) world mm, and its wall."""
    from scipy import ndimage

    whole = torch.zeros(ct.shape, dtype=torch.bool, device="cpu")
    index = np.linalg.inv(ct.affine.numpy()) @ np.concatenate([path, np.ones((len(path), 1))], axis=1).T
    reach = WINDPIPE_MM / np.array(ct.spacing_mm)
    low = np.maximum(np.floor(index[:3].min(axis=1) - reach), 0).astype(int)
    high = np.minimum(np.ceil(index[:3].max(axis=1) + reach) + 1, ct.shape).astype(int)
    if (low >= high).any():
        return whole
    box = tuple(slice(a, b) for a, b in zip(low.tolist(), high.tolist(), strict=True))
    away_mm = _from_path(index[:3].T, low, high, ct.spacing_mm)
    pieces, _ = ndimage.label((ct.values[0][box].cpu().numpy() < LUMEN_HU) & (away_mm < WINDPIPE_MM))
    kept = np.unique(pieces[away_mm < min(ct.spacing_mm) + 1.0])
    lumen = np.isin(pieces, kept[kept > 0])
    if lumen.any():
        wall_mm = ndimage.distance_transform_edt(~lumen, sampling=ct.spacing_mm)
        whole[box] = torch.from_numpy((wall_mm <= WALL_MM) & (away_mm < WINDPIPE_MM))
    return whole


def _from_path(index: np.ndarray, low: np.ndarray, high: np.ndarray, spacing_mm: tuple[float, ...]) -> np.ndarray:
    """Distance, mm, of a box's voxels from a path of (K, 3) voxel indices."""
    from scipy import ndimage

    fine = np.concatenate([np.linspace(a, b, 16) for a, b in zip(index[:-1], index[1:], strict=True)])
    places = np.rint(fine).astype(int)
    places = places[((places >= low) & (places < high)).all(axis=1)] - low
    free = np.ones(high - low, bool)
    free[tuple(places.T)] = False
    return ndimage.distance_transform_edt(free, sampling=spacing_mm)
