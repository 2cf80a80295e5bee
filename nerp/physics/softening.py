"""Shadows of voxels, as soft as what they were sampled from."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional

from nerp.camera import Camera

SHARP_PIXELS = 0.5
"""Shadows no wider than this part of a pixel are left as they are."""


def voxel_shadow_px(camera: Camera, affine: Tensor, shape: tuple[int, int, int]) -> tuple[float, float]:
    """How wide the shadow of the middle voxel is, in pixels, down and across: the widest of its three edges.

    Args:
        camera: of the first of its views, mm.
        affine: (4, 4) from voxel index to world mm.
        shape:  (D, H, W) voxels.
    """
    double = camera.to("cpu", torch.float64)
    source, centre = double.source[0].detach(), double.detector_centre[0].detach()
    index = torch.tensor([*((count - 1) / 2 for count in shape), 1.0], dtype=torch.float64, device="cpu")
    middle = (affine.to("cpu", torch.float64) @ index)[:3]
    enlarged = float((centre - source).norm() / (middle - source).norm().clamp_min(1.0))
    edges = affine[:3, :3].to(torch.float64)
    widths = [
        enlarged * float((edges.T @ direction[0].detach()).abs().max()) / float(pixel)
        for direction, pixel in zip((double.image_down, double.image_right), double.pixel_mm[0].detach(), strict=True)
    ]
    return widths[0], widths[1]


def softened(image: Tensor, widths_px: tuple[float, float]) -> Tensor:
    """An image averaged over the shadow of a voxel, so that voxels leave no blocks and no stripes.

    Constant voxels, averaged so, are what linear interpolation between them gives.

    Args:
        image:     (B, K, H, W), any unit.
        widths_px: of the box averaged over, down and across, in pixels.

    Returns:
        (B, K, H, W). Differentiable; an even image stays as it is.
    """
    if max(widths_px) <= SHARP_PIXELS:
        return image
    # one channel after the other: all at once would go to memory and back for each of a box's pixels
    return torch.cat([_softened_channel(channel, widths_px) for channel in image.split(1, dim=1)], dim=1)


def _softened_channel(image: Tensor, widths_px: tuple[float, float]) -> Tensor:
    """(B, 1, H, W)."""
    if not image.requires_grad and not bool(image.any()):
        return image
    for axis, width in zip((2, 3), widths_px, strict=True):
        if width > SHARP_PIXELS:
            image = _averaged(image, width, axis)
    return image


def _averaged(image: Tensor, width: float, axis: int) -> Tensor:
    """The mean over `width` pixels, the outer two in part."""
    reach = min(int((width - 1) / 2 + 1 - 1e-9) if width > 1 else 1, image.shape[axis] - 1)
    offsets = torch.arange(-reach, reach + 1, dtype=torch.float64, device="cpu")
    weights = (width / 2 - (offsets.abs() - 0.5)).clamp(0.0, 1.0)
    pad = (0, 0, reach, reach) if axis == 2 else (reach, reach, 0, 0)
    wider = functional.pad(image, pad, mode="replicate")
    parts = (weights / weights.sum()).tolist()
    total = wider.narrow(axis, 0, image.shape[axis]) * parts[0]
    for place, part in enumerate(parts[1:], start=1):
        total = total.add(wider.narrow(axis, place, image.shape[axis]), alpha=part)
    return total
