"""The voxels that a ray crosses and the length of its path in each, without sorting.

A ray is mirrored so that it only ever climbs, and cut into slabs between the planes of the axis
along which it climbs fastest. Within one slab it can cross at most one plane of each other axis,
so a slab holds at most three segments, in an order that two comparisons settle.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from nerp.projection.rays import Rays

BYTES_PER_SLAB = 260
"""What `segments` and a gather on top of it allocate for one slab of one ray, backward included."""


def segments(rays: Rays, shape: tuple[int, int, int]) -> tuple[Tensor, Tensor]:
    """Voxels along each ray, with the path in each.

    Args:
        rays:  (R,) rays through a grid of `shape`.
        shape: (D, H, W) voxels.

    Returns:
        index:      (R, 3 S) flat voxel numbers, int64, in the order of the path; a voxel may recur.
        lengths_mm: (R, 3 S) path within each, mm, 0 for padding. Differentiable in the rays.

    Source: the parametric planes of Siddon 1985, walked along the driving axis.
    """
    walk = _climb(rays, shape)
    edges = _slab_edges(walk, rays.lengths_mm)
    before, after = edges[:, :-1], edges[:, 1:]
    slab = _floor(walk.starts[:, :1]) + torch.arange(before.shape[1], device=edges.device, dtype=torch.int64)
    driving = walk.number(0, slab) + walk.base[:, None]
    (cut_one, here_one, next_one), (cut_two, here_two, next_two) = (_crossing(walk, k, before, after) for k in (1, 2))
    middle = torch.where(cut_one <= cut_two, next_one + here_two, here_one + next_two)
    index = torch.stack([here_one + here_two, middle, next_one + next_two], dim=-1) + driving[..., None]
    low, high = torch.minimum(cut_one, cut_two), torch.maximum(cut_one, cut_two)
    lengths_mm = torch.stack([low - before, high - low, after - high], dim=-1)
    return index.flatten(1), lengths_mm.flatten(1)


def gather(flat: Tensor, index: Tensor) -> Tensor:
    """The values of voxels.

    Args:
        flat:  (V,) values of a grid in the order of its voxels, any unit.
        index: (R, S) flat voxel numbers.

    Returns:
        (R, S) in the unit of `flat`. Differentiable in it.
    """
    return flat.index_select(0, index.flatten()).view(index.shape)


def bytes_per_ray(shape: tuple[int, int, int], channels: int) -> int:
    """What `segments` of one ray, and `gather` on top of it, allocate at most, backward pass included.

    Args:
        shape:    (D, H, W) voxels.
        channels: values gathered for each voxel.
    """
    return (max(shape) + 2) * (BYTES_PER_SLAB + 24 * channels)


@dataclass(frozen=True)
class _Climb:
    """Rays mirrored to climb along every axis, the axis of the fastest climb first.

    Args:
        starts:  (R, 3) voxels above the grid's lower faces.
        speeds:  (R, 3) voxels gained per mm, >= 0.
        counts:  (R, 3) voxels of the grid along each axis.
        strides: (R, 3) change of the flat voxel number per voxel climbed.
        base:    (R,) flat number of the voxel that the climb counts from.
    """

    starts: Tensor
    speeds: Tensor
    counts: Tensor
    strides: Tensor
    base: Tensor

    def number(self, axis: int, voxel: Tensor) -> Tensor:
        """The part of a voxel's flat number that it has along one axis.

        Args:
            axis:  0 to 2, in the order of these rays.
            voxel: (R, S) voxels climbed, int64; clamped to the grid.

        Returns:
            (R, S) int64.
        """
        last = self.counts[:, axis : axis + 1] - 1
        return torch.minimum(voxel.clamp(min=0), last) * self.strides[:, axis : axis + 1]


def _climb(rays: Rays, shape: tuple[int, int, int]) -> _Climb:
    device = rays.starts.device
    counts = torch.tensor(shape, device=device, dtype=torch.int64)
    strides = torch.tensor([shape[1] * shape[2], shape[2], 1], device=device, dtype=torch.int64)
    mirrored = rays.directions < 0
    speeds = rays.directions.abs()
    starts = torch.where(mirrored, counts.to(rays.starts) - 0.5 - rays.starts, rays.starts + 0.5)
    fastest = speeds.argmax(dim=-1, keepdim=True)
    order = (fastest + torch.arange(3, device=device, dtype=torch.int64)) % 3
    signed = torch.where(mirrored, -strides, strides)
    base = (mirrored * (counts - 1) * strides).sum(dim=-1)
    starts, speeds, counts, signed = (
        part.expand_as(order).gather(1, order) for part in (starts, speeds, counts, signed)
    )
    return _Climb(starts, speeds, counts, signed, base)


def _slab_edges(walk: _Climb, lengths_mm: Tensor) -> Tensor:
    """(R, S + 1) path at which a ray meets the planes of its driving axis, from 0 to its length."""
    start, speed = walk.starts[:, :1], walk.speeds[:, :1]
    climbs = (speed[:, 0] * lengths_mm).detach()
    n_slabs = math.ceil(float(climbs.amax())) + 1 if len(climbs) else 1
    planes = _floor(start) + torch.arange(1, n_slabs + 1, device=start.device, dtype=torch.int64)
    edges = torch.minimum((planes - start) / speed, lengths_mm[:, None])
    return torch.cat([torch.zeros_like(start), edges], dim=1)


def _crossing(walk: _Climb, axis: int, before: Tensor, after: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Where a slab's ray crosses a plane of a minor axis, and the voxel's number on either side."""
    start, speed = walk.starts[:, axis : axis + 1], walk.speeds[:, axis : axis + 1]
    voxel = _floor(start + speed * before)
    still = speed < 1e-12
    at = torch.where(still, torch.inf, (voxel + 1 - start) / torch.where(still, 1.0, speed))
    return torch.minimum(torch.maximum(at, before), after), walk.number(axis, voxel), walk.number(axis, voxel + 1)


def _floor(values: Tensor) -> Tensor:
    return values.detach().floor().long()
