"""A CT without its table: all that is not the body becomes air."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from nerp.anatomy.body import TISSUE_HU, BodyMap, map_body, shrink, spread
from nerp.anatomy.scanned import scanned_field
from nerp.volume import AIR_HU, WATER_PER_MM, Volume

ALL_AXES = [0, 1, 2]


def without_table(ct: Volume, body: BodyMap | None = None) -> Volume:
    """A CT in which table, mattress, blankets and lines around the body are air; the body's values stay as they are.

    The body is the largest piece of tissue, with arms that lie beside it, the air that it encloses, and one more
    voxel all round, for the skin's partial volumes. Where the table touches the patient it is cut off at 4 to 8 mm
    from the skin: a shell thinner than that stays under the place where it is touched, and nowhere else.

    Args:
        ct:   `(C, D, H, W)` in HU or 1/mm; the first channel tells where the body is.
        body: its `map_body`, where that is known.

    Returns:
        The same grid and unit; -1000 HU, or 0 /mm, outside the body.

    Raises:
        VolumeError: another unit, or no tissue.
    """
    air = AIR_HU if ct.unit == "hu" else 0.0
    kept = body_voxels(ct, body).to(ct.values.device)
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
    deep = body.on_ct_axes(shrink(body.inside | ~body.scanned, ALL_AXES) & body.inside)
    near = body.on_ct_axes(spread(body.tissue, ALL_AXES))
    padding = body.on_ct_axes(scanned_field(body.hu)[1])
    coarse, fine = _boxes(near | deep, body.factors)
    kept = torch.zeros(ct.shape, dtype=torch.bool, device="cpu")
    within = kept.numpy()[fine]
    dense = (ct.values[0].detach().cpu()[fine] > threshold).numpy()
    found = _fine(deep[coarse], body, within.shape) | (dense & _fine(near[coarse], body, within.shape))
    within[:] = _with_neighbours(found)
    if padding.any():
        within[:] &= ~_fine(padding[coarse], body, within.shape)
    return kept


def _boxes(mask: np.ndarray, factors: tuple[int, int, int]) -> tuple[tuple[slice, ...], tuple[slice, ...]]:
    """The box of a coarse mask with one voxel around it, in coarse and in fine voxels."""
    coarse = []
    for axis in range(3):
        found = np.flatnonzero(mask.any(axis=tuple(other for other in range(3) if other != axis)))
        coarse.append(slice(max(0, int(found[0]) - 1), int(found[-1]) + 2))
    fine = [slice(part.start * factor, part.stop * factor) for part, factor in zip(coarse, factors, strict=True)]
    return tuple(coarse), tuple(fine)


def _fine(mask: np.ndarray, body: BodyMap, shape: tuple[int, ...]) -> np.ndarray:
    """A coarse mask on the CT's voxels, as many as there are."""
    for axis, factor in enumerate(body.factors):
        mask = np.repeat(mask, factor, axis=axis)
    return mask[: shape[0], : shape[1], : shape[2]]


def _with_neighbours(mask: np.ndarray) -> np.ndarray:
    """A mask and the six neighbours of each of its voxels."""
    grown = mask.copy()
    for axis in range(3):
        out, parts = np.moveaxis(grown, axis, 0), np.moveaxis(mask, axis, 0)
        out[1:] |= parts[:-1]
        out[:-1] |= parts[1:]
    return grown
