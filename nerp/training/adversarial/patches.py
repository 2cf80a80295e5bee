"""Patches of images, where no framing tells real from rendered: cut by one law, brought to one size."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional

from nerp.devices import SINGLE
from nerp.training.adversarial.drawing import Draws


@dataclass(frozen=True)
class Windows:
    """Where patches are cut.

    Args:
        extents: (N,) side, as a fraction of the image's shorter one, 0 to 1.
        places:  (N, 2) along columns and rows, 0 at the image's one edge to 1 at its other.
    """

    extents: Tensor
    places: Tensor

    def own(self, draws: Draws) -> Windows:
        """Those of one process."""
        return Windows(draws.own(self.extents), draws.own(self.places))


def sample_windows(n: int, extent: tuple[float, float], generator: torch.Generator) -> Windows:
    """Windows of any side within the range, anywhere in the image, uniform.

    Args:
        n:         how many.
        extent:    smallest and largest side, as a fraction of the image's shorter one.
        generator: source of the draws, on the CPU.
    """
    uniform = torch.rand(n, 3, generator=generator, **SINGLE)
    return Windows(extent[0] + (extent[1] - extent[0]) * uniform[:, 0], uniform[:, 1:])


def cut(images: Tensor, windows: Windows, side: int) -> Tensor:
    """Patches of images, resampled to squares of one side.

    Args:
        images:  (B, 1, H, W).
        windows: B P of them, those of one image contiguous.
        side:    of a patch, pixels; where a window has more, it would alias: see `patch_side`.

    Returns:
        (B P, 1, side, side), bilinear; differentiable in the images.
    """
    height, width = images.shape[2:]
    images = images.repeat_interleave(len(windows.extents) // len(images), dim=0)
    scales = [(windows.extents * min(height, width) / count).to(images) for count in (width, height)]
    theta = images.new_zeros(len(images), 2, 3)
    for axis, scale in enumerate(scales):
        theta[:, axis, axis] = scale
        theta[:, axis, 2] = (2.0 * windows.places[:, axis].to(images) - 1.0) * (1.0 - scale)
    like: dict[str, Any] = {"padding_mode": "border", "align_corners": False}
    grid = functional.affine_grid(theta, [len(images), 1, side, side], align_corners=False)
    return functional.grid_sample(images, grid, **like)


def patch_side(shape: tuple[int, int], extent: tuple[float, float], multiple: int) -> int:
    """Pixels of a patch's side: as many as the largest window has, so that nothing is lost, rounded up.

    Args:
        shape:    (H, W) of the images.
        extent:   of the windows.
        multiple: that the discriminator's depth asks for.
    """
    return multiple * math.ceil(extent[1] * min(shape) / multiple)
