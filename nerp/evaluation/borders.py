"""Where a mask's border fits an image: how far the image's edges run along it, for the mask where it is and shifted.

Edges count by direction and hardly by strength, so that a faint diaphragm weighs as much as a metal wire. All shifts
come from one correlation.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

SMOOTHING_PX = 1.0
"""Gaussian that images and masks are differentiated with, pixels: more rounds a mask's corners, which then seem to lie
inside of their edges; less follows the steps of its pixels."""
STRONG = 0.8
"""Gradients above this quantile of the image count as edges in full."""
MIRROR_MARGIN = 1.1
"""A mirrored mask has to fit so much better before it is told of; symmetric masks fit both ways."""


@dataclass(frozen=True)
class Fit:
    """How a mask fits an image, and where it would fit best.

    Args:
        score:     0 to 1: the agreement where the mask is to fit as a part of the best, times what the distance leaves.
        agreement: -1 to 1: of the border where it is; 1 where it runs along strong edges all the way.
        best:      -1 to 1: of the border shifted to where it fits best.
        mirrored:  -1 to 1: of the border mirrored left to right and shifted to where that fits best.
        dx, dy:    from the border to where it fits best, pixels, columns and rows.
    """

    score: float
    agreement: float
    best: float
    mirrored: float
    dx: float
    dy: float

    @property
    def distance(self) -> float:
        """From the border to where it fits best, pixels."""
        return float(np.hypot(self.dx, self.dy))

    @property
    def is_mirrored(self) -> bool:
        """Whether the mask fits better when it is mirrored."""
        return self.mirrored > MIRROR_MARGIN * self.best


def edge_field(image: np.ndarray) -> np.ndarray:
    """The image's gradient, its length brought to 0..1; the quantile `STRONG` of all lengths comes to .71.

    Args:
        image: (H, W), any unit.

    Returns:
        (2, H, W) along rows and columns, unitless; zeros of a blank image.

    Source: normalised gradient fields, g / sqrt(|g|^2 + e^2), Haber & Modersitzki 2006; e is the quantile.
    """
    gradient = _gradient(image, mode="reflect")
    length = np.hypot(*gradient)
    softness = float(np.quantile(length, STRONG)) or float(length.max())
    return gradient / np.sqrt(length**2 + softness**2) if softness > 0 else gradient


def border_field(mask: np.ndarray) -> np.ndarray:
    """Outward normals along a mask's border, so long that they sum up to the border's length.

    Args:
        mask: (H, W) bool.

    Returns:
        (2, H, W) along rows and columns; zeros away from the border, and where the mask runs on beyond the image.
    """
    return -_gradient(mask.astype(np.float64), mode="nearest")


def _gradient(values: np.ndarray, *, mode: str) -> np.ndarray:
    from scipy.ndimage import gaussian_filter

    doubles = values.astype(np.float64)
    return np.stack([gaussian_filter(doubles, SMOOTHING_PX, order=order, mode=mode) for order in ((1, 0), (0, 1))])


@dataclass(frozen=True)
class Edges:
    """An image's edges, ready to be compared with borders at many shifts.

    Args:
        along:  (2, h, w') complex spectra of the edges along rows and columns.
        inside: (h, w') complex spectrum of the image's extent.
        shape:  (h, w) of the padded image, pixels.
        reach:  farthest shift along rows and along columns, pixels.
    """

    along: np.ndarray
    inside: np.ndarray
    shape: tuple[int, int]
    reach: int


def edges_of(image: np.ndarray, reach: int) -> Edges:
    """The edges of an image, from `edge_field`.

    Args:
        image: (H, W), any unit.
        reach: farthest shift that is looked at, pixels.
    """
    from scipy.fft import next_fast_len, rfft2

    shape = (next_fast_len(image.shape[0] + 2 * reach, True), next_fast_len(image.shape[1] + 2 * reach, True))
    edges = np.pad(edge_field(image), ((0, 0), (reach, reach), (reach, reach)))
    return Edges(rfft2(edges, s=shape), rfft2(np.pad(np.ones(image.shape), reach), s=shape), shape, reach)


def agreement_map(edges: Edges, border: np.ndarray) -> np.ndarray:
    """The mean of the edges along the outward normals, over the border, for every shift of the border.

    Args:
        edges:  of the image, R their reach.
        border: (2, H, W) from `border_field`.

    Returns:
        (2 R + 1, 2 R + 1) in -1..1, positive where the inside is darker; [R + dy, R + dx] is the border shifted by dy
        rows and dx columns. What is shifted out of the image does not count. Zeros without a border.
    """
    from scipy.fft import irfft2, rfft2

    transformed = np.conj(rfft2(np.concatenate([border, np.hypot(*border)[None]]), s=edges.shape))
    products = np.stack([(edges.along * transformed[:2]).sum(0), edges.inside * transformed[2]])
    sums = irfft2(products, s=edges.shape)[:, : 2 * edges.reach + 1, : 2 * edges.reach + 1]
    return np.where(sums[1] > 0.5, sums[0] / np.maximum(sums[1], 0.5), 0.0)  # half a pixel of border is none


def maps_of(edges: Edges, mask: np.ndarray) -> np.ndarray:
    """The agreement of a mask's border, and of the mirrored mask's, with an image at every shift.

    Args:
        edges: of the image, R their reach.
        mask:  (H, W) bool.

    Returns:
        (2, 2 R + 1, 2 R + 1) float32 in -1..1, see `agreement_map`.
    """
    maps = [agreement_map(edges, border_field(one)) for one in (mask, mask[:, ::-1])]
    return np.stack(maps).astype(np.float32)


def fit_of(maps: np.ndarray, *, inside: str = "dark", tolerance: float, about: tuple[float, float] = (0.0, 0.0)) -> Fit:
    """The fit that maps of agreement tell.

    The score is A(a) / max(A, A') exp(-d^2 / 2 t^2), cut at 0: A the agreement by shift, A' that of the mirrored mask,
    a the shift at which the mask is to fit, d the distance from there to the best shift, t the tolerance.

    Args:
        maps:      (2, 2 R + 1, 2 R + 1) in -1..1 from `maps_of`.
        inside:    `dark` or `bright`: what the structure is beside its surroundings.
        tolerance: distance that leaves 61 % of the score, pixels.
        about:     columns and rows of the shift at which the mask is to fit; 0, 0 is where it lies.

    Source: nerp's own.
    """
    agreement, mirrored = maps.astype(np.float64) * (1.0 if inside == "dark" else -1.0)
    reach = agreement.shape[0] // 2
    row, column = (int(place) for place in np.unravel_index(int(agreement.argmax()), agreement.shape))
    dx = column - reach + _between(agreement[row, :], column)
    dy = row - reach + _between(agreement[:, column], row)
    best, other = float(agreement.max()), float(mirrored.max())
    expected = float(agreement[reach + round(about[1]), reach + round(about[0])])
    kept = max(expected, 0.0) / max(best, other) if max(best, other) > 0 else 0.0
    squared = (dx - about[0]) ** 2 + (dy - about[1]) ** 2
    score = kept * float(np.exp(-squared / (2 * tolerance**2)))
    return Fit(score, float(agreement[reach, reach]), best, other, dx, dy)


def fitting_side(maps: Sequence[np.ndarray]) -> str:
    """`dark` or `bright`: as which masks fit better at their best places, all of them together.

    Args:
        maps: (2, H, W) of each mask in -1..1, H = W = twice the reach and 1, from `maps_of`.
    """
    dark, bright = (sum(float((sign * one[0]).max()) for one in maps) for sign in (1, -1))
    return "dark" if dark >= bright else "bright"


def common_shift(maps: Sequence[np.ndarray], *, inside: str) -> tuple[float, float]:
    """The medians of the columns and of the rows by which masks would fit better, pixels.

    Args:
        maps:   (2, H, W) of each mask in -1..1, from `maps_of`; at least one mask.
        inside: `dark` or `bright`.
    """
    found = [fit_of(one, inside=inside, tolerance=1.0) for one in maps]
    return float(np.median([fit.dx for fit in found])), float(np.median([fit.dy for fit in found]))


def _between(values: np.ndarray, peak: int) -> float:
    """How far the top of the parabola through a peak and its neighbours lies from it, -.5 to .5."""
    if not 0 < peak < len(values) - 1:
        return 0.0
    before, top, after = values[peak - 1 : peak + 2]
    bend = before - 2 * top + after
    return float(np.clip(0.5 * (before - after) / bend, -0.5, 0.5)) if bend < 0 else 0.0
