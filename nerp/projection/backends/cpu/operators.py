"""The compiled kernels as PyTorch operators: with gradients, and shapes for tracing.

Rays arrive as float64 starts, directions (F, R, 3) and lengths_mm (F, R), dense. A gradient that is
itself to be differentiated comes from the reference backend, which can be differentiated again.
"""

import math

import torch
from torch import Tensor
from torch.library import custom_op

from nerp.projection.backends import reference, second_order
from nerp.projection.backends.cpu import library
from nerp.projection.rays import Rays

_NOTHING = (0,)


@custom_op("nerp::march_cpu", mutates_args=(), device_types="cpu")
def march(
    matter: Tensor,
    opacity: Tensor,
    starts: Tensor,
    directions: Tensor,
    lengths_mm: Tensor,
    image_shape: list[int],
    n_samples: int,
    per_sample: bool,
) -> Tensor:
    """(F, R) light of fields (F, D, H, W), float32."""
    image = torch.empty(lengths_mm.shape)
    if image.numel():
        scene = library.scene(matter.shape[1:], (starts, directions, lengths_mm), image_shape, n_volumes=len(matter))
        task = library.March(n_samples, per_sample, library.address(matter), library.address(opacity))
        library.call("nerp_march", scene, task, image)
    return image


@march.register_fake
def _(matter, opacity, starts, directions, lengths_mm, image_shape, n_samples, per_sample):
    return matter.new_empty(lengths_mm.shape)


@custom_op("nerp::march_cpu_backward", mutates_args=(), device_types="cpu")
def march_backward(
    grad_image: Tensor,
    image: Tensor,
    matter: Tensor,
    opacity: Tensor,
    starts: Tensor,
    directions: Tensor,
    lengths_mm: Tensor,
    image_shape: list[int],
    n_samples: int,
    per_sample: bool,
    to_fields: bool,
    to_rays: bool,
) -> tuple[Tensor, Tensor, Tensor, Tensor, Tensor]:
    """Gradients of `march` in its five tensors; empty where not wanted."""
    fields = [torch.zeros_like(part) if to_fields else matter.new_empty(_NOTHING) for part in (matter, opacity)]
    lines = (starts, directions, lengths_mm)
    rays = [torch.zeros_like(part) if to_rays else starts.new_empty(_NOTHING) for part in lines]
    if image.numel():
        scene = library.scene(matter.shape[1:], lines, image_shape, n_volumes=len(matter))
        task = library.March(n_samples, per_sample, library.address(matter), library.address(opacity))
        to = [library.address(part) for part in (image, grad_image, *fields)]
        wanted = library.MarchGradient(*to, library.RayGradient(*map(library.address, rays)))
        library.call("nerp_march_backward", scene, task, wanted)
    return (*fields, *rays)


@march_backward.register_fake
def _(
    grad_image,
    image,
    matter,
    opacity,
    starts,
    directions,
    lengths_mm,
    image_shape,
    n_samples,
    per_sample,
    to_fields,
    to_rays,
):
    fields = [torch.empty_like(part) if to_fields else matter.new_empty(_NOTHING) for part in (matter, opacity)]
    lines = (starts, directions, lengths_mm)
    return (*fields, *(torch.empty_like(part) if to_rays else part.new_empty(_NOTHING) for part in lines))


def _keep_march(ctx, inputs, output):
    *tensors, ctx.image_shape, ctx.n_samples, ctx.per_sample = inputs
    ctx.save_for_backward(*tensors, output)


def _march_gradients(ctx, grad_image):
    *tensors, image = ctx.saved_tensors
    needs = ctx.needs_input_grad[:5]
    if torch.is_grad_enabled():

        def again(matter, opacity, *lines):
            return reference.march(matter, opacity, Rays(*lines), n_samples=ctx.n_samples, per_sample=ctx.per_sample)

        return (*second_order.gradients(again, tensors, needs, grad_image), None, None, None)
    options = (ctx.image_shape, ctx.n_samples, ctx.per_sample, any(needs[:2]), any(needs[2:]))
    grads = march_backward(grad_image.contiguous(), image, *tensors, *options)
    return (*keep(grads, needs), None, None, None)


def keep(grads, needs) -> list[Tensor | None]:
    """The gradients that are needed, None in place of the others."""
    return [grad if need else None for grad, need in zip(grads, needs, strict=True)]


march.register_autograd(_march_gradients, setup_context=_keep_march)


@custom_op("nerp::label_lengths_cpu", mutates_args=(), device_types="cpu")
def label_lengths(
    maps: Tensor, labels: list[int], starts: Tensor, directions: Tensor, lengths_mm: Tensor, image_shape: list[int]
) -> Tensor:
    """(F, K, R) mm through each of K labels, summed over maps (M, D, H, W) of float32 integers."""
    n_views, n_rays = lengths_mm.shape
    n_pixels = math.prod(image_shape)
    n_images = n_rays // max(n_pixels, 1)  # of a view: rays of several may stand in one row
    lengths = library.zeros(n_views * n_images, len(labels), n_pixels)
    if lengths.numel():
        lowest = min(labels)
        table = torch.full((max(labels) - lowest + 1,), -1, dtype=torch.int32)
        table[torch.tensor(labels) - lowest] = torch.arange(len(labels), dtype=torch.int32)
        scene = library.scene(maps.shape[1:], (starts, directions, lengths_mm), image_shape)
        channels = library.Labels(lowest, len(table), len(labels), library.address(table))
        library.call("nerp_label_lengths", scene, len(maps), maps, channels, lengths)
    return lengths.reshape(n_views, n_images, len(labels), n_pixels).movedim(1, 2).flatten(2)


@label_lengths.register_fake
def _(maps, labels, starts, directions, lengths_mm, image_shape):
    n_views, n_rays = lengths_mm.shape
    return maps.new_empty(n_views, len(labels), n_rays)
