"""What can be wrong with a chest: fluid, free air, nodules, consolidation, a large heart."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from nerp.errors import UsageError
from nerp.phantom.canvas import Canvas
from nerp.phantom.chest import Chest, Walls
from nerp.phantom.labels import FINDINGS
from nerp.phantom.patient import stream
from nerp.phantom.shapes import ellipsoid, smooth_intersection

CHANCE = 0.3
"""How often each finding is drawn when they are left to chance."""


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

    def distance(self, chest: Chest, points, walls: Walls) -> Tensor:
        """Distance to where fluid would be if all were pleural space, mm."""
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

    def distance(self, chest: Chest, points, walls: Walls) -> Tensor:
        """Distance to where free air would be if all were pleural space, mm."""
        x, _, z = points
        outer = smooth_intersection(walls.wall + 2.0, chest.cupola(*points), 10.0)
        gap = self.gap_mm * ((z + 90.0) / 150.0).clamp(0.0, 1.0) ** 0.8
        return torch.maximum(-outer - gap, -self.side * x)


@dataclass(frozen=True)
class Nodule:
    """A roundish lump: centre (3,) and radii (3,), mm."""

    centre: tuple[float, float, float]
    radii_mm: tuple[float, float, float]


@dataclass(frozen=True)
class Consolidation:
    """A cloudy part of one lung: centre (3,) and radii (3,), mm, and how much of its air is gone (0 to 1)."""

    centre: tuple[float, float, float]
    radii_mm: tuple[float, float, float]
    density: float


@dataclass(frozen=True)
class Case:
    """All findings of one phantom; None or empty where it has none."""

    effusion: Effusion | None = None
    pneumothorax: Pneumothorax | None = None

    def aerated(self, chest: Chest, points, walls: Walls, space: Tensor) -> Tensor:
        """Distance to what fluid and free air leave of the pleural spaces, mm."""
        for part in (self.effusion, self.pneumothorax):
            if part is not None:
                space = torch.maximum(space, -part.distance(chest, points, walls))
        return space


def check_findings(findings) -> tuple[str, ...]:
    """The names in the order of `FINDINGS`, each once.

    Raises:
        UsageError: a name that is not one of `FINDINGS`.
    """
    names = tuple(part.strip() for part in findings.split(",")) if isinstance(findings, str) else tuple(findings)
    for name in names:
        if name not in FINDINGS:
            raise UsageError(f"unknown finding {name!r}; expected any of {', '.join(FINDINGS)}")
    return tuple(name for name in FINDINGS if name in names)


def draw_findings(seed: int) -> tuple[str, ...]:
    """Each finding with probability `CHANCE`, so that some phantoms have none and some have several."""
    chances = torch.rand(len(FINDINGS), generator=stream(seed, "findings")).tolist()
    return tuple(name for name, chance in zip(FINDINGS, chances, strict=True) if chance < CHANCE)


def draw_pleural(seed: int, names: tuple[str, ...]) -> Case:
    """Fluid and free air of one phantom; where it has both, on opposite sides."""
    first, level, climb, gap = torch.rand(4, generator=stream(seed, "pleura")).tolist()
    side = 1.0 if first < 0.5 else -1.0
    fluid = Effusion(side, -14.0 + 48.0 * level, 32.0 + 26.0 * climb) if "effusion" in names else None
    air = Pneumothorax(-side, 16.0 + 26.0 * gap) if "pneumothorax" in names else None
    return Case(fluid, air)


def _deep_points(room, depth_mm: float, generator: torch.Generator) -> Tensor:
    """Points of the aerated lungs at least `depth_mm` inside, (N, 3)."""
    low, high = torch.tensor([-135.0, -95.0, -110.0]), torch.tensor([135.0, 75.0, 100.0])
    points = torch.rand(4000, 3, generator=generator) * (high - low) + low
    distance = room(points)
    fit = points[distance < -depth_mm]
    return fit if len(fit) else points[distance.argmin()][None]


def draw_nodules(seed: int, room) -> list[Nodule]:
    """One to three nodules of 10 to 32 mm, well inside the lung.

    Args:
        room: a function of points (N, 3): distance to the aerated lung, mm.
    """
    generator = stream(seed, "nodule")
    count = 1 + int(torch.randint(0, 3, (), generator=generator))
    sizes = (5.0 + 11.0 * torch.rand(count, generator=generator) ** 1.5).tolist()
    shapes = (0.85 + 0.3 * torch.rand(count, 3, generator=generator)).tolist()
    places = [_deep_points(room, size + 3.0, generator)[0].tolist() for size in sizes]
    parts = zip(places, sizes, shapes, strict=True)
    return [Nodule(tuple(place), tuple(size * s for s in shape)) for place, size, shape in parts]


def draw_consolidation(seed: int, room) -> Consolidation:
    """One cloud of 5 to 10 cm, its centre inside a lung."""
    generator = stream(seed, "consolidation")
    centre = _deep_points(room, 18.0, generator)[0].tolist()
    radii = (26.0 + 22.0 * torch.rand(3, generator=generator)).tolist()
    return Consolidation(tuple(centre), tuple(radii), 0.6 + 0.3 * torch.rand((), generator=generator).item())


def paint_pleural(canvas: Canvas, chest: Chest, case: Case, walls: Walls, space: Tensor):
    """Fluid, free air, and the thin line of the pleura where air outlines the lung.

    Args:
        space: distance to the pleural spaces, mm.
    """
    if case.effusion is not None:
        fluid = case.effusion.distance(chest, canvas.points, walls)
        canvas.paint("effusion", 12.0, torch.maximum(space, fluid))
    if case.pneumothorax is not None:
        air = case.pneumothorax.distance(chest, canvas.points, walls)
        canvas.paint("pneumothorax", -996.0, torch.maximum(space, air))
        line = (air - 0.8).abs() - 0.8
        canvas.paint(None, -80.0, torch.maximum(line, space + 2.0))


def paint_consolidation(canvas: Canvas, cloud: Consolidation, lung: Tensor, coarse: Tensor):
    """Cloudy lung with soft, ragged edges; bronchi painted later stay dark within it.

    Args:
        lung:   distance to the aerated lung, mm.
        coarse: (D, H, W) unit noise.
    """
    edge = ellipsoid(canvas.points, cloud.centre, cloud.radii_mm) + 8.0 * coarse
    share = cloud.density * (0.5 - edge / 16.0).clamp(0.0, 1.0) * canvas.cover(lung)
    canvas.hu.lerp_(torch.tensor(30.0), share)
    canvas.paint("consolidation", canvas.hu, torch.maximum(edge, lung))


def paint_nodules(canvas: Canvas, nodules: list[Nodule], fine: Tensor):
    """Solid lumps with slightly bumpy surfaces."""
    for nodule in nodules:
        low = [c - 1.4 * r for c, r in zip(nodule.centre, nodule.radii_mm, strict=True)]
        high = [c + 1.4 * r for c, r in zip(nodule.centre, nodule.radii_mm, strict=True)]
        box = canvas.box(low, high)
        distance = ellipsoid(canvas.at(box), nodule.centre, nodule.radii_mm) + 0.7 * fine[box].clamp(-1.5, 1.5)
        canvas.paint("nodule", 38.0, distance, box)
