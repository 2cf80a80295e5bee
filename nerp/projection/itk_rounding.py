"""What single precision makes of a ray's way through a grid in ITK's Siddon-Jacobs tracer.

The tracer adds up the crossings of planes in single precision. Every step from plane to plane is rounded alike, so
that the planes across the beam come to lie a little too close or too far: by up to 0.06 mm at the far end of a chest.
And where it enters the grid, rounding decides whether it starts before or behind the first plane. What it takes for
the source is a sum in double precision whose last bits tell between the two wherever voxels are a round number of mm.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from nerp.camera.itk import SHIFT_MM, SOURCE_ISOCENTRE_MM

_TILT = -90.0 * float(np.float32(math.pi / 180.0))
"""The turn from ITK's axes to those of a camera; its factor from degrees is single."""
TILT = {1: math.cos(_TILT), 0: 2.0**-26}
"""How far its rays sink for each mm along the beam: by this it tells crossings apart that coincide."""
_TO_BEAM = {
    1: (0.0, float.fromhex("0x1.a2168c4p-27"), -1.0),
    0: (0.0, float.fromhex("-0x1.00000011a6265p-26"), 1 + 2**-52),
}
"""The row of the inverse rotation that belongs to the beam's axis, as ITK's singular value decomposition rounds it."""


@dataclass(frozen=True)
class Entry:
    """Where the tracer believes that the planes across the beam are, and where it starts.

    Args:
        low_mm, high_mm: of the grid's faces from the grid's own lower face.
        skip_first:      it starts at the second plane.
        one_on:          it takes every voxel for the one before it.
    """

    low_mm: float
    high_mm: float
    skip_first: bool
    one_on: bool


def entry(source_mm: float, count: int, spacing_mm: float, *, rises: bool) -> Entry:
    """How a beam straight at a face of the grid enters it.

    Args:
        source_mm:  place of the source along the beam's axis, from the lower face.
        count:      voxels along that axis.
        spacing_mm: between them.
        rises:      whether the index grows along the beam.
    """
    reach = np.float32(SOURCE_ISOCENTRE_MM if rises else -SOURCE_ISOCENTRE_MM)
    face_mm = 0.0 if rises else count * spacing_mm
    first = np.float32((face_mm - source_mm) / float(reach))
    at = float(np.float32(np.float32(source_mm + float(first * reach)) / spacing_mm))
    step = np.float32(spacing_mm / SOURCE_ISOCENTRE_MM)
    last = np.add.accumulate(np.array([first] + [step] * count, np.float32), dtype=np.float32)[-1]
    ends = sorted(source_mm + float(alpha) * float(reach) for alpha in (first, last))
    within = at > 0 if rises else at < count
    return Entry(ends[0], ends[1], skip_first=within, one_on=rises and at == 0)


def source_mm(shape: Sequence[int], spacing_mm: Sequence[float], axis: int) -> float:
    """Where ITK's arithmetic puts the source, along the beam's axis from the grid's lower face, mm, to the last bit.

    Args:
        shape:      (D, H, W) voxels.
        spacing_mm: of each axis.
        axis:       of the beam: 1 of an AP view, 0 of a lateral one.

    Source: ITK's `MatrixOffsetTransformBase`, the order of its sums.
    """
    middle = [size * float(count) / 2.0 for size, count in zip(spacing_mm, shape, strict=True)]
    offset = [moved + back for moved, back in zip(_placed(middle, axis), _to_source(middle), strict=True)]
    cosine, sine = math.cos(_TILT), math.sin(_TILT)
    tilted = (_dot((1.0, 0.0, 0.0), offset), _dot((0.0, cosine, -sine), offset), _dot((0.0, sine, cosine), offset))
    return -_dot(_TO_BEAM[axis], tilted)


def _placed(middle: Sequence[float], axis: int) -> list[float]:
    """Offset of the CT's own transform: shifted and, for a lateral view, turned by -90 degrees about its middle."""
    turn = 0.0 if axis == 1 else math.radians(-90.0)
    cosine, sine = math.cos(turn), math.sin(turn)
    rows = ((cosine, -sine, 0.0), (sine, cosine, 0.0), (0.0, 0.0, 1.0))
    found = [shift + place for shift, place in zip((0.0, SHIFT_MM, 0.0), middle, strict=True)]
    for i, row in enumerate(rows):
        for part, place in zip(row, middle, strict=True):
            found[i] -= part * place
    return found


def _to_source(middle: Sequence[float]) -> tuple[float, float, float]:
    return -middle[0], SOURCE_ISOCENTRE_MM - middle[1], -middle[2]


def _dot(row: Sequence[float], column: Sequence[float]) -> float:
    total = 0.0
    for one, other in zip(row, column, strict=True):
        total += one * other
    return total
