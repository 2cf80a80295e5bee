"""Spine, ribs and their cartilage, sternum, clavicles, shoulder blades and upper arms."""

from __future__ import annotations

import torch
from torch import Tensor

from nerp.devices import SINGLE, single
from nerp.phantom.canvas import Canvas
from nerp.phantom.chest import Chest
from nerp.phantom.shapes import Profile, Tubes, curve, join, strap, tube

SIDES = {"right": 1.0, "left": -1.0}
VERTEBRAE_MM = (166, 151, 136, 120, 105, 90, 72, 53, 32, 10, -12, -36, -60, -84, -110, -137, -165, -196)
"""Heights of the middles of C4 to L3."""

FIRST_THORACIC = 4
_DROP_MM = (34, 46, 62, 78, 90, 97, 98, 92, 84, 76, 60, 34)
"""How far below its head each rib ends, ribs 1 to 12."""
_REACH = (0.86, 0.87, 0.86, 0.83, 0.80, 0.765, 0.735, 0.70, 0.66, 0.61, 0.50, 0.33)
"""Where along the half circle from spine (0) to sternum (1) the bone of each rib ends."""
_HEIGHT_MM = (5.0, 5.2, 5.6, 6.0, 6.3, 6.6, 6.8, 6.8, 6.6, 6.2, 5.4, 4.4)


def paint_bones(canvas: Canvas, chest: Chest) -> None:
    """All bones, the spine first.

    Args:
        canvas: painted on.
        chest:  the patient's.
    """
    paint_spine(canvas, chest)
    for side in SIDES:
        for index in range(12):
            paint_rib(canvas, chest, side, index)
    paint_sternum(canvas, chest)


def paint_spine(canvas: Canvas, chest: Chest) -> None:
    """Vertebral bodies with waists, discs between them, and the processes behind.

    Args:
        canvas: painted on.
        chest:  the patient's.
    """
    box = canvas.box((-60, -140, -230), (60, 60, 200))
    x, y, z = canvas.at(box)
    aside, fore = x - chest.spine_x(z), y - chest.spine_y(z)
    into = _DISC_DISTANCE(z)
    width = _BODY_WIDTH(z) * (1.0 - 0.1 * (into / 9.0).clamp(0, 1))
    radius = torch.hypot(aside, fore * 1.3)
    body = (radius - width) * 0.88
    disc = 2.6 - into
    canvas.paint("discs", 85.0, torch.maximum(body, -disc), box)
    canvas.paint_bone("vertebrae", torch.maximum(body, disc), box, cortex_mm=1.5, hu=(560.0, 210.0))
    heights = torch.linspace(-225.0, 190.0, 40, **SINGLE)
    canal = torch.stack([chest.spine_x(heights), chest.spine_y(heights) - 22.0, heights], 1)
    box, distance = canvas.sweep(Tubes(canal[:-1], canal[1:], torch.full((39, 2), 8.0, **SINGLE)))
    canvas.paint("spinal_canal", 25.0, distance, box)
    box, processes = canvas.sweep(_processes(chest))
    canvas.paint_bone("vertebrae", processes, box, cortex_mm=1.2, hu=(360.0, 150.0))


def _disc_heights() -> list[float]:
    return [(a + b) / 2 for a, b in zip(VERTEBRAE_MM[:-1], VERTEBRAE_MM[1:], strict=True)]


def _disc_profile() -> Profile:
    discs = sorted(_disc_heights())
    knots, values = [discs[0] - 30.0], [30.0]
    for low, high in zip(discs[:-1], discs[1:], strict=True):
        knots += [low, (low + high) / 2]
        values += [0.0, (high - low) / 2]
    return Profile([*knots, discs[-1], discs[-1] + 30.0], [*values, 0.0, 30.0])


_DISC_DISTANCE = _disc_profile()
_BODY_WIDTH = Profile((-200, -137, -36, 72, 120, 170), (24, 21.5, 17.5, 14.5, 13, 11.5))


def _processes(chest: Chest) -> Tubes:
    """Laminae, transverse and spinous processes of every vertebra as tubes."""
    parts = []
    for z in VERTEBRAE_MM:
        height = single(float(z))
        at = torch.stack([chest.spine_x(height), chest.spine_y(height), height])
        thoracic = -145 < z < 110
        tip = (0, -57, -22) if thoracic else (0, -50, -8)
        wing = 30.0 if thoracic else 24.0
        parts.append(tube(at + single([(0, -33, -2), (0, -43, -9), tip]), (3.5, 2.6, 3.2), 5))
        for s in SIDES.values():
            arch = [(11 * s, -8, 3), (12 * s, -20, 3), (8 * s, -29, 0), (0, -33, -2)]
            parts.append(tube(at + single(arch), (4.5, 4.0, 3.2, 3.0), 7))
            parts.append(tube(at + single([(11 * s, -22, 3), (wing * s, -30, 6)]), (4.5, 4.0), 4))
    return join(parts)


def rib_path(chest: Chest, side: float, index: int, fraction: Tensor) -> tuple[Tensor, Tensor]:
    """Middle line of a rib and the direction out of the chest.

    Args:
        chest:    the patient's.
        side:     +1 right, -1 left.
        index:    0 to 11.
        fraction: (N,) way along the half circle from the spine (0) to the sternum (1).

    Returns:
        (N, 3) mm and (N, 3) unit normals.
    """
    head = float(VERTEBRAE_MM[FIRST_THORACIC + index]) + 8.0
    lift = (1.12 - 0.2 * chest.patient.inspiration) * chest.patient.rib_drop
    angle = fraction * torch.pi
    z = torch.full_like(fraction, head)
    for _ in range(6):
        x, y = _on_wall(chest, angle, z, 4.5)
        fall = _RIB_FALL(100.0 * fraction) / _RIB_FALL(single(100.0 * _REACH[index]))
        z = head - _DROP_MM[index] * lift * fall
    outward = torch.nn.functional.normalize(torch.stack([x * side / 1.2, y - chest.wall_centre(z), 0.15 * x.abs()], 1))
    return torch.stack([x * side + chest.spine_x(z) * (1 - fraction), y, z], 1), outward


_RIB_FALL = Profile((0, 6, 15, 30, 50, 70, 85, 100), (0, -1, 3, 18, 45, 74, 91, 100))


def _on_wall(chest: Chest, angle: Tensor, z: Tensor, out_mm: float) -> tuple[Tensor, Tensor]:
    """The point of the rib cage at an angle from the back (0) over the side to the front (pi)."""
    centre = chest.wall_centre(z)
    width = chest.wall_width(z) + out_mm
    fore = torch.where(angle > torch.pi / 2, chest.wall_front(z) - centre, centre - chest.wall_back(z)) + out_mm
    sine, cosine = angle.sin(), -angle.cos()
    return width * sine.abs() ** 0.8, centre + fore * cosine.sign() * cosine.abs() ** 0.8


def paint_rib(canvas: Canvas, chest: Chest, side: str, index: int) -> None:
    """One rib from its vertebra to its bony end, and its cartilage.

    Args:
        canvas: painted on.
        chest:  the patient's.
        side:   `right` or `left`, as the labels say it.
        index:  0 to 11.
    """
    end = _REACH[index]
    path, outward = rib_path(chest, SIDES[side], index, torch.linspace(0.055, end, 48, **SINGLE))
    height = _HEIGHT_MM[index]
    radii = torch.full((48,), height, **SINGLE)
    radii[:4] = 0.75 * height
    path, outward, radii = _with_head(chest, SIDES[side], index, (path, outward, radii))
    box, distance = canvas.sweep(strap(path, radii, outward, 0.52))
    canvas.paint_bone(f"rib_{side}_{index + 1}", distance, box, cortex_mm=1.4, hu=(1300.0, 350.0))
    if index < 10:
        _paint_cartilage(canvas, chest, SIDES[side], index)


def _with_head(
    chest: Chest, side: float, index: int, rib: tuple[Tensor, Tensor, Tensor]
) -> tuple[Tensor, Tensor, Tensor]:
    """The rib with its neck: from the side of the vertebral body to the wall."""
    path, outward, radii = rib
    z = single(VERTEBRAE_MM[FIRST_THORACIC + index] + 5.0)
    head = torch.stack([chest.spine_x(z) + 15.0 * side, chest.spine_y(z) - 10.0, z])
    neck = torch.stack([head, (head + path[0]) / 2 + single([0.0, -2.0, 1.5])])
    return torch.cat([neck, path]), torch.cat([outward[:1], outward[:1], outward]), torch.cat([radii[:2], radii])


_ANCHOR_MM = (74, 46, 30, 12, -6, -22, -36)


def _paint_cartilage(canvas: Canvas, chest: Chest, side: float, index: int) -> None:
    start, _ = rib_path(chest, side, index, single([_REACH[index] - 0.02, _REACH[index] + 0.015]))
    z = float(_ANCHOR_MM[min(index, 6)]) if index < 7 else start[1, 2].item() + 26.0
    x = 17.0 if index < 7 else start[1, 0].abs().item() - 34.0
    y = chest.wall_front(single(z)).item() + 5.0 if index < 7 else start[1, 1].item() + 14.0
    goal = single([x * side, y, z])
    low = min(start[1, 2].item() - 4.0, z - 4.0)
    middle = (start[1] + goal) / 2
    middle[2], middle[1] = 0.5 * (low + middle[2]), max(middle[1], 0.65 * y + 0.35 * start[1, 1]) + 3.0
    path = curve(torch.stack([start[0], start[1], middle, goal]), 16)
    outward = single([[0.2 * side, 1.0, 0.1]]).expand(16, 3)
    box, distance = canvas.sweep(strap(path, torch.full((16,), 6.0, **SINGLE), outward, 0.55))
    canvas.paint("costal_cartilage", 110.0, distance, box)


def paint_sternum(canvas: Canvas, chest: Chest) -> None:
    """Manubrium, body and tip.

    Args:
        canvas: painted on.
        chest:  the patient's.
    """
    heights = single([82.0, 62.0, 44.0, 20.0, -20.0, -50.0, -62.0, -76.0])
    path = torch.stack([torch.zeros(8, **SINGLE), chest.wall_front(heights) + 8.0, heights], 1)
    path = curve(path, 24)
    where = Profile((-80, -62, -45, -10, 30, 42, 60, 74, 84), (5, 8, 19, 17, 14, 15, 22, 27, 24))
    radii = where(path[:, 2])
    outward = single([[0.0, 1.0, 0.3]]).expand(24, 3)
    box, distance = canvas.sweep(strap(path, radii, outward, 0.26))
    canvas.paint_bone("sternum", distance, box, cortex_mm=1.2, hu=(420.0, 120.0))
