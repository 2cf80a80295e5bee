"""From a renderer's numbers to what a screen shows: named scalings to 0..1, image by image."""

from __future__ import annotations

import torch
from torch import Tensor

from nerp.errors import UsageError

LOW, HIGH = 0.005, 0.995
"""Quantiles that `percentile` maps to black and white."""
DEPTHS = (8, 10, 12, 14, 16)
"""Bits that detectors and screens use."""
FLAT = 1e-6
"""An image whose range is no larger than this shows nothing."""


def display_image(images: Tensor, name: str = "percentile") -> Tensor:
    """Scale every image by itself to 0..1.

    Args:
        images: (B, C, H, W) of any range, any floating dtype.
        name:   `minmax` maps the darkest pixel to 0 and the brightest to 1; `percentile` maps the
                quantiles `LOW` and `HIGH`, and clips what lies beyond, so that one metal clip does
                not darken a chest.

    Returns:
        (B, C, H, W) in 0..1; a flat image becomes zeros. Differentiable, the limits included. No
        image's result depends on another of its batch.

    Raises:
        UsageError: an unknown name.
    """
    low, high = (limit.view(-1, 1, 1, 1) for limit in display_limits(images, name))
    span = high - low
    flat = span <= FLAT
    scaled = (images - low) / torch.where(flat, 1.0, span)
    return torch.where(flat, 0.0, scaled).clamp(0.0, 1.0)


def display_limits(images: Tensor, name: str = "percentile") -> tuple[Tensor, Tensor]:
    """What `display_image` makes black and white of each image: (B,) and (B,), of the images' unit.

    Args:
        images: (B, C, H, W) of any range, any floating dtype.
        name:   of the scaling.

    Raises:
        UsageError: an unknown name.
    """
    if name not in SCALINGS:
        raise UsageError(f"unknown display scaling {name!r}; expected one of {', '.join(SCALINGS)}")
    return SCALINGS[name](images.flatten(1))


def depth_white(most: float) -> float:
    """White of whole numbers from 0: the largest of the smallest depth, 8, 10, 12, 14 or 16 bits, that holds them all.

    So 12 bits kept in 16 show as their 8-bit twin does. What uses less than a quarter of its true depth is
    taken for less deep and shows brighter than it is; a radiograph has letters or bone that use more.

    Args:
        most: the largest value; beyond 16 bits it is white itself.
    """
    return next((2.0**bits - 1 for bits in DEPTHS if most <= 2**bits - 1), float(most))


def _extremes(pixels: Tensor) -> tuple[Tensor, Tensor]:
    return pixels.amin(dim=1), pixels.amax(dim=1)


def _quantiles(pixels: Tensor) -> tuple[Tensor, Tensor]:
    """Two quantiles per row, interpolated between neighbours; not bound by torch.quantile's size limit."""
    ordered = pixels.sort(dim=1).values
    return _at(ordered, LOW), _at(ordered, HIGH)


def _at(ordered: Tensor, quantile: float) -> Tensor:
    place = quantile * (ordered.shape[1] - 1)
    below = int(place)
    above = min(below + 1, ordered.shape[1] - 1)
    return torch.lerp(ordered[:, below], ordered[:, above], place - below)


SCALINGS = {"minmax": _extremes, "percentile": _quantiles}
