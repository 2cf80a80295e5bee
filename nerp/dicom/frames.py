"""One plane of a CT with its place and its scale: a classic slice, or a frame of an enhanced CT."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from nerp.dicom.headers import CT_CLASSES, GROUP_TAGS, PLACE_TAGS, DicomFile, number, numbers, text, whole
from nerp.errors import VolumeError

if TYPE_CHECKING:
    from pydicom import Dataset

SPACING_MM = (0.01, 100.0)
POSITION_MM = 1e5
SLOPE, INTERCEPT_HU = (1e-6, 1e4), 1e6
MOST_FRAMES = 100_000

SEQUENCES = {
    "PixelSpacing": "PixelMeasuresSequence",
    "ImagePositionPatient": "PlanePositionSequence",
    "ImageOrientationPatient": "PlaneOrientationSequence",
    "RescaleSlope": "PixelValueTransformationSequence",
    "RescaleIntercept": "PixelValueTransformationSequence",
    "RescaleType": "PixelValueTransformationSequence",
}
"""Functional groups that hold what classic slices hold directly (DICOM PS3.3, C.7.6.16.2)."""

OTHER_SCALES = ("OD", "MGML", "Z_EFF", "ED", "EDW", "PCT")
"""RescaleType of maps that are not in HU (DICOM PS3.3, C.11.1.1.2)."""


@dataclass(frozen=True)
class Frame:
    """A plane of a CT.

    Args:
        file:        that holds it.
        index:       among the file's frames, 0 in a classic slice.
        rows:        of its pixels.
        columns:     of its pixels.
        spacing:     (2,) mm between rows, between columns.
        position:    (3,) LPS mm of the first pixel's centre.
        orientation: (6,) unit vectors along a row, along a column, LPS.
        slope:       HU per stored unit; None where the file does not say.
        intercept:   HU of a stored 0; None where the file does not say.
        instance:    InstanceNumber of a classic slice, where it has one.
    """

    file: DicomFile
    index: int
    rows: int
    columns: int
    spacing: np.ndarray
    position: np.ndarray
    orientation: np.ndarray
    slope: float | None
    intercept: float | None
    instance: int | None

    @property
    def normal(self) -> np.ndarray:
        """(3,) unit vector across the plane, LPS; slices are ordered along it."""
        return np.cross(self.orientation[:3], self.orientation[3:])


def n_frames(file: DicomFile) -> int:
    """How many planes a file says to hold.

    Raises:
        VolumeError: not a whole number from 1.
    """
    return whole(file, "NumberOfFrames", 1, MOST_FRAMES, default=1)


def is_enhanced(file: DicomFile) -> bool:
    """Whether a file keeps places and scales in functional groups, as enhanced CTs do."""
    return file.storage in CT_CLASSES[1:] or any(keyword in file.header for keyword in GROUP_TAGS)


def frames_of(file: DicomFile) -> list[Frame]:
    """The planes of a file in the order in which they are stored.

    Raises:
        VolumeError: a place, size or scale that is missing or cannot be.
    """
    count = n_frames(file)
    if count > 1 and not is_enhanced(file):
        raise VolumeError(
            f"{file.path}: is a multi-frame DICOM of {count} frames without functional groups; expected the place of "
            "each frame: convert it to NIfTI first"
        )
    rows, columns = whole(file, "Rows", 1, 65535), whole(file, "Columns", 1, 65535)
    instance = number(file, file.header, "InstanceNumber", -(2**31), 2**31) if count == 1 else None
    return [_frame(file, index, rows, columns, None if instance is None else int(instance)) for index in range(count)]


def _frame(file: DicomFile, index: int, rows: int, columns: int, instance: int | None) -> Frame:
    places = {keyword: _group(file, index, keyword) for keyword in (*PLACE_TAGS, *SEQUENCES)}
    spacing = numbers(file, places["PixelSpacing"], "PixelSpacing", 2, *SPACING_MM)
    position = numbers(file, places["ImagePositionPatient"], "ImagePositionPatient", 3, -POSITION_MM, POSITION_MM)
    orientation = numbers(file, places["ImageOrientationPatient"], "ImageOrientationPatient", 6, -1.01, 1.01)
    if spacing is None or position is None or orientation is None:
        missing = [
            name for name, value in zip(PLACE_TAGS, (spacing, position, orientation), strict=True) if value is None
        ]
        raise VolumeError(f"{file.path}: has no {', '.join(missing)}; a slice without its place cannot be stacked")
    _check_orientation(file, orientation)
    _check_scale(file, places["RescaleType"])
    slope = number(file, places["RescaleSlope"], "RescaleSlope", *SLOPE)
    intercept = number(file, places["RescaleIntercept"], "RescaleIntercept", -INTERCEPT_HU, INTERCEPT_HU)
    return Frame(file, index, rows, columns, spacing, position, orientation, slope, intercept, instance)


def _group(file: DicomFile, index: int, keyword: str) -> Dataset:
    """The part of a header that holds a tag for one frame: its own group, the shared group, or the header."""
    for groups, item in (("PerFrameFunctionalGroupsSequence", index), ("SharedFunctionalGroupsSequence", 0)):
        try:
            part = file.header[groups].value[item][SEQUENCES[keyword]].value[0]
        except Exception:  # no such group, fewer frames than promised, or one that pydicom cannot parse
            continue
        if keyword in part:
            return part
    return file.header


def _check_orientation(file: DicomFile, orientation: np.ndarray) -> None:
    axes = orientation.reshape(2, 3)
    if not np.allclose(axes @ axes.T, np.eye(2), atol=1e-2):
        raise VolumeError(
            f"{file.path}: ImageOrientationPatient is '{text(_group(file, 0, PLACE_TAGS[2]), PLACE_TAGS[2])}'; "
            "expected two perpendicular unit vectors: repair the header or fetch the file again"
        )


def _check_scale(file: DicomFile, scale: Dataset) -> None:
    kind = text(scale, "RescaleType").upper()
    if kind in OTHER_SCALES:
        raise VolumeError(
            f"{file.path}: RescaleType is {kind!r}; expected HU: give the CT itself, not a map made of it"
        )
    if "ModalityLUTSequence" in file.header and "RescaleSlope" not in file.header:
        raise VolumeError(f"{file.path}: its HU are in a ModalityLUTSequence; expected RescaleSlope: convert it first")
