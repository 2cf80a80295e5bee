"""From counts of few photons to a smooth image: scatter has no edges."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional

RADIUS = 8
"""Of the Gaussian, pixels of the raster."""


def smoothed(image: Tensor, sigma: float) -> Tensor:
    """Smooth by a Gaussian; straight slopes stay as they are up to the border.

    Args:
        image: (B, C, h, w) at least 9 pixels each way, any unit.
        sigma: of the Gaussian, pixels.

    Returns:
        Of the same shape. Differentiable.
    """
    places = torch.arange(-RADIUS, RADIUS + 1, dtype=image.dtype, device=image.device)
    kernel = torch.exp(-0.5 * (places / sigma) ** 2)
    kernel = kernel / kernel.sum()
    for axis in (-2, -1):
        image = torch.einsum("...n,n->...", _extended(image, axis).unfold(axis, 2 * RADIUS + 1, 1), kernel)
    return image


def sampled(image: Tensor, shape: tuple[int, int]) -> Tensor:
    """The image at the pixels of a finer raster over the same area, by cubic interpolation.

    Args:
        image: (B, C, h, w) any unit.
        shape: (H, W) pixels.

    Returns:
        (B, C, H, W), no less than 0. Differentiable.
    """
    border = 3
    padded = _extended(_extended(image, -2, border), -1, border)
    grids = [_places(coarse, fine, border) for coarse, fine in zip(image.shape[-2:], shape, strict=True)]
    down, right = (grid.to(image) for grid in grids)
    grid = torch.stack(torch.broadcast_tensors(right[None, :], down[:, None]), -1)[None].expand(len(image), -1, -1, -1)
    return functional.grid_sample(padded, grid, mode="bicubic", align_corners=False).clamp_min(0)


def _extended(image: Tensor, axis: int, border: int = RADIUS) -> Tensor:
    """The image with its border turned about its own end: what is straight goes on straight."""
    size = image.shape[axis]
    first, last = image.narrow(axis, 0, 1), image.narrow(axis, size - 1, 1)
    before = 2 * first - image.narrow(axis, 1, border).flip(axis)
    behind = 2 * last - image.narrow(axis, size - 1 - border, border).flip(axis)
    return torch.cat([before, image, behind], axis)


def _places(coarse: int, fine: int, border: int) -> Tensor:
    """(fine,) places of pixels on the extended raster, from -1 to 1 over its area."""
    at = (torch.arange(fine, dtype=torch.float64, device="cpu") + 0.5) / fine * coarse + border
    return at / (coarse + 2 * border) * 2 - 1
