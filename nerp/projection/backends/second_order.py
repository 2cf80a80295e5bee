"""Gradients that can be differentiated again, for operators whose own backward cannot."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from torch import Tensor


def gradients(
    compute: Callable[..., Tensor], tensors: Sequence[Tensor], needs: Sequence[bool], upstream: Tensor
) -> list[Tensor | None]:
    """Gradients of `compute(*tensors)` in each of its inputs alone; differentiable again where grad is enabled.

    Args:
        compute:  the operator in plain, differentiable operations.
        tensors:  its inputs, of any shapes.
        needs:    which of them want a gradient; the others get None.
        upstream: gradient of the result, of its shape.

    Returns:
        One for each input, of its shape.
    """
    create_graph = torch.is_grad_enabled()
    with torch.enable_grad():
        # A view stands for the input alone: an input may itself have been made from another one.
        inputs = [tensor.view_as(tensor) for tensor in tensors]
        requested = [tensor for tensor, need in zip(inputs, needs, strict=True) if need]
        result = compute(*inputs)
        found = iter(torch.autograd.grad(result, requested, upstream, create_graph=create_graph, allow_unused=True))
    return [next(found) if need else None for need in needs]
