"""What a beam leaves behind materials: Beer-Lambert, energy by energy."""

from __future__ import annotations

import torch
from torch import Tensor

from nerp.errors import GeometryError
from nerp.projection.backends.cpu import transmission as compiled


def transmission(areal: Tensor, mu: Tensor, weights: Tensor, *, scales: Tensor | None = None) -> Tensor:
    """`sum_E w(E) exp(-sum_m mu_m(E) A_m)`: the part of a signal that is left, where the weights sum to 1.

    Args:
        areal:   (B, M, H, W), (B, G M, H, W) or (B, G, M, H, W) g/cm² of M materials in G groups.
        mu:      (M, E) mass attenuation, cm²/g.
        weights: (E,) of each energy in the signal; or (R, E), of several signals from the same beam.
        scales:  (V, G) factors of the groups' densities, for V variants of each view; all 1 where left out.

    Returns:
        (B, R, H, W), or (B V, R, H, W) with the variants of a view together; R is 1 for one signal. Differentiable
        in all four.

    Raises:
        GeometryError: shapes that do not fit, or negative scales.

    Source: Beer-Lambert law.
    """
    rows, columns = areal.shape[-2:]
    weights = torch.atleast_2d(weights)
    apart, scales = _by_group(areal, mu, weights, scales)
    parts = (apart, mu, weights, scales)
    wants_gradient = torch.is_grad_enabled() and any(part.requires_grad for part in parts)
    if wants_gradient or not compiled.serves(apart, weights):
        return _plain(*parts).flatten(0, 1).unflatten(-1, (rows, columns))
    return compiled.transmission(*parts).flatten(0, 1).unflatten(-1, (rows, columns))


def _by_group(areal: Tensor, mu: Tensor, weights: Tensor, scales: Tensor | None) -> tuple[Tensor, Tensor]:
    """(B, G, M, P) areal densities and (V, G) scales."""
    n_materials, n_energies = mu.shape
    fits = areal.ndim in (4, 5) and weights.shape[1] == n_energies
    together = areal.flatten(1, 2) if areal.ndim == 5 else areal
    if not fits or together.shape[1] % n_materials:
        found = f"areal densities {tuple(areal.shape)}, mu {tuple(mu.shape)}, weights {tuple(weights.shape)}"
        raise GeometryError(f"{found}; expected (B, groups x materials, H, W), (materials, E) and (E,)")
    apart = together.flatten(2).unflatten(1, (-1, n_materials))
    scales = areal.new_ones(1, apart.shape[1]) if scales is None else torch.atleast_2d(scales)
    if scales.shape[1] != apart.shape[1] or not bool((scales >= 0).all()):
        found = f"scales {tuple(scales.shape)} from {float(scales.min()):g}"
        raise GeometryError(f"{found}; expected (variants, {apart.shape[1]} groups), 0 or more")
    return apart, scales


def _plain(areal: Tensor, mu: Tensor, weights: Tensor, scales: Tensor) -> Tensor:
    """(B, V, R, P), energy by energy."""
    summed = torch.einsum("bgmp,vg->bvmp", areal, scales.to(areal))
    total = summed.new_zeros(*summed.shape[:2], len(weights), summed.shape[-1])
    for at_energy, weight in zip(mu.to(areal).T, weights.to(areal).T, strict=True):
        left = torch.exp(-torch.einsum("bvmp,m->bvp", summed, at_energy))
        total = total + weight[:, None] * left[:, :, None]
    return total
