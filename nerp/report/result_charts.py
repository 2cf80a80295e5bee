"""Curves and maps that results hold as arrays: spectra of both sets, and where they are told apart."""

from __future__ import annotations

from typing import Any

import numpy as np

from nerp.report import figures
from nerp.report.parts import Chart, Charts, Gallery, Part, Picture, present
from nerp.report.results import SavedResult, is_number

CELL = 16
"""Pixels of a map's cell on the page."""


def result_charts(result: SavedResult) -> list[Part]:
    """The curves and maps of a result; nothing where it holds none."""
    spectra = [chart for value in result.values.values() if (chart := _spectra(value)) is not None]
    maps = [picture for key, value in result.values.items() for picture in _maps(key, value)]
    return present(Charts(spectra), Gallery(maps, name="maps"))


def _spectra(value: Any) -> Chart | None:
    """A chart of `frequencies` and the `mean` of each set at these."""
    if not isinstance(value, dict) or not _is_row(value.get("frequencies")):
        return None
    places = value["frequencies"]
    means: dict[str, Any] = {name: one.get("mean") for name, one in value.items() if isinstance(one, dict)}
    series = {name: (places, one) for name, one in means.items() if _is_row(one) and len(one) == len(places)}
    if not series:
        return None
    names = tuple({"fake": "generated"}.get(name, name) for name in series)
    alt = f"mean log power by frequency of {' and '.join(names)} images"
    return Chart(figures.lines(series), "mean log power, dB, by cycles a pixel", alt, names)


def _maps(key: str, value: Any) -> list[Picture]:
    """Pictures of the tables of numbers from 0 to 1 that an object holds."""
    pictures = []
    for name, table in value.items() if isinstance(value, dict) else ():
        if (
            not isinstance(table, list)
            or len(table) < 2
            or not all(map(_is_row, table))
            or len(set(map(len, table))) != 1
        ):
            continue
        cells = np.asarray(table, dtype=float)
        if cells.min() < 0 or cells.max() > 1:
            continue
        grey = np.kron(np.rint(255 * cells).astype(np.uint8), np.ones((CELL, CELL), np.uint8))
        words = f"{name.replace('_', ' ')} {key.replace('_', ' ')}: {cells.min():.2f} to {cells.max():.2f}"
        pictures.append(Picture(grey, f"map of {words}", f"{words}; black 0, white 1"))
    return pictures


def _is_row(value: Any) -> bool:
    return isinstance(value, list) and len(value) > 1 and all(map(is_number, value))
