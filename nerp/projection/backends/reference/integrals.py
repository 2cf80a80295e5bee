"""Line integrals and marches in plain PyTorch."""

from __future__ import annotations

import torch
from torch import Tensor

from nerp.projection.backends.reference.chunks import over_rays
from nerp.projection.backends.reference.samples import BYTES_PER_SAMPLE, sample
from nerp.projection.backends.reference.segments import bytes_per_ray, gather, segments
from nerp.projection.marching import composite
from nerp.projection.rays import Rays, computed, grid_shape

LEAST_MM = 1e-6
"""A shorter path through a voxel is one of rounding alone."""


def siddon(values: Tensor, rays: Rays) -> Tensor:
    """Exact path integrals of piecewise constant voxels.

    Args:
        values: (C, D, H, W) 1/mm.
        rays:   (B, R).

    Returns:
        (B, R, C) unitless, float32 or better. Twice differentiable in values and rays.

    Source: Siddon 1985, Med. Phys. 12(2):252-255.
    """
    shape, flat = grid_shape(values), computed(values).flatten(1)

    def integrate(chunk: Rays) -> Tensor:
        index, lengths_mm = segments(chunk.reshape(-1), shape)
        channels = [(gather(channel, index) * lengths_mm).sum(dim=-1) for channel in flat]
        return torch.stack(channels, dim=-1)[None]

    result = over_rays(integrate, rays.to(values).reshape(1, -1), bytes_per_ray(shape, channels=len(flat)))
    return result.reshape(*rays.lengths_mm.shape, len(flat))


@torch.no_grad()
def siddon_ahead(values: Tensor, rays: Rays, *, skip_first: bool) -> Tensor:
    """Path integrals in which the path through each voxel counts for the voxel after it; the last counts for none.

    Args:
        values:     (C, D, H, W) 1/mm.
        rays:       (B, R).
        skip_first: leave out each ray's path through its first voxel.

    Returns:
        (B, R, C) unitless, float32 or better. No gradient.

    Which voxel comes next hangs on the order of crossings: it is computed in double precision.
    """
    shape, flat = grid_shape(values), values.double().flatten(1)

    def integrate(chunk: Rays) -> Tensor:
        index, lengths_mm = segments(chunk.reshape(-1), shape)
        after, lengths_mm = _ahead(lengths_mm, skip_first)
        channels = [(gather(channel, index.gather(1, after)) * lengths_mm).sum(dim=-1) for channel in flat]
        return torch.stack(channels, dim=-1)[None]

    result = over_rays(integrate, rays.to(flat).reshape(1, -1), 2 * bytes_per_ray(shape, channels=len(flat)))
    return result.reshape(*rays.lengths_mm.shape, len(flat)).to(torch.promote_types(values.dtype, torch.float32))


def _ahead(lengths_mm: Tensor, skip_first: bool) -> tuple[Tensor, Tensor]:
    """Where the voxel after each stands in its ray (R, S), and the paths that count for it, 0 where there is none.

    Args:
        lengths_mm: (R, S) path in each voxel, 0 for padding.
        skip_first: whether the first path counts for none.
    """
    n = lengths_mm.shape[1]
    place = torch.arange(n, device=lengths_mm.device, dtype=torch.int64).expand_as(lengths_mm)
    crossed = lengths_mm > LEAST_MM
    at_or_after = torch.where(crossed, place, n).flip(1).cummin(dim=1).values.flip(1)
    after = torch.cat([at_or_after[:, 1:], torch.full_like(at_or_after[:, :1], n)], dim=1)
    counts = crossed & (after < n)
    if skip_first:
        counts &= place > at_or_after[:, :1]
    return after.clamp(max=n - 1), lengths_mm * counts


def march(matter: Tensor, opacity: Tensor, rays: Rays, *, n_samples: int, per_sample: bool) -> Tensor:
    """Emission attenuated by extinction, summed along each ray.

    Args:
        matter:     (F, D, H, W) emission.
        opacity:    (F, D, H, W) extinction per mm, or alpha itself if `per_sample`.
        rays:       (F, R): those of field f run through field f.
        n_samples:  midpoints of equal steps along each ray.
        per_sample: the opacity is each sample's alpha, whatever its length.

    Returns:
        (F, R) unitless, float32 or better. Twice differentiable in fields and rays.

    Source: Max 1995, eq. 10, by `nerp.projection.marching.composite`.
    """
    fields = torch.stack([computed(matter), computed(opacity)], dim=1)
    opacity_is = "per_sample" if per_sample else "per_mm"

    def render(chunk: Rays) -> Tensor:
        emission, extinction = sample(fields, chunk, n_samples).unbind(1)
        return composite(emission, extinction, chunk.lengths_mm / n_samples, opacity_is=opacity_is)

    return over_rays(render, rays.to(fields), len(fields) * n_samples * BYTES_PER_SAMPLE)
