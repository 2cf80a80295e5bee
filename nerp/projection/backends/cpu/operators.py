"""The compiled kernels as PyTorch operators: with gradients, and shapes for tracing.

Rays arrive as float64 starts, directions (F, R, 3) and lengths_mm (F, R), dense. A gradient that is
itself to be differentiated comes from the reference backend, which can be differentiated again.
"""

import math
from collections.abc import Iterable

import torch
from torch import Tensor
from torch.library import custom_op

from nerp.devices import SINGLE, WHOLE
from nerp.projection.backends import reference, second_order
from nerp.projection.backends.cpu import library
from nerp.projection.backends.cpu.direct import direct
from nerp.projection.rays import Rays

_NOTHING = (0,)
_NO_RAYS = (None, None, None)
_LENGTHS = {torch.float32: "nerp_label_lengths", torch.uint8: "nerp_byte_label_lengths"}


def _march(
    matter: Tensor,
    opacity: Tensor,
    starts: Tensor,
    directions: Tensor,
    lengths_mm: Tensor,
    image_shape: list[int],
    n_samples: int,
    per_sample: bool,
) -> Tensor:
    """The march of rays through fields.

    Args:
        matter:      (F, D, H, W) emission, unitless, float32.
        opacity:     (F, D, H, W) extinction, 1/mm, or alpha in 0..1 if `per_sample`, float32.
        starts:      (F, R, 3) where rays enter the grid, index coordinates, float64.
        directions:  (F, R, 3) index coordinates gained per mm, float64.
        lengths_mm:  (F, R) path inside the grid, mm, float64.
        image_shape: [H, W] of the images that the rays fill.
        n_samples:   midpoints of equal steps along each ray.
        per_sample:  the opacity is each sample's alpha.

    Returns:
        (F, R) light, unitless, float32. Differentiable in the five tensors.

    Source: Max 1995, eq. 10.
    """
    image = torch.empty(lengths_mm.shape, **SINGLE)
    if image.numel():
        scene = library.scene(matter.shape[1:], (starts, directions, lengths_mm), image_shape, n_volumes=len(matter))
        task = _task(matter, opacity, n_samples, per_sample)
        library.call("nerp_march", scene, task, library.floats(image, lengths_mm.numel()))
    return image


def _task(matter: Tensor, opacity: Tensor, n_samples: int, per_sample: bool) -> library.March:
    shape = matter.shape
    return library.March(n_samples, per_sample, library.floats(matter, *shape), library.floats(opacity, *shape))


_march_operator = custom_op("nerp::march_cpu", mutates_args=(), device_types="cpu")(_march)
march = direct(_march, _march_operator)


@_march_operator.register_fake
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
    """Gradients of `march` in its five tensors.

    Args:
        grad_image:  (F, R) derivative of the loss by the light.
        image:       (F, R) what `march` gave.
        matter:      (F, D, H, W) as `march` took it, and so all that follows but the last two.
        opacity:     (F, D, H, W).
        starts:      (F, R, 3).
        directions:  (F, R, 3).
        lengths_mm:  (F, R).
        image_shape: [H, W].
        n_samples:   as above.
        per_sample:  as above.
        to_fields:   whether those of matter and opacity are wanted.
        to_rays:     whether those of the rays are.

    Returns:
        Five tensors of the shapes of matter to lengths_mm; empty where not wanted.
    """
    fields = [torch.zeros_like(part) if to_fields else matter.new_empty(_NOTHING) for part in (matter, opacity)]
    lines = (starts, directions, lengths_mm)
    rays = [torch.zeros_like(part) if to_rays else starts.new_empty(_NOTHING) for part in lines]
    if image.numel():
        scene = library.scene(matter.shape[1:], lines, image_shape, n_volumes=len(matter))
        task, n_rays = _task(matter, opacity, n_samples, per_sample), lengths_mm.numel()
        lit = [library.floats(part, n_rays) for part in (image, grad_image)]
        to_grids = [library.floats(part, *matter.shape) if to_fields else None for part in fields]
        to_lines = library.RayGradient(*(library.ray_addresses(rays, n_rays) if to_rays else _NO_RAYS))
        library.call("nerp_march_backward", scene, task, library.MarchGradient(*lit, *to_grids, to_lines))
    return fields[0], fields[1], rays[0], rays[1], rays[2]


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


def keep(grads: Iterable[Tensor | None], needs: Iterable[bool]) -> list[Tensor | None]:
    """Gradients as autograd wants them.

    Args:
        grads: one for each input, of any shape: the input's.
        needs: whether each is needed.

    Returns:
        The gradients that are needed, None in place of the others.
    """
    return [grad if need else None for grad, need in zip(grads, needs, strict=True)]


_march_operator.register_autograd(_march_gradients, setup_context=_keep_march)


def _label_lengths(
    maps: Tensor, labels: list[int], starts: Tensor, directions: Tensor, lengths_mm: Tensor, image_shape: list[int]
) -> Tensor:
    """Path through each label.

    Args:
        maps:        (M, D, H, W) integers, float32 or uint8.
        labels:      K integers, ascending.
        starts:      (F, R, 3) where rays enter the grid, index coordinates, float64.
        directions:  (F, R, 3) index coordinates gained per mm, float64.
        lengths_mm:  (F, R) path inside the grid, mm, float64.
        image_shape: [H, W] of the images that the rays fill.

    Returns:
        (F, K, R) mm, float32, summed over the maps. No gradient.

    Source: Siddon 1985, with the lengths gathered by label.
    """
    n_views, n_rays = lengths_mm.shape
    n_pixels = math.prod(image_shape)
    n_images = n_rays // max(n_pixels, 1)  # of a view: rays of several may stand in one row
    lengths = library.zeros(n_views * n_images, len(labels), n_pixels)
    if lengths.numel():
        lowest = min(labels)
        table = torch.full((max(labels) - lowest + 1,), -1, dtype=torch.int32, device="cpu")
        table[torch.tensor(labels, **WHOLE) - lowest] = torch.arange(len(labels), dtype=torch.int32, device="cpu")
        scene = library.scene(maps.shape[1:], (starts, directions, lengths_mm), image_shape)
        channels = library.Labels(lowest, len(table), len(labels), library.ints(table, len(table)))
        read, written = library.address(maps, maps.dtype, maps.shape), library.floats(lengths, *lengths.shape)
        library.call(_LENGTHS[maps.dtype], scene, len(maps), read, channels, written)
    return lengths.reshape(n_views, n_images, len(labels), n_pixels).movedim(1, 2).flatten(2)


_lengths_operator = custom_op("nerp::label_lengths_cpu", mutates_args=(), device_types="cpu")(_label_lengths)
label_lengths = direct(_label_lengths, _lengths_operator)


@_lengths_operator.register_fake
def _(maps, labels, starts, directions, lengths_mm, image_shape):
    n_views, n_rays = lengths_mm.shape
    return maps.new_empty(n_views, len(labels), n_rays, dtype=torch.float32)
