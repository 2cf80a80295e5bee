"""Random cameras before random grids, each of a kind that is hard on a projector, and what may be asked of it there.

A kind is aimed in voxel coordinates. Of a straight grid all numbers are short binary fractions, so
that a ray meant to lie in a face or to pass through a corner does so exactly.
"""

from dataclasses import dataclass
from itertools import product

import numpy as np
import torch
from hypothesis import strategies as st
from torch import Tensor

from nerp.camera import Camera
from nerp.projection.rays import Rays, between, cast_rays

GENERIC = ("anywhere", "inside", "far")
GRAZING = ("face", "edge", "along_an_edge", "corner", "touching_an_edge", "touching_a_corner")
KINDS = (*GENERIC, "on_a_face", "along_an_axis", "missing", *GRAZING)

SIZES = (1, 2, 3, 5, 8, 13)
"""Voxels along an axis of a grid."""

NEAR = 1e-5
"""Voxels. Rays that a shift this small makes meet planes in another order have no derivative to agree on."""


@dataclass(frozen=True)
class Geometry:
    """Views of `kind` before a grid."""

    kind: str
    seed: int
    shape: tuple[int, int, int]
    affine: Tensor
    camera: Camera

    def rays(self) -> Rays:
        return cast_rays(self.camera, self.affine, self.shape)

    def ends(self) -> list[Tensor]:
        """(B * R, 3) source and pixel of every ray, mm, to be differentiated in one ray at a time."""
        pixels = self.camera.pixels().flatten(1, 2)
        both = self.camera.source[:, None].expand_as(pixels), pixels
        return [part.flatten(0, 1).clone().requires_grad_() for part in both]

    def rays_between(self, source: Tensor, pixel: Tensor) -> Rays:
        """The same rays as `rays`, made of `ends`."""
        lines = between(source, pixel[:, None], torch.linalg.inv(self.affine), self.shape)
        height, width = self.camera.shape
        return Rays(*parts(lines.reshape(len(self.camera), height * width)), self.camera.shape)

    def source(self) -> Tensor:
        """(B, 3) in voxels."""
        inverse = torch.linalg.inv(self.affine)
        return self.camera.source @ inverse[:3, :3].T + inverse[:3, 3]

    def random(self, *size: int) -> Tensor:
        """Float32 numbers from 0 to 1, the same each time."""
        return torch.from_numpy(np.random.default_rng(self.seed).uniform(size=size)).float()


def geometries(kind: str, *, longest: int = 13, most_pixels: int = 11, most_views: int = 3):
    """A strategy for views of one kind: also of single voxels, through single pixels, and of no views."""
    sizes = st.sampled_from([n for n in SIZES if n <= longest])
    return st.builds(
        geometry,
        st.just(kind),
        st.integers(0, 2**32 - 1),
        st.one_of(st.tuples(sizes, sizes, sizes), st.just((1, 1, 1))),
        st.booleans(),
        st.one_of(st.tuples(*[st.integers(1, most_pixels)] * 2), st.just((1, 1))),
        st.integers(0, most_views),
    )


def geometry(kind: str, seed: int, shape, straight: bool, pixels, n_views: int) -> Geometry:
    rng = np.random.default_rng(seed)
    affine = straight_affine(rng, shape) if straight else oblique_affine(rng, shape)
    pixel_mm = tuple(float(mm) for mm in rng.integers(2, 17, 2) / 4)
    views = [view(rng, aim(rng, kind, np.array(shape), straight), affine, pixels, pixel_mm) for _ in range(n_views)]
    vectors = torch.from_numpy(np.array(views).reshape(n_views, 4, 3)).unbind(1)
    return Geometry(kind, seed, tuple(shape), torch.from_numpy(affine), Camera(*vectors, tuple(pixels), pixel_mm))


def straight_affine(rng, shape) -> np.ndarray:
    """Permuted, mirrored and anisotropic, in short binary fractions."""
    return _centred(np.eye(3)[rng.permutation(3)] * rng.choice([-1, 1], 3) * rng.choice([0.5, 1.0, 2.0], 3), shape)


def oblique_affine(rng, shape) -> np.ndarray:
    """Turned any way, mirrored or not, and anisotropic."""
    return _centred(np.linalg.qr(rng.normal(size=(3, 3)))[0] * rng.uniform(0.5, 3.0, 3), shape)


def _centred(axes: np.ndarray, shape) -> np.ndarray:
    affine = np.eye(4)
    affine[:3, :3], affine[:3, 3] = axes, -axes @ ((np.array(shape) - 1) / 2)
    return affine


@dataclass(frozen=True)
class Aim:
    """A ray in voxel coordinates: a point on it, where it heads, and how far away it starts and ends."""

    through: np.ndarray
    heading: np.ndarray
    before: float
    behind: float


def aim(rng, kind: str, shape: np.ndarray, exact: bool) -> Aim:
    """One ray of a kind; `exact` ones lie on planes and corners, the others a little beside them as well."""
    through, heading = rng.uniform(-0.5, shape - 0.5), rng.choice([-1, 1], 3) * rng.integers(1, 17, 3) / 8
    axes, planes = rng.permutation(3), rng.integers(0, shape + 1) - 0.5
    planes = planes + rng.choice([0.0, 1e-7, -1e-7] if exact else [1e-7, -1e-7], 3)
    before = 64.0
    if kind in ("inside", "on_a_face"):
        before = 0.0
    if kind == "far":
        before = 1e5 / 2
    if kind == "on_a_face":
        through[axes[0]] = rng.choice([-0.5, shape[axes[0]] - 0.5])
    if kind in ("along_an_axis", "along_an_edge"):
        heading[axes[:2]] = 0
    if kind == "missing":
        through[axes[0]], heading[axes[0]] = shape[axes[0]] + 40, 0
    if kind == "face":
        through[axes[0]], heading[axes[0]] = planes[axes[0]], 0
    if kind in ("edge", "along_an_edge"):
        through[axes[:2]] = planes[axes[:2]]
    if kind == "corner":
        through = planes
    if kind.startswith("touching"):
        through, heading = _touching(rng, through, heading, shape, axes[: 2 if kind == "touching_an_edge" else 3])
    return Aim(through, heading, before, 64.0)


def _touching(rng, through, heading, shape, axes) -> tuple[np.ndarray, np.ndarray]:
    """A ray that meets the box in an outer edge or corner alone, or cuts at most 1e-7 off it."""
    outwards = rng.choice([-1, 1], 3)
    corner = np.where(outwards > 0, shape - 0.5, -0.5) - outwards * rng.choice([0, 1e-7, 1e-7])
    through, heading = through.copy(), np.abs(heading) * outwards
    through[axes] = corner[axes]
    heading[axes[1]] *= -1  # where one axis comes in, the other has gone out
    return through, heading


def view(rng, aimed: Aim, affine, pixels, pixel_mm) -> np.ndarray:
    """(4, 3) source, centre, right and down of a detector one of whose pixels the aimed ray ends in."""
    world = affine[:3, :3], affine[:3, 3]
    source, target = (
        world[0] @ (aimed.through + along * aimed.heading) + world[1] for along in (-aimed.before, aimed.behind)
    )
    right, down = _across(rng, world[0], aimed.heading)
    place = [rng.integers(0, n) - (n - 1) / 2 for n in pixels]
    centre = target - place[1] * pixel_mm[1] * right - place[0] * pixel_mm[0] * down
    return np.array([source, centre, right, down])


def _across(rng, axes: np.ndarray, heading: np.ndarray) -> np.ndarray:
    """Two directions of unit length along the grid's axes, those that the ray follows least."""
    units = axes / np.linalg.norm(axes, axis=0)
    least = np.argsort(np.abs(heading) * np.linalg.norm(axes, axis=0))[:2]
    return (units[:, rng.permutation(least)] * rng.choice([-1, 1], 2)).T


def _planes(rays: Rays, shape) -> tuple[Tensor, Tensor, Tensor]:
    """(B, R, P) of every inner plane: path to it, its axis' speed, and whether the ray comes as near as `NEAR`."""
    paths, speeds, met = [], [], []
    ends = rays.starts + rays.lengths_mm[..., None] * rays.directions
    for axis, count in enumerate(shape):
        planes = torch.arange(1, count, dtype=torch.float64) - 0.5
        start, end, speed = (part[..., axis, None].expand(*part.shape[:-1], count - 1) for part in _of(rays, ends))
        low, high = torch.minimum(start, end), torch.maximum(start, end)
        met.append((planes > low - NEAR) & (planes < high + NEAR))
        paths.append((planes - start) / speed.where(speed.abs() > 0, torch.ones_like(speed)))
        speeds.append(speed.abs())
    return torch.cat(paths, -1), torch.cat(speeds, -1), torch.cat(met, -1)


def _of(rays: Rays, ends: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    return rays.starts, ends, rays.directions


def in_a_face(rays: Rays, shape) -> Tensor:
    """(B, R) rays that stay within `NEAR` of an inner plane: they belong to the voxels of either side."""
    _, speeds, met = _planes(rays, shape)
    return (met & (speeds * rays.lengths_mm[..., None] < NEAR)).any(dim=-1)


def siddon_moves_smoothly(rays: Rays, shape) -> Tensor:
    """(B, R) rays whose integral has a derivative: no two planes at one point, none at the start or end."""
    paths, speeds, met = _planes(rays, shape)
    ends = torch.stack([torch.zeros_like(rays.lengths_mm), rays.lengths_mm], dim=-1)
    paths, slack = torch.cat([paths, ends], -1), torch.cat([NEAR / speeds, 0 * ends], -1)
    met = torch.cat([met, torch.ones_like(ends, dtype=torch.bool)], -1)
    apart = (paths[..., None] - paths[..., None, :]).abs() > slack[..., None] + slack[..., None, :]
    beside = ~(met[..., None] & met[..., None, :]) | torch.eye(met.shape[-1], dtype=torch.bool)
    return (apart | beside).all(dim=-1).all(dim=-1)


def march_moves_smoothly(rays: Rays, shape, n_samples: int) -> Tensor:
    """(B, R) rays without a sample on a plane through voxel centres, where trilinear slopes jump."""
    along = rays.lengths_mm[..., None] * (torch.arange(n_samples) + 0.5) / n_samples
    points = rays.starts[..., None, :] + along[..., None] * rays.directions[..., None, :]
    counts = torch.tensor(shape)
    jumps = ((points - points.round()).abs() < NEAR) & (points > -NEAR) & (points < counts - 1 + NEAR) & (counts > 1)
    return (rays.lengths_mm > 0) & ~jumps.flatten(-2).any(dim=-1)


def clip_moves_smoothly(rays: Rays, shape, source: Tensor) -> Tensor:
    """(B, R) rays that enter and leave through the inside of a face, or start or end well within the grid.

    `source` is (B, 3), in voxels: on a face, it has a derivative to one side alone.
    """
    ends = rays.starts + rays.lengths_mm[..., None] * rays.directions
    entered, left = ((faces_near(points, shape) <= 1) for points in (rays.starts, ends))
    at_source = ((rays.starts - source[:, None]).abs() < NEAR).all(dim=-1) & (faces_near(rays.starts, shape) > 0)
    return (rays.lengths_mm > 0) & entered & left & ~at_source


def faces_near(points: Tensor, shape) -> Tensor:
    """How many of the grid's faces points (..., 3) lie on, within `NEAR`."""
    return torch.stack([(points + 0.5).abs(), (points + 0.5 - torch.tensor(shape)).abs()]).lt(NEAR).sum(dim=(0, -1))


def shifted(rays: Rays, by: float) -> list[Rays]:
    """The same rays moved by so many voxels towards each of eight sides."""
    moves = [by * torch.tensor(signs, dtype=torch.float64) for signs in product((-1, 1), repeat=3)]
    return [Rays(rays.starts + move, rays.directions, rays.lengths_mm) for move in moves]


def parts(rays: Rays) -> tuple[Tensor, Tensor, Tensor]:
    return rays.starts, rays.directions, rays.lengths_mm
