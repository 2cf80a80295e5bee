"""Line integrals and emission-absorption images of volumes and fields."""

from __future__ import annotations

import torch
from torch import Tensor

from nerp.camera import Camera
from nerp.errors import GeometryError, UsageError
from nerp.projection.backends import cpu
from nerp.projection.dispatch import choose_backend
from nerp.projection.marching import check_opacity
from nerp.volume import WATER_PER_MM, Fields, Volume, attenuation


def siddon(volume: Volume, camera: Camera, *, backend: str = "auto") -> Tensor:
    """The exact path integral of a volume along every ray.

    Voxels are boxes of constant value. Rays run from the source to the detector and no further.

    Args:
        volume:  `(C, D, H, W)` in 1/mm, any floating dtype.
        camera:  B views of (H, W) pixels.
        backend: `auto`, `reference`, `cpu` or `cuda`.

    Returns:
        (B, C, H, W) integrals, unitless; float32, or float64 of a float64 volume. Twice
        differentiable in the volume, and in the camera through the lengths.

    Raises:
        GeometryError: the volume is not in 1/mm.

    Source: Siddon 1985, Med. Phys. 12(2):252-255.
    """
    if volume.unit != "1/mm":
        repair = "use attenuation(volume) first" if volume.unit == "hu" else "labels go through project_labels"
        raise GeometryError(f"siddon() needs a volume in '1/mm', found {volume.unit!r}; {repair}")
    kernels = choose_backend(backend, volume.values)
    rays = kernels.cast_rays(camera, volume.affine, volume.shape)
    return as_images(kernels.siddon(volume.values, rays), camera)


def siddon_of_ct(ct: Volume, camera: Camera, *, backend: str = "auto") -> Tensor:
    """`siddon` of a CT's attenuation, of which no copy is made where the CT is stored in whole HU.

    Args:
        ct:      `(1, D, H, W)` HU; int16, or floating point.
        camera:  B views of (H, W) pixels.
        backend: `auto`, `reference`, `cpu` or `cuda`.

    Returns:
        (B, 1, H, W) integrals, unitless, float32, to the bit those of `siddon(attenuation(ct), camera)`. No gradient
        where the CT is int16.

    Raises:
        VolumeError: the volume is not in HU.
    """
    kernels = choose_backend(backend, ct.values)
    if ct.unit != "hu" or ct.values.dtype != torch.int16 or kernels is not cpu or not cpu.holds(ct.values):
        return siddon(attenuation(ct), camera, backend=backend)
    rays = kernels.cast_rays(camera, ct.affine, ct.shape)
    return as_images(kernels.siddon_hu(ct.values[0], rays, WATER_PER_MM), camera)


def march(
    fields: Fields, camera: Camera, n_samples: int = 512, *, opacity_is: str = "per_mm", backend: str = "auto"
) -> Tensor:
    """The image of emitting matter behind attenuating opacity: `I = sum_i T_i alpha_i matter_i`.

    `T_i = prod_{j<i} (1 - alpha_j)` counts from the source. Samples are the midpoints of
    `n_samples` equal steps of each ray's own path through the grid, trilinear between voxel
    centres and constant from the outer ones to the faces. With `alpha = 1 - exp(-opacity step)`
    the image depends neither on the number of samples nor on how the grid is cropped.

    Args:
        fields:     (F, D, H, W) matter and opacity, any floating dtype.
        camera:     B views, B a multiple of F; the views of field f are contiguous.
        n_samples:  samples on each ray.
        opacity_is: `per_mm`, or `per_sample` where the opacity is each sample's alpha in 0..1,
                    as the published code of the method reads it.
        backend:    `auto`, `reference`, `cpu` or `cuda`.

    Returns:
        (B, 1, H, W), unitless; float32, or float64 of float64 fields. Twice differentiable in the
        fields and in the camera.

    Raises:
        GeometryError: the cameras are not a multiple of the fields.
        UsageError:    an unknown `opacity_is`, or less than one sample.

    Source: emission-absorption model, Max 1995, eq. 10; `nerp.projection.marching` has its parts.
    """
    check_opacity(opacity_is)
    check_march(fields, camera, n_samples)
    kernels = choose_backend(backend, fields.matter)
    rays = kernels.cast_rays(camera, fields.affine, fields.shape).reshape(len(fields.matter), -1)
    per_sample = opacity_is == "per_sample"
    return as_images(
        kernels.march(fields.matter, fields.opacity, rays, n_samples=n_samples, per_sample=per_sample), camera
    )


def check_march(fields: Fields, camera: Camera, n_samples: int) -> None:
    """Refuse cameras that cannot be dealt out to the fields, and empty rays.

    Args:
        fields:    (F, D, H, W) matter and opacity.
        camera:    B views, which must be a multiple of F.
        n_samples: samples on each ray, at least 1.

    Raises:
        GeometryError: the cameras are not a multiple of the fields.
        UsageError:    less than one sample.
    """
    n_fields = len(fields.matter)
    if n_fields == 0 or len(camera) % n_fields:
        found = f"{len(camera)} cameras for {n_fields} fields"
        raise GeometryError(f"{found}; expected a multiple, the views of each field contiguous")
    if n_samples < 1:
        raise UsageError(f"n_samples is {n_samples}; expected at least 1")


def as_images(values: Tensor, camera: Camera) -> Tensor:
    """Images of what was found along rays.

    Args:
        values: (B, R, C), or (F, R) of C = 1 in which the rays of B views stand in a row; any unit.
        camera: B views of (H, W) pixels.

    Returns:
        (B, C, H, W) in the same unit. Differentiable in the values.
    """
    height, width = camera.shape
    channels = values.shape[2] if values.ndim == 3 else 1
    return values.reshape(len(camera), height * width, channels).movedim(-1, 1).unflatten(-1, (height, width))
