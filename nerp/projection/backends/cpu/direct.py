"""Kernels called without PyTorch's operator between, where nobody asks for a gradient or a trace."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor


def direct(body: Callable[..., Any], operator: Callable[..., Any]) -> Callable[..., Any]:
    """What calls the body itself where it can, and else the operator.

    The first call of any operator imports PyTorch's compiler, which takes seconds: as long as many an image.

    Args:
        body:     computes, on plain tensors on the CPU, without gradients.
        operator: of the body, with gradients, and shapes for tracing.

    Returns:
        Called as both are. Differentiable as the operator is.
    """

    def call(*arguments: Any) -> Any:
        tensors = [one for one in arguments if isinstance(one, Tensor)]
        is_wanted = torch.is_grad_enabled() and any(one.requires_grad for one in tensors)
        is_plain = all(type(one) is Tensor for one in tensors) and not torch.compiler.is_compiling()
        return body(*arguments) if is_plain and not is_wanted else operator(*arguments)

    call.__doc__ = body.__doc__
    return call
