"""A CT without its table: all that is not the body becomes air."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from nerp.anatomy.body import TISSUE_HU, BodyMap, map_body, shrink, spread
from nerp.volume import AIR_HU, WATER_PER_MM, Volume

ALL_AXES = [0, 1, 2]


def without_table(ct: Volume) -> Volume:
    """A CT in which table, mattress, blankets and lines around the body are air; the body's values stay as they are.

    The body is the largest piece of tissue, with arms that lie beside it, the air that it encloses, and one more
    voxel all round, for the skin's partial volumes. Where the table touches the patient it is cut off at 4 to 8 mm
    from the skin: a shell thinner than that stays under the place where it is touched, and nowhere else.

    Args:
        ct: `(C, D, H, W)` in HU or 1/mm; the first channel tells where the body is.

    Returns:
        The same grid and unit; -1000 HU, or 0 /mm, outside the body.

    Raises:
        VolumeError: another unit, or no tissue.
    """
    air = AIR_HU if ct.unit == "hu" else 0.0
    kept = body_voxels(ct).to(ct.values.device)
    return Volume(torch.where(kept, ct.values, air), ct.affine, ct.unit)


def body_voxels(ct: Volume, body: BodyMap | None = None) -> Tensor:
    """Which voxels belong to the body, its air and its skin's partial volumes included.

    Args:
        ct:   `(C, D, H, W)` in HU or 1/mm.
        body: its `map_body`, where that is known.

    Returns:
        (D, H, W) bool on the CPU.

    Raises:
        VolumeError: another unit, or no tissue.
    """
    body = map_body(ct) if body is None else body
    threshold = TISSUE_HU if ct.unit == "hu" else (TISSUE_HU / 1000.0 + 1.0) * WATER_PER_MM
    deep = shrink(body.inside | ~body.scanned, ALL_AXES) & body.inside
    near = spread(body.tissue, ALL_AXES)
    dense = (ct.values[0].detach().cpu() > threshold).numpy()
    kept = _fine(deep, body, ct.shape) | (dense & _fine(near, body, ct.shape))
    return torch.from_numpy(_with_neighbours(kept))


def _fine(mask: np.ndarray, body: BodyMap, shape: tuple[int, int, int]) -> np.ndarray:
    """A coarse mask on the CT's voxels."""
    fine = body.on_ct_axes(mask)
    for axis, factor in enumerate(body.factors):
        fine = np.repeat(fine, factor, axis=axis)
    return fine[: shape[0], : shape[1], : shape[2]]


def _with_neighbours(mask: np.ndarray) -> np.ndarray:
    """A mask and the six neighbours of each of its voxels."""
    grown = mask.copy()
    for axis in range(3):
        out, parts = np.moveaxis(grown, axis, 0), np.moveaxis(mask, axis, 0)
        out[1:] |= parts[:-1]
        out[:-1] |= parts[1:]
    return grown
