"""What all backends know of codes: places between knots, at which densities of materials are given."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from nerp.projection.rays import Rays

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


def interpolate(codes: Tensor, table: Tensor, slots: Tensor | None = None) -> Tensor:
    """Densities between knots.

    Args:
        codes: of any shape, 0 to N - 1.
        table: (S, N, M) densities at the knots, any unit.
        slots: of the codes' shape, 0 to S - 1, int64; all 0 where left out.

    Returns:
        (M, ...) in the unit of the table. Differentiable in codes and table.
    """
    n_knots = table.shape[1]
    below = codes.detach().floor().clamp(0, n_knots - 2).long()
    first = below if slots is None else below + n_knots * slots
    columns, above = table.to(codes).flatten(0, 1).unbind(1), codes - below
    return torch.stack([torch.lerp(column[first], column[first + 1], above) for column in columns])


def areal_by_density(
    integrate: Callable[[Tensor, Rays], Tensor],
    codes: Tensor,
    densities: Tensor,
    group_of: list[int],
    n_groups: int,
    rays: Rays,
) -> Tensor:
    """Areal densities by integrals of each density by itself, with the gradients that these have.

    Args:
        integrate: from values (M, D, H, W) 1/mm and rays to (B, R, M), such as a backend's `siddon`.
        codes:     (D, H, W) code of each voxel, which carries its slot.
        densities: (S, N, M) g/cm² per mm of M materials at N knots in S slots.
        group_of:  S places among the groups.
        n_groups:  G.
        rays:      (B, R).

    Returns:
        (B, R, G M) g/cm².
    """
    places, slots = split(codes)
    per_mm = interpolate(places, densities, slots)
    groups = torch.tensor(group_of, dtype=torch.int64, device=codes.device)[slots]
    images = [integrate(per_mm * (groups == group) if n_groups > 1 else per_mm, rays) for group in range(n_groups)]
    return torch.cat(images, dim=-1)
