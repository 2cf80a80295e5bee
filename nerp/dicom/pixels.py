"""Numbers of a DICOM file as stored: as many as promised, decompressed; HU of planes, padding told from matter."""

from __future__ import annotations

import struct
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from nerp.dicom.frames import Frame, n_frames
from nerp.dicom.headers import DicomFile, numbers, quiet, text, whole
from nerp.errors import VolumeError
from nerp.formats import read_stored

if TYPE_CHECKING:
    from pydicom.dataset import FileDataset

FILLING_HU = -1024.0
"""What padding becomes where it would be taken for matter."""

AIR_HU = -1000.0
EDGE_HU = -900.0
"""Padding above it has a tissue's HU: it counts only where it reaches in from the image's border."""

ITEM, DELIMITER = (0xFFFE, 0xE000), (0xFFFE, 0xE0DD)


@dataclass(frozen=True)
class Layout:
    """How a file's numbers lie.

    Args:
        frames, rows, columns: counts.
        allocated: bits that each number takes.
        stored:    bits of it that are used, the lower ones.
        is_signed: whether they are two's complement.
        is_little: byte order.
    """

    frames: int
    rows: int
    columns: int
    allocated: int
    stored: int
    is_signed: bool
    is_little: bool

    @property
    def shape(self) -> tuple[int, int, int]:
        """(frames, rows, columns)."""
        return self.frames, self.rows, self.columns

    @property
    def n_bytes(self) -> int:
        """What all frames take, uncompressed."""
        return self.frames * self.rows * self.columns * self.allocated // 8

    @property
    def dtype(self) -> np.dtype:
        """Of the stored numbers."""
        return np.dtype(f"{'<' if self.is_little else '>'}{'i' if self.is_signed else 'u'}{self.allocated // 8}")


def layout_of(file: DicomFile) -> Layout:
    """How a file says that its numbers lie.

    Raises:
        VolumeError: tags that are missing, that cannot be, or that contradict each other.
    """
    if whole(file, "SamplesPerPixel", 1, 4, default=1) != 1:
        raise VolumeError(f"{file.path}: holds several numbers a pixel; expected one: save it in grey")
    allocated = whole(file, "BitsAllocated", 1, 64)
    stored = whole(file, "BitsStored", 1, 64, default=allocated)
    high = whole(file, "HighBit", 0, 63, default=stored - 1)
    if allocated not in (8, 16, 32) or stored > allocated or high != stored - 1:
        raise VolumeError(
            f"{file.path}: BitsAllocated {allocated}, BitsStored {stored}, HighBit {high}; expected 8, 16 or 32, no "
            "more than that, and one less: repair the header or fetch the file again"
        )
    is_signed = bool(whole(file, "PixelRepresentation", 0, 1))
    rows, columns = whole(file, "Rows", 1, 65535), whole(file, "Columns", 1, 65535)
    return Layout(n_frames(file), rows, columns, allocated, stored, is_signed, file.is_little)


def check_hounsfield(file: DicomFile) -> None:
    """Make sure that a file's numbers can be HU, which only grow with density.

    Raises:
        VolumeError: inverted numbers, or a picture's.
    """
    layout_of(file)
    kind = text(file.header, "PhotometricInterpretation") or "MONOCHROME2"
    if kind != "MONOCHROME2":
        raise VolumeError(
            f"{file.path}: PhotometricInterpretation is {kind!r}; expected MONOCHROME2: whether its HU are inverted "
            "cannot be known, convert it first"
        )


def check_pixels(file: DicomFile) -> None:
    """Make sure that a file is as long as its header promises, without decompressing anything.

    Raises:
        VolumeError: no pixels, too few or too many bytes, fragments cut short, or tags as in `layout_of`.
    """
    layout = layout_of(file)
    if file.pixels_at < 0:
        raise VolumeError(f"{file.path}: has no PixelData; expected an image: fetch the file again")
    if file.is_deflated:
        return
    if file.pixels_length >= 0:
        _check_length(file, layout, file.pixels_length)
        _check_length(file, layout, min(file.pixels_length, file.path.stat().st_size - file.pixels_at))
        return
    with file.path.open("rb") as stream:
        _fragments_end(file, stream)


def _check_length(file: DicomFile, layout: Layout, there: int) -> None:
    line = layout.columns * layout.allocated // 8
    if not layout.n_bytes <= there < layout.n_bytes + max(2, line):
        size = "x".join(str(count) for count in layout.shape)
        raise VolumeError(
            f"{file.path}: its pixels cannot be read (found {there} bytes, expected {layout.n_bytes} for {size} of "
            f"{layout.allocated} bits); fetch the file again"
        )


def _fragments_end(file: DicomFile, stream) -> int:
    """Offset behind the last fragment of compressed pixels; all of them have to be whole."""
    size = file.path.stat().st_size
    at = file.pixels_at
    while at + 8 <= size:
        stream.seek(at)
        group, element, length = struct.unpack("<HHL", stream.read(8))
        if (group, element) == DELIMITER:
            return at
        if (group, element) != ITEM or at + 8 + length > size:
            break
        at += 8 + length
    raise VolumeError(f"{file.path}: its pixels cannot be read (compressed data is cut short); fetch the file again")


def read_stored_frames(file: DicomFile) -> np.ndarray:
    """(F, rows, columns) numbers as stored, before the rescale; whatever the transfer syntax.

    Raises:
        VolumeError: as `check_pixels`, or data that cannot be decompressed.
    """
    check_pixels(file)
    layout = layout_of(file)
    if file.is_deflated:
        return _native(file, layout, _inflated(file))
    with file.path.open("rb") as stream:
        length = file.pixels_length if file.pixels_length >= 0 else _fragments_end(file, stream) - file.pixels_at
        stream.seek(file.pixels_at)
        raw = stream.read(length)
    return _native(file, layout, raw) if file.pixels_length >= 0 else _decompressed(file, layout, raw)


def _inflated(file: DicomFile) -> bytes:
    from pydicom import dcmread

    try:
        with quiet():
            return bytes(dcmread(file.path).PixelData)
    except Exception as error:  # zlib's, pydicom's, or a missing tag's
        raise VolumeError(f"{file.path}: its pixels cannot be inflated; fetch the file again") from error


def _native(file: DicomFile, layout: Layout, raw: bytes) -> np.ndarray:
    _check_length(file, layout, len(raw))
    if layout.allocated == 8 and not layout.is_little:
        raise VolumeError(f"{file.path}: holds big-endian numbers of 8 bits; expected 16: convert it first")
    return np.frombuffer(raw[: layout.n_bytes], layout.dtype).reshape(layout.shape)


def _decompressed(file: DicomFile, layout: Layout, raw: bytes) -> np.ndarray:
    """Stored numbers through GDCM, from a file that holds the pixels and nothing else to be misread."""
    if not file.syntax:
        raise VolumeError(f"{file.path}: its pixels are compressed and it has no TransferSyntaxUID; fetch it again")
    with tempfile.TemporaryDirectory(prefix="nerp-") as folder:
        bare = Path(folder) / "bare.dcm"
        _write_bare(bare, file, layout, raw)
        try:
            stored = read_stored(bare)
        except VolumeError as error:
            reason = str(error).replace(f"{bare}: ", "")
            raise VolumeError(f"{file.path}: its pixels cannot be read ({reason}); fetch the file again") from error
    if stored.shape != layout.shape or stored.dtype.kind not in "iu":
        raise VolumeError(f"{file.path}: holds {stored.shape} numbers; expected {layout.shape}: fetch the file again")
    return stored


def _write_bare(path: Path, file: DicomFile, layout: Layout, raw: bytes) -> None:
    try:
        with quiet():
            _bare(path, file.syntax, layout, raw).save_as(path, enforce_file_format=True)
    except Exception as error:  # a syntax or fragments that pydicom finds faulty, or no room for the file
        reason = " ".join(str(error).split())
        raise VolumeError(f"{file.path}: its pixels cannot be read ({reason}); fetch the file again") from error


def _bare(path: Path, syntax: str, layout: Layout, raw: bytes) -> FileDataset:
    from pydicom.dataset import FileDataset, FileMetaDataset
    from pydicom.uid import UID, generate_uid

    meta = FileMetaDataset()
    meta.TransferSyntaxUID = UID(syntax)
    meta.MediaStorageSOPClassUID = UID("1.2.840.10008.5.1.4.1.1.7.3")  # multi-frame secondary capture: no rescale
    meta.MediaStorageSOPInstanceUID = generate_uid()
    bare = FileDataset(str(path), {}, file_meta=meta, preamble=b"\0" * 128)
    bare.SOPClassUID, bare.SOPInstanceUID = meta.MediaStorageSOPClassUID, meta.MediaStorageSOPInstanceUID
    bare.Modality, bare.PhotometricInterpretation, bare.SamplesPerPixel = "OT", "MONOCHROME2", 1
    bare.NumberOfFrames, bare.Rows, bare.Columns = layout.shape
    bare.BitsAllocated, bare.BitsStored, bare.HighBit = layout.allocated, layout.stored, layout.stored - 1
    bare.PixelRepresentation = int(layout.is_signed)
    bare.add_new(0x7FE00010, "OB", raw)
    bare["PixelData"].is_undefined_length = True
    return bare


def hounsfield(file: DicomFile, frames: list[Frame]) -> np.ndarray:
    """HU of some of a file's planes, each by its own rescale; padding is outside, not matter.

    Args:
        file:   that holds them.
        frames: of that file.

    Returns:
        (len(frames), rows, columns) float32 HU, before values below -1100 HU are taken for padding.

    Raises:
        VolumeError: as `read_stored_frames`, or numbers beyond the bits that the header says are used.
    """
    check_hounsfield(file)
    stored = read_stored_frames(file)
    planes = np.empty((len(frames), *stored.shape[1:]), np.float32)
    for plane, frame in zip(planes, frames, strict=True):
        slope = 1.0 if frame.slope is None else frame.slope
        intercept = frame.intercept or 0.0
        own = stored[frame.index]
        is_padding = padding(file, own)
        check_range(file, own if is_padding is None else own[~is_padding])
        plane[:] = own.astype(np.float32) * slope + intercept
        if is_padding is not None:
            _pad(plane, is_padding)
    return planes


def padding(file: DicomFile, stored: np.ndarray) -> np.ndarray | None:
    """Where a plane holds its padding value, whichever sign the header gives it; None if it never does.

    Args:
        file:   whose header says the value, or the range.
        stored: (rows, columns) as stored.

    Returns:
        (rows, columns) bool, True where there is padding.
    """
    ends = [
        numbers(file, file.header, tag, 1, -(2**31), 2**32) for tag in ("PixelPaddingValue", "PixelPaddingRangeLimit")
    ]
    if ends[0] is None:
        return None
    low, high = sorted(
        _as_stored(float(end[0]), stored.dtype) for end in (ends[0], ends[0] if ends[1] is None else ends[1])
    )
    found = (stored >= low) & (stored <= high)
    return found if found.any() else None


def _as_stored(value: float, dtype: np.dtype) -> int:
    """A padding value in the pixels' own type: archives write -2000 as 63536 and the other way round."""
    return int(
        np.array(int(value) % 2 ** (8 * dtype.itemsize), np.dtype(f"u{dtype.itemsize}")).view(
            np.dtype(f"{dtype.kind}{dtype.itemsize}")
        )
    )


def check_range(file: DicomFile, stored: np.ndarray) -> None:
    """Make sure that numbers are such as the header says.

    Args:
        file:   that holds them.
        stored: any shape, without padding.

    Raises:
        VolumeError: numbers beyond the bits that are used.
    """
    layout = layout_of(file)
    low, high = (-(2 ** (layout.stored - 1)), 2 ** (layout.stored - 1)) if layout.is_signed else (0, 2**layout.stored)
    if stored.size and not (low <= stored.min() and stored.max() < high):
        raise VolumeError(
            f"{file.path}: its numbers run from {stored.min()} to {stored.max()}; expected {low} to {high - 1} by "
            f"BitsStored {layout.stored} and PixelRepresentation {int(layout.is_signed)}: repair the header"
        )


def _pad(plane: np.ndarray, is_padding: np.ndarray) -> None:
    """Fill padding that would be taken for matter."""
    level = plane[is_padding].max()
    if level <= AIR_HU:
        return
    plane[is_padding if level < EDGE_HU else from_border(is_padding)] = FILLING_HU


def from_border(mask: np.ndarray) -> np.ndarray:
    """The part of a mask that is reached from the border along a row or a column.

    Args:
        mask: (rows, columns) bool.

    Returns:
        (rows, columns) bool.
    """
    ways = [(mask, 0), (mask[::-1], 0), (mask, 1), (mask[:, ::-1], 1)]
    reached = [np.logical_and.accumulate(way, axis=axis) for way, axis in ways]
    return reached[0] | reached[1][::-1] | reached[2] | reached[3][:, ::-1]
