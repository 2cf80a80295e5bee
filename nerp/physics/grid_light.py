"""What is scattered or made within a grid and leaves it: a quarter of what a good grid lets through."""

from __future__ import annotations

import math

import numpy as np
import torch
from torch import Tensor

from nerp.physics.atoms import KEV_ANGSTROM, form_squared, incoherent_function, transfers
from nerp.physics.attenuation import mass_attenuation_cm2_per_g

LEAD_K_KEV = 88.0045
LEAD_K_LINES_KEV = 76.5
"""Mean of lead's K lines by intensity, Elam, Ravel & Sieber 2002."""
LEAD_K_YIELD = 0.96
LEAD_K_SHARE = 0.78
"""Of photoelectric absorptions above the edge, those in the K shell."""

N_ANGLES, N_AZIMUTHS = 240, 24


def kept_shares(material: str, energies_kev: Tensor, aspect: float) -> tuple[Tensor, Tensor]:
    """How much of what a beam along the strips loses by scattering between them leaves the grid nevertheless.

    Args:
        material:     between the strips.
        energies_kev: (E,) keV.
        aspect:       height of the strips over the distance between them.

    Returns:
        Two of (E,), 0 to 1, float64: of coherent and of incoherent scattering.

    Source: single scattering, evenly spread over the space between opaque strips: a photon of slope t across the
    strips leaves from height z over the exit with probability max(0, 1 - t z / gap), the mean over z in closed form.
    """
    cosines, weights = np.polynomial.legendre.leggauss(N_ANGLES)
    cosines, weights = (cosines + 1) / 2, weights / 2  # forwards only
    leaves = _leaving(np.sqrt(1 - cosines**2) / cosines, aspect)
    kev = energies_kev.cpu().numpy()[:, None]
    shares = []
    for angular in (_coherent, _incoherent):
        forwards = angular(material, kev, cosines) * weights
        backwards = angular(material, kev, -cosines) * weights
        shares.append(torch.from_numpy((forwards @ leaves) / (forwards + backwards).sum(1)))
    return shares[0], shares[1]


def _leaving(tangents: np.ndarray, aspect: float) -> np.ndarray:
    """(N,) probability to leave between the strips, averaged over azimuths."""
    azimuths = (np.arange(N_AZIMUTHS) + 0.5) / N_AZIMUTHS * math.pi / 2
    reach = np.maximum(tangents[:, None] * np.cos(azimuths) * aspect, 1e-12)
    return np.where(reach < 1, 1 - reach / 2, 0.5 / reach).mean(1)


def _coherent(material: str, kev: np.ndarray, cosines: np.ndarray) -> np.ndarray:
    x = np.sqrt((1 - cosines) / 2) * kev / KEV_ANGSTROM
    return np.interp(x, transfers(), form_squared(material)) * (1 + cosines**2) / 2


def _incoherent(material: str, kev: np.ndarray, cosines: np.ndarray) -> np.ndarray:
    x = np.sqrt((1 - cosines) / 2) * kev / KEV_ANGSTROM
    kept = 1 / (1 + kev / 510.99895 * (1 - cosines))
    factor = kept**2 * (kept + 1 / kept - 1 + cosines**2)
    return factor * np.interp(x, transfers(), incoherent_function(material))


def glow_share(energies_kev: Tensor) -> Tensor:
    """K photons made for each photon that lead takes out of a beam.

    Args:
        energies_kev: (E,) keV.

    Returns:
        (E,) float64, 0 to 1; 0 below lead's K edge.
    """
    kev = energies_kev.to(device="cpu", dtype=torch.float64)
    photo = mass_attenuation_cm2_per_g("lead", kev, "photo") / mass_attenuation_cm2_per_g("lead", kev)
    return torch.where(kev > LEAD_K_KEV, photo * LEAD_K_YIELD * LEAD_K_SHARE, torch.zeros_like(kev))
