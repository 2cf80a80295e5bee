"""The Triton kernels as PyTorch operators: with gradients, and shapes for tracing.

Every operator takes its tensors first (what is projected, then the rays in the dtype of the
result), then numbers. Derivatives that have no kernel (second ones; those of labels) are computed
by `reference`.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING

import torch
from torch import Tensor
from torch.library import custom_op

from nerp.projection.backends import reference, second_order
from nerp.projection.backends.cuda import launch
from nerp.projection.rays import Rays

if TYPE_CHECKING:
    from torch.library import CustomOpDef

_RAYS = "Tensor starts, Tensor directions, Tensor lengths_mm"
_MARCH = f"Tensor matter, Tensor opacity, {_RAYS}, int columns, int n_samples, bool per_sample"
_SIDDON = f"Tensor values, {_RAYS}, int columns"
_UPSTREAM, _WANTED = "Tensor upstream, Tensor image", "bool to_fields, bool to_rays"
_FOUR, _FIVE = "(Tensor, Tensor, Tensor, Tensor)", "(Tensor, Tensor, Tensor, Tensor, Tensor)"


# What operators return, without computing it. -----------------------------------------------------


def _empty_march(matter, opacity, starts, directions, lengths_mm, columns, n_samples, per_sample) -> Tensor:
    return lengths_mm.new_empty(lengths_mm.shape)


def _empty_siddon(values, starts, directions, lengths_mm, columns) -> Tensor:
    return lengths_mm.new_empty(*lengths_mm.shape, values.shape[0])


def _empty_lengths(maps, starts, directions, lengths_mm, columns, labels) -> Tensor:
    return lengths_mm.new_empty(*lengths_mm.shape, len(labels))


def _empty_weights(opacity, maps, carry, starts, directions, lengths_mm, columns, labels, n_samples) -> Tensor:
    return lengths_mm.new_empty(*lengths_mm.shape, len(labels))


def _empty_gradients(upstream: Tensor, image: Tensor, *inputs) -> tuple[Tensor, ...]:
    tensors, (*_, to_fields, to_rays) = _split(inputs)
    wanted = [to_fields] * (len(tensors) - 3) + [to_rays] * 3
    return tuple(part.new_empty(part.shape if want else 0) for part, want in zip(tensors, wanted, strict=True))


# The same by `reference`, from the operators' arguments. -------------------------------------------


def _plain_march(matter, opacity, starts, directions, lengths_mm, columns, n_samples, per_sample) -> Tensor:
    rays = Rays(starts, directions, lengths_mm)
    return reference.march(matter, opacity, rays, n_samples=n_samples, per_sample=per_sample)


def _plain_siddon(values, starts, directions, lengths_mm, columns) -> Tensor:
    return reference.siddon(values, Rays(starts, directions, lengths_mm))


def _plain_lengths(maps, starts, directions, lengths_mm, columns, labels) -> Tensor:
    return reference.label_lengths(maps, labels, Rays(starts, directions, lengths_mm))


def _plain_weights(opacity, maps, carry, starts, directions, lengths_mm, columns, labels, n_samples) -> Tensor:
    rays = Rays(starts, directions, lengths_mm)
    return reference.label_weights(opacity, maps, labels, carry, rays, n_samples=n_samples)


# Derivatives. --------------------------------------------------------------------------------------


def _by_kernel(gradient: Callable, plain: Callable, ctx, upstream: Tensor) -> tuple[Tensor | None, ...]:
    """The gradients of an operator's inputs by `gradient`, unless they are to be differentiated again.

    Then `reference` computes both orders: at the faces of the grid, a ray's end may be told by its
    length or by the face, and second derivatives are right only if both orders tell it alike.
    """
    if torch.is_grad_enabled():
        return _by_reference(plain, ctx, upstream)
    (image, *tensors), needs = ctx.saved_tensors, ctx.needs_input_grad
    n_fields = len(tensors) - 3
    wants = any(needs[:n_fields]), any(needs[n_fields : len(tensors)])
    found = gradient(upstream, image, *tensors, *ctx.numbers, *wants)
    return *(part if need else None for part, need in zip(found, needs, strict=False)), *(None for _ in ctx.numbers)


def _by_reference(plain: Callable, ctx, upstream: Tensor) -> tuple[Tensor | None, ...]:
    """The gradients of an operator's inputs, differentiable any number of times where grad is enabled."""
    _, *tensors = ctx.saved_tensors
    needs = ctx.needs_input_grad[: len(tensors)]
    found = second_order.gradients(lambda *inputs: plain(*inputs, *ctx.numbers), tensors, needs, upstream)
    return *found, *(None for _ in ctx.numbers)


def _keep(ctx, inputs: tuple, output: Tensor) -> None:
    tensors, ctx.numbers = _split(inputs)
    ctx.save_for_backward(output, *tensors)


def _split(inputs: tuple) -> tuple[list[Tensor], list]:
    """Tensors and numbers of an operator's arguments."""
    return [x for x in inputs if isinstance(x, Tensor)], [x for x in inputs if not isinstance(x, Tensor)]


# The operators. ------------------------------------------------------------------------------------


def _define(name: str, kernel: Callable, schema: str, empty: Callable) -> CustomOpDef:
    operator = custom_op(f"nerp::{name}_cuda", kernel, mutates_args=(), schema=schema)
    operator.register_fake(empty)
    return operator


march = _define("march", launch.march, f"({_MARCH}) -> Tensor", _empty_march)
march_backward = _define(
    "march_backward", launch.march_backward, f"({_UPSTREAM}, {_MARCH}, {_WANTED}) -> {_FIVE}", _empty_gradients
)
siddon = _define("siddon", launch.siddon, f"({_SIDDON}) -> Tensor", _empty_siddon)
siddon_backward = _define(
    "siddon_backward", launch.siddon_backward, f"({_UPSTREAM}, {_SIDDON}, {_WANTED}) -> {_FOUR}", _empty_gradients
)
label_lengths = _define(
    "label_lengths",
    launch.label_lengths,
    f"(Tensor maps, {_RAYS}, int columns, int[] labels) -> Tensor",
    _empty_lengths,
)
label_weights = _define(
    "label_weights",
    launch.label_weights,
    f"(Tensor opacity, Tensor maps, Tensor carry, {_RAYS}, int columns, int[] labels, int n_samples) -> Tensor",
    _empty_weights,
)
march.register_autograd(partial(_by_kernel, march_backward, _plain_march), setup_context=_keep)
siddon.register_autograd(partial(_by_kernel, siddon_backward, _plain_siddon), setup_context=_keep)
label_lengths.register_autograd(partial(_by_reference, _plain_lengths), setup_context=_keep)
label_weights.register_autograd(partial(_by_reference, _plain_weights), setup_context=_keep)
