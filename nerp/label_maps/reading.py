"""Labels of any kind, read and carried onto a CT's grid."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import torch

from nerp.errors import VolumeError
from nerp.formats import ITK, MAX_VOXELS, NIFTI, checked_shape, extension, in_c_order, read_place
from nerp.headers.checking import read_header
from nerp.label_maps.dicom_kind import dicom_kind
from nerp.label_maps.dicom_seg import check_dicom_seg, read_dicom_seg
from nerp.label_maps.folder import check_structures, holds_several, read_structures, shape_of, structure_files
from nerp.label_maps.nifti import nifti_header, read_nifti_labels
from nerp.label_maps.nrrd import itk_reader, read_itk_labels, segments_of
from nerp.label_maps.placing import is_same_grid, on_grid_of, refuse_outside, shares_outside
from nerp.label_maps.rtstruct import check_rtstruct, read_rtstruct
from nerp.label_maps.stored import CONVERT, StoredMaps, check_voxels, placed
from nerp.volume import Volume, as_affine, check_label_values

log = logging.getLogger(__name__)

KINDS = f"{', '.join((*NIFTI, *ITK))}, DICOM SEG, RTSTRUCT, or a folder of one binary file a structure"


@dataclass(frozen=True)
class LabelMap:
    """Labels, and what their file tells of them.

    Args:
        volume:  (M, D, H, W) in `label`; structures that overlap lie in several maps, each in one alone.
        names:   of label values; of some, of all, or of none.
        outside: share of each label's voxels that lies outside the CT, 0 to 1, where there are any.
    """

    volume: Volume
    names: dict[int, str] = field(default_factory=dict)
    outside: dict[int, float] = field(default_factory=dict)


def read_label_map(
    path: str | Path,
    like: Volume | None = None,
    *,
    on_ct_grid: bool = False,
    max_voxels: int = MAX_VOXELS,
    compact: bool = False,
) -> LabelMap:
    """Read labels with their names, carried onto a CT's grid when one is given.

    Args:
        path:       NIfTI, NRRD (also `.seg.nrrd` of 3D Slicer), MetaImage, DICOM SEG or RTSTRUCT; or a folder
                    that holds one binary file a structure, as of TotalSegmentator, or one DICOM SEG or RTSTRUCT.
        like:       the CT, (C, D, H, W), whose grid is requested; each of its voxels takes the nearest label
                    through both affines, 0 outside the label map.
        on_ct_grid: the labels' voxels are the CT's, whatever their own affine says.
        max_voxels: a header that promises more is refused before its data is read.
        compact:    keep labels below 256 in uint8, a quarter of the memory.

    Returns:
        Whole numbers in float32 or uint8, (M, D, H, W), with the names that the file tells.

    Raises:
        VolumeError: not readable, not whole numbers >= 0, no label at all, none inside `like`, or the shape of
            `like` in another place.
    """
    path = Path(path)
    stored = _stored(path, like, max_voxels)
    for one in stored.maps:
        check_label_values(path, one, may_be_empty=True)
    if not any(one.any() for one in stored.maps):
        raise VolumeError(f"{path}: holds no label, every voxel is 0; expected at least one structure")
    if on_ct_grid:
        stored = _on_ct_grid(path, stored, like)
    else:
        stored = StoredMaps(stored.maps, placed(path, stored.affine), stored.names, stored.is_on_like)
    if like is None or is_same_grid(path, stored, like):
        kind = _kept_as(stored.maps, compact)
        if kind is np.uint8 and len(stored.maps) == 1:
            values = stored.maps[0].astype(np.uint8, order="K")[None]
        else:
            values = np.stack([in_c_order(one, kind) for one in stored.maps])
        affine = as_affine(stored.affine)
        return LabelMap(Volume(torch.from_numpy(values), affine, "label"), stored.names)
    check_voxels(path, (*like.shape, len(stored.maps)), max_voxels)
    _tell_place(path)
    values = on_grid_of(stored, like)
    if not values.any():
        raise refuse_outside(path, stored, like)
    values = values.astype(_kept_as([values], compact), copy=False)
    volume = Volume(torch.from_numpy(values), like.affine, "label")
    return LabelMap(volume, stored.names, shares_outside(stored, like))


def _kept_as(maps: Sequence[np.ndarray], compact: bool) -> type:
    return np.uint8 if compact and max(one.max(initial=0) for one in maps) < 256 else np.float32


def _tell_place(path: Path) -> None:
    """Warn of labels that are carried onto a CT from a place that their file does not tell."""
    if extension(path) not in (*NIFTI, *ITK):
        return
    try:
        place = read_place(path)
    except VolumeError:  # of layers, which are placed by their own header
        return
    if place.unknown:
        reason = place.reason or "its header does not tell"
        log.warning("%s: the labels' place is unknown (%s); state it in their file, as the CT's has it", path, reason)


def read_labels(
    path: str | Path, like: Volume | None = None, *, on_ct_grid: bool = False, max_voxels: int = MAX_VOXELS
) -> Volume:
    """Read labels, carried onto a CT's grid when one is given; `read_label_map` without the names.

    Args:
        path:       as for `read_label_map`; whole numbers >= 0, where 0 is background.
        like:       the CT, (C, D, H, W), whose grid is requested.
        on_ct_grid: the labels' voxels are the CT's, whatever their own affine says.
        max_voxels: a header that promises more is refused before its data is read.

    Returns:
        `(M, D, H, W)` float32 holding whole numbers, unit `label`; M is 1 unless structures overlap.

    Raises:
        VolumeError: as `read_label_map`.
    """
    return read_label_map(path, like, on_ct_grid=on_ct_grid, max_voxels=max_voxels).volume


def check_label_map(path: str | Path, *, max_voxels: int = MAX_VOXELS) -> None:
    """Refuse by headers and sizes alone what cannot be labels; quick, for use before long work.

    Args:
        path:       as for `read_label_map`.
        max_voxels: a header that promises more is refused.

    Raises:
        VolumeError: missing, of an unknown kind, damaged in the header, not of three axes, or too large.
    """
    path = Path(path)
    if path.is_dir():
        found = _dicom_in(path)
        if found is None:
            check_structures(structure_files(path), max_voxels=max_voxels)
            return
        path = found
    kind = _kind(path)
    if kind == "SEG":
        check_dicom_seg(path, max_voxels=max_voxels)
    elif kind == "RTSTRUCT":
        check_rtstruct(path)
    elif kind == "NIFTI":
        read_header(path, max_voxels=max_voxels, layers=True)
        shape, _ = nifti_header(path)
        check_voxels(path, shape, max_voxels)
        checked_shape(path, shape[:3], max_voxels=max_voxels)
    else:
        header = itk_reader(path)
        segments_of(path, header)
        checked_shape(path, shape_of(path)[:3], max_voxels=max_voxels)


def _stored(path: Path, like: Volume | None, max_voxels: int) -> StoredMaps:
    if path.is_dir():
        return _of_folder(path, like, max_voxels)
    kind = _kind(path)
    if kind == "SEG":
        return read_dicom_seg(path, like, max_voxels=max_voxels)
    if kind == "RTSTRUCT":
        return read_rtstruct(path, like, max_voxels=max_voxels)
    if kind == "NIFTI":
        read_header(path, max_voxels=max_voxels, layers=True)
    read = read_nifti_labels if kind == "NIFTI" else read_itk_labels
    return read(path, max_voxels=max_voxels)


def _of_folder(folder: Path, like: Volume | None, max_voxels: int) -> StoredMaps:
    found = _dicom_in(folder)
    if found is not None:
        return _stored(found, like, max_voxels)
    files = structure_files(folder)
    if len(files) == 1 and holds_several(files[0], max_voxels=max_voxels):
        return _stored(files[0], like, max_voxels)
    return read_structures(folder, files, max_voxels=max_voxels)


def _dicom_in(folder: Path) -> Path | None:
    """The one DICOM SEG or RTSTRUCT directly in a folder; None where there is none."""
    files = sorted(path for path in folder.iterdir() if path.is_file() and not path.name.startswith("."))
    files = [path for path in files if extension(path) not in (*NIFTI, *ITK)]
    kinds = {path: dicom_kind(path) for path in files}
    found = [path for path, kind in kinds.items() if kind in ("SEG", "RTSTRUCT")]
    if len(found) > 1:
        listed = ", ".join(path.name for path in found[:8])
        raise VolumeError(f"{folder}: holds {len(found)} DICOM label files ({listed}); give one of them")
    if not found and "CT" in kinds.values():
        raise VolumeError(f"{folder}: holds DICOM CT slices, no labels; expected {KINDS}")
    return found[0] if found else None


def _kind(path: Path) -> str:
    if not path.exists():
        raise VolumeError(f"{path}: no such file or folder; check the path")
    ending = extension(path)
    if ending in (*NIFTI, *ITK):
        return "NIFTI" if ending in NIFTI else "ITK"
    kind = dicom_kind(path)
    if kind is None:
        raise VolumeError(f"{path}: unknown extension {ending!r}; expected {KINDS}: {CONVERT}")
    if kind not in ("SEG", "RTSTRUCT"):
        raise VolumeError(f"{path}: is DICOM of modality {kind[:16] or 'unknown'!r}, no labels; expected {KINDS}")
    return kind


def _on_ct_grid(path: Path, stored: StoredMaps, like: Volume | None) -> StoredMaps:
    if like is None:
        raise VolumeError(f"{path}: on_ct_grid=True needs the CT; give it as like=")
    shape = stored.maps[0].shape
    if shape != like.shape:
        found, expected = ("x".join(map(str, counts)) for counts in (shape, like.shape))
        raise VolumeError(f"{path}: has {found} voxels, the CT {expected}; labels on the CT's grid have as many")
    return StoredMaps(stored.maps, like.affine.numpy(), stored.names, is_on_like=True)
