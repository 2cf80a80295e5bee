"""Rays in chunks under a memory cap, computed again in the backward pass rather than kept."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor
from torch.utils.checkpoint import checkpoint

from nerp.projection.rays import Rays

CHUNK_BYTES = 128 * 1024**2
"""Intermediate tensors of one chunk of rays may take about this much."""


def over_rays(compute: Callable[[Rays], Tensor], rays: Rays, bytes_per_ray: int) -> Tensor:
    """Apply `compute` to (F, r) rays at a time and join the results along the rays.

    Where one chunk holds everything, nothing is computed twice. The recomputation keeps the graph,
    so that results stay differentiable any number of times.

    Args:
        compute:       from rays of (F, r) to (F, r, ...).
        rays:          (F, R).
        bytes_per_ray: what `compute` allocates for each of the R positions, backward pass included.

    Returns:
        (F, R, ...), as one call of `compute` would give.
    """
    size = max(1, CHUNK_BYTES // bytes_per_ray)
    chunks = [Rays(*chunk) for chunk in zip(*(part.split(size, dim=1) for part in rays.parts), strict=True)]
    if len(chunks) == 1:
        return compute(rays)
    return torch.cat([_again(compute, chunk) for chunk in chunks], dim=1)


def _again(compute: Callable[[Rays], Tensor], rays: Rays) -> Tensor:
    if not torch.is_grad_enabled():
        return compute(rays)

    def from_tensors(starts: Tensor, directions: Tensor, lengths_mm: Tensor) -> Tensor:
        return compute(Rays(starts, directions, lengths_mm))

    return checkpoint(from_tensors, *rays.parts, use_reentrant=False, preserve_rng_state=False)
