"""The lung fields of a radiograph, as a network outlines them: made clean, and whether they can be lungs."""

from __future__ import annotations

import numpy as np

SIDES = 2
SMALLEST = 0.1
"""A second part is a lung from this fraction of the larger one's area on; smaller ones are crumbs."""
GAP = 1 / 64
"""Gaps and notches up to twice this fraction of the image's shorter side are closed."""


def clean_lungs(mask: np.ndarray) -> np.ndarray:
    """The one or two largest parts of a mask, each closed and its holes filled; they are never joined.

    Args:
        mask: (H, W) bool.

    Returns:
        (H, W) bool.
    """
    kept = np.zeros_like(mask)
    for part in largest_parts(mask):
        kept |= _solid(part)
    return kept


def largest_parts(mask: np.ndarray) -> list[np.ndarray]:
    """The largest connected part of (H, W) bool, and the second where it is no crumb; none of an empty mask."""
    from scipy.ndimage import label

    numbered, _ = label(mask)
    sizes = np.bincount(numbered.ravel())[1:]
    order = np.argsort(-sizes, kind="stable")[:SIDES]
    return [numbered == 1 + number for number in order if sizes[number] >= SMALLEST * sizes[order[0]]]


def field_measures(mask: np.ndarray) -> dict[str, float]:
    """What tells whether a clean mask can be two lungs.

    Args:
        mask: (H, W) bool.

    Returns:
        `area`, as a part of the image, and `balance`, the smaller lung's area by the larger's, both 0 to 1; of a single
        part `balance` is 0.
    """
    sizes = [int(part.sum()) for part in largest_parts(mask)]
    return {"area": float(mask.mean()), "balance": sizes[1] / sizes[0] if len(sizes) == SIDES else 0.0}


def _solid(part: np.ndarray) -> np.ndarray:
    from scipy.ndimage import binary_closing, binary_fill_holes

    radius = max(1, round(GAP * min(part.shape)))
    y, x = np.mgrid[-radius : radius + 1, -radius : radius + 1]
    wide = np.pad(part, radius)  # else the image's edge would bite into what touches it
    closed = binary_closing(wide, y**2 + x**2 <= radius**2)[radius:-radius, radius:-radius]
    return binary_fill_holes(closed | part)
