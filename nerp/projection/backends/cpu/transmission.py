"""Transmission of a beam of several energies, by the compiled kernel."""

from __future__ import annotations

import torch
from torch import Tensor

from nerp.devices import SINGLE
from nerp.projection.backends.cpu import library

MOST_MATERIALS, MOST_RESPONSES = 32, 4
"""`transmitting_materials` and `most_responses` of `native/task.h`."""


def serves(areal: Tensor, weights: Tensor) -> bool:
    """Whether the kernel can compute a transmission.

    Args:
        areal:   (B, G, M, ...) areal densities.
        weights: (R, E).
    """
    is_single = areal.dtype == torch.float32 and areal.device.type == "cpu"
    few = areal.shape[2] <= MOST_MATERIALS and len(weights) <= MOST_RESPONSES
    return is_single and few and library.missing() is None


def transmission(areal: Tensor, mu: Tensor, weights: Tensor, scales: Tensor) -> Tensor:
    """What a beam leaves behind materials. No gradient.

    Args:
        areal:   (B, G, M, P) g/cm², float32.
        mu:      (M, E) cm²/g.
        weights: (R, E) of each energy in each response.
        scales:  (V, G) of the groups' densities in each variant.

    Returns:
        (B, V, R, P) float32.

    Source: Beer-Lambert, summed over energies.
    """
    n_views, n_groups, n_materials, n_pixels = areal.shape
    image = torch.empty(n_views, len(scales), len(weights), n_pixels, **SINGLE)
    if not image.numel():
        return image
    numbers = [part.detach().to(**SINGLE).contiguous() for part in (areal, scales, mu.T, weights.T)]
    places = [library.floats(part, *part.shape) for part in (*numbers, image)]
    counts = (n_views, len(scales), n_groups, n_materials, mu.shape[1], len(weights), torch.get_num_threads())
    library.call("nerp_transmission", library.Transmission(*counts, n_pixels, *places))
    return image
