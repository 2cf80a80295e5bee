"""What chance decides of a pair beside its camera."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, ClassVar

import torch

from nerp.anatomy import Landmarks
from nerp.camera import Camera
from nerp.data.records import PairRecord
from nerp.errors import DataError, GeometryError, UsageError
from nerp.physics.objects import KINDS, PlacedObject, place_objects, random_objects
from nerp.settings import Settings, choice, number


@dataclass(frozen=True)
class ObjectSettings(Settings):
    """What lies on and in the patient of each pair.

    Args:
        scene:    `bedside` or `standing`: a random set, each kind as often as it is met there; `none` for none.
        kinds:    that are placed whatever is drawn, such as `pacemaker`.
        fraction: of the pairs that get the random set.
        samples:  rays along each side of a pixel, by which wires thinner than a pixel get their right weight.

    Raises:
        UsageError: an unknown kind.
    """

    SECTION: ClassVar[str] = "objects"

    scene: str = choice("none", "bedside", "standing")
    kinds: tuple[str, ...] = ()
    fraction: float = number(1.0, 0, 1)
    samples: int = number(2, 1, 8)

    def __post_init__(self) -> None:
        super().__post_init__()
        object.__setattr__(self, "kinds", tuple(self.kinds))
        for kind in self.kinds:
            if kind not in KINDS:
                raise UsageError(f"objects.kinds holds {kind!r}; expected some of {', '.join(KINDS)}")

    @property
    def any(self) -> bool:
        """Whether a pair may have objects."""
        return self.scene != "none" or bool(self.kinds)

    def draw(self, marks: Landmarks, camera: Camera, generator: torch.Generator) -> tuple[PlacedObject, ...]:
        """The objects of one pair.

        Args:
            marks:     where objects can lie.
            camera:    that has to see them, a batch of one.
            generator: decides all.

        Raises:
            UsageError: one that is stated lies outside the field.
        """
        stated = place_objects(marks, self.kinds, generator, camera=camera)
        wanted = float(torch.rand((), generator=generator, dtype=torch.float64, device="cpu")) < self.fraction
        if self.scene == "none" or not wanted:
            return stated
        drawn = random_objects(marks, generator, camera=camera, setting=self.scene)
        return _together(stated, drawn)


@dataclass(frozen=True)
class Chance:
    """What chance decided of a pair.

    Args:
        noise_seed:     of the detector's noise; None where there is none.
        density_scales: factor of the density of each structure that has one of its own.
        objects:        on and in the patient.
    """

    noise_seed: int | None = None
    density_scales: Mapping[str, float] = field(default_factory=dict)
    objects: tuple[PlacedObject, ...] = ()

    def as_json(self) -> dict[str, Any]:
        """What a record keeps of it under `physics`; objects stand by themselves."""
        return {"noise_seed": self.noise_seed, "density_scales": dict(self.density_scales)}


NOTHING = Chance()
"""A pair without noise, objects or variation."""


def recorded_chance(record: PairRecord) -> Chance:
    """What a record says that chance decided.

    Raises:
        DataError: the record is damaged.
    """
    try:
        objects = tuple(PlacedObject.from_dict(one) for one in record.objects)
        seed, scales = record.physics.get("noise_seed"), record.physics.get("density_scales", {})
        return Chance(seed, {str(name): float(scale) for name, scale in scales.items()}, objects)
    except (AttributeError, TypeError, ValueError, GeometryError) as error:
        raise DataError(f"record {record.id} is damaged ({error}); restore the records") from error


def draw_scales(groups: Sequence[str], spread: float, generator: torch.Generator) -> dict[str, float]:
    """A density factor for each structure, lognormal about 1.

    Args:
        groups:    names of the structures.
        spread:    standard deviation of the logarithm; 0 draws none.
        generator: decides.
    """
    if not spread:
        return {}
    drawn = torch.randn(len(groups), generator=generator, dtype=torch.float64, device="cpu")
    return {name: round(float(torch.exp(spread * one)), 6) for name, one in zip(groups, drawn, strict=True)}


def draw_seed(generator: torch.Generator) -> int:
    """A seed for the detector's noise."""
    return int(torch.randint(2**31, (), generator=generator, dtype=torch.int64, device="cpu"))


def _together(stated: tuple[PlacedObject, ...], drawn: tuple[PlacedObject, ...]) -> tuple[PlacedObject, ...]:
    """Both, without those drawn whose name a stated one has."""
    names = {one.name for one in stated}
    return (*stated, *(one for one in drawn if one.name not in names))
