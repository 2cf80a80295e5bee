"""The body in a CT, told from table, mattress and blankets: on a coarse grid along the CT's own axes."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from nerp.anatomy.finding import BONE_HU
from nerp.anatomy.scanned import scanned_field
from nerp.errors import VolumeError
from nerp.volume import WATER_PER_MM, Volume

COARSE_MM = 4.0
"""Voxel size at which the body is searched, where the CT is finer."""
TISSUE_HU = -300.0
"""Midway between the lung's densest and the fat's lightest parts; a table's thin shells lie below it at `COARSE_MM`."""
THIN_MM = 6.0
"""Coarse voxels longer than this are not opened along: one of them is thicker than any shell."""
MARGIN = 4
"""Coarse voxels around the body in which its walls are looked for."""
LUNG_AIR_HU = -970.0
"""Air that is open to the field's edge is lung only above this; room air has -1000."""
SMALLEST_ARM_MM3 = 5e4
ARM_HU = (-150.0, 250.0)
ARM_BONE = 0.005
"""An arm apart from the trunk has a mean within these HU, and at least this fraction of bone."""


@dataclass(frozen=True)
class BodyMap:
    """The body on coarse voxels, axes turned to inferior → superior, posterior → anterior, left → right.

    Args:
        hu:      (Z, Y, X) float32 means, HU.
        tissue:  (Z, Y, X) bool, the body without the air in it.
        inside:  (Z, Y, X) bool, the body with its lungs, airways and bowel gas.
        scanned: (Y, X) bool, the field of view: less than the grid where a circle was reconstructed.
        affine:  (4, 4) float64, from (z, y, x) to world mm.
        factors: voxels of the CT in one of these, along the CT's axes.
        order:   the CT's axis that each of the turned ones is.
        flips:   the turned axes that run against the CT's.
    """

    hu: np.ndarray
    tissue: np.ndarray
    inside: np.ndarray
    scanned: np.ndarray
    affine: Tensor
    factors: tuple[int, int, int]
    order: tuple[int, int, int]
    flips: tuple[int, ...]

    @property
    def spacing_mm(self) -> tuple[float, float, float]:
        """Sides of a coarse voxel along z, y, x, mm."""
        z, y, x = self.affine[:3, :3].norm(dim=0).tolist()
        return z, y, x

    def on_ct_axes(self, mask: np.ndarray) -> np.ndarray:
        """A (Z, Y, X) mask or image on the CT's own axes, still coarse."""
        return np.flip(mask, self.flips).transpose(np.argsort(self.order))


def map_body(ct: Volume) -> BodyMap:
    """Find the body: the largest piece of tissue once what is thin is cut off, and arms that lie apart.

    Thin means less than three coarse voxels, 12 mm of a fine CT: shells of tables, mattress covers, blankets, lines.
    Where such a thing touches the skin, up to one coarse voxel of it stays. Air belongs to the body where tissue
    encloses it within its axial slice, and where the field of view cuts through a lung.

    Args:
        ct: `(C, D, H, W)`; the first channel is read, in HU or 1/mm.

    Raises:
        VolumeError: another unit, or no tissue.
    """
    order, flips = axial_axes(ct.affine)
    pooled, factors = _pooled(ct)
    hu = np.ascontiguousarray(np.flip(pooled.transpose(order), flips))
    scanned, padding = scanned_field(hu)
    dense = (hu > TISSUE_HU) & ~padding
    affine = _turned_affine(ct, factors, order, flips)
    tissue = _body_tissue(dense, hu, affine)
    if not tissue.any():
        raise VolumeError(f"the CT holds no tissue above {TISSUE_HU:g} HU; expected a body: is it in HU?")
    inside = tissue.copy()
    box = _box(tissue)
    part = (dense[box], hu[box], scanned[box[1:]])
    tissue[box] |= _thin_walls(tissue[box], *part)
    inside[box] = tissue[box] | _enclosed(tissue[box], tissue[box], *part[1:])
    return BodyMap(hu, tissue, inside, scanned, affine, factors, order, flips)


def axial_axes(affine: Tensor) -> tuple[tuple[int, int, int], tuple[int, ...]]:
    """The CT's axes nearest to z, y and x, and which of these three run against them.

    Args:
        affine: (4, 4) from voxel index to world mm.
    """
    lean = affine[:3, :3].numpy() / affine[:3, :3].norm(dim=0).numpy()
    free, order = [0, 1, 2], []
    for row in (2, 1, 0):
        order.append(max(free, key=lambda axis: abs(lean[row, axis])))
        free.remove(order[-1])
    flips = tuple(number for number, row in enumerate((2, 1, 0)) if lean[row, order[number]] < 0)
    return (order[0], order[1], order[2]), flips


def _pooled(ct: Volume) -> tuple[np.ndarray, tuple[int, int, int]]:
    values = ct.values[0].detach().float().cpu()
    first, second, third = (max(1, round(COARSE_MM / step)) for step in ct.spacing_mm)
    factors = (first, second, third)
    pooled = F.avg_pool3d(values[None], factors, ceil_mode=True)[0]
    if ct.unit == "1/mm":
        pooled = (pooled / WATER_PER_MM - 1.0) * 1000.0
    elif ct.unit != "hu":
        raise VolumeError(f"the body is searched in a volume in 'hu' or '1/mm', found {ct.unit!r}")
    return pooled.numpy(), factors


def _turned_affine(ct: Volume, factors: tuple[int, ...], order: tuple[int, ...], flips: tuple[int, ...]) -> Tensor:
    """From a coarse voxel on turned axes to the world."""
    turn = torch.zeros(4, 4, dtype=torch.float64, device="cpu")
    turn[3, 3] = 1.0
    for number, axis in enumerate(order):
        factor, count = factors[axis], -(-ct.shape[axis] // factors[axis])
        first = (factor - 1) / 2
        turn[axis, number] = -factor if number in flips else factor
        turn[axis, 3] = first + factor * (count - 1) if number in flips else first
    return ct.affine @ turn


def _body_tissue(dense: np.ndarray, hu: np.ndarray, affine: Tensor) -> np.ndarray:
    from scipy import ndimage

    spacing = affine[:3, :3].norm(dim=0).tolist()
    thick = [axis for axis in range(3) if spacing[axis] <= THIN_MM]
    core = spread(shrink(dense, thick), thick)
    pieces, n_pieces = ndimage.label(core if core.any() else dense)
    if n_pieces == 0:
        return dense
    counts = np.bincount(pieces.ravel())
    counts[0] = 0
    chosen = np.zeros(n_pieces + 1, bool)
    chosen[counts.argmax()] = True
    chosen[_arms(pieces, counts, hu, spacing)] = True
    return dense & spread(chosen[pieces], thick)


def _arms(pieces: np.ndarray, counts: np.ndarray, hu: np.ndarray, spacing: list[float]) -> list[int]:
    """Pieces beside the largest that are thick, soft and have bone in them."""
    from scipy import ndimage

    volume = counts * float(np.prod(spacing))
    large = [int(number) for number in np.flatnonzero(volume >= SMALLEST_ARM_MM3) if number != counts.argmax()]
    if not large:
        return []
    boxes = ndimage.find_objects(pieces)
    found = []
    for number in large:
        piece = pieces[boxes[number - 1]] == number
        values = hu[boxes[number - 1]][piece]
        is_soft = ARM_HU[0] <= float(values.mean()) <= ARM_HU[1] and float((values > BONE_HU).mean()) >= ARM_BONE
        if is_soft and shrink(shrink(piece, [1, 2]), [1, 2]).any():
            found.append(number)
    return found


def _box(tissue: np.ndarray) -> tuple[slice, slice, slice]:
    """The body's box and a margin in its slices."""
    rows, columns = (np.flatnonzero(tissue.any(axis=axes)) for axes in ((0, 2), (0, 1)))
    y, x = (slice(max(0, int(found[0]) - MARGIN), int(found[-1]) + 1 + MARGIN) for found in (rows, columns))
    return slice(None), y, x


def _thin_walls(tissue: np.ndarray, dense: np.ndarray, hu: np.ndarray, scanned: np.ndarray) -> np.ndarray:
    """What is dense about air between parts of the body: a chest wall too thin to count as thick."""
    air = _enclosed(dense, tissue, hu, scanned)
    return dense & spread(spread(air, [1, 2]), [1, 2])


def _enclosed(walls: np.ndarray, tissue: np.ndarray, hu: np.ndarray, scanned: np.ndarray) -> np.ndarray:
    """Air that walls enclose in its slice, within the tissue, and lung that is open to the field's edge alone."""
    from scipy import ndimage

    in_plane = np.zeros((3, 3, 3), bool)
    in_plane[1, 1, :] = in_plane[1, :, 1] = True
    pieces, n_pieces = ndimage.label(~walls & scanned, structure=in_plane)
    edge = pieces * ~shrink(scanned[None], [1, 2], outside=False)[0]
    n_edge = np.bincount(edge.ravel(), minlength=n_pieces + 1)
    bracketed = between(tissue, 1) | between(tissue, 2)
    n_closed = np.bincount(edge[bracketed], minlength=n_pieces + 1)
    is_inside = n_closed >= 0.95 * n_edge
    if walls is not tissue:
        is_inside &= np.bincount(pieces[bracketed], minlength=n_pieces + 1) >= 0.8 * np.bincount(pieces.ravel())
    is_inside[0] = False
    open_pieces = np.flatnonzero(is_inside & (n_edge > 0))
    if len(open_pieces):
        is_inside[open_pieces] = np.asarray(ndimage.mean(hu, pieces, open_pieces)) > LUNG_AIR_HU
    return is_inside[pieces]


def between(mask: np.ndarray, axis: int) -> np.ndarray:
    """Voxels that have some of a (Z, Y, X) bool mask on both sides along an axis, or are in it.

    Args:
        mask: of the body.
        axis: 0, 1 or 2.
    """
    before = np.logical_or.accumulate(mask, axis=axis)
    after = np.flip(np.logical_or.accumulate(np.flip(mask, axis), axis=axis), axis)
    return before & after


def spread(mask: np.ndarray, axes: list[int]) -> np.ndarray:
    """A bool mask and its neighbours within one voxel along the axes, corners too.

    Args:
        mask: (Z, Y, X).
        axes: along which it grows.
    """
    for axis in axes:
        grown, parts = mask.copy(), np.moveaxis(mask, axis, 0)
        out = np.moveaxis(grown, axis, 0)
        out[1:] |= parts[:-1]
        out[:-1] |= parts[1:]
        mask = grown
    return mask


def shrink(mask: np.ndarray, axes: list[int], *, outside: bool = True) -> np.ndarray:
    """A bool mask without what is within one voxel of its edge along the axes.

    Args:
        mask:    (Z, Y, X).
        axes:    along which it shrinks.
        outside: whether the mask goes on beyond the grid.
    """
    for axis in axes:
        grown, parts = mask.copy(), np.moveaxis(mask, axis, 0)
        out = np.moveaxis(grown, axis, 0)
        out[1:] &= parts[:-1]
        out[:-1] &= parts[1:]
        if not outside:
            out[0] = out[-1] = False
        mask = grown
    return mask
