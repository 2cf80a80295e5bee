"""One shard of a set: some CTs, rendered and written whole or not at all."""

from __future__ import annotations

import json
import logging
import os
import re
import shutil
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import cache, cached_property
from pathlib import Path
from typing import Any

import numpy as np

from nerp.data.ct_rate_volume import read_ct_rate_volume
from nerp.data.images import png_bytes
from nerp.data.records import PairRecord
from nerp.data.source_files import SourceFile
from nerp.errors import DataError, NerpError
from nerp.factory.layouts import LAYOUTS, Sample, home_of
from nerp.factory.looks import look_of
from nerp.factory.planning import WORK, Plan, PlannedCT, hold_plan, make_plan
from nerp.factory.settings import load_plan
from nerp.factory.sheet import SHOWN, shown_shards, tile_of
from nerp.files import json_bytes, write_bytes
from nerp.projection.measures import measure
from nerp.synthesis.case import CaseViews, in_view
from nerp.synthesis.dataset import generator_for
from nerp.synthesis.environment import repeatable
from nerp.synthesis.generator import TrainedGenerator
from nerp.synthesis.matching import Case
from nerp.synthesis.scans import Opener
from nerp.synthesis.settings import InputSettings
from nerp.volume import Volume

SHARDS, RESULT, FILES, LOOKS, TILES = "shards", "result.json", "files", "looks.npy", "tiles"


@dataclass
class Made:
    """What came of a shard.

    Args:
        records: of each pair, JSON values, with its `image`, `part` and source.
        errors:  of CTs: source, name, and one line.
        remarks: likewise of what is doubtful.
        looks:   (N,) int8 of each CT that was made, see `look_of`; in a file of their own.
    """

    records: list[dict[str, Any]] = field(default_factory=list)
    errors: list[list[str]] = field(default_factory=list)
    remarks: list[list[str]] = field(default_factory=list)
    looks: list[np.ndarray] = field(default_factory=list)


def shard_folder(out: Path, number: int) -> Path:
    """Where a finished shard lies.

    Args:
        out:    the set's folder.
        number: of the shard, from 0.
    """
    return out / WORK / SHARDS / f"{number:06d}"


def read_shard(out: Path, number: int) -> Made | None:
    """What came of a shard; None where it is not finished.

    Args:
        out:    the set's folder.
        number: of the shard, from 0.
    """
    path = shard_folder(out, number) / RESULT
    if not path.is_file():
        return None
    looks = np.load(path.with_name(LOOKS), allow_pickle=False)
    return Made(**json.loads(path.read_bytes()), looks=list(looks))


@cache
def maker_of(plan_file: Path, out: Path) -> ShardMaker:
    """What makes the shards of a folder; found once in a process.

    Args:
        plan_file: settings of the plan, as YAML.
        out:       the set's folder, which holds the plan.

    Raises:
        DataError: the sources are no longer those of the plan.
    """
    plan = make_plan(load_plan(plan_file, options={}))
    hold_plan(plan, out)
    return ShardMaker(plan, out)


class ShardMaker:
    """Makes shards of one plan; generators are read once.

    Args:
        plan: what is to be made.
        out:  the set's folder.
    """

    def __init__(self, plan: Plan, out: Path):
        self.plan, self.out = plan, out

    @cached_property
    def generators(self) -> dict[str, TrainedGenerator | None]:
        """The trained generator of each image's mode, where it needs one."""
        return {
            name: generator_for(one.set_settings().mode, one.run)
            for name, one in self.plan.config.image_settings.items()
        }

    @cached_property
    def _shown(self) -> set[int]:
        return shown_shards(len(self.plan.shards))

    def make(self, number: int) -> tuple[int, int]:
        """Make a shard, unless it is there.

        Args:
            number: of the shard, from 0.

        Returns:
            How many CTs were made, and how many failed.

        Raises:
            OSError: the folder cannot be written.
        """
        volumes, final = self.plan.shards[number], shard_folder(self.out, number)
        made = read_shard(self.out, number)
        if made is None:
            made = self._made(volumes, final)
        return len(volumes) - len(made.errors), len(made.errors)

    def _made(self, volumes: Sequence[PlannedCT], final: Path) -> Made:
        partial = final.with_name(f"{final.name}.{os.getpid()}.partial")
        shutil.rmtree(partial, ignore_errors=True)
        (partial / FILES).mkdir(parents=True)
        made = Made()
        with repeatable(self.plan.config.threads):
            for volume in volumes:
                samples = self.make_volume(volume, partial / FILES, int(final.name), made)
                if int(final.name) in self._shown:
                    _keep_tiles(samples, partial / TILES)
        np.save(partial / LOOKS, np.array(made.looks, np.int8))
        write_bytes(partial / RESULT, json_bytes({key: value for key, value in vars(made).items() if key != "looks"}))
        try:
            os.rename(partial, final)
        except OSError:
            if read_shard(self.out, int(final.name)) is None:
                raise
            shutil.rmtree(partial, ignore_errors=True)  # another worker was first, with the same bytes
        return made

    def make_volume(self, volume: PlannedCT, folder: Path, number: int, made: Made) -> list[Sample]:
        """Make all pairs of a CT, or none.

        Args:
            volume: the CT.
            folder: that becomes the set's.
            number: of the shard.
            made:   takes what came of it.

        Returns:
            The pairs; none where it cannot be used.
        """
        listed, layouts = volume.listed, self.plan.config.layouts
        whose = [listed.source, listed.name]
        looks: list[np.ndarray] = []
        with _told(made.remarks, volume):
            try:
                samples = list(self._samples(volume, looks))
            except NerpError as error:
                made.errors.append([*whose, _plain(str(error), volume)])
                return []
        made.looks += looks
        for sample in samples:
            for name in layouts:
                LAYOUTS[name].write(sample, home_of(name, layouts, folder), number)
            made.records.append(sample.row())
        return samples

    def _samples(self, volume: PlannedCT, looks: list[np.ndarray]) -> Iterator[Sample]:
        listed = volume.listed
        if listed.fault:
            raise DataError(f"{listed.ct} {listed.fault}")
        labels = None if listed.labels is None else SourceFile.of(listed.labels)
        case = Case(SourceFile.of(listed.ct), labels)
        views = CaseViews(case, opener=_opener(volume))
        for name, config in self.plan.config.image_settings.items():
            settings = config.set_settings()
            pairs = views.pairs(settings, list(range(settings.views)), self.generators[name])
            for some in in_view(pairs, case, settings.allow_empty):
                for record, pair in some:
                    yield Sample(volume, name, record, pair, self.plan.config, self._measured(views, record))
        if views.ct is not None:
            looks.append(look_of(views.ct))

    def _measured(self, views: CaseViews, record: PairRecord) -> dict[str, float | str | None]:
        """What the labels of a CT measure, on one film of it too; nothing where that is not wanted."""
        if not self.plan.config.measures or (labels := views.labels) is None:
            return {}
        return measure(*labels, record.make_camera())


def _keep_tiles(samples: Sequence[Sample], folder: Path) -> None:
    """Keep the first view of each image for the set's sheet, some of each shard."""
    there = len(list(folder.glob("*.png"))) if folder.is_dir() else 0
    first = [sample for sample in samples if sample.record.view_index == 0]
    for number, sample in enumerate(first[: SHOWN - there], start=there):
        write_bytes(folder / f"{number:04d}.png", png_bytes(tile_of(sample)))


def _opener(volume: PlannedCT) -> Opener | None:
    """What reads a CT of which a table tells what its file does not."""
    told = volume.listed.ct_rate
    if told is None:
        return None

    def read(compact: bool) -> tuple[Volume, InputSettings]:
        found, reading = read_ct_rate_volume(told, compact=compact)
        return found, InputSettings(**vars(reading))

    return read


_PATH = re.compile(r"\S*/\S*?(?=[:,;\s)]|$)")


def _plain(text: str, volume: PlannedCT) -> str:
    """A message in which the CT and its labels have their names, and no folder is told."""
    for path in (volume.listed.ct, volume.listed.labels):
        if path is not None:
            text = text.replace(str(path), path.name)
    return _PATH.sub(lambda found: Path(found[0]).name, text)


@contextmanager
def _told(remarks: list[list[str]], volume: PlannedCT) -> Iterator[None]:
    """Keep warnings of a CT with its shard instead of printing them."""
    logger, handler = logging.getLogger("nerp"), _Kept(remarks, volume)
    before, handlers = logger.propagate, logger.handlers[:]
    logger.propagate, logger.handlers = False, [handler]
    try:
        yield
    finally:
        logger.propagate, logger.handlers = before, handlers


class _Kept(logging.Handler):
    def __init__(self, remarks: list[list[str]], volume: PlannedCT):
        super().__init__(logging.WARNING)
        self._remarks, self._volume = remarks, volume

    def emit(self, record: logging.LogRecord) -> None:
        listed = self._volume.listed
        line = [listed.source, listed.name, _plain(record.getMessage(), self._volume)]
        if line not in self._remarks:
            self._remarks.append(line)
