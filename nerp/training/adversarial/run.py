"""A whole adversarial run: data, networks, resuming, and the final generator."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch

from nerp.config import upgraded
from nerp.data.checking import write_skipped
from nerp.data.settings import DataSettings
from nerp.errors import CheckpointError, ConfigError
from nerp.networks.discriminator import Discriminator
from nerp.networks.mapper import Mapper
from nerp.networks.settings import DiscriminatorSettings, MapperSettings, ViewerSettings
from nerp.networks.viewer import Viewer
from nerp.randomness import stream
from nerp.runs import RunFolder
from nerp.settings import flatten
from nerp.training.adversarial.parts import Networks, Recipe, Sources
from nerp.training.adversarial.sources import open_sources, prepare
from nerp.training.adversarial.trainer import AdversarialTrainer
from nerp.training.budget import Budget
from nerp.training.checkpoint import Checkpoint, check_settings, latest_checkpoint, save_generator
from nerp.training.config import Config
from nerp.training.fabric import launch
from nerp.training.loop import Bars, Keeping, Pace, TrainingLoop, locked_run
from nerp.training.settings import LossSettings, TrainerSettings

if TYPE_CHECKING:
    from lightning_fabric import Fabric

MAY_CHANGE = (
    "run_dir",
    "device",
    "backend",
    "mapper.checkpointing",
    "data.cached_volumes",
    "data.cached_radiographs",
    "data.cache_dir",
    "data.skip_bad",
    "trainer.steps",
    "trainer.log_every",
    "trainer.sample_every",
    "trainer.sample_columns",
    "trainer.checkpoint_every",
)
"""Settings under which a run may be continued though they differ."""


def train(config: Config, *, progress: Bars | None = None) -> Path:
    """Train a generator into `config.run_dir`, or continue where an interrupted run stopped.

    Killed at any moment and called again, it resumes from the newest checkpoint that is whole; on a
    CPU the weights are then, bit for bit, those of an uninterrupted run.

    Args:
        config:   from `load_config`. Without `data.ct_dir` or `data.radiographs_dir`, phantoms are made.
        progress: called as progress(task, done, total) for the tasks `data`, where some is made, and `training`.

    Returns:
        The run folder: config.yaml, metrics.jsonl, tensorboard/, samples/*.png, checkpoints/ and
        generator.safetensors, the averaged mapper of the last checkpoint; selected.safetensors, the best of the run,
        where `trainer.select_every` asks for it.

    Raises:
        CheckpointError: the folder holds a run with other settings, or with more steps than asked for, or
            another process trains into it.
        ConfigError: settings that cannot be trained on this machine or at all; see `launch`, `check_trainable`.
        TrainingError: a loss or gradient is no longer finite.
        DataError, VolumeError: the data cannot be used.
    """
    check_trainable(config.discriminator, config.viewer, config.loss)
    check_paces(config.trainer, config.data)
    fabric = launch(config.device, config.precision, devices=config.devices, nodes=config.nodes)
    show = progress if progress is not None and fabric.is_global_zero else _silent
    run = RunFolder(Path(config.run_dir))
    with locked_run(run.path, fabric):
        if fabric.is_global_zero:
            shape, task = config.viewer.shape, partial(show, "data")
            prepare(config.data, config.phantom, folder=run.data, shape=shape, progress=task)
        fabric.barrier()
        shape = config.viewer.shape
        sources, skipped = open_sources(config.data, config.camera, shape=shape, made=run.data, cache=run.cache)
        if fabric.is_global_zero:
            write_skipped(run.skipped, skipped)
        _loop(config, run, sources, fabric=fabric).run(partial(show, "training"))
    return run.path


def _loop(config: Config, run: RunFolder, sources: Sources, *, fabric: Fabric) -> TrainingLoop:
    """The loop of a run, at the step where it stopped."""
    deciding = _deciding(config, sources)
    found = latest_checkpoint(run.checkpoints)
    if found is not None:
        _check(found, deciding, run, steps=config.trainer.steps)
    trainer = _trainer(config, sources, fabric)

    def save_weights(step: int) -> None:
        save_generator(run.generator, trainer.averaged, step=step, settings=deciding)
        if (best := trainer.selection) is not None and best.step > 0:
            save_generator(run.selected, best.mapper, step=best.step, settings=deciding)

    every = config.trainer
    pace = Pace(every.log_every, every.sample_every, every.checkpoint_every)
    keeping = Keeping(run, config, deciding, save_weights)
    loop = TrainingLoop(trainer, Budget(every.steps), pace=pace, fabric=fabric, keeping=keeping)
    loop.resume(found)
    return loop


def _trainer(config: Config, sources: Sources, fabric: Fabric) -> AdversarialTrainer:
    networks = build_networks(
        config.mapper, config.viewer, config.discriminator, seed=config.seed, backend=config.backend
    )
    recipe = Recipe(config.loss, config.optimizer, config.trainer, config.discriminator)
    return AdversarialTrainer(networks, sources, recipe=recipe, seed=config.seed, fabric=fabric)


def build_networks(
    mapper: MapperSettings, viewer: ViewerSettings, discriminator: DiscriminatorSettings, *, seed: int, backend: str
) -> Networks:
    """Mapper, viewer and discriminators with their first weights.

    Args:
        mapper:        of the `Mapper`.
        viewer:        of the `Viewer`.
        discriminator: of the `Discriminator`, and of another for patches where these are judged.
        seed:          of the weights; the global generator stays as it is.
        backend:       of the projection.
    """
    given = discriminator.encoder, discriminator.depth, discriminator.channels
    n_judges = 1 + (discriminator.patches > 0)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(stream(seed, 0, "weights").initial_seed())
        return Networks(
            Mapper(**asdict(mapper)),
            Viewer(viewer.n_samples, viewer.opacity, backend),
            *(Discriminator(*given) for _ in range(n_judges)),
        )


def check_trainable(discriminator: DiscriminatorSettings, viewer: ViewerSettings, loss: LossSettings) -> None:
    """Refuse settings that fit a rendering but no training.

    Args:
        discriminator: its depth says how often an image is halved.
        viewer:        its shape is the images'.
        loss:          the weights of the terms.

    Raises:
        ConfigError: images that the discriminator cannot halve, or no loss.
    """
    multiple = 2**discriminator.depth
    if any(side % multiple for side in viewer.shape):
        raise ConfigError(
            f"viewer.shape is {list(viewer.shape)}; expected multiples of {multiple}, since discriminator.depth is"
            f" {discriminator.depth}: change either"
        )
    judged = loss.adversarial * (loss.whole + loss.patches * (discriminator.patches > 0))
    if not any((judged, loss.l1, loss.tv, loss.matter_l1)):
        raise ConfigError("every loss of the mapper has weight 0; expected at least one above, such as loss.l1=1")


def check_paces(trainer: TrainerSettings, data: DataSettings) -> None:
    """Refuse comparisons that no log would tell of, and phantoms beside nothing.

    Args:
        trainer: how often mappers are compared, and lines logged.
        data:    phantoms are added to its CTs.

    Raises:
        ConfigError: they do not fit.
    """
    if trainer.select_every % trainer.log_every:
        raise ConfigError(
            f"trainer.select_every is {trainer.select_every}; expected a multiple of trainer.log_every,"
            f" {trainer.log_every}, so that the log tells of each comparison"
        )
    if data.phantoms and data.ct_dir is None:
        raise ConfigError(
            f"data.phantoms is {data.phantoms}, but there are no CTs to add them to; give data.ct_dir, or phantom.count"
            " for phantoms alone"
        )


def _deciding(config: Config, sources: Sources) -> dict[str, Any]:
    counts = {"CTs": len(sources.volumes), "radiographs": len(sources.radiographs)}
    return {**_without_idle(flatten(config)), **counts}


def _without_idle(settings: Mapping[str, Any]) -> dict[str, Any]:
    """Without what decides nothing, such as the angle of a view that does not turn."""
    is_still = settings.get("camera.view") != "oblique"
    idle = {*MAY_CHANGE, *(["camera.angle_deg"] if is_still else [])}
    return {key: value for key, value in settings.items() if key not in idle}


def _check(found: Checkpoint, deciding: dict[str, Any], run: RunFolder, *, steps: int) -> None:
    """Whether a checkpoint is of the run that is asked for; what its version did not know counts as the default."""
    settings = _without_idle({**flatten(Config()), **upgraded(found.settings)})
    check_settings(settings, deciding, run.path)
    if found.step > steps:
        raise CheckpointError(
            f"{run.path} is trained for {found.step} steps, trainer.steps is {steps}; ask for more, or give another"
            " run_dir"
        )


def _silent(task: str, done: int, total: int) -> None:
    """Nobody watches."""
