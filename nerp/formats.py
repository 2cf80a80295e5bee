"""Grids on disk: NIfTI, NRRD and MetaImage files, read and written as arrays with a RAS affine.

Every reader returns `(values, affine)`: values indexed `(i, j, k)` as the file's own axes, in the
file's own number type, and the affine from that index to world RAS+ mm. Headers are checked before
any voxel is loaded. Every failure is a `VolumeError` of one line.
"""

from __future__ import annotations

import gzip
import os
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from io import IOBase
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np

from nerp.errors import VolumeError
from nerp.files import replacing
from nerp.headers.checking import MAX_VOXELS, checked_shape, extension, read_header
from nerp.headers.header import Header
from nerp.headers.nifti import MM_PER_UNIT as MM_PER_UNIT
from nerp.headers.nifti import is_gzip, nifti_fields, nifti_scaling
from nerp.headers.place import Place, identity_place

if TYPE_CHECKING:
    from SimpleITK import ImageFileReader

NIFTI, ITK = (".nii", ".nii.gz"), (".nrrd", ".nhdr", ".mha", ".mhd")
WRITABLE = (*NIFTI, ".nrrd", ".mha")
TOGETHER = 32
RAS_FROM_LPS = np.diag([-1.0, -1.0, 1.0, 1.0])

Grid: TypeAlias = tuple[np.ndarray, np.ndarray]
"""Values (I, J, K) and the affine (4, 4) from their index to world RAS+ mm."""


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
    values, place = read_placed(path, max_voxels=max_voxels)
    return values, place.affine


def read_placed(path: Path, *, max_voxels: int = MAX_VOXELS) -> tuple[np.ndarray, Place]:
    """Read a file as an array, with where it lies and what its header leaves open of that.

    Args:
        path:       as `read_grid` has it.
        max_voxels: as `read_grid` has it.

    Returns:
        values (I, J, K) as `read_grid`; their place, whose `doubts()` are to be told.

    Raises:
        VolumeError: as `read_grid`.

    A NIfTI header with neither sform nor qform has no place in the world; it gets nibabel's default
    (voxel sizes, first axis towards the left, origin in the middle). Units of m or um become mm.
    """
    header = read_header(path, max_voxels=max_voxels)
    return (_read_nifti if header.format == "NIfTI" else _read_itk)(path, header, max_voxels)


def read_place(path: Path) -> Place:
    """Where a file's header puts its grid, and what it leaves open; the voxels are not read.

    Raises:
        VolumeError: as `read_grid`, but for damaged voxels.
    """
    header = read_header(path)
    return header.place if header.place is not None else _itk_place(path, header, itk_reader(path))


def in_c_order(values: np.ndarray, dtype: type) -> np.ndarray:
    """A copy with the last axis fastest; of arrays as NIfTI files hold them several times as fast as NumPy's own.

    Args:
        values: (I, J, K).
        dtype:  of the copy.
    """
    ordered: np.ndarray = np.empty(values.shape, dtype)
    if values.flags.c_contiguous:
        np.copyto(ordered, values, casting="unsafe")
        return ordered
    for row in range(values.shape[1]):  # small enough blocks that what is read together stays in the cache
        for first in range(0, values.shape[2], TOGETHER):
            ordered[:, row, first : first + TOGETHER] = values[:, row, first : first + TOGETHER]
    return ordered


def check_grid(path: Path, *, max_voxels: int = MAX_VOXELS) -> None:
    """Prove a file as far as that is cheap, before long work that will need it: no voxel is decoded.

    Args:
        path:       as `read_grid` has it.
        max_voxels: as `read_grid` has it.

    Raises:
        VolumeError: the header cannot be read or promises what no reader takes, or more bytes than there are.
    """
    header = read_header(path, max_voxels=max_voxels)
    if header.format != "NIfTI":
        itk_reader(path)


def _read_nifti(path: Path, header: Header, max_voxels: int) -> tuple[np.ndarray, Place]:
    from nibabel.filebasedimages import ImageFileError
    from nibabel.spatialimages import HeaderDataError

    assert header.data is not None and header.place is not None
    broken: tuple[Any, ...] = (OSError, EOFError, ValueError, OverflowError, zlib.error, *_isal_errors())
    damaged = (ImageFileError, HeaderDataError, *broken)
    try:
        with unpacked(header.data) if is_gzip(header.data) else header.data.open("rb") as stream:
            values = _nifti_values(path, header, stream)
    except damaged as error:
        raise VolumeError(f"{path}: cannot be read as NIfTI ({_one_line(error)}); fetch or write it again") from error
    return values.reshape(checked_shape(path, header.shape, max_voxels=max_voxels)), header.place


def unpacked(path: Path) -> IOBase:
    """A gzip file as it was before; three times as fast where `isal` is installed (the extra `fast`)."""
    try:
        from isal import igzip
    except ImportError:
        return gzip.open(path)
    return igzip.open(path)


def _isal_errors() -> tuple[Any, ...]:
    try:
        from isal import isal_zlib
    except ImportError:
        return ()
    return (isal_zlib.error,)


def _nifti_values(path: Path, header: Header, stream: IOBase) -> np.ndarray:
    """Voxels as stored where nothing rescales them, else float32."""
    from nibabel.arrayproxy import ArrayProxy

    fields = nifti_fields(path)
    scaling = nifti_scaling(path, fields)
    proxy = ArrayProxy(stream, (header.shape, fields.get_data_dtype(), header.offset, *scaling), mmap=False)
    values = proxy.get_unscaled() if scaling == (1.0, 0.0) else np.asanyarray(proxy, dtype=np.float32)
    while stream.read(2**20):  # to the end, where gzip keeps the checksum of all before
        pass
    return values


def _read_itk(path: Path, header: Header, max_voxels: int) -> tuple[np.ndarray, Place]:
    """A NRRD or MetaImage file. ITK's LPS world becomes RAS."""
    import SimpleITK as sitk

    reader = itk_reader(path)
    shape = checked_shape(path, reader.GetSize(), max_voxels=max_voxels)
    if reader.GetNumberOfComponents() != 1 or "complex" in sitk.GetPixelIDValueAsString(reader.GetPixelID()):
        raise VolumeError(f"{path}: holds several numbers a voxel; expected one real number each")
    try:
        image = reader.Execute()
    except (RuntimeError, MemoryError) as error:
        raise VolumeError(f"{path}: cannot be read ({_one_line(error)}); fetch or write it again") from error
    return sitk.GetArrayFromImage(image).T.reshape(shape), _itk_place(path, header, reader)


def itk_reader(path: Path) -> ImageFileReader:
    """SimpleITK's reader of a file, its header read; a VolumeError where that fails."""
    import SimpleITK as sitk

    reader = sitk.ImageFileReader()
    reader.SetFileName(str(path))
    try:
        reader.ReadImageInformation()
    except RuntimeError as error:
        raise VolumeError(f"{path}: cannot be read ({_one_line(error)}); fetch or write it again") from error
    return reader


def _itk_place(path: Path, header: Header, reader: ImageFileReader) -> Place:
    """Place of an image whose header was read; a first axis of one, of four, is left out."""
    count = reader.GetDimension()
    axes = slice(1, 4) if count == 4 and reader.GetSize()[0] == 1 != reader.GetSize()[3] else slice(0, 3)
    lps = np.eye(4)
    try:
        lps[:3, :3] = np.reshape(reader.GetDirection(), (count, count))[axes, axes] * reader.GetSpacing()[axes]
        lps[:3, 3] = reader.GetOrigin()[axes]
    except ValueError as error:
        raise VolumeError(f"{path}: is {count}-D; expected one 3-D volume: extract one first") from error
    affine = RAS_FROM_LPS @ lps
    affine[:3] *= header.mm_per_unit
    return Place(affine, header.unknown, header.reason) if header.unknown else identity_place(affine)


def read_stored(path: Path) -> np.ndarray:
    """(F, rows, columns) numbers of a DICOM file through GDCM, which decompresses them.

    Raises:
        VolumeError: data that GDCM cannot decompress.
    """
    import SimpleITK as sitk

    try:
        with _native_stderr_off():
            stored = sitk.GetArrayFromImage(sitk.ReadImage(str(path), imageIO="GDCMImageIO"))
    except RuntimeError as error:
        raise VolumeError(f"{path}: {_one_line(error)}") from error
    return stored if stored.ndim == 3 else stored[None]


@contextmanager
def _native_stderr_off() -> Iterator[None]:
    """GDCM tries its JPEG decoders in turn, and each that does not fit writes a line of its own to the terminal."""
    try:
        kept, nowhere = os.dup(2), os.open(os.devnull, os.O_WRONLY)
    except OSError:  # a process without a terminal
        yield
        return
    try:
        os.dup2(nowhere, 2)
        yield
    finally:
        os.dup2(kept, 2)
        os.close(kept)
        os.close(nowhere)


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
