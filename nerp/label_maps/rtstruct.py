"""Contours of radiotherapy structure sets, filled on the slices of a CT."""

from __future__ import annotations

import logging
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from nerp.errors import VolumeError
from nerp.formats import RAS_FROM_LPS
from nerp.label_maps.dicom_kind import dicom_header, understood
from nerp.label_maps.stored import CONVERT, StoredMaps, Structure, pack
from nerp.volume import MAX_LABEL, Volume

log = logging.getLogger(__name__)

FILLED = ("CLOSED_PLANAR", "CLOSEDPLANAR_XOR")
OFF_PLANE = 0.1
"""A contour's points lie in one plane, and those of two in one plane, if they are no further apart, in voxels."""
MOST_OUTSIDE = 0.1
"""A larger share of the contours outside the CT is told."""


def read_rtstruct(path: Path, like: Volume | None, *, max_voxels: int) -> StoredMaps:
    """The regions of a structure set on a CT's own grid: a voxel is inside where its centre is.

    A point lies inside where a line from it crosses an odd number of outlines, so that a contour within
    another is a hole. Each slice takes the contours of the plane nearest to it, at most half the distance
    between the region's planes away.

    Args:
        path:       of the file.
        like:       the CT, (C, D, H, W); its grid takes the labels.
        max_voxels: more, in all maps together, are refused.

    Raises:
        VolumeError: no CT given, damaged, no filled contour, or contours that are not parallel to its slices.
    """
    if like is None:
        raise VolumeError(f"{path}: is an RTSTRUCT, contours without voxels; give its CT with it (like=)")
    with understood(path, "RTSTRUCT"):
        header = dicom_header(path)
        names = _names(path, header)
        contours = _contours(path, header, names)
    index_from_lps = np.linalg.inv(like.affine.numpy()) @ RAS_FROM_LPS
    placed = {
        value: [points @ index_from_lps[:3, :3].T + index_from_lps[:3, 3] for points in lines]
        for value, lines in contours.items()
    }
    axis = _axis(path, [points for lines in placed.values() for points in lines])
    _tell_outside(path, placed, like)
    maps = pack(path, _structures(path, placed, names, like, axis), like.shape, max_voxels=max_voxels)
    return StoredMaps(maps, like.affine.numpy(), names, is_on_like=True)


def check_rtstruct(path: Path) -> None:
    """Refuse a structure set without a filled contour, or with damaged ones."""
    with understood(path, "RTSTRUCT"):
        header = dicom_header(path)
        _contours(path, header, _names(path, header, tell=False), tell=False)


def _names(path: Path, header: Any, *, tell: bool = True) -> dict[int, str]:
    """Names by the regions' numbers; refused where two regions have one number."""
    rois = list(header.StructureSetROISequence)
    numbers = [int(roi.ROINumber) for roi in rois]
    if len(set(numbers)) < len(numbers) or not all(0 <= number < MAX_LABEL - 1 for number in numbers):
        raise VolumeError(f"{path}: numbers of the RTSTRUCT's regions are not distinct and >= 0; {CONVERT}")
    frames = {str(roi.get("ReferencedFrameOfReferenceUID") or "") for roi in rois} - {""}
    known = {
        str(part.get("FrameOfReferenceUID") or "") for part in header.get("ReferencedFrameOfReferenceSequence", [])
    }
    if len(frames) > 1:
        raise VolumeError(f"{path}: regions of the RTSTRUCT lie in {len(frames)} frames of reference; {CONVERT}")
    if tell and not frames <= known:
        log.warning("%s: the RTSTRUCT does not say which images it belongs to; it is placed by its coordinates", path)
    shift = _shift(numbers)
    if shift and tell:
        log.warning("%s: numbers its regions from 0; here they are numbered from 1", path)
    return {
        number + shift: str(roi.get("ROIName") or f"region {number}").strip()
        for number, roi in zip(numbers, rois, strict=True)
    }


def _shift(numbers: Sequence[int]) -> int:
    return 1 if 0 in numbers else 0


def _contours(path: Path, header: Any, names: Mapping[int, str], *, tell: bool = True) -> dict[int, list[np.ndarray]]:
    """LPS mm (N, 3) of each region's filled contours; regions without any are told."""
    shift = _shift([int(roi.ROINumber) for roi in header.StructureSetROISequence])
    found: dict[int, list[np.ndarray]] = {value: [] for value in names}
    for roi in header.get("ROIContourSequence", []):
        value = int(roi.ReferencedROINumber) + shift
        if value not in found:
            raise VolumeError(
                f"{path}: RTSTRUCT has contours of region {value - shift}, which it does not name; {CONVERT}"
            )
        found[value] += [_points(path, one) for one in roi.get("ContourSequence", []) if _is_filled(one)]
    empty = [names[value] for value, lines in found.items() if not lines]
    if len(empty) == len(found):
        raise VolumeError(
            f"{path}: no region of the RTSTRUCT has a closed contour; expected outlines in the CT's slices"
        )
    if empty and tell:
        more = f" and {len(empty) - 8} more" if len(empty) > 8 else ""
        log.warning("%s: no closed contour for %s%s; nothing to fill", path, ", ".join(empty[:8]), more)
    return found


def _is_filled(contour: Any) -> bool:
    return str(contour.get("ContourGeometricType")) in FILLED and len(contour.get("ContourData") or ()) > 0


def _points(path: Path, contour: Any) -> np.ndarray:
    numbers = np.array([float(value) for value in contour.ContourData])
    if len(numbers) % 3 or not np.isfinite(numbers).all() or np.abs(numbers).max() > 1e5:
        raise VolumeError(
            f"{path}: RTSTRUCT has a contour of {len(numbers)} numbers, or none of them points; fetch it again"
        )
    return numbers.reshape(-1, 3)


def _axis(path: Path, contours: list[np.ndarray]) -> int:
    """The CT's index axis across which all contours lie."""
    spread = np.max([np.ptp(points, axis=0) for points in contours], axis=0)
    axis = int(spread.argmin())
    if spread[axis] > OFF_PLANE:
        off = f"{spread[axis]:.2g} voxels off"
        raise VolumeError(f"{path}: contours of the RTSTRUCT are not parallel to the CT's slices ({off}); {CONVERT}")
    return axis


def _tell_outside(path: Path, placed: Mapping[int, list[np.ndarray]], like: Volume) -> None:
    contours = [points for lines in placed.values() for points in lines]
    ends = np.array(like.shape) - 0.5
    far = [points for points in contours if (points.max(axis=0) < -0.5).any() or (points.min(axis=0) > ends).any()]
    if len(far) > MOST_OUTSIDE * len(contours):
        counts = f"{len(far)} of {len(contours)}"
        log.warning("%s: %s contours lie outside the CT; check that both are of one patient", path, counts)


def _structures(
    path: Path, placed: Mapping[int, list[np.ndarray]], names: Mapping[int, str], like: Volume, axis: int
) -> Iterator[Structure]:
    across = tuple(other for other in range(3) if other != axis)
    for value, lines in sorted(placed.items()):
        mask = np.zeros(like.shape, bool)
        slices = np.moveaxis(mask, axis, 0)
        planes = _planes(lines, axis)
        distances = np.diff(sorted(planes))
        reach = max(0.5, distances.min() / 2) if len(distances) else 0.5
        if reach > 0.75:
            told = "each slice takes the nearest"
            log.warning("%s: contours of %r lie %.3g slices of the CT apart; %s", path, names[value], 2 * reach, told)
        for number, plane in _nearest_planes(list(planes), len(slices), reach):
            slices[number] = fill([points[:, across] for points in planes[plane]], slices.shape[1:])
        yield value, mask


def _planes(lines: Sequence[np.ndarray], axis: int) -> dict[float, list[np.ndarray]]:
    """Contours of each plane, by the plane's place along the axis, in voxels."""
    planes: dict[float, list[np.ndarray]] = {}
    for points in sorted(lines, key=lambda points: float(points[:, axis].mean())):
        place = float(points[:, axis].mean())
        last = next(reversed(planes), None)
        own = last if last is not None and place - last <= OFF_PLANE else place
        planes.setdefault(own, []).append(points)
    return planes


def _nearest_planes(planes: Sequence[float], n_slices: int, reach: float) -> Iterator[tuple[int, float]]:
    for number in range(n_slices):
        nearest = min(planes, key=lambda place: (abs(place - number), place), default=None)
        if nearest is not None and abs(nearest - number) <= reach + 1e-6:
            yield number, nearest


def fill(outlines: Sequence[np.ndarray], shape: tuple[int, ...]) -> np.ndarray:
    """(H, W) bool: pixels whose centres an odd number of outlines surround.

    Args:
        outlines: each (N, 2), rows and columns in pixels; closed from the last point to the first.
        shape:    (H, W).
    """
    toggles = np.zeros((shape[0], shape[1] + 1), np.int32)
    for points in outlines:
        for (row, column), (next_row, next_column) in zip(points, np.roll(points, -1, axis=0), strict=True):
            low, high = sorted((row, next_row))
            rows = np.arange(max(0, int(np.ceil(low))), min(shape[0], int(np.ceil(high))))
            if len(rows):
                crossings = column + (rows - row) * (next_column - column) / (next_row - row)
                toggles[rows, np.clip(np.ceil(crossings), 0, shape[1]).astype(int)] += 1
    return np.cumsum(toggles, axis=1)[:, :-1] % 2 == 1
