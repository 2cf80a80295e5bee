"""The angle at which the windpipe divides, from the labels of the airways."""

from __future__ import annotations

import math

import numpy as np
import torch

from nerp.volume import Volume

BELOW_MM = 15.0
"""So far down from where they part, the main bronchi are taken for straight."""
LEAST_MM = 8.0
LEAST_PIECE_MM2 = 12.0
"""A piece of airway smaller than this is none of the two main bronchi."""
MOST_APART_MM = 60.0
LEAST_SLICES = 3
SHRUNK = 0.6
"""A bronchus ends where its section is less than this part of its first."""
ABOVE_MM = 15.0
"""So much of the windpipe has to be labelled, undivided, above the carina."""


def bronchial_angle(labels: Volume, airways: np.ndarray) -> tuple[float | None, str]:
    """The interbronchial angle: between the axes of the two main bronchi, seen from the front, degrees.

    The carina lies where the airway's section first falls into two pieces, going down, beneath at least `ABOVE_MM` of
    one piece. Each bronchus's axis is the line fitted to the middles of its sections over the `BELOW_MM` below, as far
    as both are labelled, and at least over `LEAST_MM`.

    Args:
        labels:  whose grid it is; its slices are those across the axis nearest to the patient's, world z.
        airways: (D, H, W) bool, windpipe and main bronchi, filled or their air alone.

    Returns:
        The angle, 0 to 180, or None; and why there is none, else nothing.

    Source: Haskin & Goodman 1982, AJR 139:879: interbronchial angle, between the central axes of the main bronchi on a
    frontal radiograph.
    """
    if not airways.any():
        return None, "no label is of the airways"
    sections, height_mm = _sections(labels, airways)
    start = _parting(sections, height_mm)
    if start is None:
        return None, "the labels do not show where the windpipe divides"
    paths = _followed(sections[start:], height_mm)
    reached = (len(paths[0]) - 1) * height_mm
    if len(paths[0]) < LEAST_SLICES or reached < LEAST_MM:
        return None, f"the main bronchi are labelled over {max(reached, 0.0):.0f} mm; expected {LEAST_MM:g} or more"
    first, second = (_slope(path) for path in paths)
    return abs(math.degrees(math.atan(first) - math.atan(second))), ""


def _sections(labels: Volume, airways: np.ndarray) -> tuple[list[list[np.ndarray]], float]:
    """From above, the pieces of airway in each slice, (N, 3) world mm of their voxels; and the slices' distance."""
    from scipy import ndimage

    axis = int(labels.affine[2, :3].abs().argmax())
    upwards = float(labels.affine[2, axis]) > 0
    turned = np.moveaxis(airways, axis, 0)
    there = np.flatnonzero(turned.any(axis=(1, 2)))
    order = range(there[-1], there[0] - 1, -1) if upwards else range(there[0], there[-1] + 1)
    others = [side for number, side in enumerate(labels.spacing_mm) if number != axis]
    least = max(1.0, LEAST_PIECE_MM2 / math.prod(others))
    sections = []
    for number in order:
        pieces, _ = ndimage.label(turned[number], structure=np.ones((3, 3), bool))
        where = np.argwhere(pieces)
        places = labels.to_world(torch.from_numpy(np.insert(where, axis, number, axis=1)).double()).numpy()
        of = pieces[tuple(where.T)]
        sections.append([places[of == piece] for piece in np.flatnonzero(np.bincount(of, minlength=1) >= least)])
    return sections, abs(float(labels.affine[2, axis]))


def _parting(sections: list[list[np.ndarray]], height_mm: float) -> int | None:
    """The first slice, from above, where one piece has become two that lie beside each other."""
    whole = 0
    for number, pieces in enumerate(sections):
        if len(pieces) == 2 and whole * height_mm >= ABOVE_MM:
            first, second = (piece[:, 0].mean() for piece in pieces)
            return number if abs(first - second) < MOST_APART_MM else None
        whole = whole + 1 if len(pieces) == 1 else 0
    return None


def _followed(sections: list[list[np.ndarray]], height_mm: float) -> tuple[list[np.ndarray], list[np.ndarray]]:
    """The middles of the two pieces downwards, each the nearest to the one before, as long as there are both, whole."""
    ends, least = [piece.mean(axis=0) for piece in sections[0]], [SHRUNK * len(piece) for piece in sections[0]]
    paths: tuple[list[np.ndarray], list[np.ndarray]] = ([ends[0]], [ends[1]])
    for pieces in sections[1 : 1 + round(BELOW_MM / height_mm)]:
        middles = [piece.mean(axis=0) for piece in pieces]
        if len(middles) < 2:
            break
        nearest = [int(np.argmin([_apart(middle, end) for middle in middles])) for end in ends]
        ended = any(len(pieces[number]) < few for number, few in zip(nearest, least, strict=True))
        if ended or nearest[0] == nearest[1]:
            break
        ends = [middles[number] for number in nearest]
        for path, end in zip(paths, ends, strict=True):
            path.append(end)
    return paths


def _apart(first: np.ndarray, second: np.ndarray) -> float:
    return float(np.linalg.norm(first[:2] - second[:2]))


def _slope(path: list[np.ndarray]) -> float:
    """How far a path goes aside for each mm that it goes down."""
    points = np.array(path)
    x, down = points[:, 0] - points[:, 0].mean(), points[:, 2].mean() - points[:, 2]
    return float((x * down).sum() / (down * down).sum())
