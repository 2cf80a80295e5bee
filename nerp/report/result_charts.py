"""Curves and maps that results hold as arrays: spectra of both sets, and where they are told apart."""

from __future__ import annotations

from typing import Any

import numpy as np

from nerp.evaluation.integrity_pictures import coloured
from nerp.files import sha256
from nerp.report import figures
from nerp.report.parts import Chart, Charts, Gallery, Part, Picture, Text, present
from nerp.report.results import SavedResult, is_number
from nerp.report.shelf import read_coloured

DRAWN = {
    "places.png": "the mean generated image, the mean real one, and the AUROC by place: blue 0, white 0.5, orange 1",
    "waves.png": "AUROC by wave, from coarse to fine to the right and downwards: blue 0, white 0.5, orange 1",
    "patches.png": "patches that look most generated; below the gap, real ones that look least so",
}
"""What the pictures of `nerp evaluate integrity --out` show."""
CELL = 16
"""Pixels of a map's cell on the page."""


def result_charts(result: SavedResult) -> list[Part]:
    """The curves, maps and pictures of a result; nothing where it has none."""
    spectra = [chart for value in result.values.values() if (chart := _spectra(value)) is not None]
    drawn, lost = pictures_beside(result)
    maps = [] if drawn else [picture for key, value in result.values.items() for picture in _maps(key, value)]
    told = f"Pictures of this result do not lie beside it: {', '.join(lost)}." if lost else ""
    return present(
        Charts(spectra), Gallery(maps, name="maps"), Gallery(drawn, "strips", "what tells the sets apart"), Text(told)
    )


def pictures_beside(result: SavedResult) -> tuple[list[Picture], list[str]]:
    """The pictures that an evaluation drew, where they lie in the result's folder or one in it; and names of others.

    They are known by their hashes, so that those of another result are not taken for them.

    Args:
        result: of an evaluation.

    Raises:
        DataError: a picture cannot be read.
    """
    named = result.values.get("pictures")
    if not isinstance(named, dict) or result.folder is None:
        return [], []
    found, lost = [], []
    for name, digest in named.items():
        places = (result.folder / name, *sorted(result.folder.glob(f"*/{name}")))
        path = next((one for one in places if one.is_file() and sha256(one) == digest), None)
        if path is None:
            lost.append(str(name))
        else:
            words = DRAWN.get(str(name), str(name))
            found.append(Picture(read_coloured(path), words, words))
    return found, lost


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
        shades = np.kron(coloured(cells), np.ones((CELL, CELL, 1), np.uint8))
        words = f"{name.replace('_', ' ')} {key.replace('_', ' ')}: {cells.min():.2f} to {cells.max():.2f}"
        pictures.append(Picture(shades, f"map of {words}", f"{words}; blue 0, white 0.5, orange 1"))
    return pictures


def _is_row(value: Any) -> bool:
    return isinstance(value, list) and len(value) > 1 and all(map(is_number, value))
