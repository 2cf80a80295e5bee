"""One network, the same number of steps, on real pairs, on synthetic ones, or on both: the arms of a comparison."""

from __future__ import annotations

import hashlib
from contextlib import nullcontext
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from nerp.errors import UsageError
from nerp.networks.segmenter import Segmenter
from nerp.training.arms import arm_curriculum, check_arm, uses
from nerp.training.budget import Budget
from nerp.training.curriculum import Curriculum
from nerp.training.fabric import launch
from nerp.training.keeping import deciding_settings, training_loop
from nerp.training.loop import Progress, locked_run
from nerp.training.segmentation.pairs import load_pairs
from nerp.training.segmentation.run import first_weights, kept_segmenter, learned_structures, pace_of
from nerp.training.segmentation.trainer import SegmenterTrainer
from nerp.training.settings import ArmConfig


@dataclass(frozen=True)
class ArmPairs:
    """The pairs of a comparison, in memory.

    Args:
        images:  (N, 1, side, side) uint8, 0 to 255, the real ones first.
        masks:   (N, K, side, side) uint8, 0 or 1.
        n_real:  how many are real.
        hashes:  of the real and of the synthetic pairs' pixels, None where there are none.
    """

    images: Tensor
    masks: Tensor
    n_real: int
    hashes: dict[str, str | None]

    @property
    def n_synthetic(self) -> int:
        """How many are synthetic."""
        return len(self.images) - self.n_real

    def curriculum(self, arm: str, *, batch_size: int, seed: int) -> Curriculum:
        """What an arm learns from, step by step.

        Args:
            arm:        one of `ARMS`.
            batch_size: pairs a step.
            seed:       of the order.
        """
        real, synthetic = range(self.n_real), range(self.n_real, len(self.images))
        return arm_curriculum(arm, real, synthetic, batch_size=batch_size, seed=seed)


def load_arm_pairs(config: ArmConfig) -> ArmPairs:
    """The pairs of the folders that a configuration names.

    Raises:
        UsageError: no folder at all.
        DataError:  see `load_pairs`.
    """
    named = {"real": config.real, "synthetic": config.synthetic}
    options: dict[str, Any] = {"mask_name": config.mask_name, "skip_bad": config.skip_bad}
    side, there = config.segmenter.side, {name: folder for name, folder in named.items() if folder is not None}
    loaded = {name: load_pairs(folder, side, **options) for name, folder in there.items()}
    if not loaded:
        raise UsageError("no pairs to learn from; give --real, --synthetic or both")
    images, masks = (torch.cat([pairs[number] for pairs in loaded.values()]) for number in (0, 1))
    hashes = {name: _hash(loaded[name]) if name in loaded else None for name in named}
    return ArmPairs(images, masks, len(loaded["real"][0]) if "real" in loaded else 0, hashes)


def _hash(pairs: tuple[Tensor, Tensor]) -> str:
    digest = hashlib.sha256()
    for tensor in pairs:
        digest.update(repr(tuple(tensor.shape)).encode() + tensor.numpy().tobytes())
    return digest.hexdigest()


def train_arm(config: ArmConfig, pairs: ArmPairs, *, progress: Progress | None = None) -> Segmenter:
    """Train one arm with one seed, or continue where an interrupted training stopped; a finished one is only read.

    With `config.out`, its folder is a run's as that of `train_segmenter`. Arms of one seed begin with the same weights.

    Args:
        config:   the arm, the seed and the settings.
        pairs:    from `load_arm_pairs`.
        progress: called as progress(steps done, steps planned).

    Returns:
        The network in evaluation mode, on the device that it learned on.

    Raises:
        UsageError: the arm needs pairs that were not given, or a device that is not to be had here.
        TrainingError: the loss is no longer finite; the step is named.
        CheckpointError: the folder holds a training of other settings, or another process trains into it.
    """
    check_arm(config.arm, pairs.n_real, pairs.n_synthetic)
    settings, fabric = config.segmenter, launch(config.device, config.precision)
    with nullcontext() if config.out is None else locked_run(config.out, fabric):
        network, budget = (
            first_weights(settings, config.seed, learned_structures(config.mask_name)),
            Budget(settings.steps),
        )
        trainer = SegmenterTrainer(
            network,
            (pairs.images, pairs.masks),
            settings=settings,
            seed=config.seed,
            budget=budget,
            fabric=fabric,
            curriculum=pairs.curriculum(config.arm, batch_size=settings.batch_size, seed=config.seed),
        )
        kept = kept_segmenter(config, network, deciding(config, pairs))
        training_loop(trainer, budget, pace_of(settings), fabric=fabric, kept=kept).run(progress)
    return network.eval()


def deciding(config: ArmConfig, pairs: ArmPairs) -> dict[str, Any]:
    """Dotted keys and values that decide an arm's weights.

    Args:
        config: the arm, the seed and the settings.
        pairs:  that it learns from.
    """
    hashes = {f"{name}_pairs": pairs.hashes[name] for name in ("real", "synthetic") if uses(config.arm, name)}
    chosen = {} if config.mask_name is None else {"mask_name": config.mask_name}
    how = {"seed": config.seed, "precision": config.precision, **deciding_settings(config.segmenter)}
    return {"arm": config.arm, **chosen, **hashes, **how}
