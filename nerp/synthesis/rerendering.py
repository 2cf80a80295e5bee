"""What a record needs to be rendered again: its settings, its CT and labels by their hashes, its trained run."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from nerp.data.records import PairRecord
from nerp.data.source_files import SourceFile
from nerp.errors import CheckpointError, ConfigError, DataError, UsageError
from nerp.label_maps import LabelMap
from nerp.physics.beam import Beam
from nerp.physics.detector import Detector
from nerp.physics.film import Film
from nerp.physics.settings import Physics
from nerp.projection import available_backends
from nerp.settings import Settings
from nerp.synthesis.chance import ObjectSettings
from nerp.synthesis.generator import TrainedGenerator
from nerp.synthesis.inputs import open_ct, open_labels
from nerp.synthesis.matching import find_by_hash
from nerp.synthesis.settings import InputSettings, PairSettings
from nerp.variation import Variation, Varied, vary
from nerp.volume import Volume

SECTIONS: dict[str, type[Settings]] = {"beam": Beam, "detector": Detector, "film": Film, "physics": Physics}
"""What a record keeps of how a physical radiograph was made."""

_log = logging.getLogger(__name__)


def recorded_volumes(
    record: PairRecord, inputs: InputSettings, *, ct: str | Path, labels: str | Path | None
) -> tuple[Volume, Volume | None, SourceFile, SourceFile | None]:
    """The CT and the labels that a record names, read, and where they were found by their hashes.

    Args:
        record: of a pair.
        inputs: how they are read.
        ct:     the file, or a folder to search.
        labels: likewise; needed where the pair has a mask.

    Returns:
        CT `(1, D, H, W)` HU; labels `(M, D, H, W)` on its grid, or None; the file of each.

    Raises:
        DataError:  none has the hash.
        UsageError: labels are needed and not given.
    """
    source = find_by_hash(ct, record.ct_sha256, "CT")
    inputs = replace(inputs, series=source.series)
    volume, opened, label_source = open_ct(source.path, inputs), None, None
    if record.labels_sha256 is not None:
        if labels is None:
            raise UsageError(f"pair {record.id} has a mask; give its labels, a file or a folder to search")
        label_source = find_by_hash(labels, record.labels_sha256, "labels")
        opened = open_labels(label_source.path, volume, inputs)
    varied = recorded_variation(volume, opened, record.variation)
    return varied.ct, None if varied.labels is None else varied.labels.volume, source, label_source


def recorded_variation(ct: Volume, labels: LabelMap | None, values: Mapping[str, Any]) -> Varied:
    """A CT and its labels, varied as a record says.

    Args:
        ct:     `(1, D, H, W)` HU.
        labels: on the same grid, or None.
        values: of the record's `variation`.

    Raises:
        DataError: the record is damaged.
    """
    variation = Variation.from_dict(values)
    try:
        lungs = [int(value) for value in values.get("lungs", ())]
        numbers = {str(one["kind"]): int(one["label"]) for one in values.get("findings", ())}
    except (KeyError, TypeError, ValueError) as error:
        raise DataError(f"a record's variation is damaged ({error}); restore the records") from error
    return vary(ct, labels, variation, lungs=lungs, values=numbers)


def recorded_settings(record: PairRecord, device: str) -> PairSettings:
    """The settings that matter to one recorded pair; what its masks show is told by `plan_of`.

    Args:
        record: of the pair.
        device: `auto`, `cpu` or `cuda`.

    Raises:
        DataError, ConfigError: the record is damaged.
    """
    try:
        on_grid = record.labels_on_ct_grid
        inputs = InputSettings.of_reading(record.ct_reading, labels_on_ct_grid=on_grid, max_voxels=2**40)
        backend = _live_backend(record)
        made: dict[str, Any] = {
            name: _section(kind, record.physics[name]) for name, kind in SECTIONS.items() if name in record.physics
        }
        objects = ObjectSettings(samples=record.physics.get("object_samples", ObjectSettings.samples))
        common: dict[str, Any] = {"inputs": inputs, "device": device, "backend": backend, "objects": objects}
        common["bits"] = record.display.get("bits", 8)
        return PairSettings(mode=record.mode, allow_empty=True, **common, **made)
    except ConfigError:
        raise
    except (AttributeError, KeyError, TypeError, ValueError) as error:
        raise DataError(f"record {record.id} is damaged ({error}); restore the records") from error


def _section(kind: type[Settings], values: dict[str, Any]) -> Settings:
    """Settings of a section from JSON values."""
    return kind(**{name: tuple(value) if isinstance(value, list) else value for name, value in values.items()})


def _live_backend(record: PairRecord) -> str:
    """The recorded backend where it is live, else the reference, which is told."""
    why = available_backends().get(record.backend, "unknown")
    if why == "live" or record.backend == "auto":
        return record.backend
    _log.warning("backend %r of the record is not live (%s); rendered by 'reference'", record.backend, why)
    return "reference"


def check_weights(record: PairRecord, generator: TrainedGenerator | None, run: str | Path | None) -> None:
    """Make sure that a trained generator is the one that a record names.

    Args:
        record:    of a pair.
        generator: of a run, or None.
        run:       its folder, for the message.

    Raises:
        CheckpointError: it has other weights or settings.
    """
    for key in ("weights_sha256", "config_sha256") if generator is not None else ():
        found, expected = getattr(generator, key), getattr(record, key)
        if found != expected:
            what = key.removesuffix("_sha256")
            raise CheckpointError(
                f"{run} has another {what} (SHA-256 {found[:12]}…) than pair {record.id} was made with "
                f"({str(expected)[:12]}…); give the run it was made with"
            )
