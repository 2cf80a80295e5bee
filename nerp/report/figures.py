"""The charts of a report: drawn by matplotlib, laid into the page as SVG in the page's own colours.

No chart holds words: titles and names stand in the page, where they can be read, found and enlarged.
"""

from __future__ import annotations

import io
import re
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, TypeAlias, cast

import numpy as np

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.axis import Axis
    from matplotlib.figure import Figure
    from matplotlib.ticker import MaxNLocator, ScalarFormatter

INK, SOFT, LINE, PALE, PAPER = "#010101", "#020202", "#030303", "#040404", "#050505"
SERIES = ("#060601", "#060602", "#060603", "#060604", "#060605", "#060606")
NAMES = {INK: "ink", SOFT: "soft", LINE: "line", PALE: "pale", PAPER: "paper"}
NAMES |= {colour: f"s{number}" for number, colour in enumerate(SERIES, start=1)}
"""Colours that stand for the page's own, `var(--ink)` and on, which differ in the dark."""
Points: TypeAlias = "Sequence[float] | np.ndarray"
MOST_POINTS = 500
"""Of a curve; longer ones are averaged down."""
MOST_SERIES = len(SERIES)


def histogram(values: Sequence[float]) -> str:
    """How often a quantity takes which value, as SVG.

    Args:
        values: finite, not all the same.
    """
    figure, panel = _panel()
    bins = min(20, max(6, round(len(values) ** 0.5) + 1))
    panel.hist(values, bins=bins, color=SERIES[0], edgecolor=PAPER, linewidth=0.6)
    _ticks(panel.yaxis).set_params(integer=True)
    return _svg(figure)


def curve(steps: Sequence[float], values: Sequence[float]) -> str:
    """A metric over the steps, as SVG: its values pale, their running mean dark.

    Args:
        steps:  increasing.
        values: one a step; gaps (NaN) are left out.
    """
    figure, panel = _panel()
    series = np.asarray(values, dtype=float)
    places, mean = np.asarray(steps, dtype=float), smoothed(series)
    panel.plot(*thinned(places, series), color=PALE, linewidth=0.8)
    panel.plot(*thinned(places, mean), color=SERIES[0], linewidth=1.4)
    return _svg(figure)


def lines(series: Mapping[str, tuple[Points, Points]]) -> str:
    """Several curves in one panel, as SVG; the first six alone.

    Args:
        series: name, and abscissae and ordinates of each.
    """
    figure, panel = _panel()
    for colour, (x, y) in zip(SERIES, series.values(), strict=False):
        panel.plot(*thinned(np.asarray(x, dtype=float), np.asarray(y, dtype=float)), color=colour, linewidth=1.4)
    return _svg(figure)


def intervals(
    values: Sequence[float],
    ends: Sequence[tuple[float, float] | None],
    *,
    marks: Sequence[Sequence[float]] = (),
    zero: bool = False,
) -> str:
    """Numbers with their 95 % intervals, numbered from the top, as SVG.

    Args:
        values: finite.
        ends:   low and high of each; None where there is no interval.
        marks:  further numbers in the row of each, such as those of single seeds; none for no row.
        zero:   draw a line at 0.
    """
    figure, panel = _panel(height=0.55 + 0.24 * len(values))
    if zero:
        panel.axvline(0, color=SOFT, linewidth=1.0)
    for row, (value, pair) in enumerate(zip(values, ends, strict=True)):
        colour = SERIES[row % MOST_SERIES]
        if pair is not None:
            panel.plot(pair, (row, row), color=colour, linewidth=1.6)
        panel.plot([value], [row], "o", color=colour, markersize=4.5)
    for row, further in enumerate(marks):
        panel.plot(further, [row + 0.3] * len(further), "|", color=SOFT, markersize=4)
    panel.set_ylim(len(values) - 0.5, -0.5)
    panel.set_yticks(range(len(values)), [str(row + 1) for row in range(len(values))])
    panel.grid(axis="x", color=LINE, linewidth=0.6)
    return _svg(figure)


def over(
    series: Mapping[str, Sequence[tuple[float, float, tuple[float, float] | None]]], places: Sequence[float]
) -> str:
    """Numbers with their 95 % intervals over a quantity on a logarithmic axis, one line a name, as SVG; six at most.

    Args:
        series: by name, of each point the abscissa, above 0, the ordinate, and low and high of its interval or None.
        places: that the axis names.
    """
    figure, panel = _panel(height=2.6)
    logs = np.log(np.asarray(places, dtype=float))
    room = 0.01 * float(np.ptp(logs))  # so that intervals of lines that meet stand side by side
    for number, (colour, points) in enumerate(zip(SERIES, series.values(), strict=False)):
        x = [float(np.log(place)) + room * (number - (len(series) - 1) / 2) for place, _, _ in points]
        panel.plot(x, [value for _, value, _ in points], "o-", color=colour, linewidth=1.4, markersize=3.5)
        for at, (_, _, ends) in zip(x, points, strict=True):
            if ends is not None:
                panel.plot([at, at], ends, color=colour, linewidth=1.0)
    panel.set_xticks(logs, [f"{place:g}" for place in places])
    panel.grid(axis="y", color=LINE, linewidth=0.6)
    return _svg(figure)


def smoothed(values: np.ndarray, fraction: float = 0.05) -> np.ndarray:
    """The centred running mean of a series.

    Args:
        values:   (N,), NaN where there are gaps, which are left out.
        fraction: of the series that each mean is taken over, 0 to 1.

    Returns:
        (N,), NaN where there are only gaps.
    """
    half = max(1, round(len(values) * fraction / 2))
    known = np.isfinite(values)
    sums, counts = np.cumsum(np.r_[0.0, np.where(known, values, 0.0)]), np.cumsum(np.r_[0, known])
    ends = np.arange(len(values))
    low, high = np.maximum(ends - half, 0), np.minimum(ends + half + 1, len(values))
    count = counts[high] - counts[low]
    return np.where(count > 0, (sums[high] - sums[low]) / np.maximum(count, 1), np.nan)


def thinned(places: np.ndarray, values: np.ndarray, most: int = MOST_POINTS) -> tuple[np.ndarray, np.ndarray]:
    """A curve of at most so many points: means over runs of equal length, gaps left out.

    Args:
        places: (N,) abscissae.
        values: (N,) ordinates.
        most:   points, at least 1.
    """
    known = np.isfinite(values)
    places, values = places[known], values[known]
    if len(values) <= most:
        return places, values
    starts = np.linspace(0, len(values), most, endpoint=False).astype(int)
    counts = np.diff(np.r_[starts, len(values)])
    return np.add.reduceat(places, starts) / counts, np.add.reduceat(values, starts) / counts


def _panel(height: float = 1.9) -> tuple[Figure, Axes]:
    from matplotlib.figure import Figure

    figure = Figure(figsize=(3.3, height), layout="constrained")
    figure.patch.set_visible(False)
    panel = figure.subplots()
    panel.patch.set_visible(False)
    panel.tick_params(labelsize=8, colors=SOFT, length=3)
    for side, spine in panel.spines.items():
        spine.set_visible(side in ("left", "bottom"))
        spine.set_color(LINE)
    for axis in (panel.xaxis, panel.yaxis):
        _ticks(axis).set_params(nbins=4)
        cast("ScalarFormatter", axis.get_major_formatter()).set_useOffset(False)
    return figure, panel


def _ticks(axis: Axis) -> MaxNLocator:
    """What places a linear axis's ticks."""
    return cast("MaxNLocator", axis.get_major_locator())


def _svg(figure: Figure) -> str:
    """The figure as an `<svg>` element: no identifiers, no style of its own, no links."""
    import matplotlib

    buffer = io.StringIO()
    with matplotlib.rc_context({"svg.fonttype": "none", "svg.hashsalt": "nerp", "axes.unicode_minus": True}):
        figure.savefig(buffer, format="svg", metadata={"Date": None, "Creator": None, "Format": None, "Type": None})
    text = buffer.getvalue()
    text = _placed(text[text.index("<svg") :])
    for pattern, instead in _PLAIN:
        text = pattern.sub(instead, text)
    return re.sub("|".join(NAMES), lambda found: f"var(--{NAMES[found[0]]})", text).strip()


def _placed(text: str) -> str:
    """An SVG whose markers are drawn where they stand, so that it needs no identifiers."""
    paths = {name: f'<path d="{path}"' for name, path in _MARKER.findall(text)}
    text = re.sub(r"<defs>.*?</defs>", "", text, flags=re.DOTALL)
    return _USE.sub(lambda found: f'{paths[found[1]]} transform="translate({found[2]} {found[3]})"', text)


_MARKER = re.compile(r'<path id="(\w+)" d="([^"]*)"')
_USE = re.compile(r'<use xlink:href="#(\w+)" x="([^"]*)" y="([^"]*)"')
_PLAIN = tuple(
    (re.compile(pattern, re.DOTALL), instead)
    for pattern, instead in (
        (r"<metadata>.*?</metadata>", ""),
        (r' clip-path="[^"]*"', ""),
        (r' id="[^"]*"', ""),
        (r' xmlns(:xlink)?="[^"]*"', ""),
        (r' version="1.1"', ""),
        (r'(<svg[^>]*?) width="[^"]*" height="[^"]*"', r"\1"),
        (r"font-family: [^;\"]*", "font-family: system-ui, sans-serif"),
        (r"\s*\n\s*", " "),
        (r"<g>\s*</g>", ""),
    )
)
