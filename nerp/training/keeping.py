"""A training that is kept in a folder and goes on where it stopped."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from nerp.runs import RunFolder
from nerp.settings import Settings, flatten
from nerp.training.budget import Budget
from nerp.training.checkpoint import check_settings, latest_checkpoint
from nerp.training.loop import Keeping, Pace, Trainer, TrainingLoop

if TYPE_CHECKING:
    from lightning_fabric import Fabric

MAY_CHANGE = ("log_every", "sample_every", "checkpoint_every")
"""Settings under which a run may be continued though they differ, as may its folder and its device."""


@dataclass(frozen=True)
class Kept:
    """Where a training is kept, and what it must agree with to be continued.

    Args:
        run:          its folder.
        config:       all settings, for config.yaml.
        deciding:     dotted keys and values that decide the weights.
        defaults:     of those that a run of an earlier version does not tell.
        save_weights: writes, for a step, the file that others use of the run.
    """

    run: RunFolder
    config: Settings
    deciding: dict[str, Any]
    defaults: dict[str, Any]
    save_weights: Callable[[int], None]


def training_loop(trainer: Trainer, budget: Budget, pace: Pace, *, fabric: Fabric, kept: Kept | None) -> TrainingLoop:
    """The loop of a training, at the step where it stopped.

    Args:
        trainer: whose steps they are.
        budget:  how many, and for how long.
        pace:    when something is written.
        fabric:  Lightning Fabric, launched, of one process.
        kept:    where, or none.

    Raises:
        CheckpointError: the folder holds a training of other settings.
    """
    if kept is None:
        return TrainingLoop(trainer, budget, pace=pace, fabric=fabric, keeping=None)
    found = latest_checkpoint(kept.run.checkpoints)
    if found is not None:
        check_settings({**kept.defaults, **found.settings}, kept.deciding, kept.run.path)
    keeping = Keeping(kept.run, kept.config, kept.deciding, kept.save_weights)
    loop = TrainingLoop(trainer, budget, pace=pace, fabric=fabric, keeping=keeping)
    loop.resume(found)
    return loop


def deciding_settings(settings: Settings) -> dict[str, Any]:
    """Dotted keys and values of all of a network's settings that decide its weights."""
    section = settings.SECTION
    flat = flatten(settings, f"{section}.")
    return {key: value for key, value in flat.items() if key.removeprefix(f"{section}.") not in MAY_CHANGE}
