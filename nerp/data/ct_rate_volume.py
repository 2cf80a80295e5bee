"""A volume of CT-RATE in HU and at its place, whether its file has them already or its table alone."""

from __future__ import annotations

import logging
from dataclasses import dataclass, replace

import numpy as np

from nerp.data.ct_rate import CTRateVolume
from nerp.formats import MAX_VOXELS, RAS_FROM_LPS, read_placed
from nerp.headers.nifti import nifti_fields, nifti_scaling
from nerp.headers.place import ORIENTATION, SPACING, Place, check_spacing, extent_doubt, stated
from nerp.volume import Volume, rescaled, volume_of

AIR_HU = (-1100.0, -850.0)
AIR_FRACTION = 0.01
"""Chest CTs hold far more air than this."""
EVERY = 4
"""Voxels along each axis of which one is looked at."""
NO_SCALING = (1.0, 0.0)
CLOSE = 1e-3
"""Sizes and directions that differ by no more are one."""

_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Reading:
    """How a volume is to be read, so that `read_volume` reads it again without its table.

    Args:
        affine:  the upper three rows, one after another, of the matrix from voxel index to RAS+ mm; none: the file's.
        rescale: slope and intercept; none: the file's numbers are HU.
    """

    affine: tuple[float, ...] | None
    rescale: tuple[float, float] | None


def read_ct_rate_volume(
    volume: CTRateVolume, *, max_voxels: int = MAX_VOXELS, compact: bool = False
) -> tuple[Volume, Reading]:
    """Read a volume in HU, with the voxels that the table tells.

    What the file has already is not applied twice: a header with the table's rescaling, or numbers that are HU, as in
    the corrected release (`train_fixed`). Where file and table contradict each other, the table counts, with a warning
    of one line. The place of a file that has the table's voxels and directions is its own.

    Args:
        volume:     of `read_ct_rate_table`.
        max_voxels: a header that promises more is refused.
        compact:    as for `read_volume`.

    Returns:
        `(1, D, H, W)` float32 or int16 HU, and how `read_volume` gives the same.

    Raises:
        VolumeError: not readable, or no HU even so.

    Source: `fix_metadata.py` of CT-RATE for what the columns mean: spacing, directions of the first two axes with their
    cross product for the third, place of the first voxel.
    """
    stored, own = read_placed(volume.path, max_voxels=max_voxels)
    rescale, doubts = _rescaling(volume, stored)
    place, more = _place(volume, own, stored.shape)
    for doubt in [*doubts, *more, *place.doubts(), *extent_doubt(place, stored.shape)]:
        _log.warning("%s: %s", volume.path, doubt)
    check_spacing(volume.path, place)
    values = stored if rescale is None else rescaled(stored, rescale)
    told = None if place is own else tuple(place.affine[:3].ravel().tolist())
    return volume_of(volume.path, values, place, compact=compact), Reading(told, rescale)


def _rescaling(volume: CTRateVolume, stored: np.ndarray) -> tuple[tuple[float, float] | None, list[str]]:
    """What makes HU of numbers as read, header's scaling applied, and a clause where header and table differ."""
    slope, intercept = told = (volume.slope, volume.intercept)
    header = nifti_scaling(volume.path, nifti_fields(volume.path))
    if np.allclose(header, told, rtol=0.0, atol=CLOSE):
        return None, []
    if header != NO_SCALING:
        undone = slope / header[0]
        return (undone, intercept - undone * header[1]), [
            f"its header rescales by {header[0]:g} and {header[1]:g}, its metadata by {slope:g} and {intercept:g}; "
            "the metadata counts"
        ]
    seen = stored[::EVERY, ::EVERY, ::EVERY].astype(np.float32)
    thinner = (seen * slope + intercept < AIR_HU[0]) & (seen >= AIR_HU[0])  # than air: what no rescaling may make
    is_air = (seen >= AIR_HU[0]) & (seen <= AIR_HU[1])
    if min(thinner.mean(), is_air.mean()) >= AIR_FRACTION:
        return None, [f"its numbers are HU already; the metadata's {slope:g} and {intercept:g} are not applied again"]
    return told, []


def _place(volume: CTRateVolume, own: Place, shape: tuple[int, ...]) -> tuple[Place, list[str]]:
    """Where a grid lies by its table, or by its file where both agree, and a clause for each contradiction."""
    sizes_differ = not np.allclose(own.spacing_mm, volume.spacing_mm, rtol=CLOSE, atol=0.0)
    directions = _directions(volume)
    turned = directions is not None and not np.allclose(_unit(own.affine), directions, atol=CLOSE)
    if not (sizes_differ or turned or own.unknown):
        return own, []
    doubts = []
    if sizes_differ and SPACING not in own.unknown and not np.allclose(own.spacing_mm, 1.0):
        sizes = (" x ".join(f"{size:.4g}" for size in sizes) for sizes in (own.spacing_mm, volume.spacing_mm))
        doubts.append("its header says voxels of {} mm, its metadata {} mm; the metadata counts".format(*sizes))
    if turned and ORIENTATION not in own.unknown and not np.allclose(own.spacing_mm, 1.0):
        told = Place(_affine(volume, directions, shape, own)).orientation
        doubts.append(f"its axes run towards {own.orientation}, by its metadata {told}; the metadata counts")
    if directions is None:
        return stated(own, shape, None, volume.spacing_mm), doubts
    return replace(own, affine=_affine(volume, directions, shape, own), unknown=(), remarks=()), doubts


def _directions(volume: CTRateVolume) -> np.ndarray | None:
    """(3, 3) columns in which the indices grow, RAS; None where the table does not tell."""
    if volume.orientation is None:
        return None
    first, second = np.reshape(volume.orientation, (2, 3))
    return RAS_FROM_LPS[:3, :3] @ np.stack([first, second, np.cross(first, second)], axis=1)


def _unit(affine: np.ndarray) -> np.ndarray:
    return affine[:3, :3] / np.linalg.norm(affine[:3, :3], axis=0)


def _affine(volume: CTRateVolume, directions: np.ndarray | None, shape: tuple[int, ...], own: Place) -> np.ndarray:
    affine = np.eye(4)
    assert directions is not None
    affine[:3, :3] = directions * volume.spacing_mm
    if volume.position_mm is not None:
        affine[:3, 3] = RAS_FROM_LPS[:3, :3] @ volume.position_mm
    else:
        middle = (np.array(shape[:3]) - 1) / 2
        affine[:3, 3] = (own.affine @ np.append(middle, 1.0))[:3] - affine[:3, :3] @ middle
    return affine
