"""Shapes that objects are made of: wires and tubes along smooth curves, discs, plates of any convex outline."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from nerp.errors import GeometryError

Point = tuple[float, float, float]
DECIMALS = 4
"""Of a millimetre: what is drawn is rounded to these, so that a record holds exactly what was projected."""


@dataclass(frozen=True)
class Curve:
    """A round wire along a smooth curve, its ends rounded: a chain of capsules.

    Args:
        points:    at least one (x, y, z), world mm, that a natural cubic spline passes through in this order.
        radius_mm: of the wire.
        aside_mm:  distance of the wire's middle from the curve, as of a stripe in the wall of a tube.
        turn_rad:  direction of that distance about the curve.
        span_mm:   (from, to) along the curve, of which the wire takes up only this; None is all.
        bent:      False for straight pieces between the points.
    """

    points: tuple[Point, ...]
    radius_mm: float
    aside_mm: float = 0.0
    turn_rad: float = 0.0
    span_mm: tuple[float, float] | None = None
    bent: bool = True

    def __post_init__(self) -> None:
        if not self.points or self.radius_mm <= 0:
            raise GeometryError(
                f"a curve has {len(self.points)} points and radius {self.radius_mm:g} mm; expected some, and above 0"
            )


@dataclass(frozen=True)
class Disc:
    """A flat cylinder.

    Args:
        centre:    (x, y, z), world mm.
        axis:      of any length but 0.
        radius_mm: of its circle.
        height_mm: along the axis.
    """

    centre: Point
    axis: Point
    radius_mm: float
    height_mm: float

    def __post_init__(self) -> None:
        if self.radius_mm <= 0 or self.height_mm <= 0 or not any(self.axis):
            raise GeometryError(
                f"a disc has radius {self.radius_mm:g} mm, height {self.height_mm:g} mm, axis {self.axis}; "
                "expected all above 0"
            )


@dataclass(frozen=True)
class Plate:
    """A plate with a convex outline: a box has four corners, a rounded can many.

    Args:
        centre:    (x, y, z), world mm: the outline's origin, midway through the plate.
        along:     first direction of the plane, of length 1.
        across:    second direction, of length 1 and perpendicular.
        outline:   corners (a, b) in mm along these, in turn, at least three, convex.
        height_mm: thickness.
    """

    centre: Point
    along: Point
    across: Point
    outline: tuple[tuple[float, float], ...]
    height_mm: float

    def __post_init__(self) -> None:
        turns = [_turn(self.outline[i - 2], self.outline[i - 1], self.outline[i]) for i in range(len(self.outline))]
        if len(turns) < 3 or self.height_mm <= 0 or min(turns) * max(turns) < -1e-9:
            raise GeometryError(
                f"a plate has {len(turns)} corners and height {self.height_mm:g} mm; "
                "expected a convex outline of at least 3, and above 0"
            )


Shape = Curve | Disc | Plate
SHAPES: dict[str, type] = {"curve": Curve, "disc": Disc, "plate": Plate}


def shape_to_dict(shape: Shape) -> dict[str, Any]:
    """Plain numbers of a shape, mm, that `shape_from_dict` makes the same shape of."""
    name = next(name for name, kind in SHAPES.items() if isinstance(shape, kind))
    return {"shape": name, **asdict(shape)}


def shape_from_dict(numbers: dict[str, Any]) -> Shape:
    """The shape that `shape_to_dict` wrote, also by way of JSON.

    Raises:
        GeometryError: no such shape, or numbers that it does not have.
    """
    numbers = dict(numbers)
    kind = SHAPES.get(numbers.pop("shape", ""))
    if kind is None:
        raise GeometryError(f"an object's shape is unknown; expected one of {', '.join(SHAPES)}")
    try:
        return kind(**{name: _tuples(value) for name, value in numbers.items()})
    except TypeError as error:
        raise GeometryError(f"an object's shape does not fit ({error}); write it with to_dict()") from None


def rounded(numbers: Iterable[float]) -> tuple[float, ...]:
    """Numbers, mm, as a record holds them."""
    return tuple(round(float(number), DECIMALS) for number in numbers)


def _turn(first: Sequence[float], second: Sequence[float], third: Sequence[float]) -> float:
    return (second[0] - first[0]) * (third[1] - second[1]) - (second[1] - first[1]) * (third[0] - second[0])


def _tuples(value: Any) -> Any:
    return tuple(_tuples(part) for part in value) if isinstance(value, list | tuple) else value
