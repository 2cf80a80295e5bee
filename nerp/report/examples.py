"""Single images that a result speaks of: the worst beside the best, what was rejected and why, nearest neighbours."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Any

from nerp.report.couples import NAMES, couples
from nerp.report.parts import Gallery, Part, Section, Table, Text, present
from nerp.report.results import SavedResult, is_score, items_of, read_results
from nerp.report.score_tables import result_section
from nerp.report.shelf import Shelves
from nerp.report.words import HIGH_IS_BAD, number, score_name

FIRST = ("dice", "alignment", "score", "jaccard")
"""Of several measures of single images, the one that ranks them."""
REASONS = ("reasons", "reason", "faults")
MOST_ROWS = 12


def result_sections(folder: Path, shelves: Shelves, worst: int) -> list[Section]:
    """A section for each result that lies in a folder; errors as `read_results`.

    Args:
        folder:  a run, pairs, or images.
        shelves: where images are that the results name.
        worst:   how many of the worst are shown.
    """
    return [result_section(one, examples(one, shelves, worst)) for one in read_results(folder)]


def examples(result: SavedResult, shelves: Shelves, worst: int) -> list[Part]:
    """The single images of a result that a reader has to see.

    Args:
        result:  of an evaluation.
        shelves: where the images are.
        worst:   how many of each are shown; 0 for none.
    """
    if not worst:
        return []
    return [*_ranked(result, shelves, worst), *_faults(result, shelves, worst), *couples(result, shelves, worst)]


def _ranked(result: SavedResult, shelves: Shelves, worst: int) -> list[Part]:
    """The worst images by the result's main measure, and half as many of the best."""
    measures = per_image(result)
    key = next((name for name in FIRST if name in measures), next(iter(measures), None))
    if key is None:
        return []
    sign = -1.0 if key in HIGH_IS_BAD else 1.0
    names = sorted(measures[key], key=lambda name: sign * measures[key][name])
    n_best = min((worst + 1) // 2, len(names) // 2)
    bad, good = names[: min(worst, len(names) - n_best)], names[len(names) - n_best :][::-1]
    parts: list[Part] = []
    for what, chosen, is_bad in (("Worst", bad, True), ("Best", good, False)):
        captions = {name: f"{name} · {score_name(key)} {number(measures[key][name])}" for name in chosen}
        alt = f"one of the {what.lower()} by {score_name(key)}"
        parts += _shown(f"{what} by {score_name(key)}", captions, shelves, (alt, is_bad))
    return parts


def per_image(result: SavedResult) -> dict[str, dict[str, float]]:
    """Measure to image's name to value, of all that a result tells of single images."""
    found = {score.key: score.items for score in result.scores if score.items and not score.group}
    for key, value in result.values.items():
        if not key.startswith("per_"):
            continue
        if items := items_of(value):
            found.setdefault("score", items)
        rows = _entries(value) if isinstance(value, list) else _by_name(value)
        for name, row in rows.items():
            for measure, one in items_of(row).items():
                found.setdefault(measure, {})[name] = one
    return found


def _by_name(value: Any) -> dict[str, dict[str, Any]]:
    return {str(name): row for name, row in value.items() if isinstance(row, dict)} if isinstance(value, dict) else {}


def _entries(rows: Iterable[Any]) -> dict[str, dict[str, Any]]:
    """The objects of a list by the image that each names."""
    named = ((next((row[key] for key in NAMES if key in row), None), row) for row in rows if isinstance(row, dict))
    return {str(name): row for name, row in named if name is not None}


def _faults(result: SavedResult, shelves: Shelves, worst: int) -> list[Part]:
    """Images with the reasons why they were rejected, of different faults first; and how many each check rejects."""
    parts: list[Part] = []
    for key, value in result.values.items():
        rows = _entries(value) if isinstance(value, list) else _by_name(value)
        told = {name: row for name, row in rows.items() if any(row.get(word) for word in REASONS)}
        reasons = {name: _reason(row) for name, row in told.items() if not is_score(row)}
        if reasons and not key.startswith("per_"):
            captions = {name: f"{Path(name).stem}: {reasons[name]}" for name in _varied(reasons)[:worst]}
            title = f"Rejected, with the reasons: {len(reasons)}"
            counts = items_of(result.values.get("checks"))
            ordered = sorted(counts.items(), key=lambda one: -one[1])
            checks = "; ".join(f"{check} {int(count)}" for check, count in ordered)
            lead = f"Pairs by check: {checks}." if checks else ""
            parts += _shown(title, captions, shelves, ("rejected", True), lead=lead)
    return parts


def _varied(reasons: dict[str, str]) -> list[str]:
    """The names in such an order that the first ones have as different faults as possible."""
    kinds: dict[str, list[str]] = {}
    for name, reason in reasons.items():
        kinds.setdefault(reason.partition(":")[0], []).append(name)
    places = {name: place for names in kinds.values() for place, name in enumerate(names)}
    return sorted(reasons, key=lambda name: places[name])


def _reason(row: dict[str, Any]) -> str:
    value = next(row[word] for word in REASONS if row.get(word))
    if isinstance(value, list):
        return "; ".join(_reason({"reason": one}) for one in value)
    if isinstance(value, dict):
        told = next((value[word] for word in REASONS if value.get(word)), None)
        if not told:
            return ", ".join(f"{key} {number(one)}" for key, one in value.items())
        return f"{value['check']}: {told}" if value.get("check") else str(told)
    return str(value)


def _shown(
    title: str, captions: dict[str, str], shelves: Shelves, look: tuple[str, bool], *, lead: str = ""
) -> list[Part]:
    """Pictures of named images under a title and a sentence; the names alone where no image is found."""
    alt, is_bad = look
    found = {name: shelves.get(name) for name in captions}
    pictures = [
        one.picture(f"radiograph {name}, {alt}", captions[name], is_bad=is_bad)
        for name, one in found.items()
        if one is not None
    ]
    absent = [(captions[name],) for name, one in found.items() if one is None][:MOST_ROWS]
    inner = present(Text(lead), Gallery(pictures, name=title), Table(absent, name=title))
    return [Section(title, inner)] if captions else []
