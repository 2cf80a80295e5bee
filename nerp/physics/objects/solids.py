"""Convex solids that shapes fall into, many at once, and where rays cross them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from nerp.physics.objects.shapes import Curve, Disc, Plate, Shape
from nerp.physics.objects.splines import polyline

Crossing = Callable[[Tensor, Tensor, Tensor], tuple[Tensor, Tensor]]


@dataclass(frozen=True)
class Solids:
    """N solids of one family.

    Args:
        numbers:  (P, N) float64 what `cross` reads of each, mm.
        owners:   (N,) int64 the group that each belongs to.
        ends:     (N, 2, 3) and
        reach_mm: (N,) all of a solid is within this distance of the segment between its ends.
        cross:    of origins (3, M), unit directions (3, M) and numbers (P, M): distances (M,) at which rays enter and
                  leave, mm; entered after they are left where they miss.
    """

    numbers: Tensor
    owners: Tensor
    ends: Tensor
    reach_mm: Tensor
    cross: Crossing


def solids_of(groups: Sequence[Sequence[Shape]]) -> list[Solids]:
    """The convex solids of groups of shapes, family by family; lengths in mm.

    Args:
        groups: group k becomes owner k.
    """
    named = [(number, shape) for number, group in enumerate(groups) for shape in group]
    capsules = [(number, shape) for number, shape in named if isinstance(shape, Curve)]
    discs = [(number, shape) for number, shape in named if isinstance(shape, Disc)]
    plates = [(number, shape) for number, shape in named if isinstance(shape, Plate)]
    found = []
    if capsules:
        found.append(_capsules(capsules))
    if discs:
        found.append(_discs(discs))
    for n_corners in sorted({len(plate.outline) for _, plate in plates}):
        found.append(_plates([(number, plate) for number, plate in plates if len(plate.outline) == n_corners]))
    return found


def _capsules(named: list[tuple[int, Curve]]) -> Solids:
    chains = [polyline(curve) for _, curve in named]
    chains = [chain if len(chain) > 1 else chain.repeat(2, 1) for chain in chains]
    ends = torch.cat([torch.stack([chain[:-1], chain[1:]], dim=1) for chain in chains])
    counts = torch.tensor([len(chain) - 1 for chain in chains], dtype=torch.int64, device="cpu")
    radii = _floats([curve.radius_mm for _, curve in named]).repeat_interleave(counts)
    is_last = torch.zeros(len(ends), dtype=torch.float64, device="cpu")
    is_last[counts.cumsum(0) - 1] = 1.0
    numbers = torch.cat([ends.flatten(1), radii[:, None], is_last[:, None]], dim=1).T.contiguous()
    return Solids(numbers, _owners(named).repeat_interleave(counts), ends, radii, cross_capsules)


def _discs(named: list[tuple[int, Disc]]) -> Solids:
    centre, axis = _floats([disc.centre for _, disc in named]), _floats([disc.axis for _, disc in named])
    sizes = _floats([(disc.radius_mm, disc.height_mm / 2) for _, disc in named])
    half = axis / axis.norm(dim=1, keepdim=True) * sizes[:, 1:]
    numbers = torch.cat([centre - half, centre + half, sizes[:, :1]], dim=1).T.contiguous()
    return Solids(numbers, _owners(named), centre[:, None].expand(-1, 2, -1), sizes.norm(dim=1), cross_discs)


def _plates(named: list[tuple[int, Plate]]) -> Solids:
    faces = torch.stack([_faces(plate) for _, plate in named])
    centre = _floats([plate.centre for _, plate in named])
    reach = [
        float(_floats([(*corner, plate.height_mm / 2) for corner in plate.outline]).norm(dim=1).max())
        for _, plate in named
    ]
    return Solids(
        faces.flatten(1).T.contiguous(), _owners(named), centre[:, None].expand(-1, 2, -1), _floats(reach), cross_plates
    )


def _faces(plate: Plate) -> Tensor:
    """(F, 4) outward unit normals and their distances from the world's origin."""
    centre, along, across = (_floats(part) for part in (plate.centre, plate.along, plate.across))
    thick = torch.linalg.cross(along, across)
    corners = _floats(plate.outline)
    edges = corners.roll(-1, 0) - corners
    outward = torch.stack([edges[:, 1], -edges[:, 0]], dim=1)
    outward = outward * torch.sign((outward * (corners - corners.mean(dim=0))).sum())
    outward = outward / outward.norm(dim=1, keepdim=True)
    normals = outward[:, :1] * along + outward[:, 1:] * across
    distances = (outward * corners).sum(dim=1) + normals @ centre
    flat = torch.stack([thick, -thick])
    ends = flat @ centre + plate.height_mm / 2
    return torch.cat([torch.cat([normals, flat]), torch.cat([distances, ends])[:, None]], dim=1)


def cross_capsules(origins: Tensor, directions: Tensor, numbers: Tensor) -> tuple[Tensor, Tensor]:
    """Where rays enter and leave capsules.

    Args:
        origins:    (3, M) mm.
        directions: (3, M) unit.
        numbers:    (8, M) both ends, the radius, and whether the second end is rounded too: where a chain goes on, the
                    next capsule rounds it.

    Returns:
        (M,) and (M,) distances, mm; entered after left where a ray misses. Differentiable in the rays.
    """
    first, last, radius = numbers[:3], numbers[3:6], numbers[6]
    enter, leave = _cross_tube(origins, directions, first, last, radius)
    start, end = _cross_ball(origins, directions, first, radius)
    enter, leave = torch.minimum(enter, start), torch.maximum(leave, end)
    (rounded,) = torch.nonzero(numbers[7], as_tuple=True)
    if len(rounded) == 0:
        return enter, leave
    start, end = _cross_ball(origins[:, rounded], directions[:, rounded], last[:, rounded], radius[rounded])
    enter = enter.index_copy(0, rounded, torch.minimum(enter[rounded], start))
    return enter, leave.index_copy(0, rounded, torch.maximum(leave[rounded], end))


def cross_discs(origins: Tensor, directions: Tensor, numbers: Tensor) -> tuple[Tensor, Tensor]:
    """Where rays enter and leave flat cylinders.

    Args:
        origins:    (3, M) mm.
        directions: (3, M) unit.
        numbers:    (7, M) the middles of both circles and the radius, mm.

    Returns:
        (M,) and (M,) distances, mm; entered after left where a ray misses. Differentiable in the rays.
    """
    return _cross_tube(origins, directions, numbers[:3], numbers[3:6], numbers[6])


def cross_plates(origins: Tensor, directions: Tensor, numbers: Tensor) -> tuple[Tensor, Tensor]:
    """Where rays enter and leave convex plates: the last face to be entered, the first to be left.

    Args:
        origins:    (3, M) mm.
        directions: (3, M) unit.
        numbers:    (4 F, M) outward normals and distances of F faces.

    Returns:
        (M,) and (M,) distances, mm; entered after left where a ray misses. Differentiable in the rays.
    """
    enter, leave = torch.full_like(origins[0], -torch.inf), torch.full_like(origins[0], torch.inf)
    for face in numbers.split(4):
        steep, room = _dot(face[:3], directions), face[3] - _dot(face[:3], origins)
        flat = steep.abs() < 1e-12
        at = room / torch.where(flat, 1.0, steep)
        enter = torch.where((steep < 0) & ~flat, torch.maximum(enter, at), enter)
        leave = torch.where((steep > 0) & ~flat, torch.minimum(leave, at), leave)
        enter = torch.where(flat & (room < 0), torch.inf, enter)
    return enter, leave


def _cross_tube(
    origins: Tensor, directions: Tensor, first: Tensor, last: Tensor, radius: Tensor
) -> tuple[Tensor, Tensor]:
    """A cylinder between two flat ends: the part of the endless one between two planes."""
    axis, offset = last - first, origins - first
    length = _dot(axis, axis).sqrt()
    axis = axis / length.clamp(min=1e-9)
    along, place = _dot(directions, axis), _dot(offset, axis)
    a, b = 1.0 - along * along, _dot(directions, offset) - along * place
    c = _dot(offset, offset) - place * place - radius * radius
    parallel = a < 1e-12
    square = b * b - a * c
    hit = torch.where(parallel, c < 0, square > 0) & (length > 0)
    root = torch.sqrt(torch.where(square > 0, square, 1.0))
    safe = torch.where(parallel, 1.0, a)
    enter, leave = (-b - root) / safe, (-b + root) / safe
    level = along.abs() < 1e-12
    slope = torch.where(level, 1.0, along)
    one, other = -place / slope, (length - place) / slope
    hit = hit & (~level | ((place > 0) & (place < length)))
    near, far = torch.minimum(one, other), torch.maximum(one, other)
    enter = torch.maximum(torch.where(parallel, -torch.inf, enter), torch.where(level, -torch.inf, near))
    leave = torch.minimum(torch.where(parallel, torch.inf, leave), torch.where(level, torch.inf, far))
    return _or_missed(enter, leave, hit)


def _cross_ball(origins: Tensor, directions: Tensor, centre: Tensor, radius: Tensor) -> tuple[Tensor, Tensor]:
    offset = origins - centre
    b = _dot(directions, offset)
    square = b * b - _dot(offset, offset) + radius * radius
    root = torch.sqrt(torch.where(square > 0, square, 1.0))
    return _or_missed(-b - root, -b + root, square > 0)


def _or_missed(enter: Tensor, leave: Tensor, hit: Tensor) -> tuple[Tensor, Tensor]:
    hit = hit & (enter < leave)
    return torch.where(hit, enter, torch.inf), torch.where(hit, leave, -torch.inf)


def _dot(one: Tensor, other: Tensor) -> Tensor:
    """(M,) of (3, M) and (3, M)."""
    return one[0] * other[0] + one[1] * other[1] + one[2] * other[2]


def _floats(values: Sequence) -> Tensor:
    return torch.tensor(values, dtype=torch.float64, device="cpu")


def _owners(named: Sequence[tuple[int, Shape]]) -> Tensor:
    return torch.tensor([number for number, _ in named], dtype=torch.int64, device="cpu")
