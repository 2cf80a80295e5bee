"""Teaching a segmenter on labelled pairs, within a stated budget of epochs or minutes."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import torch
import torch.nn.functional as F
from torch import Tensor

from nerp.data.images import find_pairs, read_image, read_mask
from nerp.errors import DataError, TrainingError, UsageError
from nerp.networks.segmenter import ENCODERS, Segmenter, resize
from nerp.training.augmentation import augment

Progress = Callable[[int, int, float], None]


@dataclass(frozen=True)
class SegmenterPlan:
    """How a segmenter is trained.

    Args:
        epochs:        passes over the pairs; None takes as many as make about 1000 steps.
        minutes:       limit of the training time, one step at least; a run that cannot fit anneals over what does.
        seed:          of the first weights, of the order and of the augmentation.
        side:          working resolution, pixels, a multiple of 32; every image becomes a square of it.
        batch_size:    pairs a step.
        learning_rate: of AdamW at its peak; it warms up over 5 % of the steps and then falls as a cosine.
        encoder:       see `nerp.networks.segmenter.ENCODERS`.

    Raises:
        UsageError: a number out of its range.
    """

    epochs: int | None = None
    minutes: float = 10.0
    seed: int = 0
    side: int = 128
    batch_size: int = 8
    learning_rate: float = 1e-3
    encoder: str = "resnet18"

    def __post_init__(self):
        if self.epochs is not None and self.epochs < 1:
            raise UsageError(f"epochs is {self.epochs}; expected 1 or more, or none for the default")
        if not (math.isfinite(self.minutes) and self.minutes > 0):
            raise UsageError(f"minutes is {self.minutes}; expected a number above 0")
        if self.side < 32 or self.side % 32:
            raise UsageError(f"side is {self.side}; expected a multiple of 32, such as 128")
        if not 0 <= self.seed < 2**63:
            raise UsageError(f"seed is {self.seed}; expected 0 or more, below 2^63")
        if self.encoder not in ENCODERS:
            raise UsageError(f"encoder is {self.encoder!r}; expected one of {', '.join(ENCODERS)}")
        if self.batch_size < 1 or self.learning_rate <= 0:
            raise UsageError("batch_size and learning_rate must be above 0")

    def steps(self, n_pairs: int) -> int:
        """Planned optimiser steps: whole epochs over `n_pairs`."""
        per_epoch = math.ceil(n_pairs / self.batch_size)
        return per_epoch * (self.epochs or math.ceil(DEFAULT_STEPS / per_epoch))


DEFAULT_STEPS = 1000


@dataclass(frozen=True)
class TrainedSegmenter:
    """A segmenter and how it came to be; `stopped_by` is `epochs` or `minutes`, whichever came first."""

    network: Segmenter
    epochs: float
    steps: int
    seconds: float
    stopped_by: str
    loss: float

    def record(self) -> dict:
        """The numbers of the training, JSON-ready."""
        names = ("epochs", "steps", "seconds", "stopped_by", "loss")
        setting = {"encoder": self.network.encoder, "side": self.network.side, "threads": torch.get_num_threads()}
        return setting | {name: getattr(self, name) for name in names}


def train_segmenter(
    folder: str | Path, *, plan: SegmenterPlan | None = None, progress: Progress | None = None
) -> TrainedSegmenter:
    """Train a segmenter on a folder of pairs.

    Args:
        folder:   has images/ and masks/, and optionally metadata.jsonl; see `find_pairs`.
        plan:     budget and settings.
        progress: called as progress(steps done, steps planned, loss).

    Returns:
        The trained segmenter, in evaluation mode. The same plan, pairs and threads give the same weights, as long as
        the time limit is not met.

    Raises:
        DataError: fewer than two pairs, unreadable files, or masks that are all empty.
        TrainingError: the loss is no longer finite; the step is named.
    """
    plan = plan or SegmenterPlan()
    images, masks = load_pairs(folder, plan.side)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(plan.seed)
        network = Segmenter(plan.encoder, plan.side).train()
    begun = time.monotonic()
    steps, loss, stopped_by = _fit(network, (images, masks), plan, progress)
    epochs = steps / math.ceil(len(images) / plan.batch_size)
    seconds = round(time.monotonic() - begun, 2)
    return TrainedSegmenter(network.eval(), round(epochs, 3), steps, seconds, stopped_by, loss)


def _fit(network: Segmenter, pairs: tuple[Tensor, Tensor], plan: SegmenterPlan, progress) -> tuple[int, float, str]:
    generator = torch.Generator().manual_seed(plan.seed)
    optimiser = torch.optim.AdamW(network.parameters(), lr=plan.learning_rate, weight_decay=1e-4, fused=True)
    total = planned = plan.steps(len(pairs[0]))
    begun, done, loss = time.monotonic(), 0, math.nan
    for batch in _batches(len(pairs[0]), plan.batch_size, generator):
        if done >= total or (done and time.monotonic() - begun > 60 * plan.minutes):
            break
        optimiser.param_groups[0]["lr"] = plan.learning_rate * learning_rate_share(done / total)
        images, masks = augment(pairs[0][batch] / 255.0, pairs[1][batch].float(), generator)
        loss = _step(network, optimiser, images, masks, done)
        done += 1
        if done % 20 == 0:
            total = _affordable(planned, done, (time.monotonic() - begun) / (60 * plan.minutes))
        if progress is not None:
            progress(done, total, loss)
    return done, loss, "epochs" if done >= planned else "minutes"


def _step(network: Segmenter, optimiser, images: Tensor, masks: Tensor, step: int) -> float:
    optimiser.zero_grad(set_to_none=True)
    loss = segmentation_loss(network(images), masks)
    if not torch.isfinite(loss):
        raise TrainingError(
            f"segmentation loss is {loss.item()} at step {step}; expected a finite number: lower the learning rate"
        )
    loss.backward()
    torch.nn.utils.clip_grad_norm_(network.parameters(), 1.0)
    optimiser.step()
    return loss.item()


def _affordable(planned: int, done: int, spent: float) -> int:
    """Steps that fit when `done` of them took the share `spent` of the time; never more than planned."""
    return min(planned, max(done, int(done / spent))) if spent > 0 else planned


def learning_rate_share(fraction: float) -> float:
    """Share of the peak learning rate at a fraction (0..1) of the run: linear over 5 %, then a cosine to 1 %."""
    if fraction < 0.05:
        return 0.1 + 0.9 * fraction / 0.05
    return 0.01 + 0.99 * 0.5 * (1 + math.cos(math.pi * (fraction - 0.05) / 0.95))


def segmentation_loss(logits: Tensor, masks: Tensor) -> Tensor:
    """Cross-entropy plus soft Dice of each image, both (B, 1, H, W); masks are 0 or 1. Source: Isensee 2021."""
    probabilities = logits.sigmoid()
    shared = (probabilities * masks).sum(dim=(1, 2, 3))
    total = (probabilities + masks).sum(dim=(1, 2, 3))
    soft_dice = (2 * shared + 1) / (total + 1)
    return F.binary_cross_entropy_with_logits(logits, masks) + (1 - soft_dice).mean()


def _batches(count: int, size: int, generator: torch.Generator) -> Iterator[Tensor]:
    while True:
        yield from torch.randperm(count, generator=generator).split(size)


def load_pairs(folder: str | Path, side: int) -> tuple[Tensor, Tensor]:
    """All pairs of a folder as uint8 (N, 1, side, side): images 0..255, masks 0 or 1.

    Raises:
        DataError: fewer than two pairs, a mask of another shape than its image, or masks that are all empty.
    """
    pairs, _ = find_pairs(folder)
    if len(pairs) < 2:
        raise DataError(f"{folder} has {len(pairs)} image-mask pairs; expected 2 or more, matched by file name")
    images = torch.cat([resize(read_image(image), (side, side)) for image, _ in pairs])
    masks = torch.cat([resize(read_mask(mask), (side, side)) for _, mask in pairs])
    masks = (masks > 0.5).to(torch.uint8)
    if not masks.any():
        raise DataError(f"all {len(pairs)} masks in {folder} are empty; expected some pixels of the structure to learn")
    return (images * 255).round().clamp(0, 255).to(torch.uint8), masks
