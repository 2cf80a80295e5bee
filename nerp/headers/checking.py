"""From a path to a header that holds: the format by content, counts, and bytes enough for them."""

from __future__ import annotations

import gzip
import math
import zlib
from collections.abc import Callable, Sequence
from pathlib import Path

from nerp.errors import VolumeError
from nerp.headers.header import GZIP, RAW, ZLIB, Header
from nerp.headers.nifti import is_gzip, nifti_header
from nerp.headers.text import meta_header, nrrd_header

MAX_VOXELS = 2**29
"""Voxels a file may promise before it is refused: 512 x 512 x 2048, 2 GiB in float32."""

DEFLATE_RATIO = 1032
"""No deflate stream grows by more (zlib's technical details, zlib.net/zlib_tech.html)."""

FORMATS: dict[str, tuple[str, Callable[[Path], Header]]] = {
    ".nii.gz": ("NIfTI", nifti_header),
    ".nii": ("NIfTI", nifti_header),
    ".hdr": ("NIfTI", nifti_header),
    ".img": ("NIfTI", nifti_header),
    ".nrrd": ("NRRD", nrrd_header),
    ".nhdr": ("NRRD", nrrd_header),
    ".mha": ("MetaImage", meta_header),
    ".mhd": ("MetaImage", meta_header),
}
OTHERS = {
    ".mgh": "FreeSurfer's format; convert it, for instance with mri_convert a.mgz a.nii.gz",
    ".mgz": "FreeSurfer's format; convert it, for instance with mri_convert a.mgz a.nii.gz",
    ".dcm": "one DICOM slice is not a volume; give the folder that holds its series",
    ".ima": "one DICOM slice is not a volume; give the folder that holds its series",
    ".zip": "an archive; unpack it and give the file or folder inside",
    ".npy": "an array without its place; write it as .nii.gz with its affine",
    ".npz": "an array without its place; write it as .nii.gz with its affine",
    ".mnc": "MINC; convert it, for instance with mnc2nii",
}


def extension(path: Path) -> str:
    """The part of a file's name that says its format, in lower case; `.nii.gz` counts as one."""
    name = path.name.lower()
    return next((end for end in FORMATS if name.endswith(end)), path.suffix.lower())


def read_header(path: Path, *, max_voxels: int = MAX_VOXELS, layers: bool = False) -> Header:
    """The header of a file, proven as far as that goes without its voxels.

    Args:
        path:       NIfTI, NRRD or MetaImage.
        max_voxels: a header that promises more is refused.
        layers:     whether further axes may count layers.

    Raises:
        VolumeError: missing, unknown, damaged, cut short, not three-dimensional, empty or too large.
    """
    if not path.exists():
        raise VolumeError(f"{path}: no such file or folder; check the path")
    if path.is_dir():
        raise VolumeError(f"{path}: is a folder; expected one file, {', '.join(FORMATS)}")
    ending = extension(path)
    if ending in OTHERS:
        raise VolumeError(f"{path}: {OTHERS[ending]}")
    if ending not in FORMATS:
        raise VolumeError(f"{path}: unknown extension {ending!r}; expected {', '.join(FORMATS)} or a DICOM folder")
    name, parse = FORMATS[ending]
    try:
        _check_content(path, name)
        header = parse(path)
        checked_shape(path, header.shape[:3] if layers else header.shape, max_voxels=max_voxels)
        _check_size(path, header)
    except (OSError, EOFError, ValueError, OverflowError, zlib.error) as error:
        reason = (str(error).strip() or type(error).__name__).splitlines()[-1]
        raise VolumeError(f"{path}: cannot be read as {name} ({reason}); fetch or write it again") from error
    return header


def checked_shape(path: Path, shape: Sequence[int], *, max_voxels: int) -> tuple[int, int, int]:
    """The three counts a header promises.

    Args:
        path:       as the message names it.
        shape:      counts of the header; further ones of 1 are left out, and so is a first one of four.
        max_voxels: more are refused.

    Raises:
        VolumeError: not three counts, none of something, or too many.
    """
    counts = [int(count) for count in shape]
    while len(counts) > 3 and counts[-1] == 1:
        counts.pop()
    if len(counts) == 4 and counts[0] == 1:
        counts.pop(0)
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


def _check_content(path: Path, name: str) -> None:
    """Refuse what is plainly no file of its name's format: a web page, a pointer, another format."""
    if path.stat().st_size == 0:
        raise VolumeError(f"{path}: cannot be read, it holds 0 bytes; fetch it again")
    with gzip.open(path) if is_gzip(path) else path.open("rb") as file:
        head = file.read(512)
    text = head.lstrip(b"\xef\xbb\xbf \t\r\n").lower()
    found = ""
    if text.startswith(b"version https://git-lfs"):
        found = "a git-lfs pointer, not the file itself: run git lfs pull"
    elif text.startswith((b"<!doctype", b"<html", b"<?xml", b"<head", b"<error")):
        found = "a web page, so the download failed: fetch it again"
    elif head[128:132] == b"DICM":
        found = "a DICOM file; give the folder that holds its series"
    elif head.startswith(b"NRRD") and name != "NRRD":
        found = f"NRRD, not {name}: rename it to .nrrd"
    elif head.startswith(b"PK\x03\x04"):
        found = "a zip archive: unpack it first"
    elif text.startswith((b"objecttype", b"ndims")) and name != "MetaImage":
        found = f"MetaImage, not {name}: rename it to .mha"
    elif name != "NIfTI" and head[344:347] in (b"n+1", b"ni1"):
        found = f"NIfTI, not {name}: rename it to .nii"
    elif name == "NRRD" and not head.startswith(b"NRRD"):
        found = f"{'text' if _is_text(head) else 'no NRRD header'}: fetch or write it again"
    elif name == "MetaImage" and b"=" not in head:
        found = f"{'text' if _is_text(head) else 'no MetaImage header'}: fetch or write it again"
    elif name == "NIfTI" and _is_text(head):
        found = "text: fetch or write it again"
    if found:
        raise VolumeError(f"{path}: cannot be read as {name}, it holds {found}")
    if is_gzip(path) and name != "NIfTI":
        raise VolumeError(f"{path}: cannot be read as {name}, it is packed by gzip as a whole: unpack it first")


def _is_text(head: bytes) -> bool:
    return all(byte in b"\t\r\n\f" or 32 <= byte < 127 for byte in head)


def _check_size(path: Path, header: Header) -> None:
    """Refuse a file with fewer bytes than its header promises."""
    promised = math.prod(header.shape) * header.voxel_bytes
    if header.data is None:
        return
    there = header.data.stat().st_size
    if header.packing == RAW:
        _check_enough(path, header, promised + (header.offset or 0), there)
        if header.format != "NIfTI" and header.data != path and header.offset is not None:
            _check_no_more(path, promised + header.offset, there)
    elif header.packing in (GZIP, ZLIB):
        if promised > there * DEFLATE_RATIO:
            _check_enough(path, header, promised, there)
        if header.packing == GZIP and header.offset is not None:
            _check_gzip(path, header, promised + header.offset)


def _check_gzip(path: Path, header: Header, expected: int) -> None:
    """Compare the promise with the length that gzip keeps in its last four bytes; unpack where they differ."""
    assert header.data is not None
    with header.data.open("rb") as file:
        file.seek(-4, 2)
        if int.from_bytes(file.read(4), "little") == expected % 2**32:
            return
        file.seek(header.start)
        unpacked = 0
        with gzip.open(file) as stream:
            while block := stream.read(2**20):
                unpacked += len(block)
    _check_enough(path, header, expected, unpacked)
    if header.format != "NIfTI" and header.data != path:
        _check_no_more(path, expected, unpacked)


def _check_enough(path: Path, header: Header, promised: int, there: int) -> None:
    if there < promised:
        raise VolumeError(
            f"{path}: cannot be read as {header.format} (promises {promised} bytes, holds {there}); fetch it again"
        )


def _check_no_more(path: Path, promised: int, there: int) -> None:
    if there > promised:
        raise VolumeError(
            f"{path}: its data file holds {there - promised} bytes more than promised; state how many to skip"
        )
