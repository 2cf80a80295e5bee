"""Heart and great vessels, airways to the hila, oesophagus, and what lies below the diaphragm."""

from __future__ import annotations

import torch
from torch import Tensor

from nerp.devices import SINGLE, WHOLE, single
from nerp.phantom.canvas import Canvas
from nerp.phantom.chest import Chest
from nerp.phantom.patient import stream
from nerp.phantom.shapes import Points, Tubes, ellipsoid, join, smooth_union, tube, turned_ellipsoid


def heart(chest: Chest, points: Points) -> Tensor:
    """Distance to the heart's outline (four chambers, left atrial appendage, root of the lung artery), mm.

    Args:
        chest:  the patient's.
        points: x, y, z, mm.
    """
    size = chest.patient.heart
    x, y, z = points
    floor = chest.dome_mm - 6.0
    p = ((x + 8.0) / size - 8.0, (y - 14.0) / size + 14.0, (z - floor) / size + floor)
    d = floor
    lie = chest.patient.heart_lie
    apex = (-0.64 - 0.22 * lie, 0.45, -0.56 + 0.32 * lie)
    middle = (-35.0 - 5.0 * lie, 19.0, d + 33.0 - 7.0 * lie)
    left = turned_ellipsoid(p, middle, axis=apex, long_mm=56.0, short_mm=41.0)
    right = ellipsoid(p, (15.0, 14.0, d + 40.0), (30.0, 31.0, 42.0))
    front = ellipsoid(p, (-12.0, 42.0, d + 34.0), (44.0, 28.0, 34.0))
    atrium = ellipsoid(p, (-6.0, -14.0, d + 64.0), (36.0, 23.0, 25.0))
    appendage = ellipsoid(p, (-36.0, 10.0, d + 74.0), (18.0, 16.0, 22.0))
    body = smooth_union(smooth_union(left, front, 16.0), smooth_union(right, atrium, 14.0), 18.0)
    return smooth_union(body, appendage, 16.0) * size


def aorta(chest: Chest) -> Tubes:
    """Root, arch over the left bronchus, and the descending part left of the spine."""
    d = chest.dome_mm
    points = [(-4, 14, d + 62), (8, 22, d + 84), (14, 22, 26), (9, 16, 50), (-7, -4, 64), (-27, -27, 57)]
    points += [(-31, -43, 36), (-29, -47, 10), (-24, -48, -40), (-16, -44, -100), (-6, -36, -150), (-3, -24, -215)]
    radii = (16, 17, 16.5, 15.5, 14.5, 13.5, 13, 12.5, 12, 11.5, 10.5, 9.5)
    return tube(points, radii, 72)


def pulmonary_trunk(chest: Chest) -> Tubes:
    """The lung artery from the heart to both hila."""
    d = chest.dome_mm
    trunk = tube([(-14, 40, d + 66), (-20, 32, d + 84), (-24, 16, 22), (-26, 2, 26)], (16, 15.5, 14, 12), 16)
    right = tube([(-24, 8, 24), (6, -2, 20), (30, -6, 14), (46, -10, 2)], (12, 11, 10, 9), 14)
    left = tube([(-25, 5, 25), (-36, -8, 26), (-47, -20, 20), (-52, -26, 6)], (12, 11.5, 10, 9), 14)
    return join([trunk, right, left])


def vena_cava(chest: Chest) -> Tubes:
    """Upper and lower great veins of the right side, and the crossing vein of the left arm."""
    d = chest.dome_mm
    upper = tube([(34, 10, 96), (27, 14, 74), (24, 16, 44), (22, 14, 8), (18, 12, d + 66)], (8, 9, 10, 10, 11), 18)
    cross = tube([(-36, 10, 92), (-10, 20, 78), (22, 15, 66)], (7, 7.5, 8), 12)
    lower = tube([(16, 2, d + 20), (20, -2, d - 12), (20, -6, -150), (16, -4, -215)], (13, 12, 11, 11), 16)
    return join([upper, cross, lower])


def arch_branches() -> Tubes:
    """Arteries to head and arms."""
    return join(
        [
            tube([(6, 10, 62), (13, 8, 84), (28, 4, 109), (62, 0, 119), (98, -4, 106)], (7, 6.5, 5, 4.5, 4), 18),
            tube([(-5, 0, 68), (-10, 2, 90), (-18, 16, 120), (-22, 20, 180)], (4.5, 4, 3.5, 3.5), 14),
            tube([(20, 8, 94), (20, 16, 120), (22, 20, 180)], (4.5, 3.5, 3.5), 12),
            tube(
                [(-18, -18, 66), (-19, -14, 90), (-31, -8, 111), (-64, -4, 119), (-98, -6, 106)],
                (6, 5.5, 5, 4.5, 4),
                16,
            ),
        ]
    )


def airways(chest: Chest) -> Tubes:
    """Trachea, carina and main bronchi, outer wall."""

    def y(z: float) -> float:
        """Before the spine, mm."""
        return chest.spine_y(single(float(z))).item() + 36.0

    carina = (4.0, y(40), 42.0)
    trachea = tube([(0, y(172), 200), (0, y(140), 140), (1, y(105), 105), (3, y(72), 72), carina], 9.5, 20)
    right = tube(
        [carina, (20, carina[1] - 2, 24), (38, carina[1] - 4, 6), (46, carina[1] - 5, -12)], (9, 8, 7, 5.5), 10
    )
    left = tube(
        [carina, (-16, carina[1] - 3, 24), (-36, carina[1] - 7, 10), (-50, carina[1] - 9, -4)], (8.5, 7, 6, 5), 10
    )
    return join([trachea, right, left])


def oesophagus(chest: Chest) -> Tubes:
    """The oesophagus before the spine."""
    heights = (190, 140, 105, 72, 32, -12, -60, chest.dome_mm - 20)
    y = [chest.spine_y(single(float(z))).item() + 22.0 for z in heights]
    return tube([(-3.0, b, z) for b, z in zip(y, heights, strict=True)], 7.0, 24)


def paint_abdomen(canvas: Canvas, chest: Chest, inside: Tensor) -> None:
    """Liver under the right dome, stomach with its bubble under the left, spleen behind it.

    Args:
        canvas: painted on.
        chest:  the patient's.
        inside: (D, H, W) distance to the room below the diaphragm, mm, negative within.
    """
    points = canvas.points
    d = chest.dome_mm
    room = inside + 5.0
    lobe = ellipsoid(points, (64.0, 0.0, d - 56.0), (78.0, 92.0, 92.0))
    bridge = ellipsoid(points, (0.0, 26.0, d - 46.0), (66.0, 46.0, 40.0))
    canvas.paint("liver", 58.0, torch.maximum(smooth_union(lobe, bridge, 20.0), room))
    spleen = ellipsoid(points, (-92.0, -42.0, d - 52.0), (25.0, 40.0, 44.0))
    canvas.paint("spleen", 52.0, torch.maximum(spleen, room))
    left = chest.dome_mm - chest.patient.dome_gap_mm
    sac = torch.maximum(ellipsoid(points, (-64.0, 14.0, left - 36.0), (38.0, 42.0, 40.0)), room + 1.0)
    canvas.paint("stomach", 38.0, sac)
    level = left - 6.0 - chest.patient.stomach_gas_mm - points[2]
    canvas.paint("stomach_gas", -960.0, torch.maximum(sac + 3.5, level))
    _paint_colon(canvas, chest, room)


def _paint_colon(canvas: Canvas, chest: Chest, room: Tensor) -> None:
    """Gas in the left bend of the colon: a few bubbles in a row, some patients' more than others'."""
    generator = stream(chest.patient.seed, "colon")
    count = int(torch.randint(0, 5, (), generator=generator, **WHOLE))
    start = single([-104.0, 30.0, chest.dome_mm - 62.0])
    for index in range(count):
        centre = start + single([5.0 * index, 6.0, -21.0 * index]) + 5.0 * torch.randn(3, generator=generator, **SINGLE)
        radii = 8.0 + 7.0 * torch.rand(3, generator=generator, **SINGLE)
        box = canvas.box((centre - radii).tolist(), (centre + radii).tolist())
        bubble = ellipsoid(canvas.at(box), centre.tolist(), radii.tolist())
        canvas.paint("colon_gas", -950.0, torch.maximum(bubble, room[box] + 3.0), box)


def paint_vessels(canvas: Canvas, chest: Chest) -> None:
    """Great vessels, trachea and oesophagus, over the heart and the fat round it.

    Args:
        canvas: painted on.
        chest:  the patient's.
    """
    for name, hu, tubes in (
        ("oesophagus", 30.0, oesophagus(chest)),
        ("pulmonary_trunk", 45.0, pulmonary_trunk(chest)),
        ("vena_cava", 45.0, vena_cava(chest)),
        ("aorta", 46.0, aorta(chest)),
        ("aorta", 46.0, arch_branches()),
    ):
        box, distance = canvas.sweep(tubes)
        canvas.paint(name, hu, distance, box)
    box, distance = canvas.sweep(airways(chest))
    canvas.paint("trachea", 30.0, distance, box)
    canvas.paint("trachea", -985.0, distance + 1.6, box)
