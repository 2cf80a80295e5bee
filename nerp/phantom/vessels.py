"""Branching trees inside the lungs: arteries, veins, bronchi."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from nerp.phantom.shapes import Tubes, join


@dataclass(frozen=True)
class Growth:
    """How a tree fills its lung.

    Args:
        hilum:     (3,) where it enters, mm.
        heading:   (3,) direction in which it enters.
        radius_mm: at the hilum.
        n_tips:    how many ends it has.
        taper:     radius falls as (share of the ends beyond) ** taper.
    """

    hilum: tuple[float, float, float]
    heading: tuple[float, float, float]
    radius_mm: float
    n_tips: int
    taper: float = 0.39


def grow(growth: Growth, targets: Tensor, generator: torch.Generator) -> Tubes:
    """A tree from the hilum to every target: at each node the ends beyond it are halved across their longest extent.

    Args:
        growth:    hilum, radius and taper.
        targets:   (N, 3) where the ends lie, mm.
        generator: bends the branches a little.

    Returns:
        Smoothly bent tubes, tapering towards the ends.
    """
    heading = torch.nn.functional.normalize(torch.tensor(growth.heading), dim=0)
    waiting = [(torch.tensor(growth.hilum), heading, targets)]
    parts = []
    while waiting:
        node, heading, ends = waiting.pop()
        goal = ends[0] if len(ends) == 1 else node + (ends.mean(0) - node) * (0.28 + 0.2 / len(ends) ** 0.5)
        radii = [growth.radius_mm * (n / len(targets)) ** growth.taper for n in (len(ends), max(len(ends) * 0.75, 0.6))]
        sway = 0.08 * torch.randn(3, generator=generator)
        path = _bend(node, heading, goal, sway)
        parts.append(_tapering(path, *radii))
        if len(ends) > 1:
            heading = torch.nn.functional.normalize(path[-1] - path[-2], dim=0)
            waiting += [(goal, heading, half) for half in _halves(ends)]
    return join(parts)


def _bend(start: Tensor, heading: Tensor, goal: Tensor, sway: Tensor) -> Tensor:
    """(5, 3) points of a quadratic arc that leaves along `heading`."""
    length = (goal - start).norm()
    middle = start + 0.42 * length * heading + length * sway
    middle = 0.6 * middle + 0.4 * (start + goal) / 2
    t = torch.linspace(0, 1, 5)[:, None]
    return (1 - t) ** 2 * start + 2 * t * (1 - t) * middle + t**2 * goal


def _tapering(path: Tensor, first_mm: float, last_mm: float) -> Tubes:
    radii = torch.linspace(first_mm, last_mm, len(path))
    return Tubes(path[:-1], path[1:], torch.stack([radii[:-1], radii[1:]], 1))


def _halves(ends: Tensor) -> tuple[Tensor, Tensor]:
    """The ends on either side of their middle along the direction in which they spread most."""
    offset = ends - ends.mean(0)
    # A split in two needs no exact principal axis: three power steps settle it, whatever the LAPACK.
    axis = offset[offset.norm(dim=1).argmax()]
    for _ in range(3):
        axis = offset.T @ (offset @ axis)
        axis = axis / axis.norm()
    along = offset @ axis
    order = along.argsort()
    cut = int((along < 0).sum().clamp(1, len(ends) - 1))
    return ends[order[:cut]], ends[order[cut:]]
