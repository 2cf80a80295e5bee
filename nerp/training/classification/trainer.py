"""Teaching a classifier on images with findings, one step at a time."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import torch
import torch.nn.functional as F
from torch import Tensor

from nerp.networks.classifier import Classifier
from nerp.randomness import between, stream
from nerp.training.budget import Budget
from nerp.training.checkpoint import State, pack_module, unpack_module
from nerp.training.classification.settings import ClassifierSettings
from nerp.training.curriculum import Curriculum
from nerp.training.optimisation import OptimisationStep
from nerp.training.settings import OptimizerSettings

if TYPE_CHECKING:
    from lightning_fabric import Fabric

COLUMNS = 4
"""Images in a picture."""
TURN_RAD, SHIFT, SCALE = math.radians(7.0), 0.05, (0.9, 1.1)
"""Of the augmentation: largest turn, largest shift as a fraction of the side, zoom."""


class ClassifierTrainer:
    """Trains a classifier; a step's batch and its augmentation follow from (seed, step).

    Args:
        network:    trained in place; moved to the fabric's device.
        labelled:   images (N, 1, H, W) uint8, 0 to 255, and labels (N, K) float32: 1, 0, NaN where it is not known.
        settings:   rate, decay and augmentation.
        budget:     whose total is the number of steps.
        fabric:     Lightning Fabric, launched, of one process.
        curriculum: which images each step learns from; its seed is that of every random choice.
    """

    def __init__(
        self,
        network: Classifier,
        labelled: tuple[Tensor, Tensor],
        *,
        settings: ClassifierSettings,
        budget: Budget,
        fabric: Fabric,
        curriculum: Curriculum,
    ):
        self.network, self.loss = network.train(), math.nan
        self._images, self._labels = labelled
        self._settings, self._budget, self._fabric, self._curriculum = settings, budget, fabric, curriculum
        rates = OptimizerSettings(betas=(0.9, 0.999), weight_decay=settings.weight_decay)
        self._optimisation = OptimisationStep(
            "classifier", network, settings=rates, fabric=fabric, fused=True, decoupled=False
        )

    def step(self, step: int, /) -> dict[str, float]:
        """Do a step, counted from 1; returns its loss, gradient norm and learning rate.

        Raises:
            TrainingError: the loss or the gradient is not finite; the step is named.
        """
        images, labels = (part.to(self._fabric.device) for part in self._batch(step))
        loss = known_cross_entropy(self._optimisation.module(images), labels)
        metrics = self._optimisation.update(step, {"loss": (1.0, loss)}, rate=self._settings.learning_rate)
        self.loss = metrics["loss"]
        return metrics

    def state(self) -> State:
        """Weights, running statistics, the optimiser's tensors, and the last loss."""
        loss = torch.tensor(self.loss, dtype=torch.float64, device="cpu")
        return {**pack_module("classifier", self.network), **self._optimisation.state(), "loss": loss}

    def restore(self, tensors: State, /) -> None:
        """Put back what `state` gave."""
        unpack_module("classifier", self.network, tensors)
        self._optimisation.restore(tensors)
        self.loss = float(tensors["loss"])

    def picture(self) -> dict[str, Tensor]:
        """Some images of the first step, as they are and as they are learned from: (N, 1, H, W) each, 0 to 1."""
        chosen = self._curriculum.indices(1, self._budget.total)[:COLUMNS]
        return {"image": self._images[chosen] / 255.0, "as learned": self._batch(1)[0][:COLUMNS]}

    def _batch(self, step: int) -> tuple[Tensor, Tensor]:
        chosen = self._curriculum.indices(step, self._budget.total)
        draw = stream(self._curriculum.seed, step, "classifier augmentation")
        return moved(self._images[chosen] / 255.0, draw, mirror=self._settings.mirror), self._labels[chosen]


def moved(images: Tensor, generator: torch.Generator, *, mirror: bool = False) -> Tensor:
    """Each image turned, zoomed and shifted a little; what comes from outside repeats the border.

    Args:
        images:    (B, 1, H, W), 0 to 1, on the CPU.
        generator: source of the draws, on the CPU.
        mirror:    mirror half of them.

    Returns:
        (B, 1, H, W), 0 to 1.
    """
    n = len(images)
    angle, zoom = between(-TURN_RAD, TURN_RAD, n, generator), 1.0 / between(*SCALE, n, generator)
    shift = between(-2 * SHIFT, 2 * SHIFT, 2 * n, generator).view(2, n)
    side = between(-1.0, 1.0, n, generator).sign() if mirror else torch.ones_like(angle)
    cos, sin = zoom * angle.cos(), zoom * angle.sin()
    rows = (cos * side, -sin, shift[0], sin * side, cos, shift[1])
    grid = F.affine_grid(torch.stack(rows, 1).view(n, 2, 3), list(images.shape), align_corners=False)
    return F.grid_sample(images, grid, mode="bilinear", padding_mode="border", align_corners=False)


def known_cross_entropy(logits: Tensor, labels: Tensor) -> Tensor:
    """Binary cross-entropy, the mean over all that is known.

    Args:
        logits: (B, K) of each finding.
        labels: (B, K), 1, 0, or NaN where it is not known.

    Returns:
        One number, >= 0, and 0 where nothing is known; differentiable in the logits.
    """
    known = ~labels.isnan()
    each = F.binary_cross_entropy_with_logits(logits, labels.nan_to_num(), reduction="none")
    return (each * known).sum() / known.sum().clamp(min=1)
