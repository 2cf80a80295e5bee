"""What a CT's field of view and its first and last slices cut off the body."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from nerp.anatomy.body import BodyMap, shrink
from nerp.anatomy.finding import BONE_HU, LUNG_HU, SMALLEST_LUNG_MM3, large_pieces_of_air

SIDES = ("left", "right", "front", "back")
CONTACT_MM = 20.0
"""Less of the body's outline than this along the field's edge, in an axial slice, is a body that only touches it."""
TRACHEA_MM2 = 600.0
"""More air than this in one piece is a lung, wherever it lies; the widest windpipes have 27 mm."""
LUNG_MM2 = 100.0
BESIDE_MM = 25.0
"""More air than `LUNG_MM2`, further than this from the midline, is a lung as well."""
ARM_MM2 = 800.0


WALL = 2 / 3
"""Of the lungs' height from their base: there the field of view has to hold the chest wall; above are the shoulders."""


@dataclass(frozen=True)
class Cuts:
    """Where the body goes on beyond a CT.

    Args:
        sides:       for each of `SIDES`, the fraction of the slices of the chest wall in which the field cuts the body.
        shoulders:   the same for left or right, of the slices above: axillae and shoulders. 0 without such slices.
        apex_mm2:    lung on the uppermost slice, the windpipe not counted.
        base_mm2:    lung on the lowest slice.
        above_mm:    from the lungs' top to the CT's.
        below_mm:    from the lungs' base to the CT's.
        arms_beside: whether an arm lies beside the chest, apart from it.
        has_lungs:   whether lungs were found; without them all slices pass for chest wall.
        surface:     (Z, Y, X) bool on the body map's voxels: body at the edge of what was scanned.
    """

    sides: dict[str, float]
    shoulders: float
    apex_mm2: float
    base_mm2: float
    above_mm: float
    below_mm: float
    arms_beside: bool
    has_lungs: bool
    surface: np.ndarray


def find_cuts(body: BodyMap) -> Cuts:
    """Look along the field's edge, and on the first and last slice, for body that goes on.

    Args:
        body: of a CT, (Z, Y, X) coarse voxels.
    """
    areas = _lung_areas(body)
    lungs = np.flatnonzero(areas) if areas.any() else np.array([0, len(areas) - 1])
    low, high = int(lungs[0]), int(lungs[-1]) + 1
    wall = low + round((high - low) * WALL) if areas.any() else high
    contacts = _contacts(body)
    cut = {side: _is_cut(part, body) for side, part in contacts.items()}
    surface = np.any(list(contacts.values()), axis=0)
    surface[[0, -1]] |= body.inside[[0, -1]]
    return Cuts(
        sides={side: float(part[low:wall].mean()) for side, part in cut.items()},
        shoulders=float((cut["left"] | cut["right"])[wall:].mean()) if wall < len(areas) else 0.0,
        apex_mm2=float(areas[-1]),
        base_mm2=float(areas[0]),
        above_mm=(len(areas) - high) * body.spacing_mm[0],
        below_mm=low * body.spacing_mm[0],
        arms_beside=_arms_beside(body, low, wall),
        has_lungs=bool(areas.any()),
        surface=surface,
    )


def find_lungs(body: BodyMap) -> np.ndarray | None:
    """(Z, Y, X) bool, aerated lung with the airways that open into it; None where there is none.

    Args:
        body: of a CT, (Z, Y, X) coarse voxels.
    """
    air = body.inside & (body.hu < LUNG_HU)
    lungs = large_pieces_of_air(air, SMALLEST_LUNG_MM3 / float(np.prod(body.spacing_mm)))
    return None if lungs is None else _joined_to(lungs, air)


def _lung_areas(body: BodyMap) -> np.ndarray:
    """(Z,) mm² of lung in each slice."""
    lungs = find_lungs(body)
    if lungs is None:
        return np.zeros(len(body.hu))
    columns = np.flatnonzero(lungs.any(axis=(0, 1)))
    middle = (columns[0] + columns[-1]) / 2
    return np.array([_lung_area(part, middle, body) for part in lungs])


def _joined_to(seed: np.ndarray, air: np.ndarray) -> np.ndarray:
    """The pieces of air that the seed is in: with the thin ends that opening took."""
    from scipy import ndimage

    pieces, n_pieces = ndimage.label(air)
    chosen = np.zeros(n_pieces + 1, bool)
    chosen[pieces[seed & air]] = True
    chosen[0] = False
    return chosen[pieces]


def _contacts(body: BodyMap) -> dict[str, np.ndarray]:
    """For each side, (Z, Y, X) bool: body along the edge of the field that lies that way from its middle."""
    edge = body.scanned & ~shrink(body.scanned[None], [1, 2], outside=False)[0]
    along = body.inside & edge
    n_rows, n_columns = edge.shape
    y = (np.arange(n_rows)[:, None] - (n_rows - 1) / 2) / n_rows
    x = (np.arange(n_columns)[None, :] - (n_columns - 1) / 2) / n_columns
    lateral = np.abs(x) >= np.abs(y)
    ways = {
        "left": lateral & (x < 0),
        "right": lateral & (x > 0),
        "front": ~lateral & (y > 0),
        "back": ~lateral & (y < 0),
    }
    return {side: along & way for side, way in ways.items()}


def _is_cut(contact: np.ndarray, body: BodyMap) -> np.ndarray:
    """(Z,) bool, slices in which the contact is longer than that of a body that only touches."""
    _, *in_plane = body.spacing_mm
    return contact.sum(axis=(1, 2)) * min(in_plane) >= CONTACT_MM


def _lung_area(lung: np.ndarray, middle: float, body: BodyMap) -> float:
    """mm² of lung in a slice; the windpipe is none."""
    from scipy import ndimage

    _, row_mm, column_mm = body.spacing_mm
    pieces, n_pieces = ndimage.label(lung)
    if n_pieces == 0:
        return 0.0
    area = np.bincount(pieces.ravel())[1:] * row_mm * column_mm
    x = np.array([place[1] for place in ndimage.center_of_mass(lung, pieces, range(1, n_pieces + 1))])
    beside = np.abs(x - middle) * column_mm > BESIDE_MM
    return float(area[(area > TRACHEA_MM2) | (beside & (area > LUNG_MM2))].sum())


def _arms_beside(body: BodyMap, low: int, high: int) -> bool:
    """Whether in most slices between two a piece of tissue with bone in it lies apart from the trunk."""
    from scipy import ndimage

    _, row_mm, column_mm = body.spacing_mm
    hits = 0
    for number in range(low, high):
        pieces, n_pieces = ndimage.label(body.inside[number])
        area = np.bincount(pieces.ravel(), minlength=n_pieces + 1)[1:] * row_mm * column_mm
        bones = np.bincount(pieces[body.hu[number] > BONE_HU], minlength=n_pieces + 1)[1:]
        hits += int(((area > ARM_MM2) & (bones > 0)).sum() > 1)
    return hits > (high - low) / 2
