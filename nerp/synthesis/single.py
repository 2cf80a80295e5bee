"""Single images to files: one view of a CT, or a pair of a set once more."""

from __future__ import annotations

import hashlib
import io
import json
import logging
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from nerp.camera import Camera
from nerp.config.reading import as_yaml
from nerp.data.pairs import SETTINGS, read_records
from nerp.data.records import PairRecord
from nerp.data.source_files import SourceFile
from nerp.dicom.acquisition import Acquisition
from nerp.dicom.writing import Origin, write_dx
from nerp.errors import DataError, UsageError
from nerp.files import check_folder, json_bytes, write_bytes
from nerp.physics.acquisition import acquisition_of
from nerp.physics.simulate import source_detector_mm
from nerp.runs import find_run
from nerp.synthesis.case import drawn_variation, file_stem
from nerp.synthesis.chance import recorded_chance
from nerp.synthesis.dataset import generator_for
from nerp.synthesis.environment import chance_generator, here, pair_generator, repeatable
from nerp.synthesis.generator import TrainedGenerator
from nerp.synthesis.inputs import plan_of, small_masks, with_reading
from nerp.synthesis.renderers import NEEDS_RUN
from nerp.synthesis.rerendering import check_weights, recorded_settings, recorded_volumes
from nerp.synthesis.scans import check_scan, open_scan, ready
from nerp.synthesis.settings import OF_SETS, PairSettings, restated
from nerp.synthesis.synthesiser import Pair, Synthesiser, named

RECORD, DICOM = "record.json", "image.dcm"
FILES = ("image.png", "image.npy", "mask.png")

_log = logging.getLogger(__name__)


def render(
    ct: str | Path,
    *,
    out: str | Path,
    settings: PairSettings,
    labels: str | Path | None = None,
    run: str | Path | None = None,
    seed: int | None = None,
    dicom: bool = False,
) -> PairRecord:
    """Render one view of a CT to files.

    Args:
        ct:       a CT file or a DICOM series' folder.
        out:      DIR; gets image.png (8 bit, as displayed), image.npy (float32 H x W, as projected),
                  mask.png (0 or 255, with labels alone; mask_NAME.png where masks have names), record.json, and
                  settings.yaml, which `--config` takes. All of them or none.
        settings: mode, camera, shape, mask; its `views` and `seed` are not read.
        labels:   the CT's labels.
        run:      RUN, for mode `vrr` alone.
        seed:     draws the camera from `settings.camera`; None takes the view's preset as it is.
        dicom:    write image.dcm, too: Digital X-Ray Image Storage - For Presentation, 12 bit, derived.

    Returns:
        The record.

    Raises:
        VolumeError, DataError, UsageError, CheckpointError: as `synthesize`.
    """
    _check_place(out)
    generator = generator_for(settings.mode, run)
    scan, source = open_scan(ct, labels, settings), SourceFile.of(ct, settings.inputs.series)
    synthesiser, varied = ready(scan, settings, generator, drawn_variation(settings, seed or 0, source.sha256))
    check_scan(scan, synthesiser, settings.inputs)
    camera = scan.base_camera(synthesiser.ct, settings)
    if seed is not None:
        camera = settings.camera.sample(camera, 1, pair_generator(seed, source.sha256, 0))
    pair = synthesiser.pair(camera, synthesiser.draw(camera, chance_generator(seed or 0, source.sha256, 0)))
    files = single_files(pair.record)
    label_source = None if labels is None else SourceFile.of(labels)
    record = named(pair.record, files=files, ct=source, labels=label_source, seed=seed, view_index=0)
    record = replace(with_reading(record, settings.inputs), variation=varied)
    stated = {key: value for key, value in restated(settings).items() if key not in OF_SETS}
    write_single(out, pair, record, settings_yaml=as_yaml({**stated, "seed": seed}))
    if dicom:
        write_dicom(Path(out) / DICOM, pair, record, settings)
    for line in synthesiser.remarks():
        _log.info(line)
    for line in small_masks([record]):
        _log.warning(line)
    return record


def write_dicom(path: Path, pair: Pair, record: PairRecord, settings: PairSettings, *, patient: str = "") -> None:
    """Write a radiograph as a derived DICOM image, with nothing of the patient.

    Args:
        path:     of the file.
        pair:     the image as shown.
        record:   with its names; its hashes make the identifiers.
        settings: beam and detector, of mode `physics`.
        patient:  stands for the patient; empty: each CT is a patient's of its own.
    """
    acquisition = _acquisition(record.make_camera(), settings)
    note = f"Mode {record.mode}."
    origin = Origin(
        record.ct_sha256, hashlib.sha256(record.to_line()).hexdigest(), f"nerp {record.nerp}", note, patient
    )
    write_dx(path, pair.shown, acquisition=acquisition, origin=origin)


def _acquisition(camera: Camera, settings: PairSettings) -> Acquisition:
    """How a radiograph was taken, by what its settings state, mm."""
    if settings.mode != "physics":
        return acquisition_of(camera)
    common: dict[str, Any] = {"detector": settings.detector, "border_mm": settings.film.border_mm}
    taken = acquisition_of(camera, beam=settings.beam, **common)
    distance_mm = float(source_detector_mm(camera)[0])
    grid = settings.physics.grid_at(distance_mm)
    if grid is None:
        return replace(taken, grid_ratio=0.0)
    return replace(taken, grid_ratio=grid.ratio, grid_pitch_mm=grid.pitch_mm, grid_focus_mm=distance_mm)


def mask_name(name: str) -> str:
    """The file of a single view's mask: `mask.png`, or `mask_NAME.png` where masks have names."""
    return f"mask_{name}.png" if name else "mask.png"


def single_files(record: PairRecord) -> tuple[str, ...]:
    """The files of a single view: its image's, each mask's and each object's.

    Args:
        record: with its masks and objects.
    """
    masks = (mask_name(mask.name) for mask in record.masks)
    return ("image.png", *masks, *(f"object_{file_stem(one['name'])}.png" for one in record.objects))


def replay(
    metadata: str | Path,
    index: int = 0,
    *,
    ct: str | Path,
    labels: str | Path | None = None,
    run: str | Path | None = None,
    out: str | Path,
    device: str | None = None,
) -> dict[str, Any]:
    """Render a recorded pair again; on the same platform its files are equal byte for byte.

    Args:
        metadata: PAIRS/metadata.jsonl, or the record.json of a single view.
        index:    which of its records, from 0.
        ct:       where the CT lies: the file, or a folder that is searched for its hash.
        labels:   likewise the labels, for a pair with a mask.
        run:      RUN, for a pair of mode `vrr`; None looks among `runs/*` for the recorded weights.
        out:      DIR; gets the files that `render` writes.
        device:   `auto`, `cpu` or `cuda`; None takes the recorded one, on which the bytes are the same.

    Returns:
        `{"identical": bool, "id": …, "differences": […]}`: whether image and mask equal the
        recorded ones, and where they do not, how this environment differs from the recorded one.

    Raises:
        DataError: no such record, damaged records, or no CT or labels of the recorded hash.
        CheckpointError: a run with other weights.
        UsageError: a run or labels missing, or a device that is not there.
    """
    _check_place(out)
    record = read_record(Path(metadata), index)
    settings, camera = recorded_settings(record, device or record.device), record.make_camera()
    if run is None and settings.mode in NEEDS_RUN:
        run = find_run(str(record.weights_sha256))
    generator = generator_for(settings.mode, run)
    check_weights(record, generator, run)
    synthesiser, source, label_source = _opened(record, settings, generator, ct=ct, labels=labels)
    with repeatable(record.threads):
        pair = synthesiser.pair(camera, recorded_chance(record))
        place = here(synthesiser.device, synthesiser.renderer.backend)
    files, index = record.file_names, record.view_index
    made = named(pair.record, files=files, ct=source, labels=label_source, seed=record.seed, view_index=index)
    kept = ("ct_reading", "labels_on_ct_grid", "variation", "shown_findings")
    told: dict[str, Any] = {name: getattr(record, name) for name in kept}
    made = replace(made, **told)
    write_single(out, pair, replace(made, label_names=record.label_names))
    identical = made.hashes == record.hashes
    return {"identical": identical, "id": record.id, "differences": [] if identical else place.differences(record)}


def _opened(
    record: PairRecord,
    settings: PairSettings,
    generator: TrainedGenerator | None,
    *,
    ct: str | Path,
    labels: str | Path | None,
) -> tuple[Synthesiser, SourceFile, SourceFile | None]:
    """The synthesiser of the CT and the labels that a record names, and where they were found."""
    volume, label_volume, source, label_source = recorded_volumes(record, settings.inputs, ct=ct, labels=labels)
    told = record.physics.get("label_names", record.label_names)
    names = {int(value): name for value, name in told.items()}
    named_labels: dict[str, Any] = {"label_names": names, "plan": plan_of(record)}
    made = Synthesiser(volume, label_volume, settings=settings, generator=generator, **named_labels)
    return made, source, label_source


def write_single(out: str | Path, pair: Pair, record: PairRecord, *, settings_yaml: str | None = None) -> None:
    """Write a pair's files into a folder, all or none; what an earlier rendering left there goes.

    Args:
        out:    the folder.
        pair:   image and mask.
        record: with its names.
        settings_yaml: what `--config` takes to render the view again; a replayed pair has none.

    Raises:
        DataError: the place is taken by a file, or by images that no rendering left.
    """
    _check_place(out)
    out, raw = Path(out), io.BytesIO()
    np.save(raw, pair.raw)
    files = {"image.png": pair.image_png, "image.npy": raw.getvalue()}
    files |= dict(zip(single_files(record)[1:], (*pair.mask_pngs, *pair.object_pngs), strict=True))
    if settings_yaml is not None:
        files[SETTINGS] = settings_yaml.encode()
    _remove(out)
    try:
        for name, data in {**files, RECORD: json_bytes(record.to_dict())}.items():
            write_bytes(out / name, data)
    except BaseException:
        _remove(out)
        raise


def _remove(out: Path) -> None:
    for path in (out / RECORD, out / SETTINGS, out / DICOM, *_images(out)):
        path.unlink(missing_ok=True)


def _images(out: Path) -> list[Path]:
    """The images in a folder that a rendering may have left there."""
    named = (path for pattern in ("mask_*.png", "object_*.png") for path in sorted(out.glob(pattern)))
    return [path for path in (*(out / name for name in FILES), *named) if path.exists()]


def _check_place(out: str | Path) -> None:
    check_folder(out)
    foreign = _images(Path(out))
    if foreign and not (Path(out) / RECORD).exists():
        raise DataError(f"{out} holds {foreign[0].name} and no {RECORD}: nerp did not finish it; choose another folder")


def read_record(path: Path, index: int = 0) -> PairRecord:
    """One record of a `metadata.jsonl`, or the one of a `record.json`.

    Args:
        path:  of the file.
        index: which of its records, from 0.

    Raises:
        UsageError: no such index.
        DataError:  no record there, or a damaged one.
    """
    records = [_whole(path)] if path.suffix == ".json" else read_records(path)
    if not 0 <= index < len(records):
        expected = f"expected 0 to {len(records) - 1}" if records else "make pairs first"
        raise UsageError(f"index is {index}, but {path} holds {len(records)} records; {expected}")
    return records[index]


def _whole(path: Path) -> PairRecord:
    try:
        values = json.loads(path.read_bytes())
    except (OSError, ValueError) as error:
        raise DataError(f"{path} cannot be read as a record ({error}); render the view again") from error
    return PairRecord.from_dict(values, where=f"record 0 of {path}")
