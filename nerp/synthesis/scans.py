"""A CT and its labels, read, varied where that is wanted, and ready to be rendered; what is doubtful is told."""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from nerp.camera import Camera
from nerp.camera.itk import ignored_directions
from nerp.errors import DataError
from nerp.label_maps import LabelMap, check_labels_on_ct, check_references, present_labels
from nerp.physics.truncation import truncation
from nerp.synthesis.generator import TrainedGenerator
from nerp.synthesis.inputs import open_ct, open_labels
from nerp.synthesis.settings import InputSettings, PairSettings
from nerp.synthesis.structures import lung_values
from nerp.synthesis.synthesiser import Synthesiser
from nerp.variation import Variation, Varied, finding_values, vary
from nerp.volume import Volume

UNVARIED = Variation()
"""A CT as it is."""

_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Scan:
    """A CT and its labels, read.

    Args:
        source:       the CT's file or folder.
        label_source: the labels', or None.
        ct:           `(1, D, H, W)` HU.
        labels:       on the same grid, or None.
        camera:       that views are drawn around, where it is known already.
        inputs:       how the CT was read.
    """

    source: str | Path
    label_source: str | Path | None
    ct: Volume
    labels: LabelMap | None
    camera: Camera | None = None
    inputs: InputSettings = field(default_factory=InputSettings)

    def base_camera(self, ct: Volume, settings: PairSettings) -> Camera:
        """The camera that views of a CT are drawn around; it is found once for the CT as it was read.

        Args:
            ct:       `(1, D, H, W)` HU, as it is rendered.
            settings: of the pairs.
        """
        return settings.base_camera(ct) if self.camera is None or ct is not self.ct else self.camera


def is_compact(settings: PairSettings) -> bool:
    """Whether a CT and its labels may be kept as they are stored: line integrals of the CT as it is ask for no more."""
    return settings.mode == "drr" and not settings.varies


Opener = Callable[[bool], tuple[Volume, InputSettings]]
"""Reads a CT, compact or not, and says how; for CTs of which a table tells what their file does not."""


def open_scan(ct: str | Path, labels: str | Path | None, settings: PairSettings, opener: Opener | None = None) -> Scan:
    """Read a CT and its labels; what the CT cuts is warned of in mode `physics`, ignored directions in mode `itk`.

    Args:
        ct:       a file or the folder of a DICOM series.
        labels:   of the CT; None for images without masks.
        settings: of the pairs.
        opener:   reads the CT instead; None goes by the settings.

    Raises:
        VolumeError, DataError: see `read_volume`, `read_label_map`.
    """
    compact, inputs = is_compact(settings), settings.inputs
    if opener is None:
        volume = open_ct(ct, inputs, compact=compact)
    else:
        volume, inputs = opener(compact)
    camera = settings.base_camera(volume) if settings.mode == "physics" else None
    if camera is not None and (cut := truncation(volume, camera).warning):
        _log.warning("%s: %s", ct, cut)
    if settings.mode == "itk" and (ignored := ignored_directions(volume)):
        _log.warning("%s: %s", ct, ignored)
    found = None if labels is None else open_labels(labels, volume, settings.inputs, compact=compact)
    return Scan(ct, labels, volume, found, camera, inputs)


def ready(
    scan: Scan, settings: PairSettings, generator: TrainedGenerator | None, variation: Variation = UNVARIED
) -> tuple[Synthesiser, dict[str, Any]]:
    """A CT and its labels, ready to be rendered, and what a record says of how they were varied.

    Args:
        scan:      both, read.
        settings:  of the pairs.
        generator: for the modes that need one.
        variation: of the CT.

    Raises:
        DataError, UsageError, GeometryError: see `Synthesiser` and `vary`.
    """
    common: dict[str, Any] = {"settings": settings, "generator": generator}
    try:
        varied = _varied(scan, settings, variation)
        if varied.labels is None:
            return Synthesiser(varied.ct, **common), varied.record
        labels, names = varied.labels.volume, varied.labels.names
        made = Synthesiser(varied.ct, labels, label_names=names, **common)
        made.before = varied.before
        return made, varied.record
    except DataError as error:
        raise DataError(f"{scan.label_source or scan.source}: {error}") from error


def _varied(scan: Scan, settings: PairSettings, variation: Variation) -> Varied:
    if scan.labels is None or not variation.any:
        return vary(scan.ct, scan.labels, variation, lungs=(), values={})
    names, labels = {**scan.labels.names, **settings.mask.label_names}, scan.labels.volume
    values = finding_values(names, sorted(present_labels(labels)))
    return vary(scan.ct, scan.labels, variation, lungs=sorted(lung_values(scan.ct, labels, names)), values=values)


def check_scan(scan: Scan, made: Synthesiser, inputs: InputSettings) -> None:
    """Warn of what is doubtful about a CT and its labels.

    Args:
        scan:   both, as read.
        made:   from them, which tells the masks.
        inputs: whether to refuse instead.

    Raises:
        DataError: something is, and `strict` is set.
    """
    if scan.labels is None or scan.label_source is None or made.labels is None:
        return
    ct, labels, outside = made.ct, made.labels.to("cpu"), scan.labels.outside
    findings = check_references(scan.label_source, scan.source)
    findings += [
        f"{_called(one.name)}{finding}"
        for one in made.plan.structures
        for finding in check_labels_on_ct(ct, labels, one.labels, made.label_names, outside=outside)
    ]
    _tell(scan.label_source, findings, inputs)


def _called(name: str) -> str:
    return f"mask {name}: " if name else ""


def _tell(path: str | Path, findings: Sequence[str], inputs: InputSettings) -> None:
    """Warn of findings, or refuse the first where nothing doubtful is wanted."""
    if findings and inputs.strict:
        raise DataError(f"{path}: {'; '.join(findings)}; correct it, or leave out --strict")
    for finding in findings:
        _log.warning("%s: %s", path, finding)
