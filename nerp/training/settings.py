"""How networks learn: losses, rates, and the pace of a run."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from nerp.settings import Settings, choice, number


@dataclass(frozen=True)
class LossSettings(Settings):
    """Weights of the terms of adversarial training; a weight of 0 leaves its term out.

    Args:
        form:        of the adversarial loss.
        adversarial: of the generator's adversarial term.
        l1:          the paper's lambda: VRR to the DRR of the same camera, display images.
        tv:          total variation of the opacity.
        matter_l1:   matter to the windowed CT, voxel by voxel.
        r1:          gradient penalty on real images.
        r1_every:    steps between two penalties; their weight is scaled to match.
    """

    SECTION: ClassVar[str] = "loss"

    form: str = choice("softplus", "log", "hinge")
    adversarial: float = number(1.0, 0.0)
    l1: float = number(1.0, 0.0)
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
