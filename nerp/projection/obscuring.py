"""What obscures lung to a reader of radiographs: heart, mediastinum, and organs below the diaphragm."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor

from nerp.devices import SINGLE
from nerp.errors import GeometryError
from nerp.volume import Volume

OBSCURING = -1
"""The label of obscuring tissue."""
DIRECTIONS = 24
"""Directions in which the outline of the thorax is taken; its hull is a polygon of so many sides."""


def obscuring_tissue(
    label_volume: Volume, lungs: Sequence[int], labels: Sequence[int] = (), *, closed: Volume | None = None
) -> Volume:
    """Everything that the rib cage holds beside lung, and the labels named as obscuring.

    The rib cage is found from the lungs alone, so that a lung mask is enough: in each axial slice
    it is the convex hull of the lungs, and below that, the widest hull of any slice above, for the
    cage holds the upper abdomen too.

    Args:
        label_volume: `(M, D, H, W)` in 'label'; a slice is taken across the axis nearest superior.
        lungs:        labels of both lungs.
        labels:       labels known to obscure lung, such as `obscuring_labels(names)`; those of the lungs
                      are passed over.
        closed:       the lungs, closed, `(1, D, H, W)` from `closed_lungs`, where they stand for those of the labels.

    Returns:
        `(1, D, H, W)` in 'label' on the same grid: `OBSCURING` or 0.

    Raises:
        GeometryError: the volume does not hold labels.
    """
    if label_volume.unit != "label":
        raise GeometryError(f"expected a volume in 'label', found {label_volume.unit!r}; read it with read_labels")
    lung = _among(label_volume.values, lungs) if closed is None else closed.values[0] > 0
    named = _among(label_volume.values, [label for label in labels if label not in set(lungs)])
    obscuring = (_cage(lung, label_volume.affine) | named) & ~lung
    return Volume(obscuring[None].to(torch.float32) * float(OBSCURING), label_volume.affine, "label")


def _among(values: Tensor, labels: Sequence[int]) -> Tensor:
    requested = torch.tensor([float(label) for label in labels], device=values.device, dtype=torch.float32)
    return torch.isin(values.float(), requested).any(dim=0)


def _cage(lung: Tensor, affine: Tensor) -> Tensor:
    """(D, H, W) bool: within the lungs' outline of its slice, and of all slices above it."""
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
