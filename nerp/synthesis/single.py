"""Single images to files: one view of a CT, or a pair of a set once more."""

from __future__ import annotations

import io
import json
from pathlib import Path

import numpy as np

from nerp.data.images import png_bytes
from nerp.data.pairs import read_records
from nerp.errors import CheckpointError, DataError, UsageError
from nerp.files import check_folder, json_bytes, write_bytes
from nerp.projection import MaskRule
from nerp.synthesis.dataset import run_for
from nerp.synthesis.matching import find_by_hash, volume_sha256
from nerp.synthesis.records import camera_of, differences, environment, pair_generator, repeatable, whole_record
from nerp.synthesis.run import Run, find_run
from nerp.synthesis.settings import PairSettings
from nerp.synthesis.synthesiser import Pair, Synthesiser
from nerp.volume import read_labels, read_volume

RECORD = "record.json"
FILES = ("image.png", "image.npy", "mask.png")
NEEDED = frozenset(
    ("id", "mode", "view", "mask_labels", "rule", "obscuring_labels", "device", "backend", "threads", "camera")
    + ("ct_sha256", "labels_sha256", "image_sha256", "mask_sha256", "weights_sha256", "config_sha256")
)
"""What a record must say to be rendered again."""


def render(
    ct: str | Path,
    *,
    out: str | Path,
    settings: PairSettings,
    labels: str | Path | None = None,
    run: str | Path | None = None,
    seed: int | None = None,
) -> dict:
    """Render one view of a CT to files.

    Args:
        ct:       a CT file or a DICOM series' folder.
        out:      DIR; gets image.png (8 bit, as displayed), image.npy (float32 H x W, as projected),
                  mask.png (0 or 255, with labels alone) and record.json. All of them or none.
        settings: mode, view, shape, mask, rule; its `views` and `seed` are not read.
        labels:   the CT's labels.
        run:      RUN, for mode `vrr` alone.
        seed:     draws the camera from `settings.cameras`; None takes the view's preset as it is.

    Returns:
        The record.

    Raises:
        VolumeError, DataError, UsageError, CheckpointError: as `synthesize`.
    """
    _check_place(out)
    trained = run_for(settings, run)
    volume = read_volume(ct)
    label_volume = None if labels is None else read_labels(labels, volume)
    synthesiser = Synthesiser(volume, label_volume, settings=settings, run=trained)
    ct_sha256, camera = volume_sha256(ct), settings.base_camera(volume)
    if seed is not None:
        camera = settings.cameras.sample(camera, 1, pair_generator(seed, ct_sha256, 0))
    pair = synthesiser.pair(camera)
    files = ("image.png", None if labels is None else "mask.png")
    hashes = (ct_sha256, None if labels is None else volume_sha256(labels))
    record = whole_record(pair.record, files=files, hashes=hashes, seed=seed, view_index=0)
    write_single(out, pair, record)
    return record


def replay(
    metadata: str | Path,
    index: int = 0,
    *,
    ct: str | Path,
    labels: str | Path | None = None,
    run: str | Path | None = None,
    out: str | Path,
) -> dict:
    """Render a recorded pair again; on the same platform its files are equal byte for byte.

    Args:
        metadata: PAIRS/metadata.jsonl, or the record.json of a single view.
        index:    which of its records, from 0.
        ct:       where the CT lies: the file, or a folder that is searched for its hash.
        labels:   likewise the labels, for a pair with a mask.
        run:      RUN, for a pair of mode `vrr`; None looks among `runs/*` for the recorded weights.
        out:      DIR; gets the files that `render` writes.

    Returns:
        `{"identical": bool, "id": …, "differences": […]}`: whether image and mask equal the
        recorded ones, and where they do not, how this environment differs from the recorded one.

    Raises:
        DataError: no such record, damaged records, or no CT or labels of the recorded hash.
        CheckpointError: a run with other weights.
        UsageError: a run or labels missing, or a device that is not there.
    """
    _check_place(out)
    record = _record(Path(metadata), index)
    settings = _settings_of(record)
    if run is None and settings.mode == "vrr":
        run = find_run(record["weights_sha256"])
    trained = run_for(settings, run)
    _check_weights(record, trained, run)
    volume = read_volume(find_by_hash(ct, record["ct_sha256"], "CT"))
    label_volume = None
    if record["labels_sha256"] is not None:
        if labels is None:
            raise UsageError(f"pair {record['id']} has a mask; give its labels, a file or a folder to search")
        label_volume = read_labels(find_by_hash(labels, record["labels_sha256"], "labels"), volume)
    with repeatable(record["threads"]):
        pair = Synthesiser(volume, label_volume, settings=settings, run=trained).pair(camera_of(record))
        here = {**environment(settings.device), "backend": pair.record["backend"]}
    write_single(out, pair, {**record, **pair.record})
    identical = all(pair.record[key] == record[key] for key in ("image_sha256", "mask_sha256"))
    return {"identical": identical, "id": record["id"], "differences": [] if identical else differences(record, here)}


def write_single(out: str | Path, pair: Pair, record: dict) -> None:
    """Write a pair's files into a folder, all or none; what an earlier rendering left there goes.

    Raises:
        DataError: the place is taken by a file, or by images that no rendering left.
    """
    _check_place(out)
    out, raw = Path(out), io.BytesIO()
    np.save(raw, pair.raw)
    files = {"image.png": png_bytes(pair.image), "image.npy": raw.getvalue()}
    if pair.mask is not None:
        files["mask.png"] = png_bytes(pair.mask)
    _remove(out)
    try:
        for name, data in {**files, RECORD: json_bytes(record)}.items():
            write_bytes(out / name, data)
    except BaseException:
        _remove(out)
        raise


def _remove(out: Path) -> None:
    for name in (RECORD, *FILES):
        (out / name).unlink(missing_ok=True)


def _check_place(out: str | Path) -> None:
    check_folder(out)
    foreign = [name for name in FILES if (Path(out) / name).exists()]
    if foreign and not (Path(out) / RECORD).exists():
        raise DataError(f"{out} holds {foreign[0]} and no {RECORD}: nerp did not finish it; choose another folder")


def _record(path: Path, index: int) -> dict:
    records = [_whole(path)] if path.suffix == ".json" else read_records(path)
    if not 0 <= index < len(records):
        told = f"expected 0 to {len(records) - 1}" if records else "make pairs first"
        raise UsageError(f"index is {index}, but {path} holds {len(records)} records; {told}")
    record = _renamed(records[index])
    missing = NEEDED - record.keys() if isinstance(record, dict) else NEEDED
    if missing:
        raise DataError(f"record {index} of {path} lacks {', '.join(sorted(missing))}; give one that nerp wrote")
    return record


def _renamed(record: dict) -> dict:
    names = {"hiding_labels": "obscuring_labels", "mask_share": "mask_fraction"}
    return {names.get(key, key): value for key, value in record.items()}


def _whole(path: Path) -> dict:
    try:
        return json.loads(path.read_bytes())
    except (OSError, ValueError) as error:
        raise DataError(f"{path} cannot be read as a record ({error}); render the view again") from error


def _settings_of(record: dict) -> PairSettings:
    """The settings that matter to one recorded pair."""
    try:
        return PairSettings(
            mode=record["mode"],
            view=record["view"],
            mask=tuple(record["mask_labels"]),
            rule=MaskRule.from_dict(record["rule"]),
            obscuring=tuple(record["obscuring_labels"]),
            device=record["device"],
            backend=record["backend"],
            allow_empty=True,
        )
    except (KeyError, TypeError) as error:
        raise DataError(f"record {record.get('id')} is damaged ({error}); restore the records") from error


def _check_weights(record: dict, trained: Run | None, run) -> None:
    for key in ("weights_sha256", "config_sha256") if trained is not None else ():
        found, expected = getattr(trained, key), record[key]
        if found != expected:
            what = key.removesuffix("_sha256")
            raise CheckpointError(
                f"{run} has another {what} (SHA-256 {found[:12]}…) than pair {record['id']} was made with "
                f"({expected[:12]}…); give the run it was made with"
            )
