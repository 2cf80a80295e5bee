"""Whether a picture's file is whole, told from its structure without decoding it."""

from __future__ import annotations

import struct
from collections.abc import Callable
from pathlib import Path
from typing import BinaryIO

from nerp.data.pictures import opened
from nerp.errors import DataError

TAIL = 1 << 16
"""Bytes at a file's end in which the mark of its end is looked for first."""

STRIPS, TILES = (273, 279), (324, 325)
"""Tags of TIFF 6.0: offsets and lengths."""


def check_picture(path: Path) -> None:
    """Make sure that a picture can be opened and that its file is not cut short; fast.

    PNG is followed to its last chunk, JPEG and GIF are searched for their end, TIFF and BMP have to hold the
    bytes that they promise. Damage in the middle is found only when the picture is read.

    Raises:
        DataError: missing, no picture, several pictures, too large, or cut short.
    """
    with opened(path) as image:
        kind = image.format or ""
        ends = _tiff_ends(getattr(image, "tag_v2", {})) if kind == "TIFF" else []
    with path.open("rb") as stream:
        size = path.stat().st_size
        is_whole = max(ends, default=0) <= size if kind == "TIFF" else WHOLE.get(kind, _unknown)(stream, size)
    if not is_whole:
        raise DataError(f"{path}: its file is cut short ({size} bytes); fetch or write it again")


def _tiff_ends(tags: object) -> list[int]:
    """Where each strip or tile of a page ends."""
    ends = []
    for offsets, lengths in (STRIPS, TILES):
        found = [tags.get(tag) or () for tag in (offsets, lengths)]  # type: ignore[attr-defined]
        starts, counts = (value if isinstance(value, tuple) else (value,) for value in found)
        ends += [int(start) + int(count) for start, count in zip(starts, counts, strict=False)]
    return ends


def _png_ends(stream: BinaryIO, size: int) -> bool:
    at = 8
    while at + 12 <= size:
        stream.seek(at)
        length, kind = struct.unpack(">L4s", stream.read(8))
        at += 12 + length
        if kind == b"IEND":
            return at <= size
    return False


def _jpeg_ends(stream: BinaryIO, size: int) -> bool:
    """Whether the end of image follows the first scan; a thumbnail within the header has one of its own."""
    scan = _first_scan(stream, size)
    if scan is None:
        return False
    for start in (max(scan, size - TAIL), scan):
        stream.seek(start)
        if b"\xff\xd9" in stream.read(size - start):
            return True
    return False


def _first_scan(stream: BinaryIO, size: int) -> int | None:
    at = 2
    while at + 4 <= size:
        stream.seek(at)
        mark, kind, length = struct.unpack(">BBH", stream.read(4))
        if mark != 0xFF:
            return None
        if kind == 0xDA:
            return at + 2 + length
        at += 1 if kind == 0xFF else 2 + length  # any number of 0xFF may stand before a marker
    return None


def _gif_ends(stream: BinaryIO, size: int) -> bool:
    stream.seek(max(0, size - TAIL))
    return stream.read().rstrip(b"\0").endswith(b"\x3b")


def _bmp_ends(stream: BinaryIO, size: int) -> bool:
    stream.seek(10)
    head = stream.read(24)
    if len(head) < 24:
        return False
    start, header, width, height, _, bits, compression = struct.unpack("<LLllHHL", head)
    if header < 40:  # of OS/2, where sizes have 16 bits
        return start < size
    lines = (width * bits + 31) // 32 * 4 * abs(height) if compression in (0, 3) else 1
    return start + lines <= size


def _unknown(stream: BinaryIO, size: int) -> bool:
    return size > 0


WHOLE: dict[str, Callable[[BinaryIO, int], bool]] = {
    "PNG": _png_ends,
    "JPEG": _jpeg_ends,
    "MPO": _jpeg_ends,
    "GIF": _gif_ends,
    "BMP": _bmp_ends,
}
"""What tells, by Pillow's name of a format, from the file and its size whether it is whole."""
