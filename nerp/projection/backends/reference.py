"""The plain backend: PyTorch alone, any device and dtype, differentiable twice; the tests' oracle."""

from __future__ import annotations

import torch
from torch import Tensor

from nerp.projection.backends.chunks import over_rays
from nerp.projection.backends.segments import BYTES_PER_SLAB, segments
from nerp.projection.backends.trilinear import trilinear
from nerp.projection.rays import Rays
from nerp.projection.rays import cast_rays as cast_rays

BYTES_PER_SAMPLE = 120
"""What marching allocates for one sample of one ray, backward pass included."""


def siddon(values: Tensor, rays: Rays) -> Tensor:
    """Exact path integrals of piecewise constant voxels.

    Args:
        values: (C, D, H, W) 1/mm.
        rays:   (B, R).

    Returns:
        (B, R, C), float32 or better. Twice differentiable in values and rays.
    """
    shape, flat = values.shape[1:], _at_least_float32(values).flatten(1)

    def integrate(chunk: Rays) -> Tensor:
        index, lengths_mm = segments(chunk.reshape(-1), shape)
        channels = [(_gather(channel, index) * lengths_mm).sum(dim=-1) for channel in flat]
        return torch.stack(channels, dim=-1)[None]

    result = over_rays(integrate, rays.to(values).reshape(1, -1), _bytes_per_ray(shape, channels=len(flat)))
    return result.reshape(*rays.lengths_mm.shape, len(flat))


def label_lengths(maps: Tensor, labels: list[int], rays: Rays) -> Tensor:
    """Path through each label, in one traversal.

    Args:
        maps:   (M, D, H, W) integer-valued.
        labels: K integers, ascending.
        rays:   (B, R).

    Returns:
        (B, R, K) mm, summed over the M maps. Differentiable in the rays.
    """
    shape, flat, n_labels = maps.shape[1:], _slots(maps, labels).flatten(1), len(labels)

    def collect(chunk: Rays) -> Tensor:
        index, lengths_mm = segments(chunk.reshape(-1), shape)
        total = lengths_mm.new_zeros(len(index), n_labels + 1)
        for label_map in flat:
            total = total.scatter_add(1, _gather(label_map, index).long(), lengths_mm)
        return total[None, :, :n_labels]

    rays = rays.to(torch.empty(0, device=maps.device))
    result = over_rays(collect, rays.reshape(1, -1), _bytes_per_ray(shape, channels=len(flat)) + 8 * n_labels)
    return result.reshape(*rays.lengths_mm.shape, n_labels)


def march(matter: Tensor, opacity: Tensor, rays: Rays, *, n_samples: int, per_sample: bool) -> Tensor:
    """Emission dimmed by extinction, summed along each ray.

    Args:
        matter:     (F, D, H, W) emission.
        opacity:    (F, D, H, W) extinction per mm, or alpha itself if `per_sample`.
        rays:       (F, R): those of field f run through field f.
        n_samples:  midpoints of equal steps along each ray.
        per_sample: the opacity is each sample's alpha, whatever its length.

    Returns:
        (F, R), float32 or better. Twice differentiable in fields and rays.
    """
    fields = torch.stack([_at_least_float32(matter), _at_least_float32(opacity)], dim=1)

    def render(chunk: Rays) -> Tensor:
        emission, extinction = _sample(fields, chunk, n_samples).unbind(1)
        weights = _weights(extinction, chunk.lengths_mm / n_samples, per_sample)
        return (weights * emission).sum(dim=-1)

    return over_rays(render, rays.to(fields), len(fields) * n_samples * BYTES_PER_SAMPLE)


def label_weights(
    opacity: Tensor, maps: Tensor, labels: list[int], carry: Tensor, rays: Rays, *, n_samples: int
) -> Tensor:
    """Share of each ray's emission weights that falls into each label.

    Args:
        opacity:   (D, H, W) extinction per mm.
        maps:      (M, d, h, w) integer-valued, on a grid of their own.
        labels:    K integers, ascending.
        carry:     (4, 4) from opacity's index coordinates to those of the labels.
        rays:      (B, R) through the opacity's grid.
        n_samples: midpoints of equal steps along each ray.

    Returns:
        (B, R, K) in 0..1; 0 where nothing dims the ray. Differentiable in opacity.
    """
    fields, carry = _at_least_float32(opacity)[None, None], carry.to(rays.starts)
    slots, n_labels = _slots(maps, labels), len(labels)

    def share(chunk: Rays) -> Tensor:
        weights = _weights(_sample(fields, chunk, n_samples)[:, 0], chunk.lengths_mm / n_samples, False)
        points = _points(chunk, n_samples) @ carry[:3, :3].T.to(weights) + carry[:3, 3].to(weights)
        total = weights.new_zeros(*weights.shape[:2], n_labels + 1)
        for label_map in slots:
            total = total.scatter_add(2, _nearest(label_map, points, outside=n_labels), weights)
        whole = weights.sum(dim=-1, keepdim=True)
        return total[..., :n_labels] / torch.where(whole > 0, whole, 1.0)

    result = over_rays(share, rays.to(fields).reshape(1, -1), n_samples * BYTES_PER_SAMPLE + 8 * n_labels)
    return result.reshape(*rays.lengths_mm.shape, n_labels)


def _weights(extinction: Tensor, step_mm: Tensor, per_sample: bool) -> Tensor:
    """T_i alpha_i of samples (..., N) ordered from the source: Max 1995, eq. 10, discretised.

    Extinction per mm gives alpha = 1 - exp(-extinction step), so that uniform matter does not
    notice the number of samples.
    """
    step_mm = step_mm[..., None]
    if per_sample:
        alpha = torch.where(step_mm > 0, extinction, 0.0)
        passed = torch.cumprod(1 - alpha, dim=-1)
        before = torch.cat([torch.ones_like(passed[..., :1]), passed[..., :-1]], dim=-1)
        return before * alpha
    depth = extinction * step_mm
    return torch.exp(depth - depth.cumsum(dim=-1)) * -torch.expm1(-depth)


def _sample(fields: Tensor, rays: Rays, n_samples: int) -> Tensor:
    """(F, C, r, N) values of the fields at the rays' samples."""
    points = _points(rays, n_samples)
    return trilinear(fields, points.flatten(1, 2)).unflatten(2, points.shape[1:3])


def _points(rays: Rays, n_samples: int) -> Tensor:
    """(F, r, N, 3) midpoints of equal steps between each ray's own entry and exit."""
    middles = (torch.arange(n_samples, dtype=rays.starts.dtype, device=rays.starts.device) + 0.5) / n_samples
    along_mm = rays.lengths_mm[..., None] * middles
    return rays.starts[..., None, :] + along_mm[..., None] * rays.directions[..., None, :]


def _slots(maps: Tensor, labels: list[int]) -> Tensor:
    """Each voxel's place 0..K-1 among the labels, or K for all else."""
    known = torch.tensor(labels, dtype=torch.int32, device=maps.device)
    values = maps.round().to(torch.int32).contiguous()
    found = torch.searchsorted(known, values, out_int32=True).clamp(max=len(labels) - 1)
    return torch.where(known[found.long()] == values, found, len(labels)).to(torch.int16)


def _nearest(label_map: Tensor, points: Tensor, *, outside: int) -> Tensor:
    """(F, r, N) integers of the voxels that points (F, r, N, 3) lie in."""
    sizes = torch.tensor(label_map.shape, device=points.device)
    voxels = (points.detach() + 0.5).floor().long()
    within = ((voxels >= 0) & (voxels < sizes)).all(dim=-1)
    d, h, w = torch.minimum(voxels.clamp(min=0), sizes - 1).unbind(-1)
    return torch.where(within, label_map[d, h, w].long(), outside)


def _gather(flat: Tensor, index: Tensor) -> Tensor:
    return flat.index_select(0, index.flatten()).view(index.shape)


def _at_least_float32(values: Tensor) -> Tensor:
    return values.to(torch.promote_types(values.dtype, torch.float32))


def _bytes_per_ray(shape: tuple[int, int, int], channels: int) -> int:
    return (max(shape) + 2) * (BYTES_PER_SLAB + 24 * channels)
