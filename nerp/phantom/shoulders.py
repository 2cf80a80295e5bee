"""Clavicles, shoulder blades and upper arms, and the flesh of the arms."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import TypeAlias

import torch
from torch import Tensor

from nerp.devices import SINGLE, single
from nerp.phantom.canvas import Canvas
from nerp.phantom.chest import Chest
from nerp.phantom.patient import Patient
from nerp.phantom.shapes import Tubes, curve, join, strap, tube

Border: TypeAlias = Callable[[Tensor], Tensor]
"""Of a height, mm: the point (3,) of a border there, mm."""

_DOWN = ((112, -24, 86), (160, -30, 74), (190, -34, 30), (226, -44, -50))
_RAISED = ((106, -28, 60), (148, -26, 86), (178, -18, 128), (198, -6, 220))


def arms(patient: Patient) -> Tubes:
    """The flesh of both shoulders and upper arms, mm."""
    path = torch.tensor(_RAISED if patient.arms_raised else _DOWN, dtype=torch.float32, device="cpu")
    radii = single((36.0, 41.0, 40.0, 37.0)) * (0.7 + 0.3 * patient.muscle)
    return join([tube(path * single([side, 1.0, 1.0]), radii, 14) for side in (1.0, -1.0)])


def paint_shoulders(canvas: Canvas, chest: Chest, side: str, sign: float) -> None:
    """The bones of one shoulder, those nearest the chest last.

    Args:
        canvas: painted on.
        chest:  the patient's.
        side:   `right` or `left`, as the labels say it.
        sign:   +1 right, -1 left.
    """
    mirror = single([sign, 1.0, 1.0])
    _paint_humerus(canvas, chest.patient, side, mirror)
    _paint_scapula(canvas, chest, side, mirror)
    front = chest.wall_front(single(80.0)).item() + 7.0
    knots = [(20, front, 79), (48, front + 6, 85), (86, front - 8, 94), (122, front - 34, 101), (154, front - 48, 100)]
    path = curve(torch.tensor(knots, dtype=torch.float32, device="cpu") * mirror, 28)
    radii = curve([[11, 0, 0], [8, 0, 0], [6.8, 0, 0], [7, 0, 0], [7.6, 0, 0]], 28)[:, 0]
    box, distance = canvas.sweep(Tubes(path[:-1], path[1:], torch.stack([radii[:-1], radii[1:]], 1)))
    canvas.paint_bone(f"clavicle_{side}", distance, box, cortex_mm=2.1, hu=(1300.0, 350.0))


def _paint_humerus(canvas: Canvas, patient: Patient, side: str, mirror: Tensor) -> None:
    route = torch.tensor(_RAISED if patient.arms_raised else _DOWN, dtype=torch.float32, device="cpu")
    head = route[1] + single([4.0, 2.0, 2.0])
    middle = (route[1] + route[2]) / 2 + single([4.0, 0.0, 0.0])
    shaft = tube(torch.stack([head, middle, route[2], route[3]]) * mirror, (17.0, 14.0, 11.5, 11.0), 14)
    ball = tube(torch.stack([head, head + single([-3.0, 0.0, 3.0])]) * mirror, 22.0, 2)
    box, distance = canvas.sweep(join([shaft, ball]))
    canvas.paint_bone(f"humerus_{side}", distance, box, cortex_mm=2.6, hu=(1100.0, 180.0))


def _paint_scapula(canvas: Canvas, chest: Chest, side: str, mirror: Tensor) -> None:
    box, blade = canvas.sweep(_blade(chest, mirror))
    canvas.paint(f"scapula_{side}", 750.0, blade, box)
    socket = single(_RAISED if chest.patient.arms_raised else _DOWN)[1] + single([-20.0, -2.0, 4.0])
    inner, _ = _edges(chest)
    root, low = inner(single(58.0)), inner(single(-20.0))
    acromion = socket + single([16.0, -7.0, 20.0])
    ridge = tube(
        torch.stack([root, (root + acromion) / 2 + single([4.0, -12.0, 4.0]), acromion]) * mirror,
        (3, 5, 7),
    )
    border = tube(
        torch.stack([low, (low + socket) / 2 + single([3.0, -4.0, -2.0]), socket]) * mirror,
        (3, 4.5, 11),
    )
    beak = torch.stack([socket + single([-10.0, 4, 14]), socket + single([-8.0, 22, 24])])
    hook = tube(torch.cat([beak, socket[None] + single([[4.0, 32, 18]])]) * mirror, (6, 5, 4.5))
    box, distance = canvas.sweep(join([ridge, border, hook]))
    canvas.paint_bone(f"scapula_{side}", distance, box, cortex_mm=1.8, hu=(1000.0, 240.0))


def _edges(chest: Chest) -> tuple[Border, Border]:
    """The blade's inner border and its outer one, as functions of height; both lie on the ribs behind."""

    def on_ribs(aside: Tensor, z: Tensor) -> Tensor:
        """The point behind the ribs at a distance from the midline."""
        centre, width = chest.wall_centre(z), chest.wall_width(z) + 16.0
        fraction = (1.0 - (aside / width).clamp(max=0.97) ** 2.5) ** 0.4
        return torch.stack([aside, centre - (centre - chest.wall_back(z) + 16.0) * fraction, z], -1)

    def inner(z: Tensor) -> Tensor:
        """The border towards the spine."""
        return on_ribs(100.0 - 0.10 * (z - 40.0).abs() + 0.12 * (40.0 - z).clamp(min=0), z)

    def outer(z: Tensor) -> Tensor:
        """The border towards the armpit."""
        return on_ribs(108.0 + 0.34 * (z + 20.0), z)

    return inner, outer


def _blade(chest: Chest, mirror: Tensor) -> Tubes:
    """The thin triangle of the shoulder blade, laid in strips from its inner to its outer border."""
    inner, outer = _edges(chest)
    parts = []
    for z in torch.arange(-20.0, 86.0, 5.0, **SINGLE):
        low, high = inner(z), outer(z.clamp(max=70.0))
        path = low + (high - low) * torch.linspace(0, 1, 7, **SINGLE)[:, None]
        path[:, 1] -= 6.0 * (torch.linspace(0, 1, 7, **SINGLE) * torch.pi).sin()
        normal = single([[0.55, -0.83, 0.05]]).expand(7, 3)
        parts.append(strap(path * mirror, torch.full((7,), 3.6, **SINGLE), normal * mirror, 0.5))
    normals = torch.cat([part.normal for part in parts if part.normal is not None])
    return replace(join(parts), flat=0.5, normal=normals)
