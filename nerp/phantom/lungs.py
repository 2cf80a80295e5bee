"""The lungs within their pleura: what room they have, their parenchyma, and the trees that fill them."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from nerp.devices import SINGLE, single
from nerp.phantom import organs
from nerp.phantom.canvas import Canvas
from nerp.phantom.chest import Chest, Walls
from nerp.phantom.findings import Room
from nerp.phantom.patient import stream
from nerp.phantom.pleura import Case
from nerp.phantom.shapes import Points, Tubes, join
from nerp.phantom.vessels import Growth, grow

PLEURA_MM = 2.5
"""Fat and pleura between a mediastinal organ and the lung."""


@dataclass(frozen=True)
class Neighbours:
    """The tubes that dent the lungs."""

    tubes: Tubes

    @staticmethod
    def of(chest: Chest) -> Neighbours:
        """Those of one patient."""
        parts = (organs.aorta(chest), organs.vena_cava(chest), organs.pulmonary_trunk(chest), organs.arch_branches())
        return Neighbours(join(list(parts)))


def heart_room(chest: Chest, points: Points, walls: Walls) -> Tensor:
    """Distance to the heart, cut off by the diaphragm and the chest wall, mm, negative inside.

    Args:
        chest:  the patient's.
        points: x, y, z, mm.
        walls:  those of the same points.
    """
    body = torch.maximum(organs.heart(chest, points), 1.0 - walls.above)
    return torch.maximum(body, walls.wall + 3.0)


def pleural_space(canvas: Canvas, chest: Chest, walls: Walls, heart: Tensor) -> Tensor:
    """Distance to both pleural spaces on the whole grid, mm, negative inside.

    Args:
        canvas: gives the grid.
        chest:  the patient's.
        walls:  those of the canvas's points.
        heart:  (D, H, W) distance to the heart, mm.

    Returns:
        (D, H, W).
    """
    space = torch.maximum(chest.lung(canvas.points, walls), PLEURA_MM - heart)
    box, distance = canvas.sweep(Neighbours.of(chest).tubes, PLEURA_MM)
    space[box] = torch.maximum(space[box], PLEURA_MM - distance)
    return space


def aerated_at(chest: Chest, case: Case, points: Tensor) -> Tensor:
    """Distance to the aerated lungs at some points, mm, negative inside.

    Args:
        chest:  the patient's.
        case:   fluid and air that take the lungs' place.
        points: (N, 3) mm.

    Returns:
        (N,).
    """
    axes = points.unbind(1)
    walls = chest.walls(axes)
    space = torch.maximum(chest.lung(axes, walls), PLEURA_MM - heart_room(chest, axes, walls))
    space = torch.maximum(space, PLEURA_MM - Neighbours.of(chest).tubes.nearest(points))
    return case.aerated(chest, axes, walls, space)


def parenchyma(canvas: Canvas, coarse: Tensor) -> Tensor:
    """HU of aerated lung: denser below and behind, uneven by some centimetres.

    Args:
        canvas: gives the grid.
        coarse: (D, H, W) unit noise of some centimetres.

    Returns:
        (D, H, W).
    """
    _, y, z = canvas.points
    return (-862.0 - 0.16 * z - 0.22 * y + 9.0 * coarse).clamp(-920.0, -760.0)


def tips(side: float, n: int, *, room: Room, generator: torch.Generator) -> Tensor:
    """Points spread through one lung: more of them below, none at the very edge, none too close to each other.

    Args:
        side:      +1 right, -1 left.
        n:         how many there are to be.
        room:      a function of points (N, 3), mm: distance to the aerated lung, mm.
        generator: source of the points.

    Returns:
        (n, 3) mm; fewer where the lung is too small for them.
    """
    low, high = single([8.0, -100.0, -175.0]), single([140.0, 80.0, 115.0])
    points = torch.rand(24 * n, 3, generator=generator, **SINGLE) * (high - low) + low
    points = points * single([side, 1.0, 1.0])
    keep = torch.rand(len(points), generator=generator, **SINGLE) < 1.0 - (points[:, 2] + 60.0) / 330.0
    points = points[keep]
    points = points[room(points) < -5.0]
    gap = 0.62 * (3.0e6 / n) ** (1 / 3)
    chosen = points[:1]
    for point in points[1:]:
        if len(chosen) == n:
            break
        if (chosen - point).norm(dim=1).amin() > gap:
            chosen = torch.cat([chosen, point[None]])
    return chosen


def trees(chest: Chest, room: Room) -> dict[str, Tubes]:
    """Arteries, veins and bronchi of both lungs.

    Args:
        chest: the patient's.
        room:  a function of points (N, 3), mm: distance to the aerated lung, mm.
    """
    d = chest.dome_mm
    right = {
        "pulmonary_arteries": Growth((46.0, -10.0, 2.0), (0.8, -0.1, -0.7), 8.5, 190),
        "pulmonary_veins": Growth((36.0, -12.0, d + 62.0), (0.9, 0.1, -0.1), 7.5, 130),
        "bronchi": Growth((46.0, -24.0, -12.0), (0.5, -0.1, -0.9), 5.5, 40, 0.45),
    }
    left = {
        "pulmonary_arteries": Growth((-52.0, -26.0, 6.0), (-0.6, -0.3, -0.8), 8.5, 170),
        "pulmonary_veins": Growth((-40.0, -16.0, d + 64.0), (-0.9, 0.1, 0.0), 7.5, 120),
        "bronchi": Growth((-50.0, -28.0, -4.0), (-0.6, -0.2, -0.8), 5.0, 36, 0.45),
    }
    made = {}
    for name in right:
        generator = stream(chest.patient.seed, name)
        halves = []
        for side, growth in ((1.0, right[name]), (-1.0, left[name])):
            ends = tips(side, growth.n_tips, room=room, generator=generator)
            halves.append(grow(growth, ends, generator))
        made[name] = join(halves)
    return made


def paint_trees(canvas: Canvas, made: dict[str, Tubes], lung: Tensor) -> None:
    """Vessels full, bronchi hollow; both only where there is lung or hilum, never through the pleura.

    Args:
        canvas: painted on.
        made:   from `trees`.
        lung:   (D, H, W) distance to the aerated lung, mm.
    """
    wall = made["bronchi"]
    hollow = Tubes(wall.start, wall.end, (wall.radii_mm - 0.3 - 0.14 * wall.radii_mm).clamp(min=0.05))
    for name, hu, tubes in (
        ("bronchi", -60.0, wall),
        (None, -980.0, hollow),
        ("pulmonary_veins", 40.0, made["pulmonary_veins"]),
        ("pulmonary_arteries", 42.0, made["pulmonary_arteries"]),
    ):
        box, distance = canvas.sweep(tubes.thinned(canvas.voxel_mm))
        canvas.paint(name, hu, torch.maximum(distance, (lung[box] - 12.0) * 0.5), box)
