"""Implants under the skin with leads or catheters to the heart: pacemakers and ports."""

from __future__ import annotations

import numpy as np

from nerp.anatomy import Landmarks
from nerp.physics.objects.drawing import Draw, normal, point, tangents, wire
from nerp.physics.objects.kinds.tubes import vena_cava
from nerp.physics.objects.placed import Part, PlacedObject
from nerp.physics.objects.shapes import Curve, Disc, Plate, Point

UNDER_SKIN_MM = 9.0
LEAD_MM, COIL_MM = 1.05, 0.42
"""Radii of a lead's silicone and of its steel coil, as one wire; typical."""


class _Frame:
    """A plane under the skin, turned about its normal."""

    def __init__(self, marks: Landmarks, x_mm: float, z_mm: float, turn_rad: float, deep_mm: float) -> None:
        self.out = normal(marks, x_mm, z_mm)
        right, up = tangents(self.out)
        self.along = np.cos(turn_rad) * right + np.sin(turn_rad) * up
        self.across = np.cos(turn_rad) * up - np.sin(turn_rad) * right
        self.centre = np.array(marks.skin(x_mm, z_mm)) - deep_mm * self.out

    def at(self, a: float, b: float, above: float = 0.0) -> Point:
        return point(self.centre + a * self.along + b * self.across + above * self.out)

    def box(self, middle: tuple[float, float], size: tuple[float, float], height: float, above: float = 0.0) -> Plate:
        half_a, half_b = size[0] / 2, size[1] / 2
        corners = ((-half_a, -half_b), (half_a, -half_b), (half_a, half_b), (-half_a, half_b))
        return self.plate(corners, height, middle, above)

    def plate(
        self,
        outline: tuple[tuple[float, float], ...],
        height: float,
        middle: tuple[float, float] = (0.0, 0.0),
        above: float = 0.0,
    ) -> Plate:
        along, across = (tuple(float(part) for part in side) for side in (self.along, self.across))
        return Plate(self.at(*middle, above), along, across, outline, height)  # type: ignore[arg-type]


def pacemaker(marks: Landmarks, draw: Draw) -> tuple[PlacedObject, ...]:
    """A can below a collarbone, and one or two leads through the vein to the right ventricle and atrium.

    Args:
        marks: of the chest.
        draw:  on which side, and how many.
    """
    side = 1.0 if draw.chance(0.15) else -1.0
    x, z = marks.midline_mm + side * draw.between(82.0, 105.0), marks.top_mm - draw.between(40.0, 75.0)
    frame = _Frame(marks, x, z, draw.between(-0.35, 0.35), UNDER_SKIN_MM + 4.0)
    found = [PlacedObject("pacemaker", "pacemaker", _can(frame))]
    tips = {"ventricular": _to_ventricle(marks, draw), "atrial": _to_atrium(marks, draw)}
    for number, name in enumerate(tips if draw.chance(0.7) else ("ventricular",)):
        path = np.array(_pocket(frame, marks, side, number) + tips[name])
        found.append(PlacedObject(f"{name} lead", "pacemaker_lead", _lead(path)))
    return tuple(found)


def _rounded(half_a: float, half_b: float, corner: float) -> tuple[tuple[float, float], ...]:
    """Corners of a rectangle with round corners, in turn."""
    found = []
    for number, (sign_a, sign_b) in enumerate(((1, 1), (-1, 1), (-1, -1), (1, -1))):
        for turn in np.linspace(0, np.pi / 2, 6) + number * np.pi / 2:
            a = sign_a * (half_a - corner) + corner * np.cos(turn)
            b = sign_b * (half_b - corner) + corner * np.sin(turn)
            found.append((round(float(a), 4), round(float(b), 4)))
    return tuple(found)


def _can(frame: _Frame) -> tuple[Part, ...]:
    """Titanium shell, battery, circuit on ceramic (as aluminium), and the header with its connectors."""
    shell, inside = frame.plate(_rounded(23.0, 20.0, 15.0), 7.0), frame.plate(_rounded(22.6, 19.6, 14.6), 6.2)
    battery = frame.plate(_rounded(10.5, 14.5, 9.0), 4.8, (-10.0, -2.0))
    board, ceramic = (
        frame.box((11.0, -1.0), (17.0, 22.0), height, above) for height, above in ((0.12, 0.0), (1.0, -1.2))
    )
    chips = tuple(
        frame.box((a, b), size, 0.8, 0.9)
        for a, b, size in (
            (7.0, 5.0, (5.0, 5.0)),
            (14.5, 5.5, (4.0, 3.0)),
            (8.5, -4.0, (7.0, 4.0)),
            (15.5, -3.5, (3.0, 6.0)),
        )
    )
    dots = tuple(Disc(frame.at(5.0 + 3.4 * k, -9.5, 0.9), point(frame.out), 1.1, 1.2) for k in range(4))
    header = frame.plate(_rounded(16.0, 6.0, 4.0), 6.5, (0.0, 25.5))
    blocks = tuple(frame.box((a, b), (3.4, 2.6), 3.0) for a in (-3.0, 7.0) for b in (23.5, 28.0))
    pins = tuple(Curve((frame.at(-9.0, b), frame.at(13.0, b)), 0.8) for b in (23.5, 28.0))
    return (
        Part("titanium", (shell,), (inside,)),
        Part("lithium_iodine", (battery,)),
        Part("copper", (board,)),
        Part("aluminium", (ceramic,)),
        Part("steel", (*chips, *dots)),
        Part("pmma", (header,), (shell, *blocks, *pins)),
        Part("steel", (*blocks, *pins)),
    )


def _pocket(frame: _Frame, marks: Landmarks, side: float, number: int) -> list:
    """From the header round the can, under the collarbone, into the vein."""
    around = [
        (-17.0, 24.0 + 4.5 * number),
        (-29.0, 12.0 + 3.0 * number),
        (-30.0 + 3.0 * number, -12.0),
        (-12.0, -25.5 - 2.0 * number),
    ]
    around += [(16.0, -25.0 - 2.0 * number), (30.0 + 2.0 * number, -8.0), (29.0 + 2.0 * number, 18.0)]
    if side > 0:
        around = [(-17.0, 24.0 + 4.5 * number), (-28.0, 32.0)]
    _, y, z = marks.carina.tolist()
    top = marks.top_mm
    vein = [
        [marks.midline_mm + side * x, y + front, up]
        for x, front, up in ((72.0, 42.0, top - 8.0), (40.0, 36.0, top - 14.0))
    ]
    if side < 0:
        vein += [[marks.midline_mm - 4.0, y + 36.0, max(z + 42.0, top - 52.0)]]
    return [frame.at(a, b, -3.8) for a, b in around] + vein


def _to_ventricle(marks: Landmarks, draw: Draw) -> list[list[float]]:
    """Down the vein and the atrium, and in an arch to the ventricle's tip, in front and to the left."""
    _, y, z = marks.carina.tolist()
    middle, front = marks.midline_mm, float(marks.sternum[-1, 1])
    low = max(z - draw.between(90.0, 112.0), marks.base_mm + 30.0)
    tip = [middle - draw.between(38.0, 58.0), min(front - 26.0, y + 70.0), low + draw.between(0.0, 10.0)]
    return [
        *vena_cava(marks, z - 30.0),
        [middle + 31.0, y + 32.0, (z - 30.0 + low) / 2 - 6.0],
        [middle + 14.0, y + 42.0, low + 6.0],
        [middle - 16.0, (y + 44.0 + tip[1]) / 2, low - 2.0],
        tip,
    ]


def _to_atrium(marks: Landmarks, draw: Draw) -> list[list[float]]:
    """Down the vein and, as a J, up into the atrium's appendage."""
    _, y, z = marks.carina.tolist()
    middle, low = marks.midline_mm, z - draw.between(66.0, 80.0)
    return [
        *vena_cava(marks, z - 25.0),
        [middle + 30.0, y + 32.0, low + 14.0],
        [middle + 27.0, y + 44.0, low],
        [middle + 24.0, y + 55.0, low + 12.0],
        [middle + 22.0, y + 59.0, low + 28.0],
    ]


def _lead(path: np.ndarray) -> tuple[Part, ...]:
    """Silicone about a coil, two electrodes at the tip."""
    places = tuple(point(place) for place in path[::-1])
    coil = Curve(places, COIL_MM)
    rings = tuple(Curve(places, LEAD_MM + 0.1, span_mm=span) for span in ((0.0, 1.6), (13.0, 16.0)))
    return Part("silicone", (Curve(places, LEAD_MM),), (coil, *rings)), Part("steel", (coil, *rings))


def port(marks: Landmarks, draw: Draw) -> tuple[PlacedObject, ...]:
    """A titanium chamber with a septum under the skin of the chest, and its catheter in the great vein.

    Args:
        marks: of the chest.
        draw:  where it lies.
    """
    x, z = marks.midline_mm + draw.between(70.0, 98.0), marks.top_mm - draw.between(45.0, 75.0)
    frame = _Frame(marks, x, z, 0.0, UNDER_SKIN_MM + 4.0)
    axis = point(frame.out)
    base, cup = Disc(frame.at(0, 0, -4.0), axis, 14.0, 2.0), Disc(frame.at(0, 0, 1.0), axis, 10.5, 8.5)
    room = Disc(frame.at(0, 0, 1.4), axis, 8.0, 7.6)
    stem = Curve((frame.at(-10.0, 4.0, -1.0), frame.at(-17.0, 7.0, -1.0)), 0.9)
    chamber = (
        Part("titanium", (base, cup, stem), (room,)),
        Part("silicone", (Disc(frame.at(0, 0, 3.4), axis, 8.0, 3.6),)),
    )
    _, y, carina = marks.carina.tolist()
    rise = [
        [marks.midline_mm + a, y + b, marks.top_mm + c]
        for a, b, c in ((62.0, 46.0, 2.0), (46.0, 38.0, 26.0), (34.0, 30.0, 14.0))
    ]
    path = np.array(
        [
            frame.at(-16.0, 7.0, -1.0),
            frame.at(-24.0, 20.0, -2.0),
            *rise,
            *vena_cava(marks, carina - draw.between(15, 50)),
        ]
    )
    line = Part("barium_silicone", (wire(path, 1.4),), (wire(path, 0.6), stem))
    return PlacedObject("port", "port", chamber), PlacedObject("port catheter", "port_catheter", (line,))
