"""A data set from its plan: shards by workers, gathered at the end."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

from nerp.config import save_settings
from nerp.errors import DataError, UsageError
from nerp.factory.cluster import Cluster
from nerp.factory.gathering import DONE, SUMMARY, gather
from nerp.factory.planning import WORK, Plan, hold_plan, make_plan
from nerp.factory.settings import FactoryConfig
from nerp.factory.shard import Made, read_shard
from nerp.factory.workers import Workers
from nerp.files import check_folder, locked

SETTINGS_FILE = "plan.yaml"

Tick = Callable[[int, int, int], None]
"""Called with (CTs made, CTs failed, CTs in all)."""


def make_dataset(
    config: FactoryConfig, out: str | Path | None = None, *, progress: Tick | None = None
) -> dict[str, Any]:
    """Make a data set; killed at any moment and called again, it goes on, and ends with the same bytes.

    Args:
        config:   the plan.
        out:      folder; new, empty, or begun by the same plan; none: that of the plan.
        progress: called as progress(made, failed, total), first before any is made.

    Returns:
        What `factory.json` then holds.

    Raises:
        DataError: no CTs, labels that do not fit, a folder of another plan, another factory there, too many failures,
            or a full disk. What is finished is kept.
        ConfigError, UsageError: a plan that cannot be.
    """
    if (out or config.out) is None:
        raise UsageError("no folder to write; give --out FOLDER")
    folder = Path(str(out or config.out))
    check_folder(folder)
    plan = make_plan(config)
    try:
        with locked(folder):
            return _made(plan, folder, progress or (lambda made, failed, total: None))
    except BlockingIOError:
        raise DataError(f"another factory is writing into {folder}; wait for it or choose a new folder") from None
    except OSError as error:
        raise DataError(
            f"{folder} cannot be written ({error}); what is finished is kept: make room, and go on"
        ) from error


def _made(plan: Plan, out: Path, tell: Tick) -> dict[str, Any]:
    if (done := finished(plan, out)) is not None:
        tell(done["counts"]["cts"] - done["counts"]["failed"], done["counts"]["failed"], len(plan.volumes))
        return done
    _check_empty(out)
    hold_plan(plan, out)
    settings = out / WORK / SETTINGS_FILE
    save_settings(plan.config, settings)
    there = {number: read_shard(out, number) for number in range(len(plan.shards))}
    counts = _Counts(plan, out, tell, {number: one for number, one in there.items() if one is not None})
    missing = [number for number, one in there.items() if one is None]
    if missing:
        with _hands(plan.config, settings, out) as hands:
            for shard in hands.run(missing):
                counts.add(shard.made, shard.failed)
    if counts.failed == len(plan.volumes):
        raise DataError(f"none of {counts.failed} CTs can be used: {_first_error(plan, out)}")
    return gather(plan, out)


def _hands(config: FactoryConfig, plan_file: Path, out: Path) -> Workers | Cluster:
    """Who makes the shards."""
    if config.ray is not None:
        return Cluster(config.ray, plan_file, out, threads=config.threads)
    return Workers(plan_file, out, count=config.workers, threads=config.threads)


def _first_error(plan: Plan, out: Path) -> str:
    """A CT that failed, and why."""
    shards = (read_shard(out, number) or Made() for number in range(len(plan.shards)))
    _, name, told = next(error for one in shards for error in one.errors)
    return f"{name}: {told}"


class _Counts:
    """How many CTs are made and failed, told at each change; too many failures end the work."""

    def __init__(self, plan: Plan, out: Path, tell: Tick, there: dict[int, Made]):
        self._plan, self._out, self._tell = plan, out, tell
        self.failed = sum(len(one.errors) for one in there.values())
        self.made = sum(len(plan.shards[number]) for number in there) - self.failed
        self._say()

    def add(self, made: int, failed: int) -> None:
        """Count a shard."""
        self.made, self.failed = self.made + made, self.failed + failed
        self._say()

    def _say(self) -> None:
        self._tell(self.made, self.failed, len(self._plan.volumes))
        most = self._plan.config.max_failures
        if most is not None and self.failed > most:
            first = _first_error(self._plan, self._out)
            raise DataError(
                f"{self.failed} CTs failed, more than --max-failures {most}, such as {first}; what is made is kept: "
                "repair them, or allow more"
            )


def finished(plan: Plan, out: Path) -> dict[str, Any] | None:
    """What a finished set tells of itself; None where it is not finished.

    Args:
        plan: that the set is to be of.
        out:  its folder.

    Raises:
        DataError: it is finished by another plan.
    """
    path = out / SUMMARY
    shutil.rmtree(out / DONE, ignore_errors=True)
    if not path.is_file() or (out / WORK).exists():
        return None
    summary, stated = json.loads(path.read_bytes()), plan.as_json()
    if any(summary[key] != stated[key] for key in ("images", "split")) or summary["counts"]["cts"] != len(plan.volumes):
        raise DataError(f"{out} holds a finished set of another plan; choose a new folder")
    return summary


def _check_empty(out: Path) -> None:
    if (out / WORK).is_dir():
        return
    held = sorted(path.name for path in out.iterdir())
    if held:
        raise DataError(f"{out} holds other things ({', '.join(held[:3])}); choose a new or an empty folder")
