"""What tissues and things are made of, and how they attenuate."""

from __future__ import annotations

import json
from dataclasses import dataclass
from functools import lru_cache
from importlib.resources import files

import numpy as np
import torch
from torch import Tensor

from nerp.errors import UsageError

LOWEST_KEV, HIGHEST_KEV = 1.0, 500.0
"""Photon energies that attenuation is asked for, keV; a diagnostic beam has 10 to 150."""
KINDS = {"total": "total", "photo": "photo", "coherent": "coh", "incoherent": "incoh"}


@dataclass(frozen=True)
class Composition:
    """What a material is made of.

    Args:
        density_g_per_cm3: where nothing else is said of it.
        fractions:         of the mass, by the elements' symbols; they sum to 1.
    """

    density_g_per_cm3: float
    fractions: dict[str, float]


def _read_compositions() -> dict[str, Composition]:
    rows = json.loads((files("nerp.physics") / "tables" / "compositions.json").read_text(encoding="utf-8"))
    return {name: Composition(row["density_g_per_cm3"], row["fractions"]) for name, row in rows.items()}


COMPOSITIONS = _read_compositions()
"""Every material by name. `lung` has the density of its tissue without air; `bone` is cortical; `steel` is type 304."""


def composition(material: str) -> Composition:
    """The composition of a material.

    Raises:
        UsageError: none of that name.
    """
    if material not in COMPOSITIONS:
        raise UsageError(f"unknown material {material!r}; expected one of {', '.join(sorted(COMPOSITIONS))}")
    return COMPOSITIONS[material]


def mass_attenuation_cm2_per_g(material: str, energies_kev: Tensor, kind: str = "total") -> Tensor:
    """How a material attenuates photons: the mixture rule over its elements.

    Args:
        material:     a name of `COMPOSITIONS`.
        energies_kev: (E,) photon energies from `LOWEST_KEV` to `HIGHEST_KEV`.
        kind:         `total`, or a part of it: `photo`, `coherent`, `incoherent`.

    Returns:
        (E,) cm²/g, float64, on the CPU.

    Raises:
        UsageError: an unknown material or kind, or energies without data.

    Source: Elam, Ravel & Sieber 2002, Radiat. Phys. Chem. 63:121, as packaged by xraydb.
    """
    if kind not in KINDS:
        raise UsageError(f"unknown kind of attenuation {kind!r}; expected one of {', '.join(KINDS)}")
    energies = energies_kev.detach().to(device="cpu", dtype=torch.float64).reshape(-1)
    if not bool(((energies >= LOWEST_KEV) & (energies <= HIGHEST_KEV)).all()):
        found = f"{float(energies.min()):g} to {float(energies.max()):g} keV"
        raise UsageError(f"attenuation is asked for at {found}; expected {LOWEST_KEV:g} to {HIGHEST_KEV:g} keV")
    parts = [
        fraction * _of_element(element, kind, energies.numpy().tobytes())
        for element, fraction in composition(material).fractions.items()
    ]
    return torch.from_numpy(np.sum(parts, axis=0))


def linear_attenuation_per_cm(material: str, energies_kev: Tensor) -> Tensor:
    """Total attenuation of a material at its own density.

    Args:
        material:     a name of `COMPOSITIONS`.
        energies_kev: (E,) photon energies, keV.

    Returns:
        (E,) 1/cm, float64.

    Raises:
        UsageError: as `mass_attenuation_cm2_per_g`.
    """
    return composition(material).density_g_per_cm3 * mass_attenuation_cm2_per_g(material, energies_kev)


@lru_cache(maxsize=1024)
def _of_element(element: str, kind: str, energies: bytes) -> np.ndarray:
    """(E,) cm²/g of an element; the energies, keV, as the bytes of float64, which can be a key."""
    import xraydb

    return np.asarray(xraydb.mu_elam(element, np.frombuffer(energies) * 1e3, kind=KINDS[kind]), dtype=np.float64)
