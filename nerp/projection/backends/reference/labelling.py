"""What each ray has of every label, in plain PyTorch."""

from __future__ import annotations

import torch
from torch import Tensor

from nerp.projection.backends.reference.chunks import over_rays
from nerp.projection.backends.reference.samples import BYTES_PER_SAMPLE, sample, sample_points
from nerp.projection.backends.reference.segments import bytes_per_ray, gather, segments
from nerp.projection.marching import emission_weights
from nerp.projection.rays import Rays, computed, grid_shape


def label_lengths(maps: Tensor, labels: list[int], rays: Rays) -> Tensor:
    """Path through each label, in one traversal.

    Args:
        maps:   (M, D, H, W) integer-valued.
        labels: K integers, ascending.
        rays:   (B, R).

    Returns:
        (B, R, K) mm, summed over the M maps. Differentiable in the rays.

    Source: Siddon 1985, with the lengths gathered by label.
    """
    shape, flat, n_labels = grid_shape(maps), _slots(maps, labels).flatten(1), len(labels)

    def collect(chunk: Rays) -> Tensor:
        index, lengths_mm = segments(chunk.reshape(-1), shape)
        total = lengths_mm.new_zeros(len(index), n_labels + 1)
        for label_map in flat:
            total = total.scatter_add(1, gather(label_map, index).long(), lengths_mm)
        return total[None, :, :n_labels]

    rays = rays.to(torch.empty(0, device=maps.device, dtype=torch.float32))
    result = over_rays(collect, rays.reshape(1, -1), bytes_per_ray(shape, channels=len(flat)) + 8 * n_labels)
    return result.reshape(*rays.lengths_mm.shape, n_labels)


def label_weights(
    opacity: Tensor, maps: Tensor, labels: list[int], carry: Tensor, rays: Rays, *, n_samples: int
) -> Tensor:
    """The fraction of each ray's emission weights that falls into each label.

    Args:
        opacity:   (D, H, W) extinction per mm.
        maps:      (M, d, h, w) integer-valued, on a grid of their own.
        labels:    K integers, ascending.
        carry:     (4, 4) from opacity's index coordinates to those of the labels.
        rays:      (B, R) through the opacity's grid.
        n_samples: midpoints of equal steps along each ray.

    Returns:
        (B, R, K) in 0..1; 0 where nothing attenuates the ray. Differentiable in opacity.
    """
    fields, carry = computed(opacity)[None, None], carry.to(rays.starts)
    slots, n_labels = _slots(maps, labels), len(labels)

    def fraction(chunk: Rays) -> Tensor:
        weights = emission_weights(sample(fields, chunk, n_samples)[:, 0], chunk.lengths_mm / n_samples)
        points = sample_points(chunk, n_samples) @ carry[:3, :3].T.to(weights) + carry[:3, 3].to(weights)
        total = weights.new_zeros(*weights.shape[:2], n_labels + 1)
        for label_map in slots:
            total = total.scatter_add(2, _nearest(label_map, points, outside=n_labels), weights)
        whole = weights.sum(dim=-1, keepdim=True)
        return total[..., :n_labels] / torch.where(whole > 0, whole, 1.0)

    result = over_rays(fraction, rays.to(fields).reshape(1, -1), n_samples * BYTES_PER_SAMPLE + 8 * n_labels)
    return result.reshape(*rays.lengths_mm.shape, n_labels)


def _slots(maps: Tensor, labels: list[int]) -> Tensor:
    """Each voxel's place 0..K-1 among the labels, or K for all else."""
    known = torch.tensor(labels, dtype=torch.int32, device=maps.device)
    values = maps.round().to(torch.int32).contiguous()
    found = torch.searchsorted(known, values, out_int32=True).clamp(max=len(labels) - 1)
    return torch.where(known[found.long()] == values, found, len(labels)).to(torch.int16)


def _nearest(label_map: Tensor, points: Tensor, *, outside: int) -> Tensor:
    """(F, r, N) integers of the voxels that points (F, r, N, 3) lie in."""
    sizes = torch.tensor(label_map.shape, device=points.device, dtype=torch.int64)
    voxels = (points.detach() + 0.5).floor().long()
    within = ((voxels >= 0) & (voxels < sizes)).all(dim=-1)
    d, h, w = torch.minimum(voxels.clamp(min=0), sizes - 1).unbind(-1)
    return torch.where(within, label_map[d, h, w].long(), outside)
