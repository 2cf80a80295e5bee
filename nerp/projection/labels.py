"""How far each ray runs through every label, and what fraction of its light each label gives."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from nerp.arguments import label_values
from nerp.camera import Camera
from nerp.errors import GeometryError
from nerp.projection.dispatch import choose_backend
from nerp.projection.integrals import as_images, check_march
from nerp.volume import Fields, Volume


def project_labels(
    label_volume: Volume, camera: Camera, labels: Sequence[int] | int, *, backend: str = "auto"
) -> Tensor:
    """Path length through every label on every ray, from one traversal of the label map.

    The rays are those of `siddon` and `march` with the same camera. Overlapping structures come as
    several maps, one per channel; a label's lengths in all of them are summed, so a structure
    should stand in one map only.

    Args:
        label_volume: `(M, D, H, W)` in 'label', integer valued.
        camera:       B views of (H, W) pixels.
        labels:       K integers, or one; one that no voxel has gives zeros.
        backend:      `auto`, `reference`, `cpu` or `cuda`.

    Returns:
        (B, K, H, W) mm, float32, in the order of `labels`. Differentiable in the camera.

    Raises:
        GeometryError: the volume does not hold labels.
        UsageError:    no labels are asked for.

    Source: Siddon 1985, with the lengths gathered by label.
    """
    requested, places = _ascending(label_volume, labels)
    kernels = choose_backend(backend, label_volume.values)
    rays = kernels.cast_rays(camera, label_volume.affine, label_volume.shape)
    lengths_mm = kernels.label_lengths(label_volume.values, requested, rays)
    return _in_order(as_images(lengths_mm, camera), places)


def march_labels(
    fields: Fields,
    label_volume: Volume,
    camera: Camera,
    labels: Sequence[int] | int,
    *,
    n_samples: int = 512,
    backend: str = "auto",
) -> Tensor:
    """The fraction of each ray's emission weights `T_i alpha_i` that falls into each label.

    What `march` renders of matter 1 within the label and 0 elsewhere, divided by what it renders
    of matter 1 everywhere. Labels are read at the nearest voxel of their own grid.

    Args:
        fields:       (1, D, H, W) matter and opacity.
        label_volume: `(M, d, h, w)` in 'label', on any grid in the same world.
        camera:       B views of (H, W) pixels.
        labels:       K integers.
        n_samples:    samples on each ray.
        backend:      `auto`, `reference`, `cpu` or `cuda`.

    Returns:
        (B, K, H, W) in 0..1; 0 where nothing attenuates the ray. Differentiable in the opacity.

    Raises:
        GeometryError: the volume does not hold labels, or there is more than one field.
        UsageError:    no labels are asked for.
    """
    check_march(fields, camera, n_samples)
    if len(fields.matter) != 1:
        raise GeometryError(f"march_labels() found {len(fields.matter)} fields; expected 1, that of the labels' CT")
    requested, places = _ascending(label_volume, labels)
    carry = torch.linalg.inv(label_volume.affine) @ fields.affine
    kernels = choose_backend(backend, fields.opacity)
    rays = kernels.cast_rays(camera, fields.affine, fields.shape)
    fractions = kernels.label_weights(
        fields.opacity[0], label_volume.values, requested, carry, rays, n_samples=n_samples
    )
    return _in_order(as_images(fractions, camera), places)


def _ascending(label_volume: Volume, labels: Sequence[int] | int) -> tuple[list[int], list[int]]:
    """The distinct labels in ascending order, and the place of each asked-for label among them."""
    if label_volume.unit != "label":
        raise GeometryError(f"expected a volume in 'label', found {label_volume.unit!r}; read it with read_labels")
    values = label_values(labels)
    requested = sorted(set(values))
    return requested, [requested.index(label) for label in values]


def _in_order(images: Tensor, places: list[int]) -> Tensor:
    """Channels in the order asked for; not copied where they already are."""
    return images if places == list(range(images.shape[1])) else images[:, places]
