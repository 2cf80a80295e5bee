"""The pictures of a report: charts by matplotlib, radiographs with their masks outlined. All are PNG bytes."""

from __future__ import annotations

import io
from collections.abc import Sequence

import numpy as np

from nerp.data.pairs import png_bytes

INK, SOFT, LINE = "#1c2024", "#5b646d", "#d9dde1"
BLUE, PALE, AMBER = "#2b6ca3", "#b9d0e4", (255, 176, 0)


def outlined(image: np.ndarray, mask: np.ndarray) -> bytes:
    """A radiograph with its mask's inner boundary drawn in amber.

    Args:
        image: (H, W) uint8.
        mask:  (H, W) bool.
    """
    padded = np.pad(mask, 1)
    inner = padded[:-2, 1:-1] & padded[2:, 1:-1] & padded[1:-1, :-2] & padded[1:-1, 2:]
    colour = np.repeat(image[..., None], 3, axis=2)
    colour[mask & ~inner] = AMBER
    return png_bytes(colour)


def histograms(samples: dict[str, Sequence[float]], *, columns: int = 3) -> bytes:
    """One small histogram a quantity; its name carries the unit.

    Args:
        samples: name -> values, all finite.
    """
    figure, panels = _panels(len(samples), columns)
    for panel, (name, values) in zip(panels, samples.items(), strict=True):
        values = np.asarray(values, dtype=float)
        panel.hist(values, bins=_edges(values), color=BLUE, edgecolor="white", linewidth=0.6)
        _title(panel, name)
        panel.yaxis.get_major_locator().set_params(integer=True, nbins=4)
        panel.xaxis.get_major_locator().set_params(nbins=5)
    return _png(figure)


def curves(series: dict[str, tuple[Sequence[float], Sequence[float]]], *, columns: int = 3) -> bytes:
    """One small chart a metric over the steps: the values pale, their running mean dark.

    Args:
        series: name -> (steps, values); values may hold gaps (NaN).
    """
    figure, panels = _panels(len(series), columns)
    for panel, (name, (steps, values)) in zip(panels, series.items(), strict=True):
        steps, values = np.asarray(steps, dtype=float), np.asarray(values, dtype=float)
        panel.plot(steps, values, color=PALE, linewidth=0.8)
        panel.plot(steps, smoothed(values), color=BLUE, linewidth=1.4)
        _title(panel, name)
        panel.xaxis.get_major_locator().set_params(nbins=4)
        panel.yaxis.get_major_locator().set_params(nbins=4)
    return _png(figure)


def smoothed(values: np.ndarray, part: float = 0.05) -> np.ndarray:
    """The centred mean over `part` of a series, gaps left out; (N,) to (N,)."""
    half = max(1, round(len(values) * part / 2))
    known = np.isfinite(values)
    sums, counts = np.cumsum(np.r_[0.0, np.where(known, values, 0.0)]), np.cumsum(np.r_[0, known])
    ends = np.arange(len(values))
    low, high = np.maximum(ends - half, 0), np.minimum(ends + half + 1, len(values))
    count = counts[high] - counts[low]
    return np.where(count > 0, (sums[high] - sums[low]) / np.maximum(count, 1), np.nan)


def _edges(values: np.ndarray) -> np.ndarray:
    low, high = values.min(), values.max()
    width = max(high - low, 1e-6 + 1e-3 * abs(high))
    middle = (low + high) / 2
    return np.linspace(middle - width / 2, middle + width / 2, min(20, max(6, round(len(values) ** 0.5) + 1)))


def _panels(n: int, columns: int):
    from matplotlib.figure import Figure

    rows = -(-n // columns)
    figure = Figure(figsize=(3.3 * columns, 2.1 * rows), layout="constrained")
    panels = figure.subplots(rows, columns, squeeze=False).ravel()
    for spare in panels[n:]:
        spare.set_axis_off()
    return figure, panels[:n]


def _title(panel, name: str) -> None:
    panel.set_title(name, loc="left", fontsize=9.5, color=INK)
    panel.tick_params(labelsize=8, colors=SOFT, length=3)
    for side in ("top", "right"):
        panel.spines[side].set_visible(False)
    for side in ("left", "bottom"):
        panel.spines[side].set_color(LINE)


def _png(figure) -> bytes:
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", dpi=160)
    return buffer.getvalue()
