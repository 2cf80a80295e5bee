"""What the discriminator sees, moved a little: the same way for real and rendered images."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional

from nerp.devices import SINGLE


def zoom_shift(images: Tensor, zoom: Tensor, shift: Tensor) -> Tensor:
    """Zoom and shift images about their centre, borders repeated.

    Args:
        images: (B, 1, H, W).
        zoom:   (B,) above 1 enlarges.
        shift:  (B, 2) along columns and rows, as a fraction of the image.

    Returns:
        (B, 1, H, W), bilinear; differentiable in the images.

    Source: differentiable augmentation, Zhao et al. 2020.
    """
    scale = (1.0 / zoom).to(images)
    theta = images.new_zeros(len(images), 2, 3)
    theta[:, 0, 0] = theta[:, 1, 1] = scale
    theta[:, :, 2] = -2.0 * shift.to(images) * scale[:, None]
    grid = functional.affine_grid(theta, list(images.shape), align_corners=False)
    return functional.grid_sample(images, grid, padding_mode="border", align_corners=False)


def sample_zoom_shift(n: int, zoom: float, shift: float, generator: torch.Generator) -> tuple[Tensor, Tensor]:
    """Zooms and shifts for `zoom_shift`, uniform.

    Args:
        n:         how many.
        zoom:      largest change of the zoom, which is 1 -+ `zoom`.
        shift:     largest shift, as a fraction of the image.
        generator: source of the draws, on the CPU.

    Returns:
        (n,) zooms and (n, 2) shifts, on the CPU.
    """
    uniform = 2.0 * torch.rand(n, 3, generator=generator, **SINGLE) - 1.0
    return 1.0 + zoom * uniform[:, 0], shift * uniform[:, 1:]
