"""Writes the table of tube spectra that nerp ships: `python eval/spectra.py`, where spekpy is installed."""

from importlib.metadata import version
from pathlib import Path

import numpy as np

import nerp.physics
from nerp.files import write_bytes
from nerp.physics.beam import ANODE_DEG, TABLE, compute_unfiltered

VOLTAGES = range(40, 151, 5)


def table() -> str:
    """Rows of bins of 1 keV, columns of peak voltages."""
    columns = [compute_unfiltered(kvp) for kvp in VOLTAGES]
    energies = columns[-1][0]
    photons = np.zeros((len(energies), len(columns)))
    for place, (_, values) in enumerate(columns):
        photons[: len(values), place] = values
    head = (
        f"# Tungsten target of {ANODE_DEG:g} degrees, no added filter; photons per mm2 and keV for 1 mAs at 1 m.\n"
        f"# Computed by spekpy {version('spekpy')}, default model. Rows: centre of the bin, keV; columns: kVp.\n"
    )
    names = ",".join(["kev", *(str(kvp) for kvp in VOLTAGES)])
    rows = [
        ",".join([f"{kev:g}", *(f"{value:.5g}" for value in row)]) for kev, row in zip(energies, photons, strict=True)
    ]
    return head + "\n".join([names, *rows]) + "\n"


if __name__ == "__main__":
    write_bytes(Path(nerp.physics.__file__).parent / "tables" / TABLE, table().encode())
