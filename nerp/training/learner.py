"""One network with its optimiser: weighted terms in, one checked update out."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn

from nerp.errors import TrainingError
from nerp.training.checkpoint import pack_optimizer, unpack_optimizer
from nerp.training.settings import OptimizerSettings

if TYPE_CHECKING:
    from lightning_fabric import Fabric

Terms = dict[str, tuple[float, Tensor]]
"""Name of a loss term to its weight and its value."""


class Learner:
    """Updates one network.

    Args:
        name:     in metrics, messages and checkpoints.
        module:   wrapped by the fabric; call `learner.module` in its stead.
        rate:     learning rate before `rate_factor`.
        settings: betas, decay, schedule, longest gradient.
        fabric:   Lightning Fabric, launched.
    """

    def __init__(self, name: str, module: nn.Module, *, rate: float, settings: OptimizerSettings, fabric: Fabric):
        self.name, self.rate, self.settings, self._fabric = name, rate, settings, fabric
        betas = tuple(settings.betas)
        optimizer = torch.optim.AdamW(module.parameters(), lr=rate, betas=betas, weight_decay=settings.weight_decay)
        self.module, self._optimizer = fabric.setup(module, optimizer)

    def update(self, step: int, terms: Terms) -> dict[str, float]:
        """One optimiser step on the weighted sum of `terms`; returns each term, the gradient norm and the rate.

        Raises:
            TrainingError: a term or the gradient is not finite; the weights are left as they were.
        """
        metrics = self._finite(step, {name: value for name, (_, value) in terms.items()})
        rate = self.rate * rate_factor(step, self.settings)
        for group in self._optimizer.param_groups:
            group["lr"] = rate
        self._fabric.backward(sum(weight * value for weight, value in terms.values()))
        norm = self._fabric.clip_gradients(
            self.module, self._optimizer, max_norm=self.settings.max_grad_norm, error_if_nonfinite=False
        )
        metrics |= self._finite(step, {f"gradient_{self.name}": norm})
        self._optimizer.step()
        self._optimizer.zero_grad()
        return {**metrics, f"lr_{self.name}": rate}

    def state(self) -> dict[str, Tensor]:
        """The optimiser's tensors."""
        return pack_optimizer(f"{self.name}_optimizer", self._optimizer.optimizer)

    def restore(self, tensors: dict[str, Tensor]) -> None:
        """Put back what `state` gave."""
        unpack_optimizer(f"{self.name}_optimizer", self._optimizer.optimizer, tensors)

    def _finite(self, step: int, terms: dict[str, Tensor]) -> dict[str, float]:
        """The terms as numbers, averaged over the processes."""
        values = self._fabric.all_reduce(torch.stack([term.detach().float() for term in terms.values()])).tolist()
        for name, value in zip(terms, values, strict=True):
            if not math.isfinite(value):
                raise TrainingError(
                    f"step {step}: '{name}' is {value}; expected a finite number. The last checkpoint is intact:"
                    " lower optimizer.lr or that term's weight, in a new run_dir"
                )
        return dict(zip(terms, values, strict=True))


def rate_factor(step: int, settings: OptimizerSettings) -> float:
    """What a learning rate is multiplied by in step `step`: a linear rise, times a cosine there and back."""
    rise = min(1.0, step / settings.warmup_steps) if settings.warmup_steps else 1.0
    if settings.schedule == "constant":
        return rise
    return rise * 0.5 * (1.0 + math.cos(2.0 * math.pi * (step - 1) / settings.period_steps))
