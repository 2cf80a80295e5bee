"""The networks' forwards as Fabric wraps them: plain tensors in, plain tensors out, one call a step."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from nerp.networks import Discriminator, Mapper
from nerp.training import losses


class FieldValues(nn.Module):
    """The mapper as plain tensors in, plain tensors out, which is what Fabric can wrap."""

    def __init__(self, mapper: Mapper):
        super().__init__()
        self.mapper = mapper

    def forward(self, ct01: Tensor) -> tuple[Tensor, Tensor]:
        return self.mapper.field_values(ct01)


class Judging(nn.Module):
    """The discriminator on real and on rendered images in one forward, since DDP allows no second.

    R1's gradient is taken within, where the hooks that Fabric and DDP put on the outputs do not see it.
    """

    def __init__(self, discriminator: Discriminator):
        super().__init__()
        self.discriminator = discriminator

    def forward(
        self, real: Tensor, fake: Tensor, penalised: bool
    ) -> tuple[losses.Judgement, losses.Judgement, Tensor | None]:
        """Both judgements, and `losses.r1` of the real images where `penalised`."""
        real, n = real.detach().requires_grad_(penalised), len(real)
        per_pixel, whole = self.discriminator(torch.cat([real, fake]))
        judged_real, judged_fake = (per_pixel[:n], whole[:n]), (per_pixel[n:], whole[n:])
        return judged_real, judged_fake, losses.r1(judged_real, real) if penalised else None
