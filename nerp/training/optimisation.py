"""One network with its optimiser: weighted terms in, one checked update out."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn

from nerp.errors import TrainingError
from nerp.training.checkpoint import State, pack_optimizer, unpack_optimizer
from nerp.training.settings import OptimizerSettings

if TYPE_CHECKING:
    from lightning_fabric import Fabric

Terms = dict[str, tuple[float, Tensor]]
"""Name of a loss term to its weight and its value."""


class OptimisationStep:
    """Updates one network by AdamW, or by Adam.

    Args:
        name:     in metrics, messages and checkpoints.
        module:   wrapped by the fabric; call `.module` of this object in its stead.
        settings: betas, decay, longest gradient.
        fabric:   Lightning Fabric, launched.
        fused:    in one kernel: faster where there are many small weights, with another rounding.
        decoupled: AdamW; otherwise Adam, whose decay is added to the gradient.

    Source: Adam, Kingma & Ba 2015; AdamW, Loshchilov & Hutter 2019.
    """

    def __init__(
        self,
        name: str,
        module: nn.Module,
        *,
        settings: OptimizerSettings,
        fabric: Fabric,
        fused: bool | None = None,
        decoupled: bool = True,
    ):
        self.name, self.settings, self._fabric = name, settings, fabric
        kind = torch.optim.AdamW if decoupled else torch.optim.Adam
        optimizer = kind(module.parameters(), betas=settings.betas, weight_decay=settings.weight_decay, fused=fused)
        self.module, self._optimizer = fabric.setup(module, optimizer)

    def update(self, step: int, terms: Terms, *, rate: float) -> dict[str, float]:
        """One optimiser step on the weighted sum of the terms.

        Args:
            step:  number of the step, for messages.
            terms: name to weight and value, each value one number (a tensor of no dimension), with its graph.
            rate:  learning rate of this step.

        Returns:
            Each term, the gradient norm `gradient_<name>` and the rate `lr_<name>`.

        Raises:
            TrainingError: a term or the gradient is not finite; the weights are left as they were.
        """
        metrics = self._finite(step, {name: value for name, (_, value) in terms.items()})
        for group in self._optimizer.param_groups:
            group["lr"] = rate
        loss = sum(weight * value for weight, value in terms.values())
        assert isinstance(loss, Tensor)  # not the 0 of no terms
        self._fabric.backward(loss)
        norm = self._fabric.clip_gradients(
            self.module, self._optimizer, max_norm=self.settings.max_grad_norm, error_if_nonfinite=False
        )
        assert norm is not None  # of a clipping by norm, not by value
        metrics |= self._finite(step, {f"gradient_{self.name}": norm})
        self._optimizer.step()
        self._optimizer.zero_grad()
        return {**metrics, f"lr_{self.name}": rate}

    def state(self) -> State:
        """The optimiser's tensors, under `<name>_optimizer/…`."""
        return pack_optimizer(f"{self.name}_optimizer", self._optimizer.optimizer)

    def restore(self, tensors: State) -> None:
        """Put back what `state` gave."""
        unpack_optimizer(f"{self.name}_optimizer", self._optimizer.optimizer, tensors)

    def _finite(self, step: int, terms: dict[str, Tensor]) -> dict[str, float]:
        """The terms as numbers, averaged over the processes."""
        mean = self._fabric.all_reduce(torch.stack([term.detach().float() for term in terms.values()]))
        assert isinstance(mean, Tensor)  # as what went in
        values = mean.tolist()
        for name, value in zip(terms, values, strict=True):
            if not math.isfinite(value):
                raise TrainingError(
                    f"step {step}: '{name}' is {value}; expected a finite number. The last checkpoint is intact:"
                    " lower the learning rate or that term's weight, in a new folder"
                )
        return dict(zip(terms, values, strict=True))


def rate_factor(step: int, settings: OptimizerSettings) -> float:
    """What a learning rate is multiplied by: a linear rise, times a cosine there and back.

    Args:
        step:     counted from 1.
        settings: schedule, its period, and the length of the rise, in steps.

    Source: cosine annealing, Loshchilov & Hutter 2017, eq. 5, without restarts and mirrored.
    """
    rise = min(1.0, step / settings.warmup_steps) if settings.warmup_steps else 1.0
    if settings.schedule == "constant":
        return rise
    return rise * 0.5 * (1.0 + math.cos(2.0 * math.pi * (step - 1) / settings.period_steps))
