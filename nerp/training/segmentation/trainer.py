"""Teaching a segmenter on labelled pairs, one step at a time."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import torch
import torch.nn.functional as F
from torch import Tensor

from nerp.devices import WHOLE
from nerp.networks.segmenter import Segmenter
from nerp.randomness import stream
from nerp.training.budget import Budget
from nerp.training.checkpoint import State, pack_module, unpack_module
from nerp.training.curriculum import Curriculum
from nerp.training.optimisation import OptimisationStep
from nerp.training.segmentation.augmentation import augment
from nerp.training.settings import LearnerSettings, OptimizerSettings

if TYPE_CHECKING:
    from lightning_fabric import Fabric

COLUMNS = 4
"""Pairs in a picture."""


class SegmenterTrainer:
    """Trains a segmenter; a step's batch and its augmentation follow from (seed, step).

    Args:
        network:  trained in place; moved to the fabric's device.
        pairs:    images (N, 1, H, W), 0 to 255, and masks (N, K, H, W), 0 or 1, uint8, sides multiples of 32.
        settings: pairs a step and the peak of the learning rate.
        seed:     of every random choice.
        budget:   whose total says how far a step is along the run.
        fabric:   Lightning Fabric, launched, of one process.
        curriculum: which pairs each step learns from; none: each epoch goes once through all.
    """

    def __init__(
        self,
        network: Segmenter,
        pairs: tuple[Tensor, Tensor],
        *,
        settings: LearnerSettings,
        seed: int,
        budget: Budget,
        fabric: Fabric,
        curriculum: Curriculum | None = None,
    ):
        self.network, self.loss = network.train(), math.nan
        self._images, self._masks = pairs
        self._settings, self._seed, self._budget, self._fabric = settings, seed, budget, fabric
        self._curriculum = curriculum
        rates = OptimizerSettings(betas=(0.9, 0.999), weight_decay=1e-4, max_grad_norm=1.0)
        self._optimisation = OptimisationStep("segmenter", network, settings=rates, fabric=fabric, fused=True)

    def step(self, step: int, /) -> dict[str, float]:
        """Do a step, counted from 1; returns its loss, gradient norm and learning rate.

        Raises:
            TrainingError: the loss or the gradient is not finite; the step is named.
        """
        images, masks = self._batch(step)
        loss = segmentation_loss(self._optimisation.module(images), masks)
        rate = self._settings.learning_rate * rate_factor(self._fraction(step))
        metrics = self._optimisation.update(step, {"loss": (1.0, loss)}, rate=rate)
        self.loss = metrics["loss"]
        return metrics

    def state(self) -> State:
        """Weights, the optimiser's tensors, and the last loss."""
        loss = torch.tensor(self.loss, dtype=torch.float64, device="cpu")
        return {**pack_module("segmenter", self.network), **self._optimisation.state(), "loss": loss}

    def restore(self, tensors: State, /) -> None:
        """Put back what `state` gave."""
        unpack_module("segmenter", self.network, tensors)
        self._optimisation.restore(tensors)
        self.loss = float(tensors["loss"])

    def picture(self) -> dict[str, Tensor]:
        """The first few pairs and what the network sees in their images: (N, 1, H, W) each, 0 to 1."""
        images, masks = self._images[:COLUMNS] / 255.0, self._masks[:COLUMNS].float()
        self.network.eval()
        predictions = self.network.segment(images.to(self._fabric.device)).cpu()
        self.network.train()
        rows = {"image": images}
        for channel, name in enumerate(self.network.structures or ("",)):
            one = slice(channel, channel + 1)
            rows |= {f"{name} mask".strip(): masks[:, one], f"{name} prediction".strip(): predictions[:, one]}
        return rows

    def _batch(self, step: int) -> tuple[Tensor, Tensor]:
        chosen = self._chosen(step)
        draw = stream(self._seed, step, "segmenter augmentation")
        images, masks = augment(self._images[chosen] / 255.0, self._masks[chosen].float(), draw)
        return images.to(self._fabric.device), masks.to(self._fabric.device)

    def _fraction(self, step: int) -> float:
        """How far a step is along the run, or along its part of it."""
        if self._curriculum is not None:
            return self._curriculum.fraction(step, self._budget.total)
        return (step - 1) / self._budget.total

    def _chosen(self, step: int) -> Tensor:
        """Indices of a step's pairs: each epoch goes once through all of them, in an order of its own."""
        if self._curriculum is not None:
            return self._curriculum.indices(step, self._budget.total)
        count, size = len(self._images), self._settings.batch_size
        epoch, place = divmod(step - 1, math.ceil(count / size))
        order = torch.randperm(count, generator=stream(self._seed, epoch, "segmenter order"), **WHOLE)
        return order[place * size : (place + 1) * size]


def rate_factor(fraction: float) -> float:
    """What the peak learning rate is multiplied by at a fraction, 0 to 1, of the run: a rise over 5 %, then a cosine.

    Source: cosine annealing, Loshchilov & Hutter 2017, eq. 5, to 1 % and without restarts.
    """
    if fraction < 0.05:
        return 0.1 + 0.9 * fraction / 0.05
    return 0.01 + 0.99 * 0.5 * (1 + math.cos(math.pi * (fraction - 0.05) / 0.95))


def segmentation_loss(logits: Tensor, masks: Tensor) -> Tensor:
    """Cross-entropy plus soft Dice of each image and structure, mean over both.

    Args:
        logits: (B, K, H, W) of being inside each structure.
        masks:  (B, K, H, W), 0 or 1.

    Returns:
        One number, >= 0; differentiable in the logits.

    Source: Isensee et al. 2021; soft Dice, Milletari et al. 2016, eq. 3, here without squares and smoothed by 1.
    """
    probabilities = logits.sigmoid()
    shared = (probabilities * masks).sum(dim=(2, 3))
    total = (probabilities + masks).sum(dim=(2, 3))
    soft_dice = (2 * shared + 1) / (total + 1)
    return F.binary_cross_entropy_with_logits(logits, masks) + (1 - soft_dice).mean()
