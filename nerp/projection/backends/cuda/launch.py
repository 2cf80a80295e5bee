"""Kernels on tensors: shapes, buffers, grids. No autograd here."""

from __future__ import annotations

import torch
import triton
from torch import Tensor

from nerp.errors import GeometryError, UsageError
from nerp.projection.backends.cuda import interpreted
from nerp.projection.backends.cuda.labelling import label_lengths as label_lengths_kernel
from nerp.projection.backends.cuda.labelling import label_weights as label_weights_kernel
from nerp.projection.backends.cuda.marching import march_backward as march_backward_kernel
from nerp.projection.backends.cuda.marching import march_forward as march_forward_kernel
from nerp.projection.backends.cuda.walking import siddon_backward as siddon_backward_kernel
from nerp.projection.backends.cuda.walking import siddon_forward as siddon_forward_kernel

BLOCK = 128
"""Rays of one program, one for each of its threads."""
WARPS = BLOCK // 32
TILE_COLUMNS = 8
"""With a detector's width known, a warp takes 4 rows of so many pixels."""
MOST_VOXELS = 2**31 - 1


def march(matter, opacity, starts, directions, lengths_mm, columns: int, n_samples: int, per_sample: bool) -> Tensor:
    """(F, R) pixels of fields (F, D, H, W)."""
    matter, opacity = _dense(matter), _dense(opacity)
    rays = [_dense(part) for part in (starts, directions, lengths_mm)]
    image = torch.zeros_like(rays[2])
    numbers = (_shape(matter), n_samples, lengths_mm.shape[1], columns)
    _launch(march_forward_kernel, (matter, opacity, *rays, image, *numbers), len(matter), PER_SAMPLE=per_sample)
    return image


def march_backward(
    upstream, image, matter, opacity, starts, directions, lengths_mm,
    columns: int, n_samples: int, per_sample: bool, to_fields: bool, to_rays: bool,
) -> tuple[Tensor, ...]:  # fmt: skip
    """Gradients of matter, opacity, starts, directions and lengths; empty where not wanted."""
    fields, rays = [_dense(matter), _dense(opacity)], [_dense(part) for part in (starts, directions, lengths_mm)]
    for_fields = [_gradient(part, to_fields, rays[2].dtype) for part in fields]
    for_rays = [_gradient(part, to_rays, part.dtype) for part in rays]
    numbers = (_shape(matter), n_samples, lengths_mm.shape[1], columns)
    arguments = (_dense(upstream), _dense(image), *fields, *rays, *for_fields, *for_rays, *numbers)
    modes = {"PER_SAMPLE": per_sample, "FIELDS": to_fields, "RAYS": to_rays}
    _launch(march_backward_kernel, arguments, len(matter), **modes)
    return for_fields[0].to(matter.dtype), for_fields[1].to(opacity.dtype), *for_rays


def siddon(values, starts, directions, lengths_mm, columns: int) -> Tensor:
    """(B, R, C) integrals of values (C, D, H, W)."""
    values, rays = _dense(values), [_dense(part) for part in (starts, directions, lengths_mm)]
    integrals = rays[2].new_zeros(len(values), *lengths_mm.shape)
    numbers = (_shape(values), lengths_mm.numel(), columns)
    _launch(siddon_forward_kernel, (values, *rays, integrals, *numbers), len(values))
    return integrals.movedim(0, -1).contiguous()


def siddon_backward(
    upstream, image, values, starts, directions, lengths_mm, columns: int, to_fields: bool, to_rays: bool
) -> tuple[Tensor, ...]:  # fmt: skip
    """Gradients of values, starts, directions and lengths; empty where not wanted."""
    values, rays = _dense(values), [_dense(part) for part in (starts, directions, lengths_mm)]
    for_values = _gradient(values, to_fields, rays[2].dtype)
    by_channel = [part.expand(len(values), *part.shape) for part in rays]
    for_rays = [_gradient(part, to_rays, part.dtype) for part in by_channel]
    numbers = (_shape(values), lengths_mm.numel(), columns)
    arguments = (_dense(upstream.movedim(-1, 0)), values, *rays, for_values, *for_rays, *numbers)
    _launch(siddon_backward_kernel, arguments, len(values), VALUES=to_fields, RAYS=to_rays)
    return for_values.to(values.dtype), *(part.sum(dim=0) if to_rays else part for part in for_rays)


def label_lengths(maps, starts, directions, lengths_mm, columns: int, labels: list[int]) -> Tensor:
    """(B, R, K) mm through maps (M, D, H, W)."""
    maps, rays = _dense(maps), [_dense(part) for part in (starts, directions, lengths_mm)]
    tables = rays[2].new_zeros(*lengths_mm.shape, len(labels))
    column_of = _column_of(labels, maps.device)
    numbers = (min(labels), len(column_of), len(maps), len(labels), lengths_mm.numel(), columns)
    _launch(label_lengths_kernel, (maps, *rays, tables, column_of, _shape(maps), *numbers), 1)
    return tables


def label_weights(
    opacity, maps, carry, starts, directions, lengths_mm, columns: int, labels: list[int], n_samples: int
) -> Tensor:  # fmt: skip
    """(B, R, K) shares of the emission weights of opacity (D, H, W) in maps (M, d, h, w)."""
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
    columns = torch.full((max(labels) - min(labels) + 1,), -1, dtype=torch.int32)
    columns[torch.tensor(labels) - min(labels)] = torch.arange(len(labels), dtype=torch.int32)
    return columns.to(device)


def _launch(kernel, arguments: tuple, n_fields: int, **modes: bool) -> None:
    """Runs `kernel` on tiles of the detector times fields; its last two arguments are rays and columns."""
    *arguments, n_rays, columns = arguments
    wide = TILE_COLUMNS if columns else BLOCK
    columns = columns or max(n_rays, 1)
    tiles = triton.cdiv(columns, wide) * triton.cdiv(triton.cdiv(n_rays, columns), BLOCK // wide)
    if n_rays * n_fields == 0:
        return
    with torch.cuda.device_of(arguments[0]):
        kernel[(tiles, n_fields)](
            *arguments, n_rays, columns, **modes, BLOCK=BLOCK, TILE_COLUMNS=wide, num_warps=WARPS, enable_fp_fusion=True
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
    return tuple(values.shape[1:])


def _gradient(values: Tensor, wanted: bool, dtype: torch.dtype) -> Tensor:
    """Zeros to add gradients to; a tensor of nothing where none are wanted."""
    return torch.zeros(values.shape if wanted else (0,), dtype=dtype, device=values.device)
