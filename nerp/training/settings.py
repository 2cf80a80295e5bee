"""How networks learn: losses, rates, and the pace of a run."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import ClassVar

from nerp.errors import ConfigError
from nerp.settings import Settings, choice, number, section
from nerp.training.unlabelled_settings import UnlabelledSettings

_DEFAULT_STEPS = 1000
"""Of a segmenter's training, about, where no epochs are given."""


@dataclass(frozen=True)
class LossSettings(Settings):
    """Weights of the terms of adversarial training; a weight of 0 leaves its term out.

    Args:
        form:        of the adversarial loss.
        adversarial: of the generator's adversarial terms together.
        whole:       part of that of whole images; 0: none are judged.
        patches:     part of that of patches, where `discriminator.patches` are judged.
        l1:          the paper's lambda: VRR to its target, display images.
        l1_target:   `drr` of the same camera; or `physics`, its radiograph as developed film, scatter left out.
        tv:          total variation of the opacity.
        matter_l1:   matter to the windowed CT, voxel by voxel.
        r1:          gradient penalty on real images.
        r1_every:    steps between two penalties; their weight is scaled to match.
    """

    SECTION: ClassVar[str] = "loss"

    form: str = choice("softplus", "log", "hinge")
    adversarial: float = number(1.0, 0.0)
    whole: float = number(1.0, 0.0)
    patches: float = number(1.0, 0.0)
    l1: float = number(1.0, 0.0)
    l1_target: str = choice("drr", "physics")
    tv: float = number(0.0, 0.0)
    matter_l1: float = number(0.0, 0.0)
    r1: float = number(0.0, 0.0)
    r1_every: int = number(4, 1)


@dataclass(frozen=True)
class OptimizerSettings(Settings):
    """AdamW for the mapper and for the discriminator.

    Args:
        lr:               of the mapper.
        discriminator_lr: of the discriminator.
        betas:            of both.
        weight_decay:     of both.
        schedule:         of both rates.
        period_steps:     of the cosine: down and up again.
        warmup_steps:     linear rise of both rates from 0.
        max_grad_norm:    of each network; longer gradients are shortened to it.
    """

    SECTION: ClassVar[str] = "optimizer"

    lr: float = number(2e-4, 0.0, 1.0)
    discriminator_lr: float = number(2e-4, 0.0, 1.0)
    betas: tuple[float, float] = number((0.5, 0.999), 0.0, 0.999999)
    weight_decay: float = number(0.0, 0.0, 1.0)
    schedule: str = choice("constant", "cosine")
    period_steps: int = number(20_000, 2)
    warmup_steps: int = number(0, 0)
    max_grad_norm: float = number(100.0, 1e-6)


@dataclass(frozen=True)
class TrainerSettings(Settings):
    """The pace of an adversarial run.

    Args:
        steps:            may grow when a finished run is continued.
        volumes_per_step: CTs mapped in a step, per process.
        views_per_volume: cameras each of them serves.
        ema_decay:        of the averaged mapper that samples and synthesis use.
        log_every:        steps between lines of metrics.jsonl.
        sample_every:     steps between pictures in samples/.
        sample_columns:   CTs in such a picture.
        checkpoint_every: steps between checkpoints; the last two are kept.
        select_every:     steps between comparisons of the averaged mapper with the best so far, which synthesis then
                          uses; 0 for none.
        select_views:     rendered images that are compared with the radiographs.
        select_agreement: least agreement, -1 to 1, of the lungs' edges with the DRRs' for a mapper to be chosen.
    """

    SECTION: ClassVar[str] = "trainer"

    steps: int = number(100_000, 1)
    volumes_per_step: int = number(1, 1, 1024)
    views_per_volume: int = number(4, 1, 1024)
    ema_decay: float = number(0.999, 0.0, 1.0)
    log_every: int = number(10, 1)
    sample_every: int = number(1000, 1)
    sample_columns: int = number(4, 1, 16)
    checkpoint_every: int = number(1000, 1)
    select_every: int = number(0, 0)
    select_views: int = number(64, 2, 10_000)
    select_agreement: float = number(0.8, -1.0, 1.0)


@dataclass(frozen=True)
class LearnerSettings(Settings):
    """A segmenter, and how it learns, whatever ends its training.

    Args:
        encoder:          of the U-Net; each trains from nothing within minutes on a few CPU cores.
        side:             working resolution, pixels, a multiple of 32; every image becomes a square of it.
        batch_size:       pairs a step.
        learning_rate:    of AdamW at its peak; it warms up over 5 % of the steps and then falls as a cosine.
        log_every:        steps between lines of metrics.jsonl.
        sample_every:     steps between pictures in samples/.
        checkpoint_every: steps between checkpoints; the last two are kept.
    """

    SECTION: ClassVar[str] = "segmenter"

    encoder: str = choice("resnet18", "resnet34", "tu-resnet10t")
    side: int = number(128, 32, 4096)
    batch_size: int = number(8, 1, 4096)
    learning_rate: float = number(1e-3, 1e-9, 1.0)
    log_every: int = number(10, 1)
    sample_every: int = number(250, 1)
    checkpoint_every: int = number(250, 1)

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.side % 32:
            raise ConfigError(f"segmenter.side is {self.side}; expected a multiple of 32, such as 128")


@dataclass(frozen=True)
class SegmenterSettings(LearnerSettings):
    """The segmenter, and the pace of its training.

    Args:
        encoder, side, batch_size, learning_rate, log_every, sample_every, checkpoint_every: see `LearnerSettings`.
        epochs:  passes over the pairs; none: as many as make about 1000 steps.
        minutes: limit of the training time, interruptions not counted, one step at least. A run that cannot
                 fit anneals over what does; only one that the minutes do not cut is the same every time.
    """

    epochs: int | None = number(None, 1)
    minutes: float = number(10.0, 1e-3)

    def steps(self, n_pairs: int) -> int:
        """Planned optimiser steps: whole epochs over so many pairs."""
        per_epoch = math.ceil(n_pairs / self.batch_size)
        return per_epoch * (self.epochs or math.ceil(_DEFAULT_STEPS / per_epoch))


@dataclass(frozen=True)
class ArmSettings(LearnerSettings):
    """The segmenter of a comparison: each arm does the same number of steps, however long they take.

    Args:
        encoder, side, batch_size, learning_rate, log_every, sample_every, checkpoint_every: see `LearnerSettings`.
        steps: of each arm and seed.
    """

    steps: int = number(_DEFAULT_STEPS, 2)

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.batch_size < 2:
            raise ConfigError(f"segmenter.batch_size is {self.batch_size}; expected 2 or more: one of each kind")


@dataclass(frozen=True)
class SegmenterConfig(Settings):
    """A training of a segmenter.

    Args:
        train:     folder of pairs to learn from.
        mask_name: which of their masks, where they have several.
        skip_bad:  go on without the files that cannot be read, and list them.
        out:       folder of the run; none: nothing is written.
        seed:      of the first weights, of the order and of the augmentation.
        device:    `auto` takes a GPU where there is one.
        precision: of the network while it learns.
        segmenter: the network and its pace.
        unlabelled: radiographs without masks, and how it learns from them.
    """

    train: str | None = None
    mask_name: str | None = None
    skip_bad: bool = False
    out: str | None = None
    seed: int = number(0, 0, 2**63 - 1)
    device: str = choice("auto", "cpu", "cuda")
    precision: str = choice("32-true", "bf16-mixed")
    segmenter: SegmenterSettings = section(SegmenterSettings)
    unlabelled: UnlabelledSettings = section(UnlabelledSettings)


@dataclass(frozen=True)
class ArmConfig(Settings):
    """One arm of a comparison, with one seed.

    Args:
        arm:       what it learns from: see `nerp.training.arms`.
        real:      folder of real images and masks.
        synthetic: folder of synthetic pairs.
        mask_name: which of their masks, where they have several.
        skip_bad:  go on without the files that cannot be read.
        out:       folder of the run; none: nothing is written.
        seed:      of the first weights, of the order and of the augmentation.
        device:    `auto` takes a GPU where there is one.
        precision: of the network while it learns.
        segmenter: the network and its pace.
        unlabelled: radiographs without masks, of the arm `self-trained`.
    """

    arm: str = choice("real", "synthetic", "mixed", "fine-tune", "self-trained")
    real: str | None = None
    synthetic: str | None = None
    mask_name: str | None = None
    skip_bad: bool = False
    out: str | None = None
    seed: int = number(0, 0, 2**63 - 1)
    device: str = choice("auto", "cpu", "cuda")
    precision: str = choice("32-true", "bf16-mixed")
    segmenter: ArmSettings = section(ArmSettings)
    unlabelled: UnlabelledSettings = section(UnlabelledSettings)
