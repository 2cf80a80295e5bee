"""Values of a grid taken from displaced places, slab by slab."""

from __future__ import annotations

from math import ceil

import torch
import torch.nn.functional as F
from torch import Tensor

from nerp.devices import SINGLE
from nerp.errors import GeometryError
from nerp.volume import Volume

LATTICE_MM = 8.0
"""Distance at which a displacement is told; it is linear in between."""
SLAB_VOXELS = 4_000_000


def lattice_index(volume: Volume) -> Tensor:
    """Voxel indices of a lattice over a grid, its first and last voxels included.

    Args:
        volume: gives the grid.

    Returns:
        (d, h, w, 3) float64.

    Raises:
        GeometryError: a grid of a single slice.
    """
    if min(volume.shape) < 2:
        raise GeometryError(f"a CT of {volume.shape} voxels cannot be deformed; expected at least 2 along each axis")
    counts = [ceil((n - 1) * side / LATTICE_MM) + 1 for n, side in zip(volume.shape, volume.spacing_mm, strict=True)]
    axes = [
        torch.linspace(0, n - 1, max(2, count), dtype=torch.float64, device="cpu")
        for n, count in zip(volume.shape, counts, strict=True)
    ]
    return torch.stack(torch.meshgrid(*axes, indexing="ij"), dim=-1)


def warp(volume: Volume, offsets: Tensor, *, nearest: bool) -> Volume:
    """A volume whose voxels take the values that lie at displaced places; beyond its faces it goes on as it ends.

    Args:
        volume:  `(C, D, H, W)`.
        offsets: (d, h, w, 3) voxels, on a lattice of `lattice_index`.
        nearest: take the nearest voxel's value, as labels need, instead of the trilinear one.

    Returns:
        `(C, D, H, W)` on the same grid.
    """
    values = volume.values.float()
    made = torch.empty_like(values)
    lattice = offsets.float().movedim(-1, 1)
    per_slab = max(1, SLAB_VOXELS // (volume.shape[1] * volume.shape[2]))
    for first in range(0, volume.shape[0], per_slab):
        rows = torch.arange(first, min(first + per_slab, volume.shape[0]), **SINGLE)
        places = _places(lattice, rows, volume.shape)
        made[:, first : first + len(rows)] = F.grid_sample(
            values[None],
            places[None],
            mode="nearest" if nearest else "bilinear",
            padding_mode="border",
            align_corners=False,
        )[0]
    return Volume(made.to(volume.values.dtype), volume.affine, volume.unit)


def _places(lattice: Tensor, rows: Tensor, shape: tuple[int, int, int]) -> Tensor:
    """(K, H, W, 3) places, as `grid_sample` counts them, of the voxels of K slices."""
    depth, height, width = shape
    where = rows * (lattice.shape[0] - 1) / (depth - 1)
    low = where.long().clamp(max=lattice.shape[0] - 2)
    part = (where - low)[:, None, None, None]
    planes = torch.lerp(lattice[low], lattice[low + 1], part.expand_as(lattice[low]))
    offsets = F.interpolate(planes, size=(height, width), mode="bilinear", align_corners=True)
    i = rows[:, None, None] + offsets[:, 0]
    j = torch.arange(height, **SINGLE)[None, :, None] + offsets[:, 1]
    k = torch.arange(width, **SINGLE)[None, None, :] + offsets[:, 2]
    return torch.stack([(2 * at + 1) / n - 1 for at, n in ((k, width), (j, height), (i, depth))], dim=-1)
