"""How large a pixel of a mask is in millimetres, where something states it; nothing is guessed.

What files state is the size in the plane of the detector: the patient is magnified there by some 5 to 30 %.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from nerp.data.beside import records_beside
from nerp.data.films import JSRT_SIDE, is_film, is_jsrt
from nerp.dicom.radiographs import film_spacing
from nerp.errors import VolumeError

JSRT_MM = 0.175
"""Of a pixel of the JSRT database's raw files. Source: Shiraishi 2000."""

Spacing = tuple[float, float]
"""Between rows and between columns, mm."""
Shape = tuple[int, int]

UNEQUAL = 0.01
"""Relative difference of two grids' sides ratios up to which they show the same field."""


def stated_spacings(images: Sequence[Path]) -> dict[Path, tuple[Spacing, Shape]]:
    """What the images' own files and their set's records state.

    Args:
        images: pictures, DICOM, raw JSRT files, or images of a set of pairs.

    Returns:
        For each image of which something is stated: mm between rows and columns, and the (H, W) of that grid.

    Raises:
        DataError: records that cannot be read.
    """
    records = records_beside(images)
    found = {path: _of_record(records[path]) if path in records else _of_film(path) for path in images}
    return {path: stated for path, stated in found.items() if stated is not None}


def spacing_finder(
    images: Sequence[Path], spacing_mm: Spacing | None = None
) -> Callable[[Path, Shape], Spacing | None]:
    """What tells the pixel spacing of an image's mask.

    Args:
        images:     to be asked for.
        spacing_mm: of every mask, between rows and columns, where it is known; else what files state is taken.

    Returns:
        A function of an image and the (H, W) of its mask; None where nothing is known.

    Raises:
        DataError: records that cannot be read.
    """
    stated = {} if spacing_mm is not None else stated_spacings(images)

    def find(image: Path, shape: Shape) -> Spacing | None:
        if spacing_mm is not None:
            return spacing_mm
        return spacing_on(stated[image], shape) if image in stated else None

    return find


def spacing_on(stated: tuple[Spacing, Shape], shape: Shape) -> Spacing | None:
    """The spacing of another grid over the same field, such as of a mask that is smaller than its image.

    Args:
        stated: mm between rows and columns, and the (H, W) they are of.
        shape:  (H, W) of the other grid.

    Returns:
        mm between rows and columns; None where the grids' proportions differ, so that their fields do.
    """
    (rows_mm, columns_mm), (rows, columns) = stated
    down, across = rows / shape[0], columns / shape[1]
    if abs(down / across - 1) > UNEQUAL:
        return None
    return rows_mm * down, columns_mm * across


def _of_record(record: dict[str, Any]) -> tuple[Spacing, Shape] | None:
    try:
        camera = record["camera"]
        (rows_mm, columns_mm), (rows, columns) = camera["pixel_mm"][0], camera["shape"]
        stated = (float(rows_mm), float(columns_mm)), (int(rows), int(columns))
    except (KeyError, TypeError, ValueError, IndexError):
        return None
    return stated if min(*stated[0], *stated[1]) > 0 else None


def _of_film(path: Path) -> tuple[Spacing, Shape] | None:
    if not is_film(path):
        return None
    if is_jsrt(path):
        return (JSRT_MM, JSRT_MM), (JSRT_SIDE, JSRT_SIDE)
    try:
        return film_spacing(path)
    except VolumeError:
        return None
