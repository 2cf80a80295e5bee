"""A whole training of a classifier, and what it says of images."""

from __future__ import annotations

from contextlib import nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from nerp.files import sha256
from nerp.networks.classifier import Classifier, fill, save_classifier
from nerp.runs import RunFolder
from nerp.training.arms import arm_curriculum, check_arm, uses
from nerp.training.budget import Budget
from nerp.training.classification.settings import CellConfig, ClassifierSettings
from nerp.training.classification.trainer import ClassifierTrainer
from nerp.training.digest import digest
from nerp.training.fabric import launch
from nerp.training.keeping import Kept, deciding_settings, training_loop
from nerp.training.loop import Pace, Progress, locked_run

AT_ONCE = 64
"""Images that are looked at together."""


@dataclass(frozen=True)
class Learned:
    """What a classifier learns from.

    Args:
        findings:  their names.
        images:    (N, 1, side, side) uint8, 0 to 255, the real ones first.
        labels:    (N, K) float32: 1, 0, or NaN where it is not known.
        n_real:    how many are real.
    """

    findings: tuple[str, ...]
    images: Tensor
    labels: Tensor
    n_real: int

    @property
    def n_synthetic(self) -> int:
        """How many are synthetic."""
        return len(self.images) - self.n_real

    def digest(self, kind: str) -> str:
        """Of the `real` or of the `synthetic` images' pixels and findings."""
        part = slice(None, self.n_real) if kind == "real" else slice(self.n_real, None)
        return digest(self.images[part], self.labels[part])


def train_classifier(config: CellConfig, learned: Learned, *, progress: Progress | None = None) -> Classifier:
    """Train one arm with one seed, or continue where an interrupted training stopped; a finished one is only read.

    With `config.out`, its folder is a run's, as that of a segmenter: killed at any moment and called again, it resumes
    from the newest whole checkpoint, on a CPU bit for bit. Arms of one seed begin with the same weights.

    Args:
        config:   the arm, the seed, the folder and the settings.
        learned:  images and findings.
        progress: called as progress(steps done, steps planned).

    Returns:
        The network in evaluation mode, on the device that it learned on.

    Raises:
        UsageError: the arm needs images that were not given, or a device that is not to be had here.
        TrainingError: the loss is no longer finite; the step is named.
        CheckpointError: the folder holds a training of other settings, another process trains into it, or weights to
            begin with that do not fit.
    """
    check_arm(config.arm, learned.n_real, learned.n_synthetic, what="images")
    settings, fabric = config.classifier, launch(config.device, config.precision)
    with nullcontext() if config.out is None else locked_run(config.out, fabric):
        network, budget = first_weights(settings, learned.findings, config.seed), Budget(settings.steps)
        real, synthetic = range(learned.n_real), range(learned.n_real, len(learned.images))
        order = arm_curriculum(config.arm, real, synthetic, batch_size=settings.batch_size, seed=config.seed)
        trainer = ClassifierTrainer(
            network,
            (learned.images, learned.labels),
            settings=settings,
            budget=budget,
            fabric=fabric,
            curriculum=order,
        )
        pace = Pace(settings.log_every, settings.checkpoint_every, settings.checkpoint_every)
        training_loop(trainer, budget, pace, fabric=fabric, kept=_kept(config, network, learned)).run(progress)
    return network.eval()


def first_weights(settings: ClassifierSettings, findings: tuple[str, ...], seed: int) -> Classifier:
    """A classifier before its training: random weights, or those of a file but for the last layer.

    Args:
        settings: its network, side and file.
        findings: names, one output each.
        seed:     of the random weights; the global generator stays as it is.

    Raises:
        CheckpointError: a file that does not fit.
    """
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        network = Classifier(settings.network, findings, settings.side)
    if settings.weights is not None:
        fill(network, settings.weights)
    return network


def deciding(config: CellConfig, learned: Learned) -> dict[str, Any]:
    """Dotted keys and values that decide the weights of a training.

    Args:
        config:  the arm, the seed and the settings.
        learned: images and findings.
    """
    hashes = {f"{kind}_images": learned.digest(kind) for kind in ("real", "synthetic") if uses(config.arm, kind)}
    how = {"seed": config.seed, "precision": config.precision, **deciding_settings(config.classifier)}
    if config.classifier.weights is not None:
        how["classifier.weights"] = sha256(config.classifier.weights)
    return {"arm": config.arm, "fold": config.fold, "findings": list(learned.findings), **hashes, **how}


def _kept(config: CellConfig, network: Classifier, learned: Learned) -> Kept | None:
    if config.out is None:
        return None
    run, defaults = RunFolder(Path(config.out)), deciding_settings(ClassifierSettings())
    decide = deciding(config, learned)
    return Kept(run, config, decide, defaults, lambda step: save_classifier(run.classifier, network))


@torch.no_grad()
def probabilities(network: Classifier, images: Tensor) -> np.ndarray:
    """What a classifier says of images.

    Args:
        network: in evaluation mode.
        images:  (N, 1, side, side) uint8, 0 to 255.

    Returns:
        (N, K) float64, 0 to 1.
    """
    logits = [network((part / 255.0).to(network.device)).cpu() for part in images.split(AT_ONCE)]
    return torch.cat(logits).double().sigmoid().numpy()
