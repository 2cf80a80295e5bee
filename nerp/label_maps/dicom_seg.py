"""DICOM segmentations: binary, overlapping, fractional and label maps, their frames put in place."""

from __future__ import annotations

import logging
import warnings
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from nerp.errors import VolumeError
from nerp.formats import RAS_FROM_LPS
from nerp.label_maps.dicom_kind import dicom_header, understood
from nerp.label_maps.stored import CONVERT, StoredMaps, Structure, check_voxels, one_line, pack, placed
from nerp.volume import MAX_LABEL, Volume

log = logging.getLogger(__name__)

SAME_MM = 0.01
"""Frames closer than this lie in one slice."""
OFF_STEP = 0.1
"""So much of a slice's distance may frames lie beside the even steps of a stack."""
HALF = 0.5
"""A fractional segment counts where it covers at least so much of a voxel."""
MOST_FRAMES = 200_000


@dataclass(frozen=True)
class Frames:
    """Where the frames of a segmentation lie.

    Args:
        slices: the slice of each frame, from 0.
        shape:  (columns, rows, slices).
        affine: (4, 4) from voxel index to world RAS+ mm.
    """

    slices: list[int]
    shape: tuple[int, int, int]
    affine: np.ndarray


def read_dicom_seg(path: Path, like: Volume | None = None, *, max_voxels: int) -> StoredMaps:
    """The segments of a DICOM SEG on the stack of its frames; slices without a frame are empty.

    Args:
        path:       of the file.
        like:       the CT, whose (C, D, H, W) grid tells the slices' distance where the file does not.
        max_voxels: a header that promises more is refused before its pixels are decoded.

    Raises:
        VolumeError: damaged, frames without a place or at uneven distances, or pixels that cannot be decoded.
    """
    header = dicom_header(path, pixels=True)
    with understood(path, "SEG"):
        groups = _groups(path, header)
        frames = _frames(path, header, groups, like, max_voxels)
        names = _names(header)
        maps = _maps(path, header, groups, frames, max_voxels)
    return StoredMaps(maps, frames.affine, names)


def check_dicom_seg(path: Path, *, max_voxels: int) -> None:
    """Refuse a DICOM SEG whose header cannot be understood, before its pixels are read.

    Args:
        path:       of the file.
        max_voxels: a header that promises more is refused.
    """
    header = dicom_header(path)
    with understood(path, "SEG"):
        _frames(path, header, _groups(path, header), None, max_voxels)


def _groups(path: Path, header: Any) -> list[Any]:
    n_frames, groups = int(header.get("NumberOfFrames") or 0), list(header.get("PerFrameFunctionalGroupsSequence", []))
    if not 1 <= n_frames <= MOST_FRAMES or len(groups) != n_frames:
        raise VolumeError(f"{path}: DICOM SEG promises {n_frames} frames and describes {len(groups)}; fetch it again")
    return groups


def _names(header: Any) -> dict[int, str]:
    described = {int(segment.SegmentNumber): str(segment.get("SegmentLabel", "")) for segment in header.SegmentSequence}
    return {number: name.strip() for number, name in described.items() if 0 < number < MAX_LABEL and name.strip()}


def _of_group(path: Path, header: Any, group: Any, sequence: str) -> Any:
    """A functional group of a frame, or the one that all frames share."""
    for place in (group, *header.get("SharedFunctionalGroupsSequence", [])[:1]):
        if place.get(sequence):
            return place.get(sequence)[0]
    raise VolumeError(f"{path}: DICOM SEG has no {sequence}; without it frames have no place: {CONVERT}")


def _frames(path: Path, header: Any, groups: list[Any], like: Volume | None, max_voxels: int) -> Frames:
    """Slices of the frames, by the projection of their positions onto the normal."""
    rows, columns = int(header.Rows), int(header.Columns)
    check_voxels(path, (columns, rows, 1), max_voxels)
    axes = _axes(path, header, groups)
    positions = np.array(
        [_numbers(_of_group(path, header, group, "PlanePositionSequence").ImagePositionPatient, 3) for group in groups]
    )
    normal = np.cross(axes[:, 0], axes[:, 1])
    along = positions @ (normal / np.linalg.norm(normal))
    distinct, of_frame = _distinct(along)
    measures = _of_group(path, header, groups[0], "PixelMeasuresSequence")
    steps = _steps(path, distinct, measures, _like_step(distinct, like, normal))
    check_voxels(path, (columns, rows, int(steps[-1]) + 1), max_voxels)
    slices = steps[of_frame]
    lps = np.eye(4)
    lps[:3, :2] = axes
    lps[:3, 2], lps[:3, 3] = _line(path, slices, positions, normal, _single_step(measures))
    return Frames(slices.tolist(), (columns, rows, int(steps[-1]) + 1), placed(path, RAS_FROM_LPS @ lps))


def _axes(path: Path, header: Any, groups: list[Any]) -> np.ndarray:
    """(3, 2) LPS mm from column to column and from row to row, the same for all frames."""
    found = []
    for group in groups:
        cosines = _numbers(_of_group(path, header, group, "PlaneOrientationSequence").ImageOrientationPatient, 6)
        between_rows, between_columns = _numbers(
            _of_group(path, header, group, "PixelMeasuresSequence").PixelSpacing, 2
        )
        found.append(np.stack([cosines[:3] * between_columns, cosines[3:] * between_rows], axis=1))
    if not np.allclose(found, found[0], atol=1e-3):
        raise VolumeError(f"{path}: frames of the DICOM SEG differ in orientation or pixel spacing; {CONVERT}")
    return found[0]


def _numbers(values: Any, count: int) -> np.ndarray:
    numbers = np.asarray([float(value) for value in values])
    if numbers.shape != (count,) or not np.isfinite(numbers).all():
        raise ValueError(f"{count} numbers expected, found {list(values)}")
    return numbers


def _distinct(along: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Ascending positions along the normal, mm, and which of them each frame has."""
    order = np.argsort(along, kind="stable")
    is_next = np.diff(along[order], prepend=along[order[0]]) > SAME_MM
    rank = np.cumsum(is_next)
    of_frame = np.empty(len(along), int)
    of_frame[order] = rank
    return along[order][np.flatnonzero(np.r_[True, is_next[1:]])], of_frame


def _like_step(distinct: np.ndarray, like: Volume | None, normal: np.ndarray) -> float | None:
    """The CT's slice distance, mm, where its slices are parallel to the frames."""
    if like is None:
        return None
    ras = RAS_FROM_LPS[:3, :3] @ (normal / np.linalg.norm(normal))
    cosines = like.affine[:3, :3].numpy().T @ ras / np.array(like.spacing_mm)
    axis = int(np.abs(cosines).argmax())
    return float(like.spacing_mm[axis]) if abs(cosines[axis]) > 0.999 else None


def _steps(path: Path, distinct: np.ndarray, measures: Any, like_step: float | None) -> np.ndarray:
    """The slice of each distinct position: by the stated distance, else the CT's, else the smallest that is met."""
    if len(distinct) == 1:
        return np.zeros(1, int)
    gaps = np.diff(distinct)
    stated = measures.get("SpacingBetweenSlices")
    for step in (abs(float(stated)) if stated else None, like_step, float(gaps.min())):
        if step and np.isfinite(step) and step > SAME_MM:
            counts = np.rint(gaps / step)
            if counts.min() >= 1 and (np.abs(gaps / step - counts) <= OFF_STEP).all():
                return np.r_[0, np.cumsum(counts)].astype(int)
    listed = ", ".join(f"{gap:.4g}" for gap in sorted(set(gaps.round(3)))[:5])
    raise VolumeError(f"{path}: frames of the DICOM SEG lie at uneven distances ({listed} mm); {CONVERT}")


def _single_step(measures: Any) -> float:
    for key in ("SpacingBetweenSlices", "SliceThickness"):
        step = abs(float(measures.get(key) or 0))
        if np.isfinite(step) and step > SAME_MM:
            return step
    return 1.0


def _line(
    path: Path, slices: np.ndarray, positions: np.ndarray, normal: np.ndarray, single: float
) -> tuple[np.ndarray, np.ndarray]:
    """Step from slice to slice and place of slice 0, LPS mm, such that all frames lie on one line."""
    first = positions[slices.argmin()]
    if slices.max() == 0:
        return normal / np.linalg.norm(normal) * single, first
    step = (positions[slices.argmax()] - first) / slices.max()
    beside = np.linalg.norm(positions - first - slices[:, None] * step, axis=1).max()
    if beside > OFF_STEP * np.linalg.norm(step) + SAME_MM:
        raise VolumeError(f"{path}: frames of the DICOM SEG do not lie on one line ({beside:.3g} mm beside); {CONVERT}")
    return step, first


def _maps(path: Path, header: Any, groups: list[Any], frames: Frames, max_voxels: int) -> list[np.ndarray]:
    kind = str(header.get("SegmentationType", "BINARY"))
    if kind == "LABELMAP":
        return [_label_map(path, header, frames)]
    if kind not in ("BINARY", "FRACTIONAL"):
        raise VolumeError(f"{path}: is a DICOM SEG of type {kind[:20]!r}; expected BINARY, FRACTIONAL or LABELMAP")
    least = 1.0
    if kind == "FRACTIONAL":
        least = HALF * float(header.get("MaximumFractionalValue", 255))
        log.warning("%s: is a fractional DICOM SEG; a voxel counts where a segment's share is at least %g", path, HALF)
    numbers = [
        int(_of_group(path, header, group, "SegmentIdentificationSequence").ReferencedSegmentNumber) for group in groups
    ]
    structures = _structures(path, header, frames, numbers, least)
    return pack(path, structures, frames.shape, max_voxels=max_voxels)


def _structures(path: Path, header: Any, frames: Frames, numbers: list[int], least: float) -> Iterator[Structure]:
    for number in sorted(set(numbers)):
        mask = np.zeros(frames.shape, bool, order="F")
        for frame in (frame for frame, own in enumerate(numbers) if own == number):
            mask[:, :, frames.slices[frame]] |= least <= _pixels(path, header, frame).T
        yield number, mask


def _label_map(path: Path, header: Any, frames: Frames) -> np.ndarray:
    """Values are segment numbers; those of the padding are background, as are slices without a frame."""
    values = np.zeros(frames.shape, np.uint16, order="F")
    padding, seen = header.get("PixelPaddingValue"), set()
    for frame, at in enumerate(frames.slices):
        if at in seen:
            raise VolumeError(f"{path}: two frames of the DICOM SEG lie in slice {at}; expected one of a label map")
        seen.add(at)
        plane = _pixels(path, header, frame)
        values[:, :, at] = np.where(plane == padding, 0, plane).T if padding is not None else plane.T
    return values


def _pixels(path: Path, header: Any, frame: int) -> np.ndarray:
    """(rows, columns) of one frame."""
    if int(header.BitsAllocated) == 1 and not header.file_meta.TransferSyntaxUID.is_compressed:
        return _bits(path, header, frame)
    from pydicom.pixels import iter_pixels

    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", UserWarning)
            return next(iter_pixels(header, indices=[frame], raw=True))
    except Exception as error:  # decoders raise whatever they meet
        raise VolumeError(f"{path}: its pixels cannot be read ({one_line(error)}); {CONVERT}") from error


def _bits(path: Path, header: Any, frame: int) -> np.ndarray:
    """One frame of a stream of bits, the lowest of each byte first, frames not aligned to bytes (PS3.5, 8.1.1)."""
    count = int(header.Rows) * int(header.Columns)
    first, last = frame * count, (frame + 1) * count
    packed = np.frombuffer(header.PixelData, np.uint8)[first // 8 : -(-last // 8)]
    bits = np.unpackbits(packed, bitorder="little")[first % 8 : first % 8 + count]
    if len(bits) < count:
        raise VolumeError(f"{path}: its pixels end in frame {frame}; fetch the file again")
    return bits.reshape(int(header.Rows), int(header.Columns))
