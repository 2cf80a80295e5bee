"""Trilinear sampling that can be differentiated twice."""

from __future__ import annotations

from itertools import product
from typing import Any

import torch
from torch import Tensor

from nerp.projection.backends.second_order import gradients

_LINEAR, _BORDER, _CORNERS_ALIGNED = 0, 1, False


def trilinear(values: Tensor, points: Tensor) -> Tensor:
    """Sample volumes at points, held constant beyond the outer voxel centres.

    Args:
        values: (F, C, D, H, W) floating point.
        points: (F, P, 3) index coordinates (d, h, w).

    Returns:
        (F, C, P) samples. Twice differentiable in both; beyond the outer centres there is no
        gradient in the points.
    """
    return _Trilinear.apply(values, points)


class _Trilinear(torch.autograd.Function):
    """PyTorch's sampler, whose backward pass has no derivative, with one where it is asked for."""

    @staticmethod
    def forward(ctx: Any, values: Tensor, points: Tensor) -> Tensor:
        """The samples of `trilinear`, for whose shapes see there.

        Args:
            ctx:    keeps both tensors.
            values: (F, C, D, H, W).
            points: (F, P, 3).
        """
        ctx.save_for_backward(values, points)
        grid = _normalised(values, points)
        return torch.grid_sampler_3d(values, grid, _LINEAR, _BORDER, _CORNERS_ALIGNED)[:, :, 0, 0]

    @staticmethod
    def backward(ctx: Any, upstream: Tensor) -> tuple[Tensor | None, Tensor | None]:
        """Gradients in values and points.

        Args:
            ctx:      what `forward` kept.
            upstream: (F, C, P) derivative of the loss by the samples.
        """
        values, points = ctx.saved_tensors
        if torch.is_grad_enabled():
            for_values, for_points = gradients(_by_corners, (values, points), ctx.needs_input_grad, upstream)
            return for_values, for_points
        for_values, for_grid = torch.ops.aten.grid_sampler_3d_backward(
            upstream[:, :, None, None],
            values,
            _normalised(values, points),
            _LINEAR,
            _BORDER,
            _CORNERS_ALIGNED,
            ctx.needs_input_grad,
        )
        return for_values, for_grid[:, 0, 0].flip(-1) * 2 / _sizes(values) if ctx.needs_input_grad[1] else None


def _normalised(values: Tensor, points: Tensor) -> Tensor:
    """Index coordinates as PyTorch's sampler counts them: x first, -1 and 1 at the grid's faces."""
    return ((2 * points + 1) / _sizes(values) - 1).flip(-1)[:, None, None]


def _sizes(values: Tensor) -> Tensor:
    return torch.tensor(values.shape[2:], dtype=values.dtype, device=values.device)


def _by_corners(values: Tensor, points: Tensor) -> Tensor:
    """The same samples as a sum over the eight voxels around each point, in plain operations."""
    sizes = _sizes(values)
    points = torch.minimum(points.clamp(min=0.0), sizes - 1)
    low = torch.minimum(points.detach().floor(), (sizes - 2).clamp(min=0.0))
    above = points - low
    _, height, width = values.shape[2:]
    total = values.new_zeros(())
    for corner in product((0, 1), repeat=3):
        offset = torch.tensor(corner, device=points.device, dtype=torch.int64)
        weight = torch.where(offset == 1, above, 1 - above).prod(dim=-1)
        d, h, w = torch.minimum(low + offset, sizes - 1).long().unbind(-1)
        index = ((d * height + h) * width + w)[:, None].expand(-1, values.shape[1], -1)
        total = total + weight[:, None] * values.flatten(2).gather(2, index)
    return total
