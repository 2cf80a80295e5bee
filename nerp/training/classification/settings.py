"""How a classifier learns."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from nerp.settings import Settings, choice, number, section


@dataclass(frozen=True)
class ClassifierSettings(Settings):
    """A classifier and its training: each one does the same number of steps, however long they take.

    Args:
        network:          DenseNet-121, or a small one for quick trials on a CPU.
        side:             working resolution, pixels; every image becomes a square of it.
        steps:            of each training.
        batch_size:       images a step.
        learning_rate:    of Adam, the same throughout.
        weight_decay:     of Adam, added to the gradient.
        mirror:           mirror half of the images; off, for left and right are not alike in a chest.
        weights:          safetensors file to begin with; none: random weights.
        log_every:        steps between lines of metrics.jsonl.
        checkpoint_every: steps between checkpoints, and pictures of a batch; the last two checkpoints are kept.

    Source: CheXNet, Rajpurkar 2017, as DRR-RATE trains it (Farrell 2024, its public scripts).
    """

    SECTION: ClassVar[str] = "classifier"

    network: str = choice("densenet121", "small")
    side: int = number(128, 32, 4096)
    steps: int = number(1000, 2)
    batch_size: int = number(32, 2, 4096)
    learning_rate: float = number(1e-4, 1e-9, 1.0)
    weight_decay: float = number(1e-5, 0.0, 1.0)
    mirror: bool = False
    weights: str | None = None
    log_every: int = number(10, 1)
    checkpoint_every: int = number(250, 1)


@dataclass(frozen=True)
class CellConfig(Settings):
    """One training of a comparison: an arm with one seed and, in cross-validation, one fold left out.

    Args:
        arm:        what it learns from: see `nerp.training.arms`.
        seed:       of the first weights, of the order and of the augmentation.
        fold:       that is tested and not learned; none: a folder is tested.
        out:        folder of the run; none: nothing is written.
        device:     `auto` takes a GPU where there is one.
        precision:  of the network while it learns.
        classifier: the network and its pace.
    """

    arm: str = choice("real", "synthetic", "mixed", "fine-tune")
    seed: int = number(0, 0, 2**63 - 1)
    fold: int | None = number(None, 0)
    out: str | None = None
    device: str = choice("auto", "cpu", "cuda")
    precision: str = choice("32-true", "bf16-mixed")
    classifier: ClassifierSettings = section(ClassifierSettings)
