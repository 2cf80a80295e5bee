"""A whole adversarial run: data, networks, resuming, checkpoints, pictures, and the final generator."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from pathlib import Path
from time import perf_counter
from typing import TYPE_CHECKING, Any

import torch

from nerp.config import Config, save_settings, upgraded
from nerp.errors import CheckpointError
from nerp.files import locked, remove_partial
from nerp.networks import Discriminator, Mapper, Viewer
from nerp.randomness import stream
from nerp.settings import flatten
from nerp.training.checkpoint import Checkpoint, check_settings, latest_checkpoint, save_checkpoint, save_generator
from nerp.training.journal import Journal, write_picture
from nerp.training.launch import launch
from nerp.training.sources import n_to_prepare, open_sources, prepare
from nerp.training.trainer import AdversarialTrainer, Networks, Recipe, Sources

if TYPE_CHECKING:
    from lightning_fabric import Fabric
    from rich.progress import Progress

__all__ = ["AdversarialTrainer", "build_networks", "train"]

MAY_CHANGE = (
    "run_dir",
    "device",
    "backend",
    "data.cached_volumes",
    "data.cache_dir",
    "trainer.steps",
    "trainer.log_every",
    "trainer.sample_every",
    "trainer.sample_columns",
    "trainer.checkpoint_every",
)
"""Settings under which a run may be continued though they differ."""


def train(config: Config, *, progress: bool | None = None) -> Path:
    """Train a generator into `config.run_dir`, or continue where an interrupted run stopped.

    Killed at any moment and called again, it resumes from the newest checkpoint that is whole; on a
    CPU the weights are then, bit for bit, those of an uninterrupted run.

    Args:
        config:   from `load_config`. Without `data.ct_dir` or `data.radiographs_dir`, phantoms are made.
        progress: show bars on stderr; None: where stderr is a terminal.

    Returns:
        The run folder: config.yaml, metrics.jsonl, tensorboard/, samples/*.png, checkpoints/ and
        generator.safetensors, the averaged mapper of the last checkpoint.

    Raises:
        CheckpointError: the folder holds a run with other settings, or with more steps than asked for, or
            another process trains into it.
        ConfigError: settings that cannot be trained on this machine or at all; see `launch`.
        TrainingError: a loss or gradient is no longer finite.
        DataError, VolumeError: the data cannot be used.
    """
    fabric = launch(config)
    shown = sys.stderr.isatty() if progress is None else progress
    with _alone(config, fabric), _progress(shown and fabric.is_global_zero) as bars:
        if fabric.is_global_zero:
            bar = bars.add_task("data", total=n_to_prepare(config), visible=n_to_prepare(config) > 0)
            prepare(config, lambda: bars.advance(bar))
        fabric.barrier()
        run = _Run(config, fabric, open_sources(config))
        bar = bars.add_task("training", total=config.trainer.steps, completed=run.step)
        for step in run.remaining():
            bars.update(bar, completed=step)
    return run.folder


class _Run:
    """A run folder and the trainer whose state it keeps."""

    def __init__(self, config: Config, fabric: Fabric, sources: Sources):
        self.config, self.fabric, self.folder = config, fabric, Path(config.run_dir)
        self.settings = _settings(config, sources)
        found = latest_checkpoint(self.folder / "checkpoints")
        if found is not None:
            self._check(found)
        trainer, part = config.trainer, config.discriminator
        recipe = Recipe(config.loss, config.optimizer, trainer, zoom=part.zoom, shift=part.shift)
        self.trainer = AdversarialTrainer(
            build_networks(config), sources, recipe=recipe, seed=config.seed, fabric=fabric
        )
        self.step = 0 if found is None else found.step
        if found is not None:
            self.trainer.restore(found.tensors)
        if fabric.is_global_zero:
            for written in (self.folder, self.folder / "checkpoints", self.folder / "samples"):
                remove_partial(written)
            save_settings(config, self.folder / "config.yaml")

    def remaining(self) -> Iterator[int]:
        """Do the steps that are left, yielding each when done."""
        steps = range(self.step + 1, self.config.trainer.steps + 1)
        is_writer = self.fabric.is_global_zero
        with Journal(self.folder, self.step) if is_writer and steps else nullcontext() as journal:
            if is_writer and self.step == 0:
                self._write_picture(0)
            last_step, last_time = self.step, perf_counter()
            for step in steps:
                metrics = self.trainer.step(step)
                if is_writer and self._due(step, self.config.trainer.log_every):
                    seconds = (perf_counter() - last_time) / (step - last_step)
                    journal.write(step, {**metrics, "seconds": round(seconds, 4)})
                    last_step, last_time = step, perf_counter()
                if is_writer:
                    self._keep(step, journal)
                if self._due(step, self.config.trainer.checkpoint_every):
                    self.fabric.barrier()  # no process ends before the last checkpoint is written
                yield step

    def _due(self, step: int, every: int) -> bool:
        return step % every == 0 or step == self.config.trainer.steps

    def _keep(self, step: int, journal: Journal) -> None:
        """Write what is due. The checkpoint comes last: what lies beside it is never older than it."""
        if self._due(step, self.config.trainer.sample_every):
            self._write_picture(step)
        if self._due(step, self.config.trainer.checkpoint_every):
            journal.flush()
            path = self.folder / "generator.safetensors"
            save_generator(path, self.trainer.averaged, step=step, settings=self.settings)
            save_checkpoint(self.folder / "checkpoints", Checkpoint(step, self.settings, self.trainer.state()))

    def _write_picture(self, step: int) -> None:
        path = self.folder / "samples" / f"step-{step:08d}.png"
        write_picture(path, self.trainer.picture(self.config.trainer.sample_columns))

    def _check(self, found: Checkpoint) -> None:
        check_settings(_deciding(upgraded(found.settings)), self.settings, self.folder)
        steps = self.config.trainer.steps
        if found.step > steps:
            raise CheckpointError(
                f"{self.folder} is trained for {found.step} steps, trainer.steps is {steps}; ask for more, or give"
                " another run_dir"
            )


def build_networks(config: Config) -> Networks:
    """Mapper, viewer and discriminator with weights drawn from `config.seed`."""
    mapper, viewer, judge = config.mapper, config.viewer, config.discriminator
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(stream(config.seed, 0, "weights").initial_seed())
        return Networks(
            Mapper(mapper.arch, mapper.channels, mapper.opacity_max_per_mm, mapper.residual),
            Viewer(viewer.n_samples, viewer.opacity, config.backend),
            Discriminator(judge.encoder, judge.depth, judge.channels),
        )


def _settings(config: Config, sources: Sources) -> dict[str, Any]:
    settings = {key: value for key, value in flatten(config).items() if key not in MAY_CHANGE}
    return {**_deciding(settings), "CTs": len(sources.patients), "radiographs": len(sources.radiographs)}


def _deciding(settings: dict[str, Any]) -> dict[str, Any]:
    """Without the angle of a view that does not turn."""
    is_still = settings.get("camera.view") != "oblique"
    return {key: value for key, value in settings.items() if not (is_still and key == "camera.angle_deg")}


@contextmanager
def _alone(config: Config, fabric: Fabric) -> Iterator[None]:
    """Hold the run folder; `CheckpointError` where another training does."""
    try:
        with locked(config.run_dir) if fabric.is_global_zero else nullcontext():
            yield
    except BlockingIOError as error:
        raise CheckpointError(
            f"another process is training into {config.run_dir}; wait for it or give another run_dir"
        ) from error


@contextmanager
def _progress(shown: bool) -> Iterator[Progress]:
    from rich.console import Console
    from rich.progress import (
        BarColumn,
        MofNCompleteColumn,
        Progress,
        TextColumn,
        TimeElapsedColumn,
        TimeRemainingColumn,
    )

    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn())
    times = (TimeElapsedColumn(), TextColumn("left"), TimeRemainingColumn())
    ten_minutes = 600.0  # rich's half minute is too short to tell the speed of slow steps
    console = Console(stderr=True)
    with Progress(*columns, *times, console=console, disable=not shown, speed_estimate_period=ten_minutes) as bars:
        yield bars
