"""Kernels on tensors: shapes, buffers, grids. No autograd here."""

from __future__ import annotations

import torch
import triton
from torch import Tensor

from nerp.devices import WHOLE
from nerp.errors import GeometryError, UsageError
from nerp.projection.backends.cuda import interpreted
from nerp.projection.backends.cuda.labelling import label_lengths as label_lengths_kernel
from nerp.projection.backends.cuda.labelling import label_weights as label_weights_kernel
from nerp.projection.backends.cuda.marching import march_backward as march_backward_kernel
from nerp.projection.backends.cuda.marching import march_forward as march_forward_kernel
from nerp.projection.backends.cuda.walking import siddon_backward as siddon_backward_kernel
from nerp.projection.backends.cuda.walking import siddon_forward as siddon_forward_kernel
from nerp.projection.rays import grid_shape

BLOCK = 128
"""Rays of one program, one for each of its threads."""
WARPS = BLOCK // 32
TILE_COLUMNS = 8
"""With a detector's width known, a warp takes 4 rows of so many pixels."""
MOST_VOXELS = 2**31 - 1


def march(
    matter: Tensor, opacity: Tensor, starts: Tensor, directions: Tensor, lengths_mm: Tensor,
    columns: int, n_samples: int, per_sample: bool,
) -> Tensor:  # fmt: skip
    """The march of rays through fields.

    Args:
        matter:     (F, D, H, W) emission, unitless.
        opacity:    (F, D, H, W) extinction, 1/mm, or alpha in 0..1 if `per_sample`.
        starts:     (F, R, 3) where rays enter the grid, index coordinates, in the dtype of the result.
        directions: (F, R, 3) index coordinates gained per mm.
        lengths_mm: (F, R) path inside the grid, mm.
        columns:    the detector's pixels in a row, or 0 where they are unknown.
        n_samples:  midpoints of equal steps along each ray.
        per_sample: the opacity is each sample's alpha.

    Returns:
        (F, R) light, unitless.

    Source: Max 1995, eq. 10.
    """
    matter, opacity = _dense(matter), _dense(opacity)
    rays = [_dense(part) for part in (starts, directions, lengths_mm)]
    image = torch.zeros_like(rays[2])
    numbers = (_shape(matter), n_samples, lengths_mm.shape[1], columns)
    _launch(march_forward_kernel, (matter, opacity, *rays, image, *numbers), len(matter), PER_SAMPLE=per_sample)
    return image


def march_backward(
    upstream: Tensor, image: Tensor, matter: Tensor, opacity: Tensor,
    starts: Tensor, directions: Tensor, lengths_mm: Tensor,
    columns: int, n_samples: int, per_sample: bool, to_fields: bool, to_rays: bool,
) -> tuple[Tensor, ...]:  # fmt: skip
    """Gradients of `march` in its five tensors.

    Args:
        upstream:   (F, R) derivative of the loss by the light.
        image:      (F, R) what `march` gave.
        matter:     (F, D, H, W) as `march` took it, and so all that follows but the last two.
        opacity:    (F, D, H, W).
        starts:     (F, R, 3).
        directions: (F, R, 3).
        lengths_mm: (F, R).
        columns:    as above.
        n_samples:  as above.
        per_sample: as above.
        to_fields:  whether those of matter and opacity are wanted.
        to_rays:    whether those of the rays are.

    Returns:
        Five tensors of the shapes of matter to lengths_mm; empty where not wanted.
    """
    fields, rays = [_dense(matter), _dense(opacity)], [_dense(part) for part in (starts, directions, lengths_mm)]
    for_fields = [_gradient(part, to_fields, rays[2].dtype) for part in fields]
    for_rays = [_gradient(part, to_rays, part.dtype) for part in rays]
    numbers = (_shape(matter), n_samples, lengths_mm.shape[1], columns)
    arguments = (_dense(upstream), _dense(image), *fields, *rays, *for_fields, *for_rays, *numbers)
    modes = {"PER_SAMPLE": per_sample, "FIELDS": to_fields, "RAYS": to_rays}
    _launch(march_backward_kernel, arguments, len(matter), **modes)
    return for_fields[0].to(matter.dtype), for_fields[1].to(opacity.dtype), *for_rays


def siddon(values: Tensor, starts: Tensor, directions: Tensor, lengths_mm: Tensor, columns: int) -> Tensor:
    """Exact path integrals.

    Args:
        values:     (C, D, H, W) 1/mm.
        starts:     (B, R, 3) where rays enter the grid, index coordinates, in the dtype of the result.
        directions: (B, R, 3) index coordinates gained per mm.
        lengths_mm: (B, R) path inside the grid, mm.
        columns:    the detector's pixels in a row, or 0 where they are unknown.

    Returns:
        (B, R, C) integrals, unitless.

    Source: Siddon 1985, Med. Phys. 12(2):252-255.
    """
    values, rays = _dense(values), [_dense(part) for part in (starts, directions, lengths_mm)]
    integrals = rays[2].new_zeros(len(values), *lengths_mm.shape)
    numbers = (_shape(values), lengths_mm.numel(), columns)
    _launch(siddon_forward_kernel, (values, *rays, integrals, *numbers), len(values))
    return integrals.movedim(0, -1).contiguous()


def siddon_backward(
    upstream: Tensor, image: Tensor, values: Tensor, starts: Tensor, directions: Tensor, lengths_mm: Tensor,
    columns: int, to_fields: bool, to_rays: bool,
) -> tuple[Tensor, ...]:  # fmt: skip
    """Gradients of `siddon` in its four tensors.

    Args:
        upstream:   (B, R, C) derivative of the loss by the integrals.
        image:      (B, R, C) what `siddon` gave; not needed, but there for every gradient.
        values:     (C, D, H, W) as `siddon` took it, and so all that follows but the last two.
        starts:     (B, R, 3).
        directions: (B, R, 3).
        lengths_mm: (B, R).
        columns:    as above.
        to_fields:  whether that of the values is wanted.
        to_rays:    whether those of the rays are.

    Returns:
        Four tensors of the shapes of values to lengths_mm; empty where not wanted.
    """
    values, rays = _dense(values), [_dense(part) for part in (starts, directions, lengths_mm)]
    for_values = _gradient(values, to_fields, rays[2].dtype)
    by_channel = [part.expand(len(values), *part.shape) for part in rays]
    for_rays = [_gradient(part, to_rays, part.dtype) for part in by_channel]
    numbers = (_shape(values), lengths_mm.numel(), columns)
    arguments = (_dense(upstream.movedim(-1, 0)), values, *rays, for_values, *for_rays, *numbers)
    _launch(siddon_backward_kernel, arguments, len(values), VALUES=to_fields, RAYS=to_rays)
    return for_values.to(values.dtype), *(part.sum(dim=0) if to_rays else part for part in for_rays)


def label_lengths(
    maps: Tensor, starts: Tensor, directions: Tensor, lengths_mm: Tensor, columns: int, labels: list[int]
) -> Tensor:
    """Path through each label.

    Args:
        maps:       (M, D, H, W) integer-valued.
        starts:     (B, R, 3) where rays enter the grid, index coordinates, in the dtype of the result.
        directions: (B, R, 3) index coordinates gained per mm.
        lengths_mm: (B, R) path inside the grid, mm.
        columns:    the detector's pixels in a row, or 0 where they are unknown.
        labels:     K integers, ascending.

    Returns:
        (B, R, K) mm, summed over the maps.

    Source: Siddon 1985, with the lengths gathered by label.
    """
    maps, rays = _dense(maps), [_dense(part) for part in (starts, directions, lengths_mm)]
    tables = rays[2].new_zeros(*lengths_mm.shape, len(labels))
    column_of = _column_of(labels, maps.device)
    numbers = (min(labels), len(column_of), len(maps), len(labels), lengths_mm.numel(), columns)
    _launch(label_lengths_kernel, (maps, *rays, tables, column_of, _shape(maps), *numbers), 1)
    return tables


def label_weights(
    opacity: Tensor, maps: Tensor, carry: Tensor, starts: Tensor, directions: Tensor, lengths_mm: Tensor,
    columns: int, labels: list[int], n_samples: int,
) -> Tensor:  # fmt: skip
    """The fraction of each ray's emission weights that falls into each label.

    Args:
        opacity:    (D, H, W) extinction, 1/mm.
        maps:       (M, d, h, w) integer-valued, on a grid of their own.
        carry:      (4, 4) from opacity's index coordinates to those of the labels.
        starts:     (B, R, 3) where rays enter the grid, index coordinates, in the dtype of the result.
        directions: (B, R, 3) index coordinates gained per mm.
        lengths_mm: (B, R) path inside the grid, mm.
        columns:    the detector's pixels in a row, or 0 where they are unknown.
        labels:     K integers, ascending.
        n_samples:  midpoints of equal steps along each ray.

    Returns:
        (B, R, K) in 0..1; 0 where nothing attenuates the ray.
    """
    opacity, maps, rays = _dense(opacity), _dense(maps), [_dense(part) for part in (starts, directions, lengths_mm)]
    tables, wholes = rays[2].new_zeros(*lengths_mm.shape, len(labels)), torch.zeros_like(rays[2])
    carry = torch.cat([carry[:3, :3], carry[:3, 3:].T]).to(rays[2])
    column_of = _column_of(labels, maps.device)
    shapes = (_shape(opacity[None]), _shape(maps))
    numbers = (min(labels), len(column_of), len(maps), len(labels), n_samples, lengths_mm.numel(), columns)
    _launch(label_weights_kernel, (opacity, maps, carry, *rays, tables, wholes, column_of, *shapes, *numbers), 1)
    return tables / torch.where(wholes > 0, wholes, 1.0)[..., None]


def _column_of(labels: list[int], device: torch.device) -> Tensor:
    """The place of each integer between the lowest and the highest label among them, or -1."""
    columns = torch.full((max(labels) - min(labels) + 1,), -1, dtype=torch.int32, device="cpu")
    columns[torch.tensor(labels, **WHOLE) - min(labels)] = torch.arange(len(labels), dtype=torch.int32, device="cpu")
    return columns.to(device)


def _launch(kernel: triton.JITFunction, arguments: tuple, n_fields: int, **modes: bool) -> None:
    """Runs `kernel` on tiles of the detector times fields; its last two arguments are rays and columns."""
    *tensors, n_rays, columns = arguments
    wide = TILE_COLUMNS if columns else BLOCK
    columns = columns or max(n_rays, 1)
    tiles = triton.cdiv(columns, wide) * triton.cdiv(triton.cdiv(n_rays, columns), BLOCK // wide)
    if n_rays * n_fields == 0:
        return
    with torch.cuda.device_of(tensors[0]):
        kernel[(tiles, n_fields)](
            *tensors, n_rays, columns, **modes, BLOCK=BLOCK, TILE_COLUMNS=wide, num_warps=WARPS, enable_fp_fusion=True
        )


def _dense(values: Tensor) -> Tensor:
    """The tensor in the order kernels read it, on a device where they run."""
    if not (values.is_cuda or interpreted()):
        raise UsageError(f"backend 'cuda' got a tensor on {values.device}; move it to 'cuda' or use backend='auto'")
    return values.contiguous()


def _shape(values: Tensor) -> tuple[int, int, int]:
    """(D, H, W) of one field, which kernels number in 32 bits."""
    if values[0].numel() > MOST_VOXELS:
        raise GeometryError(f"volume has {values[0].numel()} voxels; backend 'cuda' takes at most {MOST_VOXELS}")
    return grid_shape(values)


def _gradient(values: Tensor, wanted: bool, dtype: torch.dtype) -> Tensor:
    """Zeros of the shape of `values` to add gradients to; a tensor of nothing where none are wanted."""
    return torch.zeros(values.shape if wanted else (0,), dtype=dtype, device=values.device)
