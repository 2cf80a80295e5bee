"""Convex solids that shapes fall into, many at once, and where rays cross them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from nerp.physics.objects.shapes import Curve, Disc, Plate, Shape
from nerp.physics.objects.splines import polyline

Crossing = Callable[[Tensor, Tensor, Tensor], tuple[Tensor, Tensor]]
NUMBERS = 7
"""Of a capsule or disc."""


@dataclass(frozen=True)
class Solids:
    """N solids of one family.

    Args:
        numbers:  (N, P) float64 what `cross` reads of each, mm.
        owners:   (N,) int64 the group that each belongs to.
        ends:     (N, 2, 3) and
        reach_mm: (N,) all of a solid is within this distance of the segment between its ends.
        cross:    of origins (M, 3), unit directions (M, 3) and numbers (M, P): distances (M,) at which rays enter and
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
    numbers = torch.cat([ends.flatten(1), radii[:, None]], dim=1)
    return Solids(numbers, _owners(named).repeat_interleave(counts), ends, radii, cross_capsules)


def _discs(named: list[tuple[int, Disc]]) -> Solids:
    centre, axis = _floats([disc.centre for _, disc in named]), _floats([disc.axis for _, disc in named])
    sizes = _floats([(disc.radius_mm, disc.height_mm / 2) for _, disc in named])
    half = axis / axis.norm(dim=1, keepdim=True) * sizes[:, 1:]
    numbers = torch.cat([centre - half, centre + half, sizes[:, :1]], dim=1)
    return Solids(numbers, _owners(named), centre[:, None].expand(-1, 2, -1), sizes.norm(dim=1), cross_discs)


def _plates(named: list[tuple[int, Plate]]) -> Solids:
    faces = torch.stack([_faces(plate) for _, plate in named])
    centre = _floats([plate.centre for _, plate in named])
    reach = [float(_floats([(*corner, plate.height_mm / 2) for corner in plate.outline]).norm(dim=1).max()) for _, plate in named]
    return Solids(faces.flatten(1), _owners(named), centre[:, None].expand(-1, 2, -1), _floats(reach), cross_plates)


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
        origins:    (M, 3) mm.
        directions: (M, 3) unit.
        numbers:    (M, 7) both ends and the radius, mm.

    Returns:
        (M,) and (M,) distances, mm; entered after left where a ray misses. Differentiable in the rays.
    """
    first, last, radius = numbers[:, :3], numbers[:, 3:6], numbers[:, 6]
    lateral = _cross_tube(origins, directions, first, last, radius)
    balls = [_cross_ball(origins, directions, end, radius) for end in (first, last)]
    enter = torch.stack([part[0] for part in (lateral, *balls)]).amin(dim=0)
    leave = torch.stack([part[1] for part in (lateral, *balls)]).amax(dim=0)
    return enter, leave


def cross_discs(origins: Tensor, directions: Tensor, numbers: Tensor) -> tuple[Tensor, Tensor]:
    """Where rays enter and leave flat cylinders.

    Args:
        origins:    (M, 3) mm.
        directions: (M, 3) unit.
        numbers:    (M, 7) the middles of both circles and the radius, mm.

    Returns:
        (M,) and (M,) distances, mm; entered after left where a ray misses. Differentiable in the rays.
    """
    return _cross_tube(origins, directions, numbers[:, :3], numbers[:, 3:6], numbers[:, 6])


def cross_plates(origins: Tensor, directions: Tensor, numbers: Tensor) -> tuple[Tensor, Tensor]:
    """Where rays enter and leave convex plates: the last face to be entered, the first to be left.

    Args:
        origins:    (M, 3) mm.
        directions: (M, 3) unit.
        numbers:    (M, 4 F) outward normals and distances of F faces.

    Returns:
        (M,) and (M,) distances, mm; entered after left where a ray misses. Differentiable in the rays.
    """
    faces = numbers.view(len(numbers), -1, 4)
    steep = (faces[..., :3] * directions[:, None]).sum(dim=-1)
    room = faces[..., 3] - (faces[..., :3] * origins[:, None]).sum(dim=-1)
    flat = steep.abs() < 1e-12
    at = room / torch.where(flat, 1.0, steep)
    outside = torch.where(flat & (room < 0), torch.inf, -torch.inf)
    enter = torch.where(steep < 0, torch.where(flat, outside, at), outside).amax(dim=-1)
    leave = torch.where((steep > 0) & ~flat, at, torch.inf).amin(dim=-1)
    return enter, leave


def _cross_tube(
    origins: Tensor, directions: Tensor, first: Tensor, last: Tensor, radius: Tensor
) -> tuple[Tensor, Tensor]:
    """A cylinder between two flat ends."""
    axis = last - first
    length = axis.norm(dim=1, keepdim=True)
    axis = axis / length.clamp(min=1e-9)
    offset = origins - first
    along, place = (directions * axis).sum(1), (offset * axis).sum(1)
    side, from_axis = directions - along[:, None] * axis, offset - place[:, None] * axis
    a, b = (side * side).sum(1), (side * from_axis).sum(1)
    c = (from_axis * from_axis).sum(1) - radius**2
    parallel = a < 1e-14
    square = b * b - a * c
    hit = torch.where(parallel, c < 0, square > 0)
    root = torch.sqrt(torch.where(square > 0, square, 1.0))
    safe = torch.where(parallel, 1.0, a)
    enter, leave = (torch.where(parallel, end, (-b + sign * root) / safe) for sign, end in ((-1, -torch.inf), (1, torch.inf)))
    level = along.abs() < 1e-12
    slope = torch.where(level, 1.0, along)
    ends = torch.stack([-place / slope, (length[:, 0] - place) / slope])
    within = (place > 0) & (place < length[:, 0])
    hit = hit & torch.where(level, within, length[:, 0] > 0)
    enter = torch.maximum(enter, torch.where(level, -torch.inf, ends.amin(dim=0)))
    leave = torch.minimum(leave, torch.where(level, torch.inf, ends.amax(dim=0)))
    return _or_missed(enter, leave, hit)


def _cross_ball(origins: Tensor, directions: Tensor, centre: Tensor, radius: Tensor) -> tuple[Tensor, Tensor]:
    offset = origins - centre
    b = (directions * offset).sum(1)
    nearest = offset - b[:, None] * directions
    square = radius**2 - (nearest * nearest).sum(1)
    root = torch.sqrt(torch.where(square > 0, square, 1.0))
    return _or_missed(-b - root, -b + root, square > 0)


def _or_missed(enter: Tensor, leave: Tensor, hit: Tensor) -> tuple[Tensor, Tensor]:
    hit = hit & (enter < leave)
    return torch.where(hit, enter, torch.inf), torch.where(hit, leave, -torch.inf)


def _floats(values: Sequence) -> Tensor:
    return torch.tensor(values, dtype=torch.float64, device="cpu")


def _owners(named: Sequence[tuple[int, Shape]]) -> Tensor:
    return torch.tensor([number for number, _ in named], dtype=torch.int64, device="cpu")
