"""A body that goes on beyond its CT: instead of black bars, what the outermost slices show."""

from __future__ import annotations

import torch
from torch import Tensor

from nerp.volume import Volume


def extended(volume: Volume, length_mm: float) -> Volume:
    """A volume whose lowest and highest slices are repeated downwards and upwards.

    What lies there is a guess: a trunk that goes on as it ends. It keeps neck and abdomen from ending in air within
    the frame, and scatters as they do.

    Args:
        volume:    `(C, D, H, W)`, any unit.
        length_mm: at either end, 0 for none.

    Returns:
        Of the same unit, on a longer grid with the same voxels. Differentiable in the values.
    """
    axis = int(volume.affine[2, :3].abs().argmax())
    step = volume.affine[:, axis]
    count = int(length_mm / float(step[:3].norm()))
    if count == 0:
        return volume
    values = volume.values
    ends = [_repeated(values, axis + 1, place, count) for place in (0, values.shape[axis + 1] - 1)]
    affine = volume.affine.clone()
    affine[:3, 3] -= count * step[:3]
    return Volume(torch.cat([ends[0], values, ends[1]], dim=axis + 1), affine, volume.unit)


def _repeated(values: Tensor, dim: int, place: int, count: int) -> Tensor:
    """A slice, `count` times."""
    sizes = [count if axis == dim else -1 for axis in range(values.ndim)]
    return values.narrow(dim, place, 1).expand(sizes)
