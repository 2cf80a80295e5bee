"""Where the body and the lungs of a CT lie, coarsely, for framing a view on them."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from nerp.devices import WHOLE
from nerp.volume import WATER_PER_MM, Volume

COARSE_MM = 4.0
"""Voxel size at which anatomy is searched; framing needs no finer one."""
BODY_HU = -300.0
LUNG_HU = -400.0
OUTSIDE_AIR_HU = -600.0
SMALLEST_LUNG_MM3 = 2.0e5
"""Less air than this (0.2 litres) inside the body is not a lung."""


@dataclass(frozen=True)
class Anatomy:
    """Centres of the coarse voxels of body and lungs, in world mm.

    Args:
        body:      (N, 3) float64; the whole grid's corners where no body is found.
        lungs:     (M, 3) float64, or None where no lungs are found.
        radius_mm: how far a structure may reach beyond its voxels' centres.
    """

    body: Tensor
    lungs: Tensor | None
    radius_mm: float


def find_anatomy(volume: Volume) -> Anatomy:
    """Body and lungs of a CT: tissue in one piece, and the air enclosed by it.

    The table falls away with everything that is not the largest piece of tissue.

    Args:
        volume: `(C, D, H, W)`; the first channel is read, in HU or 1/mm.

    Returns:
        The anatomy; of a volume in another unit, or without a body, the grid's box alone.
    """
    values = _as_hu(volume)
    if values is None:
        return Anatomy(volume.corners_mm(), None, 0.0)
    hu, affine = _upright(*_coarser(values, volume.affine))
    inside = ~_outside_air(hu)
    body = _largest((hu > BODY_HU) & inside, opening=1)
    if not body.any():
        return Anatomy(volume.corners_mm(), None, 0.0)
    voxel_mm3 = float(affine[:3, :3].det().abs())
    lungs = _lungs((hu < LUNG_HU) & inside & _between(body), SMALLEST_LUNG_MM3 / voxel_mm3)
    radius_mm = float(affine[:3, :3].norm(dim=0).max()) / 2
    return Anatomy(_points(body, affine), None if lungs is None else _points(lungs, affine), radius_mm)


def _as_hu(volume: Volume) -> Tensor | None:
    values = volume.values[0].detach().float().cpu()
    if volume.unit == "hu":
        return values
    return (values / WATER_PER_MM - 1.0) * 1000.0 if volume.unit == "1/mm" else None


def _coarser(values: Tensor, affine: Tensor) -> tuple[Tensor, Tensor]:
    """Average over blocks of voxels of about `COARSE_MM`."""
    spacing = affine[:3, :3].norm(dim=0)
    steps = (COARSE_MM / spacing).floor().clamp(min=1).long()
    steps = torch.minimum(steps, torch.tensor(values.shape, **WHOLE))
    pooled = F.avg_pool3d(values[None, None], tuple(steps.tolist()), ceil_mode=True)[0, 0]
    coarse = affine.clone()
    coarse[:3, :3] = affine[:3, :3] * steps
    coarse[:3, 3] += affine[:3, :3] @ ((steps - 1) / 2).to(affine)
    return pooled, coarse


def _upright(values: Tensor, affine: Tensor) -> tuple[np.ndarray, Tensor]:
    """Axes permuted so that the first is the one closest to superior."""
    axes = affine[:3, :3] / affine[:3, :3].norm(dim=0)
    first = int(axes[2].abs().argmax())
    order = [first, *(axis for axis in range(3) if axis != first)]
    return values.permute(order).numpy(), torch.cat([affine[:, order], affine[:, 3:]], dim=1)


def _outside_air(hu: np.ndarray) -> np.ndarray:
    """Air joined, within its axial slice, to the rim of that slice.

    Slice by slice, since airways may reach the outside through mouth and nose.
    """
    from scipy import ndimage

    in_plane = np.zeros((3, 3, 3), bool)
    in_plane[1, 1, :] = in_plane[1, :, 1] = True
    pieces, _ = ndimage.label(hu < OUTSIDE_AIR_HU, structure=in_plane)
    rims = (pieces[:, 0], pieces[:, -1], pieces[:, :, 0], pieces[:, :, -1])
    at_rim = np.unique(np.concatenate([rim.ravel() for rim in rims]))
    return np.isin(pieces, at_rim[at_rim > 0])


def _largest(mask: np.ndarray, opening: int) -> np.ndarray:
    """The largest piece of a mask once thin parts, such as the table's shell, are cut off."""
    from scipy import ndimage

    opened = ndimage.binary_opening(mask, iterations=opening)
    pieces, n_pieces = ndimage.label(opened if opened.any() else mask)
    if n_pieces == 0:
        return mask
    return pieces == np.bincount(pieces.ravel())[1:].argmax() + 1


def _between(body: np.ndarray) -> np.ndarray:
    """The box around the body: air beyond it belongs to the table or its mattress."""
    box = np.zeros_like(body)
    box[tuple(slice(index.min(), index.max() + 1) for index in np.nonzero(body))] = True
    return box


def _lungs(air: np.ndarray, smallest: float) -> np.ndarray | None:
    """The large pieces of enclosed air; stomach and bowel gas are smaller by far."""
    from scipy import ndimage

    pieces, _ = ndimage.label(ndimage.binary_opening(air))
    counts = np.bincount(pieces.ravel())
    counts[0] = 0
    if counts.max() < smallest:
        return None
    return np.isin(pieces, np.flatnonzero(counts >= 0.25 * counts.max()))


def _points(mask: np.ndarray, affine: Tensor) -> Tensor:
    index = torch.from_numpy(np.argwhere(mask)).to(torch.float64)
    return index @ affine[:3, :3].T + affine[:3, 3]


def _corners(volume: Volume) -> Tensor:
    ends = [torch.tensor([-0.5, count - 0.5], dtype=torch.float64, device="cpu") for count in volume.shape]
    return torch.cartesian_prod(*ends) @ volume.affine[:3, :3].T + volume.affine[:3, 3]
