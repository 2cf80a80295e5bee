"""What operations leave behind: wires that close the breastbone, clips."""

from __future__ import annotations

import numpy as np

from nerp.anatomy import Landmarks
from nerp.physics.objects.drawing import Draw, wire
from nerp.physics.objects.placed import Part, PlacedObject
from nerp.physics.objects.shapes import Curve

STRAND_MM = 0.42
"""Radius of a strand; typical wire is 0.8 to 1 mm thick."""
DROP_MM = 5.0
"""Between a loop's front and its back."""


def sternal_wires(marks: Landmarks, draw: Draw) -> tuple[PlacedObject, ...]:
    """Five to seven loops of steel round the breastbone, their ends twisted in front and bent down; one object.

    Args:
        marks: of the chest.
        draw:  how each lies.
    """
    count = draw.whole(5, 7)
    share = np.linspace(0.06, 0.9, count)
    order = np.linspace(0.0, 1.0, len(marks.sternum))
    curves: list[Curve] = []
    for number, at in enumerate(share.tolist()):
        front = np.array([np.interp(at, order, marks.sternum[:, axis]) for axis in range(3)])
        front = front + [draw.between(-3, 3), 0.0, draw.between(-3, 3)]
        half = draw.between(15.0, 20.0) if number < 2 else draw.between(10.0, 14.0)
        tilt = draw.between(-0.35, 0.35)
        curves += [_loop(front, half, tilt), *_twist(front, draw)]
    return (PlacedObject("sternal wires", "sternal_wires", (Part("steel", tuple(curves)),)),)


def _loop(front: np.ndarray, half_mm: float, tilt_rad: float) -> Curve:
    """A flattened ring that passes before and, a little lower, behind the bone."""
    turns = np.linspace(np.pi / 2, np.pi / 2 + 2 * np.pi, 21)
    along, deep = np.cos(turns), np.sin(turns)
    flat = np.sign(along) * np.abs(along) ** 0.7 * half_mm
    places = np.stack([flat, 5.5 * (np.sign(deep) * np.abs(deep) ** 0.8 - 1.0), flat * np.tan(tilt_rad)], axis=1)
    places[:, 2] += DROP_MM * (deep - 1.0) / 2
    return wire(front + places, STRAND_MM)


def _twist(front: np.ndarray, draw: Draw) -> list[Curve]:
    """Two strands about one another, lying on the bone."""
    along = np.linspace(0.0, draw.between(8.0, 13.0), 25)
    lean, turns = draw.between(-1.2, 1.2), 2 * np.pi * along / 3.4
    axis = np.array([np.sin(lean), 0.0, -np.cos(lean)])
    side, out = np.array([np.cos(lean), 0.0, np.sin(lean)]), np.array([0.0, 1.0, 0.0])
    strands = []
    for phase in (0.0, np.pi):
        around = np.cos(turns + phase)[:, None] * side + np.sin(turns + phase)[:, None] * out
        strands.append(wire(front + [0.0, 1.2, 0.0] + along[:, None] * axis + 0.48 * around, STRAND_MM))
    return strands


def surgical_clips(marks: Landmarks, draw: Draw) -> tuple[PlacedObject, ...]:
    """Three to eight closed titanium clips beside a hilum; one object.

    Args:
        marks: of the chest.
        draw:  where they lie.
    """
    side = 1.0 if draw.chance(0.5) else -1.0
    middle = marks.carina + [side * draw.between(28.0, 50.0), 5.0, draw.between(-45.0, 0.0)]
    clips = []
    for _ in range(draw.whole(3, 8)):
        place, axis, gap = draw.around(middle, 20.0), draw.around([0, 0, 0], 1.0), draw.around([0, 0, 0], 1.0)
        axis = axis / max(float(np.linalg.norm(axis)), 1e-3) * draw.between(3.0, 5.0)
        gap = np.cross(axis, gap)
        gap = gap / max(float(np.linalg.norm(gap)), 1e-3) * 0.6
        clips.append(wire([place + axis + gap, place + gap, place - gap, place + axis - gap], 0.35, bent=False))
    return (PlacedObject("surgical clips", "surgical_clips", (Part("titanium", tuple(clips)),)),)
