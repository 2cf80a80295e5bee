"""From what the detector read to the film that a radiologist sees."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor
from torch.nn import functional

from nerp.physics.marker import drawn
from nerp.settings import Settings, choice, limits, number

LEAST_SIGNAL = 1e-6
"""Signals below this part of the open field's count as this."""
LEAST_BODY = 0.05
"""Part of an image that must be body for its grey levels to be taken from the body alone."""
SMALLEST_LEVEL = 4
"""Pixels along the shorter side of the coarsest level of a pyramid."""


@dataclass(frozen=True)
class Film(Settings):
    """How a flat-fielded signal is processed for display.

    Args:
        latitude:    what is left of differences between regions, such as lung and abdomen: 1 leaves them.
        detail:      gain of structures smaller than regions, such as ribs and vessels: 1 leaves them.
        faint:       optical density up to which a detail has the whole gain.
        compression: exponent by which details stronger than that are amplified less: 1 amplifies all alike.
        region_mm:   size, at the detector, from which a structure counts as a region.
        window:      quantiles of the body that become dark and bright.
        levels:      grey levels that these get, 0 black to 1 white.
        gamma:       exponent of the grey levels: below 1 brightens the lungs.
        sigmoid:     how much of the straight curve is replaced by an S-shaped one.
        open_signal: signals above this part of the open field's are taken for beam that met nobody.
        border_mm:   width of the collimator's shadow at the detector's edges; 0 for none.
        marker:      `R` or `L`: lead letter of the patient's side at that side of a frontal film.

    Raises:
        ConfigError: a value that makes no film.

    Source: multi-scale image contrast amplification, Vuylsteke & Schoeters 1994, Proc. SPIE 2167:551.
    """

    SECTION: ClassVar[str] = "film"

    latitude: float = number(1.0, 0.05, 1)
    detail: float = number(1.3, 0, 10)
    faint: float = number(0.05, 1e-4, 10)
    compression: float = number(0.8, 0.1, 1)
    region_mm: float = number(45.0, 1, 1000)
    window: tuple[float, float] = limits((0.002, 0.985), 0, 1)
    levels: tuple[float, float] = limits((0.05, 0.92), 0, 1)
    gamma: float = number(0.9, 0.1, 5)
    sigmoid: float = number(0.3, 0, 1)
    open_signal: float = number(0.5, 0.01, 10)
    border_mm: float = number(0.0, 0, 200)
    marker: str = choice("none", "R", "L")


def film(signal: Tensor, settings: Film, pixel_mm: tuple[float, float]) -> Tensor:
    """Develop flat-fielded signals: logarithm, contrast by scale, window, curve, collimator, marker.

    Args:
        signal:   (B, 1, H, W) relative to the open field: 1 where the beam met nobody.
        settings: of the processing.
        pixel_mm: between rows, between columns.

    Returns:
        (B, 1, H, W) in 0 to 1, bone bright, of the signal's dtype. Differentiable, the window included. No image's
        result depends on another of its batch.
    """
    density = -torch.log(signal.clamp_min(LEAST_SIGNAL))
    processed = contrast_by_scale(density, settings, pixel_mm)
    threshold = -math.log(settings.open_signal)
    low, high = (part.view(-1, 1, 1, 1) for part in _windows(processed, density > threshold, settings.window))
    dark, bright = settings.levels
    grey = dark + (processed - low) / (high - low).clamp_min(LEAST_SIGNAL) * (bright - dark)
    shown = curve(grey, settings)
    if settings.border_mm:
        shown = shown * collimator(shown.shape[2:], settings.border_mm, pixel_mm).to(shown)
    if settings.marker == "none":
        return shown
    letter = drawn(settings.marker, (shown.shape[2], shown.shape[3]), pixel_mm, inset_mm=settings.border_mm).to(shown)
    return shown + (1 - shown) * letter


def contrast_by_scale(density: Tensor, settings: Film, pixel_mm: tuple[float, float]) -> Tensor:
    """Amplify faint structures and flatten regions, octave by octave.

    Args:
        density:  (B, 1, H, W), minus the logarithm of the signal.
        settings: gains and the size that parts detail from region.
        pixel_mm: between rows, between columns.

    Returns:
        (B, 1, H, W). Differentiable.

    Source: c -> g m sgn(c) (|c| / m)^p beyond m on the levels of a Laplacian pyramid, Vuylsteke & Schoeters
    1994, eq. 2.
    """
    details, rest = _pyramid(density)
    for octave in reversed(range(len(details))):
        size_mm = max(pixel_mm) * 2**octave
        one = details[octave]
        gained = settings.latitude * one if size_mm >= settings.region_mm else _amplified(one, settings)
        below = settings.latitude * rest if octave == len(details) - 1 else rest
        rest = gained + _larger(below, one)
    return rest


def curve(grey: Tensor, settings: Film) -> Tensor:
    """Grey levels as a screen shows them: cut to 0 to 1, brightened, and given an S-shape.

    Args:
        grey:     (B, 1, H, W), any range.
        settings: `gamma` and `sigmoid`.

    Returns:
        (B, 1, H, W) in 0 to 1. Differentiable where it is not cut.

    Source: the VOI LUT function SIGMOID, 1 / (1 + exp(-4 (x - c) / w)), DICOM PS3.3 C.11.2.1.3.1, stretched to 0 to 1.
    """
    tiny = LEAST_SIGNAL
    straight = grey.clamp(0.0, 1.0).clamp_min(tiny) ** settings.gamma
    steep = 6.0
    foot = 1 / (1 + math.exp(steep / 2))
    bent = (torch.sigmoid(steep * (straight - 0.5)) - foot) / (1 - 2 * foot)
    return ((1 - settings.sigmoid) * straight + settings.sigmoid * bent).clamp(0.0, 1.0)


def collimator(shape: tuple[int, ...], border_mm: float, pixel_mm: tuple[float, float]) -> Tensor:
    """(H, W) transparency of the collimator's blades at the detector, 0 or 1, with an edge one pixel soft.

    Args:
        shape:     (H, W) pixels.
        border_mm: width of the shadow at each edge.
        pixel_mm:  between rows, between columns.
    """
    sides = []
    for count, side in zip(shape, pixel_mm, strict=True):
        place = torch.arange(count, dtype=torch.float64, device="cpu") + 0.5
        inside = torch.minimum(place, count - place) - border_mm / side
        sides.append((inside + 0.5).clamp(0.0, 1.0))
    return sides[0][:, None] * sides[1][None]


def _amplified(detail: Tensor, settings: Film) -> Tensor:
    size = detail.abs().clamp_min(LEAST_SIGNAL)
    strong = (size / settings.faint).clamp_min(1.0) ** (settings.compression - 1)
    return settings.detail * detail * strong


def _pyramid(image: Tensor) -> tuple[list[Tensor], Tensor]:
    """The differences between an image and what is left of it at half the size, octave by octave, and the rest."""
    details, left = [], image
    while min(left.shape[2:]) > SMALLEST_LEVEL:
        smooth = functional.avg_pool2d(functional.pad(left, (1, 1, 1, 1), mode="replicate"), 3, 1)
        half = functional.avg_pool2d(smooth, 2, ceil_mode=True)
        details.append(left - _larger(half, left))
        left = half
    return details, left


def _larger(image: Tensor, like: Tensor) -> Tensor:
    return functional.interpolate(image, size=like.shape[2:], mode="bilinear", align_corners=False)


def _windows(processed: Tensor, body: Tensor, quantiles: tuple[float, float]) -> tuple[Tensor, Tensor]:
    """(B,) each: two quantiles of every image's body, or of all of it where it shows hardly any."""
    ends = []
    for image, inside in zip(processed, body, strict=True):
        values = image[inside] if float(inside.double().mean()) >= LEAST_BODY else image.flatten()
        ordered = values.sort().values
        ends.append(torch.stack([_at(ordered, quantile) for quantile in quantiles]))
    low, high = torch.stack(ends, dim=1)
    return low, high


def _at(ordered: Tensor, quantile: float) -> Tensor:
    place = quantile * (len(ordered) - 1)
    below = int(place)
    return torch.lerp(ordered[below], ordered[min(below + 1, len(ordered) - 1)], place - below)
