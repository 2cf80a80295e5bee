"""Air kerma: how much a beam gives, in the units in which doses are stated."""

from __future__ import annotations

import torch
from torch import Tensor

from nerp.errors import UsageError
from nerp.physics.attenuation import mass_attenuation_cm2_per_g
from nerp.physics.beam import DOUBLE, Spectrum

ELECTRON_REST_KEV = 510.99895
JOULE_PER_KEV = 1.602176634e-16
N_ANGLES = 256
"""Nodes at which the Klein-Nishina cross-section is averaged."""


def energy_transfer_cm2_per_g(material: str, energies_kev: Tensor) -> Tensor:
    """The part of the attenuation by which a light material takes up energy: what photoelectrons and recoils get.

    Args:
        material:     a name of `COMPOSITIONS`, of light elements: their fluorescence is taken to stay.
        energies_kev: (E,) photon energies.

    Returns:
        (E,) cm²/g, float64.

    Raises:
        UsageError: as `mass_attenuation_cm2_per_g`.

    Source: mu_tr = mu_photo + mu_incoherent T / E, with the mean recoil T of Klein and Nishina 1929; for air within
    1.4 % of NIST's mu_en from 10 to 150 keV.
    """
    photo, incoherent = (mass_attenuation_cm2_per_g(material, energies_kev, kind) for kind in ("photo", "incoherent"))
    return photo + incoherent * recoil_fraction(energies_kev)


def recoil_fraction(energies_kev: Tensor) -> Tensor:
    """(E,) mean part of a photon's energy, 0 to 1, that a free electron takes; energies in keV, (E,).

    Source: Klein & Nishina 1929: averages of 1 - P over dsigma/dcos = P^2 (P + 1/P - sin^2), P = E'/E.
    """
    cosine = torch.linspace(-1.0, 1.0, 2 * N_ANGLES + 1, **DOUBLE)[1::2]
    ratio = 1 / (1 + energies_kev.to(torch.float64).reshape(-1, 1) / ELECTRON_REST_KEV * (1 - cosine))
    weights = ratio**2 * (ratio + 1 / ratio - (1 - cosine**2))
    return ((1 - ratio) * weights).sum(dim=1) / weights.sum(dim=1)


def air_kerma_ugy_mm2(energies_kev: Tensor) -> Tensor:
    """(E,) air kerma in µGy that one photon per mm² gives, float64; energies in keV, (E,)."""
    energies = energies_kev.to(torch.float64)
    return energies * energy_transfer_cm2_per_g("air", energies) * (JOULE_PER_KEV * 1e3 * 1e2 * 1e6)


def air_kerma_ugy(spectrum: Spectrum) -> float:
    """Air kerma, µGy, of the photons of a spectrum, per mm²."""
    return float((spectrum.photons * air_kerma_ugy_mm2(spectrum.energies_kev)).sum())


def half_value_layer_mm(spectrum: Spectrum, material: str = "aluminium") -> float:
    """The thickness that halves a beam's air kerma, by bisection, mm.

    Args:
        spectrum: of the beam.
        material: of the layer, a name of `COMPOSITIONS`.

    Raises:
        UsageError: an unknown material, or a beam that 1 m of it does not halve.
    """
    low, high, half = 0.0, 1000.0, air_kerma_ugy(spectrum) / 2
    if air_kerma_ugy(spectrum.filtered(material, high)) > half:
        raise UsageError(f"{high:g} mm of {material} do not halve the beam; expected a denser layer")
    for _ in range(60):
        middle = (low + high) / 2
        enough = air_kerma_ugy(spectrum.filtered(material, middle)) < half
        low, high = (low, middle) if enough else (middle, high)
    return (low + high) / 2
