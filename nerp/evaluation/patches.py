"""What a patch of an image is made of: the energy of 63 frequencies of 8 x 8 pixels, and how unevenly it lies."""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from torch import Tensor

from nerp.devices import SINGLE, WHOLE

BASIS = 8
"""Pixels a side of the cosine waves that every place is looked at through."""
HOP = 4
"""Pixels between them."""
PATCH = 64
"""Pixels a side of a patch."""
STRIDE = 32
"""Pixels between patches."""
BLOCK = 16
"""Images filtered at a time."""
FLOOR = 0.1
"""Squared grey levels added to every energy: what rounding to 8 bits leaves, 1/12, tells nothing."""


def cosine_waves() -> Tensor:
    """(64, 1, 8, 8) float32: the orthonormal two-dimensional cosine waves, [8 v + u] of v cycles down and u across.

    Source: DCT-II, Ahmed, Natarajan & Rao 1974.
    """
    place = torch.arange(BASIS, **SINGLE)
    waves = torch.cos(math.pi * (2 * place + 1) * place[:, None] / (2 * BASIS)) * math.sqrt(2 / BASIS)
    waves[0] /= math.sqrt(2)
    return torch.einsum("vi,uj->vuij", waves, waves).reshape(BASIS**2, 1, BASIS, BASIS)


def patch_features(levels: Tensor) -> Tensor:
    """Features of the patches of each image; adding a constant to an image changes none.

    Args:
        levels: (N, S, S) float32 grey levels, S >= 64.

    Returns:
        (N, P, 126) float32: the natural logarithm of the mean square of each wave but the constant one, in squared
        grey levels, and that of the mean square over the squared mean size, which is pi / 2 of normal noise. The P
        patches stand row by row, `places(S)` of them a row.

    Source: log energies of a filter bank as texture, Randen & Husoy 1999; of cosine waves to tell generated images,
        Frank 2020.
    """
    waves = cosine_waves()[1:]
    window, stride = (PATCH - BASIS) // HOP + 1, STRIDE // HOP
    found = []
    for block in levels.split(BLOCK):
        heights = F.conv2d(block[:, None], waves, stride=HOP)
        square = F.avg_pool2d(heights.square(), window, stride) + FLOOR
        size = F.avg_pool2d(heights.abs(), window, stride).square() + FLOOR * 2 / math.pi
        features = torch.cat([square.log(), (square / size).log()], dim=1)
        found.append(features.flatten(2).transpose(1, 2))
    return torch.cat(found)


def places(side: int) -> int:
    """How many patches stand in a row of an image of so many pixels."""
    window, stride = (PATCH - BASIS) // HOP + 1, STRIDE // HOP
    return ((side - BASIS) // HOP + 1 - window) // stride + 1


def patch_corner(place: int, side: int) -> tuple[int, int]:
    """The first row and column of a patch.

    Args:
        place: its number, row by row.
        side:  pixels of the image.
    """
    return place // places(side) * STRIDE, place % places(side) * STRIDE


def wave_frequencies() -> Tensor:
    """(63,) float32 cycles a pixel of the waves of `patch_features`, 0 to .62 in the corner."""
    number = torch.arange(1, BASIS**2, **WHOLE)
    return torch.hypot((number // BASIS).float(), (number % BASIS).float()) / (2 * BASIS)
