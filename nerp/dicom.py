"""A folder of CT slices as one grid: the series is chosen, its geometry proven, then its pixels read.

Slices are stacked by position, never by file name, and the affine is taken from the positions, so a
tilted gantry stays tilted. What is missing or doubled is an error: a stretched chest is worse.
"""

from __future__ import annotations

import warnings
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, TypeAlias

import numpy as np

from nerp.errors import VolumeError
from nerp.formats import MAX_VOXELS, RAS_FROM_LPS, Grid, checked_shape, read_slice

if TYPE_CHECKING:
    from pydicom import Dataset

    Slice: TypeAlias = tuple[Path, Dataset]

POSITION_MM = 0.01
"""Two slices closer than this lie at the same place."""

PLACE_TAGS = ["PixelSpacing", "ImagePositionPatient", "ImageOrientationPatient"]
IMAGE_TAGS = ["Modality", "SeriesInstanceUID", "Rows", "Columns", "NumberOfFrames", "SamplesPerPixel"]
SCALE_TAGS = ["RescaleSlope", "RescaleIntercept"]


def read_series(folder: Path, *, series: str | None = None, max_voxels: int = MAX_VOXELS) -> Grid:
    """Stack one CT series of a folder.

    Args:
        folder:     holds the slices directly; files that are not DICOM images are passed over.
        series:     SeriesInstanceUID, needed where the folder holds several.
        max_voxels: a series that promises more is refused before its pixels are read.

    Returns:
        values (columns, rows, slices) float32 HU, affine (4, 4) to world RAS+ mm.

    Raises:
        VolumeError: no CT here, several series and none chosen, slices missing, doubled or of unequal
            geometry, too many voxels, pixels that cannot be decoded.
    """
    slices = _choose(folder, list_series(folder), series)
    _check_alike(folder, slices)
    shape = checked_shape(folder, (slices[0][1].Columns, slices[0][1].Rows, len(slices)), max_voxels=max_voxels)
    slices, affine = _stack(folder, slices)
    values = np.empty(shape[::-1], np.float32)
    for plane, (path, header) in zip(values, slices, strict=True):
        plane[:] = _pixels(path, header)
    return values.T, RAS_FROM_LPS @ affine


def list_series(folder: Path) -> dict[str, list[Slice]]:
    """CT image series of a folder: SeriesInstanceUID to its `(path, header)` pairs, headers without pixels."""
    found: dict[str, list[Slice]] = {}
    for path in sorted(entry for entry in folder.iterdir() if entry.is_file()):
        header = _header(path)
        if header is not None and header.get("Modality") == "CT" and "Rows" in header:
            found.setdefault(str(header.get("SeriesInstanceUID", "")), []).append((path, header))
    return found


def holds_series(folder: Path) -> bool:
    """Whether any file directly in the folder is a CT slice; stops at the first."""
    entries = sorted(entry for entry in folder.iterdir() if entry.is_file())
    headers = (_header(entry) for entry in entries)
    return any(header is not None and header.get("Modality") == "CT" for header in headers)


def _header(path: Path) -> Dataset | None:
    import pydicom

    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)  # anonymised archives are full of harmless invalid fields
        try:
            return pydicom.dcmread(path, stop_before_pixels=True, specific_tags=[*IMAGE_TAGS, *PLACE_TAGS, *SCALE_TAGS])
        except (pydicom.errors.InvalidDicomError, EOFError):
            return None  # an annotation, a licence, a damaged stub: not a slice; a gap in the stack is seen later


def _choose(folder: Path, found: dict[str, list[Slice]], series: str | None) -> list[Slice]:
    if not found:
        raise VolumeError(f"{folder}: holds no CT slices in DICOM; expected one series directly in this folder")
    listing = ", ".join(f"{uid} ({len(slices)} slices)" for uid, slices in found.items())
    if series is not None and series not in found:
        raise VolumeError(f"{folder}: has no series {series}; it holds {listing}")
    if series is None and len(found) > 1:
        raise VolumeError(f"{folder}: holds {len(found)} series; choose one with series=: {listing}")
    return found[series] if series is not None else next(iter(found.values()))


def _check_alike(folder: Path, slices: list[Slice]) -> None:
    for path, header in slices:
        if int(header.get("NumberOfFrames") or 1) > 1:
            raise VolumeError(f"{path}: is a multi-frame DICOM; expected one slice a file: convert it to NIfTI first")
        missing = [tag for tag in PLACE_TAGS if header.get(tag) is None]
        if missing:
            raise VolumeError(f"{path}: has no {', '.join(missing)}; a slice without its place cannot be stacked")
    first = slices[0][1]
    for path, header in slices[1:]:
        for tag in ("Rows", "Columns", "SamplesPerPixel", "PixelSpacing", "ImageOrientationPatient"):
            if not np.allclose(_numbers(header, tag), _numbers(first, tag), atol=1e-3):
                raise VolumeError(
                    f"{folder}: slices differ in {tag} ({path.name}: {header.get(tag)}, "
                    f"{slices[0][0].name}: {first.get(tag)}); expected one stack: move the others out"
                )


def _numbers(header: Dataset, tag: str) -> np.ndarray:
    return np.atleast_1d(np.asarray(header.get(tag, 1), dtype=np.float64))


def _stack(folder: Path, slices: list[Slice]) -> tuple[list[Slice], np.ndarray]:
    """Slices from first to last along their normal, and the LPS affine of (column, row, slice)."""
    first = slices[0][1]
    rightwards, downwards = _numbers(first, "ImageOrientationPatient").reshape(2, 3)
    normal = np.cross(rightwards, downwards)
    heights = np.array([_numbers(header, "ImagePositionPatient") @ normal for _, header in slices])
    order = np.argsort(heights, kind="stable")
    slices, heights = [slices[i] for i in order], heights[order]
    _check_heights(folder, heights)
    places = np.stack([_numbers(header, "ImagePositionPatient") for _, header in slices])
    step = (places[-1] - places[0]) / (len(slices) - 1)
    strays = np.abs(places - places[0] - np.arange(len(slices))[:, None] * step).max(1)
    if strays.max() > max(0.1 * np.linalg.norm(step), 0.1):
        raise VolumeError(f"{folder}: slice at {heights[strays.argmax()]:.2f} mm is out of line; expected even steps")
    between_rows, between_columns = _numbers(first, "PixelSpacing")
    affine = np.eye(4)
    affine[:3] = np.stack([rightwards * between_columns, downwards * between_rows, step, places[0]], axis=1)
    return slices, affine


def _check_heights(folder: Path, heights: np.ndarray) -> None:
    if len(heights) < 2:
        raise VolumeError(f"{folder}: holds 1 slice; expected at least 2 to know their distance")
    gaps = np.diff(heights)
    doubled = heights[1:][gaps < POSITION_MM]
    if len(doubled):
        raise VolumeError(f"{folder}: {len(doubled)} slices doubled, at {_listed(doubled)} mm; remove the copies")
    step = np.sort(gaps)[(len(gaps) - 1) // 2]
    missing = [
        low + step * number
        for low, gap in zip(heights[:-1], gaps, strict=True)
        for number in range(1, round(gap / step))
    ]
    if missing:
        raise VolumeError(f"{folder}: {len(missing)} slices missing, at {_listed(missing)} mm; fetch the series again")
    if np.abs(gaps - step).max() > max(0.1 * step, 0.1):
        found = Counter(np.round(gaps, 2).tolist()).most_common(3)
        steps = ", ".join(f"{gap:g} mm ({count} times)" for gap, count in found)
        raise VolumeError(f"{folder}: slices are unevenly spaced, {steps}; resample them to one distance first")


def _listed(positions: Sequence[float] | np.ndarray) -> str:
    shown = ", ".join(f"{position:.2f}" for position in positions[:5])
    return f"{shown}, ... ({len(positions) - 5} more)" if len(positions) > 5 else shown


def _pixels(path: Path, header: Dataset) -> np.ndarray:
    """(rows, columns) HU of one slice; what pydicom cannot decompress by itself goes to GDCM."""
    import pydicom

    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)
        try:
            slice_ = pydicom.dcmread(path)
            if slice_.file_meta.TransferSyntaxUID.is_encapsulated:
                return read_slice(path)
            stored = slice_.pixel_array
        except (ValueError, AttributeError, RuntimeError, EOFError, OSError) as error:
            reason = (str(error).strip() or type(error).__name__).splitlines()[-1]
            raise VolumeError(f"{path}: its pixels cannot be read ({reason}); fetch the slice again") from error
    if stored.shape != (header.Rows, header.Columns):
        raise VolumeError(
            f"{path}: holds {stored.shape} values; expected one number a pixel, ({header.Rows}, {header.Columns})"
        )
    slope, intercept = header.get("RescaleSlope"), header.get("RescaleIntercept")
    return stored.astype(np.float32) * float(1 if slope is None else slope) + float(intercept or 0)
