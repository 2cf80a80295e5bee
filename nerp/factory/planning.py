"""A plan made whole: every CT with its part, in shards; what it is held to when the work goes on."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from nerp.data.ct_rate import NAME
from nerp.errors import DataError
from nerp.factory.settings import FactoryConfig, SplitSettings
from nerp.factory.sources import Listed, list_volumes
from nerp.factory.splitting import folds_of, parts_of
from nerp.files import json_bytes, write_bytes
from nerp.settings import dotted, flatten
from nerp.synthesis.dataset import generator_for, whole_settings

WORK = ".factory"
"""Folder in the set's where shards lie until it is finished."""
PLAN = "plan.json"
NOT_DECIDING = {"workers", "threads", "ray", "max_failures", "device", "out", "sources", "images", "common", "split"}


@dataclass(frozen=True)
class PlannedCT:
    """A CT of a plan, with its place in the set.

    Args:
        listed: the CT.
        part:   of the set.
        fold:   of cross-validation; none: there are no folds.
    """

    listed: Listed
    part: str
    fold: int | None


@dataclass(frozen=True)
class Plan:
    """What is to be made.

    Args:
        config:  the settings.
        volumes: every CT, in order.
    """

    config: FactoryConfig
    volumes: tuple[PlannedCT, ...]

    @property
    def shards(self) -> list[Sequence[PlannedCT]]:
        """The CTs that are made together."""
        size = self.config.shard
        return [self.volumes[first : first + size] for first in range(0, len(self.volumes), size)]

    @property
    def pairs_each(self) -> int:
        """Images of a CT."""
        return sum(one.views for one in self.config.image_settings.values())

    def as_json(self) -> dict[str, Any]:
        """What decides the set, but for the content of files: no path."""
        images = {
            name: whole_settings(one.set_settings(), generator_for(one.set_settings().mode, one.run))
            for name, one in self.config.image_settings.items()
        }
        own = {key: value for key, value in flatten(self.config).items() if key.split(".")[0] not in NOT_DECIDING}
        rows = [
            [one.listed.source, one.listed.name, one.listed.patient, one.part, one.fold, one.listed.findings]
            for one in self.volumes
        ]
        split = asdict(self.config.split)
        return json.loads(json.dumps({"settings": own, "images": images, "split": split, "volumes": rows}))


def make_plan(config: FactoryConfig) -> Plan:
    """Find the CTs and deal them out.

    Raises:
        DataError: see `list_volumes`, `parts_of`; or a CT in two sources.
        UsageError: a run that is missing or not needed.
    """
    volumes = list_volumes(config.source_settings)
    _refuse_twice(volumes)
    if "drr-rate" in config.layouts:
        _refuse_same_names(volumes)
    split: SplitSettings = config.split
    parts, folds = parts_of(volumes, split), folds_of(volumes, split)
    return Plan(config, tuple(PlannedCT(one, parts[one.patient], folds.get(one.patient)) for one in volumes))


def _refuse_twice(volumes: Sequence[Listed]) -> None:
    seen: dict[Path, Listed] = {}
    for one in volumes:
        where = one.ct.resolve()
        if where in seen:
            raise DataError(f"{one.ct} is in the plan twice: in {seen[where].source} and in {one.source}; list it once")
        seen[where] = one


def _refuse_same_names(volumes: Sequence[Listed]) -> None:
    """CTs whose images would have one name where images are called as their CTs."""
    seen: dict[tuple[str, ...], Listed] = {}
    for one in volumes:
        key = (one.shown,) if NAME.fullmatch(one.shown) else (one.patient, one.shown)
        if key in seen:
            raise DataError(
                f"{one.ct} and {seen[key].ct} would have the same name in layout drr-rate; give their source "
                "names: hashed, or take another layout"
            )
        seen[key] = one


def hold_plan(plan: Plan, out: Path) -> None:
    """Keep a plan beside its work; refuse to go on by another.

    Args:
        plan: what is to be made.
        out:  the set's folder.

    Raises:
        DataError: the folder holds the work of another plan, or other things.
    """
    path, stated = out / WORK / PLAN, plan.as_json()
    if not path.is_file():
        write_bytes(path, json_bytes(stated))
        return
    kept = json.loads(path.read_bytes())
    if kept != stated:
        raise DataError(
            f"{out} holds the work of another plan: {_difference(kept, stated)}; repeat that or use a new folder"
        )


def _difference(kept: dict[str, Any], stated: dict[str, Any]) -> str:
    if kept["volumes"] != stated["volumes"]:
        there, here = ({(row[0], row[1]) for row in one["volumes"]} for one in (kept, stated))
        gone, new = sorted(there - here), sorted(here - there)
        if gone or new:
            told = [f"{len(gone)} CTs are gone, such as {gone[0][1]}"] if gone else []
            told += [f"{len(new)} CTs are new, such as {new[0][1]}"] if new else []
            return " and ".join(told)
        return "CTs have other patients, parts or findings"
    flat = [dotted({key: one[key] for key in ("settings", "images", "split")}) for one in (kept, stated)]
    keys = sorted(key for key in flat[0].keys() | flat[1].keys() if flat[0].get(key) != flat[1].get(key))
    return "; ".join(f"{key} is {flat[0].get(key)!r} there, {flat[1].get(key)!r} here" for key in keys[:4])
