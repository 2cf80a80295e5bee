"""Where the body and the lungs of a CT lie, coarsely, for framing a view on them.

Everything is weighed rather than counted, on a grid of its own that does not jump with the CT's: a little noise, a
slightly other voxel size or one more slice change the result as little.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from nerp.devices import WHOLE
from nerp.volume import AIR_HU, WATER_PER_MM, Volume

COARSE_MM = 4.0
"""Voxel size at which anatomy is searched; framing needs no finer one."""
SAMPLES = 2
"""Samples of the CT along each side of a coarse voxel."""
BODY_HU = -300.0
LUNG_HU = -400.0
RAMP_HU = 200.0
"""So far within its threshold a voxel counts in full; at the threshold it weighs nothing."""
BONE_HU = 200.0
OUTSIDE_AIR_HU = -600.0
SMALLEST_LUNG_MM3 = 2.0e5
"""Less air than this (0.2 litres) inside the body is not a lung."""


@dataclass(frozen=True)
class Tissue:
    """Coarse voxels of a tissue.

    Args:
        points:  (N, 3) float64, their centres, world mm.
        weights: (N,) float64, how much of each is the tissue, 0 to 1.
    """

    points: Tensor
    weights: Tensor


@dataclass(frozen=True)
class Anatomy:
    """Body and lungs.

    Args:
        body:     the whole grid's corners where no body is found.
        lungs:    aerated lung, or None where none is found.
        midline:  world x of the sagittal plane about which the thorax is alike, mm.
        voxel_mm: side of the coarse voxels; 0 where no body is found.
    """

    body: Tissue
    lungs: Tissue | None
    midline: float
    voxel_mm: float

    def thorax(self) -> Tissue | None:
        """The lungs and their mirror image: both sides of the chest, though one be without air. None without lungs."""
        if self.lungs is None:
            return None
        mirrored = self.lungs.points.clone()
        mirrored[:, 0] = 2 * self.midline - mirrored[:, 0]
        weights = torch.cat([self.lungs.weights, self.lungs.weights])
        return Tissue(torch.cat([self.lungs.points, mirrored]), weights)


def find_anatomy(volume: Volume) -> Anatomy:
    """Body and lungs of a CT: tissue in one piece, and the air enclosed by it.

    The table falls away with everything that is not the largest piece of tissue.

    Args:
        volume: `(C, D, H, W)`; the first channel is read, in HU or 1/mm.

    Returns:
        The anatomy; of a volume in another unit, or without a body, the grid's box alone.
    """
    if volume.unit not in ("hu", "1/mm"):
        return _box(volume)
    hu, places = _coarse(volume.thinned(COARSE_MM / SAMPLES))
    inside = ~_outside_air(hu)
    body = _largest((hu > BODY_HU) & inside, opening=1)
    if not body.any():
        return _box(volume)
    lungs = large_pieces_of_air((hu < LUNG_HU) & inside & _between(body), SMALLEST_LUNG_MM3 / COARSE_MM**3)
    tissue = _tissue(body, (hu - BODY_HU) / RAMP_HU, places)
    aerated = None if lungs is None else _tissue(lungs, (LUNG_HU - hu) / RAMP_HU, places)
    return Anatomy(tissue, aerated, _midline(body, lungs, hu, places), COARSE_MM)


def _box(volume: Volume) -> Anatomy:
    corners = volume.corners_mm()
    body = Tissue(corners, torch.ones(len(corners), dtype=torch.float64, device="cpu"))
    return Anatomy(body, None, float(corners[:, 0].mean()), 0.0)


def _as_hu(values: Tensor, unit: str) -> Tensor:
    return values if unit == "hu" else (values / WATER_PER_MM - 1.0) * 1000.0


def _coarse(volume: Volume) -> tuple[np.ndarray, list[Tensor]]:
    """HU on a grid along the world's axes, centred on the CT, and its coordinates: inferior to superior, y, x.

    Each voxel is the mean of a fixed number of trilinear samples; towards the CT's faces they fade into air, so
    that a sample that comes to lie outside changes nothing at once.
    """
    corners = volume.corners_mm()
    low, high = corners.amin(0), corners.amax(0)
    fine = [_centres(float(low[axis]), float(high[axis]), SAMPLES) for axis in (2, 1, 0)]
    step = COARSE_MM / SAMPLES
    index_from_world = torch.linalg.inv(volume.affine)
    axes = _axes_along(index_from_world)
    if axes is None:
        samples = _sampled_obliquely(volume, fine, index_from_world, step)
    else:
        samples = _sampled_along(volume, fine, index_from_world, axes, step)
    hu = F.avg_pool3d(samples[None, None], SAMPLES)[0, 0]
    return hu.numpy(), [part.view(-1, SAMPLES).mean(1) for part in fine]


def _axes_along(index_from_world: Tensor) -> list[int] | None:
    """The index axes that run along z, y and x; None where one runs along none of them."""
    lies = index_from_world[:3, :3].abs() > 1e-9 * index_from_world[:3, :3].abs().max()
    if not ((lies.sum(0) == 1).all() and (lies.sum(1) == 1).all()):
        return None
    return [int(lies[:, column].int().argmax()) for column in (2, 1, 0)]


def _sampled_along(
    volume: Volume, fine: list[Tensor], index_from_world: Tensor, axes: list[int], step: float
) -> Tensor:
    """(Z, Y, X) HU at samples, axis by axis, faded into air within a sample of the CT's faces."""
    values, inside = volume.values[0].detach().cpu(), torch.ones(1, 1, 1, dtype=torch.float32, device="cpu")
    order = (2, 1, 0)  # one order for all, so that sums are the same bits; NIfTI files hold slices last
    found = values.permute(order)
    for axis in order:
        number = axes.index(axis)
        count, side_mm, column = volume.shape[axis], volume.spacing_mm[axis], 2 - number
        index = fine[number] * index_from_world[axis, column] + index_from_world[axis, 3]
        depth = torch.minimum(index + 0.5, count - 0.5 - index) * side_mm / step
        inside = torch.minimum(inside, _turned(depth.clamp(0.0, 1.0).float(), number))
        found = _interpolated(found, index.clamp(0, count - 1), order.index(axis))
    found = _as_hu(found.permute([order.index(axis) for axis in axes]), volume.unit)
    return AIR_HU + (found - AIR_HU) * inside


def _turned(values: Tensor, axis: int) -> Tensor:
    """Numbers along one of three axes."""
    shape = [1, 1, 1]
    shape[axis] = -1
    return values.view(shape)


def _interpolated(values: Tensor, index: Tensor, axis: int) -> Tensor:
    """Values at places along one axis, linear between voxel centres."""
    low = index.floor().long().clamp(max=max(values.shape[axis] - 2, 0))
    high = (low + 1).clamp(max=values.shape[axis] - 1)
    weight = _turned((index - low).float(), axis)
    return torch.lerp(values.index_select(axis, low).float(), values.index_select(axis, high).float(), weight)


def _sampled_obliquely(volume: Volume, fine: list[Tensor], index_from_world: Tensor, step: float) -> Tensor:
    """(Z, Y, X) HU at samples of a CT that stands askew in the world, faded as above."""
    values = _as_hu(volume.values[0].detach().float().cpu(), volume.unit)
    counts = torch.tensor(volume.shape, dtype=torch.float64, device="cpu")
    steps = volume.affine[:3, :3].norm(dim=0) / step
    planes = [_sampled(values, fine, z, index_from_world, counts, steps) for z in fine[0].tolist()]
    return torch.stack(planes)


def _centres(low: float, high: float, samples: int) -> Tensor:
    """Sample positions of enough coarse voxels about the middle of a range, mm."""
    count = 2 * math.ceil((high - low) / COARSE_MM / 2 + 1) * samples
    index = torch.arange(count, dtype=torch.float64, device="cpu") - (count - 1) / 2
    return (low + high) / 2 + index * COARSE_MM / samples


def _sampled(
    values: Tensor, fine: list[Tensor], z: float, index_from_world: Tensor, counts: Tensor, steps: Tensor
) -> Tensor:
    """(Y, X) HU of one plane of samples, faded into air within a sample of the CT's faces."""
    matrix, offset = index_from_world[:3, :3], index_from_world[:3, 3] + index_from_world[:3, 2] * z
    index = fine[1][:, None, None] * matrix[:, 1] + fine[2][None, :, None] * matrix[:, 0] + offset
    depth = torch.minimum(index + 0.5, counts - 0.5 - index) * steps
    inside = depth.amin(dim=-1).clamp(0.0, 1.0).float()
    where = ((2 * index + 1) / counts - 1).flip(-1).float()
    found = F.grid_sample(values[None, None], where[None, None], padding_mode="border", align_corners=False)[0, 0, 0]
    return AIR_HU + (found - AIR_HU) * inside


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


def large_pieces_of_air(air: np.ndarray, smallest: float) -> np.ndarray | None:
    """The large pieces of enclosed air; stomach and bowel gas are smaller by far.

    Args:
        air:      (Z, Y, X) bool.
        smallest: voxels of which the largest has at least to be.

    Returns:
        (Z, Y, X) bool, opened; None where all are smaller.
    """
    from scipy import ndimage

    pieces, _ = ndimage.label(ndimage.binary_opening(air))
    counts = np.bincount(pieces.ravel())
    counts[0] = 0
    if counts.max() < smallest:
        return None
    return np.isin(pieces, np.flatnonzero(counts >= 0.25 * counts.max()))


def _tissue(mask: np.ndarray, share: np.ndarray, places: list[Tensor]) -> Tissue:
    """The voxels of a mask, weighed by how much of each is within."""
    found = torch.from_numpy(np.argwhere(mask)).to(**WHOLE)
    points = torch.stack([places[axis][found[:, axis]] for axis in (2, 1, 0)], dim=1)
    return Tissue(points, torch.from_numpy(share[mask].clip(0.0, 1.0)).double())


def _midline(body: np.ndarray, lungs: np.ndarray | None, hu: np.ndarray, places: list[Tensor]) -> float:
    """World x about which body and bones of the lungs' slices balance, mm: the sagittal plane, nearly."""
    at_lungs = np.ones(len(hu), bool) if lungs is None else lungs.any(axis=(1, 2))
    within = body[at_lungs]
    bone = np.where(within, ((hu[at_lungs] - BONE_HU) / RAMP_HU).clip(0.0, 1.0), 0.0).sum(axis=(0, 1))
    outline = (_filled(within) if lungs is None else within | lungs[at_lungs]).sum(axis=(0, 1)).astype(float)
    x = places[2].numpy()
    middles = [float((x * part).sum() / part.sum()) for part in (bone, outline) if part.sum() > 0]
    return sum(middles) / len(middles)


def _filled(body: np.ndarray) -> np.ndarray:
    from scipy import ndimage

    return np.stack([ndimage.binary_fill_holes(part) for part in body])
