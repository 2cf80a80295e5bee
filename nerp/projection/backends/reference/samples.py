"""Where a march samples its fields, and what it finds there."""

from __future__ import annotations

import torch
from torch import Tensor

from nerp.projection.backends.reference.trilinear import trilinear
from nerp.projection.rays import Rays

BYTES_PER_SAMPLE = 120
"""What marching allocates for one sample of one ray, backward pass included."""


def sample(fields: Tensor, rays: Rays, n_samples: int) -> Tensor:
    """Trilinear values of fields at the samples of rays.

    Args:
        fields:    (F, C, D, H, W) floating point, any unit.
        rays:      (F, R): those of field f run through field f.
        n_samples: N midpoints of equal steps along each ray.

    Returns:
        (F, C, R, N) in the fields' unit. Twice differentiable in fields and rays.
    """
    points = sample_points(rays, n_samples)
    return trilinear(fields, points.flatten(1, 2)).unflatten(2, points.shape[1:3])


def sample_points(rays: Rays, n_samples: int) -> Tensor:
    """Midpoints of equal steps between each ray's own entry and exit.

    Args:
        rays:      (F, R).
        n_samples: N steps.

    Returns:
        (F, R, N, 3) index coordinates, from the source on. Differentiable in the rays.
    """
    middles = (torch.arange(n_samples, dtype=rays.starts.dtype, device=rays.starts.device) + 0.5) / n_samples
    along_mm = rays.lengths_mm[..., None] * middles
    return rays.starts[..., None, :] + along_mm[..., None] * rays.directions[..., None, :]
