"""Headers of NIfTI-1 and -2, in one file or in two."""

from __future__ import annotations

import gzip
import math
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from nerp.errors import VolumeError
from nerp.headers.header import GZIP, RAW, Header
from nerp.headers.place import ORIENTATION, SPACING, Place, identity_place

if TYPE_CHECKING:
    from nibabel import Nifti1Header

MM_PER_UNIT = {"unknown": 1.0, "meter": 1000.0, "mm": 1.0, "micron": 0.001}
"""mm in the units of length that the lowest three bits of `xyzt_units` stand for, from 0 to 3."""

DISAGREE_MM = 1.0
"""Sform and qform that differ by more at a corner of the grid are told of; rounding makes some 0.01 mm."""


def is_gzip(path: Path) -> bool:
    """Whether a file begins as gzip does, whatever its name says."""
    with path.open("rb") as file:
        return file.read(2) == b"\x1f\x8b"


def nifti_header(path: Path) -> Header:
    """The header of a NIfTI file; of a pair, `.hdr` and `.img`, either may be named.

    Raises:
        VolumeError: not NIfTI, or a field that cannot be.

    Source: nifti.nimh.nih.gov/pub/dist/src/niftilib/nifti1.h.
    """
    head = path if path.suffix.lower() != ".img" else _partner(path, ".hdr")
    fields = nifti_fields(path)
    magic = bytes(fields["magic"].tobytes())[:3]
    if magic not in (b"n+1", b"ni1", b"n+2", b"ni2"):
        raise VolumeError(
            f"{path}: cannot be read as NIfTI (its magic is {magic!r}); Analyze does not say where it lies: convert it"
        )
    data = head if magic[1:2] == b"+" else _partner(head, ".img")
    count = int(fields["dim"][0])
    if not 1 <= count <= 7:
        raise VolumeError(
            f"{path}: cannot be read as NIfTI (its header promises {count} axes); fetch or write it again"
        )
    shape = tuple(int(part) for part in fields["dim"][1 : count + 1])
    offset = float(fields["vox_offset"])
    least = (540 if len(fields["magic"].tobytes()) > 4 else 348) if data == head else 0
    if not (least <= offset < 2**40 and offset == int(offset)):
        raise VolumeError(f"{path}: cannot be read as NIfTI (its voxels start at byte {offset:g}); write it again")
    kind = _voxel_type(path, fields)
    nifti_scaling(path, fields)
    packing = GZIP if is_gzip(data) else RAW
    with np.errstate(all="ignore"):  # numbers that overflow make an affine that is refused
        place, unit = nifti_place(path, fields, shape)
    return Header("NIfTI", shape, kind.itemsize, kind.kind, data, int(offset), packing, place=place, mm_per_unit=unit)


def nifti_fields(path: Path) -> Nifti1Header:
    """The fields of a NIfTI header, as they are; of a pair, either file may be named.

    Raises:
        VolumeError: not as long as a header, or not beginning as one.
    """
    from nibabel import Nifti1Header, Nifti2Header

    head = path if path.suffix.lower() != ".img" else _partner(path, ".hdr")
    with gzip.open(head) if is_gzip(head) else head.open("rb") as file:
        block = file.read(540)
    size = {int.from_bytes(block[:4], "little"), int.from_bytes(block[:4], "big")}
    kind, length = (Nifti2Header, 540) if 540 in size else (Nifti1Header, 348)
    if length not in size or len(block) < length:
        raise VolumeError(
            f"{path}: cannot be read as NIfTI (it does not begin with its header); fetch or write it again"
        )
    order = "<" if int.from_bytes(block[:4], "little") == length else ">"
    return kind(block[:length], endianness=order, check=False)


def nifti_scaling(path: Path, fields: Nifti1Header) -> tuple[float, float]:
    """Slope and intercept of a header; (1, 0) where its slope is 0 or NaN, which mean none.

    Args:
        path:   as the message names it.
        fields: the header.

    Raises:
        VolumeError: infinite, or an intercept that is no number.
    """
    slope, intercept = float(fields["scl_slope"]), float(fields["scl_inter"])
    if slope == 0 or math.isnan(slope):
        return 1.0, 0.0
    if not (math.isfinite(slope) and math.isfinite(intercept)):
        raise VolumeError(
            f"{path}: has a scaling of slope {slope:g} and intercept {intercept:g}; expected numbers: write it again"
        )
    return slope, intercept


def nifti_place(path: Path, fields: Nifti1Header, shape: tuple[int, ...]) -> tuple[Place, float]:
    """Where a NIfTI header puts its grid, and mm in its unit of length.

    The sform is taken before the qform, as nibabel does. With neither, the first axis grows towards the
    left and the origin lies in the middle.

    Args:
        path:   as messages name it.
        fields: the header.
        shape:  counts along its axes.

    Raises:
        VolumeError: no such unit, or numbers that are no affine.
    """
    from nibabel.spatialimages import HeaderDataError

    unit = dict(enumerate(MM_PER_UNIT.values())).get(int(fields["xyzt_units"]) & 7)
    remarks = (
        []
        if unit is not None
        else [f"its unit of length has the unknown code {int(fields['xyzt_units'])}, mm is assumed"]
    )
    factor = 1.0 if unit is None else unit
    try:
        affine = _in_mm(fields.get_best_affine(), factor)
    except (HeaderDataError, ValueError, ArithmeticError, np.linalg.LinAlgError) as error:
        raise VolumeError(f"{path}: its qform cannot be read ({error}); state its place in an sform") from error
    if int(fields["sform_code"]) <= 0 and int(fields["qform_code"]) <= 0:
        sizes = np.abs(np.asarray(fields["pixdim"][1:4], np.float64))
        unknown = (ORIENTATION, SPACING) if np.allclose(sizes, 1) or not sizes.all() else (ORIENTATION,)
        return Place(affine, unknown, "neither sform nor qform", tuple(remarks)), factor
    remarks += _disagreement(fields, shape, factor)
    return identity_place(affine, tuple(remarks)), factor


def _disagreement(fields: Nifti1Header, shape: tuple[int, ...], factor: float) -> list[str]:
    """Where both forms are stated: how far they put the grid apart."""
    from nibabel.spatialimages import HeaderDataError

    if int(fields["sform_code"]) <= 0:
        return []
    first = _in_mm(fields.get_sform(), factor)
    sizes = np.abs(np.asarray(fields["pixdim"][1:4], np.float64)) * factor
    if int(fields["qform_code"]) <= 0:
        own = np.linalg.norm(first[:3, :3], axis=0)
        if sizes.all() and np.isfinite(sizes).all() and not np.allclose(sizes, own, rtol=0.02):
            stated = " x ".join(f"{size:.4g}" for size in sizes)
            return [f"its pixdim says voxels of {stated} mm, its sform another size; the sform is taken"]
        return []
    try:
        second = _in_mm(fields.get_qform(), factor)
    except (HeaderDataError, ValueError, ArithmeticError, np.linalg.LinAlgError):
        return ["its qform cannot be read; the sform is taken"]
    counts = (*shape, 1, 1, 1)[:3]
    corners = np.array([[i, j, k, 1.0] for i in (0, counts[0]) for j in (0, counts[1]) for k in (0, counts[2])])
    apart = float(np.abs(corners @ (first - second).T).max())
    if apart <= DISAGREE_MM:
        return []
    return [f"its sform and qform disagree by up to {apart:.4g} mm; the sform is taken"]


def _in_mm(affine: np.ndarray, factor: float) -> np.ndarray:
    return np.diag([factor, factor, factor, 1.0]) @ np.asarray(affine, np.float64)


def _partner(path: Path, ending: str) -> Path:
    """The other file of a pair."""
    for name in (ending, ending.upper(), f"{ending}.gz"):
        other = path.with_suffix(name)
        if other.is_file():
            return other
    raise VolumeError(f"{path}: its other half {path.with_suffix(ending).name} is not beside it; fetch both")


def _voxel_type(path: Path, fields: Nifti1Header) -> np.dtype:
    from nibabel.spatialimages import HeaderDataError

    try:
        kind = np.dtype(fields.get_data_dtype())
    except (HeaderDataError, KeyError, ValueError) as error:
        code = int(fields["datatype"])
        raise VolumeError(f"{path}: holds voxels of the unknown type {code}; expected one real number each") from error
    if kind.kind not in "iuf" or kind.itemsize > 8:
        raise VolumeError(f"{path}: holds {kind} voxels; expected one real number each")
    if int(fields["bitpix"]) not in (0, kind.itemsize * 8):
        raise VolumeError(
            f"{path}: its header promises {kind} voxels of {int(fields['bitpix'])} bits: they disagree, write it again"
        )
    return kind
