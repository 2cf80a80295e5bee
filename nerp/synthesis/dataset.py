"""Whole sets of labelled pairs, made pair by pair so that a run can be killed and taken up again."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path

from nerp import __version__
from nerp.config.reading import as_yaml
from nerp.data.checking import listing
from nerp.data.pair_facts import facts_of
from nerp.data.pair_writer import PairWriter
from nerp.data.pairs import SETTINGS
from nerp.data.records import PairRecord
from nerp.errors import DataError, GeometryError, NerpError, UsageError, VolumeError
from nerp.files import check_folder, write_text
from nerp.synthesis.case import CaseViews, in_view
from nerp.synthesis.environment import pair_id
from nerp.synthesis.generator import TrainedGenerator, load_generator
from nerp.synthesis.inputs import Skipped, small_masks, usable_cases
from nerp.synthesis.matching import Case
from nerp.synthesis.renderers import NEEDS_RUN
from nerp.synthesis.settings import PairSettings, restated

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
    with PairWriter(out, whole_settings(settings, generator)) as writer:
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
        return writer.finish(set_facts(records, settings, skipped))


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


def whole_settings(settings: PairSettings, generator: TrainedGenerator | None) -> dict:
    """What decides the pairs of a set, as its `dataset.json` keeps it.

    Args:
        settings:  of the set.
        generator: of modes that need one.
    """
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
        made = CaseViews(case, tell=self._tell).pairs(self.settings, views, self.generator)
        for pairs in in_view(made, case, may_be_empty):
            for record, pair in pairs:
                self.writer.add(record, pair.image_png, *pair.mask_pngs, *pair.object_pngs)
                yield

    def _tell(self, remarks: Iterable[str]) -> None:
        """Say which rules are taken, each once in a set."""
        for line in remarks:
            if line not in self._told:
                _log.info(line)
                self._told.add(line)


def _check_labels_unchanged(case: Case, writer: PairWriter) -> None:
    assert case.labels is not None
    for record in writer.records.values():
        if record.ct_sha256 == case.ct.sha256 and record.labels_sha256 != case.labels.sha256:
            raise DataError(
                f"{case.labels.path} is not what pair {record.id} was made from (SHA-256 {case.labels.sha256[:12]}…, "
                f"expected {str(record.labels_sha256)[:12]}…); put the former labels back or choose a new folder"
            )


def set_facts(records: Iterable[PairRecord], settings: PairSettings, skipped: Sequence[Skipped] = ()) -> dict:
    """What `dataset.json` says of a finished set, beside its settings.

    Args:
        records:  of its pairs.
        settings: that decided them.
        skipped:  CTs that were left out.
    """
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
