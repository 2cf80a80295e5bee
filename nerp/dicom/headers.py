"""DICOM files as they come: known by their content, headers in any byte order, every number guarded.

A header is read up to its pixels and no further. What a tag holds is converted in one place, so that a
comma for a point, a missing part or a spacing of zero is one line that names file, tag, found and expected.
"""

from __future__ import annotations

import struct
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO

import numpy as np

from nerp.errors import VolumeError

if TYPE_CHECKING:
    from pydicom import Dataset

IDENTITY_TAGS = [
    "Modality",
    "SOPClassUID",
    "ImageType",
    "StudyInstanceUID",
    "SeriesInstanceUID",
    "SeriesNumber",
    "SeriesDescription",
    "ConvolutionKernel",
    "InstanceNumber",
]
PLACE_TAGS = ["PixelSpacing", "ImagePositionPatient", "ImageOrientationPatient"]
GROUP_TAGS = ["SharedFunctionalGroupsSequence", "PerFrameFunctionalGroupsSequence"]
SCALE_TAGS = ["RescaleSlope", "RescaleIntercept", "RescaleType", "ModalityLUTSequence"]
PIXEL_TAGS = [
    "Rows",
    "Columns",
    "NumberOfFrames",
    "SamplesPerPixel",
    "PhotometricInterpretation",
    "PixelPresentation",
    "BitsAllocated",
    "BitsStored",
    "HighBit",
    "PixelRepresentation",
    "PixelPaddingValue",
    "PixelPaddingRangeLimit",
    "LossyImageCompression",
]
DISPLAY_TAGS = [
    "PresentationIntentType",
    "PixelIntensityRelationship",
    "PixelIntensityRelationshipSign",
    "PresentationLUTShape",
    "VOILUTSequence",
    "VOILUTFunction",
    "WindowCenter",
    "WindowWidth",
    "ImagerPixelSpacing",
    "NominalScannedPixelSpacing",
    "PixelAspectRatio",
]
"""What turns the numbers of a radiograph into what is shown."""

OVERLAY_BIT = "60000102"
"""OverlayBitPosition of the first overlay: above 0 where drawings lie among the pixels' bits."""

WANTED = [*IDENTITY_TAGS, *PLACE_TAGS, *GROUP_TAGS, *SCALE_TAGS, *PIXEL_TAGS, *DISPLAY_TAGS, OVERLAY_BIT]

DICOM_NAMES = (".dcm", ".ima", ".dicom")
"""Endings that promise DICOM."""

CT_CLASSES = ("1.2.840.10008.5.1.4.1.1.2", "1.2.840.10008.5.1.4.1.1.2.1", "1.2.840.10008.5.1.4.1.1.2.2")
"""CT Image Storage, Enhanced CT, Legacy Converted Enhanced CT (DICOM PS3.4, B.5)."""

DEFLATED = "1.2.840.10008.1.2.1.99"
UNDEFINED_LENGTH = 0xFFFFFFFF


@dataclass(frozen=True)
class DicomFile:
    """A DICOM file without its pixels.

    Args:
        path:          where it lies.
        header:        the tags that are wanted here; empty where the header is damaged.
        syntax:        TransferSyntaxUID, empty where the file states none.
        storage:       SOP class, of the header or else of the file's meta group.
        is_little:     byte order of the data set.
        pixels_at:     offset of the first byte of PixelData's value; -1 where there is none.
        pixels_length: bytes of that value as the file promises; -1 for compressed fragments.
    """

    path: Path
    header: Dataset
    syntax: str
    storage: str
    is_little: bool
    pixels_at: int
    pixels_length: int

    @property
    def is_deflated(self) -> bool:
        """Whether all after the meta group is compressed, so that offsets mean nothing."""
        return self.syntax == DEFLATED


@contextmanager
def quiet() -> Iterator[None]:
    """Anonymised archives are full of harmless invalid fields; pydicom's remarks on them are kept back."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield


def is_dicom(path: Path) -> bool:
    """Whether a file is DICOM by its first bytes, with or without preamble and meta group."""
    try:
        with path.open("rb") as stream:
            return _is_dicom(stream.read(144))
    except OSError:
        return False


def _is_dicom(start: bytes) -> bool:
    return start[128:132] == b"DICM" or _starts_raw(start)


def _starts_raw(start: bytes) -> bool:
    """Whether bytes begin with a first element of group 2 or 8, as files without a preamble do."""
    if len(start) < 12:
        return False
    for order in "<>":
        group, element, length = struct.unpack(f"{order}HHL", start[:8])
        if group in (2, 8) and element <= 0x20:
            return (start[4:6].isalpha() and start[4:6].isupper()) or length <= 512
    return False


def read_file(path: Path) -> DicomFile | None:
    """The header of a DICOM file; None where the file is no DICOM by its content.

    Files without a preamble, a meta group or a transfer syntax are read as implicit or explicit, little or
    big endian, whichever their first element is. A file that begins as DICOM and cannot be read has an
    empty header.
    """
    try:
        with path.open("rb") as stream:
            start = stream.read(144)
            if not _is_dicom(start):
                return None
            found = _parsed(path, stream, 0)
            return found if "Rows" in found.header else _flipped(path, stream, start) or found
    except OSError as error:
        raise VolumeError(f"{path}: cannot be read ({error.strerror}); check the file and its rights") from error


def _parsed(path: Path, stream: BinaryIO, origin: int) -> DicomFile:
    from pydicom import Dataset, dcmread

    stream.seek(0)
    try:
        with quiet():
            header = dcmread(stream, stop_before_pixels=True, specific_tags=list(WANTED), force=True)
            meta = header.file_meta
            syntax, stored = str(meta.get("TransferSyntaxUID", "")), str(meta.get("MediaStorageSOPClassUID", ""))
            is_implicit, is_little = header.original_encoding
    except Exception:  # whatever a damaged header makes pydicom raise, it is a damaged header
        return DicomFile(path, Dataset(), "", "", True, -1, -1)
    at, length = (0, 0) if syntax == DEFLATED else _pixel_element(stream, bool(is_implicit), bool(is_little))
    storage = text(header, "SOPClassUID") or stored
    return DicomFile(path, header, syntax, storage, bool(is_little), at + origin if at >= 0 else at, length)


def _flipped(path: Path, stream: BinaryIO, start: bytes) -> DicomFile | None:
    """A file whose data set is in another byte order than its meta group says, or None."""
    at = 132
    if len(start) == 144 and start[132:138] == b"\2\0\0\0UL":
        at = 144 + struct.unpack("<L", start[140:144])[0]
    stream.seek(at)
    if start[128:132] != b"DICM" or not _starts_raw(stream.read(12)):
        return None
    stream.seek(at)
    found = _parsed(path, BytesIO(stream.read()), at)
    return found if "Rows" in found.header else None


def _pixel_element(stream: BinaryIO, is_implicit: bool, is_little: bool) -> tuple[int, int]:
    """Where PixelData's value begins and how long it is; -1 for what does not exist or is undefined."""
    at = stream.tell()
    head = stream.read(12)
    order = "<" if is_little else ">"
    if len(head) < 12 or struct.unpack(f"{order}HH", head[:4]) != (0x7FE0, 0x0010):
        return -1, -1
    if not is_implicit and head[4:8] not in (b"OW\0\0", b"OB\0\0", b"UN\0\0"):
        return -1, -1
    size = 8 if is_implicit else 12
    length = struct.unpack(f"{order}L", head[size - 4 : size])[0]
    return at + size, -1 if length == UNDEFINED_LENGTH else length


def text(data: Dataset, keyword: str) -> str:
    """What a tag holds as one line of text; several values are joined by backslashes, nothing is empty.

    Args:
        data:    a header, or one of its parts.
        keyword: of the tag.
    """
    try:
        with quiet():
            value = data.get(keyword)
    except Exception:  # a value that pydicom cannot convert is shown as it is stored
        value = data.get_item(keyword).value
    if value is None:
        return ""
    parts = value if isinstance(value, (list, tuple)) or type(value).__name__ == "MultiValue" else [value]
    words = (part.decode("latin-1") if isinstance(part, bytes) else str(part) for part in parts)
    return " ".join("\\".join(word.strip(" \0") for word in words).split())[:80]


def numbers(file: DicomFile, data: Dataset, keyword: str, count: int, low: float, high: float) -> np.ndarray | None:
    """The numbers that a tag holds, or None where the tag is absent or empty.

    Args:
        file:      for the message.
        data:      the header, or one of its parts, that holds the tag.
        keyword:   of the tag.
        count:     how many there have to be.
        low, high: within which each has to lie.

    Returns:
        (N,) float64, N being `count`.

    Raises:
        VolumeError: another count, no numbers, or not within the bounds.
    """
    try:
        with quiet():
            value = data.get(keyword)
            if value is None or value == "":
                return None
            found = np.atleast_1d(np.asarray(value, dtype=np.float64)).ravel()
    except Exception:  # pydicom has its own error for each way in which a value can be wrong
        found = np.empty(0)
    if found.size == 0 and not text(data, keyword):
        return None
    if found.size != count or not (np.isfinite(found) & (found >= low) & (found <= high)).all():
        wanted = f"{count} numbers" if count > 1 else "a number"
        raise VolumeError(
            f"{file.path}: {keyword} is '{text(data, keyword)}'; expected {wanted} from {low:g} to {high:g}: "
            "repair the header or fetch the file again"
        )
    return found


def number(file: DicomFile, data: Dataset, keyword: str, low: float, high: float) -> float | None:
    """The one number that a tag holds, or None where it is absent.

    Args:
        file:      for the message.
        data:      the header, or one of its parts, that holds the tag.
        keyword:   of the tag.
        low, high: within which it has to lie.

    Raises:
        VolumeError: as `numbers`.
    """
    found = numbers(file, data, keyword, 1, low, high)
    return None if found is None else float(found[0])


def whole(file: DicomFile, keyword: str, low: int, high: int, default: int | None = None) -> int:
    """The whole number that a tag of the header holds.

    Args:
        file:      whose header holds the tag.
        keyword:   of the tag.
        low, high: within which it has to lie.
        default:   where the tag is absent; None if it must be there.

    Raises:
        VolumeError: absent, not whole, or not within the bounds.
    """
    found = number(file, file.header, keyword, low, high)
    if found is None:
        found = default
    if found is None:
        raise VolumeError(f"{file.path}: has no {keyword}; its pixels cannot be read without it: fetch the file again")
    if found != int(found):
        raise VolumeError(f"{file.path}: {keyword} is {found:g}; expected a whole number: repair the header")
    return int(found)
