"""The lead letter that tells a film's side."""

from __future__ import annotations

import torch
from torch import Tensor

HEIGHT_MM = 14.0
STROKE_MM = 2.4
INSET_MM = 10.0
"""From the image's edge, or the collimator's, to the letter."""
Point = tuple[float, float]
LETTERS: dict[str, list[tuple[Point, Point]]] = {
    "R": [
        ((0, 0), (0, 1)),
        ((0, 0), (0.4, 0)),
        ((0.4, 0), (0.58, 0.13)),
        ((0.58, 0.13), (0.58, 0.37)),
        ((0.58, 0.37), (0.4, 0.5)),
        ((0.4, 0.5), (0, 0.5)),
        ((0.28, 0.5), (0.6, 1)),
    ],
    "L": [((0, 0), (0, 1)), ((0, 1), (0.55, 1))],
}
"""Strokes from (right, down) to (right, down), in heights of the letter."""
WIDTH = 0.6


def drawn(letter: str, shape: tuple[int, int], pixel_mm: tuple[float, float], *, inset_mm: float = 0.0) -> Tensor:
    """How much of each pixel a letter covers, at the patient's side that it names: R at the left edge, L at the right.

    Args:
        letter:   `R` or `L`.
        shape:    (H, W) pixels.
        pixel_mm: between rows, between columns.
        inset_mm: of the edge that it keeps from, beside `INSET_MM`.

    Returns:
        (1, 1, H, W) float64, 0 to 1; its edge is one pixel soft.
    """
    down = (torch.arange(shape[0], dtype=torch.float64, device="cpu") + 0.5) * pixel_mm[0]
    right = (torch.arange(shape[1], dtype=torch.float64, device="cpu") + 0.5) * pixel_mm[1]
    edge = INSET_MM + inset_mm
    first = edge if letter == "R" else shape[1] * pixel_mm[1] - edge - WIDTH * HEIGHT_MM
    place = torch.stack(torch.broadcast_tensors((right[None] - first), (down[:, None] - edge)), dim=-1) / HEIGHT_MM
    nearest = torch.stack([_distance(place, *stroke) for stroke in LETTERS[letter]]).amin(dim=0) * HEIGHT_MM
    return ((STROKE_MM / 2 - nearest) / min(pixel_mm) + 0.5).clamp(0.0, 1.0)[None, None]


def _distance(place: Tensor, start: tuple[float, float], end: tuple[float, float]) -> Tensor:
    """(H, W) distance of places (H, W, 2) from a stroke."""
    first, last = (torch.tensor(point, dtype=torch.float64, device="cpu") for point in (start, end))
    along = ((place - first) @ (last - first) / ((last - first) @ (last - first))).clamp(0.0, 1.0)
    return (place - first - along[..., None] * (last - first)).norm(dim=-1)
