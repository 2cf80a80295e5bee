"""The rows of a study on a page: a line each, bars with intervals, Dice over the fraction of real masks, contrasts."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from nerp.report import figures
from nerp.report.arm_scores import ARMS, DIFFERENCES, Key, Scores, by_arm, difference_sections, key_name, score_chart
from nerp.report.parts import Chart, Charts, Folded, Part, Section, Table, Text, present
from nerp.report.results import SavedResult, SavedScore
from nerp.report.score_cells import short_cell
from nerp.report.words import number

DICE: Key = ("dice",)
HD95: Key = ("hd95",)
SHOWN = (DICE, HD95)
"""Scores that each row is told by; the others open on a click."""


def row_sections(result: SavedResult) -> list[Section]:
    """A table of all rows and their bars; nothing of a study without rows.

    Args:
        result: the study's table.
    """
    rows = by_arm(result.scores, ARMS)
    if not rows:
        return []
    names = _names(rows, result)
    head = ("row", "learned from", *(names[key] for key in SHOWN), "trainings", "worst tenth, Dice")
    table = Table([_row(name, rows[name], result) for name in rows], head, "Rows")
    charts = {key: score_chart(names[key], {row: of[key] for row, of in rows.items()}) for key in names}
    drawn = {key: chart for key, chart in charts.items() if chart is not None}
    first = Charts([chart for key, chart in drawn.items() if key in SHOWN])
    rest = Charts([chart for key, chart in drawn.items() if key not in SHOWN])
    inner = present(table, Text(_BARS), first, *([Folded("Charts of the other scores", [rest])] if rest.charts else []))
    return [Section("Rows", inner)]


_BARS = "Dots and 95 % intervals of the rows; small marks are single trainings."


def _names(scores: Scores, result: SavedResult) -> dict[Key, str]:
    unit = str(result.values.get("distance_unit") or "")
    return {key: key_name(key, unit) for key in dict.fromkeys(key for of in scores.values() for key in of)}


def _row(name: str, scores: Mapping[Key, SavedScore], result: SavedResult) -> tuple[str, ...]:
    worst = _under(result, "worst_tenth", name).get("dice")
    cells = (short_cell(scores.get(key)) for key in SHOWN)
    return (name, _learned(_under(result, "rows", name)), *cells, str(len(scores[DICE].per_seed)), number(worst))


def _under(result: SavedResult, key: str, name: str) -> dict[str, Any]:
    found = result.values.get(key, {}).get(name, {})
    return found if isinstance(found, dict) else {}


def _learned(row: Mapping[str, Any]) -> str:
    """`mixed: varied; 10 % of the real masks` of a row."""
    sets = ", ".join(map(str, row.get("sets") or ()))
    fraction = row.get("fraction")
    real = "" if fraction is None else f"{100 * fraction:g} % of the real masks"
    told = ": ".join(part for part in (str(row.get("arm", "")), sets) if part)
    return "; ".join(part for part in (told, real) if part)


def fraction_sections(result: SavedResult) -> list[Section]:
    """Dice over the fraction of the real masks that was learned from, a line for each way to learn.

    Args:
        result: the study's table; rows of one arm and of the same sets are one line, where two or more differ.
    """
    found = families(result)
    if not found:
        return []
    fractions = sorted({one for of in found.values() for one in of})
    series = {name: _points(of) for name, of in list(found.items())[: figures.MOST_SERIES]}
    svg = figures.over(series, [100 * one for one in fractions])
    alt = "; ".join(
        f"{name}: {', '.join(f'{100 * x:g} % {short_cell(y)}' for x, y in of.items())}" for name, of in found.items()
    )
    chart = Chart(
        svg,
        "Dice by the part of the real masks that was learned from, %",
        f"Dice over the fraction: {alt}",
        tuple(series),
    )
    rows = [(name, *(short_cell(of.get(one)) for one in fractions)) for name, of in found.items()]
    table = Table(rows, ("learned from", *(f"{100 * one:g} %" for one in fractions)), "Dice by fraction")
    return [Section("Few annotated radiographs", [Text(_FRACTIONS), Charts([chart]), table])]


_FRACTIONS = "The smaller parts of the real images lie in the larger ones. Bars are 95 % intervals."


def families(result: SavedResult) -> dict[str, dict[float, SavedScore]]:
    """The Dice of rows that differ by their fraction alone: by arm and sets in words, then by fraction.

    Args:
        result: the study's table.
    """
    found: dict[str, dict[float, SavedScore]] = {}
    for name, scores in by_arm(result.scores, ARMS).items():
        row = _under(result, "rows", name)
        if row.get("fraction") is not None and scores[DICE].value is not None:
            family = _learned({**row, "fraction": None})
            found.setdefault(family, {})[float(row["fraction"])] = scores[DICE]
    return {name: dict(sorted(of.items())) for name, of in found.items() if len(of) > 1}


def _points(of: Mapping[float, SavedScore]) -> list[tuple[float, float, tuple[float, float] | None]]:
    return [(100 * x, float(one.value), one.ci95) for x, one in of.items() if one.value is not None]


def contrast_sections(result: SavedResult) -> list[Part]:
    """What the rows that are to be compared differ by.

    Args:
        result: the study's table.
    """
    apart = by_arm(result.scores, DIFFERENCES)
    shown: Scores = {name: {key: one for key, one in of.items() if key in SHOWN} for name, of in apart.items()}
    return difference_sections(shown, {key: name for key, name in _names(apart, result).items() if key in SHOWN})


def worst_sections(result: SavedResult) -> list[Section]:
    """The worst tenth of the images of each row, by name.

    Args:
        result: the study's table.
    """
    rows = []
    for name in result.values.get("worst_tenth", {}):
        found = _under(result, "worst_tenth", name)
        images = found.get("images", {})
        rows.append(
            (name, number(found.get("dice")), "; ".join(f"{one} {number(round(of, 3))}" for one, of in images.items()))
        )
    table = Table(rows, ("row", "mean Dice", "images, the worst first"), "Worst tenth")
    return [Section("Worst tenth of the images", [Folded("By name", [table])])] if rows else []
