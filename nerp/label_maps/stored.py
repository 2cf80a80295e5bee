"""Labels as a file holds them: maps on its own grid, where overlapping structures lie in several."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import TypeAlias

import numpy as np

from nerp.errors import GeometryError, VolumeError
from nerp.volume import MAX_LABEL, as_affine

Structure: TypeAlias = tuple[int, np.ndarray]
"""A label value, and (I, J, K) bool: where it is."""

CONVERT = "convert it to .nii.gz or .seg.nrrd, as 3D Slicer does"


@dataclass(frozen=True)
class StoredMaps:
    """Label maps on the grid of their file.

    Args:
        maps:   each (I, J, K), whole numbers, 0 where there is no label.
        affine: (4, 4) from index to world RAS+ mm.
        names:  of the label values, as far as the file tells them.
        is_on_like: whether the grid is that of the CT by the way the maps were made, as of contours.
    """

    maps: list[np.ndarray]
    affine: np.ndarray
    names: dict[int, str] = field(default_factory=dict)
    is_on_like: bool = False


def pack(path: Path, structures: Iterable[Structure], shape: tuple[int, ...], *, max_voxels: int) -> list[np.ndarray]:
    """Structures in as few maps as their order gives: each goes whole into the first map where it meets no other.

    Args:
        path:       as messages name it.
        structures: label values above 0, and where they are, (I, J, K) bool; taken one by one.
        shape:      (I, J, K).
        max_voxels: more, in all maps together, are refused.

    Returns:
        Maps (I, J, K), at least one, of the smallest type that the largest value fits.

    Raises:
        VolumeError: a value too large, or structures that overlap in too many layers.
    """
    maps: list[np.ndarray] = [np.zeros(math.prod(shape), np.uint8)]
    for value, mask in structures:
        if not 1 <= value < MAX_LABEL:
            raise VolumeError(f"{path}: has the label value {value}; expected 1 to {MAX_LABEL - 1}")
        where = np.flatnonzero(mask.ravel(order="F"))  # first axis fastest, as files mostly are
        at = next((n for n, one in enumerate(maps) if not one[where].any()), len(maps))
        if at == len(maps):
            check_voxels(path, (*shape, len(maps) + 1), max_voxels)
            maps.append(np.zeros_like(maps[0], np.uint8))
        if value > np.iinfo(maps[at].dtype).max:
            maps[at] = maps[at].astype(np.min_scalar_type(value))
        maps[at][where] = value
    return [one.reshape(shape, order="F") for one in maps]


def check_voxels(path: Path, counts: Iterable[int], max_voxels: int) -> None:
    """Refuse a grid, or layers of one, that hold nothing or too much.

    Args:
        path:       as the message names it.
        counts:     of voxels along each axis, and of layers.
        max_voxels: more are refused.

    Raises:
        VolumeError: a count below 1, or too many voxels.
    """
    counts = [int(count) for count in counts]
    listed = "x".join(map(str, counts))
    if min(counts) < 1:
        raise VolumeError(f"{path}: is empty ({listed} voxels); write the file again")
    if math.prod(counts) > max_voxels:
        raise VolumeError(
            f"{path}: promises {math.prod(counts)} voxels ({listed}), the limit is {max_voxels}; "
            "crop or resample it, or raise max_voxels"
        )


def placed(path: Path, affine: np.ndarray) -> np.ndarray:
    """The affine where it is one.

    Args:
        path:   as the message names it.
        affine: (4, 4) to RAS+ mm.

    Raises:
        VolumeError: not finite, or singular.
    """
    try:
        return as_affine(affine).numpy()
    except GeometryError as error:
        raise VolumeError(f"{path}: {error}") from error


def one_line(error: BaseException) -> str:
    """The last line of a library's message."""
    return (str(error).strip().splitlines() or [type(error).__name__])[-1].strip()
