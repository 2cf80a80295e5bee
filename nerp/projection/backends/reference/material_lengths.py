"""Areal densities of materials in plain PyTorch."""

from __future__ import annotations

import torch
from torch import Tensor

from nerp.projection.backends import knots
from nerp.projection.backends.reference.chunks import over_rays
from nerp.projection.backends.reference.segments import bytes_per_ray, gather, segments
from nerp.projection.rays import Rays, computed, grid_shape


def areal_densities(codes: Tensor, densities: Tensor, group_of: list[int], n_groups: int, rays: Rays) -> Tensor:
    """How much of every material lies on each ray, in one traversal.

    Args:
        codes:     (D, H, W) code of each voxel, which carries its slot.
        densities: (S, N, M) g/cm² per mm of M materials at N knots in S slots.
        group_of:  S places among the groups.
        n_groups:  G.
        rays:      (B, R).

    Returns:
        (B, R, G M) g/cm², float32 or better. Differentiable in codes, densities and rays.

    Source: Siddon 1985, with the lengths gathered by code.
    """
    n_slots, n_knots, _ = densities.shape
    paths_mm = knot_paths(codes, n_slots, n_knots, rays)
    return knots.areal_densities(paths_mm, densities, group_of, n_groups)


def knot_paths(codes: Tensor, n_slots: int, n_knots: int, rays: Rays) -> Tensor:
    """Path that counts for each knot of each slot.

    Args:
        codes:   (D, H, W) code of each voxel, which carries its slot.
        n_slots: S.
        n_knots: N.
        rays:    (B, R).

    Returns:
        (B, R, S, N) mm; they sum to each ray's length. Differentiable in codes and rays.
    """
    shape, flat = grid_shape(codes), computed(codes).flatten()

    def collect(chunk: Rays) -> Tensor:
        index, lengths_mm = segments(chunk.reshape(-1), shape)
        places, slots = knots.split(gather(flat, index))
        empty = lengths_mm.new_zeros(len(index), n_slots)
        paths = [empty.scatter_add(1, slots, lengths_mm * knots.hat(places, knot)) for knot in range(n_knots)]
        return torch.stack(paths, dim=-1)[None]

    cost = bytes_per_ray(shape, channels=2 + 2 * n_knots) + 8 * n_slots * n_knots
    result = over_rays(collect, rays.to(codes).reshape(1, -1), cost)
    return result.reshape(*rays.lengths_mm.shape, n_slots, n_knots)
