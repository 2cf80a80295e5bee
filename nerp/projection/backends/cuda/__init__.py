"""Triton kernels for NVIDIA GPUs: the functions of `reference`, fused."""

from __future__ import annotations

import os
from importlib.util import find_spec

import torch
from torch import Tensor

from nerp.projection.rays import Rays


def missing() -> str | None:
    """Why this backend cannot run here, or None where it can. Does not import Triton."""
    if find_spec("triton") is None:
        return "triton is not installed (it comes with PyTorch for Linux)"
    if os.environ.get("TRITON_INTERPRET") == "1" or torch.cuda.is_available():
        return None
    return "PyTorch sees no GPU"


def march(matter: Tensor, opacity: Tensor, rays: Rays, *, n_samples: int, per_sample: bool) -> Tensor:
    """(F, R) pixels, as `reference.march`."""
    return _projections().march(matter, opacity, rays, n_samples=n_samples, per_sample=per_sample)


def siddon(values: Tensor, rays: Rays) -> Tensor:
    """(B, R, C) integrals, as `reference.siddon`."""
    return _projections().siddon(values, rays)


def label_lengths(slots: Tensor, rays: Rays, n_labels: int) -> Tensor:
    """(B, R, K) mm, as `reference.label_lengths`."""
    return _projections().label_lengths(slots, rays, n_labels)


def label_weights(
    opacity: Tensor, slots: Tensor, carry: Tensor, rays: Rays, *, n_labels: int, n_samples: int
) -> Tensor:
    """(B, R, K) shares, as `reference.label_weights`."""
    return _projections().label_weights(opacity, slots, carry, rays, n_labels=n_labels, n_samples=n_samples)


def _projections():
    from nerp.projection.backends.cuda.operators import PROJECTIONS

    return PROJECTIONS
