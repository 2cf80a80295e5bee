"""The report of several folders side by side: their images, how they were made, their grey levels, their scores."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from nerp.report import figures
from nerp.report.compared import compared
from nerp.report.examples import examples
from nerp.report.parts import Chart, Charts, Folded, Gallery, Notes, Page, Part, Section, Table, Text, present
from nerp.report.pictures import evenly
from nerp.report.results import SavedResult, is_number
from nerp.report.run_parts import read_metrics
from nerp.report.score_tables import result_section
from nerp.report.settings import ReportConfig
from nerp.report.sides import Side, open_sides
from nerp.runs import RunFolder

IMAGES_A_SIDE = 6
"""Shown of each folder, at most, however many pairs a report of one set shows."""
FOR_GREYS = 40
"""Images of a folder whose grey levels are counted."""
BINS = 64

_LEAD = "The same kinds of pictures and of scores for each folder; what differs in how they were made is listed."


def comparison_page(folders: Sequence[Path], config: ReportConfig) -> Page:
    """The report that compares folders.

    Args:
        folders: of images, pairs or runs, two or more.
        config:  how much is shown.

    Raises:
        DataError: a folder holds nothing to show, or is damaged.
    """
    sides = open_sides(folders)
    most = min(config.pairs, IMAGES_A_SIDE)
    parts = [
        Section("What is compared", present(Table(*_facts(sides), name="What is compared"), *_differences(sides))),
        Section("Images", present(*(_images(side, most) for side in sides))),
        *_greys([side for side in sides if side.readers and not side.is_run]),
        *_metrics([side for side in sides if side.is_run]),
        *compared(_named(sides)),
        *(section for side in sides for section in _results(side, config, sides)),
        *_without([side.name for side in sides if not side.results]),
    ]
    return Page(f"Comparison of {', '.join(side.name for side in sides)}", _LEAD, present(*parts))


def _facts(sides: Sequence[Side]) -> tuple[list[tuple[str, ...]], tuple[str, ...]]:
    keys = dict.fromkeys(key for side in sides for key in side.facts)
    rows = [(key, *(side.facts.get(key, "–") for side in sides)) for key in keys]
    return rows, ("", *(side.name for side in sides))


def _differences(sides: Sequence[Side]) -> list[Part]:
    """The settings in which those folders differ that tell theirs."""
    told = [side for side in sides if side.settings]
    if len(told) < 2:
        return []
    keys = sorted({key for side in told for key in side.settings})
    rows = [(key, *(side.settings.get(key, "–") for side in told)) for key in keys]
    differing = [row for row in rows if len(set(row[1:])) > 1]
    if not differing:
        return [Text("Their settings are the same.")]
    table = Table(differing, ("setting", *(side.name for side in told)), name="Settings that differ")
    return [Folded(f"Settings that differ: {len(differing)}", [table])]


def _images(side: Side, most: int) -> Section:
    look = "wide" if side.is_run else "grid"
    return Section(side.name, present(Gallery(side.pictures(most), look, f"images of {side.name}")))


def _greys(sides: Sequence[Side]) -> list[Section]:
    """How often each folder's images have which grey."""
    if len(sides) < 2:
        return []
    series = {side.name: grey_levels(side) for side in sides[: figures.MOST_SERIES]}
    svg = figures.lines({name: (np.linspace(0, 1, BINS), levels) for name, levels in series.items()})
    means = {name: float((np.linspace(0, 1, BINS) * levels).sum() / levels.sum()) for name, levels in series.items()}
    alt = "mean grey, 0 black to 1 white: " + "; ".join(f"{name} {mean:.2f}" for name, mean in means.items())
    chart = Chart(svg, "part of the pixels by grey, 0 black to 1 white", alt, tuple(series))
    return [Section("Grey levels", [Text(_GREYS), Charts([chart])])]


_GREYS = f"Mean over up to {FOR_GREYS} images of each folder, as they are stored."


def grey_levels(side: Side) -> np.ndarray:
    """(64,) the part of the pixels in each interval of grey from 0 to 1, averaged over some of a folder's images."""
    chosen = [side.readers[i][1] for i in evenly(len(side.readers), FOR_GREYS)]
    counts = [np.histogram(read().image, bins=BINS, range=(0, 255))[0] for read in chosen]
    return np.mean([one / one.sum() for one in counts], axis=0)


def _metrics(sides: Sequence[Side]) -> list[Section]:
    """The metrics that several runs logged, over their steps."""
    logged = {side.name: read_metrics(RunFolder(side.folder).metrics) for side in sides[: figures.MOST_SERIES]}
    keys = sorted({key for rows in logged.values() for row in rows for key in row} - {"step"})
    charts = [chart for key in keys if (chart := _curves(key, logged)) is not None]
    return [Section("Metrics", [Text("Running means over the steps."), Charts(charts)])] if charts else []


def _curves(key: str, logged: dict[str, list[dict[str, Any]]]) -> Chart | None:
    """One metric of all runs that logged it; None where fewer than two did."""
    series = {}
    for name, rows in logged.items():
        steps = [row["step"] for row in rows if is_number(row.get(key))]
        if len(steps) > 1:
            series[name] = (steps, figures.smoothed(np.array([row[key] for row in rows if is_number(row.get(key))])))
    if len(series) < 2:
        return None
    return Chart(figures.lines(series), key, f"{key} over the steps of {', '.join(series)}", tuple(series))


def _named(sides: Sequence[Side]) -> dict[str, SavedResult]:
    """Every result by its side's name, and its own where a side has several of its kind."""
    named: dict[str, SavedResult] = {}
    for side in sides:
        kinds = [one.kind for one in side.results]
        for result in side.results:
            is_only = kinds.count(result.kind) == 1
            key = side.name if is_only and side.name not in named else f"{side.name}: {result.name or result.kind}"
            named[key] = result
    return named


def _results(side: Side, config: ReportConfig, sides: Sequence[Side]) -> list[Section]:
    sections = [
        result_section(one, examples(one, side.shelves(config, sides, one), config.worst)) for one in side.results
    ]
    return [Section(f"{side.name}: {section.title}", section.parts) for section in sections]


def _without(names: Sequence[str]) -> list[Section]:
    if not names:
        return []
    text = f"No saved result lies in {', '.join(names)}: score them with --save FOLDER/evaluation_….json"
    return [Section("Not scored", [Notes([text], "No scores")])]
