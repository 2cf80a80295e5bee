"""The X-ray tube: which photons leave it, and how they are filtered."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from importlib.resources import files
from typing import Any, ClassVar

import numpy as np
import torch
from torch import Tensor

from nerp.errors import UsageError
from nerp.physics.attenuation import linear_attenuation_per_cm
from nerp.settings import Settings, number

TABLE = "tungsten_spectra.csv"
DOUBLE: dict[str, Any] = {"dtype": torch.float64, "device": "cpu"}

ANODE_DEG = 12.0
"""Angle of the tabulated tubes' targets."""


@dataclass(frozen=True)
class Beam(Settings):
    """A tungsten tube and its filter.

    Args:
        kvp:          peak voltage; every 5 from 40 to 150 is tabulated, others need the package spekpy.
        aluminium_mm: total filtration in mm of aluminium.
        copper_mm:    added, in mm of copper.

    Raises:
        ConfigError: a voltage or filtration that no chest is taken with.
    """

    SECTION: ClassVar[str] = "beam"

    kvp: float = number(120.0, 40, 150)
    aluminium_mm: float = number(2.5, 1, 40)
    copper_mm: float = number(0.0, 0, 2)


@dataclass(frozen=True)
class Spectrum:
    """How many photons of each energy.

    Args:
        energies_kev: (E,) centres of the bins, keV, ascending, float64.
        photons:      (E,) of each bin, per mm² for 1 mAs at 1 m from the focus, float64.
    """

    energies_kev: Tensor
    photons: Tensor

    @property
    def mean_kev(self) -> float:
        """Mean energy of a photon, keV."""
        return float((self.energies_kev * self.photons).sum() / self.photons.sum())

    def filtered(self, material: str, thickness_mm: float) -> Spectrum:
        """What is left behind a sheet.

        Args:
            material:     a name of `COMPOSITIONS`.
            thickness_mm: 0 or more.

        Raises:
            UsageError: an unknown material, or a negative thickness.
        """
        if not thickness_mm >= 0:
            raise UsageError(f"a filter of {material} is {thickness_mm} mm thick; expected 0 or more")
        per_cm = linear_attenuation_per_cm(material, self.energies_kev)
        return Spectrum(self.energies_kev, self.photons * torch.exp(-per_cm * thickness_mm / 10))


def spectrum(beam: Beam) -> Spectrum:
    """The photons of a beam, in bins of 1 keV.

    Args:
        beam: voltage and filtration.

    Returns:
        Their spectrum on the beam's axis, from 10 keV on: a filter of 1 mm of aluminium leaves none below.

    Raises:
        UsageError: a voltage between those of the table, where spekpy is not installed.

    Source: computed by SpekPy 2.5.4 (Poludniowski et al. 2021, Med. Phys. 48:3630; its default model,
    target of 12°), filtered by `linear_attenuation_per_cm`.
    """
    energies, photons = _unfiltered(float(beam.kvp))
    tube = Spectrum(torch.from_numpy(energies.copy()), torch.from_numpy(photons.copy()))
    return tube.filtered("aluminium", beam.aluminium_mm).filtered("copper", beam.copper_mm)


def mono(energy_kev: float) -> Spectrum:
    """A beam of one energy, keV, with one photon per mm²: for comparison with closed forms."""
    return Spectrum(torch.tensor([energy_kev], **DOUBLE), torch.ones(1, **DOUBLE))


def compute_unfiltered(kvp: float) -> tuple[np.ndarray, np.ndarray]:
    """What the table holds, computed anew by spekpy.

    Args:
        kvp: peak voltage.

    Returns:
        (E,) keV and (E,) photons per mm² and keV for 1 mAs at 1 m.

    Raises:
        UsageError: spekpy is not installed.
    """
    try:
        import spekpy
    except ImportError:
        known = ", ".join(f"{value:g}" for value in _table()[0])
        raise UsageError(
            f"beam.kvp is {kvp:g}; expected one of {known}, or spekpy for all others: pip install 'nerp[spectra]'"
        ) from None
    energies, photons = spekpy.Spek(kvp=kvp, th=ANODE_DEG, dk=1.0, z=100).get_spectrum(edges=False)
    seen = energies >= 10
    return energies[seen], photons[seen] / 100


def _unfiltered(kvp: float) -> tuple[np.ndarray, np.ndarray]:
    voltages, energies, photons = _table()
    if kvp not in voltages:
        return compute_unfiltered(kvp)
    column = photons[:, list(voltages).index(kvp)]
    return energies[column > 0], column[column > 0]


@lru_cache(maxsize=1)
def _table() -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """(V,) kV, (E,) keV, (E, V) photons."""
    text = (files("nerp.physics") / "tables" / TABLE).read_text(encoding="utf-8")
    rows = [line.split(",") for line in text.splitlines() if not line.startswith("#")]
    body = np.array(rows[1:], dtype=np.float64)
    return np.array(rows[0][1:], dtype=np.float64), body[:, 0], body[:, 1:]
