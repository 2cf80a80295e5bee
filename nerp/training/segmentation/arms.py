"""One network, the same number of steps, on real pairs, on synthetic ones, or on both: the arms of a comparison."""

from __future__ import annotations

from contextlib import nullcontext
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from nerp.errors import UsageError
from nerp.networks.segmenter import Segmenter
from nerp.training.arms import ARMS, arm_curriculum, check_arm, uses
from nerp.training.budget import Budget
from nerp.training.curriculum import Curriculum
from nerp.training.digest import digest
from nerp.training.fabric import launch
from nerp.training.keeping import deciding_settings, training_loop
from nerp.training.loop import Progress, locked_run
from nerp.training.segmentation.films import Films
from nerp.training.segmentation.pairs import load_pairs
from nerp.training.segmentation.run import first_weights, kept_segmenter, learned_structures, pace_of
from nerp.training.segmentation.self_training import SelfTrainer
from nerp.training.segmentation.trainer import SegmenterTrainer
from nerp.training.segmentation.unlabelled import deciding_films, films_of, shared_rounds, with_films
from nerp.training.settings import ArmConfig

if TYPE_CHECKING:
    from lightning_fabric import Fabric

SELF_TRAINED = "self-trained"
"""The arm of synthetic pairs and radiographs without masks."""


@dataclass(frozen=True)
class ArmPairs:
    """The pairs of a comparison, in memory.

    Args:
        images:  (N, 1, side, side) uint8, 0 to 255, the real ones first.
        masks:   (N, K, side, side) uint8, 0 or 1.
        n_real:  how many are real.
        hashes:  of the real and of the synthetic pairs' pixels, None where there are none.
        films:   radiographs without masks, None where there are none.
    """

    images: Tensor
    masks: Tensor
    n_real: int
    hashes: dict[str, str | None]
    films: Films | None = None

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
        return arm_curriculum(_paired(arm), real, synthetic, batch_size=batch_size, seed=seed)


def load_arm_pairs(config: ArmConfig) -> ArmPairs:
    """The pairs of the folders that a configuration names.

    Raises:
        UsageError: no folder at all.
        DataError:  see `load_pairs` and `load_films`.
    """
    named = {"real": config.real, "synthetic": config.synthetic}
    options: dict[str, Any] = {"mask_name": config.mask_name, "skip_bad": config.skip_bad}
    side, there = config.segmenter.side, {name: folder for name, folder in named.items() if folder is not None}
    loaded = {name: load_pairs(folder, side, **options) for name, folder in there.items()}
    if not loaded:
        raise UsageError("no pairs to learn from; give --real, --synthetic or both")
    images, masks = (torch.cat([pairs[number] for pairs in loaded.values()]) for number in (0, 1))
    hashes = {name: digest(*loaded[name]) if name in loaded else None for name in named}
    return ArmPairs(images, masks, len(loaded["real"][0]) if "real" in loaded else 0, hashes, films_of(config))


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
    n_films = 0 if pairs.films is None else len(pairs.films.names)
    check_segmenter_arm(config.arm, pairs.n_real, pairs.n_synthetic, n_films=n_films)
    settings, fabric = config.segmenter, launch(config.device, config.precision)
    with nullcontext() if config.out is None else locked_run(config.out, fabric):
        trainer, budget = _trainer(config, pairs, fabric)
        kept = kept_segmenter(config, trainer, deciding(config, pairs))
        training_loop(trainer, budget, pace_of(settings), fabric=fabric, kept=kept).run(progress)
    return trainer.network.eval()


def _trainer(config: ArmConfig, pairs: ArmPairs, fabric: Fabric) -> tuple[SegmenterTrainer | SelfTrainer, Budget]:
    settings, budget = config.segmenter, Budget(config.segmenter.steps)
    plain = SegmenterTrainer(
        first_weights(settings, config.seed, learned_structures(config.mask_name)),
        (pairs.images, pairs.masks),
        settings=settings,
        seed=config.seed,
        budget=budget,
        fabric=fabric,
        curriculum=pairs.curriculum(config.arm, batch_size=settings.batch_size, seed=config.seed),
    )
    if config.arm != SELF_TRAINED:
        return plain, budget
    assert pairs.films is not None  # of `check_segmenter_arm`
    rounds, synthetic = shared_rounds(budget, config.unlabelled), range(pairs.n_real, len(pairs.images))
    return with_films(plain, config, films=pairs.films, rounds=rounds, pairs=synthetic), budget


def check_segmenter_arm(arm: str, n_real: int, n_synthetic: int, *, n_films: int) -> None:
    """Refuse an arm that is none, or that lacks its pairs or its radiographs.

    Args:
        arm:         its name.
        n_real:      real pairs that there are.
        n_synthetic: synthetic ones.
        n_films:     radiographs without masks.

    Raises:
        UsageError: no such arm, or nothing of the kind that it learns from.
    """
    if arm not in (*ARMS, SELF_TRAINED):
        raise UsageError(f"no arm is called {arm!r}; expected some of {', '.join((*ARMS, SELF_TRAINED))}")
    if arm == SELF_TRAINED and not (n_films and n_synthetic):
        raise UsageError(
            f"arm {arm!r} needs synthetic pairs and radiographs without masks; give --synthetic FOLDER and "
            "--unlabelled FOLDER"
        )
    check_arm(_paired(arm), n_real, n_synthetic)


def _paired(arm: str) -> str:
    """The arm of the same pairs, without radiographs."""
    return "synthetic" if arm == SELF_TRAINED else arm


def deciding(config: ArmConfig, pairs: ArmPairs) -> dict[str, Any]:
    """Dotted keys and values that decide an arm's weights.

    Args:
        config: the arm, the seed and the settings.
        pairs:  that it learns from.
    """
    hashes = {f"{name}_pairs": pairs.hashes[name] for name in ("real", "synthetic") if uses(_paired(config.arm), name)}
    chosen = {} if config.mask_name is None else {"mask_name": config.mask_name}
    how = {"seed": config.seed, "precision": config.precision, **deciding_settings(config.segmenter)}
    films = deciding_films(pairs.films, config.unlabelled) if config.arm == SELF_TRAINED else {}
    return {"arm": config.arm, **chosen, **hashes, **films, **how}
