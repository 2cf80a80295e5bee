"""The images that all rows of a study find hardest: each with people's outline, and with each row's beside it."""

from __future__ import annotations

import json
import logging
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from nerp.data.folders import find_pairs
from nerp.data.images import read_binary
from nerp.errors import DataError, NerpError
from nerp.report.parts import Gallery, Outline, Part, Picture, Section, Text, present
from nerp.report.pictures import at_most, shrunk_mask
from nerp.report.results import SavedResult, items_of
from nerp.report.shelf import NETWORK, PEOPLE, read_shown
from nerp.report.words import number

SIDE = 320
"""Pixels of the longer side of an image that is shown once a row."""

_log = logging.getLogger(__name__)

_LEAD = (
    "Ranked by the mean Dice of all rows whose outlines are in the study's folder; each picture is of a row's first "
    "training, its Dice the mean of all."
)


def hardest_sections(folder: Path, result: SavedResult, settings: Mapping[str, Any], most: int) -> list[Section]:
    """The hardest images, where both they and the rows' predictions are still there.

    Args:
        folder:   of the study.
        result:   its table.
        settings: its config.yaml, which says where the real images lie.
        most:     images.

    Raises:
        DataError: a cell's file is damaged.
    """
    part = str(result.values.get("part"))
    rows = {name: masks for name in result.values["arms"] if (masks := _predictions(folder, name, part))}
    dice = {name: of for name in rows if (of := dice_of(folder / "cells" / part, name))}
    stems = set.intersection(*(set(of) for of in dice.values())) if dice else set()
    means = {stem: float(np.mean([of[stem] for of in dice.values()])) for stem in stems}
    chosen = sorted(means, key=lambda stem: (means[stem], stem))[:most]
    sources = _sources(settings) if chosen else {}
    parts: list[Part] = []
    for stem in chosen:
        if stem in sources:
            pictures = _pictures(stem, sources[stem], {name: (rows[name], of[stem]) for name, of in dice.items()})
            parts.append(Section(f"{stem}, mean Dice {number(means[stem])}", present(Gallery(pictures, name=stem))))
    return [Section("Hardest images", [Text(_LEAD), *parts])] if parts else []


def _predictions(folder: Path, row: str, part: str) -> Path | None:
    """The masks of a row's first training."""
    found = (folder / "trainings" / row).glob(f"seed-*/predictions-{part}")
    return min(found, key=lambda path: (len(path.parent.name), path.parent.name), default=None)


def dice_of(cells: Path, row: str) -> dict[str, float]:
    """The Dice of each image, averaged over a row's trainings.

    Args:
        cells: folder of the study's cells of one part.
        row:   its name.

    Raises:
        DataError: a cell's file is none.
    """
    found: dict[str, list[float]] = {}
    for path in sorted(cells.glob(f"{row}-*.json")):
        try:
            values = json.loads(path.read_bytes())
            if values["cell"].rpartition(":")[0] != row:
                continue  # `drr-any-0.json` is of another row than `drr`
            scores = values["scored"]["scores"]
        except (ValueError, KeyError, TypeError) as error:
            raise DataError(f"{path} is no cell of a study ({error}); remove it, and make it again") from error
        for stem, of in scores.items():
            found.setdefault(stem, []).append(items_of(of)["dice"])
    return {stem: float(np.mean(values)) for stem, values in found.items()}


def _sources(settings: Mapping[str, Any]) -> dict[str, tuple[Path, tuple[Path, ...]]]:
    """The real images and their masks, by stem; none where they do not lie where the settings say."""
    real = settings.get("real")
    if not isinstance(real, str):
        return {}
    try:
        return {image.stem: (image, masks) for image, masks in find_pairs(real)[0]}
    except (NerpError, OSError) as error:
        _log.warning("the hardest images are not shown: %s", error)
        return {}


def _pictures(
    stem: str, source: tuple[Path, tuple[Path, ...]], rows: Mapping[str, tuple[Path, float]]
) -> list[Picture]:
    image = at_most(read_shown(source[0]), SIDE)
    shape = (image.shape[0], image.shape[1])
    people = shrunk_mask(np.logical_or.reduce([read_binary(path) for path in source[1]]), shape)
    drawn = Outline(people, 0, PEOPLE)
    pictures = [Picture(image, f"radiograph {stem} with people's outline", "people's outline", (drawn,))]
    for name, (folder, dice) in rows.items():
        path = folder / f"{stem}.png"
        if path.is_file():
            predicted = Outline(shrunk_mask(read_binary(path), shape), 1, NETWORK)
            caption = f"{name} · Dice {number(dice)}"
            pictures.append(
                Picture(image, f"radiograph {stem} with the outline of {caption}", caption, (drawn, predicted))
            )
    return pictures
