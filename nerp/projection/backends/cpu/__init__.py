"""The compiled backend: single precision, threaded, memory flat in the number of samples.

Same functions as `reference`. Fields and volumes are computed in float32 whatever their dtype;
rays stay in float64 until they are inside the kernels.
"""

import torch
from torch import Tensor

from nerp.projection.backends import knots, reference
from nerp.projection.backends.cpu import casting, integrals, library, material_lengths, operators
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
    """Exact path integrals.

    Args:
        values: (C, D, H, W) 1/mm.
        rays:   (B, R).

    Returns:
        (B, R, C) unitless, as `reference.siddon` gives it, from which second derivatives come.

    Source: Siddon 1985, Med. Phys. 12(2):252-255.
    """
    if not holds(values):
        return reference.siddon(values, rays)
    image = integrals.siddon(_single(values), *_dense(rays), _image_shape(rays))
    return _as_wide(image.movedim(0, -1), values)


@torch.no_grad()
def siddon_ahead(values: Tensor, rays: Rays, *, skip_first: bool) -> Tensor:
    """Path integrals in which the path through each voxel counts for the voxel after it.

    Args:
        values:     (C, D, H, W) 1/mm.
        rays:       (B, R).
        skip_first: leave out each ray's path through its first voxel.

    Returns:
        (B, R, C) unitless, as `reference.siddon_ahead` gives it. No gradient.
    """
    if values[0].numel() > _MOST_FLOATS:
        return reference.siddon_ahead(values, rays, skip_first=skip_first)
    image = integrals.siddon_ahead(_single(values), _dense(rays), _image_shape(rays), skip_first)
    return _as_wide(image.movedim(0, -1), values)


def holds(values: Tensor) -> bool:
    """Whether the kernels can count the voxels of (C, D, H, W) values."""
    return values[0].numel() <= _MOST_FLOATS


def siddon_hu(hu: Tensor, rays: Rays, water_per_mm: float) -> Tensor:
    """Exact path integrals of the attenuation of a CT stored in whole HU.

    Args:
        hu:           (D, H, W) int16.
        rays:         (B, R).
        water_per_mm: attenuation of water, 1/mm.

    Returns:
        (B, R, 1) unitless, to the bit as `siddon` gives it of the attenuation. No gradient.
    """
    lines = _dense(rays)
    if _is_turned(hu[None]):
        hu, lines = hu.permute(2, 1, 0), _turned(lines)
    return integrals.siddon_hu(hu.contiguous(), lines, _image_shape(rays), water_per_mm)[..., None]


def march(matter: Tensor, opacity: Tensor, rays: Rays, *, n_samples: int, per_sample: bool) -> Tensor:
    """Emission attenuated by extinction, summed along each ray.

    Args:
        matter:     (F, D, H, W) emission, unitless.
        opacity:    (F, D, H, W) extinction, 1/mm, or alpha in 0..1 if `per_sample`.
        rays:       (F, R): those of field f run through field f.
        n_samples:  midpoints of equal steps along each ray.
        per_sample: the opacity is each sample's alpha, whatever its length.

    Returns:
        (F, R) unitless, as `reference.march` gives it, from which second derivatives come.

    Source: Max 1995, eq. 10.
    """
    depth, height, width = matter.shape[1:]
    if 2 * (depth + 2) * (height + 2) * (width + 2) > _MOST_FLOATS:
        return reference.march(matter, opacity, rays, n_samples=n_samples, per_sample=per_sample)
    fields = _single(matter), _single(opacity)
    image = operators.march(*fields, *_dense(rays), _image_shape(rays), n_samples, per_sample)
    return _as_wide(image, matter)


def label_lengths(maps: Tensor, labels: list[int], rays: Rays) -> Tensor:
    """Path through each label, in one traversal.

    Args:
        maps:   (M, D, H, W) integer-valued.
        labels: K integers, ascending.
        rays:   (B, R).

    Returns:
        (B, R, K) mm, as `reference.label_lengths` gives it, from which the gradient in the rays comes.

    Source: Siddon 1985, with the lengths gathered by label.
    """
    wants_gradient = torch.is_grad_enabled() and any(part.requires_grad for part in rays.parts)
    lowest, highest = min(labels), max(labels)
    in_table = highest - lowest <= _WIDEST_LABELS and max(-lowest, highest) < _WHOLE_FLOATS
    if wants_gradient or maps[0].numel() > _MOST_FLOATS or not in_table:
        return reference.label_lengths(maps, labels, rays)
    lines = _dense(rays)
    if maps.dtype != torch.uint8:
        maps = _single(maps)
    elif _is_turned(maps):
        maps, lines = maps.permute(0, 3, 2, 1), _turned(lines)
    return operators.label_lengths(maps.contiguous(), labels, *lines, _image_shape(rays)).mT


def areal_densities(codes: Tensor, densities: Tensor, group_of: list[int], n_groups: int, rays: Rays) -> Tensor:
    """How much of every material lies on each ray, in one traversal.

    Args:
        codes:     (D, H, W) code of each voxel, which carries its slot.
        densities: (S, N, M) g/cm² per mm of M materials at N knots in S slots.
        group_of:  S places among the groups.
        n_groups:  G.
        rays:      (B, R).

    Returns:
        (B, R, G M) g/cm², as `reference.areal_densities` gives it. Where a gradient in codes or rays is wanted, it
        comes from integrals of each density by itself.

    Source: Siddon 1985, with the lengths gathered by code.
    """
    if codes.numel() > _MOST_FLOATS or densities.shape[1] > material_lengths.KNOTS:
        return reference.areal_densities(codes, densities, group_of, n_groups, rays)
    if torch.is_grad_enabled() and any(part.requires_grad for part in (codes, *rays.parts)):
        return knots.areal_by_density(siddon, codes, densities, group_of, n_groups, rays)
    lines, shape = _dense(rays), _image_shape(rays)
    return material_lengths.areal_densities(_single(codes), densities, group_of, n_groups, lines, shape)


_REASON = library.missing()
"""Known from the start, so that compiled graphs take it for the constant it is."""


def missing() -> str | None:
    """Why this backend cannot run here, or None where it can."""
    return _REASON


def _dense(rays: Rays) -> tuple[Tensor, ...]:
    return tuple(part.double().contiguous() for part in rays.parts)


def _is_turned(values: Tensor) -> bool:
    """Whether (C, D, H, W) values lie in memory as NIfTI files hold them, the first axis of the grid fastest."""
    return not values.is_contiguous() and values.permute(0, 3, 2, 1).is_contiguous()


def _turned(lines: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
    """Starts, directions and lengths of rays through a grid whose axes are taken in reverse; all sums stay the same."""
    starts, directions, lengths_mm = lines
    return starts.flip(-1).contiguous(), directions.flip(-1).contiguous(), lengths_mm


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
