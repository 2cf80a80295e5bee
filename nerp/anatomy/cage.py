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
    inside = torch.zeros_like(slices)
    rows, columns = (_span(slices.any(dim=0).any(dim=axis)) for axis in (1, 0))
    if rows.stop:
        inside[:, rows, columns] = _hulls(slices[:, rows, columns], sides, (rows, columns))
    inside = inside.flip(0) if heights[axis] > 0 else inside
    return inside.movedim(0, axis)


def _span(held: Tensor) -> slice:
    """From the first to the last that is held; nothing where none is."""
    (where,) = held.nonzero(as_tuple=True)
    return slice(int(where[0]), int(where[-1]) + 1) if len(where) else slice(0, 0)


def _hulls(slices: Tensor, sides: Sequence[float], part: tuple[slice, slice]) -> Tensor:
    """(Z, rows, columns) bool: within the outline of a slice, or of one before it; slices are a part of the grid's."""
    inside, ends = torch.ones_like(slices), _ends(slices)
    for turn in range(DIRECTIONS):
        reach = _reach((part[0].stop, part[1].stop), sides, 2 * math.pi * turn / DIRECTIONS)[part].to(slices.device)
        ends_reach = reach.expand(len(slices), -1, -1).gather(2, ends)
        outline = torch.where(slices.any(dim=2, keepdim=True), ends_reach, -torch.inf).amax(dim=(1, 2))
        inside &= reach <= outline.cummax(dim=0).values[:, None, None]
    return inside


def _ends(slices: Tensor) -> Tensor:
    """(Z, rows, 2) first and last column of a mask in each row of its slices: a hull has no other corners."""
    held = slices.byte()
    return torch.stack([held.argmax(dim=2), slices.shape[2] - 1 - held.flip(2).argmax(dim=2)], dim=2)


def _reach(shape: tuple[int, int], sides: Sequence[float], angle_rad: float) -> Tensor:
    """How far each pixel of a slice lies in one direction, mm."""
    rows, columns = (torch.arange(count, **SINGLE) * side for count, side in zip(shape, sides, strict=True))
    return rows[:, None] * math.cos(angle_rad) + columns * math.sin(angle_rad)
