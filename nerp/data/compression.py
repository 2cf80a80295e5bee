"""What a lossy file has done to its image, and the same done to another: JPEG's tables read, and applied."""

from __future__ import annotations

import io
from collections.abc import Iterable
from pathlib import Path

import numpy as np

JPEG_START = b"\xff\xd8"

Table = tuple[int, ...]
"""Steps of the 64 frequencies of JPEG's luminance, in rows, grey levels."""


def jpeg_table(path: str | Path) -> Table | None:
    """The luminance steps that a JPEG file was quantised by; None of any other file, and of one that cannot be read.

    Source: ITU-T T.81, B.2.4.1.
    """
    with open(path, "rb") as file:
        if file.read(2) != JPEG_START:
            return None
    from PIL import Image, UnidentifiedImageError

    try:
        with Image.open(path) as image:
            tables = getattr(image, "quantization", None)
    except (OSError, UnidentifiedImageError):
        return None
    return tuple(tables[0]) if tables and 0 in tables else None


def coarsest(tables: Iterable[Table | None]) -> Table | None:
    """The table of the largest steps in all; None where there is none."""
    known = [table for table in tables if table is not None]
    return max(known, key=sum) if known else None


def compressed(grey: np.ndarray, table: Table) -> np.ndarray:
    """An image as it would be, had its file been a JPEG of a table.

    Args:
        grey:  (H, W) float32 in 0..1.
        table: from `jpeg_table`.

    Returns:
        (H, W) float32 in 0..1, of 8 bits.
    """
    from PIL import Image

    buffer = io.BytesIO()
    pixels = (grey * 255).round().astype(np.uint8)
    Image.fromarray(pixels).save(buffer, format="JPEG", qtables={0: list(table)})
    with Image.open(buffer) as image:
        return np.asarray(image, np.float32) / 255
