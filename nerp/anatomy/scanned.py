"""The field of view within a CT's grid: all of it, or the circle outside of which nothing was reconstructed."""

from __future__ import annotations

import numpy as np

N_DIRECTIONS = 72
"""Directions from the middle in which the edge of the circle is looked for."""
FEWEST = 12
"""Directions that have to agree, about the four corners of a square."""
AGREEMENT = 2.5
"""Coarse voxels within which they do."""


def scanned_field(hu: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Where a CT was reconstructed, and the padding around it.

    A circle is taken for one where the value of the corners, the same in every slice, ends at one distance from
    the middle, short of the grid's edge. Air that is exactly as constant as padding passes for padding, and then
    no circle is found unless something lies along it.

    Args:
        hu: (Z, Y, X) HU, axial slices.

    Returns:
        (Y, X) bool, the field of view; (Z, Y, X) bool, voxels of the padding's value outside it.
    """
    whole = np.ones(hu.shape[1:], bool)
    corners = hu[:, [0, 0, -1, -1], [0, -1, 0, -1]]
    value = float(np.median(corners))
    if (np.abs(corners - value) > 0.01).mean() > 0.3:
        return whole, np.zeros(hu.shape, bool)
    filled = np.any(np.abs(hu - value) > 0.01, axis=0)
    field = _circle(filled)
    padding = (np.abs(hu - value) <= 0.01) & ~field
    return field, padding


def _circle(filled: np.ndarray) -> np.ndarray:
    """(Y, X) bool, the circle that what is not padding fills, or all."""
    rows, columns = (np.arange(count) - (count - 1) / 2 for count in filled.shape)
    y, x = np.meshgrid(rows, columns, indexing="ij")
    radius = np.hypot(y, x)
    direction = ((np.arctan2(y, x) / (2 * np.pi) + 0.5) * N_DIRECTIONS).astype(int) % N_DIRECTIONS
    reach, room = np.zeros(N_DIRECTIONS), np.zeros(N_DIRECTIONS)
    np.maximum.at(reach, direction[filled], radius[filled])
    np.maximum.at(room, direction.ravel(), radius.ravel())
    short = reach[(reach < room - AGREEMENT) & (reach > 0.25 * min(filled.shape))]
    if len(short) < FEWEST or np.percentile(short, 90) - np.percentile(short, 10) > AGREEMENT:
        return np.ones(filled.shape, bool)
    return radius <= np.median(short) + 0.5
