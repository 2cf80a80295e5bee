"""Losses: each takes tensors and returns one number; each is differentiable in every argument."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor
from torch.nn.functional import softplus

Judgement = tuple[Tensor, Tensor]
"""What the discriminator returns: logits of being real, per pixel (B, 1, H, W) and whole (B, 1)."""


def softplus_generator(fake: Tensor) -> Tensor:
    """-log D(G), mean. Non-saturating form: Goodfellow et al. 2014, section 3."""
    return softplus(-fake).mean()


def softplus_discriminator(real: Tensor, fake: Tensor) -> Tensor:
    """-log D(x) - log(1 - D(G)), mean. Goodfellow et al. 2014, eq. 1."""
    return softplus(-real).mean() + softplus(fake).mean()


def log_generator(fake: Tensor) -> Tensor:
    """log(1 - D(G)), mean: saturates where D is sure.

    Huy & Quan, *Neural Radiance Projection*, eq. 3. The paper prints the fake term as "1 - log D(G)", which
    has no lower bound for the discriminator; it is read as the minimax game of Goodfellow et al. 2014, eq. 1.
    """
    return -softplus(fake).mean()


def hinge_generator(fake: Tensor) -> Tensor:
    """-logit, mean. Lim & Ye 2017."""
    return -fake.mean()


def hinge_discriminator(real: Tensor, fake: Tensor) -> Tensor:
    """Logits pushed beyond +1 and -1, mean. Lim & Ye 2017."""
    return torch.relu(1.0 - real).mean() + torch.relu(1.0 + fake).mean()


GENERATOR_LOSSES: dict[str, Callable[[Tensor], Tensor]] = {
    "softplus": softplus_generator,
    "log": log_generator,
    "hinge": hinge_generator,
}
DISCRIMINATOR_LOSSES: dict[str, Callable[[Tensor, Tensor], Tensor]] = {
    "softplus": softplus_discriminator,
    "log": softplus_discriminator,  # the minimax game has the same discriminator
    "hinge": hinge_discriminator,
}


def over_heads(loss: Callable[..., Tensor], *judgements: Judgement) -> Tensor:
    """The mean of `loss` on the per-pixel and on the whole-image logits. Schoenfeld et al. 2020, eq. 3 and 4."""
    per_pixel, whole = zip(*judgements, strict=True)
    return 0.5 * (loss(*per_pixel) + loss(*whole))


def l1(images: Tensor, targets: Tensor) -> Tensor:
    """Mean absolute difference, over pixels or voxels. Huy & Quan, eq. 5."""
    return (images - targets).abs().mean()


def total_variation(opacity: Tensor) -> Tensor:
    """Mean over voxels of the absolute differences along the axes of (B, D, H, W). Rudin et al. 1992."""
    return sum(torch.diff(opacity, dim=axis).abs().sum() for axis in (1, 2, 3)) / opacity.numel()


def r1(real: Judgement, images: Tensor) -> Tensor:
    """Half the squared gradient of the logits in the real images, per image. Mescheder et al. 2018, eq. 9.

    Args:
        real:   the judgement of `images`, both heads.
        images: (B, 1, H, W) that required a gradient before they were judged.
    """
    per_pixel, whole = real
    logits = per_pixel.mean(dim=(1, 2, 3)).sum() + whole.sum()
    (gradient,) = torch.autograd.grad(logits, images, create_graph=True)
    return 0.5 * gradient.square().sum(dim=(1, 2, 3)).mean()
