"""Rays of a camera through a grid: where each enters, where it points, how far it runs."""

from __future__ import annotations

from dataclasses import dataclass, replace

import torch
from torch import Tensor

from nerp.camera import Camera


@dataclass(frozen=True)
class Rays:
    """Straight paths through a grid of voxels, in voxel index space.

    Args:
        starts:     (B, R, 3) index coordinates at which each ray enters the grid.
        directions: (B, R, 3) index coordinates gained per millimetre, from the source onwards.
        lengths_mm: (B, R) path inside the grid, mm; 0 for a ray that misses it.
        image_shape: (H, W) of the images that the R rays fill row by row, where known: neighbours
                     in an image read the same memory, which some backends exploit.
    """

    starts: Tensor
    directions: Tensor
    lengths_mm: Tensor
    image_shape: tuple[int, int] | None = None

    @property
    def parts(self) -> tuple[Tensor, Tensor, Tensor]:
        """Starts and directions (B, R, 3), index coordinates, and lengths (B, R), mm."""
        return self.starts, self.directions, self.lengths_mm

    def to(self, values: Tensor) -> Rays:
        """The same rays in the dtype and on the device of `values` (of any shape), never below float32."""
        dtype = torch.promote_types(values.dtype, torch.float32)
        starts, directions, lengths_mm = (part.to(dtype).to(values.device) for part in self.parts)
        return Rays(starts, directions, lengths_mm, self.image_shape)

    def reshape(self, *batch: int) -> Rays:
        """The same rays with leading axes `batch` in place of (B, R): (*batch, 3) starts, (*batch) lengths."""
        starts, directions = (part.reshape(*batch, 3) for part in (self.starts, self.directions))
        return Rays(starts, directions, self.lengths_mm.reshape(*batch), self.image_shape)


def cast_rays(camera: Camera, affine: Tensor, shape: tuple[int, int, int]) -> Rays:
    """Rays from the source to the centre of every pixel, cut to the grid.

    A ray is the *segment* between source and pixel: it starts no earlier than the source, should
    that lie inside the grid, and ends no later than the detector, since what lies behind a detector
    casts no shadow on it. The grid ends half a voxel outside its outer voxel centres.

    Args:
        camera: B views of (H, W) pixels.
        affine: (4, 4) float64, from voxel index to world mm.
        shape:  (D, H, W) voxels.

    Returns:
        B x (H W) rays, float64, row by row. Differentiable in the camera, also where a ray runs
        parallel to an axis; a ray that misses the grid has length 0 and no gradient.
    """
    camera = camera.to(torch.float64)
    to_index = torch.linalg.inv(affine).to(camera.source.device)
    lines = between(camera.source, camera.pixels().flatten(1, 2), to_index, shape)
    return replace(lines, image_shape=camera.shape)


def between(source: Tensor, pixels: Tensor, to_index: Tensor, shape: tuple[int, int, int]) -> Rays:
    """Rays from sources to points, cut to the grid.

    Args:
        source:   (B, 3) world mm, float64.
        pixels:   (B, R, 3) where they end, world mm, float64.
        to_index: (4, 4) from world mm to voxel index.
        shape:    (D, H, W) voxels.

    Returns:
        B x R rays. Differentiable in source and pixels.
    """
    offset = pixels - source[:, None]
    origin = (source @ to_index[:3, :3].T + to_index[:3, 3])[:, None]
    span = offset @ to_index[:3, :3].T
    enter, leave = _clip(origin, span, shape)
    full_mm = offset.norm(dim=-1)
    starts, lengths_mm = origin + enter[..., None] * span, (leave - enter) * full_mm
    return Rays(starts, span / full_mm[..., None], lengths_mm)


def computed(values: Tensor) -> Tensor:
    """The values (any shape and unit) in the dtype of what is computed from them: never below float32."""
    return values.to(torch.promote_types(values.dtype, torch.float32))


def grid_shape(values: Tensor) -> tuple[int, int, int]:
    """(D, H, W) voxels of values (..., D, H, W)."""
    depth, height, width = values.shape[-3:]
    return depth, height, width


def _clip(origin: Tensor, span: Tensor, shape: tuple[int, int, int]) -> tuple[Tensor, Tensor]:
    """Fractions of source-to-pixel at which rays enter and leave the grid: the slab method."""
    parallel = span.abs() < 1e-12
    safe = torch.where(parallel, torch.ones_like(span), span)
    upper = torch.tensor(shape, dtype=span.dtype, device=span.device) - 0.5
    first, second = (-0.5 - origin) / safe, (upper - origin) / safe
    inside = (origin > -0.5) & (origin < upper)
    anywhere = torch.where(inside, -torch.inf, torch.inf)
    enter = torch.where(parallel, anywhere, torch.minimum(first, second)).amax(dim=-1).clamp(min=0.0)
    leave = torch.where(parallel, torch.inf, torch.maximum(first, second)).amin(dim=-1).clamp(max=1.0)
    hit = enter < leave
    return torch.where(hit, enter, 0.0), torch.where(hit, leave, 0.0)
