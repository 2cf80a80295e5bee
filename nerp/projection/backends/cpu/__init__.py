"""The compiled backend: single precision, threaded, memory flat in the number of samples.

Same functions as `reference`. Fields and volumes are computed in float32 whatever their dtype;
rays stay in float64 until they are inside the kernels.
"""

import torch
from torch import Tensor

from nerp.projection.backends import reference
from nerp.projection.backends.cpu import casting, integrals, library, operators
from nerp.projection.rays import Rays

cast_rays = casting.cast_rays
label_weights = reference.label_weights

_MOST_FLOATS = 2**31 - 1
"""Kernels count voxels in 32 bits; larger grids go to the reference."""

_WIDEST_LABELS = 2**20
"""The kernels look labels up in a table; a wider range of them goes to the reference."""

_WHOLE_FLOATS = 2**24
"""The kernels read labels as float32, which holds every integer up to here; larger ones go to the reference."""


def siddon(values: Tensor, rays: Rays) -> Tensor:
    """Exact path integrals; see `reference.siddon`. Second derivatives come from the reference."""
    if values[0].numel() > _MOST_FLOATS:
        return reference.siddon(values, rays)
    image = integrals.siddon(_single(values), *_dense(rays), _image_shape(rays))
    return _as_wide(image.movedim(0, -1), values)


def march(matter: Tensor, opacity: Tensor, rays: Rays, *, n_samples: int, per_sample: bool) -> Tensor:
    """Emission attenuated by extinction; see `reference.march`. Second derivatives come from the reference."""
    depth, height, width = matter.shape[1:]
    if 2 * (depth + 2) * (height + 2) * (width + 2) > _MOST_FLOATS:
        return reference.march(matter, opacity, rays, n_samples=n_samples, per_sample=per_sample)
    fields = _single(matter), _single(opacity)
    image = operators.march(*fields, *_dense(rays), _image_shape(rays), n_samples, per_sample)
    return _as_wide(image, matter)


def label_lengths(maps: Tensor, labels: list[int], rays: Rays) -> Tensor:
    """Path through each label; see `reference.label_lengths`, which also gives the gradient in the rays."""
    wants_gradient = torch.is_grad_enabled() and any(part.requires_grad for part in _parts(rays))
    lowest, highest = min(labels), max(labels)
    in_table = highest - lowest <= _WIDEST_LABELS and max(-lowest, highest) < _WHOLE_FLOATS
    if wants_gradient or maps[0].numel() > _MOST_FLOATS or not in_table:
        return reference.label_lengths(maps, labels, rays)
    return operators.label_lengths(_single(maps), labels, *_dense(rays), _image_shape(rays)).mT


_REASON = library.missing()
"""Known from the start, so that compiled graphs take it for the constant it is."""


def missing() -> str | None:
    """Why this backend cannot run here, or None where it can."""
    return _REASON


def _parts(rays: Rays) -> tuple[Tensor, Tensor, Tensor]:
    return rays.starts, rays.directions, rays.lengths_mm


def _dense(rays: Rays) -> tuple[Tensor, ...]:
    return tuple(part.double().contiguous() for part in _parts(rays))


def _single(values: Tensor) -> Tensor:
    return values.float().contiguous()


def _as_wide(result: Tensor, values: Tensor) -> Tensor:
    """The dtype that the reference would give: never below float32."""
    return result.to(torch.promote_types(values.dtype, torch.float32))


def _image_shape(rays: Rays) -> list[int]:
    """(H, W) of the images that the rays fill; one long row where nothing is known of them."""
    n_rays = rays.lengths_mm.shape[1]
    rows, columns = rays.image_shape or (1, n_rays)
    return [rows, columns] if rows * columns and n_rays % (rows * columns) == 0 else [1, n_rays]
