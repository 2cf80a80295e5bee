"""Writes pictures that Pillow does not write: PNG and TIFF byte by byte."""

import struct
import zlib
from pathlib import Path

import numpy as np


def write_deep_png(path: Path, values: np.ndarray, colour_type: int) -> Path:
    """A PNG of `values` (rows, columns, channels) uint16; the colour type is 2 for RGB, 4 for grey and alpha, 6."""
    rows, columns = values.shape[:2]
    lines = b"".join(b"\0" + line.astype(">u2").tobytes() for line in values)
    head = struct.pack(">LLBBBBB", columns, rows, 16, colour_type, 0, 0, 0)
    chunks = [(b"IHDR", head), (b"IDAT", zlib.compress(lines)), (b"IEND", b"")]
    packed = [
        struct.pack(">L", len(data)) + kind + data + struct.pack(">L", zlib.crc32(kind + data)) for kind, data in chunks
    ]
    path.write_bytes(b"\x89PNG\r\n\x1a\n" + b"".join(packed))
    return path


def _chunk(kind: bytes, data: bytes) -> bytes:
    return struct.pack(">L", len(data)) + kind + data + struct.pack(">L", zlib.crc32(kind + data))


def write_tiff(path: Path, values: np.ndarray, *, photometric: int, orientation: int = 1, order: str = "<") -> Path:
    """An uncompressed TIFF of `values`, (rows, columns) or (rows, columns, 3), uint8 or uint16."""
    rows, columns = values.shape[:2]
    channels, bits = values[0, 0].size, 8 * values.dtype.itemsize
    data = values.astype(values.dtype.newbyteorder(order)).tobytes()
    tags = [(256, [columns]), (257, [rows]), (258, [bits] * channels), (259, [1]), (262, [photometric]), (273, [8])]
    tags += [(274, [orientation]), (277, [channels]), (278, [rows]), (279, [len(data)]), (284, [1])]
    at = 8 + len(data)
    listed, more = struct.pack(f"{order}H", len(tags)), b""
    for tag, numbers in tags:
        packed = struct.pack(f"{order}{len(numbers)}H", *numbers)
        if len(packed) > 4:
            place = at + 2 + 12 * len(tags) + 4 + len(more)
            more, packed = more + packed, struct.pack(f"{order}L", place)
        listed += struct.pack(f"{order}HHL", tag, 3, len(numbers)) + packed.ljust(4, b"\0")
    magic = (b"II" if order == "<" else b"MM") + struct.pack(f"{order}HL", 42, at)
    path.write_bytes(magic + data + listed + bytes(4) + more)
    return path
