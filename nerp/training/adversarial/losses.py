"""Losses: each takes tensors and returns one number; each is differentiable in every argument."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor
from torch.nn.functional import softplus

Logits = tuple[Tensor, Tensor]
"""What the discriminator returns: logits of being real, per pixel (B, 1, H, W) and whole (B, 1)."""


def softplus_generator(fake: Tensor) -> Tensor:
    """-log D(G), mean; logits of any shape. Source: the non-saturating form of Goodfellow et al. 2014, section 3."""
    return softplus(-fake).mean()


def softplus_discriminator(real: Tensor, fake: Tensor) -> Tensor:
    """-log D(x) - log(1 - D(G)), mean.

    Args:
        real: logits of real images, any shape.
        fake: logits of rendered ones, any shape.

    Source: Goodfellow et al. 2014, eq. 1.
    """
    return softplus(-real).mean() + softplus(fake).mean()


def log_generator(fake: Tensor) -> Tensor:
    """log(1 - D(G)), mean: saturates where D is sure; logits of any shape.

    The paper prints the fake term as "1 - log D(G)", which has no lower bound for the discriminator; it is read as
    the minimax game of Goodfellow et al. 2014, eq. 1.

    Source: Huy & Quan, *Neural Radiance Projection*, eq. 3.
    """
    return -softplus(fake).mean()


def hinge_generator(fake: Tensor) -> Tensor:
    """-logit, mean; logits of any shape. Source: Lim & Ye 2017."""
    return -fake.mean()


def hinge_discriminator(real: Tensor, fake: Tensor) -> Tensor:
    """Logits pushed beyond +1 and -1, mean.

    Args:
        real: logits of real images, any shape.
        fake: logits of rendered ones, any shape.

    Source: Lim & Ye 2017.
    """
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


def over_heads(loss: Callable[..., Tensor], *logits: Logits) -> Tensor:
    """The mean of a loss on the per-pixel and on the whole-image logits.

    Args:
        loss:   takes as many tensors as there are `logits`.
        logits: of each set of images, per pixel (B, 1, H, W) and whole (B, 1).

    Source: Schoenfeld et al. 2020, eq. 3 and 4.
    """
    per_pixel, whole = zip(*logits, strict=True)
    return 0.5 * (loss(*per_pixel) + loss(*whole))


def l1(images: Tensor, targets: Tensor) -> Tensor:
    """Mean absolute difference, over pixels or voxels.

    Args:
        images:  any shape.
        targets: the same shape.

    Source: Huy & Quan, *Neural Radiance Projection*, eq. 5.
    """
    return (images - targets).abs().mean()


def total_variation(opacity: Tensor) -> Tensor:
    """Mean over voxels of the absolute differences along the axes of (B, D, H, W). Source: Rudin et al. 1992."""
    along = [torch.diff(opacity, dim=axis).abs().sum() for axis in (1, 2, 3)]
    return (along[0] + along[1] + along[2]) / opacity.numel()


def r1(real: Logits, images: Tensor) -> Tensor:
    """Half the squared gradient of the logits in the real images, mean over the images.

    Args:
        real:   the logits of `images`, both heads.
        images: (B, 1, H, W) that required a gradient before they were shown.

    Source: Mescheder et al. 2018, eq. 9.
    """
    per_pixel, whole = real
    logits = per_pixel.mean(dim=(1, 2, 3)).sum() + whole.sum()
    (gradient,) = torch.autograd.grad(logits, images, create_graph=True)
    return 0.5 * gradient.square().sum(dim=(1, 2, 3)).mean()
