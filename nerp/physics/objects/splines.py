"""Smooth curves through points, and what runs beside them."""

from __future__ import annotations

import math
from functools import lru_cache

import torch
from torch import Tensor

from nerp.physics.objects.shapes import Curve

STEP_MM = 6.0
"""Piece that a curve is made of, about: the longest where it bends little."""
LARGEST_TURN_RAD = 0.25


@lru_cache(maxsize=4096)
def polyline(curve: Curve) -> Tensor:
    """(N, 3) float64 world mm: the ends of the straight pieces that stand for a curve.

    Pieces are about `STEP_MM` long and shorter where the curve bends more than about `LARGEST_TURN_RAD` within one; a
    bend of radius R is left by no more than step² / (8 R).

    Source: sagitta of a chord, s = c² / (8 R), for s much smaller than R.
    """
    points = torch.tensor(curve.points, dtype=torch.float64, device="cpu")
    if len(points) > 2 and curve.bent:
        points = _spline(points)
    if curve.aside_mm and len(points) > 1:
        points = _beside(points, curve.aside_mm, curve.turn_rad)
    return points if curve.span_mm is None else _between(points, *curve.span_mm)


def _spline(points: Tensor) -> Tensor:
    """A natural cubic spline by chord lengths, sampled evenly within each interval."""
    knots = torch.cat([points.new_zeros(1), (points[1:] - points[:-1]).norm(dim=1).clamp(min=1e-6).cumsum(0)])
    second = _second_derivatives(knots, points)
    parts = []
    for number in range(len(points) - 1):
        width = float(knots[number + 1] - knots[number])
        bend = float(torch.maximum(second[number].norm(), second[number + 1].norm())) * width
        count = max(1, math.ceil(width / STEP_MM), math.ceil(bend / LARGEST_TURN_RAD))
        along = torch.arange(count, dtype=torch.float64, device="cpu") / count
        parts.append(_piece(points, second, width, number, along[:, None]))
    return torch.cat([*parts, points[-1:]])


def _piece(points: Tensor, second: Tensor, width: float, number: int, b: Tensor) -> Tensor:
    a = 1 - b
    first, last = points[number], points[number + 1]
    bend = (a**3 - a) * second[number] + (b**3 - b) * second[number + 1]
    return a * first + b * last + bend * width**2 / 6


def _second_derivatives(knots: Tensor, points: Tensor) -> Tensor:
    """(N, 3) at the knots, 0 at both ends: the tridiagonal system of the natural cubic spline."""
    width = knots[1:] - knots[:-1]
    slope = (points[1:] - points[:-1]) / width[:, None]
    inner = len(knots) - 2
    matrix = torch.zeros(inner, inner, dtype=torch.float64, device="cpu")
    matrix.diagonal().copy_((width[:-1] + width[1:]) / 3)
    if inner > 1:
        matrix.diagonal(1).copy_(width[1:-1] / 6)
        matrix.diagonal(-1).copy_(width[1:-1] / 6)
    bent = torch.linalg.solve(matrix, slope[1:] - slope[:-1])
    return torch.cat([points.new_zeros(1, 3), bent, points.new_zeros(1, 3)])


def _beside(points: Tensor, aside_mm: float, turn_rad: float) -> Tensor:
    """A curve at a distance, on one side throughout: the side is carried along without twist."""
    tangents = torch.cat([points[1:2] - points[:1], points[2:] - points[:-2], points[-1:] - points[-2:-1]])
    tangents = tangents / tangents.norm(dim=1, keepdim=True)
    axis = torch.zeros(3, dtype=torch.float64, device="cpu")
    axis[int(tangents[0].abs().argmin())] = 1.0
    side = torch.linalg.cross(tangents[0], axis)
    side = side / side.norm()
    side = side * math.cos(turn_rad) + torch.linalg.cross(tangents[0], side) * math.sin(turn_rad)
    sides = []
    for tangent in tangents:
        side = side - (side @ tangent) * tangent
        side = side / side.norm()
        sides.append(side)
    return points + aside_mm * torch.stack(sides)


def _between(points: Tensor, first_mm: float, last_mm: float) -> Tensor:
    """The part of a chain between two lengths along it, mm."""
    lengths = (points[1:] - points[:-1]).norm(dim=1)
    ends = torch.cat([points.new_zeros(1), lengths.cumsum(0)])
    first_mm, last_mm = (min(max(end, 0.0), float(ends[-1])) for end in (first_mm, last_mm))
    within = points[(ends > first_mm) & (ends < last_mm)]
    cut = []
    for at in (first_mm, last_mm):
        number = min(int(torch.searchsorted(ends, at, right=True)) - 1, len(points) - 2)
        share = (at - float(ends[number])) / float(lengths[number].clamp(min=1e-12))
        cut.append(points[number] + share * (points[number + 1] - points[number]))
    return torch.cat([cut[0][None], within, cut[1][None]])
