"""Whole sets of labelled pairs, made pair by pair so that a run can be killed and taken up again."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from pathlib import Path

from nerp import __version__
from nerp.config.reading import as_yaml
from nerp.data.pair_writer import PairWriter
from nerp.data.records import PairRecord
from nerp.errors import DataError, UsageError
from nerp.files import check_folder, write_text
from nerp.label_maps import read_labels
from nerp.synthesis.environment import pair_generator, pair_id
from nerp.synthesis.generator import TrainedGenerator, load_generator
from nerp.synthesis.matching import Case, cases
from nerp.synthesis.renderers import NEEDS_RUN
from nerp.synthesis.settings import PairSettings, restated
from nerp.synthesis.synthesiser import Pair, Synthesiser, named
from nerp.volume import read_volume

CITATION = "Pham Ngoc Huy and Tran Minh Quan, Neural Radiance Projection, ISBI 2022."
NOTICE = "Research use; not for diagnosis."
SETTINGS = "settings.yaml"
"""File beside pairs and single views that `--config` takes to make them again; it names no file."""

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
    settings.mask.check_chosen()
    check_folder(out)
    generator = generator_for(settings.mode, run)
    found = cases(ct, labels)
    with PairWriter(out, _whole_settings(settings, generator)) as writer:
        tell, total = progress or _silent, len(found) * settings.views
        done = sum(settings.views - len(_missing(case, settings, writer)) for case in found)
        tell(done, total)
        for n, _ in enumerate(_pairs(found, settings, generator, writer), start=done + 1):
            tell(n, total)
        write_text(Path(out) / SETTINGS, as_yaml(restated(settings)))
        return writer.finish(_facts(writer.records.values(), settings))


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


def _missing(case: Case, settings: PairSettings, writer: PairWriter) -> list[int]:
    return [view for view in range(settings.views) if pair_id(case.ct.sha256, view) not in writer]


def _pairs(
    found: list[Case], settings: PairSettings, generator: TrainedGenerator | None, writer: PairWriter
) -> Iterator[None]:
    """Make and commit what is missing, CT by CT; yields after each pair."""
    for case in found:
        _check_labels_unchanged(case, writer)
        views = _missing(case, settings, writer)
        if not views:
            continue
        may_be_empty = settings.allow_empty or len(views) < settings.views
        for pairs in _in_view(_render_views(case, views, settings, generator), case, may_be_empty):
            for record, pair in pairs:
                assert pair.mask_png is not None, "pairs are made with labels"
                writer.add(record, pair.image_png, pair.mask_png)
                yield


def _render_views(
    case: Case, views: list[int], settings: PairSettings, generator: TrainedGenerator | None
) -> Iterator[tuple[PairRecord, Pair]]:
    volume = read_volume(case.ct.path)
    labels = read_labels(case.labels.path, volume)
    try:
        synthesiser = Synthesiser(volume, labels, settings=settings, generator=generator)
    except DataError as error:
        raise DataError(f"{case.labels.path}: {error}") from error
    base = settings.base_camera(volume)
    for view in views:
        camera = settings.camera.sample(base, 1, pair_generator(settings.seed, case.ct.sha256, view))
        pair = synthesiser.pair(camera)
        name = pair_id(case.ct.sha256, view)
        files = (f"images/{name}.png", f"masks/{name}.png")
        yield (
            named(pair.record, files=files, ct=case.ct, labels=case.labels, seed=settings.seed, view_index=view),
            pair,
        )


def _in_view(
    pairs: Iterable[tuple[PairRecord, Pair]], case: Case, may_be_empty: bool
) -> Iterator[list[tuple[PairRecord, Pair]]]:
    """Hold a CT's first pairs back until one mask has a pixel, so that wrong labels leave nothing behind."""
    waiting = []
    for record, pair in pairs:
        waiting.append((record, pair))
        may_be_empty = may_be_empty or bool(record.mask_fraction)
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


def _facts(records: Iterable[PairRecord], settings: PairSettings) -> dict:
    """What `dataset.json` says of a finished set, beside its settings."""
    records, mask = list(records), settings.mask
    fractions = [record.mask_fraction or 0.0 for record in records]
    outside = [record.mask_outside_fraction or 0.0 for record in records]
    return {
        "counts": {"pairs": len(records), "cts": len({record.ct_sha256 for record in records})},
        "quality": {
            "mask_fraction_mean": sum(sorted(fractions)) / len(fractions),
            "empty_masks": sum(fraction == 0 for fraction in fractions),
            "mask_outside_fraction_most": max(outside),
        },
        "label_names": {
            role: {str(label): mask.label_names.get(label, "") for label in labels}
            for role, labels in (("mask", mask.labels), ("obscuring", mask.obscuring_labels()))
        },
        "nerp": __version__,
        "licence": settings.licence,
        "citation": CITATION,
        "use": NOTICE,
    }
