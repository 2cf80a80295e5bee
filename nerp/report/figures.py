"""The pictures of a report: charts by matplotlib, radiographs with their masks outlined. All are PNG bytes."""

from __future__ import annotations

import io
from collections.abc import Sequence
from typing import TYPE_CHECKING, cast

import numpy as np

from nerp.data.images import png_bytes

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.axis import Axis
    from matplotlib.figure import Figure
    from matplotlib.ticker import MaxNLocator, ScalarFormatter

INK, SOFT, LINE = "#1c2024", "#5b646d", "#d9dde1"
BLUE, PALE, AMBER = "#2b6ca3", "#b9d0e4", (255, 176, 0)


def outlined(image: np.ndarray, mask: np.ndarray) -> bytes:
    """A radiograph with its mask's inner boundary drawn in amber.

    Args:
        image: (H, W) uint8.
        mask:  (H, W) bool.

    Returns:
        A PNG of the same size in colour.
    """
    padded = np.pad(mask, 1)
    inner = padded[:-2, 1:-1] & padded[2:, 1:-1] & padded[1:-1, :-2] & padded[1:-1, 2:]
    colour = np.repeat(image[..., None], 3, axis=2)
    colour[mask & ~inner] = AMBER
    return png_bytes(colour)


def histogram(name: str, values: Sequence[float]) -> bytes:
    """How often a quantity takes which value.

    Args:
        name:   with its unit.
        values: finite, not all the same.
    """
    figure, panel = _panel(name)
    panel.hist(
        values, bins=min(20, max(6, round(len(values) ** 0.5) + 1)), color=BLUE, edgecolor="white", linewidth=0.6
    )
    _ticks(panel.yaxis).set_params(integer=True)
    return _png(figure)


def curve(name: str, steps: Sequence[float], values: Sequence[float]) -> bytes:
    """A metric over the steps: its values pale, their running mean dark.

    Args:
        name:   with its unit.
        steps:  increasing.
        values: one a step; gaps (NaN) are left out.
    """
    figure, panel = _panel(name)
    series = np.asarray(values, dtype=float)
    panel.plot(steps, series, color=PALE, linewidth=0.8)
    panel.plot(steps, smoothed(series), color=BLUE, linewidth=1.4)
    return _png(figure)


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


def _panel(name: str) -> tuple[Figure, Axes]:
    from matplotlib.figure import Figure

    figure = Figure(figsize=(3.3, 2.1), layout="constrained")
    panel = figure.subplots()
    panel.set_title(name, loc="left", fontsize=9.5, color=INK)
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


def _png(figure: Figure) -> bytes:
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", dpi=180)
    return buffer.getvalue()
