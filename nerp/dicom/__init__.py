"""DICOM CTs as one grid: the series is chosen, its geometry proven, then its pixels read.

Slices are stacked by position, never by file name, and the affine is taken from the positions, so a
tilted gantry stays tilted. What is missing or doubled is an error: a stretched chest is worse.
"""

from __future__ import annotations

import logging
import re
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from nerp.dicom.frames import Frame
from nerp.dicom.headers import DicomFile, is_dicom, text
from nerp.dicom.pixels import check_hounsfield, check_pixels, hounsfield
from nerp.dicom.series import (
    FoundCT,
    Series,
    Survey,
    choose,
    find_series,
    holds_series,
    list_series,
    passed_over,
    survey,
)
from nerp.dicom.stacking import Stack, interpolated, stacked
from nerp.errors import VolumeError
from nerp.formats import MAX_VOXELS, RAS_FROM_LPS, Grid, checked_shape

__all__ = [
    "FoundCT",
    "Series",
    "check_series",
    "find_series",
    "holds_series",
    "is_dicom",
    "list_series",
    "read_series",
    "series_files",
]

MAPS = re.compile(r"PERFUSION|R?CBF|R?CBV|MTT|TTP|TMAX|\bPBV\b")
"""Words of ImageType by which maps of blood flow, which are no HU, are known."""


LOSSY = tuple(f"1.2.840.10008.1.2.4.{number}" for number in (50, 51, 53, 55, 81))
"""Transfer syntaxes that lose something: JPEG but for 57 and 70, near-lossless JPEG-LS (DICOM PS3.5, annex A)."""


def read_series(path: str | Path, *, series: str | int | None = None, max_voxels: int = MAX_VOXELS) -> Grid:
    """Stack one CT series.

    Args:
        path:       a folder of slices, one whose series lie below it, an enhanced CT, or a DICOMDIR; what is no
                    DICOM image is passed over, localizers and reports are left out and told of.
        series:     SeriesNumber, SeriesInstanceUID or a part of the SeriesDescription, where there are several.
        max_voxels: a series that promises more is refused before its pixels are read.

    Returns:
        values (columns, rows, slices) float32 HU, affine (4, 4) to world RAS+ mm. Slices of a few constant
        distances are interpolated linearly to the smallest, with a warning.

    Raises:
        VolumeError: no CT here, several series and none chosen, slices missing, doubled or of unequal
            geometry, a header that cannot be, too many voxels, pixels that cannot be decoded.
    """
    path = Path(path)
    chosen, stack, remarks = _proven(path, series, max_voxels)
    for remark in remarks:
        logging.getLogger(__name__).warning("%s: %s", path, remark)
    first = stack.frames[0]
    values = np.empty((len(stack.frames), first.rows, first.columns), np.float32)
    places: dict[Path, list[int]] = {}
    for place, frame in enumerate(stack.frames):
        places.setdefault(frame.file.path, []).append(place)
    for file in chosen.files:
        values[places[file.path]] = hounsfield(file, [stack.frames[place] for place in places[file.path]])
    if stack.planes != len(values):
        values = interpolated(values, stack.heights, stack.planes)
    return values.T, RAS_FROM_LPS @ stack.affine


def check_series(path: str | Path, series: str | int | None = None) -> None:
    """Make sure that a series can be read as far as headers and the length of its files tell; fast.

    Args:
        path:   as for `read_series`.
        series: likewise.

    Raises:
        VolumeError: as `read_series`, but for pixels that turn out damaged when they are decompressed.
    """
    for file in _proven(Path(path), series, MAX_VOXELS)[0].files:
        check_hounsfield(file)
        check_pixels(file)


def series_files(path: str | Path, series: str | int | None = None) -> list[Path]:
    """The files that make up a series, and no others; empty where a path holds no CT in DICOM.

    Args:
        path:   as for `read_series`.
        series: likewise.

    Raises:
        VolumeError: several series and none chosen, or none that fits.
    """
    found = survey(Path(path))
    return [file.path for file in choose(Path(path), found, series).files] if found.series else []


def _proven(path: Path, series: str | int | None, max_voxels: int) -> tuple[Series, Stack, list[str]]:
    """The chosen series with its planes in order, and what there is to say about it."""
    found = survey(path)
    chosen = choose(path, found, series)
    _check_whole(path, found, chosen)
    frames = chosen.frames()
    if len(frames) == 1 and path.is_file():
        raise VolumeError(
            f"{path}: one DICOM slice is not a volume; give the folder that holds its series: {path.parent}"
        )
    stack = stacked(path, frames)
    shape = (stack.frames[0].columns, stack.frames[0].rows, stack.planes)
    checked_shape(path, shape, max_voxels=max_voxels)
    left_out = passed_over(found, chosen)
    remarks = [f"left out {left_out}" if left_out else "", stack.remark, _remark_on_scale(frames)]
    remarks += [_remark_on_kind(chosen.files[0]), _remark_on_loss(chosen.files)]
    return chosen, stack, [remark for remark in remarks if remark]


def _check_whole(path: Path, found: Survey, chosen: Series) -> None:
    """A damaged file may be the last slice: its loss would shorten the chest without a gap."""
    beside = {file.path.parent for file in chosen.files}
    unnamed = [one.files[0] for one in found.series.values() if one is not chosen and len(one) == 1]
    damaged = [file.path for file in unnamed if not text(file.header, "SeriesInstanceUID")] + found.damaged
    damaged += [other for other, uid in found.others if uid == chosen.uid]
    damaged = [lost for lost in damaged if lost.parent in beside]
    if damaged:
        raise VolumeError(
            f"{damaged[0]}: is damaged or no CT and lies among the slices of {path}; fetch it again or move it out"
        )


def _remark_on_scale(frames: list[Frame]) -> str:
    scales = {(frame.slope or 1.0, frame.intercept or 0.0) for frame in frames}
    listed = ", ".join(f"{slope:g} and {intercept:g}" for slope, intercept in sorted(scales)[:3])
    return f"slices differ in their rescale (slope and intercept {listed}); each has its own" if len(scales) > 1 else ""


def _remark_on_kind(file: DicomFile) -> str:
    kind = text(file.header, "ImageType")
    is_map = MAPS.search(kind.upper()) or text(file.header, "PixelPresentation") in ("COLOR", "MIXED")
    return f"ImageType is {kind}: a map made of CTs, whose values may be no HU" if is_map else ""


def _remark_on_loss(files: Sequence[DicomFile]) -> str:
    lossy = sum(text(file.header, "LossyImageCompression") == "01" or file.syntax in LOSSY for file in files)
    return f"{lossy} of {len(files)} files were compressed with loss; their HU are near, not exact" if lossy else ""
