"""How close a study's sets are to real radiographs, on a page: scores by extractor, and the same views side by side."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

from nerp.data.folders import find_radiographs
from nerp.data.pairs import RECORDS, read_records
from nerp.errors import NerpError
from nerp.report.arm_scores import score_chart
from nerp.report.parts import Charts, Gallery, Part, Picture, Section, Table, Text, present
from nerp.report.pictures import evenly
from nerp.report.results import SavedResult, SavedScore
from nerp.report.score_cells import short_cell
from nerp.report.shelf import Found, found_image, found_pair
from nerp.report.words import number, score_name, score_reading

VIEWS = 6
"""Views that are shown side by side, at most."""
SHOWN = ("fid", "kid", "isc", "precision", "recall", "density", "coverage")
RATIO = "_ratio"

_log = logging.getLogger(__name__)


def fidelity_sections(folder: Path, result: SavedResult, settings: Mapping[str, Any], most: int) -> list[Section]:
    """Tables and charts of each extractor, how the masks lie, and pictures; nothing of a study without fidelity.

    Args:
        folder:   of the study.
        result:   its table.
        settings: its config.yaml, which names the sets and says where the real radiographs lie.
        most:     views that are shown.

    Raises:
        DataError: records of a set, or its images, are damaged.
    """
    fidelity = result.values.get("fidelity")
    if not isinstance(fidelity, dict):
        return []
    lead = _LEAD.format(baseline=fidelity.get("baseline"))
    parts: list[Part] = [Text(lead)]
    for name in fidelity.get("extractors", {}):
        parts.append(_of_extractor(name, result))
    parts += _masks(result)
    parts += _side_by_side(folder, settings, min(most, VIEWS))
    return [Section("How close the sets are to real radiographs", present(*parts))]


_LEAD = (
    "Each extractor has a scale of its own; what all say counts. A part of {baseline}'s score below 1 is closer than "
    "{baseline}; its interval leaves the same CTs and the same real images out of both."
)


def scores_under(result: SavedResult, *lead: str) -> dict[str, dict[str, SavedScore]]:
    """Scores by the name that stands after some keys, and by their own.

    Args:
        result: of a study.
        *lead:  keys that lead to the names.
    """
    found: dict[str, dict[str, SavedScore]] = {}
    for score in result.scores:
        if score.group[:-1] == lead:
            found.setdefault(score.group[-1], {})[score.key] = score
    return found


def _of_extractor(name: str, result: SavedResult) -> Section:
    sets = scores_under(result, "fidelity", "extractors", name, "sets")
    floor = scores_under(result, "fidelity", "extractors", name).get("floor", {})
    keys = [key for key in SHOWN if any(of[key].value is not None for of in sets.values() if key in of)]
    head = ("score", *sets, *(["real against real"] if floor else []), "how it is read")
    rows: list[tuple[str, ...]] = []
    for key in keys:
        beside = [number(floor[key].value) if key in floor else ""] if floor else []
        rows.append((score_name(key), *(short_cell(of.get(key)) for of in sets.values()), *beside, score_reading(key)))
        if any(f"{key}{RATIO}" in of for of in sets.values()):
            parts = (_part(of.get(f"{key}{RATIO}")) for of in sets.values())
            rows.append(
                (f"{score_name(key)}, part of the first set's", *parts, *([""] if floor else []), "below 1 is closer")
            )
    drawn = (score_chart(score_name(key), {one: of[key] for one, of in sets.items()}) for key in keys[:2])
    n_real = result.values["fidelity"]["extractors"][name].get("n_real")
    count = next((one.n for of in sets.values() for one in of.values()), None)
    text = f"{number(count)} images of each set against {number(n_real)} real ones."
    charts = Charts([chart for chart in drawn if chart is not None])
    return Section(name, present(Text(text), Table(rows, head, f"Fidelity, {name}"), charts))


def _part(score: SavedScore | None) -> str:
    return "" if score is None else short_cell(score)


def _masks(result: SavedResult) -> list[Section]:
    """Whether masks lie on edges of the images: lungs that shrink or fill with fog leave them."""
    sets = scores_under(result, "fidelity", "alignment")
    keys = ("alignment", "agreement", "dx", "dy", "mirrored")
    rows = [
        (score_name(key), *(short_cell(of.get(key)) for of in sets.values()), score_reading(key))
        for key in keys
        if sets
    ]
    table = Table(rows, ("score", *sets, "how it is read"), "Masks on their images")
    return [Section("Masks on their images", [Text(_MASKS), table])] if rows else []


_MASKS = "All sets have the same masks: one whose lungs shrank or filled with fog scores lower than the others."


def _side_by_side(folder: Path, settings: Mapping[str, Any], most: int) -> list[Section]:
    """The same views in every set that is there, each row with a real radiograph."""
    names = [name for name in settings.get("fidelity", ()) if (folder / "sets" / name / RECORDS).is_file()]
    views = {name: _views(folder / "sets" / name) for name in names}
    common = [key for key in next(iter(views.values()), {}) if all(key in of for of in views.values())]
    chosen = [common[place] for place in evenly(len(common), most)]
    real = _real(settings, len(chosen))
    parts: list[Part] = []
    for place, key in enumerate(chosen):
        shown = {name: of[key]() for name, of in views.items()}
        pictures = [Picture(one.image, f"view {place + 1}: {name}", name) for name, one in shown.items()]
        parts.append(Gallery([*pictures, *real[place : place + 1]], name=f"view {place + 1}"))
        if place == 0:
            first = [one.picture(f"view 1 with its mask: {name}", f"{name}, its mask") for name, one in shown.items()]
            parts.append(Gallery(first, name="view 1 with its masks"))
    return [Section("Side by side", [Text(_VIEWS), *parts])] if parts else []


_VIEWS = (
    "Each row is one view of one CT in every set, and at its end a real radiograph of somebody else; the first view is "
    "shown again with its masks."
)


def _views(folder: Path) -> dict[tuple[str, int], partial[Found]]:
    """What reads a set's images, by CT and view."""
    records = read_records(folder / RECORDS)
    return {(one.ct_sha256, one.view_index): partial(found_pair, folder, one) for one in records}


def _real(settings: Mapping[str, Any], count: int) -> Sequence[Picture]:
    try:
        files = [path for one in settings.get("radiographs", ()) for path in find_radiographs(one)]
        chosen = [files[place] for place in evenly(len(files), count)]
        return [found_image(path).picture("a real radiograph", "real") for path in chosen]
    except (NerpError, OSError) as error:
        _log.warning("no real radiographs are shown: %s", error)
        return []
