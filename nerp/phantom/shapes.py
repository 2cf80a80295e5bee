"""Signed distances (mm, negative inside) of simple bodies, profiles along the body axis, and swept tubes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TypeAlias

import torch
from torch import Tensor

from nerp.devices import SINGLE

FAR_MM = 1e3

Points: TypeAlias = tuple[Tensor, ...]
"""Coordinates x, y, z in the patient's frame, mm: three tensors that broadcast."""
Box: TypeAlias = tuple[slice, ...]
"""The part of a grid between two corners: one slice an axis."""
Polyline: TypeAlias = Tensor | Sequence[Sequence[float]]
"""(K, 3) points on the way of a tube, mm."""


class Profile:
    """A smooth function of one coordinate through knots, constant outside them.

    Args:
        knots:  increasing positions, mm.
        values: one number a knot.

    Monotone cubic tabulated every millimetre, so that it neither overshoots nor costs more than a look-up.

    Source: Fritsch and Carlson 1980.
    """

    def __init__(self, knots: Sequence[float], values: Sequence[float]):
        from scipy.interpolate import PchipInterpolator

        self.first = float(knots[0])
        steps = torch.arange(int(knots[-1] - knots[0]) + 2, dtype=torch.float64, device="cpu") + self.first
        table = PchipInterpolator(knots, values, extrapolate=False)(steps.clamp(max=float(knots[-1])).numpy())
        self.table = torch.as_tensor(table, dtype=torch.float32)

    def __call__(self, position: Tensor) -> Tensor:
        where = (position - self.first).clamp(0.0, len(self.table) - 1.001)
        low = where.to(torch.int32)
        start = self.table[low]
        return start + (self.table[low + 1] - start) * (where - low)


def ellipsoid(points: Points, centre: Sequence[float], radii: Sequence[float]) -> Tensor:
    """Distance to an axis-aligned ellipsoid, first order (exact at the surface).

    Args:
        points: three broadcastable tensors x, y, z, mm.
        centre: (3,) mm.
        radii:  (3,) mm.

    Returns:
        Of the points' common shape, mm, negative inside.

    Source: I. Quilez, distance bound k0 (k0 - 1) / k1.
    """
    scaled = [(p - c) / r for p, c, r in zip(points, centre, radii, strict=True)]
    near = _sum([s * s for s in scaled]).sqrt()
    slope = _sum([(s / r) ** 2 for s, r in zip(scaled, radii, strict=True)]).sqrt()
    return near * (near - 1.0) / slope.clamp(min=1e-6)


def turned_ellipsoid(
    points: Points, centre: Sequence[float], *, axis: Sequence[float], long_mm: float, short_mm: float
) -> Tensor:
    """Distance to an ellipsoid of revolution, first order.

    Args:
        points:   three broadcastable tensors x, y, z, mm.
        centre:   (3,) mm.
        axis:     (3,) its direction, of any length.
        long_mm:  radius along the axis.
        short_mm: radius across it.

    Returns:
        Of the points' common shape, mm, negative inside.
    """
    heading = torch.tensor(axis, dtype=torch.float32, device="cpu")
    heading = heading / heading.norm()
    offset = [p - c for p, c in zip(points, centre, strict=True)]
    along = _sum([o * a for o, a in zip(offset, heading.tolist(), strict=True)])
    across2 = (_sum([o * o for o in offset]) - along**2).clamp(min=0.0)
    near = (along**2 / long_mm**2 + across2 / short_mm**2).sqrt()
    slope = (along**2 / long_mm**4 + across2 / short_mm**4).sqrt()
    return near * (near - 1.0) / slope.clamp(min=1e-6)


def _sum(terms: list[Tensor]) -> Tensor:
    return sum(terms[1:], terms[0])


def smooth_union(first: Tensor, second: Tensor, blend_mm: float) -> Tensor:
    """The union of two bodies with their crease filled (quadratic blend).

    Args:
        first, second: distances to the bodies, mm, negative inside.
        blend_mm:      how far apart the surfaces may be where they are blended.

    Returns:
        Distance to the union, mm; nowhere more than the lesser of the two.
    """
    overlap = (blend_mm - (first - second).abs()).clamp(min=0.0) / blend_mm
    return torch.minimum(first, second) - overlap**2 * blend_mm / 4.0


def smooth_intersection(first: Tensor, second: Tensor, blend_mm: float) -> Tensor:
    """What two bodies share, its edge rounded.

    Args:
        first, second: distances to the bodies, mm, negative inside.
        blend_mm:      how far apart the surfaces may be where they are blended.

    Returns:
        Distance to the intersection, mm; nowhere less than the greater of the two.
    """
    return -smooth_union(-first, -second, blend_mm)


@dataclass(frozen=True)
class Tubes:
    """Capsules with an elliptic section, tapering from end to end.

    Args:
        start, end:  (N, 3) mm.
        radii_mm:    (N, 2) half height of the section at both ends.
        flat:        section's half thickness over its half height, along `normal`; 1 is round.
        normal:      (N, 3) unit vectors of the thin direction, or None when round.
    """

    start: Tensor
    end: Tensor
    radii_mm: Tensor
    flat: float = 1.0
    normal: Tensor | None = None

    def __len__(self) -> int:
        return self.start.shape[0]

    def __getitem__(self, index: Tensor) -> Tubes:
        normal = None if self.normal is None else self.normal[index]
        return Tubes(self.start[index], self.end[index], self.radii_mm[index], self.flat, normal)

    def thinned(self, voxel_mm: float) -> Tubes:
        """The same tubes, those thinner than a voxel with the radius at which the painted amount is right.

        Args:
            voxel_mm: side of the voxels that they are to be painted on.

        Source: ours; painting covers `0.5 - distance / voxel` of a voxel, which in a section through a thin tube is a
        cone. Its mass is pi c^3 / 3 where its peak c is below 1, and has to be pi r^2 (r in voxels).
        """
        peak = (3.0 * (self.radii_mm / voxel_mm).clamp(min=0.0) ** 2) ** (1 / 3)
        radii = torch.where(peak < 1.0, voxel_mm * (peak - 0.5), self.radii_mm)
        return Tubes(self.start, self.end, radii, self.flat, self.normal)

    def nearest(self, points: Tensor) -> Tensor:
        """Distance of points (N, 3) from the nearest tube, (N,) mm."""
        return self.distance(points.expand(len(self), -1, -1)).amin(0)

    def distance(self, points: Tensor) -> Tensor:
        """Distance of points (N, K, 3) from their own tube, (N, K) mm, negative inside."""
        axis = self.end - self.start
        offset = points - self.start[:, None]
        fraction = (offset * axis[:, None]).sum(-1) / axis.square().sum(-1).clamp(min=1e-6)[:, None]
        fraction = fraction.clamp(0.0, 1.0)
        offset = offset - fraction[..., None] * axis[:, None]
        radius = self.radii_mm[:, :1] * (1 - fraction) + self.radii_mm[:, 1:] * fraction
        if self.normal is None:
            return offset.norm(dim=-1) - radius
        thin = (offset * self.normal[:, None]).sum(-1)
        wide2 = (offset.square().sum(-1) - thin**2).clamp(min=0.0)
        thickness = radius * self.flat
        near = (thin**2 / thickness**2 + wide2 / radius**2).sqrt()
        slope = (thin**2 / thickness**4 + wide2 / radius**4).sqrt()
        return near * (near - 1.0) / slope.clamp(min=1e-6)


def join(parts: list[Tubes]) -> Tubes:
    """Several round tubes as one set."""
    start, end, radii = (torch.cat([getattr(part, name) for part in parts]) for name in ("start", "end", "radii_mm"))
    return Tubes(start, end, radii)


def curve(points: Polyline, n: int) -> Tensor:
    """Points on the smooth curve (Catmull-Rom) through given ones.

    Args:
        points: (K, F) that it passes, K of 2 or more; F is 3 (mm), or 4 where a radius goes with them.
        n:      how many to return, evenly spaced in parameter from the first to the last.

    Returns:
        (n, F) float32.
    """
    points = torch.as_tensor(points, dtype=torch.float32)
    padded = torch.cat([2 * points[:1] - points[1:2], points, 2 * points[-1:] - points[-2:-1]])
    where = torch.linspace(0, len(points) - 1, n, **SINGLE).clamp(max=len(points) - 1 - 1e-4)
    low = where.long()
    t = (where - low)[:, None]
    a, b, c, d = (padded[low + k] for k in range(4))
    return 0.5 * (2 * b + (c - a) * t + (2 * a - 5 * b + 4 * c - d) * t**2 + (3 * (b - c) + d - a) * t**3)


def tube(points: Polyline, radii_mm: Tensor | Sequence[float] | float, n: int = 24) -> Tubes:
    """A round tube swept along the smooth curve through points.

    Args:
        points:   (K, 3) mm.
        radii_mm: (K,) at the same points, or one for all.
        n:        points on the curve, between which the tube is straight.
    """
    path = curve(torch.cat([torch.as_tensor(points, dtype=torch.float32), _column(radii_mm, len(points))], 1), n)
    return Tubes(path[:-1, :3], path[1:, :3], torch.stack([path[:-1, 3], path[1:, 3]], 1))


def _column(radii_mm: Tensor | Sequence[float] | float, n: int) -> Tensor:
    radii = torch.as_tensor(radii_mm, dtype=torch.float32).reshape(-1, 1)
    return radii.expand(n, 1) if len(radii) == 1 else radii


def strap(path: Tensor, radii_mm: Tensor, normals: Tensor, flat: float) -> Tubes:
    """A flat tube.

    Args:
        path:     (N, 3) mm.
        radii_mm: (N,) half height of its section.
        normals:  (N, 3) unit vectors along which it is thin.
        flat:     its half thickness over its half height, 0 to 1.
    """
    middle = torch.nn.functional.normalize(normals[:-1] + normals[1:], dim=1)
    return Tubes(path[:-1], path[1:], torch.stack([radii_mm[:-1], radii_mm[1:]], 1), flat, middle)
