"""What obscures lung to a reader of radiographs: heart, mediastinum, and organs below the diaphragm."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from nerp.anatomy import rib_cage
from nerp.errors import GeometryError
from nerp.volume import Volume

OBSCURING = -1
"""The label of obscuring tissue."""


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
    obscuring = (rib_cage(lung, label_volume.affine) | named) & ~lung
    return Volume(obscuring[None].to(torch.float32) * float(OBSCURING), label_volume.affine, "label")


def _among(values: Tensor, labels: Sequence[int]) -> Tensor:
    requested = torch.tensor([float(label) for label in labels], device=values.device, dtype=torch.float32)
    return torch.isin(values.float(), requested).any(dim=0)
