"""Where a grid lies: what its file says of it, what it leaves open, and what a user states instead."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from nerp.errors import UsageError, VolumeError

ORIENTATION, SPACING = "orientation", "voxel size"
SPACING_MM = (0.05, 50.0)
"""Least and greatest distance of a CT's voxels, mm: micro-CT lies below, and no chest fits ten voxels of more."""

EXTENT_MM = (100.0, 2500.0)
"""Longest side of a CT of a person, mm; what lies outside was written in another unit, or in none."""

OPPOSITE = {"L": "R", "R": "L", "P": "A", "A": "P", "I": "S", "S": "I"}
AXES = "RAS"


@dataclass(frozen=True)
class Place:
    """The affine of a grid, and how sure it is.

    Args:
        affine:  (4, 4) from voxel index to world RAS+ mm.
        unknown: what the file does not say, of `ORIENTATION` and `SPACING`; the affine then holds a guess.
        reason:  how that shows, such as "neither sform nor qform".
        remarks: further doubts, each a clause of a warning.
    """

    affine: np.ndarray
    unknown: tuple[str, ...] = ()
    reason: str = ""
    remarks: tuple[str, ...] = ()

    @property
    def orientation(self) -> str:
        """The letters towards which each index axis grows, such as `LPS`; `?` for an axis without direction."""
        return "".join(letter(column) for column in self.affine[:3, :3].T)

    @property
    def spacing_mm(self) -> tuple[float, float, float]:
        """Distance between voxel centres along each index axis, mm."""
        first, second, third = np.linalg.norm(self.affine[:3, :3], axis=0).tolist()
        return first, second, third

    def doubts(self) -> list[str]:
        """A clause for each thing that is assumed and not known, ready to follow a file's name."""
        size = " x ".join(f"{part:.4g}" for part in self.spacing_mm)
        assumed = {ORIENTATION: f"axes towards {self.orientation}", SPACING: f"voxels of {size} mm"}
        found = list(self.remarks)
        if self.unknown:
            guess = " and ".join(assumed[part] for part in self.unknown)
            option = {ORIENTATION: "orientation, such as LPS,", SPACING: "spacing"}
            repair = " and ".join(option[part] for part in self.unknown)
            sides = ", left and right may be swapped" if ORIENTATION in self.unknown else ""
            found.append(
                f"its place is unknown ({self.reason}); assumed are {guess}{sides}: state {repair.rstrip(',')}"
            )
        return found


def identity_place(affine: np.ndarray, remarks: tuple[str, ...] = ()) -> Place:
    """A place whose affine is doubted where it is what writers leave that know none: voxels of 1 mm from the origin.

    Args:
        affine:  (4, 4) to world RAS+ mm.
        remarks: as `Place` has them.
    """
    if np.allclose(affine, np.eye(4), atol=1e-6) or np.allclose(affine, np.diag([-1.0, -1.0, 1.0, 1.0]), atol=1e-6):
        return Place(
            affine, (ORIENTATION, SPACING), "1 mm along each axis from the origin, as is written for none", remarks
        )
    return Place(affine, remarks=remarks)


def stated(place: Place, shape: Sequence[int], orientation: str | None, spacing_mm: Sequence[float] | None) -> Place:
    """The place that a user states instead of the file's.

    The grid keeps its centre where the file's place is known, and is centred at 0 where it is not.

    Args:
        place:       what the file says.
        shape:       voxel counts (I, J, K).
        orientation: three letters of L/R, P/A, I/S, one for each index axis: the direction in which its index
                     grows, as nibabel's `aff2axcodes` gives them; None keeps the file's.
        spacing_mm:  distance between voxel centres along each index axis, mm; None keeps the file's.

    Raises:
        UsageError: no such orientation or spacing.
    """
    if orientation is None and spacing_mm is None:
        return place
    sizes = np.array(place.spacing_mm if spacing_mm is None else _checked_spacing(spacing_mm))
    centre = np.append((np.array(shape[:3]) - 1) / 2, 1.0)
    affine = np.eye(4)
    affine[:3, :3] = (_unit_columns(place.affine) if orientation is None else _directions(orientation)) * sizes
    held = np.zeros(3) if ORIENTATION in place.unknown else (place.affine @ centre)[:3]
    affine[:3, 3] = held - affine[:3, :3] @ centre[:3]
    known = {ORIENTATION: orientation is not None, SPACING: spacing_mm is not None}
    unknown = tuple(part for part in place.unknown if not known[part])
    return replace(place, affine=affine, unknown=unknown, remarks=() if orientation else place.remarks)


def check_spacing(path: Path, place: Place) -> None:
    """Refuse voxel sizes that no CT has.

    Args:
        path:  as the message names it.
        place: of the grid.

    Raises:
        VolumeError: 0, not finite, below 0.05 mm or above 50 mm.
    """
    if not all(SPACING_MM[0] <= size <= SPACING_MM[1] for size in place.spacing_mm):
        size = " x ".join(f"{part:.4g}" for part in place.spacing_mm)
        raise VolumeError(
            f"{path}: its voxels measure {size} mm; expected {SPACING_MM[0]:g} to {SPACING_MM[1]:g} mm: "
            "repair its header or state its spacing"
        )


def extent_doubt(place: Place, shape: Sequence[int]) -> list[str]:
    """A clause where a grid of more than a few voxels has not the size of a person.

    Args:
        place: of the grid.
        shape: voxel counts (I, J, K).
    """
    longest = max(count * size for count, size in zip(shape, place.spacing_mm, strict=False))
    if min(shape) < 32 or EXTENT_MM[0] <= longest <= EXTENT_MM[1] or SPACING in place.unknown:
        return []
    return [
        f"is {longest:.4g} mm along its longest side, which no CT of a person is: state its spacing if that is wrong"
    ]


def letter(column: np.ndarray) -> str:
    """The letter towards which an axis runs, such as `L`; `?` of one without direction.

    Args:
        column: (3,) its direction in world RAS+.
    """
    if not np.isfinite(column).all() or not column.any():
        return "?"
    axis = int(np.abs(column).argmax())
    return AXES[axis] if column[axis] > 0 else OPPOSITE[AXES[axis]]


def _directions(orientation: str) -> np.ndarray:
    letters = orientation.upper()
    axes = [AXES.find(letter if letter in AXES else OPPOSITE.get(letter, "?")) for letter in letters]
    if sorted(axes) != [0, 1, 2]:
        raise UsageError(
            f"orientation is {orientation!r}; expected three letters, one each of L/R, P/A and I/S, such as LPS: "
            "the direction in which each index axis grows"
        )
    directions = np.zeros((3, 3))
    for index, (axis, letter) in enumerate(zip(axes, letters, strict=True)):
        directions[axis, index] = 1.0 if letter in AXES else -1.0
    return directions


def _checked_spacing(spacing_mm: Sequence[float]) -> list[float]:
    try:
        sizes = [float(size) for size in spacing_mm]
    except (TypeError, ValueError):
        sizes = []
    if len(sizes) != 3 or not all(SPACING_MM[0] <= size <= SPACING_MM[1] for size in sizes):
        raise UsageError(f"spacing_mm is {spacing_mm!r}; expected three distances in mm, such as 0.8, 0.8, 2.5")
    return sizes


def _unit_columns(affine: np.ndarray) -> np.ndarray:
    lengths = np.linalg.norm(affine[:3, :3], axis=0)
    return affine[:3, :3] / np.where(lengths > 0, lengths, 1.0)
