"""Whole sets of labelled pairs, made pair by pair so that a run can be killed and taken up again."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from pathlib import Path

from nerp import __version__
from nerp.data.pair_writer import PairWriter
from nerp.errors import DataError, UsageError
from nerp.files import check_folder
from nerp.synthesis.matching import Case, cases
from nerp.synthesis.records import pair_generator, pair_id, whole_record
from nerp.synthesis.run import Run, load_run
from nerp.synthesis.settings import PairSettings
from nerp.synthesis.synthesiser import Pair, Synthesiser
from nerp.volume import read_labels, read_volume

CITATION = "Pham Ngoc Huy and Tran Minh Quan, Neural Radiance Projection, ISBI 2022."
NOTICE = "Research use; not for diagnosis."

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
    settings.check_mask()
    check_folder(out)
    trained = run_for(settings, run)
    found = cases(ct, labels)
    with PairWriter(out, _whole_settings(settings, trained)) as writer:
        tell, total = progress or _silent, len(found) * settings.views
        done = sum(settings.views - len(_missing(case, settings, writer)) for case in found)
        tell(done, total)
        for n, _ in enumerate(_pairs(found, settings, trained, writer), start=done + 1):
            tell(n, total)
        return writer.finish(_facts(writer.records.values(), settings))


def run_for(settings: PairSettings, run: str | Path | None) -> Run | None:
    """The trained run where the mode needs one.

    Raises:
        UsageError: a run that is needed and not given, or given and not needed.
    """
    if settings.mode == "vrr" and run is None:
        raise UsageError("mode vrr needs a trained run; give the folder that nerp train wrote, or use mode drr")
    if settings.mode != "vrr" and run is not None:
        raise UsageError(f"mode {settings.mode} uses no trained run, but {run} was given; drop it or use mode vrr")
    return None if run is None else load_run(run)


def _silent(done: int, total: int) -> None:
    pass


def _whole_settings(settings: PairSettings, trained: Run | None) -> dict:
    weights = {} if trained is None else {"weights_sha256": trained.weights_sha256}
    return {**settings.as_json(), **weights}


def _missing(case: Case, settings: PairSettings, writer: PairWriter) -> list[int]:
    return [view for view in range(settings.views) if pair_id(case.ct_sha256, view) not in writer]


def _pairs(found: list[Case], settings: PairSettings, trained: Run | None, writer: PairWriter) -> Iterator[None]:
    """Make and commit what is missing, CT by CT; yields after each pair."""
    for case in found:
        _check_labels_unchanged(case, writer)
        views = _missing(case, settings, writer)
        if not views:
            continue
        may_be_empty = settings.allow_empty or len(views) < settings.views
        for pairs in _in_view(_render_views(case, views, settings, trained), case, may_be_empty):
            for record, pair in pairs:
                writer.add(record, pair.image, pair.mask)
                yield


def _render_views(case: Case, views: list[int], settings: PairSettings, trained) -> Iterator[tuple[dict, Pair]]:
    volume = read_volume(case.ct)
    labels = read_labels(case.labels, volume)
    try:
        synthesiser = Synthesiser(volume, labels, settings=settings, run=trained)
    except DataError as error:
        raise DataError(f"{case.labels}: {error}") from error
    base = settings.base_camera(volume)
    for view in views:
        camera = settings.cameras.sample(base, 1, pair_generator(settings.seed, case.ct_sha256, view))
        pair = synthesiser.pair(camera)
        yield _named(pair, case, settings.seed, view), pair


def _in_view(pairs: Iterable[tuple[dict, Pair]], case: Case, may_be_empty: bool) -> Iterator[list[tuple[dict, Pair]]]:
    """Hold a CT's first pairs back until one mask has a pixel, so that wrong labels leave nothing behind."""
    waiting = []
    for record, pair in pairs:
        waiting.append((record, pair))
        may_be_empty = may_be_empty or bool(pair.mask.any())
        if may_be_empty:
            yield waiting
            waiting = []
    if waiting:
        raise DataError(
            f"the mask is empty on all {len(waiting)} views of {case.ct}: its labels or the rule's numbers are wrong; "
            "correct them, or allow empty masks (--allow-empty)"
        )


def _named(pair: Pair, case: Case, seed: int, view: int) -> dict:
    """The pair's record with its names in front: they come from the CT's hash, never from a file's name."""
    name = pair_id(case.ct_sha256, view)
    files, hashes = (f"images/{name}.png", f"masks/{name}.png"), (case.ct_sha256, case.labels_sha256)
    return whole_record(pair.record, files=files, hashes=hashes, seed=seed, view_index=view)


def _check_labels_unchanged(case: Case, writer: PairWriter) -> None:
    for record in writer.records.values():
        if record["ct_sha256"] == case.ct_sha256 and record["labels_sha256"] != case.labels_sha256:
            raise DataError(
                f"{case.labels} is not what pair {record['id']} was made from (SHA-256 {case.labels_sha256[:12]}…, "
                f"expected {record['labels_sha256'][:12]}…); put the former labels back or choose a new folder"
            )


def _facts(records: Iterable[dict], settings: PairSettings) -> dict:
    """What `dataset.json` says of a finished set, beside its settings."""
    records = list(records)
    shares = [record["mask_share"] for record in records]
    outside = [record["mask_outside_share"] or 0.0 for record in records]
    return {
        "counts": {"pairs": len(records), "cts": len({record["ct_sha256"] for record in records})},
        "quality": {
            "mask_share_mean": sum(sorted(shares)) / len(shares),
            "empty_masks": sum(share == 0 for share in shares),
            "mask_outside_share_most": max(outside),
        },
        "label_names": {
            role: {str(label): settings.label_names.get(label, "") for label in labels}
            for role, labels in (("mask", settings.mask), ("obscuring", settings.obscuring_labels()))
        },
        "nerp": __version__,
        "licence": settings.licence,
        "citation": CITATION,
        "use": NOTICE,
    }
