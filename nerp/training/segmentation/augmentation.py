"""Segmenter augmentation: random changes that make rendered radiographs as varied as real ones.

Each function takes a batch and a generator, and draws one set of numbers an image: the same seed gives the same
batch. Contrast is never inverted: bone stays bright.
"""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from torch import Tensor

from nerp.devices import SINGLE
from nerp.randomness import between

SCALE = (0.75, 1.25)
"""Zoom of the picture: above 1 crops it, below 1 leaves a black surround."""
SHIFT = 0.10
"""Largest shift, fraction of the side."""
TURN_RAD = math.radians(12.0)
STRETCH = 0.12
"""Largest relative change of the sides' ratio, and of shear."""
GAMMA = (0.5, 2.0)


def augment(images: Tensor, masks: Tensor, generator: torch.Generator) -> tuple[Tensor, Tensor]:
    """One random variant of each pair.

    Args:
        images:    (B, 1, H, W), 0 to 1, on the CPU.
        masks:     (B, K, H, W), 0 to 1; they follow the geometry and the borders alone.
        generator: source of every draw, on the CPU.

    Returns:
        images (B, 1, H, W), 0 to 1, and masks (B, K, H, W), 0 or 1.
    """
    images, masks = move(images, masks, generator)
    images = blur(shade(tone(images, generator), generator), generator)
    images = grain(images, generator)
    return border(images.clamp(0.0, 1.0), masks, generator)


def move(images: Tensor, masks: Tensor, generator: torch.Generator) -> tuple[Tensor, Tensor]:
    """Turn, zoom, stretch, shear and shift image and mask alike; what comes from outside is black.

    Args:
        images:    (B, 1, H, W), 0 to 1.
        masks:     (B, K, H, W), 0 to 1.
        generator: source of the draws.

    Returns:
        images (B, 1, H, W), 0 to 1, and masks (B, K, H, W), 0 or 1.
    """
    n = len(images)
    angle = between(-TURN_RAD, TURN_RAD, n, generator)
    zoom = 1.0 / between(*SCALE, n, generator)
    stretch, shear = (between(-STRETCH, STRETCH, n, generator) for _ in range(2))
    cos, sin = zoom * angle.cos(), zoom * angle.sin()
    shift = between(-2 * SHIFT, 2 * SHIFT, 2 * n, generator).view(2, n)
    rows = (cos * (1 + stretch), shear - sin, shift[0], sin + shear, cos * (1 - stretch), shift[1])
    grid = F.affine_grid(torch.stack(rows, 1).view(n, 2, 3), list(images.shape), align_corners=False)
    both = F.grid_sample(torch.cat([images, masks], 1), grid, mode="bilinear", align_corners=False)
    return both[:, :1], (both[:, 1:] > 0.5).float()


def tone(images: Tensor, generator: torch.Generator) -> Tensor:
    """Another tone curve: a gamma drawn on a log scale, and less or more contrast about the middle.

    Args:
        images:    (B, 1, H, W), 0 to 1.
        generator: source of the draws.

    Returns:
        (B, 1, H, W), 0 to 1.
    """
    shape = (len(images), 1, 1, 1)
    low, high = (math.log(value) for value in GAMMA)
    gamma = between(low, high, len(images), generator).exp().view(shape)
    contrast = between(0.6, 1.4, len(images), generator).view(shape)
    brightness = between(-0.1, 0.1, len(images), generator).view(shape)
    images = images.clamp(0.0, 1.0) ** gamma
    return ((images - 0.5) * contrast + 0.5 + brightness).clamp(0.0, 1.0)


def shade(images: Tensor, generator: torch.Generator) -> Tensor:
    """Make some regions lighter, some darker, by smooth random fields: soft tissue, devices and disease vary.

    Args:
        images:    (B, 1, H, W), 0 to 1.
        generator: source of the draws.

    Returns:
        (B, 1, H, W), not clamped.
    """
    n, _, height, width = images.shape
    for cells in (4, 10):
        field = torch.randn(n, 1, cells, cells, generator=generator, **SINGLE)
        strength = between(0.0, 0.15, n, generator).view(n, 1, 1, 1)
        field = F.interpolate(field, size=(height, width), mode="bicubic", align_corners=False)
        images = images + strength * field
    return images


def blur(images: Tensor, generator: torch.Generator) -> Tensor:
    """Mix each image with its blurred self; a negative fraction sharpens.

    Args:
        images:    (B, 1, H, W), 0 to 1.
        generator: source of the draws.

    Returns:
        (B, 1, H, W), not clamped.
    """
    smooth = F.avg_pool2d(F.pad(images, (2, 2, 2, 2), mode="replicate"), 3, stride=1)
    smooth = F.avg_pool2d(smooth, 3, stride=1)
    fraction = between(-0.7, 1.0, len(images), generator).view(-1, 1, 1, 1)
    return images + fraction * (smooth - images)


def grain(images: Tensor, generator: torch.Generator) -> Tensor:
    """Add white noise of a random strength.

    Args:
        images:    (B, 1, H, W), 0 to 1.
        generator: source of the draws.

    Returns:
        (B, 1, H, W), not clamped.
    """
    strength = between(0.0, 0.06, len(images), generator).view(-1, 1, 1, 1)
    return images + strength * torch.randn(images.shape, generator=generator, **SINGLE)


def border(images: Tensor, masks: Tensor, generator: torch.Generator) -> tuple[Tensor, Tensor]:
    """Cover a quarter of all edges with a flat frame, as collimators and cassettes do; no mask is left there.

    Args:
        images:    (B, 1, H, W), 0 to 1.
        masks:     (B, K, H, W), 0 to 1.
        generator: source of the draws.

    Returns:
        images (B, 1, H, W), 0 to 1, and masks (B, K, H, W).
    """
    n, _, height, width = images.shape
    used = (torch.rand(n, 4, generator=generator, **SINGLE) < 0.25).float()
    depth = used * between(0.0, 0.08, 4 * n, generator).view(n, 4)
    grey = torch.rand(n, generator=generator, **SINGLE).square().view(n, 1, 1, 1)
    y = ((torch.arange(height, **SINGLE) + 0.5) / height).view(1, 1, height, 1)
    x = ((torch.arange(width, **SINGLE) + 0.5) / width).view(1, 1, 1, width)
    top, bottom, left, right = (depth[:, side].view(n, 1, 1, 1) for side in range(4))
    open_field = ((y >= top) & (y <= 1 - bottom) & (x >= left) & (x <= 1 - right)).float()
    return images * open_field + grey * (1 - open_field), masks * open_field
