"""Tubes and lines that run inside: into windpipe, stomach, chest and great veins."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from nerp.anatomy import Landmarks
from nerp.physics.objects.drawing import Draw, point, wire
from nerp.physics.objects.placed import Part, PlacedObject
from nerp.physics.objects.shapes import Curve

TUBES = {"endotracheal": (5.4, 4.0), "gastric": (2.7, 1.8), "chest": (4.7, 3.1)}
"""Outer and inner radii, mm: of 8 mm, 16 French and 28 French; typical."""
LINE_MM, BORE_MM = 1.2, 0.5
"""Radii of a 7 French central line."""
LOOK_UP_MM = 90.0
"""So far above the lungs tubes are drawn; the field ends before."""


def endotracheal_tube(marks: Landmarks, draw: Draw) -> tuple[PlacedObject, ...]:
    """A tube from the mouth to 2 to 7 cm above the carina.

    Args:
        marks: of the chest.
        draw:  how deep it lies.
    """
    tip = marks.carina[2] + draw.between(20.0, 70.0)
    path = windpipe_down_to(marks, tip)
    return (PlacedObject("endotracheal tube", "endotracheal_tube", striped(path, *TUBES["endotracheal"], draw)),)


def gastric_tube(marks: Landmarks, draw: Draw) -> tuple[PlacedObject, ...]:
    """A tube behind the windpipe, through the hiatus into the stomach below the left dome.

    Args:
        marks: of the chest.
        draw:  how it lies.
    """
    carina, middle, base = marks.carina, marks.midline_mm, marks.base_mm
    upper = windpipe_down_to(marks, float(carina[2]) + 10.0) + [draw.between(-5.0, 2.0), -13.0, 0.0]
    hiatus = base + draw.between(35.0, 60.0)
    low = np.linspace(float(carina[2]) - 25.0, hiatus, 4)
    share = np.linspace(0.15, 1.0, 4)
    x = (1 - share) * upper[-1, 0] + share * (middle - draw.between(8.0, 20.0))
    y = upper[-1, 1] - 12.0 * np.sin(np.pi * share) + 8.0 * share
    gullet = np.stack([x, y, low], axis=1)
    turn = gullet[-1] + np.array([[-14, 12, -28], [-34, 28, -52], [-52, 42, -80], [-46, 50, -108]]) * draw.between(
        0.85, 1.1
    )
    path = np.concatenate([upper, gullet, turn])
    return (PlacedObject("gastric tube", "gastric_tube", striped(path, *TUBES["gastric"], draw)),)


def chest_tube(marks: Landmarks, draw: Draw) -> tuple[PlacedObject, ...]:
    """A drain that enters at the side of the chest and runs up to the apex or across the base.

    Args:
        marks: of the chest.
        draw:  on which side.
    """
    side = 1.0 if draw.chance(0.5) else -1.0
    low, high = marks.lungs_mm[0 if side > 0 else 1]
    outer = high[0] if side > 0 else low[0]
    width, height = abs(outer - marks.midline_mm), high[2] - low[2]
    depth = low[1] + draw.between(0.35, 0.5) * (high[1] - low[1])
    entry = low[2] + draw.between(0.32, 0.48) * height

    def inside(up: float, share: float, back: float) -> list[float]:
        return [marks.midline_mm + side * share * width, depth - back, low[2] + up * height]

    skin = [[outer + side * far, depth + 10, entry - drop] for far, drop in ((120, 70), (70, 38), (28, 12))]
    enter = [[outer - side * 4.0, depth, entry + 6.0]]
    upwards = [inside(0.64, 0.86, 12), inside(0.78, 0.70, 22), inside(0.88 + draw.between(-0.03, 0.04), 0.48, 30)]
    across = [inside(0.40, 0.72, 25), inside(0.32, 0.52, 42), inside(0.30, 0.36, 48)]
    path = np.array(skin + enter + (upwards if draw.chance(0.7) else across))
    return (
        PlacedObject("chest tube", "chest_tube", striped(path, *TUBES["chest"], draw, eye_mm=draw.between(35, 60))),
    )


def central_line(marks: Landmarks, draw: Draw) -> tuple[PlacedObject, ...]:
    """A line from a vein of the neck, or from below a collarbone, to the heart's upper right.

    Args:
        marks: of the chest.
        draw:  by which way.
    """
    way = draw.whole(0, 2)
    starts = {
        0: [[42, 30, LOOK_UP_MM], [38, 30, 45.0], [31, 28, 5.0]],
        1: [[112, 44, -34.0], [78, 36, -10.0], [44, 30, -4.0]],
        2: [[-112, 44, -36.0], [-78, 36, -12.0], [-40, 32, -16.0], [-8, 34, -32.0]],
    }
    top, (_, y, z) = marks.top_mm, marks.carina
    first = [[marks.midline_mm + x, y + front, top + up] for x, front, up in starts[way]]
    path = np.array(first + vena_cava(marks, z - draw.between(5.0, 45.0)))
    bore = wire(path, BORE_MM)
    part = Part("barium_silicone", (wire(path, LINE_MM),), (bore,))
    return (PlacedObject("central line", "central_line", (part,)),)


def vena_cava(marks: Landmarks, tip_mm: float) -> list[list[float]]:
    """Places down the upper great vein, right of the windpipe and before it, mm.

    Args:
        marks:  of the chest.
        tip_mm: z of the last.
    """
    _, y, z = marks.carina.tolist()
    upper = max(z + 22.0, tip_mm + 20.0)
    return [
        [marks.midline_mm + 25.0, y + 24.0, upper],
        [marks.midline_mm + 26.0, y + 26.0, (upper + tip_mm) / 2],
        [marks.midline_mm + 24.0, y + 29.0, tip_mm],
    ]


def windpipe_down_to(marks: Landmarks, tip_mm: float) -> np.ndarray:
    """(N, 3) places down the windpipe, from far above to a height, mm: evenly bent, as a stiff tube.

    Args:
        marks:  of the chest.
        tip_mm: z of the last.
    """
    pipe = marks.windpipe[np.argsort(marks.windpipe[:, 2])]
    tip_mm = max(tip_mm, float(pipe[0, 2]))
    lean = float(np.clip((pipe[-1, 1] - pipe[0, 1]) / max(float(pipe[-1, 2] - pipe[0, 2]), 1.0), 0.0, 0.6))
    above = np.arange(18.0, max(20.0, marks.top_mm + LOOK_UP_MM - float(pipe[-1, 2])), 18.0)
    upper = np.stack([np.full(len(above), pipe[-1, 0]), pipe[-1, 1] + lean * above, pipe[-1, 2] + above], axis=1)
    whole = np.concatenate([pipe, upper])
    heights = np.append(np.arange(float(whole[-1, 2]), tip_mm + 8.0, -16.0), tip_mm)
    fitted = [np.polyval(np.polyfit(whole[:, 2] - tip_mm, whole[:, axis], 2), heights - tip_mm) for axis in range(2)]
    return np.stack([*fitted, heights], axis=1)


def striped(
    path: np.ndarray | Sequence[Sequence[float]], outer_mm: float, inner_mm: float, draw: Draw, *, eye_mm: float = 0.0
) -> tuple[Part, ...]:
    """A plastic tube with a radiopaque stripe in its wall.

    Args:
        path:     (N, 3) its middle, the tip last, mm.
        outer_mm: radius.
        inner_mm: radius.
        draw:     on which side the stripe lies.
        eye_mm:   from the tip to a hole that interrupts the stripe; 0 for none.
    """
    places = tuple(point(place) for place in np.asarray(path, dtype=float)[::-1])
    wall = outer_mm - inner_mm
    line = Curve(
        places, round(0.42 * wall, 4), aside_mm=round(inner_mm + wall / 2, 4), turn_rad=round(draw.between(0, 6.28), 4)
    )
    stripes: tuple[Curve, ...] = (line,)
    if eye_mm:
        ends = ((0.0, round(eye_mm, 4)), (round(eye_mm + 9.0, 4), 5000.0))
        stripes = tuple(replace(line, span_mm=span) for span in ends)
    holes = (Curve(places, inner_mm), *stripes)
    return Part("pvc", (Curve(places, outer_mm),), holes), Part("barium_pvc", stripes)
