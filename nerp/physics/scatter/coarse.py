"""A coarse grid for scatter, which is smooth: as heavy as the fine one, and no larger than the body."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional

from nerp.physics.scatter.setting import Matter

NOTHING_G_PER_CM3 = 0.02
"""Voxels lighter than this at the rim are cut off: air, of which a metre removes 2 %."""


def coarsened(matter: Matter, voxel_mm: float) -> Matter:
    """Mean densities of blocks of voxels, cut to what is heavier than air.

    Args:
        matter:   (M, D, H, W) densities, g/cm³.
        voxel_mm: size that blocks come close to.

    Returns:
        Matter on a coarser grid with the same mass but for that of the surrounding air.
    """
    spacing = matter.affine[:3, :3].to(torch.float64).norm(dim=0)
    factors = [max(1, round(voxel_mm / float(size))) for size in spacing]
    pad = [part for size, factor in zip(matter.shape[::-1], factors[::-1], strict=True) for part in (0, -size % factor)]
    densities = functional.pad(matter.densities.detach().to("cpu", torch.float32), pad)
    densities = functional.avg_pool3d(densities[None], factors)[0] if max(factors) > 1 else densities
    affine = matter.affine.to("cpu", torch.float64) @ _block(factors)
    groups = None if matter.groups is None else _middles(matter.groups, factors)
    return _cut(Matter(densities, affine, matter.materials, groups))


def _block(factors: list[int]) -> Tensor:
    """(4, 4) from index of a block to index of a voxel."""
    scale = torch.tensor([*factors, 1], dtype=torch.float64, device="cpu")
    matrix = torch.diag(scale)
    matrix[:3, 3] = (scale[:3] - 1) / 2
    return matrix


def _middles(groups: Tensor, factors: list[int]) -> Tensor:
    """The group of the voxel in the middle of each block; at the far rim, of the last voxel."""
    for axis, factor in enumerate(factors):
        size = groups.shape[axis]
        places = torch.arange(-(-size // factor), device=groups.device, dtype=torch.int64) * factor + factor // 2
        groups = groups.index_select(axis, places.clamp_max(size - 1))
    return groups


def _cut(matter: Matter) -> Matter:
    """The smallest box that holds all voxels heavier than air; all where there are none."""
    heavy = matter.densities.sum(0) > NOTHING_G_PER_CM3
    if not bool(heavy.any()):
        return matter
    box = []
    for axis in range(3):
        others = [other for other in range(3) if other != axis]
        places = heavy.any(dim=others[1]).any(dim=others[0]).nonzero()
        box.append(slice(int(places.min()), int(places.max()) + 1))
    shift = torch.eye(4, dtype=torch.float64, device="cpu")
    shift[:3, 3] = torch.tensor([part.start for part in box], dtype=torch.float64, device="cpu")
    groups = None if matter.groups is None else matter.groups[tuple(box)]
    return Matter(matter.densities[(slice(None), *box)].contiguous(), matter.affine @ shift, matter.materials, groups)
