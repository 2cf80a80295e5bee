"""What the discriminators see, changed at random: real and rendered alike, so that neither is learned by heart."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from nerp.devices import SINGLE, WHOLE
from nerp.training.adversarial.drawing import Draws


@dataclass(frozen=True)
class Strength:
    """How much is changed.

    Args:
        brightness:  largest shift of the grey levels, which run from 0 to 1.
        contrast:    largest change of the contrast, a factor of 1 -+ this.
        translation: largest shift along rows and columns, as a fraction of the side.
        cutout:      side of the square that is blanked, as a fraction of the image's.
    """

    brightness: float
    contrast: float
    translation: float
    cutout: float


STRENGTHS = {"light": Strength(0.1, 0.2, 0.0625, 0.25), "strong": Strength(0.5, 0.5, 0.125, 0.5)}
"""By name: `strong` is that of Zhao et al., grey levels counted from 0 to 1."""


@dataclass(frozen=True)
class Looks:
    """How N images are changed.

    Args:
        brightness: (N,) added to the grey levels.
        contrast:   (N,) factor about each image's mean.
        shifts:     (N, 2) along rows and columns, fraction of the side.
        holes:      (N, 2) middle of the blanked square, 0 to 1.
        cutout:     its side, fraction of the image's.
    """

    brightness: Tensor
    contrast: Tensor
    shifts: Tensor
    holes: Tensor
    cutout: float

    def own(self, draws: Draws) -> Looks:
        """Those of one process."""
        grey = draws.own(self.brightness), draws.own(self.contrast)
        return Looks(*grey, draws.own(self.shifts), draws.own(self.holes), self.cutout)


def sample_looks(n: int, strength: Strength, generator: torch.Generator) -> Looks:
    """Looks, uniform.

    Args:
        n:         how many.
        strength:  their ranges.
        generator: source of the draws, on the CPU.
    """
    uniform = torch.rand(n, 6, generator=generator, **SINGLE)
    signed = 2.0 * uniform[:, :4] - 1.0
    brightness, contrast = strength.brightness * signed[:, 0], 1.0 + strength.contrast * signed[:, 1]
    return Looks(brightness, contrast, strength.translation * signed[:, 2:], uniform[:, 4:], strength.cutout)


def changed(images: Tensor, looks: Looks) -> Tensor:
    """Images with other brightness and contrast, shifted by whole pixels, a square of them blanked.

    Args:
        images: (N, 1, H, W) in 0 to 1.
        looks:  N.

    Returns:
        (N, 1, H, W), beyond 0 to 1 where brightness and contrast carry it; differentiable in the images.

    Source: Zhao et al. 2020, differentiable augmentation: brightness, contrast, translation, cut-out.
    """
    brightness, contrast = (part.to(images).view(-1, 1, 1, 1) for part in (looks.brightness, looks.contrast))
    mean = images.mean(dim=(1, 2, 3), keepdim=True)
    images = (images - mean) * contrast + mean + brightness
    for dim in (2, 3):
        images = _shifted(images, looks.shifts[:, dim - 2], dim)
    return images * _open(images, looks)


def _shifted(images: Tensor, shifts: Tensor, dim: int) -> Tensor:
    """Moved along rows (2) or columns (3), black beyond."""
    count = images.shape[dim]
    pixels = (shifts * count).round().to(images.device, torch.int64)
    places = torch.arange(count, **WHOLE).to(images.device) - pixels[:, None]
    inside = (places >= 0) & (places < count)
    index, kept = (part.view(len(images), 1, *((-1, 1) if dim == 2 else (1, -1))) for part in (places, inside))
    return images.gather(dim, index.clamp(0, count - 1).expand_as(images)) * kept.to(images)


def _open(images: Tensor, looks: Looks) -> Tensor:
    """(N, 1, H, W) 0 in the blanked square, 1 elsewhere."""
    within = []
    for dim in (2, 3):
        middles = (torch.arange(images.shape[dim], **SINGLE) + 0.5) / images.shape[dim]
        within.append((middles - looks.holes[:, dim - 2, None]).abs() < looks.cutout / 2)
    return 1.0 - (within[0][:, None, :, None] & within[1][:, None, None, :]).to(images)
