"""From counts of few photons to a smooth image: scatter has no edges."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

RADIUS = 12
"""Of the Gaussian, pixels of the raster."""
BORDER = 3


def smoothed(image: Tensor, sigma: float) -> Tensor:
    """Smooth by a Gaussian, and add what is left of a second pass over the rest: hills keep more of their height.

    Args:
        image: (B, C, h, w) at least 13 pixels each way, any unit.
        sigma: of the Gaussian, pixels.

    Returns:
        Of the same shape; straight slopes stay as they are up to the border. Differentiable.

    Source: twicing, Tukey 1977, Exploratory Data Analysis, chapter 16.
    """
    once = _blurred(image, sigma)
    return once + _blurred(image - once, sigma)


def best_sigma(one: Tensor, other: Tensor, sigmas: Sequence[float]) -> float:
    """Which smoothing brings the mean of two noisy images of the same thing nearest to what both show.

    Args:
        one:    (C, h, w) at least 13 pixels each way.
        other:  the same with other noise.
        sigmas: to choose from, pixels.

    Returns:
        The sigma of the least mean square error, as far as the two can tell.

    Source: cross-validation by halves: an image's noise is no friend of the other's, so that with S the smoothing and
    m their mean, E[(S m)² - S one · other - S other · one] differs from the error by a constant.
    """
    images = torch.stack([one, other])

    def risk(sigma: float) -> float:
        first, second = smoothed(images, sigma)
        return float((((first + second) / 2) ** 2 - first * other - second * one).mean())

    return min(sigmas, key=risk)


def _blurred(image: Tensor, sigma: float) -> Tensor:
    places = torch.arange(-RADIUS, RADIUS + 1, dtype=image.dtype, device=image.device)
    kernel = torch.exp(-0.5 * (places / sigma) ** 2)
    kernel = kernel / kernel.sum()
    for axis in (-2, -1):
        image = torch.einsum("...n,n->...", _extended(image, axis).unfold(axis, 2 * RADIUS + 1, 1), kernel)
    return image


def sampled(image: Tensor, shape: tuple[int, int]) -> Tensor:
    """The image at the pixels of a finer raster over the same area, by cubic interpolation.

    Args:
        image: (B, C, h, w) at least 4 pixels each way, any unit.
        shape: (H, W) pixels.

    Returns:
        (B, C, H, W), no less than 0. Differentiable.

    Source: Catmull & Rom 1974; of straight slopes it makes straight slopes.
    """
    down, right = (_weights(coarse, fine) for coarse, fine in zip(image.shape[-2:], shape, strict=True))
    padded = _extended(_extended(image, -2, BORDER), -1, BORDER)
    return (down.to(image) @ padded @ right.to(image).T).clamp_min(0)


def _extended(image: Tensor, axis: int, border: int = RADIUS) -> Tensor:
    """The image with its border turned about its own end: what is straight goes on straight."""
    size = image.shape[axis]
    first, last = image.narrow(axis, 0, 1), image.narrow(axis, size - 1, 1)
    before = 2 * first - image.narrow(axis, 1, border).flip(axis)
    behind = 2 * last - image.narrow(axis, size - 1 - border, border).flip(axis)
    return torch.cat([before, image, behind], axis)


def _weights(coarse: int, fine: int) -> Tensor:
    """(fine, coarse + 2 `BORDER`) of the pixels of the extended raster in each finer one, float64."""
    at = (torch.arange(fine, dtype=torch.float64, device="cpu") + 0.5) / fine * coarse - 0.5 + BORDER
    away = (at[:, None] - torch.arange(coarse + 2 * BORDER, dtype=torch.float64, device="cpu")).abs()
    near = 1.5 * away**3 - 2.5 * away**2 + 1
    far = -0.5 * away**3 + 2.5 * away**2 - 4 * away + 2
    return torch.where(away < 1, near, torch.where(away < 2, far, torch.zeros_like(away)))
