"""Projections of compiled backends as PyTorch operators: autograd, fake tensors, torch.compile.

A backend gives plain functions on plain tensors; `define` registers them as `nerp::march_<backend>`
and so on, and returns functions with the signatures of `nerp.projection.backends.reference`.
Derivatives that backends do not have (second ones; those of labels) are computed by `reference`.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

import torch
from torch import Tensor
from torch.library import custom_op

from nerp.projection.backends import reference
from nerp.projection.rays import Rays

RAYS = "Tensor starts, Tensor directions, Tensor lengths_mm"
MARCH = f"Tensor matter, Tensor opacity, {RAYS}, int columns, int n_samples, bool per_sample"
SIDDON = f"Tensor values, {RAYS}, int columns"
SCHEMAS = {
    "march": f"({MARCH}) -> Tensor",
    "march_backward": f"(Tensor upstream, Tensor image, {MARCH}, bool to_fields, bool to_rays)"
    " -> (Tensor, Tensor, Tensor, Tensor, Tensor)",
    "siddon": f"({SIDDON}) -> Tensor",
    "siddon_backward": f"(Tensor upstream, Tensor image, {SIDDON}, bool to_fields, bool to_rays)"
    " -> (Tensor, Tensor, Tensor, Tensor)",
    "label_lengths": f"(Tensor slots, {RAYS}, int columns, int n_labels) -> Tensor",
    "label_weights": f"(Tensor opacity, Tensor slots, Tensor carry, {RAYS}, int columns, int n_labels, int n_samples)"
    " -> Tensor",
}
"""Every operator takes its tensors first: what is projected, then the rays; then numbers."""


@dataclass(frozen=True)
class Kernels:
    """What a backend computes, with the arguments and results of `SCHEMAS`; none knows of autograd.

    Volumes have any floating dtype; rays are float32, or float64 with a float64 volume, and so are
    the results. Gradients have the dtypes of what they belong to; those that are not wanted are
    tensors of no elements. `image` is what the forward call returned.
    """

    march: Callable[..., Tensor]
    march_backward: Callable[..., tuple[Tensor, ...]]
    siddon: Callable[..., Tensor]
    siddon_backward: Callable[..., tuple[Tensor, ...]]
    label_lengths: Callable[..., Tensor]
    label_weights: Callable[..., Tensor]


@dataclass(frozen=True)
class Projections:
    """The functions of a backend, as those of `reference` of the same names."""

    march: Callable[..., Tensor]
    siddon: Callable[..., Tensor]
    label_lengths: Callable[..., Tensor]
    label_weights: Callable[..., Tensor]


def define(backend: str, kernels: Kernels) -> Projections:
    """Register a backend's kernels as operators, once in a process."""
    march_op = _define_integral(f"march_{backend}", "march", kernels.march, kernels.march_backward)
    siddon_op = _define_integral(f"siddon_{backend}", "siddon", kernels.siddon, kernels.siddon_backward)
    lengths_op = _define_labels(f"label_lengths_{backend}", "label_lengths", kernels.label_lengths)
    weights_op = _define_labels(f"label_weights_{backend}", "label_weights", kernels.label_weights)

    def march(matter: Tensor, opacity: Tensor, rays: Rays, *, n_samples: int, per_sample: bool) -> Tensor:
        dtype = torch.promote_types(matter.dtype, opacity.dtype)
        return march_op(matter, opacity, *_parts(rays, matter, dtype), n_samples, per_sample)

    def siddon(values: Tensor, rays: Rays) -> Tensor:
        return siddon_op(values, *_parts(rays, values, values.dtype))

    def label_lengths(slots: Tensor, rays: Rays, n_labels: int) -> Tensor:
        return lengths_op(slots, *_parts(rays, slots, torch.float32), n_labels)

    def label_weights(
        opacity: Tensor, slots: Tensor, carry: Tensor, rays: Rays, *, n_labels: int, n_samples: int
    ) -> Tensor:
        carry = carry.to(opacity.device)
        return weights_op(opacity, slots, carry, *_parts(rays, opacity, opacity.dtype), n_labels, n_samples)

    return Projections(march, siddon, label_lengths, label_weights)


def _parts(rays: Rays, values: Tensor, dtype: torch.dtype) -> tuple[Tensor, Tensor, Tensor, int]:
    rays = rays.to(torch.empty(0, dtype=dtype, device=values.device))
    return rays.starts, rays.directions, rays.lengths_mm, rays.columns


# What operators return, without computing it. -----------------------------------------------------


def _empty_march(matter, opacity, starts, directions, lengths_mm, columns, n_samples, per_sample) -> Tensor:
    return lengths_mm.new_empty(lengths_mm.shape)


def _empty_siddon(values, starts, directions, lengths_mm, columns) -> Tensor:
    return lengths_mm.new_empty(*lengths_mm.shape, values.shape[0])


def _empty_lengths(slots, starts, directions, lengths_mm, columns, n_labels) -> Tensor:
    return lengths_mm.new_empty(*lengths_mm.shape, n_labels)


def _empty_weights(
    opacity, slots, carry, starts, directions, lengths_mm, columns, n_labels, n_samples
) -> Tensor:  # fmt: skip
    return lengths_mm.new_empty(*lengths_mm.shape, n_labels)


def _empty_gradients(upstream: Tensor, image: Tensor, *inputs) -> tuple[Tensor, ...]:
    tensors, (*_, to_fields, to_rays) = _split(inputs)
    wanted = [to_fields] * (len(tensors) - 3) + [to_rays] * 3
    return tuple(part.new_empty(part.shape if want else 0) for part, want in zip(tensors, wanted, strict=True))


EMPTY = {
    "march": _empty_march,
    "siddon": _empty_siddon,
    "label_lengths": _empty_lengths,
    "label_weights": _empty_weights,
}


# The same by `reference`, from the operators' arguments. -------------------------------------------


def _plain_march(matter, opacity, starts, directions, lengths_mm, columns, n_samples, per_sample) -> Tensor:
    rays = Rays(starts, directions, lengths_mm, columns)
    return reference.march(matter, opacity, rays, n_samples=n_samples, per_sample=per_sample)


def _plain_siddon(values, starts, directions, lengths_mm, columns) -> Tensor:
    return reference.siddon(values, Rays(starts, directions, lengths_mm, columns))


def _plain_lengths(slots, starts, directions, lengths_mm, columns, n_labels) -> Tensor:
    return reference.label_lengths(slots, Rays(starts, directions, lengths_mm, columns), n_labels)


def _plain_weights(
    opacity, slots, carry, starts, directions, lengths_mm, columns, n_labels, n_samples
) -> Tensor:  # fmt: skip
    rays = Rays(starts, directions, lengths_mm, columns)
    return reference.label_weights(opacity, slots, carry, rays, n_labels=n_labels, n_samples=n_samples)


PLAIN = {
    "march": _plain_march,
    "siddon": _plain_siddon,
    "label_lengths": _plain_lengths,
    "label_weights": _plain_weights,
}


# Derivatives. --------------------------------------------------------------------------------------


def _define_integral(name: str, kind: str, kernel: Callable, backward_kernel: Callable) -> Callable:
    """An operator whose gradient is one too.

    Where the gradient is to be differentiated again, `reference` computes it from the start: at
    the faces of the grid a ray's end may be told by its length or by the face, and second
    derivatives are right only if both orders tell it alike.
    """
    operator = custom_op(f"nerp::{name}", kernel, mutates_args=(), schema=SCHEMAS[kind])
    operator.register_fake(EMPTY[kind])
    schema = SCHEMAS[f"{kind}_backward"]
    gradient = custom_op(f"nerp::{name}_backward", backward_kernel, mutates_args=(), schema=schema)
    gradient.register_fake(_empty_gradients)

    def backward(ctx, upstream: Tensor):
        if torch.is_grad_enabled():
            return _by_reference(kind, ctx, upstream)
        (image, *tensors), needs = ctx.saved_tensors, ctx.needs_input_grad
        wants = any(needs[: len(tensors) - 3]), any(needs[len(tensors) - 3 : len(tensors)])
        found = gradient(upstream, image, *tensors, *ctx.numbers, *wants)
        found = [part if need else None for part, need in zip(found, needs, strict=False)]
        return *found, *(None for _ in ctx.numbers)

    operator.register_autograd(backward, setup_context=_keep)
    return operator


def _define_labels(name: str, kind: str, kernel: Callable) -> Callable:
    """An operator whose gradient is that of `reference`."""
    operator = custom_op(f"nerp::{name}", kernel, mutates_args=(), schema=SCHEMAS[kind])
    operator.register_fake(EMPTY[kind])
    operator.register_autograd(partial(_by_reference, kind), setup_context=_keep)
    return operator


def _keep(ctx, inputs: tuple, output: Tensor) -> None:
    tensors, ctx.numbers = _split(inputs)
    ctx.save_for_backward(output, *tensors)


def _split(inputs: tuple) -> tuple[list[Tensor], list]:
    """Tensors and numbers of an operator's arguments."""
    return [x for x in inputs if isinstance(x, Tensor)], [x for x in inputs if not isinstance(x, Tensor)]


def _by_reference(kind: str, ctx, upstream: Tensor) -> tuple[Tensor | None, ...]:
    """The gradients of an operator's inputs, differentiable any number of times where grad is enabled."""
    _, *tensors = ctx.saved_tensors
    create_graph = torch.is_grad_enabled()
    with torch.enable_grad():
        wanted = [k for k, need in enumerate(ctx.needs_input_grad[: len(tensors)]) if need]
        # A view stands for the input alone, whatever else it shares its history with.
        inputs = [part.view_as(part) for part in tensors]
        image = PLAIN[kind](*inputs, *ctx.numbers)
        found = torch.autograd.grad(image, [inputs[k] for k in wanted], upstream, create_graph=create_graph)
    by_input = dict(zip(wanted, found, strict=True))
    return *(by_input.get(k) for k in range(len(tensors))), *(None for _ in ctx.numbers)
