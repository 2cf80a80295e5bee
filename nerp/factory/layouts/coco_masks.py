"""Masks in COCO's words: run lengths, which are exact, and polygons along the pixels' edges, which are, too.

Source: Lin et al. 2014, *Microsoft COCO*, and the format of its masks (cocoapi, MaskApi): runs down the columns, the
first of background; counts less those two before, in groups of five bits from the lowest, each a character from `0`.
"""

from __future__ import annotations

import numpy as np

Ring = list[tuple[int, int]]
"""Corners (x, y) of pixels, each joined with the next and the last with the first."""

GROUP, MORE, FIRST = 5, 32, 48
"""Bits of a character, the bit that says that more follow, and the character of 0."""


def run_lengths(mask: np.ndarray) -> dict[str, object]:
    """A mask (H, W) bool as `size` and `counts`, compressed as COCO does."""
    flat = np.asarray(mask, bool).ravel(order="F")
    changes = np.flatnonzero(np.diff(flat.astype(np.int8))) + 1
    bounds = np.concatenate([[0], changes, [flat.size]])
    counts = np.diff(bounds).tolist()
    return {"size": list(mask.shape), "counts": _compressed([0, *counts] if flat.size and flat[0] else counts)}


def _compressed(counts: list[int]) -> str:
    text = []
    for place, count in enumerate(counts):
        value = count - counts[place - 2] if place > 2 else count
        while True:
            low, value = value & (MORE - 1), value >> GROUP
            ends = value == (-1 if low & (MORE >> 1) else 0)
            text.append(chr((low if ends else low | MORE) + FIRST))
            if ends:
                break
    return "".join(text)


def bounding_box(mask: np.ndarray) -> list[int]:
    """Left, top, width and height of the pixels of a mask (H, W) bool that has some."""
    rows, columns = np.flatnonzero(mask.any(axis=1)), np.flatnonzero(mask.any(axis=0))
    left, top = int(columns[0]), int(rows[0])
    return [left, top, int(columns[-1]) + 1 - left, int(rows[-1]) + 1 - top]


def polygons(mask: np.ndarray) -> list[list[int]]:
    """A mask (H, W) bool as polygons `[x, y, x, y, …]`, one a piece, filled where crossed oddly often.

    Holes are cut out by a seam of no width from the outline to each of them.
    """
    rings = _rings(np.asarray(mask, bool))
    pieces = [[ring] for ring in rings if _area(ring) > 0]
    spans = np.array([_span(piece[0]) for piece in pieces])
    for hole in (ring for ring in rings if _area(ring) < 0):
        low, high = _span(hole)
        wide = np.flatnonzero((spans[:, 0] <= low).all(axis=1) & (spans[:, 1] >= high).all(axis=1))
        around = [pieces[place] for place in wide if _holds(pieces[place][0], hole)]
        min(around, key=lambda piece: _area(piece[0])).append(hole)
    return [_seamed(piece) for piece in pieces]


def _span(ring: Ring) -> tuple[np.ndarray, np.ndarray]:
    """The least and the largest x and y of a ring."""
    points = np.array(ring)
    return points.min(axis=0), points.max(axis=0)


def _rings(mask: np.ndarray) -> list[Ring]:
    """The outlines, inside on the right hand of who walks them with x right and y down; corners alone."""
    steps = _steps(mask)
    rings = []
    while steps:
        start = at = next(iter(steps))
        heading, ring = steps[at][0], Ring()
        while True:
            ways = steps[at]
            turn = next(way for way in _turns(heading) if way in ways)
            ways.remove(turn)
            if not ways:
                del steps[at]
            if turn != heading or not ring:
                ring.append(at)
            heading, at = turn, (at[0] + turn[0], at[1] + turn[1])
            if at == start:
                break
        rings.append(_corners(ring))
    return rings


def _steps(mask: np.ndarray) -> dict[tuple[int, int], list[tuple[int, int]]]:
    """From each corner of a pixel the unit steps along the mask's edge."""
    padded = np.pad(mask, 1)
    inner = padded[1:-1, 1:-1]
    sides = {  # free side of a pixel: where its step begins, and whither
        (1, 0): (inner & ~padded[:-2, 1:-1], 0, 0),
        (0, 1): (inner & ~padded[1:-1, 2:], 1, 0),
        (-1, 0): (inner & ~padded[2:, 1:-1], 1, 1),
        (0, -1): (inner & ~padded[1:-1, :-2], 0, 1),
    }
    steps: dict[tuple[int, int], list[tuple[int, int]]] = {}
    for step, (free, right, down) in sides.items():
        for y, x in np.argwhere(free).tolist():
            steps.setdefault((x + right, y + down), []).append(step)
    return steps


def _turns(heading: tuple[int, int]) -> list[tuple[int, int]]:
    """Right, ahead, left: pixels that meet at a corner alone are walked round apart."""
    x, y = heading
    return [(-y, x), heading, (y, -x)]


def _corners(ring: Ring) -> Ring:
    """A ring without a first point that lies on a straight line."""
    (x0, y0), (x1, y1), (x2, y2) = ring[-1], ring[0], ring[1]
    is_straight = (x0 == x1 == x2) or (y0 == y1 == y2)
    return ring[1:] if is_straight else ring


def _area(ring: Ring) -> float:
    """Of the inside, in pixels; below 0 of a hole."""
    points = np.array(ring, np.float64)
    after = np.roll(points, -1, axis=0)
    return float((points[:, 0] * after[:, 1] - points[:, 1] * after[:, 0]).sum() / 2)


def _holds(ring: Ring, hole: Ring) -> bool:
    """Whether a ring runs around a hole, by a point of the mask beside the hole's first edge."""
    (x0, y0), (x1, y1) = hole[0], hole[1]
    step_x, step_y = np.sign(x1 - x0), np.sign(y1 - y0)
    x, y = x0 + 0.5 * (step_x - step_y), y0 + 0.5 * (step_y + step_x)
    points = np.array(ring, np.float64)
    after = np.roll(points, -1, axis=0)
    crossed = (points[:, 1] > y) != (after[:, 1] > y)  # by upright edges alone, whose x is one
    return bool((crossed & (points[:, 0] > x)).sum() % 2)


def _seamed(rings: list[Ring]) -> list[int]:
    start, walk = rings[0][0], [*rings[0]]
    for hole in rings[1:]:
        walk += [start, *hole, hole[0]]
    return [value for point in walk for value in point]
