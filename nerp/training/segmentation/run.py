"""A whole training of a segmenter: pairs, first weights, resuming, and what it leaves."""

from __future__ import annotations

import math
from contextlib import nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch

from nerp.errors import UsageError
from nerp.networks.segmenter import Segmenter, save_segmenter
from nerp.runs import RunFolder
from nerp.settings import flatten
from nerp.training.budget import Budget
from nerp.training.checkpoint import Checkpoint, check_settings, latest_checkpoint
from nerp.training.fabric import launch
from nerp.training.loop import Keeping, Pace, Progress, TrainingLoop, locked_run
from nerp.training.segmentation.pairs import load_pairs
from nerp.training.segmentation.trainer import SegmenterTrainer
from nerp.training.settings import SegmenterConfig, SegmenterSettings

if TYPE_CHECKING:
    from lightning_fabric import Fabric

MAY_CHANGE = ("segmenter.log_every", "segmenter.sample_every", "segmenter.checkpoint_every")
"""Settings under which a run may be continued though they differ, as may its folder and its device."""


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
        network = first_weights(config.segmenter, config.seed)
        settings = config.segmenter
        budget = Budget(settings.steps(len(pairs[0])), settings.minutes)
        trainer = SegmenterTrainer(network, pairs, settings=settings, seed=config.seed, budget=budget, fabric=fabric)
        loop = _loop(config, trainer, budget, n_pairs=len(pairs[0]), fabric=fabric)
        loop.run(progress)
    epochs = loop.step / math.ceil(len(pairs[0]) / settings.batch_size)
    stopped_by = "epochs" if loop.step >= budget.planned else "minutes"
    return TrainedSegmenter(
        network.eval(), round(epochs, 3), loop.step, round(budget.seconds, 2), stopped_by, trainer.loss
    )


def first_weights(settings: SegmenterSettings, seed: int) -> Segmenter:
    """A segmenter that has learned nothing.

    Args:
        settings: its encoder and working resolution.
        seed:     of its weights; the global generator stays as it is.
    """
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return Segmenter(settings.encoder, settings.side)


def _loop(
    config: SegmenterConfig, trainer: SegmenterTrainer, budget: Budget, *, n_pairs: int, fabric: Fabric
) -> TrainingLoop:
    """The loop of a run, at the step where it stopped."""
    every = config.segmenter
    pace = Pace(every.log_every, every.sample_every, every.checkpoint_every)
    if config.out is None:
        return TrainingLoop(trainer, budget, pace=pace, fabric=fabric, keeping=None)
    run, deciding = RunFolder(Path(config.out)), _deciding(config, n_pairs)
    found = latest_checkpoint(run.checkpoints)
    if found is not None:
        _check(found, deciding, run)

    def save_weights(step: int) -> None:
        save_segmenter(run.segmenter, trainer.network)

    keeping = Keeping(run, config, deciding, save_weights)
    loop = TrainingLoop(trainer, budget, pace=pace, fabric=fabric, keeping=keeping)
    loop.resume(found)
    return loop


def _deciding(config: SegmenterConfig, n_pairs: int) -> dict[str, Any]:
    settings = {key: value for key, value in _flat(config.segmenter).items() if key not in MAY_CHANGE}
    chosen = {} if config.mask_name is None else {"mask_name": config.mask_name}
    learned = {"train": config.train, **chosen, "pairs": n_pairs}
    return {**learned, "seed": config.seed, "precision": config.precision, **settings}


def _check(found: Checkpoint, deciding: dict[str, Any], run: RunFolder) -> None:
    """Whether a checkpoint is of the training that is asked for; what its version did not know is as by default."""
    default = {key: value for key, value in _flat(SegmenterSettings()).items() if key not in MAY_CHANGE}
    check_settings({**default, **found.settings}, deciding, run.path)


def _flat(settings: SegmenterSettings) -> dict[str, Any]:
    return flatten(settings, f"{settings.SECTION}.")
