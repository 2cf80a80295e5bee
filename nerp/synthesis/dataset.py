"""Whole sets of labelled pairs, made pair by pair so that a run can be killed and taken up again."""

from __future__ import annotations

import logging
import re
from collections.abc import Callable, Iterable, Iterator
from dataclasses import replace
from itertools import groupby
from pathlib import Path

from nerp import __version__
from nerp.camera import Camera
from nerp.config.reading import as_yaml
from nerp.data.checking import listing
from nerp.data.pair_facts import facts_of
from nerp.data.pair_writer import PairWriter
from nerp.data.pairs import SETTINGS
from nerp.data.records import PairRecord
from nerp.errors import DataError, GeometryError, NerpError, UsageError, VolumeError
from nerp.files import check_folder, write_text
from nerp.synthesis.environment import chance_generator, pair_generator, pair_id, variation_generator
from nerp.synthesis.generator import TrainedGenerator, load_generator
from nerp.synthesis.inputs import Skipped, small_masks, usable_cases, with_reading
from nerp.synthesis.matching import Case
from nerp.synthesis.renderers import NEEDS_RUN
from nerp.synthesis.scans import UNVARIED, check_scan, open_scan, ready
from nerp.synthesis.settings import PairSettings, restated
from nerp.synthesis.synthesiser import Pair, Synthesiser, named
from nerp.variation import Variation, draw_variation

CITATION = "Pham Ngoc Huy and Tran Minh Quan, Neural Radiance Projection, ISBI 2022."
NOTICE = "Research use; not for diagnosis."

_log = logging.getLogger(__name__)

Progress = Callable[[int, int], None]


def synthesize(
    ct: str | Path,
    labels: str | Path,
    *,
    out: str | Path,
    settings: PairSettings,
    run: str | Path | None = None,
    progress: Progress | None = None,
) -> dict:
    """Make labelled pairs of every CT; stopped at any moment and called again, it goes on.

    Args:
        ct:       a CT file, a DICOM series' folder, or a folder of CTs.
        labels:   the CT's labels, or a folder of labels named as their CTs.
        out:      PAIRS; new, empty, or begun with the same settings.
        settings: what decides the pairs.
        run:      RUN, for mode `vrr` alone.
        progress: called with (pairs done, pairs in all), first before any is made.

    Returns:
        What `dataset.json` then holds: settings, counts, quality, terms.

    Raises:
        DataError: unmatched names, labels without the mask's values, a folder of other settings, or a
            CT on none of whose views the mask has a pixel. Pairs committed before stay.
        UsageError, CheckpointError: a run that is missing, not needed, or damaged.
        VolumeError: a file that cannot be read as CT or labels.
    """
    check_folder(out)
    generator = generator_for(settings.mode, run)
    found, skipped = usable_cases(ct, labels, settings.inputs)
    with PairWriter(out, _whole_settings(settings, generator)) as writer:
        work = _Work(settings, generator, writer, skipped)
        tell, total = progress or _silent, len(found) * settings.views
        done = sum(settings.views - len(work.missing(case)) for case in found)
        tell(done, total)
        for n, _ in enumerate(work.pairs(found), start=done + 1):
            tell(n, total)
        work.check_failed(found)
        write_text(Path(out) / SETTINGS, as_yaml(restated(settings)))
        records = writer.records.values()
        for line in small_masks(records):
            _log.warning(line)
        return writer.finish(_facts(records, settings, skipped))


def generator_for(mode: str, run: str | Path | None) -> TrainedGenerator | None:
    """The trained generator where the mode needs one.

    Args:
        mode: of the pairs.
        run:  RUN, or None.

    Raises:
        UsageError: a run that is needed and not given, or given and not needed.
    """
    if mode in NEEDS_RUN and run is None:
        raise UsageError(f"mode {mode} needs a trained run; give the folder that nerp train wrote, or use mode drr")
    if mode not in NEEDS_RUN and run is not None:
        raise UsageError(f"mode {mode} uses no trained run, but {run} was given; drop it or use mode vrr")
    return None if run is None else load_generator(run)


def _silent(done: int, total: int) -> None:
    pass


def _whole_settings(settings: PairSettings, generator: TrainedGenerator | None) -> dict:
    weights = {} if generator is None else {"weights_sha256": generator.weights_sha256}
    return {**settings.as_json(), **weights}


class _Work:
    """The making of a set: CT by CT, a CT that cannot be used standing in no other's way.

    Args:
        settings:  of the set.
        generator: for the modes that need one.
        writer:    of the folder.
        skipped:   CTs left out so far; those that fail are added.
    """

    def __init__(
        self,
        settings: PairSettings,
        generator: TrainedGenerator | None,
        writer: PairWriter,
        skipped: list[Skipped],
    ):
        self.settings, self.generator, self.writer, self.skipped = settings, generator, writer, skipped
        self.failed: list[NerpError] = []
        self._told: set[str] = set()

    def missing(self, case: Case) -> list[int]:
        """The views of a CT that are not made yet."""
        return [view for view in range(self.settings.views) if pair_id(case.ct.sha256, view) not in self.writer]

    def pairs(self, found: list[Case]) -> Iterator[None]:
        """Make and commit what is missing; yields after each pair."""
        for case in found:
            try:
                yield from self._pairs_of(case)
            except (VolumeError, DataError, UsageError, GeometryError) as error:
                if len(found) == 1 or (isinstance(error, UsageError) and not self.writer.records):
                    raise
                self.failed.append(error)
                self.skipped.append(Skipped.of(case.ct.path, str(error)))

    def check_failed(self, found: list[Case]) -> None:
        """Refuse to call a set complete that lacks CTs, unless they may be skipped.

        Args:
            found: the CTs that were to be used.

        Raises:
            NerpError: what was wrong with each.
        """
        if not self.failed:
            return
        told = f"{len(self.failed)} of {len(found)} CTs cannot be used: {listing(list(map(str, self.failed)))}"
        if self.settings.inputs.skip_bad and len(self.failed) < len(found):
            _log.warning("skipped: %s", told)
            return
        if len(self.failed) == 1:
            raise self.failed[0]
        raise DataError(f"{told}; correct them, or go on without them (--skip-bad); all other pairs are made")

    def _pairs_of(self, case: Case) -> Iterator[None]:
        _check_labels_unchanged(case, self.writer)
        views = self.missing(case)
        if not views:
            return
        may_be_empty = self.settings.allow_empty or len(views) < self.settings.views
        for pairs in _in_view(self._render(case, views), case, may_be_empty):
            for record, pair in pairs:
                self.writer.add(record, pair.image_png, *pair.mask_pngs, *pair.object_pngs)
                yield

    def _render(self, case: Case, views: list[int]) -> Iterator[tuple[PairRecord, Pair]]:
        settings = self.settings
        scan = open_scan(case.ct.path, case.labels.path, settings)
        for number, (variation, some) in enumerate(_groups(settings, case.ct.sha256, views)):
            synthesiser, varied = ready(scan, settings, self.generator, variation)
            if number == 0:
                check_scan(scan, synthesiser, settings.inputs)
            self._tell(synthesiser.remarks())
            base = scan.base_camera(synthesiser.ct, settings)
            for record, pair in self._views_of(synthesiser, base, case, some):
                yield replace(record, variation=varied), pair

    def _views_of(
        self, synthesiser: Synthesiser, base: Camera, case: Case, views: Iterable[int]
    ) -> Iterator[tuple[PairRecord, Pair]]:
        settings = self.settings
        for view in views:
            camera = settings.camera.sample(base, 1, pair_generator(settings.seed, case.ct.sha256, view))
            pair = synthesiser.pair(
                camera, synthesiser.draw(camera, chance_generator(settings.seed, case.ct.sha256, view))
            )
            files = file_names(pair_id(case.ct.sha256, view), pair.record)
            record = named(
                pair.record, files=files, ct=case.ct, labels=case.labels, seed=settings.seed, view_index=view
            )
            yield with_reading(record, settings.inputs), pair

    def _tell(self, remarks: Iterable[str]) -> None:
        """Say which rules are taken, each once in a set."""
        for line in remarks:
            if line not in self._told:
                _log.info(line)
                self._told.add(line)


def _groups(settings: PairSettings, ct_sha256: str, views: list[int]) -> Iterator[tuple[Variation, list[int]]]:
    """The views that share a CT as it is varied, and how it is; all of them where it is not."""
    if not settings.varies:
        yield UNVARIED, views
        return
    for group, some in groupby(views, key=lambda view: view // settings.deformation.views_each):
        yield drawn_variation(settings, settings.seed, ct_sha256, group), list(some)


def drawn_variation(settings: PairSettings, seed: int, ct_sha256: str, group: int = 0) -> Variation:
    """How a CT is varied for some of its views.

    Args:
        settings:  of the pairs.
        seed:      of the set or view.
        ct_sha256: of the CT.
        group:     of the views, from 0.
    """
    if not settings.varies:
        return UNVARIED
    return draw_variation(settings.deformation, settings.insert, variation_generator(seed, ct_sha256, group))


def file_names(name: str, record: PairRecord) -> tuple[str, ...]:
    """The files of a pair: its image's, each mask's and each object's.

    Args:
        name:   of the pair.
        record: with its masks and objects.
    """
    masks = (f"masks/{mask.name}/{name}.png" if mask.name else f"masks/{name}.png" for mask in record.masks)
    objects = (f"objects/{name}/{file_stem(one['name'])}.png" for one in record.objects)
    return (f"images/{name}.png", *masks, *objects)


def file_stem(name: str) -> str:
    """An object's name as part of a file's: `lead 2` becomes `lead_2`."""
    return re.sub(r"[^a-z0-9]+", "_", name.lower()).strip("_")


def _in_view(
    pairs: Iterable[tuple[PairRecord, Pair]], case: Case, may_be_empty: bool
) -> Iterator[list[tuple[PairRecord, Pair]]]:
    """Hold a CT's first pairs back until one mask has a pixel, so that wrong labels leave nothing behind."""
    waiting = []
    for record, pair in pairs:
        waiting.append((record, pair))
        may_be_empty = may_be_empty or any(mask.fraction for mask in record.masks)
        if may_be_empty:
            yield waiting
            waiting = []
    if waiting:
        raise DataError(
            f"the mask is empty on all {len(waiting)} views of {case.ct.path}: its labels or the rule are wrong; "
            "correct them, or allow empty masks (--allow-empty)"
        )


def _check_labels_unchanged(case: Case, writer: PairWriter) -> None:
    for record in writer.records.values():
        if record.ct_sha256 == case.ct.sha256 and record.labels_sha256 != case.labels.sha256:
            raise DataError(
                f"{case.labels.path} is not what pair {record.id} was made from (SHA-256 {case.labels.sha256[:12]}…, "
                f"expected {str(record.labels_sha256)[:12]}…); put the former labels back or choose a new folder"
            )


def _facts(records: Iterable[PairRecord], settings: PairSettings, skipped: list[Skipped]) -> dict:
    """What `dataset.json` says of a finished set, beside its settings."""
    facts = facts_of(list(records))
    return {
        "counts": facts.pop("counts"),
        **({"skipped": [one.to_dict() for one in skipped]} if skipped else {}),
        **facts,
        "nerp": __version__,
        "licence": settings.licence,
        "citation": CITATION,
        "use": NOTICE,
    }
