"""The networks as Fabric and DDP wrap them: plain tensors in, plain tensors out, one forward a step."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from nerp.networks.discriminator import Discriminator
from nerp.networks.mapper import Mapper
from nerp.training.adversarial import losses


class FieldValues(nn.Module):
    """The mapper as plain tensors in, plain tensors out, which is what Fabric can wrap."""

    def __init__(self, mapper: Mapper):
        super().__init__()
        self.mapper = mapper

    def forward(self, windowed_ct: Tensor) -> tuple[Tensor, Tensor]:
        """Matter, 0 to 1, and opacity, 1/mm, each (B, D, H, W), of (B, 1, D, H, W) in 0 to 1."""
        return self.mapper.field_values(windowed_ct)


class LogitsOfBoth(nn.Module):
    """The discriminator on real and on rendered images in one forward, since DDP allows no second.

    R1's gradient is taken within, where the hooks that Fabric and DDP put on the outputs do not see it.
    """

    def __init__(self, discriminator: Discriminator):
        super().__init__()
        self.discriminator = discriminator

    def forward(
        self, real: Tensor, fake: Tensor, penalised: bool
    ) -> tuple[losses.Logits, losses.Logits, Tensor | None]:
        """The logits of both, and the gradient penalty of the real images where it is due.

        Args:
            real:      (B, 1, H, W) display images, 0 to 1.
            fake:      (B, 1, H, W) rendered ones.
            penalised: whether `losses.r1` is taken.
        """
        real, n = real.detach().requires_grad_(penalised), len(real)
        per_pixel, whole = self.discriminator(torch.cat([real, fake]))
        of_real, of_fake = (per_pixel[:n], whole[:n]), (per_pixel[n:], whole[n:])
        return of_real, of_fake, losses.r1(of_real, real) if penalised else None
