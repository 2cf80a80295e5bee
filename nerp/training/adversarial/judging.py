"""A discriminator that learns to tell real from rendered, and what the generator hears of it."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch import Tensor

from nerp.networks.discriminator import Discriminator
from nerp.training.adversarial import losses
from nerp.training.adversarial.ddp_modules import LogitsOfBoth
from nerp.training.checkpoint import State, pack_module, unpack_module
from nerp.training.optimisation import OptimisationStep, Terms, rate_factor
from nerp.training.settings import LossSettings, OptimizerSettings

if TYPE_CHECKING:
    from lightning_fabric import Fabric


class Judge:
    """A discriminator with its optimiser.

    Args:
        network:   trained in place.
        loss:      form of the adversarial loss, R1.
        optimizer: of the network.
        fabric:    Lightning Fabric, launched.
        of:        what it judges, such as `patch`: stands before its names in metrics and checkpoints.
    """

    def __init__(
        self, network: Discriminator, *, loss: LossSettings, optimizer: OptimizerSettings, fabric: Fabric, of: str = ""
    ):
        self.network, self.loss, self.optimizer, self.fabric = network, loss, optimizer, fabric
        self._before = f"{of}_" if of else ""
        self._step = OptimisationStep(
            f"{self._before}discriminator", LogitsOfBoth(network), settings=optimizer, fabric=fabric
        )

    def learn(self, step: int, real: Tensor, fake: Tensor) -> dict[str, float]:
        """Learn to tell two sets of images apart.

        Args:
            step: counted from 1.
            real: (B, 1, H, W) as shown, 0 to 1.
            fake: (B, 1, H, W) likewise, without their graph.

        Returns:
            Its loss, penalty, gradient norm, rate and mean logits, by name.

        Raises:
            TrainingError: one of them is not finite.
        """
        penalised = self.loss.r1 > 0 and step % self.loss.r1_every == 0
        of_real, of_fake, penalty = self._step.module(real, fake, penalised)
        form, before = losses.DISCRIMINATOR_LOSSES[self.loss.form], self._before
        terms: Terms = {f"{before}discriminator": (1.0, losses.over_heads(form, of_real, of_fake))}
        if penalised:
            terms[f"{before}r1"] = (self.loss.r1 * self.loss.r1_every, penalty)
        rate = self.optimizer.discriminator_lr * rate_factor(step, self.optimizer)
        metrics = self._step.update(step, terms, rate=rate)
        means = self.fabric.all_reduce(torch.stack([whole.detach().mean() for _, whole in (of_real, of_fake)]))
        assert isinstance(means, Tensor)  # as what went in
        return metrics | dict(zip((f"{before}logit_real", f"{before}logit_fake"), means.tolist(), strict=True))

    def verdict(self, fake: Tensor) -> Tensor:
        """The generator's adversarial loss on (B, 1, H, W) images as shown, 0 to 1: one number, differentiable in them.

        The weights are held fixed, and the DDP wrapper is passed by.
        """
        self.network.requires_grad_(False)
        with self.fabric.autocast():
            logits = self.network(fake)
        self.network.requires_grad_(True)
        return losses.over_heads(losses.GENERATOR_LOSSES[self.loss.form], logits)

    def state(self) -> State:
        """Every tensor that its next step depends on."""
        return {**pack_module(f"{self._before}discriminator", self.network), **self._step.state()}

    def restore(self, tensors: State) -> None:
        """Put back what `state` gave."""
        unpack_module(f"{self._before}discriminator", self.network, tensors)
        self._step.restore(tensors)
