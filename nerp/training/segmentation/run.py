"""A whole training of a segmenter: pairs, first weights, resuming, and what it leaves."""

from __future__ import annotations

import math
from collections.abc import Sequence
from contextlib import nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from nerp.data.structures import structure_names
from nerp.errors import UsageError
from nerp.files import json_bytes, write_bytes
from nerp.networks.segmenter import Segmenter, save_segmenter
from nerp.runs import RunFolder
from nerp.settings import Settings, flatten
from nerp.training.budget import Budget
from nerp.training.checkpoint import Checkpoint, check_settings, latest_checkpoint
from nerp.training.fabric import launch
from nerp.training.loop import Keeping, Pace, Progress, TrainingLoop, locked_run
from nerp.training.segmentation.films import Films
from nerp.training.segmentation.pairs import load_pairs
from nerp.training.segmentation.self_training import Rounds, SelfTrainer
from nerp.training.segmentation.trainer import SegmenterTrainer
from nerp.training.segmentation.unlabelled import deciding_films, films_of, planned_rounds, with_films
from nerp.training.settings import LearnerSettings, SegmenterConfig

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
        rounds:     what each round found in radiographs without masks; see `label_films`.
    """

    network: Segmenter
    epochs: float
    steps: int
    seconds: float
    stopped_by: str
    loss: float
    rounds: tuple[dict[str, Any], ...] = ()

    def record(self) -> dict[str, Any]:
        """The numbers of the training, JSON-ready."""
        names = ("epochs", "steps", "seconds", "stopped_by", "loss")
        setting = {"encoder": self.network.encoder, "side": self.network.side, "threads": torch.get_num_threads()}
        told = {**setting, **{name: getattr(self, name) for name in names}}
        rounds = [{key: value for key, value in one.items() if key != "each"} for one in self.rounds]
        return {**told, "rounds": rounds} if rounds else told


def train_segmenter(config: SegmenterConfig, *, progress: Progress | None = None) -> TrainedSegmenter:
    """Train a segmenter on a folder of pairs, or continue where an interrupted training stopped.

    With `config.out`, the run's folder holds config.yaml, metrics.jsonl, tensorboard/, samples/*.png, checkpoints/ and
    segmenter.safetensors. Killed at any moment and called again, it resumes from the newest whole checkpoint; on a CPU,
    with the same pairs and threads, the weights are then, bit for bit, those of an uninterrupted run, as long as the
    minutes cut neither: how many steps fit into a time is no two times the same. With `config.unlabelled.folders`,
    rounds on radiographs without masks follow (see `SelfTrainer`), and unlabelled.json tells which each learned from.

    Args:
        config:   the pairs, the folder, and how to learn.
        progress: called as progress(steps done, steps planned).

    Raises:
        UsageError: no pairs are named, a device or precision that is not to be had here, or see `check_unlabelled`.
        DataError: see `load_pairs` and `load_films`.
        TrainingError: the loss is no longer finite; the step is named.
        CheckpointError: the folder holds a training of other settings, or another process trains into it.
    """
    if config.train is None:
        raise UsageError("no pairs to train a segmenter on; give train=… a folder with images/ and masks/")
    fabric = launch(config.device, config.precision)
    with nullcontext() if config.out is None else locked_run(config.out, fabric):
        pairs = load_pairs(config.train, config.segmenter.side, mask_name=config.mask_name, skip_bad=config.skip_bad)
        rounds = planned_rounds(config, len(pairs[0]))
        films = films_of(config)
        trainer = _trainer(config, pairs, films, rounds, fabric)
        kept = _kept(config, len(pairs[0]), films)
        loop = training_loop(trainer, rounds.budget, config.segmenter, fabric=fabric, kept=kept)
        loop.run(progress)
    return _trained(trainer, loop.step, rounds, len(pairs[0]) / config.segmenter.batch_size)


def _trainer(
    config: SegmenterConfig, pairs: tuple[Tensor, Tensor], films: Films | None, rounds: Rounds, fabric: Fabric
) -> SegmenterTrainer | SelfTrainer:
    network = first_weights(config.segmenter, config.seed, learned_structures(config.mask_name))
    options: dict[str, Any] = {"settings": config.segmenter, "seed": config.seed, "budget": rounds.budget}
    plain = SegmenterTrainer(network, pairs, fabric=fabric, **options)
    if films is None:
        return plain
    return with_films(plain, config, films=films, rounds=rounds, pairs=range(len(pairs[0])))


def _trained(trainer: SegmenterTrainer | SelfTrainer, steps: int, rounds: Rounds, per_epoch: float) -> TrainedSegmenter:
    """What is told of a training; in rounds half of each batch are pairs."""
    budget, on_pairs = rounds.budget, steps - rounds.after_pairs(steps) / 2
    return TrainedSegmenter(
        trainer.network.eval(),
        epochs=round(on_pairs / math.ceil(per_epoch), 3),
        steps=steps,
        seconds=round(budget.seconds, 2),
        stopped_by="epochs" if steps >= budget.planned else "minutes",
        loss=trainer.loss,
        rounds=tuple(trainer.found) if isinstance(trainer, SelfTrainer) else (),
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


@dataclass(frozen=True)
class Kept:
    """Where a training is kept, and what it must agree with to be continued.

    Args:
        run:      its folder.
        config:   all settings, for config.yaml.
        deciding: dotted keys and values that decide the weights.
    """

    run: RunFolder
    config: Settings
    deciding: dict[str, Any]


def training_loop(
    trainer: SegmenterTrainer | SelfTrainer,
    budget: Budget,
    every: LearnerSettings,
    *,
    fabric: Fabric,
    kept: Kept | None,
) -> TrainingLoop:
    """The loop of a training, at the step where it stopped.

    Args:
        trainer: whose steps they are.
        budget:  how many, and for how long.
        every:   when something is written.
        fabric:  Lightning Fabric, launched, of one process.
        kept:    where, or none.

    Raises:
        CheckpointError: the folder holds a training of other settings.
    """
    pace = Pace(every.log_every, every.sample_every, every.checkpoint_every)
    if kept is None:
        return TrainingLoop(trainer, budget, pace=pace, fabric=fabric, keeping=None)
    found = latest_checkpoint(kept.run.checkpoints)
    if found is not None:
        _check(found, kept, type(every)())

    def save_weights(step: int) -> None:
        save_segmenter(kept.run.segmenter, trainer.network)
        if isinstance(trainer, SelfTrainer):
            write_bytes(kept.run.unlabelled, json_bytes({"kind": "unlabelled", **trainer.record()}))

    keeping = Keeping(kept.run, kept.config, kept.deciding, save_weights)
    loop = TrainingLoop(trainer, budget, pace=pace, fabric=fabric, keeping=keeping)
    loop.resume(found)
    return loop


def _kept(config: SegmenterConfig, n_pairs: int, films: Films | None) -> Kept | None:
    if config.out is None:
        return None
    chosen = {} if config.mask_name is None else {"mask_name": config.mask_name}
    learned = {"train": config.train, **chosen, "pairs": n_pairs}
    deciding = {**learned, **deciding_settings(config.segmenter, config.seed, config.precision)}
    deciding |= deciding_films(films, config.unlabelled)
    return Kept(RunFolder(Path(config.out)), config, deciding)


def deciding_settings(settings: LearnerSettings, seed: int, precision: str) -> dict[str, Any]:
    """Dotted keys and values of all that decides the weights but the pairs.

    Args:
        settings:  of the network and its pace.
        seed:      of the training.
        precision: of the network while it learns.
    """
    decide = {key: value for key, value in _flat(settings).items() if key not in MAY_CHANGE}
    return {"seed": seed, "precision": precision, **decide}


def _check(found: Checkpoint, kept: Kept, defaults: LearnerSettings) -> None:
    """Whether a checkpoint is of the training that is asked for; what its version did not know is as by default."""
    default = {key: value for key, value in _flat(defaults).items() if key not in MAY_CHANGE}
    check_settings({**default, **found.settings}, kept.deciding, kept.run.path)


def _flat(settings: LearnerSettings) -> dict[str, Any]:
    return flatten(settings, f"{settings.SECTION}.")
