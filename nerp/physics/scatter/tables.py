"""What the transport of photons asks of each material, on grids of energy and of momentum transfer."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

import numpy as np
import torch
from torch import Tensor

from nerp.physics.atoms import KEV_ANGSTROM, electrons_per_gram, form_squared, incoherent_function, transfers
from nerp.physics.attenuation import LOWEST_KEV, mass_attenuation_cm2_per_g

STEP_KEV = 0.5
N_ENERGIES = 401
HIGHEST_KEV = (N_ENERGIES - 1) * STEP_KEV / 1.04
"""Photons that the tables hold; the highest momentum transfer, 16 per angstrom, is that of 198 keV."""

ELECTRON_KEV = 510.99895
THOMSON_CM2_PER_G = 0.0478205
"""Classical electron radius squared times Avogadro's number: cm² per sr for a mole of electrons, CODATA 2018."""


@dataclass(frozen=True)
class PhotonTables:
    """Rows of M materials.

    Args:
        total:            (M, E) attenuation, 1/mm at 1 g/cm³, for energies from 0 in steps of `STEP_KEV`.
        coherent:         (M, E) that part of it.
        incoherent:       (M, E) that part of it.
        coherent_norm:    (M, E) integral of the angular factor over all directions, as `native/task.h` says.
        incoherent_norm:  (M, E) likewise.
        form_cumulative:  (M, T) integral of the squared form factor over the squared transfer.
        binding:          (M, T) incoherent scattering function over its largest value, 0 to 1.
    """

    total: Tensor
    coherent: Tensor
    incoherent: Tensor
    coherent_norm: Tensor
    incoherent_norm: Tensor
    form_cumulative: Tensor
    binding: Tensor


def energies_kev() -> Tensor:
    """(E,) energies of the tables, keV, float64; what lies below `LOWEST_KEV` repeats it."""
    steps = torch.arange(N_ENERGIES, dtype=torch.float64, device="cpu") * STEP_KEV
    return steps.clamp_min(LOWEST_KEV)


@lru_cache(maxsize=16)
def photon_tables(materials: tuple[str, ...], *, free_electrons: bool = False) -> PhotonTables:
    """The tables of some materials.

    Args:
        materials:      M names of `COMPOSITIONS`.
        free_electrons: whether electrons are taken to be free: no coherent scattering and no binding; a mode to
                        compare with closed forms.

    Raises:
        UsageError: a name without a composition.
    """
    columns = [_rows(material, free_electrons) for material in materials]
    return PhotonTables(*(torch.from_numpy(np.stack(rows)) for rows in zip(*columns, strict=True)))


def _rows(material: str, free: bool) -> tuple[np.ndarray, ...]:
    kev = energies_kev()
    parts = {kind: 0.1 * mass_attenuation_cm2_per_g(material, kev, kind).numpy() for kind in ("photo", "coherent")}
    binding = np.ones(len(transfers())) if free else incoherent_function(material) / electrons_per_gram(material)
    incoherent_norm = _incoherent_norm(kev.numpy(), binding)
    if free:
        parts["coherent"] = np.zeros(N_ENERGIES)
        incoherent = 0.1 * THOMSON_CM2_PER_G * electrons_per_gram(material) * incoherent_norm
    else:
        incoherent = 0.1 * mass_attenuation_cm2_per_g(material, kev, "incoherent").numpy()
    cumulative = _cumulative(form_squared(material))
    total = parts["photo"] + parts["coherent"] + incoherent
    return (
        total,
        parts["coherent"],
        incoherent,
        _coherent_norm(kev.numpy(), cumulative),
        incoherent_norm,
        cumulative,
        binding,
    )


def _cumulative(squared: np.ndarray) -> np.ndarray:
    """(T,) integral of F² over x², F taken to be straight in the square root of x between rows of the table."""
    roots = np.sqrt(transfers())
    fine = np.linspace(0, roots[-1], 32 * (len(roots) - 1) + 1)
    values = np.interp(fine, roots, np.sqrt(squared)) ** 2
    pieces = 0.5 * (values[1:] + values[:-1]) * np.diff(fine**4)
    return np.concatenate([[0.0], np.cumsum(pieces)[31::32]])


def _coherent_norm(kev: np.ndarray, cumulative: np.ndarray) -> np.ndarray:
    """(E,) integral of F² (1 + cos²) / 2 over all directions, F² even within each step of the table."""
    squares = transfers() ** 2
    form = np.diff(cumulative) / np.diff(squares)
    parts = np.minimum(squares / (kev[:, None] / KEV_ANGSTROM) ** 2, 1.0)
    return 4 * np.pi * np.diff(parts - parts**2 + 2 / 3 * parts**3, axis=1) @ form


def _incoherent_norm(kev: np.ndarray, binding: np.ndarray) -> np.ndarray:
    """(E,) integral of the Klein-Nishina factor times the binding over all directions."""
    halves = np.linspace(0, 1, 801)  # sines of half the angle: dense where the binding changes
    cosines = 1 - 2 * halves**2
    kept = 1 / (1 + kev[:, None] / ELECTRON_KEV * (1 - cosines))
    factor = 0.5 * kept**2 * (kept + 1 / kept - 1 + cosines**2)
    root = np.sqrt(halves * kev[:, None] / KEV_ANGSTROM)
    seen = np.interp(root, np.sqrt(transfers()), binding)
    return 2 * np.pi * np.trapezoid(factor * seen * 4 * halves, halves, axis=1)
