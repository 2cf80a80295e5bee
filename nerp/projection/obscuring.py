"""What obscures lung to a reader of radiographs: heart, mediastinum, and organs below the diaphragm."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor

from nerp.anatomy import axial_axes, rib_cage
from nerp.errors import GeometryError
from nerp.volume import Volume

OBSCURING = -1
"""The label of obscuring tissue."""
APICAL = (-2, -3, -4)
"""Its labels about the apices, from above down."""
APICAL_MM = (45.0, 60.0, 75.0)
"""How far below the top of the lung on its side each of them reaches."""
LEAST_MM2 = 100.0
"""The top of a lung is its uppermost slice that holds so much of it."""


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
        `(1, D, H, W)` in 'label' on the same grid: `OBSCURING`, one of `APICAL` about the apices, or 0.

    Raises:
        GeometryError: the volume does not hold labels.
    """
    if label_volume.unit != "label":
        raise GeometryError(f"expected a volume in 'label', found {label_volume.unit!r}; read it with read_labels")
    lung = _among(label_volume.values, lungs) if closed is None else closed.values[0] > 0
    named = _among(label_volume.values, [label for label in labels if label not in set(lungs)])
    obscuring = (rib_cage(lung, label_volume.affine) | named) & ~lung
    values = torch.where(obscuring, _grades(lung, label_volume), 0.0)
    return Volume(values[None], label_volume.affine, "label")


def _grades(lung: Tensor, volume: Volume) -> Tensor:
    """(D, H, W) labels of obscuring tissue, by how far each voxel lies below the top of the lung on its side."""
    (up, _, across), flips = axial_axes(volume.affine.cpu())
    down = 0 in flips
    slices = lung.movedim((up, across), (0, 1))
    slices = slices if down else slices.flip(0)
    middle = int((2 * slices.sum(dim=(0, 2)).cumsum(0) < slices.sum()).sum())
    spacing = volume.spacing_mm
    least = LEAST_MM2 * spacing[up] / math.prod(spacing)
    grades = torch.full_like(slices, OBSCURING, dtype=torch.float32)
    for side in (slice(None, middle), slice(middle, None)):
        held = slices[:, side].sum(dim=(1, 2)) >= least
        top = int(held.int().argmax()) if held.any() else 0
        below_mm = (torch.arange(len(slices), device=lung.device, dtype=torch.float32) - top) * spacing[up]
        reached = torch.bucketize(below_mm, torch.tensor(APICAL_MM, device=lung.device, dtype=torch.float32))
        names = torch.tensor([*APICAL, OBSCURING], device=lung.device, dtype=torch.float32)
        grades[:, side] = names[reached][:, None, None] if held.any() else float(OBSCURING)
    grades = grades if down else grades.flip(0)
    return grades.movedim((0, 1), (up, across))


def _among(values: Tensor, labels: Sequence[int]) -> Tensor:
    requested = torch.tensor([float(label) for label in labels], device=values.device, dtype=torch.float32)
    return torch.isin(values.float(), requested).any(dim=0)
