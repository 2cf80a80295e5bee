"""Grids on disk: NIfTI, NRRD and MetaImage files, read and written as arrays with a RAS affine.

Every reader returns `(values, affine)`: values indexed `(i, j, k)` as the file's own axes, in the
file's own number type, and the affine from that index to world RAS+ mm. Headers are checked before
any voxel is loaded. Every failure is a `VolumeError` of one line.
"""

from __future__ import annotations

import gzip
import math
import zlib
from collections.abc import Sequence
from io import IOBase
from pathlib import Path
from typing import TypeAlias, cast

import numpy as np

from nerp.errors import VolumeError
from nerp.files import replacing

MAX_VOXELS = 2**29
"""Voxels a file may promise before it is refused: 512 x 512 x 2048, 2 GiB in float32."""

NIFTI, ITK = (".nii", ".nii.gz"), (".nrrd", ".mha", ".mhd")
WRITABLE = (*NIFTI, ".nrrd", ".mha")
RAS_FROM_LPS = np.diag([-1.0, -1.0, 1.0, 1.0])
MM_PER_UNIT = {"unknown": 1.0, "mm": 1.0, "meter": 1000.0, "micron": 0.001}

Grid: TypeAlias = tuple[np.ndarray, np.ndarray]
"""Values (I, J, K) and the affine (4, 4) from their index to world RAS+ mm."""


def extension(path: Path) -> str:
    """The part of a file's name that says its format, in lower case; `.nii.gz` counts as one."""
    name = path.name.lower()
    return next((end for end in (".nii.gz", *NIFTI, *ITK) if name.endswith(end)), path.suffix.lower())


def read_grid(path: Path, *, max_voxels: int = MAX_VOXELS) -> Grid:
    """Read a file as an array and its affine.

    Args:
        path:       NIfTI, NRRD or MetaImage.
        max_voxels: a header that promises more is refused before its data is touched.

    Returns:
        values (I, J, K) in the stored type, rescaled where the file says so; affine (4, 4) RAS+ mm.

    Raises:
        VolumeError: missing, unknown, damaged, not three-dimensional, empty or too large.
    """
    if not path.exists():
        raise VolumeError(f"{path}: no such file or folder; check the path")
    ending = extension(path)
    if ending in NIFTI:
        return read_nifti(path, max_voxels=max_voxels)
    if ending in ITK:
        return read_itk(path, max_voxels=max_voxels)
    if ending in (".dcm", ".ima"):
        raise VolumeError(f"{path}: one DICOM slice is not a volume; give the folder that holds its series")
    raise VolumeError(f"{path}: unknown extension {ending!r}; expected {', '.join(NIFTI + ITK)} or a DICOM folder")


def checked_shape(path: Path, shape: Sequence[int], *, max_voxels: int) -> tuple[int, int, int]:
    """The three counts a header promises.

    Args:
        path:       as the message names it.
        shape:      counts of the header; further ones of 1 are left out.
        max_voxels: more are refused.

    Raises:
        VolumeError: not three counts, none of something, or too many.
    """
    counts = [int(count) for count in shape]
    while len(counts) > 3 and counts[-1] == 1:
        counts.pop()
    listed = "x".join(str(count) for count in counts)
    if len(counts) != 3:
        raise VolumeError(f"{path}: is {len(counts)}-D ({listed}); expected one 3-D volume: extract one first")
    if min(counts) < 1:
        raise VolumeError(f"{path}: is empty ({listed} voxels); write the file again")
    if math.prod(counts) > max_voxels:
        raise VolumeError(
            f"{path}: promises {math.prod(counts)} voxels ({listed}), the limit is {max_voxels}; "
            "crop or resample it, or raise max_voxels"
        )
    return counts[0], counts[1], counts[2]


def read_nifti(path: Path, *, max_voxels: int = MAX_VOXELS) -> Grid:
    """Read a NIfTI-1 or -2 file. Axes and affine are nibabel's.

    Args:
        path:       of the file.
        max_voxels: a header that promises more is refused before its data is touched.

    Returns:
        As `read_grid`: values (I, J, K), affine (4, 4).

    Raises:
        VolumeError: as `read_grid`.

    A header with neither sform nor qform has no place in the world; it gets nibabel's default (voxel
    sizes, first axis towards the left, origin in the middle). Units of m or um become mm.
    """
    from nibabel.filebasedimages import ImageFileError
    from nibabel.spatialimages import HeaderDataError

    damaged = (ImageFileError, HeaderDataError, OSError, EOFError, ValueError, zlib.error)
    try:
        with gzip.open(path) if path.name.lower().endswith(".gz") else path.open("rb") as stream:
            return _nifti_of(stream, path, max_voxels)
    except damaged as error:
        raise VolumeError(f"{path}: cannot be read as NIfTI ({_one_line(error)}); fetch or write it again") from error


def _nifti_of(stream: IOBase, path: Path, max_voxels: int) -> Grid:
    from nibabel import Nifti1Image, Nifti2Image
    from nibabel.arrayproxy import ArrayProxy

    size = stream.read(4)
    stream.seek(0)
    is_second = 540 in (int.from_bytes(size, "little"), int.from_bytes(size, "big"))
    image = (Nifti2Image if is_second else Nifti1Image).from_stream(stream)
    shape = checked_shape(path, image.shape, max_voxels=max_voxels)
    if image.get_data_dtype().kind not in "iuf":
        raise VolumeError(f"{path}: holds {image.get_data_dtype()} voxels; expected one real number each")
    proxy = cast(ArrayProxy, image.dataobj)  # always one where an image comes from a stream
    is_plain = (proxy.slope, proxy.inter) == (1, 0)
    values = proxy.get_unscaled() if is_plain else image.get_fdata(dtype=np.float32, caching="unchanged")
    while stream.read(2**20):  # to the end, where gzip keeps the checksum of all before
        pass
    unit = MM_PER_UNIT[image.header.get_xyzt_units()[0]]
    return values.reshape(shape), np.diag([unit, unit, unit, 1.0]) @ image.affine


def read_itk(path: Path, *, max_voxels: int = MAX_VOXELS) -> Grid:
    """Read a NRRD or MetaImage file. ITK's LPS world becomes RAS.

    Args:
        path:       of the file.
        max_voxels: a header that promises more is refused before its data is touched.

    Returns:
        As `read_grid`: values (I, J, K), affine (4, 4).

    Raises:
        VolumeError: as `read_grid`.
    """
    import SimpleITK as sitk

    reader = sitk.ImageFileReader()
    reader.SetFileName(str(path))
    try:
        reader.ReadImageInformation()
        shape = checked_shape(path, reader.GetSize(), max_voxels=max_voxels)
        if reader.GetNumberOfComponents() != 1 or "complex" in sitk.GetPixelIDValueAsString(reader.GetPixelID()):
            raise VolumeError(f"{path}: holds several numbers a voxel; expected one real number each")
        image = reader.Execute()
    except RuntimeError as error:
        raise VolumeError(f"{path}: cannot be read ({_one_line(error)}); fetch or write it again") from error
    lps = np.eye(4)
    directions = np.reshape(image.GetDirection(), (image.GetDimension(), -1))[:3, :3]
    lps[:3, :3] = directions * image.GetSpacing()[:3]
    lps[:3, 3] = image.GetOrigin()[:3]
    return sitk.GetArrayFromImage(image).T.reshape(shape), RAS_FROM_LPS @ lps


def read_slice(path: Path) -> np.ndarray:
    """(rows, columns) HU of one DICOM slice through GDCM, which decompresses and rescales it."""
    import SimpleITK as sitk

    return sitk.GetArrayFromImage(sitk.ReadImage(str(path)))[0]


def read_stored(path: Path) -> np.ndarray:
    """(F, rows, columns) numbers of a DICOM file through GDCM, which decompresses them.

    Raises:
        VolumeError: data that GDCM cannot decompress.
    """
    import SimpleITK as sitk

    try:
        stored = sitk.GetArrayFromImage(sitk.ReadImage(str(path), imageIO="GDCMImageIO"))
    except RuntimeError as error:
        raise VolumeError(f"{path}: {_one_line(error)}") from error
    return stored if stored.ndim == 3 else stored[None]


def read_deep_colours(path: Path) -> np.ndarray:
    """(H, W, C) uint16 of a PNG or TIFF with colours of 16 bits.

    Raises:
        VolumeError: what ITK cannot read, or not at that depth.
    """
    import SimpleITK as sitk

    try:
        image = sitk.ReadImage(str(path))
    except RuntimeError as error:
        raise VolumeError(f"{path}: cannot be read as an image ({_one_line(error)}); save it in 8 bits") from error
    colours = sitk.GetArrayFromImage(image)
    if colours.ndim != 3 or colours.dtype != np.uint16:
        raise VolumeError(f"{path}: its colours of 16 bits cannot be read; save it in grey, or in 8 bits")
    return colours


def write_grid(path: Path, values: np.ndarray, affine: np.ndarray) -> None:
    """Write an array with its affine; the file appears whole or not at all.

    Nothing but values, voxel sizes and the affine goes into the header.

    Args:
        path:   its ending, one of `WRITABLE`, chooses the format.
        values: (I, J, K), stored in their own type.
        affine: (4, 4) from index to world RAS+ mm.

    Raises:
        VolumeError: an unknown extension, a missing folder, a full disk, or a sheared affine for NRRD
            or MetaImage, which cannot hold one.
    """
    ending = extension(path)
    if ending not in WRITABLE:
        raise VolumeError(f"{path}: unknown extension {ending!r}; expected one of {', '.join(WRITABLE)}")
    if not path.parent.is_dir():
        raise VolumeError(f"{path}: its folder does not exist; make {path.parent} first")
    try:
        with replacing(path) as unfinished:
            (_write_nifti if ending in NIFTI else _write_itk)(unfinished, values, affine)
    except (OSError, RuntimeError) as error:
        raise VolumeError(f"{path}: cannot be written ({_one_line(error)})") from error


def _write_nifti(path: Path, values: np.ndarray, affine: np.ndarray) -> None:
    from nibabel import Nifti1Image

    image = Nifti1Image(values, affine)
    image.header.set_xyzt_units("mm")
    image.set_sform(affine, 1)
    if _is_orthogonal(affine):
        image.set_qform(affine, 1)
    image.to_filename(path)


def _write_itk(path: Path, values: np.ndarray, affine: np.ndarray) -> None:
    import SimpleITK as sitk

    if not _is_orthogonal(affine):
        raise VolumeError(f"{path.suffix} cannot hold a sheared affine; write .nii.gz instead")
    lps = RAS_FROM_LPS @ affine
    spacing = np.linalg.norm(lps[:3, :3], axis=0)
    image = sitk.GetImageFromArray(np.ascontiguousarray(values.T))
    image.SetSpacing(spacing.tolist())
    image.SetDirection((lps[:3, :3] / spacing).ravel().tolist())
    image.SetOrigin(lps[:3, 3].tolist())
    sitk.WriteImage(image, str(path), useCompression=True)


def _is_orthogonal(affine: np.ndarray) -> bool:
    axes = affine[:3, :3] / np.linalg.norm(affine[:3, :3], axis=0)
    return bool(np.allclose(axes.T @ axes, np.eye(3), atol=1e-4))


def _one_line(error: BaseException) -> str:
    """The last line of a library's message: its own words, without its stack."""
    lines = str(error).strip().splitlines() or [type(error).__name__]
    return lines[-1].strip()
