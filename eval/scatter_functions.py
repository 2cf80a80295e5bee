"""Writes what nerp ships on how atoms scatter: `python eval/scatter_functions.py`, where xraylib is installed."""

from importlib.metadata import version
from pathlib import Path

import numpy as np

import nerp.physics
from nerp.files import write_bytes
from nerp.physics.atoms import ROOT_STEP, TABLE
from nerp.physics.attenuation import COMPOSITIONS

ROOTS = np.arange(201) * ROOT_STEP
LOWEST = 0.005
"""Of the momentum transfers that xraylib tabulates S at, 1/angstrom; below it S falls with the square."""


def table() -> str:
    """Rows of momentum transfers; columns of form factors and incoherent scattering functions by element."""
    import xraylib

    elements = sorted({symbol for each in COMPOSITIONS.values() for symbol in each.fractions})
    columns = []
    for symbol in elements:
        number = xraylib.SymbolToAtomicNumber(symbol)
        columns.append([float(number), *(xraylib.FF_Rayl(number, x) for x in ROOTS[1:] ** 2)])
        columns.append([0.0, *(_incoherent(number, x) for x in ROOTS[1:] ** 2)])
    head = (
        "# Atomic form factors F and incoherent scattering functions S, electrons; x = sin(angle / 2) / wavelength.\n"
        f"# Hubbell et al. 1975 (J. Phys. Chem. Ref. Data 4:471), as tabulated by xraylib {version('xraylib')}.\n"
    )
    names = ",".join(["x_per_angstrom", *(f"{symbol} {kind}" for symbol in elements for kind in "FS")])
    rows = [
        ",".join(f"{value:.4g}" for value in (root**2, *row))
        for root, row in zip(ROOTS, np.array(columns).T, strict=True)
    ]
    return head + "\n".join([names, *rows]) + "\n"


def _incoherent(number: int, x: float) -> float:
    import xraylib

    return xraylib.SF_Compt(number, max(x, LOWEST)) * min(x / LOWEST, 1.0) ** 2


if __name__ == "__main__":
    write_bytes(Path(nerp.physics.__file__).parent / "tables" / TABLE, table().encode())
