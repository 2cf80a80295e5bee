"""Exact integrals as a PyTorch operator, laid out as `operators` describes."""

import torch
from torch import Tensor
from torch.library import custom_op

from nerp.devices import SINGLE
from nerp.projection.backends import reference, second_order
from nerp.projection.backends.cpu import library
from nerp.projection.backends.cpu.direct import direct
from nerp.projection.backends.cpu.operators import keep
from nerp.projection.rays import Rays


def _siddon(values: Tensor, starts: Tensor, directions: Tensor, lengths_mm: Tensor, image_shape: list[int]) -> Tensor:
    """Exact path integrals.

    Args:
        values:      (C, D, H, W) 1/mm, float32.
        starts:      (F, R, 3) where rays enter the grid, index coordinates, float64.
        directions:  (F, R, 3) index coordinates gained per mm, float64.
        lengths_mm:  (F, R) path inside the grid, mm, float64.
        image_shape: [H, W] of the images that the rays fill.

    Returns:
        (C, F, R) integrals, unitless, float32. Differentiable in the four tensors.

    Source: Siddon 1985, Med. Phys. 12(2):252-255.
    """
    image = torch.empty(len(values), *lengths_mm.shape, **SINGLE)
    if image.numel():
        scene = library.scene(values.shape[1:], (starts, directions, lengths_mm), image_shape)
        library.call(
            "nerp_siddon", scene, len(values), library.floats(values, *values.shape), _image(image, lengths_mm)
        )
    return image


def siddon_hu(hu: Tensor, rays: tuple[Tensor, ...], image_shape: list[int], water_per_mm: float) -> Tensor:
    """Exact path integrals of the attenuation of a CT stored in whole HU, to the bit as `siddon` gives them of it.

    Args:
        hu:           (D, H, W) int16.
        rays:         starts, directions (F, R, 3) and lengths_mm (F, R), as `siddon` takes them.
        image_shape:  [H, W] of the images that the rays fill.
        water_per_mm: attenuation of water, 1/mm.

    Returns:
        (F, R) integrals, unitless, float32. No gradient.

    Source: Siddon 1985, Med. Phys. 12(2):252-255.
    """
    image = torch.empty(rays[2].shape, **SINGLE)
    if image.numel():
        scene = library.scene(hu.shape, rays, image_shape)
        read, written = library.address(hu, torch.int16, hu.shape), library.floats(image, *image.shape)
        library.call("nerp_siddon_hu", scene, read, water_per_mm, written)
    return image


def _image(image: Tensor, lengths_mm: Tensor, n_channels: int | None = None) -> int | None:
    """Where the numbers of an image (C, F, R) lie."""
    return library.floats(image, n_channels or len(image), lengths_mm.numel())


_siddon_operator = custom_op("nerp::siddon_cpu", mutates_args=(), device_types="cpu")(_siddon)
siddon = direct(_siddon, _siddon_operator)


@_siddon_operator.register_fake
def _(values, starts, directions, lengths_mm, image_shape):
    return values.new_empty(len(values), *lengths_mm.shape)


def siddon_ahead(values: Tensor, lines: tuple[Tensor, ...], image_shape: list[int], skip_first: bool) -> Tensor:
    """Path integrals in which the path through each voxel counts for the voxel after it.

    Args:
        values:      (C, D, H, W) 1/mm, float32.
        lines:       starts and directions (F, R, 3), index coordinates, and lengths_mm (F, R), float64.
        image_shape: [H, W] of the images that the rays fill.
        skip_first:  leave out each ray's path through its first voxel.

    Returns:
        (C, F, R) integrals, unitless, float32. No gradient.
    """
    image = torch.empty(len(values), *lines[2].shape, **SINGLE)
    if image.numel():
        scene = library.scene(values.shape[1:], lines, image_shape)
        read, written = library.floats(values, *values.shape), _image(image, lines[2])
        library.call("nerp_siddon_ahead", scene, int(skip_first), len(values), read, written)
    return image


@custom_op("nerp::siddon_cpu_to_volume", mutates_args=(), device_types="cpu")
def siddon_to_volume(
    grad_image: Tensor,
    starts: Tensor,
    directions: Tensor,
    lengths_mm: Tensor,
    image_shape: list[int],
    shape: list[int],
) -> Tensor:
    """Gradient of `siddon` in its values: the adjoint.

    Args:
        grad_image:  (C, F, R) derivative of the loss by the integrals.
        starts:      (F, R, 3) where rays enter the grid, index coordinates, float64.
        directions:  (F, R, 3) index coordinates gained per mm, float64.
        lengths_mm:  (F, R) path inside the grid, mm, float64.
        image_shape: [H, W] of the images that the rays fill.
        shape:       [D, H, W] of the values.

    Returns:
        (C, D, H, W) float32.
    """
    gradient = library.zeros(len(grad_image), *shape)
    if grad_image.numel():
        scene = library.scene(shape, (starts, directions, lengths_mm), image_shape)
        read, written = _image(grad_image, lengths_mm), library.floats(gradient, len(grad_image), *shape)
        library.call("nerp_siddon_to_volume", scene, len(grad_image), read, written)
    return gradient


@siddon_to_volume.register_fake
def _(grad_image, starts, directions, lengths_mm, image_shape, shape):
    return grad_image.new_empty(len(grad_image), *shape)


@custom_op("nerp::siddon_cpu_to_rays", mutates_args=(), device_types="cpu")
def siddon_to_rays(
    grad_image: Tensor,
    values: Tensor,
    starts: Tensor,
    directions: Tensor,
    lengths_mm: Tensor,
    image_shape: list[int],
) -> tuple[Tensor, Tensor, Tensor]:
    """Gradients of `siddon` in its rays.

    Args:
        grad_image:  (C, F, R) derivative of the loss by the integrals.
        values:      (C, D, H, W) 1/mm, float32.
        starts:      (F, R, 3) where rays enter the grid, index coordinates, float64.
        directions:  (F, R, 3) index coordinates gained per mm, float64.
        lengths_mm:  (F, R) path inside the grid, mm, float64.
        image_shape: [H, W] of the images that the rays fill.

    Returns:
        Those of starts and directions (F, R, 3), and of lengths_mm (F, R), float64.
    """
    grads = torch.zeros_like(starts), torch.zeros_like(directions), torch.zeros_like(lengths_mm)
    if grad_image.numel():
        scene = library.scene(values.shape[1:], (starts, directions, lengths_mm), image_shape)
        to = library.RayGradient(*library.ray_addresses(grads, lengths_mm.numel()))
        read = library.floats(values, *values.shape), _image(grad_image, lengths_mm, len(values))
        library.call("nerp_siddon_to_rays", scene, len(values), *read, to)
    return grads


@siddon_to_rays.register_fake
def _(grad_image, values, starts, directions, lengths_mm, image_shape):
    return torch.empty_like(starts), torch.empty_like(directions), torch.empty_like(lengths_mm)


def _keep_siddon(ctx, inputs, output):
    *tensors, ctx.image_shape = inputs
    ctx.save_for_backward(*tensors)


def _siddon_gradients(ctx, grad_image):
    values, *lines = ctx.saved_tensors
    needs = ctx.needs_input_grad[:4]
    if torch.is_grad_enabled():

        def again(values, *lines):
            return reference.siddon(values, Rays(*lines)).movedim(-1, 0)

        return (*second_order.gradients(again, (values, *lines), needs, grad_image), None)
    grad_image = grad_image.contiguous()
    to_volume, to_rays = None, (None, None, None)
    if needs[0]:
        to_volume = siddon_to_volume(grad_image, *lines, ctx.image_shape, values.shape[1:])
    if any(needs[1:]):
        to_rays = siddon_to_rays(grad_image, values, *lines, ctx.image_shape)
    return (*keep((to_volume, *to_rays), needs), None)


_siddon_operator.register_autograd(_siddon_gradients, setup_context=_keep_siddon)
