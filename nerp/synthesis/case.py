"""The pairs of one CT: read once, made ready once, seen by as many cameras as are wanted."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator
from dataclasses import replace
from itertools import groupby
from typing import Any

from nerp.camera import Camera, ViewSettings
from nerp.data.records import PairRecord
from nerp.errors import DataError
from nerp.synthesis.environment import chance_generator, pair_generator, pair_id, variation_generator
from nerp.synthesis.generator import TrainedGenerator
from nerp.synthesis.inputs import with_reading
from nerp.synthesis.matching import Case
from nerp.synthesis.scans import UNVARIED, Opener, Scan, check_scan, is_compact, open_scan, ready
from nerp.synthesis.settings import PairSettings
from nerp.synthesis.synthesiser import Pair, Synthesiser, named
from nerp.variation import Variation, draw_variation
from nerp.volume import Volume


class CaseViews:
    """A CT and its labels, from which pairs are made by one setting or by several.

    What settings have in common is read and made ready once: two that differ in cameras alone share all but these.

    Args:
        case: where both lie.
        tell: takes lines on which rules are taken, for people.
        opener: reads the CT; None reads it as the settings say.
    """

    def __init__(
        self, case: Case, *, tell: Callable[[Iterable[str]], None] | None = None, opener: Opener | None = None
    ):
        self._case, self._tell, self._opener = case, tell or (lambda lines: None), opener
        self._scans: dict[Any, Scan] = {}
        self._ready: tuple[PairSettings, Synthesiser] | None = None
        self._last: Synthesiser | None = None

    @property
    def ct(self) -> Volume | None:
        """`(1, D, H, W)` HU, as it was last read; None where nothing was made yet."""
        return next((scan.ct for scan in self._scans.values()), None)

    @property
    def labels(self) -> tuple[Volume, dict[int, str]] | None:
        """`(M, D, H, W)` labels of the CT as it was last rendered, and their names; None without labels."""
        if self._last is None or self._last.labels is None:
            return None
        return self._last.labels, self._last.label_names

    def pairs(
        self, settings: PairSettings, views: list[int], generator: TrainedGenerator | None = None
    ) -> Iterator[tuple[PairRecord, Pair]]:
        """Some views of the CT, each with its record; as many bits as ever, whatever was made before.

        Args:
            settings:  of the pairs.
            views:     which, from 0.
            generator: for the modes that need one.

        Raises:
            VolumeError, DataError, UsageError, GeometryError: see `open_scan`, `ready` and `check_scan`.
        """
        scan = self._scan(settings)
        for number, (variation, some) in enumerate(_groups(settings, self._case.ct.sha256, views)):
            synthesiser, varied = self._synthesiser(scan, settings, generator, variation)
            self._last = synthesiser
            if number == 0:
                check_scan(scan, synthesiser, settings.inputs)
            self._tell(synthesiser.remarks())
            base = scan.base_camera(synthesiser.ct, settings)
            for record, pair in self._views_of(synthesiser, base, settings, some):
                yield with_reading(replace(record, variation=varied), scan.inputs), pair

    def _scan(self, settings: PairSettings) -> Scan:
        """CT and labels as some settings read them; a camera that another view found is not theirs."""
        key = (is_compact(settings), settings.inputs)
        if key not in self._scans:
            labels = self._case.labels
            where = self._case.ct.path, None if labels is None else labels.path
            self._scans = {key: open_scan(*where, settings, self._opener)}
            self._ready = None
            return self._scans[key]
        return replace(self._scans[key], camera=None)

    def _synthesiser(
        self, scan: Scan, settings: PairSettings, generator: TrainedGenerator | None, variation: Variation
    ) -> tuple[Synthesiser, dict[str, Any]]:
        if variation.any:
            return ready(scan, settings, generator, variation)
        shared = replace(settings, camera=ViewSettings(), views=1, seed=0, shape=(1, 1))
        if self._ready is None or self._ready[0] != shared:
            self._ready = shared, ready(scan, settings, generator, variation)[0]
        return self._ready[1], {}

    def _views_of(
        self, synthesiser: Synthesiser, base: Camera, settings: PairSettings, views: Iterable[int]
    ) -> Iterator[tuple[PairRecord, Pair]]:
        ct, labels = self._case.ct, self._case.labels
        for view in views:
            camera = settings.camera.sample(base, 1, pair_generator(settings.seed, ct.sha256, view))
            pair = synthesiser.pair(camera, synthesiser.draw(camera, chance_generator(settings.seed, ct.sha256, view)))
            files = file_names(pair_id(ct.sha256, view), pair.record)
            record = named(pair.record, files=files, ct=ct, labels=labels, seed=settings.seed, view_index=view)
            yield record, pair


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


def in_view(
    pairs: Iterable[tuple[PairRecord, Pair]], case: Case, may_be_empty: bool
) -> Iterator[list[tuple[PairRecord, Pair]]]:
    """Hold a CT's first pairs back until one mask has a pixel, so that wrong labels leave nothing behind.

    Args:
        pairs:        of the CT.
        case:         the CT and its labels.
        may_be_empty: hold none back.

    Raises:
        DataError: no mask of any pair has a pixel.
    """
    waiting, may_be_empty = [], may_be_empty or case.labels is None
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
