"""Areal densities of materials by the compiled kernel, as a PyTorch operator."""

import math
from ctypes import c_int32

import torch
from torch import Tensor
from torch.library import custom_op

from nerp.errors import GeometryError
from nerp.projection.backends import knots
from nerp.projection.backends.cpu import library
from nerp.projection.backends.cpu.direct import direct

KNOTS, MATERIALS = 8, 8
"""`material_knots` and `most_materials` of `native/task.h`: fewer are filled up with zeros."""


def areal_densities(
    codes: Tensor, densities: Tensor, group_of: list[int], n_groups: int, rays: tuple[Tensor, ...], shape: list[int]
) -> Tensor:
    """How much of every material lies on each ray, in one traversal.

    Args:
        codes:     (D, H, W) code of each voxel, which carries its slot; float32.
        densities: (S, N, M) g/cm² per mm of M materials at up to `KNOTS` knots in S slots.
        group_of:  S places among the groups.
        n_groups:  G.
        rays:      starts and directions (B, R, 3), and lengths_mm (B, R), float64, dense.
        shape:     [H, W] of the images that the rays fill.

    Returns:
        (B, R, G M) g/cm², float32. Differentiable in the densities.
    """
    n_slots, n_knots, n_materials = densities.shape
    wants_gradient = torch.is_grad_enabled() and densities.requires_grad
    if n_materials > MATERIALS or wants_gradient:
        knots_apart = torch.eye(n_knots, dtype=torch.float32, device="cpu").expand(n_slots, -1, -1)
        paths_mm = _project(codes, _filled(knots_apart), list(range(n_slots)), n_slots, n_knots, *rays, shape)
        by_slot = paths_mm.mT.unflatten(2, (n_slots, n_knots))
        return knots.areal_densities(by_slot, densities, group_of, n_groups)
    return _project(codes, _filled(densities.detach()), group_of, n_groups, n_materials, *rays, shape).mT


def _filled(densities: Tensor) -> Tensor:
    """(S, `KNOTS`, `MATERIALS`) as the kernel reads them."""
    n_slots, n_knots, n_materials = densities.shape
    filled = torch.zeros(n_slots, KNOTS, MATERIALS, dtype=torch.float32, device="cpu")
    filled[:, :n_knots, :n_materials] = densities
    return filled


def _project_eagerly(
    codes: Tensor,
    densities: Tensor,
    group_of: list[int],
    n_groups: int,
    n_materials: int,
    starts: Tensor,
    directions: Tensor,
    lengths_mm: Tensor,
    image_shape: list[int],
) -> Tensor:
    """(B, G M, R) g/cm²."""
    n_views, n_rays = lengths_mm.shape
    if len(group_of) != len(densities) or not all(0 <= group < n_groups for group in group_of):
        raise GeometryError(f"{len(densities)} slots are in groups {group_of}; expected each in one of {n_groups}")
    n_pixels = math.prod(image_shape)
    n_images = n_rays // max(n_pixels, 1)  # of a view: rays of several may stand in one row
    sums = library.zeros(n_views * n_images, n_groups * n_materials, n_pixels)
    if sums.numel():
        scene = library.scene(codes.shape, (starts, directions, lengths_mm), image_shape)
        places = torch.tensor(group_of, dtype=torch.int32, device="cpu")
        table = library.ints(places, len(densities)), library.floats(densities, len(densities), KNOTS, MATERIALS)
        slots = library.Materials(len(densities), n_groups, n_materials, *table)
        read, written = library.floats(codes, *codes.shape), library.floats(sums, *sums.shape)
        library.call("nerp_materials", scene, read, slots, written)
    return sums.reshape(n_views, n_images, n_groups * n_materials, n_pixels).movedim(1, 2).flatten(2)


_project_operator = custom_op("nerp::areal_densities_cpu", mutates_args=(), device_types="cpu")(_project_eagerly)
_project = direct(_project_eagerly, _project_operator)


@_project_operator.register_fake
def _(codes, densities, group_of, n_groups, n_materials, starts, directions, lengths_mm, image_shape):
    n_views, n_rays = lengths_mm.shape
    return codes.new_empty(n_views, n_groups * n_materials, n_rays)


def mean_densities(codes: Tensor, densities: Tensor, factors: tuple[int, int, int]) -> Tensor:
    """Mean densities of blocks of voxels; what is missing of a block at the far rim counts as nothing. No gradient.

    Args:
        codes:     (D, H, W) code of each voxel, which carries its slot; float32, contiguous.
        densities: (S, N, M) g/cm³ of up to `MATERIALS` at up to `KNOTS` knots in S slots.
        factors:   voxels of a block along each axis.

    Returns:
        (M, d, h, w) g/cm³, float32.
    """
    n_slots, _, n_materials = densities.shape
    counts = [-(-size // factor) for size, factor in zip(codes.shape, factors, strict=True)]
    means = torch.empty(n_materials, *counts, dtype=torch.float32, device="cpu")
    if means.numel():
        blocks = library.Blocks((c_int32 * 3)(*codes.shape), (c_int32 * 3)(*factors), torch.get_num_threads())
        table = _filled(densities.detach())
        slots = library.Materials(n_slots, n_slots, n_materials, None, library.floats(table, n_slots, KNOTS, MATERIALS))
        read, written = library.floats(codes, *codes.shape), library.floats(means, *means.shape)
        library.call("nerp_mean_densities", blocks, read, slots, written)
    return means
