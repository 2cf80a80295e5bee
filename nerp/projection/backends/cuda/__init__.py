"""Triton kernels for NVIDIA GPUs: the functions of `reference`, fused.

One lane carries one ray, a warp a patch of 4 x 8 pixels, a program of 128 lanes 16 x 8. Nothing of
a sample ever reaches memory: a ray costs 28 bytes in and 4 out, whatever the number of samples, and
the gradient walks the ray again. Compilation takes seconds, once for each kind of input.

What limits them, by count (sm_90, Triton 3.9; no timing is claimed):

* `march` does about 140 instructions a sample, 16 of them loads of the eight corners of two fields.
  These are masked to the lanes whose ray has entered another cell, about one sample in two to
  four with 512 samples through 128 voxels; neighbouring lanes share sectors in L1. Two float32
  fields of 128^3 are 17 MB and stay in the L2 of a large GPU, so that memory sees them once. The
  limit is then instruction issue, followed by L1: 33.6 million samples of one 256 x 256 view are
  147 million warp instructions. One such view fills a quarter of an H200's thread slots; views in
  one call fill it better.
* Its gradient to the fields does about 290 instructions a sample. Parts of a cell are summed in
  registers and added to the volume when the ray leaves it: 16 atomic additions a cell rather than
  a sample, some 130 to 220 cells a ray, which the atomic units of L2 carry out; there they bound
  it. The gradient to the rays alone takes about 190 instructions a sample and no atomics.
* `siddon` does about 50 instructions and 4 bytes a voxel that it crosses, each read depending on
  nothing before it but a few comparisons: issue-bound while the volume (67 MB at 256^3) comes from
  L2, memory-bound beyond. Its gradient to the volume adds one atomic addition a voxel.
* `label_lengths` is the same walk with one look-up and one addition for each run of a label.

Half and bfloat16 volumes are read as they are and computed in float32; float64 stays float64, at
that much lower a rate. Gradients to volumes are sums of atomic additions in whatever order programs
finish, so that two runs differ in the last digits: use another backend where they must not. Images,
label lengths and gradients to rays are the same each time. A ray of length 0 has no gradient.
Labels' derivatives and all second ones are computed by `reference`.

`TRITON_INTERPRET=1`, set before the first use, runs the kernels on CPU tensors, for tests.
"""

from __future__ import annotations

import os
from importlib.metadata import PackageNotFoundError, version
from importlib.util import find_spec
from types import ModuleType

import torch
from torch import Tensor

from nerp.projection.backends import knots, reference
from nerp.projection.rays import Rays
from nerp.projection.rays import cast_rays as cast_rays

OLDEST_TRITON = (3, 3)
"""The first whose kernels may keep tuples over the turns of a loop."""
WIDEST_LABELS = 2**20
"""Labels are looked up in a table; a wider range of them goes to the reference."""


def missing() -> str | None:
    """Why this backend cannot run here, or None where it can. Does not import Triton."""
    if find_spec("triton") is None:
        return "triton is not installed (it comes with PyTorch for Linux)"
    found = _triton_version()
    if found < OLDEST_TRITON:
        return f"triton {'.'.join(map(str, found))} is too old; it needs {'.'.join(map(str, OLDEST_TRITON))}"
    if not torch.cuda.is_available() and not interpreted():
        return "PyTorch sees no GPU"
    return None


def interpreted() -> bool:
    """Whether Triton is asked to run kernels on the CPU."""
    return os.environ.get("TRITON_INTERPRET", "").lower() in ("1", "true", "yes", "on")


def march(matter: Tensor, opacity: Tensor, rays: Rays, *, n_samples: int, per_sample: bool) -> Tensor:
    """Emission attenuated by extinction, summed along each ray.

    Args:
        matter:     (F, D, H, W) emission, unitless.
        opacity:    (F, D, H, W) extinction, 1/mm, or alpha in 0..1 if `per_sample`.
        rays:       (F, R): those of field f run through field f.
        n_samples:  midpoints of equal steps along each ray.
        per_sample: the opacity is each sample's alpha, whatever its length.

    Returns:
        (F, R) unitless, as `reference.march` gives it.

    Raises:
        UsageError: a tensor is not on a GPU.

    Source: Max 1995, eq. 10.
    """
    dtype = torch.promote_types(matter.dtype, opacity.dtype)
    return _operators().march(matter, opacity, *_parts(rays, matter, dtype), n_samples, per_sample)


def siddon(values: Tensor, rays: Rays) -> Tensor:
    """Exact path integrals.

    Args:
        values: (C, D, H, W) 1/mm.
        rays:   (B, R).

    Returns:
        (B, R, C) unitless, as `reference.siddon` gives it.

    Raises:
        UsageError: a tensor is not on a GPU.

    Source: Siddon 1985, Med. Phys. 12(2):252-255.
    """
    return _operators().siddon(values, *_parts(rays, values, values.dtype))


def siddon_ahead(values: Tensor, rays: Rays, *, skip_first: bool) -> Tensor:
    """Path integrals in which the path through each voxel counts for the voxel after it: the reference's.

    Args:
        values:     (C, D, H, W) 1/mm.
        rays:       (B, R).
        skip_first: leave out each ray's path through its first voxel.

    Returns:
        (B, R, C) unitless. No gradient.
    """
    return reference.siddon_ahead(values, rays, skip_first=skip_first)


def label_lengths(maps: Tensor, labels: list[int], rays: Rays) -> Tensor:
    """Path through each label, in one traversal.

    Args:
        maps:   (M, D, H, W) integer-valued.
        labels: K integers, ascending.
        rays:   (B, R).

    Returns:
        (B, R, K) mm, as `reference.label_lengths` gives it.

    Raises:
        UsageError: a tensor is not on a GPU.

    Source: Siddon 1985, with the lengths gathered by label.
    """
    if max(labels) - min(labels) > WIDEST_LABELS:
        return reference.label_lengths(maps, labels, rays)
    return _operators().label_lengths(maps, *_parts(rays, maps, torch.float32), labels)


def label_weights(
    opacity: Tensor, maps: Tensor, labels: list[int], carry: Tensor, rays: Rays, *, n_samples: int
) -> Tensor:
    """The fraction of each ray's emission weights that falls into each label.

    Args:
        opacity:   (D, H, W) extinction, 1/mm.
        maps:      (M, d, h, w) integer-valued, on a grid of their own.
        labels:    K integers, ascending.
        carry:     (4, 4) from opacity's index coordinates to those of the labels.
        rays:      (B, R) through the opacity's grid.
        n_samples: midpoints of equal steps along each ray.

    Returns:
        (B, R, K) in 0..1, as `reference.label_weights` gives it.

    Raises:
        UsageError: a tensor is not on a GPU.
    """
    if max(labels) - min(labels) > WIDEST_LABELS:
        return reference.label_weights(opacity, maps, labels, carry, rays, n_samples=n_samples)
    carry, parts = carry.to(opacity.device), _parts(rays, opacity, opacity.dtype)
    return _operators().label_weights(opacity, maps, carry, *parts, labels, n_samples)


def areal_densities(codes: Tensor, densities: Tensor, group_of: list[int], n_groups: int, rays: Rays) -> Tensor:
    """How much of every material lies on each ray: each density is integrated by itself.

    Args:
        codes:     (D, H, W) code of each voxel, which carries its slot.
        densities: (S, N, M) g/cm² per mm of M materials at N knots in S slots.
        group_of:  S places among the groups.
        n_groups:  G.
        rays:      (B, R).

    Returns:
        (B, R, G M) g/cm², as `reference.areal_densities` gives it.

    Raises:
        UsageError: a tensor is not on a GPU.

    Source: Siddon 1985, Med. Phys. 12(2):252-255.
    """
    return knots.areal_by_density(siddon, codes, densities, group_of, n_groups, rays)


def _operators() -> ModuleType:
    from nerp.projection.backends.cuda import operators  # imports Triton

    return operators


def _parts(rays: Rays, values: Tensor, dtype: torch.dtype) -> tuple[Tensor, Tensor, Tensor, int]:
    """The rays in the dtype of the result, and the detector's columns, or 0 where they are unknown."""
    rays = rays.to(torch.empty(0, dtype=dtype, device=values.device))
    return *rays.parts, rays.image_shape[1] if rays.image_shape else 0


def _triton_version() -> tuple[int, ...]:
    """Major and minor number; packages under other names are taken to be new enough."""
    try:
        return tuple(int(part) for part in version("triton").split(".")[:2])
    except PackageNotFoundError:
        return OLDEST_TRITON
