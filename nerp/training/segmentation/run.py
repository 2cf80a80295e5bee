"""A whole training of a segmenter: pairs, first weights, resuming, and what it leaves."""

from __future__ import annotations

import math
from collections.abc import Sequence
from contextlib import nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from nerp.data.structures import structure_names
from nerp.errors import UsageError
from nerp.networks.segmenter import Segmenter, save_segmenter
from nerp.runs import RunFolder
from nerp.training.budget import Budget
from nerp.training.fabric import launch
from nerp.training.keeping import Kept, deciding_settings, training_loop
from nerp.training.loop import Pace, Progress, locked_run
from nerp.training.segmentation.pairs import load_pairs
from nerp.training.segmentation.trainer import SegmenterTrainer
from nerp.training.settings import ArmConfig, LearnerSettings, SegmenterConfig


@dataclass(frozen=True)
class TrainedSegmenter:
    """A segmenter and how it came to be.

    Args:
        network:    in evaluation mode, on the device that it learned on.
        epochs:     passes over the pairs.
        steps:      of the optimiser.
        seconds:    spent on them.
        stopped_by: `epochs` or `minutes`, whichever came first.
        loss:       of the last step.
    """

    network: Segmenter
    epochs: float
    steps: int
    seconds: float
    stopped_by: str
    loss: float

    def record(self) -> dict[str, Any]:
        """The numbers of the training, JSON-ready."""
        names = ("epochs", "steps", "seconds", "stopped_by", "loss")
        setting = {"encoder": self.network.encoder, "side": self.network.side, "threads": torch.get_num_threads()}
        return {**setting, **{name: getattr(self, name) for name in names}}


def train_segmenter(config: SegmenterConfig, *, progress: Progress | None = None) -> TrainedSegmenter:
    """Train a segmenter on a folder of pairs, or continue where an interrupted training stopped.

    With `config.out`, the run's folder holds config.yaml, metrics.jsonl, tensorboard/, samples/*.png, checkpoints/ and
    segmenter.safetensors. Killed at any moment and called again, it resumes from the newest whole checkpoint; on a CPU,
    with the same pairs and threads, the weights are then, bit for bit, those of an uninterrupted run, as long as the
    minutes cut neither: how many steps fit into a time is no two times the same.

    Args:
        config:   the pairs, the folder, and how to learn.
        progress: called as progress(steps done, steps planned).

    Raises:
        UsageError: no pairs are named, or a device or precision that is not to be had here.
        DataError: see `load_pairs`.
        TrainingError: the loss is no longer finite; the step is named.
        CheckpointError: the folder holds a training of other settings, or another process trains into it.
    """
    if config.train is None:
        raise UsageError("no pairs to train a segmenter on; give train=… a folder with images/ and masks/")
    fabric = launch(config.device, config.precision)
    with nullcontext() if config.out is None else locked_run(config.out, fabric):
        pairs = load_pairs(config.train, config.segmenter.side, mask_name=config.mask_name, skip_bad=config.skip_bad)
        network = first_weights(config.segmenter, config.seed, learned_structures(config.mask_name))
        settings = config.segmenter
        budget = Budget(settings.steps(len(pairs[0])), settings.minutes)
        trainer = SegmenterTrainer(network, pairs, settings=settings, seed=config.seed, budget=budget, fabric=fabric)
        kept = kept_segmenter(config, network, _deciding(config, len(pairs[0])))
        loop = training_loop(trainer, budget, pace_of(settings), fabric=fabric, kept=kept)
        loop.run(progress)
    epochs = loop.step / math.ceil(len(pairs[0]) / settings.batch_size)
    stopped_by = "epochs" if loop.step >= budget.planned else "minutes"
    return TrainedSegmenter(
        network.eval(), round(epochs, 3), loop.step, round(budget.seconds, 2), stopped_by, trainer.loss
    )


def learned_structures(mask_name: str | None) -> tuple[str, ...]:
    """Names of the network's channels where there are several; none of one structure, whatever its name."""
    names = structure_names(mask_name)
    return names if len(names) > 1 else ()


def first_weights(settings: LearnerSettings, seed: int, structures: Sequence[str] = ()) -> Segmenter:
    """A segmenter that has learned nothing.

    Args:
        settings: its encoder and working resolution.
        seed:     of its weights; the global generator stays as it is.
        structures: see `Segmenter`.
    """
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return Segmenter(settings.encoder, settings.side, structures)


def kept_segmenter(config: SegmenterConfig | ArmConfig, network: Segmenter, deciding: dict[str, Any]) -> Kept | None:
    """Where a segmenter's training is kept; None where its configuration names no folder.

    Args:
        config:   of the training.
        network:  that learns.
        deciding: dotted keys and values that decide its weights.
    """
    if config.out is None:
        return None
    run = RunFolder(Path(config.out))
    defaults = deciding_settings(type(config.segmenter)())
    return Kept(run, config, deciding, defaults, lambda step: save_segmenter(run.segmenter, network))


def pace_of(settings: LearnerSettings) -> Pace:
    """When a segmenter's training writes something."""
    return Pace(settings.log_every, settings.sample_every, settings.checkpoint_every)


def _deciding(config: SegmenterConfig, n_pairs: int) -> dict[str, Any]:
    chosen = {} if config.mask_name is None else {"mask_name": config.mask_name}
    learned = {"train": config.train, **chosen, "pairs": n_pairs, "seed": config.seed, "precision": config.precision}
    return {**learned, **deciding_settings(config.segmenter)}
