"""What can lie between the chest wall and a lung: fluid, free air."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

import torch
from torch import Tensor

from nerp.devices import SINGLE
from nerp.phantom.canvas import Ground
from nerp.phantom.chest import Walls
from nerp.phantom.patient import stream
from nerp.phantom.shapes import Points, smooth_intersection


class Cage(Protocol):
    """What fluid and free air need to know of a chest.

    Args:
        dome_mm: height of the diaphragm's dome above the chest's middle, mm.
    """

    dome_mm: float

    def cupola(self, x: Tensor, y: Tensor, z: Tensor) -> Tensor:
        """Distance above the rounded lung tops, mm, negative below.

        Args:
            x, y, z: coordinates, mm.
        """


@dataclass(frozen=True)
class Effusion:
    """Fluid at the bottom of one pleural space, climbing the chest wall.

    Args:
        side:     +1 right, -1 left.
        level_mm: height of its middle against the dome of the diaphragm on the right.
        climb_mm: how much higher it stands at the wall (the meniscus).
    """

    side: float
    level_mm: float
    climb_mm: float

    def distance(self, chest: Cage, points: Points, walls: Walls) -> Tensor:
        """Distance to where fluid would be if all were pleural space, mm, negative inside.

        Args:
            chest:  that it lies in.
            points: x, y, z, mm.
            walls:  those of the same points.
        """
        x, _, z = points
        climb = self.climb_mm * (walls.wall.clamp(max=0.0) / 16.0).exp()
        return torch.maximum((z - chest.dome_mm - self.level_mm - climb) * 0.6, -self.side * x)


@dataclass(frozen=True)
class Pneumothorax:
    """Free air between the chest wall and a lung that has shrunk from it, most at the top.

    Args:
        side:   +1 right, -1 left.
        gap_mm: distance between wall and lung at the top.
    """

    side: float
    gap_mm: float

    def distance(self, chest: Cage, points: Points, walls: Walls) -> Tensor:
        """Distance to where free air would be if all were pleural space, mm, negative inside.

        Args:
            chest:  that it lies in.
            points: x, y, z, mm.
            walls:  those of the same points.
        """
        x, _, z = points
        outer = smooth_intersection(walls.wall + 2.0, chest.cupola(*points), 10.0)
        gap = self.gap_mm * ((z + 90.0) / 150.0).clamp(0.0, 1.0) ** 0.8
        return torch.maximum(-outer - gap, -self.side * x)


@dataclass(frozen=True)
class Case:
    """What lies between chest wall and lung in one phantom.

    Args:
        effusion:     fluid, or None.
        pneumothorax: free air, or None.
    """

    effusion: Effusion | None = None
    pneumothorax: Pneumothorax | None = None

    def aerated(self, chest: Cage, points: Points, walls: Walls, space: Tensor) -> Tensor:
        """Distance to what fluid and free air leave of the pleural spaces, mm, negative inside.

        Args:
            chest:  that they lie in.
            points: x, y, z, mm.
            walls:  those of the same points.
            space:  distance of the same points to the pleural spaces, mm.
        """
        for part in (self.effusion, self.pneumothorax):
            if part is not None:
                space = torch.maximum(space, -part.distance(chest, points, walls))
        return space


def draw_pleural(seed: int, names: tuple[str, ...]) -> Case:
    """Fluid and free air of one phantom; where it has both, on opposite sides.

    Args:
        seed:  of the phantom.
        names: those of its findings; others than `effusion` and `pneumothorax` do not matter.
    """
    first, level, climb, gap = torch.rand(4, generator=stream(seed, "pleura"), **SINGLE).tolist()
    side = 1.0 if first < 0.5 else -1.0
    fluid = Effusion(side, -14.0 + 48.0 * level, 32.0 + 26.0 * climb) if "effusion" in names else None
    air = Pneumothorax(-side, 16.0 + 26.0 * gap) if "pneumothorax" in names else None
    return Case(fluid, air)


def paint_pleural(canvas: Ground, chest: Cage, case: Case, walls: Walls, space: Tensor) -> None:
    """Fluid, free air, and the thin line of the pleura where air outlines the lung.

    Args:
        canvas: painted on.
        chest:  the patient's.
        case:   which fluid and air.
        walls:  those of the canvas's points.
        space:  (D, H, W) distance to the pleural spaces, mm.
    """
    if case.effusion is not None:
        fluid = case.effusion.distance(chest, canvas.points, walls)
        canvas.paint("effusion", 12.0, torch.maximum(space, fluid))
    if case.pneumothorax is not None:
        air = case.pneumothorax.distance(chest, canvas.points, walls)
        canvas.paint("pneumothorax", -996.0, torch.maximum(space, air))
        line = (air - 0.8).abs() - 0.8
        canvas.paint(None, -80.0, torch.maximum(line, space + 2.0))
