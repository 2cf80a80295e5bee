"""Casting of rays as a PyTorch operator; the numbers are those of `nerp.projection.rays.cast_rays`."""

from ctypes import c_double, c_int32

import torch
from torch import Tensor
from torch.library import custom_op

from nerp.camera import Camera
from nerp.camera.perspective import pixel_centres
from nerp.projection import rays
from nerp.projection.backends import second_order
from nerp.projection.backends.cpu import library
from nerp.projection.backends.cpu.direct import direct
from nerp.projection.backends.cpu.operators import keep
from nerp.projection.rays import Rays


def cast_rays(camera: Camera, affine: Tensor, shape: tuple[int, int, int]) -> Rays:
    """Rays of all pixels, cut to the grid.

    Args:
        camera: B views of (H, W) pixels.
        affine: (4, 4) float64, from voxel index to world mm.
        shape:  (D, H, W) voxels.

    Returns:
        B x (H W) rays, float64, as `nerp.projection.rays.cast_rays` gives them. Twice differentiable in
        the camera.
    """
    camera = camera.to("cpu", torch.float64)
    down, right = camera.steps_mm()
    vectors = [part.contiguous() for part in (camera.source, camera.detector_centre, right, down)]
    to_index = torch.linalg.inv(affine).contiguous()
    starts, directions, lengths_mm = _cast(*vectors, to_index, list(shape), list(camera.shape))
    return Rays(starts, directions, lengths_mm, camera.shape)


def _structure(vectors, to_index, shape, image_shape) -> library.CameraBatch:
    rows, columns = image_shape
    counts = (len(vectors[0]), rows, columns, torch.get_num_threads())
    matrix = (c_double * 12)(*to_index[:3].flatten().tolist())
    places = [library.doubles(part, counts[0], 3) for part in vectors]
    return library.CameraBatch((c_int32 * 3)(*shape), *counts, matrix, *places)


def _cast_eagerly(
    source: Tensor,
    centre: Tensor,
    right: Tensor,
    down: Tensor,
    to_index: Tensor,
    shape: list[int],
    image_shape: list[int],
) -> tuple[Tensor, Tensor, Tensor]:
    """Starts and directions (B, R, 3), and lengths_mm (B, R)."""
    n_views, n_rays = len(source), image_shape[0] * image_shape[1]
    starts, directions = (source.new_empty(n_views, n_rays, 3) for _ in range(2))
    lengths_mm = source.new_empty(n_views, n_rays)
    cameras = _structure((source, centre, right, down), to_index, shape, image_shape)
    to = library.RayGradient(*library.ray_addresses((starts, directions, lengths_mm), n_views * n_rays))
    library.call("nerp_cast_rays", cameras, to)
    return starts, directions, lengths_mm


_cast_operator = custom_op("nerp::cast_rays_cpu", mutates_args=(), device_types="cpu")(_cast_eagerly)
_cast = direct(_cast_eagerly, _cast_operator)


@_cast_operator.register_fake
def _(source, centre, right, down, to_index, shape, image_shape):
    n_views, n_rays = len(source), image_shape[0] * image_shape[1]
    starts, directions = (source.new_empty(n_views, n_rays, 3) for _ in range(2))
    return starts, directions, source.new_empty(n_views, n_rays)


@custom_op("nerp::cast_rays_cpu_backward", mutates_args=(), device_types="cpu")
def _cast_backward(
    starts: Tensor,
    directions: Tensor,
    lengths_mm: Tensor,
    source: Tensor,
    centre: Tensor,
    right: Tensor,
    down: Tensor,
    to_index: Tensor,
    shape: list[int],
    image_shape: list[int],
) -> Tensor:
    """(B, 4, 3) gradients of source, centre, and the steps right and down."""
    gradient = torch.zeros(len(source), 4, 3, dtype=torch.float64, device="cpu")
    cameras = _structure((source, centre, right, down), to_index, shape, image_shape)
    n_rays = len(source) * image_shape[0] * image_shape[1]
    upstream = library.RayGradient(*library.ray_addresses((starts, directions, lengths_mm), n_rays))
    library.call("nerp_cast_rays_backward", cameras, upstream, library.doubles(gradient, len(source), 4, 3))
    return gradient


@_cast_backward.register_fake
def _(starts, directions, lengths_mm, source, centre, right, down, to_index, shape, image_shape):
    return source.new_empty(len(source), 4, 3)


def _keep_cast(ctx, inputs, output):
    *tensors, ctx.shape, ctx.image_shape = inputs
    ctx.save_for_backward(*tensors)


def _cast_gradients(ctx, *upstream):
    *vectors, to_index = ctx.saved_tensors
    needs = ctx.needs_input_grad[:4]
    if torch.is_grad_enabled():
        return (*_differentiable_gradients(ctx, upstream), None, None, None)
    gradient = _cast_backward(*(part.contiguous() for part in upstream), *vectors, to_index, ctx.shape, ctx.image_shape)
    return (*keep(gradient.unbind(1), needs), None, None, None)


def _differentiable_gradients(ctx, upstream) -> list[Tensor | None]:
    *vectors, to_index = ctx.saved_tensors

    def weighted(source, centre, right, down):
        pixels = pixel_centres(centre, down, right, tuple(ctx.image_shape)).flatten(1, 2)
        again = rays.between(source, pixels, to_index, tuple(ctx.shape))
        results = (again.starts, again.directions, again.lengths_mm)
        return sum((result * part).sum() for result, part in zip(results, upstream, strict=True))

    return second_order.gradients(weighted, vectors, ctx.needs_input_grad[:4], upstream[-1].new_ones(()))


_cast_operator.register_autograd(_cast_gradients, setup_context=_keep_cast)
