"""What hides lung from a reader of radiographs: heart, mediastinum, and organs below the diaphragm."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

import torch
from torch import Tensor

from nerp.errors import GeometryError
from nerp.volume import Volume

HIDDEN = -1
"""The label of hiding tissue."""
DIRECTIONS = 24
"""Directions in which the outline of the thorax is taken; its hull is a polygon of so many sides."""
HIDING_WORDS = (
    *("heart", "atri", "ventric", "aort", "vena_cava", "pulmonary_artery", "mediastin", "pericard", "brachiocephalic"),
    *("subclavian", "carotid", "esophagus", "oesophagus", "trachea", "thymus", "vertebra", "spine", "disc"),
    *("liver", "spleen", "stomach", "kidney", "gallbladder", "pancreas", "adrenal", "bowel", "colon", "duodenum"),
    *("diaphragm", "abdomen"),
)
"""Parts of the names of structures behind or before which readers do not see lung."""


def hiding_labels(names: Mapping[int, str]) -> list[int]:
    """The labels whose names tell of heart, great vessels, spine or abdominal organs."""
    return [label for label, name in names.items() if any(word in name.lower() for word in HIDING_WORDS)]


def lung_labels(names: Mapping[int, str]) -> list[int]:
    """The labels whose names tell of lung."""
    return [label for label, name in names.items() if "lung" in name.lower().replace("_", " ").split()]


def hiding_tissue(label_volume: Volume, lungs: Sequence[int], labels: Sequence[int] = ()) -> Volume:
    """Everything that the rib cage holds beside lung, and the labels named as hiding.

    The rib cage is found from the lungs alone, so that a lung mask is enough: in each axial slice
    it is the convex hull of the lungs, and below that, the widest hull of any slice above, for the
    cage holds the upper abdomen too.

    Args:
        label_volume: `(M, D, H, W)` in 'label'; a slice is taken across the axis nearest superior.
        lungs:        labels of both lungs.
        labels:       labels known to hide lung, such as `hiding_labels(names)`; those of the lungs
                      are passed over.

    Returns:
        `(1, D, H, W)` in 'label' on the same grid: `HIDDEN` or 0.

    Raises:
        GeometryError: the volume does not hold labels.
    """
    if label_volume.unit != "label":
        raise GeometryError(f"expected a volume in 'label', found {label_volume.unit!r}; read it with read_labels")
    lung = _among(label_volume.values, lungs)
    hiding = _among(label_volume.values, [label for label in labels if label not in set(lungs)])
    hidden = (_cage(lung, label_volume.affine) | hiding) & ~lung
    return Volume(hidden[None] * float(HIDDEN), label_volume.affine, "label")


def _among(values: Tensor, labels: Sequence[int]) -> Tensor:
    wanted = torch.tensor([float(label) for label in labels], device=values.device)
    return torch.isin(values.float(), wanted).any(dim=0)


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
        reach = _reach(slices.shape[1:], sides, 2 * math.pi * turn / DIRECTIONS).to(lung.device)
        outline = torch.where(slices, reach, -torch.inf).amax(dim=(1, 2)).cummax(dim=0).values
        inside &= reach <= outline[:, None, None]
    inside = inside.flip(0) if heights[axis] > 0 else inside
    return inside.movedim(0, axis)


def _reach(shape: tuple[int, int], sides: Sequence[float], angle_rad: float) -> Tensor:
    """How far each pixel of a slice lies in one direction, mm."""
    rows, columns = (torch.arange(count) * side for count, side in zip(shape, sides, strict=True))
    return rows[:, None] * math.cos(angle_rad) + columns * math.sin(angle_rad)
