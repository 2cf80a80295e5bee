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
from nerp.training.fabric import launch
from nerp.training.keeping import Kept, deciding_settings, training_loop
from nerp.training.loop import Pace, Progress, locked_run
from nerp.training.segmentation.films import Films
from nerp.training.segmentation.pairs import load_pairs
from nerp.training.segmentation.self_training import Rounds, SelfTrainer
from nerp.training.segmentation.trainer import SegmenterTrainer
from nerp.training.segmentation.unlabelled import deciding_films, films_of, planned_rounds, with_films
from nerp.training.settings import ArmConfig, LearnerSettings, SegmenterConfig

if TYPE_CHECKING:
    from lightning_fabric import Fabric


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
        films, rounds = films_of(config), planned_rounds(config, len(pairs[0]))
        trainer = _trainer(config, pairs, films, rounds, fabric)
        kept = kept_segmenter(config, trainer, _deciding(config, len(pairs[0]), films))
        loop = training_loop(trainer, rounds.budget, pace_of(config.segmenter), fabric=fabric, kept=kept)
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


def kept_segmenter(
    config: SegmenterConfig | ArmConfig, trainer: SegmenterTrainer | SelfTrainer, deciding: dict[str, Any]
) -> Kept | None:
    """Where a segmenter's training is kept; None where its configuration names no folder.

    Args:
        config:   of the training.
        trainer:  of the network that learns.
        deciding: dotted keys and values that decide its weights.
    """
    if config.out is None:
        return None
    run = RunFolder(Path(config.out))
    defaults = deciding_settings(type(config.segmenter)())

    def save_weights(step: int) -> None:
        save_segmenter(run.segmenter, trainer.network)
        if isinstance(trainer, SelfTrainer):
            write_bytes(run.unlabelled, json_bytes({"kind": "unlabelled", **trainer.record()}))

    return Kept(run, config, deciding, defaults, save_weights)


def pace_of(settings: LearnerSettings) -> Pace:
    """When a segmenter's training writes something."""
    return Pace(settings.log_every, settings.sample_every, settings.checkpoint_every)


def _deciding(config: SegmenterConfig, n_pairs: int, films: Films | None) -> dict[str, Any]:
    chosen = {} if config.mask_name is None else {"mask_name": config.mask_name}
    learned = {"train": config.train, **chosen, "pairs": n_pairs, "seed": config.seed, "precision": config.precision}
    return {**learned, **deciding_settings(config.segmenter), **deciding_films(films, config.unlabelled)}
