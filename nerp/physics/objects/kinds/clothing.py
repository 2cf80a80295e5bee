"""What should have been taken off: buttons, a zip fastener, a necklace."""

from __future__ import annotations

import numpy as np

from nerp.anatomy import Landmarks
from nerp.physics.objects.drawing import Draw, normal, over_skin, point, tangents, wire
from nerp.physics.objects.placed import Part, PlacedObject
from nerp.physics.objects.shapes import Curve, Disc, Plate


def buttons(marks: Landmarks, draw: Draw) -> tuple[PlacedObject, ...]:
    """A row of plastic shirt buttons with a rim and four holes; one object.

    Args:
        marks: of the chest.
        draw:  where the row lies.
    """
    radius, apart, first = draw.between(5.2, 7.5), draw.between(75.0, 100.0), marks.top_mm + draw.between(-30.0, 20.0)
    x = marks.midline_mm + draw.between(-18.0, 18.0)
    discs: list[Disc] = []
    holes: list[Disc] = []
    for z in np.arange(first, marks.base_mm - 60.0, -apart).tolist():
        out = normal(marks, x, z)
        right, up = tangents(out)
        centre, axis = np.array(marks.skin(x, z, above_mm=4.0)), point(out)
        discs.append(Disc(point(centre), axis, radius, 2.6))
        holes.append(Disc(point(centre + 1.0 * out), axis, radius - 1.6, 1.0))
        holes += [Disc(point(centre + a * right + b * up), axis, 0.9, 4.0) for a in (-1.5, 1.5) for b in (-1.5, 1.5)]
    return (PlacedObject("buttons", "buttons", (Part("pmma", tuple(discs), tuple(holes)),)),)


def zip_fastener(marks: Landmarks, draw: Draw) -> tuple[PlacedObject, ...]:
    """Two rows of metal teeth along the midline, and the slider; one object.

    Args:
        marks: of the chest.
        draw:  where it lies, and how far it is closed.
    """
    x, top = marks.midline_mm + draw.between(-25.0, 25.0), marks.top_mm + draw.between(-60.0, 30.0)
    lean = draw.between(-0.06, 0.06)
    teeth = []
    for number, z in enumerate(np.arange(top, marks.base_mm - 100.0, -1.9).tolist()):
        sign = 1.0 if number % 2 else -1.0
        middle = x + lean * (top - z)
        ends = [marks.skin(middle + sign * part, z, above_mm=5.0) for part in (-0.8, 2.4)]
        teeth.append(wire(ends, 0.62))
    place = np.array(marks.skin(x, top + 4.0, above_mm=6.0))
    slider = Plate(
        point(place), (1.0, 0.0, 0.0), (0.0, 0.0, 1.0), ((-3.5, -5.0), (3.5, -5.0), (4.5, 5.0), (-4.5, 5.0)), 3.4
    )
    pull = Plate(
        point(place + [0, 3, -14]),
        (1.0, 0.0, 0.0),
        (0.0, 0.0, 1.0),
        ((-3.0, -9.0), (3.0, -9.0), (2.2, 9.0), (-2.2, 9.0)),
        1.4,
    )
    return (PlacedObject("zip fastener", "zip_fastener", (Part("copper", (*teeth, slider, pull)),)),)


def necklace(marks: Landmarks, draw: Draw) -> tuple[PlacedObject, ...]:
    """A chain of steel links round the neck, lying on the chest, with a pendant or none; one object.

    Args:
        marks: of the chest.
        draw:  how far it hangs down.
    """
    low, wide = marks.top_mm - draw.between(35.0, 95.0), draw.between(48.0, 62.0)
    high, middle = marks.top_mm + 45.0, marks.midline_mm + draw.between(-8.0, 8.0)
    share = np.linspace(-1.0, 1.0, 400)
    flat = np.stack([middle + wide * share, low + (high - low) * np.abs(share) ** 1.6], axis=1)
    length = np.append(0.0, np.linalg.norm(np.diff(flat, axis=0), axis=1).cumsum())
    even = np.arange(0.0, float(length[-1]), 2.5)
    links = np.stack([np.interp(even, length, flat[:, axis]) for axis in range(2)], axis=1)
    places = over_skin(marks, links, np.full(len(links), 1.5))
    shapes: list[Curve | Disc] = [
        wire([first, (first + last) / 2], 0.55) for first, last in zip(places, places[1:], strict=False)
    ]
    if draw.chance(0.6):
        centre = np.array(marks.skin(middle, low - 9.0, above_mm=1.5))
        shapes.append(Disc(point(centre), point(normal(marks, middle, low - 9.0)), draw.between(5.0, 9.0), 1.3))
    return (PlacedObject("necklace", "necklace", (Part("steel", tuple(shapes)),)),)
