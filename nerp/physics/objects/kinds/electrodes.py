"""Electrodes of an electrocardiograph: a gelled pad with a snap on the skin, a clip, and a lead that hangs slack."""

from __future__ import annotations

import numpy as np

from nerp.anatomy import Landmarks
from nerp.physics.objects.drawing import Draw, normal, over_skin, point, tangents, wandering, wire
from nerp.physics.objects.placed import Part, PlacedObject
from nerp.physics.objects.shapes import Curve, Disc

CABLE_MM, BRAID_MM, STRANDS_MM = 1.5, (0.95, 0.91), 0.28
"""Radii of a shielded lead's insulation, of its copper braid outside and inside, and of its strands, as one."""


def electrodes(marks: Landmarks, draw: Draw) -> tuple[PlacedObject, ...]:
    """Three to five electrodes with their leads, which leave the field together.

    Args:
        marks: of the chest.
        draw:  where they lie.
    """
    side = 1.0 if draw.chance(0.5) else -1.0
    found: list[PlacedObject] = []
    exit_place = _exit(marks, draw, side)
    for number, (x, z) in enumerate(_places(marks, draw), start=1):
        place, end = np.array([x, z]), exit_place + [draw.between(-16, 16), draw.between(-16, 16)]
        towards = (end - place) / np.linalg.norm(end - place)
        swing = draw.between(-0.9, 0.9)
        towards = np.array([[np.cos(swing), -np.sin(swing)], [np.sin(swing), np.cos(swing)]]) @ towards
        found += [
            PlacedObject(f"electrode {number}", "electrode", _electrode(marks, place, towards)),
            PlacedObject(f"lead {number}", "lead", _lead(marks, draw, place + 21.0 * towards, end)),
        ]
    return tuple(found)


def _places(marks: Landmarks, draw: Draw) -> list[tuple[float, float]]:
    """x, z of the pads: below both shoulders, at the left side low down; more over the heart and right side."""
    middle, top, base = marks.midline_mm, marks.top_mm, marks.base_mm
    height, half = top - base, float(abs(marks.lungs_mm[:, :, 0] - middle).max())
    usual = [(0.72, -0.12), (-0.75, -0.12), (-0.85, -0.78), (0.82, -0.80), (-0.27, -0.55)]
    chosen = usual[: draw.whole(3, 5)]
    return [
        (middle + x * half + draw.between(-20, 20), top + share * height + draw.between(-20, 20)) for x, share in chosen
    ]


def _exit(marks: Landmarks, draw: Draw, side: float) -> np.ndarray:
    """(2,) x and z beyond the field: over a shoulder, or past the flank."""
    if draw.chance(0.4):
        return np.array([marks.midline_mm + side * draw.between(60, 170), marks.top_mm + 130.0])
    return np.array([marks.midline_mm + side * 270.0, draw.between(marks.base_mm - 40.0, marks.top_mm - 60.0)])


def _electrode(marks: Landmarks, place: np.ndarray, towards: np.ndarray) -> tuple[Part, ...]:
    """Pad, snap and the clip that holds the lead."""
    x, z = place.tolist()
    out = normal(marks, x, z)
    right, up = tangents(out)
    skin, along = np.array(marks.skin(x, z)), towards[0] * right + towards[1] * up
    axis = point(out)

    def at(above: float, ahead: float = 0.0) -> tuple[float, float, float]:
        return point(skin + above * out + ahead * along)

    across = np.cross(out, along)
    ring = [
        skin + 3.2 * out + 4.6 * (np.cos(turn) * along + np.sin(turn) * across)
        for turn in np.linspace(0, 2 * np.pi, 17)
    ]
    arms = [
        wire(
            [skin + 3.2 * out + start * along + gap * across for start, gap in ((4.0, sign * 2.0), (15.0, sign * 2.8))],
            0.5,
        )
        for sign in (-1, 1)
    ]
    handle = Curve((at(3.2, 8.0), at(3.2, 18.0)), 3.4)
    return (
        Part("water", (Disc(at(0.6), axis, 9.0, 1.0),)),
        Part("polyethylene", (Disc(at(1.5), axis, 19.0, 0.6),)),
        Part("steel", (Disc(at(2.0), axis, 5.0, 0.4), Disc(at(3.2), axis, 2.0, 2.2))),
        Part("steel", (wire(ring, 0.45), *arms)),
        Part("pmma", (handle,), tuple(arms)),
        Part("copper", (Curve((at(3.2, 16.5), at(3.2, 21.5)), 1.0),), (handle,)),
    )


def _lead(marks: Landmarks, draw: Draw, start: np.ndarray, end: np.ndarray) -> tuple[Part, ...]:
    flat = wandering(start, end, draw, 55.0)
    share = np.linspace(0.0, 1.0, len(flat))
    lift = 3.2 + draw.between(0.0, 10.0) * np.sin(np.pi * share) ** 2
    places = over_skin(marks, flat, lift)
    braid, within, strands = (wire(places, radius) for radius in (*BRAID_MM, STRANDS_MM))
    return (
        Part("pvc", (wire(places, CABLE_MM),), (braid,)),
        Part("copper", (braid,), (within,)),
        Part("copper", (strands,)),
    )
