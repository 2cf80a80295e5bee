"""The loop of every training: steps, log, pictures, checkpoints, resuming, within a budget of steps or time."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass
from pathlib import Path
from time import perf_counter
from typing import TYPE_CHECKING, Any, Protocol

from torch import Tensor

from nerp.config import save_settings
from nerp.errors import CheckpointError
from nerp.files import locked, remove_partial
from nerp.runs import RunFolder
from nerp.settings import Settings
from nerp.training.budget import Budget
from nerp.training.checkpoint import Checkpoint, State, save_checkpoint
from nerp.training.run_log import RunLog, write_picture

if TYPE_CHECKING:
    from lightning_fabric import Fabric

Progress = Callable[[int, int], None]
"""Called as progress(done, total)."""


class Bars(Protocol):
    """Where a training shows how far its tasks are, one after the other, such as `data` and `training`."""

    def __call__(self, task: str, done: int, total: int) -> None:
        """Say how far a task is.

        Args:
            task:  its name.
            done:  how many of its parts are done.
            total: how many it has; may change.
        """


class Trainer(Protocol):
    """What the loop needs of whatever learns.

    Every random choice of a step follows from a seed, the step's number and its purpose (`nerp.randomness.stream`), so
    that the state and the number are all that the next step depends on.
    """

    def step(self, step: int, /) -> dict[str, float]:
        """Do a step, counted from 1; returns its metrics."""

    def state(self) -> State:
        """Every tensor that the next step depends on."""

    def restore(self, tensors: State, /) -> None:
        """Put back what `state` gave; other tensors may lie beside it."""

    def picture(self) -> dict[str, Tensor] | None:
        """Rows of display images, name to (B, 1, H, W) in 0 to 1, all of one shape; or None where there are none."""


@dataclass(frozen=True)
class Pace:
    """When something is written; all of it also after the last step.

    Args:
        log_every:        steps between lines of the log.
        sample_every:     steps between pictures; there is one before the first step, too.
        checkpoint_every: steps between checkpoints.
    """

    log_every: int
    sample_every: int
    checkpoint_every: int


@dataclass(frozen=True)
class Keeping:
    """What a training leaves in its folder.

    Args:
        folder:       of the run.
        config:       all settings, for config.yaml.
        deciding:     dotted keys and values that decide the run; one of others is not continued.
        save_weights: writes, for a step, the file that others use of the run; a checkpoint follows.
    """

    folder: RunFolder
    config: Settings
    deciding: dict[str, Any]
    save_weights: Callable[[int], None]


@contextmanager
def locked_run(folder: str | Path, fabric: Fabric) -> Iterator[None]:
    """Lock a run's folder while training into it.

    Args:
        folder: made if absent.
        fabric: its first process takes the lock.

    Raises:
        CheckpointError: another training has it.
    """
    try:
        with locked(folder) if fabric.is_global_zero else nullcontext():
            yield
    except BlockingIOError as error:
        raise CheckpointError(
            f"another process is training into {folder}; wait for it or give another folder"
        ) from error


class TrainingLoop:
    """Does the steps that are left of a run.

    Args:
        trainer: whose steps they are.
        budget:  how many, and for how long.
        pace:    when something is written.
        fabric:  Lightning Fabric, launched; its first process writes.
        keeping: where and what; None: nothing is written.
    """

    def __init__(self, trainer: Trainer, budget: Budget, *, pace: Pace, fabric: Fabric, keeping: Keeping | None):
        self.trainer, self.budget, self.step = trainer, budget, 0
        self._pace, self._fabric = pace, fabric
        self._keeping = keeping if fabric.is_global_zero else None
        self._logged = (0, perf_counter())

    def resume(self, found: Checkpoint | None) -> None:
        """Go on from a checkpoint, or begin anew where there is none; what a killed writer left is cleared away."""
        if found is not None:
            self.step = found.step
            self.trainer.restore(found.tensors)
            self.budget.restore(found.tensors)
        if self._keeping is not None:
            folder = self._keeping.folder
            for written in (folder.path, folder.checkpoints, folder.samples):
                remove_partial(written)
            save_settings(self._keeping.config, folder.config)

    def run(self, progress: Progress | None = None) -> None:
        """Do every step that the budget allows."""
        progress = progress or _silent
        progress(self.step, self.budget.total)
        self.budget.start()
        self._logged = (self.step, perf_counter())
        goes_on = self.budget.allows(self.step)
        with self._log() if goes_on else nullcontext() as log:
            if self.step == 0:
                self._write_picture()
            while goes_on:
                metrics = self.trainer.step(self.step + 1)
                self.step += 1
                self.budget.count(self.step)
                goes_on = self.budget.allows(self.step)
                self._write(metrics, log, is_last=not goes_on)
                progress(self.step, self.budget.total)

    def _write(self, metrics: dict[str, float], log: RunLog | None, *, is_last: bool) -> None:
        """Write what is due. The checkpoint comes last: what lies beside it is never older than it."""
        if log is not None and self._due(self._pace.log_every, is_last):
            self._write_line(metrics, log)
        if self._due(self._pace.sample_every, is_last):
            self._write_picture()
        if self._due(self._pace.checkpoint_every, is_last):
            self._write_checkpoint(log)
            self._fabric.barrier()  # no process ends before the last checkpoint is written

    def _due(self, every: int, is_last: bool) -> bool:
        return is_last or self.step % every == 0

    def _write_line(self, metrics: dict[str, float], log: RunLog) -> None:
        step, time = self._logged
        seconds = (perf_counter() - time) / (self.step - step)
        log.write(self.step, {**metrics, "seconds": round(seconds, 4)})
        self._logged = (self.step, perf_counter())

    def _write_picture(self) -> None:
        if self._keeping is not None and (rows := self.trainer.picture()) is not None:
            write_picture(self._keeping.folder.sample(self.step), rows)

    def _write_checkpoint(self, log: RunLog | None) -> None:
        if self._keeping is None or log is None:
            return
        log.flush()
        self._keeping.save_weights(self.step)
        tensors = {**self.trainer.state(), **self.budget.state()}
        save_checkpoint(self._keeping.folder.checkpoints, Checkpoint(self.step, self._keeping.deciding, tensors))

    def _log(self) -> AbstractContextManager[RunLog | None]:
        return nullcontext() if self._keeping is None else RunLog(self._keeping.folder, self.step)


def _silent(done: int, total: int) -> None:
    """Nobody watches."""
