"""What can be wrong with a chest: which findings, and those that lie in the lungs themselves."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import TypeAlias

import torch
from torch import Tensor

from nerp.devices import SINGLE, WHOLE, single
from nerp.errors import UsageError
from nerp.phantom.canvas import Ground
from nerp.phantom.labels import FINDINGS
from nerp.phantom.patient import stream
from nerp.phantom.shapes import ellipsoid

Room: TypeAlias = Callable[[Tensor], Tensor]
"""Of points (N, 3), mm: the distance (N,) to the aerated lung, mm, negative inside."""

CHANCE = 0.3
"""How often each finding is drawn when they are left to chance."""


@dataclass(frozen=True)
class Nodule:
    """A roundish lump.

    Args:
        centre:   (3,) mm.
        radii_mm: (3,).
    """

    centre: tuple[float, float, float]
    radii_mm: tuple[float, float, float]


@dataclass(frozen=True)
class Consolidation:
    """A cloudy part of one lung.

    Args:
        centre:   (3,) mm.
        radii_mm: (3,).
        density:  how much of its air is gone, 0 to 1.
    """

    centre: tuple[float, float, float]
    radii_mm: tuple[float, float, float]
    density: float


def check_findings(findings: str | Iterable[str]) -> tuple[str, ...]:
    """The names in the order of `FINDINGS`, each once.

    Args:
        findings: names, or one text with commas between them.

    Raises:
        UsageError: a name that is not one of `FINDINGS`.
    """
    names = tuple(part.strip() for part in findings.split(",")) if isinstance(findings, str) else tuple(findings)
    for name in names:
        if name not in FINDINGS:
            raise UsageError(f"unknown finding {name!r}; expected any of {', '.join(FINDINGS)}")
    return tuple(name for name in FINDINGS if name in names)


def draw_findings(seed: int) -> tuple[str, ...]:
    """Each finding with probability `CHANCE`, so that some phantoms have none and some have several."""
    chances = torch.rand(len(FINDINGS), generator=stream(seed, "findings"), **SINGLE).tolist()
    return tuple(name for name, chance in zip(FINDINGS, chances, strict=True) if chance < CHANCE)


def _deep_points(room: Room, depth_mm: float, generator: torch.Generator) -> Tensor:
    """Points of the aerated lungs at least `depth_mm` inside, (N, 3)."""
    low, high = single([-135.0, -95.0, -110.0]), single([135.0, 75.0, 100.0])
    points = torch.rand(4000, 3, generator=generator, **SINGLE) * (high - low) + low
    distance = room(points)
    fit = points[distance < -depth_mm]
    return fit if len(fit) else points[distance.argmin()][None]


def draw_nodules(seed: int, room: Room) -> list[Nodule]:
    """One to three nodules of 10 to 32 mm, well inside the lung.

    Args:
        seed: of the phantom.
        room: a function of points (N, 3), mm: distance to the aerated lung, mm.
    """
    generator = stream(seed, "nodule")
    count = 1 + int(torch.randint(0, 3, (), generator=generator, **WHOLE))
    sizes = (5.0 + 11.0 * torch.rand(count, generator=generator, **SINGLE) ** 1.5).tolist()
    shapes = (0.85 + 0.3 * torch.rand(count, 3, generator=generator, **SINGLE)).tolist()
    places = [_deep_points(room, size + 3.0, generator)[0].tolist() for size in sizes]
    parts = zip(places, sizes, shapes, strict=True)
    return [Nodule(_triple(place), _triple([size * s for s in shape])) for place, size, shape in parts]


def _triple(numbers: Sequence[float]) -> tuple[float, float, float]:
    x, y, z = numbers
    return x, y, z


def draw_consolidation(seed: int, room: Room) -> Consolidation:
    """One cloud of 5 to 10 cm, its centre inside a lung.

    Args:
        seed: of the phantom.
        room: a function of points (N, 3), mm: distance to the aerated lung, mm.
    """
    generator = stream(seed, "consolidation")
    centre = _deep_points(room, 18.0, generator)[0].tolist()
    radii = (26.0 + 22.0 * torch.rand(3, generator=generator, **SINGLE)).tolist()
    return Consolidation(
        _triple(centre), _triple(radii), 0.6 + 0.3 * torch.rand((), generator=generator, **SINGLE).item()
    )


def paint_consolidation(canvas: Ground, cloud: Consolidation, lung: Tensor, coarse: Tensor) -> None:
    """Cloudy lung with soft, ragged edges; bronchi painted later stay dark within it.

    Args:
        canvas: painted on.
        cloud:  where it is and how dense.
        lung:   (D, H, W) distance to the aerated lung, mm.
        coarse: (D, H, W) unit noise of some centimetres.
    """
    edge = ellipsoid(canvas.points, cloud.centre, cloud.radii_mm) + 8.0 * coarse
    fraction = cloud.density * (0.5 - edge / 16.0).clamp(0.0, 1.0) * canvas.cover(lung)
    canvas.hu.lerp_(single(30.0), fraction)
    canvas.paint("consolidation", canvas.hu, torch.maximum(edge, lung))


def paint_nodules(canvas: Ground, nodules: list[Nodule], fine: Tensor) -> None:
    """Solid lumps with slightly bumpy surfaces.

    Args:
        canvas:  painted on.
        nodules: where they are.
        fine:    (D, H, W) unit noise of a few millimetres.
    """
    for nodule in nodules:
        low = [c - 1.4 * r for c, r in zip(nodule.centre, nodule.radii_mm, strict=True)]
        high = [c + 1.4 * r for c, r in zip(nodule.centre, nodule.radii_mm, strict=True)]
        box = canvas.box(low, high)
        distance = ellipsoid(canvas.at(box), nodule.centre, nodule.radii_mm) + 0.7 * fine[box].clamp(-1.5, 1.5)
        canvas.paint("nodule", 38.0, distance, box)
