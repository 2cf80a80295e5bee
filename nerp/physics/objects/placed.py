"""Objects as placed in the world: named, of stated materials, in plain numbers."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from nerp.errors import GeometryError
from nerp.physics.attenuation import composition
from nerp.physics.objects.shapes import Shape, shape_from_dict, shape_to_dict


@dataclass(frozen=True)
class Part:
    """What of an object is of one material.

    Args:
        material: a name of `nerp.physics.attenuation.COMPOSITIONS`, at its own density.
        solids:   shapes, of which the union is filled.
        holes:    shapes that are taken out of it: a tube's inside, or what another part fills.
    """

    material: str
    solids: tuple[Shape, ...]
    holes: tuple[Shape, ...] = ()

    def __post_init__(self) -> None:
        composition(self.material)
        if not self.solids:
            raise GeometryError(f"a part of {self.material} has no solids; expected at least one shape")


@dataclass(frozen=True)
class PlacedObject:
    """A thing on or in a patient, with a mask of its own.

    Args:
        name:  unique in its set, such as `lead 2`.
        kind:  what it is, such as `lead`.
        parts: of which it is made; where they overlap each counts, so leave holes.
    """

    name: str
    kind: str
    parts: tuple[Part, ...]

    def to_dict(self) -> dict[str, Any]:
        """Plain numbers and words, fit for JSON, that `from_dict` makes the same object of."""
        parts = [
            {
                "material": part.material,
                "solids": [shape_to_dict(shape) for shape in part.solids],
                "holes": [shape_to_dict(shape) for shape in part.holes],
            }
            for part in self.parts
        ]
        return {"name": self.name, "kind": self.kind, "parts": parts}

    @classmethod
    def from_dict(cls, numbers: dict[str, Any]) -> PlacedObject:
        """The object that `to_dict` wrote, also by way of JSON.

        Raises:
            GeometryError: not such a record.
        """
        try:
            parts = tuple(
                Part(
                    part["material"], *(tuple(shape_from_dict(one) for one in part[key]) for key in ("solids", "holes"))
                )
                for part in numbers["parts"]
            )
            return cls(numbers["name"], numbers["kind"], parts)
        except (KeyError, TypeError, AttributeError) as error:
            raise GeometryError(f"an object's record does not fit ({error!r}); write it with to_dict()") from None
