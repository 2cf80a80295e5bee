"""Branching trees inside the lungs: arteries, veins, bronchi."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from nerp.devices import SINGLE, single
from nerp.phantom.shapes import Tubes


@dataclass(frozen=True)
class Growth:
    """How a tree fills its lung.

    Args:
        hilum:     (3,) where it enters, mm.
        heading:   (3,) direction in which it enters.
        radius_mm: at the hilum.
        n_tips:    how many ends it has.
        taper:     radius falls as (fraction of the ends beyond) ** taper.
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
    heading = torch.nn.functional.normalize(single(growth.heading), dim=0)
    sways = iter(0.08 * torch.randn(2 * len(targets), 3, generator=generator, **SINGLE))
    waiting = [(single(growth.hilum), heading, targets)]
    bends, loads = [], []
    while waiting:
        node, heading, ends = waiting.pop()
        goal = ends[0] if len(ends) == 1 else node + (ends.mean(0) - node) * (0.28 + 0.2 / len(ends) ** 0.5)
        length = (goal - node).norm()
        middle = 0.3 * node + 0.2 * goal + 0.5 * (node + length * (0.45 * heading + next(sways)))
        bends.append(torch.stack([node, middle, goal]))
        loads.append((len(ends), max(0.75 * len(ends), 0.6)))
        if len(ends) > 1:
            heading = torch.nn.functional.normalize(goal - middle, dim=0)
            waiting += [(goal, heading, half) for half in _halves(ends)]
    fractions = single(loads) / len(targets)
    return _arcs(torch.stack(bends), growth.radius_mm * fractions**growth.taper)


def _arcs(bends: Tensor, radii_mm: Tensor) -> Tubes:
    """Tubes along quadratic arcs given by start, middle and end (N, 3, 3), tapering between two radii (N, 2)."""
    t = torch.linspace(0, 1, 5, **SINGLE)[:, None]
    first, middle, last = bends[:, None].unbind(2)
    path = (1 - t) ** 2 * first + 2 * t * (1 - t) * middle + t**2 * last
    radii = torch.lerp(radii_mm[:, :1], radii_mm[:, 1:], t[:, 0])
    pairs = torch.stack([radii[:, :-1], radii[:, 1:]], 2)
    return Tubes(path[:, :-1].reshape(-1, 3), path[:, 1:].reshape(-1, 3), pairs.reshape(-1, 2))


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
