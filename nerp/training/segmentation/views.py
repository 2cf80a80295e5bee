"""What a segmenter sees in a radiograph, averaged over several views of it, and how well the views agree."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from nerp.devices import SINGLE, single
from nerp.networks.segmenter import Segmenter

ZOOM, SHIFT, GAMMA = (0.85, 1.15), 0.08, (0.6, 1.6)
"""Ranges of a view's zoom, of its shift as a part of half the side, and of the exponent of its grey values."""
AT_ONCE = 16
"""Images that the network sees in one batch."""


@dataclass(frozen=True)
class View:
    """One way to look at every image.

    Args:
        zoom:     above 1 enlarges.
        shift:    columns, rows, as parts of half the side.
        gamma:    exponent of the grey values.
        mirrored: left and right exchanged.
    """

    zoom: float = 1.0
    shift: tuple[float, float] = (0.0, 0.0)
    gamma: float = 1.0
    mirrored: bool = False

    def of(self, images: Tensor) -> Tensor:
        """The view of (B, 1, H, W) images in 0 to 1; black where it looks past their edge."""
        step = 1 / self.zoom
        across = -step if self.mirrored else step
        return _sampled(images**self.gamma, (across, step), self.shift)

    def back(self, seen: Tensor) -> Tensor:
        """(B, C, H, W), values on the view's pixels, laid on the image's own; 0 where the view did not look."""
        across = -self.zoom if self.mirrored else self.zoom
        return _sampled(seen, (across, self.zoom), (-across * self.shift[0], -self.zoom * self.shift[1]))


def _sampled(images: Tensor, scale: tuple[float, float], shift: tuple[float, float]) -> Tensor:
    rows = [[scale[0], 0.0, shift[0]], [0.0, scale[1], shift[1]]]
    theta = single(rows).to(images.device).expand(len(images), 2, 3)
    grid = F.affine_grid(theta, list(images.shape), align_corners=False)
    return F.grid_sample(images, grid, mode="bilinear", align_corners=False)


def draw_views(count: int, generator: torch.Generator) -> list[View]:
    """The plain view, and others at random; every second one is mirrored.

    Args:
        count:     of all, at least 1.
        generator: source of the draws, on the CPU.
    """
    views = [View()]
    low, high = (math.log(value) for value in GAMMA)
    for number in range(1, count):
        zoom, across, down, gamma = torch.rand(4, generator=generator, **SINGLE).tolist()
        shift = (SHIFT * (2 * across - 1), SHIFT * (2 * down - 1))
        zoom = ZOOM[0] + zoom * (ZOOM[1] - ZOOM[0])
        views.append(View(zoom, shift, math.exp(low + gamma * (high - low)), number % 2 == 1))
    return views


@torch.no_grad()
def averaged(network: Segmenter, images: Tensor, views: list[View]) -> tuple[Tensor, Tensor]:
    """The mean of what the network sees in several views.

    Args:
        network: in evaluation mode, of one structure.
        images:  (N, 1, side, side) uint8, 0 to 255, sides multiples of 32.
        views:   at least one.

    Returns:
        (N, 1, side, side) float32 probability of being inside, and (N,) float32 agreement: the mean over the views of
        the Dice of each one's mask with the mean's, where both looked; both 0 to 1, on the CPU.
    """
    parts = [_averaged(network, batch.to(network.device) / 255.0, views) for batch in images.split(AT_ONCE)]
    probability, agreement = (torch.cat(part) for part in zip(*parts, strict=True))
    return probability.cpu(), agreement.cpu()


def _averaged(network: Segmenter, images: Tensor, views: list[View]) -> tuple[Tensor, Tensor]:
    answers = [network(view.of(images)).sigmoid() for view in views]
    pairs = [
        view.back(torch.cat([answer, torch.ones_like(answer)], 1)) for view, answer in zip(views, answers, strict=True)
    ]
    seen = torch.stack([pair[:, :1] for pair in pairs])
    looked = torch.stack([pair[:, 1:] for pair in pairs])
    mean = seen.sum(0) / looked.sum(0).clamp_min(1e-6)
    agreement = torch.stack(
        [_dice(one > 0.5, mean > 0.5, there > 0.99) for one, there in zip(seen, looked, strict=True)]
    )
    return mean, agreement.mean(0)


def _dice(mask: Tensor, other: Tensor, where: Tensor) -> Tensor:
    """(B,) Dice of (B, 1, H, W) masks on some pixels; 1 where both are empty."""
    shared, total = (
        (mask & other & where).sum((1, 2, 3)),
        (mask & where).sum((1, 2, 3)) + (other & where).sum((1, 2, 3)),
    )
    return torch.where(total > 0, 2.0 * shared / total.clamp_min(1), torch.ones_like(total, dtype=torch.float32))
