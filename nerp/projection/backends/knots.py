"""What all backends know of codes: places between knots, at which densities of materials are given."""

from __future__ import annotations

import torch
from torch import Tensor

CODES_PER_SLOT = 16
"""A voxel's slot times this is added to its code; `codes_per_slot` of the compiled kernels."""

MOST_SLOTS = 256
"""Float32 then still tells codes to 0.00025 of the way between two knots."""


def split(packed: Tensor) -> tuple[Tensor, Tensor]:
    """Codes and slots apart.

    Args:
        packed: of any shape, code + `CODES_PER_SLOT` slot.

    Returns:
        Codes, differentiable, and slots, int64; both of that shape.
    """
    slots = (packed.detach() / CODES_PER_SLOT).floor()
    return packed - CODES_PER_SLOT * slots, slots.long()


def hat(codes: Tensor, knot: int) -> Tensor:
    """How much a knot counts at each code.

    Args:
        codes: of any shape, between knots.
        knot:  its number.

    Returns:
        Of that shape, 1 at the knot, 0 from its neighbours on. Differentiable in the codes between knots.
    """
    return (1 - (codes - knot).abs()).clamp(min=0)


def areal_densities(paths_mm: Tensor, densities: Tensor, group_of: list[int], n_groups: int) -> Tensor:
    """What paths through knots amount to.

    Args:
        paths_mm:  (B, R, S, N) path that counts for each knot of each slot, mm.
        densities: (S, N, M) g/cm² per mm.
        group_of:  S places among the groups.
        n_groups:  G.

    Returns:
        (B, R, G M) g/cm². Differentiable in paths and densities.
    """
    by_slot = torch.einsum("brsn,snm->brsm", paths_mm, densities.to(paths_mm))
    places = torch.tensor(group_of, dtype=torch.int64, device=by_slot.device)
    empty = by_slot.new_zeros(*by_slot.shape[:2], n_groups, by_slot.shape[3])
    return empty.index_add(2, places, by_slot).flatten(2)
