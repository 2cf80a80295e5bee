"""The inside of the rib cage, told by the lungs alone."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor

from nerp.devices import SINGLE

DIRECTIONS = 24
"""Directions in which the outline of the thorax is taken; its hull is a polygon of so many sides."""


def rib_cage(lung: Tensor, affine: Tensor) -> Tensor:
    """What lies within the lungs' convex outline in its axial slice, or in any slice above it.

    Args:
        lung:   (D, H, W) bool, both lungs.
        affine: (4, 4) from voxel index to world mm; a slice is taken across the axis nearest superior.

    Returns:
        (D, H, W) bool.
    """
    spacing = affine[:3, :3].norm(dim=0)
    heights = affine[2, :3] / spacing
    axis = int(heights.abs().argmax())
    slices = lung.movedim(axis, 0)
    slices = slices.flip(0) if heights[axis] > 0 else slices
    sides = [spacing[other].item() for other in range(3) if other != axis]
    inside = torch.ones_like(slices)
    for turn in range(DIRECTIONS):
        reach = _reach((slices.shape[1], slices.shape[2]), sides, 2 * math.pi * turn / DIRECTIONS).to(lung.device)
        outline = torch.where(slices, reach, -torch.inf).amax(dim=(1, 2)).cummax(dim=0).values
        inside &= reach <= outline[:, None, None]
    inside = inside.flip(0) if heights[axis] > 0 else inside
    return inside.movedim(0, axis)


def _reach(shape: tuple[int, int], sides: Sequence[float], angle_rad: float) -> Tensor:
    """How far each pixel of a slice lies in one direction, mm."""
    rows, columns = (torch.arange(count, **SINGLE) * side for count, side in zip(shape, sides, strict=True))
    return rows[:, None] * math.cos(angle_rad) + columns * math.sin(angle_rad)
