"""Materials on a coarse grid, for what is smooth: scatter."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional

from nerp.errors import GeometryError
from nerp.projection.backends.cpu import library
from nerp.projection.backends.cpu import material_lengths as compiled
from nerp.projection.materials import MaterialVolume


@dataclass(frozen=True)
class Blocks:
    """Mean densities of blocks of voxels.

    Args:
        densities: (M, d, h, w) g/cm³.
        affine:    (4, 4) float64, from index of a block to world mm.
        groups:    (d, h, w) int64, place of the group in the middle of each block; None where there is but one.
    """

    densities: Tensor
    affine: Tensor
    groups: Tensor | None


def blocks_of(materials: MaterialVolume, voxel_mm: float) -> Blocks:
    """A coarser grid of the same mass; what is missing of a block at the far rim counts as nothing.

    Args:
        materials: on a fine grid.
        voxel_mm:  size that blocks come close to; they hold one voxel at least.

    Returns:
        The means of whole blocks of voxels. No gradient.

    Raises:
        GeometryError: a size that is not positive.
    """
    if not voxel_mm > 0:
        raise GeometryError(f"blocks of voxels are {voxel_mm:g} mm; expected more than 0")
    spacing = materials.affine[:3, :3].norm(dim=0).tolist()
    first, second, third = (max(1, round(voxel_mm / size)) for size in spacing)
    factors = first, second, third
    scale = torch.tensor([*factors, 1], dtype=torch.float64, device="cpu")
    to_voxel = torch.diag(scale)
    to_voxel[:3, 3] = (scale[:3] - 1) / 2
    return Blocks(_means(materials, factors), materials.affine @ to_voxel, _middles(materials, factors))


def _means(materials: MaterialVolume, factors: tuple[int, int, int]) -> Tensor:
    codes, (_, n_knots, n_materials) = materials.packed.detach(), materials.densities.shape
    few = n_knots <= compiled.KNOTS and n_materials <= compiled.MATERIALS
    if few and codes.dtype == torch.float32 and codes.device.type == "cpu" and library.missing() is None:
        return compiled.mean_densities(codes.contiguous(), materials.densities, factors)
    fine = materials.densities_g_per_cm3().detach()
    sizes = zip(materials.shape[::-1], factors[::-1], strict=True)
    padded = functional.pad(fine, [part for size, factor in sizes for part in (0, -size % factor)])
    return functional.avg_pool3d(padded[None], factors)[0]


def _middles(materials: MaterialVolume, factors: tuple[int, int, int]) -> Tensor | None:
    if materials.group_map is None:
        return None
    slots = materials.group_map
    for axis, factor in enumerate(factors):
        size = slots.shape[axis]
        places = torch.arange(-(-size // factor), dtype=torch.int64, device=slots.device) * factor + factor // 2
        slots = slots.index_select(axis, places.clamp(max=size - 1))
    return torch.tensor(materials.group_of, dtype=torch.int64, device=slots.device)[slots.long()]
