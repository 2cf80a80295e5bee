"""How atoms scatter photons by angle: form factors, incoherent scattering functions, and what they add up to."""

from __future__ import annotations

from functools import lru_cache
from importlib.resources import files

import numpy as np

from nerp.physics.attenuation import composition

TABLE = "scatter_functions.csv"

ROOT_STEP = 0.02
"""Between rows of the table, of the square root of the momentum transfer in 1/angstrom."""

KEV_ANGSTROM = 12.398420
"""Energy times wavelength of a photon, CODATA 2018."""

ATOMIC_WEIGHTS = {
    "H": 1.008, "C": 12.011, "N": 14.007, "O": 15.999, "Na": 22.990, "Mg": 24.305, "Al": 26.982, "Si": 28.085,
    "P": 30.974, "S": 32.06, "Cl": 35.45, "Ar": 39.95, "K": 39.098, "Ca": 40.078, "Ti": 47.867, "Cr": 51.996,
    "Mn": 54.938, "Fe": 55.845, "Ni": 58.693, "Cu": 63.546, "I": 126.904, "Cs": 132.905, "Ba": 137.327,
    "W": 183.84, "Pb": 207.2,
}  # fmt: skip
"""Abridged standard atomic weights, IUPAC 2021."""


def transfers() -> np.ndarray:
    """(T,) momentum transfers of the table, 1/angstrom: sin(angle / 2) over the wavelength."""
    return _table()[0]


def form_squared(material: str) -> np.ndarray:
    """Squared form factor of a material, of atoms that scatter independently.

    Args:
        material: a name of `COMPOSITIONS`.

    Returns:
        (T,) electrons² per gram, divided by Avogadro's number.

    Raises:
        UsageError: no material of that name.

    Source: independent atoms, sum of w/A F² over the elements; F of Hubbell et al. 1975.
    """
    return _mixture(material, 0, 2)


def incoherent_function(material: str) -> np.ndarray:
    """Incoherent scattering function of a material: how many electrons can take up the recoil.

    Args:
        material: a name of `COMPOSITIONS`.

    Returns:
        (T,) electrons per gram, divided by Avogadro's number; from 0 at no transfer to the sum of w Z/A.

    Raises:
        UsageError: no material of that name.

    Source: independent atoms, sum of w/A S over the elements; S of Hubbell et al. 1975.
    """
    return _mixture(material, 1, 1)


def electrons_per_gram(material: str) -> float:
    """Electrons per gram of a material, divided by Avogadro's number: the sum of w Z/A over its elements."""
    return float(_mixture(material, 0, 1)[0])


def _mixture(material: str, kind: int, power: int) -> np.ndarray:
    _, columns = _table()
    fractions = composition(material).fractions.items()
    return sum(share / ATOMIC_WEIGHTS[symbol] * columns[symbol][kind] ** power for symbol, share in fractions)


@lru_cache(maxsize=1)
def _table() -> tuple[np.ndarray, dict[str, np.ndarray]]:
    """(T,) transfers, and (2, T) F and S by element."""
    text = (files("nerp.physics") / "tables" / TABLE).read_text(encoding="utf-8")
    rows = [line.split(",") for line in text.splitlines() if not line.startswith("#")]
    body = np.array(rows[1:], dtype=np.float64)
    symbols = [name.split()[0] for name in rows[0][1::2]]
    pairs = {symbol: body[:, 1 + 2 * place : 3 + 2 * place].T for place, symbol in enumerate(symbols)}
    return body[:, 0], pairs
