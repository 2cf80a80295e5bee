"""Random numbers and small geometry for drawing objects."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np
import torch

from nerp.anatomy import Landmarks
from nerp.physics.objects.shapes import Curve, Point, rounded


@dataclass(frozen=True)
class Draw:
    """A source of random numbers.

    Args:
        generator: a CPU generator; each draw takes one step of it.
    """

    generator: torch.Generator

    def between(self, low: float, high: float) -> float:
        """A number from low to high.

        Args:
            low, high: any unit.
        """
        share = torch.rand((), generator=self.generator, dtype=torch.float64, device="cpu")
        return low + (high - low) * float(share)

    def around(self, middle: Sequence[float] | np.ndarray, spread_mm: float) -> np.ndarray:
        """(3,) a point within a cube about another.

        Args:
            middle:    (3,) mm.
            spread_mm: half the cube's side.
        """
        return np.asarray(middle, dtype=float) + [self.between(-spread_mm, spread_mm) for _ in range(3)]

    def chance(self, probability: float) -> bool:
        """True with this probability, 0 to 1."""
        return self.between(0.0, 1.0) < probability

    def whole(self, low: int, high: int) -> int:
        """A whole number.

        Args:
            low, high: both may be drawn.
        """
        return int(torch.randint(low, high + 1, (), generator=self.generator, dtype=torch.int64, device="cpu"))


def point(place: Sequence[float] | np.ndarray) -> Point:
    """A place, mm, as shapes hold it."""
    x, y, z = rounded(place)
    return x, y, z


def wire(places: Iterable[Sequence[float] | np.ndarray], radius_mm: float, *, bent: bool = True) -> Curve:
    """A wire through places.

    Args:
        places:    (N, 3) world mm.
        radius_mm: of the wire.
        bent:      False for straight pieces.
    """
    return Curve(tuple(point(place) for place in places), radius_mm, bent=bent)


def normal(marks: Landmarks, x_mm: float, z_mm: float) -> np.ndarray:
    """(3,) unit vector out of the skin in front.

    Args:
        marks:      where the skin is.
        x_mm, z_mm: world mm.
    """
    step = 10.0
    slope_x, slope_z = (
        (marks.skin(x_mm + dx, z_mm + dz)[1] - marks.skin(x_mm - dx, z_mm - dz)[1]) / (2 * step)
        for dx, dz in ((step, 0.0), (0.0, step))
    )
    vector = np.array([-slope_x, 1.0, -slope_z])
    return vector / np.linalg.norm(vector)


def tangents(out: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Two unit vectors (3,) and (3,) of the plane across a direction: nearly to the patient's right, nearly upwards.

    Args:
        out: (3,) unit.
    """
    right = np.array([1.0, 0.0, 0.0]) - out * out[0]
    right /= np.linalg.norm(right)
    return right, np.cross(right, out)


def over_skin(marks: Landmarks, flat: np.ndarray, lift_mm: np.ndarray) -> np.ndarray:
    """(N, 3) places in front of the skin.

    Args:
        marks:   where the skin is.
        flat:    (N, 2) x and z, mm.
        lift_mm: (N,) height above the skin.
    """
    places = [marks.skin(x, z, above_mm=lift) for (x, z), lift in zip(flat.tolist(), lift_mm.tolist(), strict=True)]
    return np.array(places)


def wandering(start: np.ndarray, end: np.ndarray, draw: Draw, sway_mm: float) -> np.ndarray:
    """(N, 2) x and z of a slack line between two places: a straight one that sways to one side and back.

    Args:
        start:   (2,) mm.
        end:     (2,) mm.
        draw:    how it sways.
        sway_mm: most that it goes aside.
    """
    reach = float(np.linalg.norm(end - start))
    share = np.linspace(0.0, 1.0, max(5, round(reach / 28.0)))[:, None]
    side = np.array([-(end - start)[1], (end - start)[0]]) / max(reach, 1e-6)
    once, twice, thrice = (draw.between(-part, part) * sway_mm for part in (1.0, 0.6, 0.3))
    waves = once * np.sin(np.pi * share) + twice * np.sin(2 * np.pi * share) + thrice * np.sin(3 * np.pi * share)
    return start + share * (end - start) + waves * side
