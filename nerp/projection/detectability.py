"""Whether an image shows what was added to it: the contrast of a signal against the texture that it lies in."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor

ROSE = 5.0
"""Signal-to-noise ratio from which a signal is taken for visible: what Rose found that observers need to see a disc
wherever it may lie. Of a hundred balls of tissue and phantoms' findings, looked at beside the same film without them,
none below 4.5 could be made out, half of those from 5 to 6, and nearly all above 6.5; no readers were asked."""
LEAST_MARGIN_MM, MOST_MARGIN_MM = 20.0, 60.0
"""How far around a signal its surroundings reach, at the detector: as far as it is wide, within these."""
TAPER = 0.25
"""Part of the surroundings' height and width over which their texture fades out at either edge."""
LEVELS = 255
"""Grey steps of an image as it is stored; eye, screen and rounding add noise of one of them to each pixel."""
VIEWED_MM = 600.0
"""Distance from which a film of the detector's size is looked at."""
KEENEST = 4.0
"""Cycles per degree that the eye sees best."""
RISE = 1.3
"""Exponent by which it sees slow shades less and less."""


@dataclass(frozen=True)
class Detectability:
    """How well a signal can be seen.

    Args:
        contrast:   mean of what it adds to the image within its mask, in parts of the grey scale; with its sign.
        visibility: the signal-to-noise ratio of an observer who looks for it, 0 or more.
    """

    contrast: float
    visibility: float


def detectability(
    signal: Tensor, background: Tensor, mask: Tensor, *, body: Tensor, pixel_mm: tuple[float, float]
) -> Detectability | None:
    """The signal-to-noise ratio of an observer with a human eye who knows the signal and looks for it in its texture.

    The template is the signal itself within its mask, s. The texture is what the background has in and around the mask,
    less a smooth trend: a quadratic surface fitted to it. Both are seen through the eye, see `eye_filter`, which
    is blind to slow shades and to the finest grain. The eye's template, laid on what it sees of the texture at every
    place, gives numbers with the variance V, to which eye and screen add white noise of a grey step; SNR = Σ(Es)² / √V.
    Ribs, vessels and edges of the size of the signal so hide it by what of them the template takes for the signal;
    quantum noise does by its spectrum.

    Args:
        signal:     (H, W) what was added, without noise, in parts of the grey scale.
        background: (H, W) the image without it, with its noise, in parts of the grey scale.
        mask:       (H, W) bool, where it lies.
        body:       (H, W) bool, where the beam met somebody: open beam is no texture.
        pixel_mm:   between rows, between columns, at the detector.

    Returns:
        None of an empty mask.

    Source: non-prewhitening matched filter with an eye filter, Burgess 1994, J Opt Soc Am A 11:1237, and 1999, 16:633;
    texture as noise, Kundel & Revesz 1976, AJR 126:1233; the ratio that is needed, Rose 1948, J Opt Soc Am 38:196.
    """
    mask = mask & body
    if not mask.any():
        return None
    box = _surroundings(mask, pixel_mm)
    inside = mask[box]
    weight = body[box] * _taper(inside)
    around = signal[box][body[box] & ~inside]
    offset = around.median() if len(around) else signal.new_zeros(())
    template = torch.where(inside, (signal[box] - offset).double(), 0.0)
    texture = _detrended(background[box].double(), weight)
    visibility = _seen(template, texture, float((weight**2).sum()), eye_filter(template, pixel_mm))
    return Detectability(float(template[inside].mean()), visibility)


def eye_filter(image: Tensor, pixel_mm: tuple[float, float]) -> Tensor:
    """The eye's response to the spatial frequencies of an image, from 0, up to its greatest.

    Args:
        image:    (H, W), whose shape, dtype and device it takes.
        pixel_mm: between rows, between columns, of the film as it is looked at.

    Returns:
        (H, W // 2 + 1), unitless, as `torch.fft.rfft2` orders frequencies.

    Source: greatest at 4 cycles per degree, Burgess 1994, J Opt Soc Am A 11:1237; E(f) = f^1.3 exp(-c f^2) of cycles
    per degree, with c so that it is, Richard & Siewerdsen 2008, Med Phys 35:5043.
    """
    degree_mm, kind = VIEWED_MM * math.tan(math.radians(1.0)), {"dtype": image.dtype, "device": image.device}
    rows = torch.fft.fftfreq(image.shape[0], pixel_mm[0], **kind) * degree_mm
    columns = torch.fft.rfftfreq(image.shape[1], pixel_mm[1], **kind) * degree_mm
    frequency = torch.hypot(rows[:, None], columns[None])
    return frequency**RISE * torch.exp(-RISE / 2 * (frequency / KEENEST) ** 2)


def _seen(template: Tensor, texture: Tensor, n_pixels: float, eye: Tensor) -> float:
    """The ratio of a template (h, w) in a texture (h, w) worth so many pixels; both go on periodically."""
    shape = template.shape
    seen = torch.fft.rfft2(template) * eye
    energy = float((torch.fft.irfft2(seen, s=shape) ** 2).sum())
    if not energy:
        return 0.0
    laid = torch.fft.irfft2(torch.fft.rfft2(texture) * (seen * eye).conj(), s=shape)
    own = float((torch.fft.irfft2(seen * eye, s=shape) ** 2).sum()) / LEVELS**2
    return energy / math.sqrt(float((laid**2).sum()) / max(n_pixels, 1.0) + own)


def _surroundings(mask: Tensor, pixel_mm: tuple[float, float]) -> tuple[slice, slice]:
    """The rows and columns about a mask (H, W), and a margin as wide as a disc of its area."""
    width_mm = 2 * math.sqrt(float(mask.sum()) * pixel_mm[0] * pixel_mm[1] / math.pi)
    margin_mm = min(max(width_mm, LEAST_MARGIN_MM), MOST_MARGIN_MM)
    found = [mask.any(dim=1 - axis).nonzero()[:, 0] for axis in (0, 1)]
    rows, columns = (
        slice(max(0, int(where[0]) - round(margin_mm / side)), int(where[-1]) + 1 + round(margin_mm / side))
        for where, side in zip(found, pixel_mm, strict=True)
    )
    return rows, columns


def _taper(image: Tensor) -> Tensor:
    """(h, w) weights that fall to 0 at the edges, lest these pass for texture where it goes on periodically."""
    sides = []
    for count in image.shape:
        place = torch.arange(count, dtype=torch.float64, device=image.device) + 0.5
        within = torch.minimum(place, count - place) / max(TAPER * count, 1.0)
        sides.append(torch.sin(math.pi / 2 * within.clamp(max=1.0)) ** 2)
    return sides[0][:, None] * sides[1][None]


def _detrended(image: Tensor, weight: Tensor) -> Tensor:
    """(h, w) less the quadratic surface that fits it best by the weight (h, w), times that."""
    axes = [torch.linspace(-1.0, 1.0, n, dtype=image.dtype, device=image.device) for n in image.shape]
    y, x = torch.meshgrid(*axes, indexing="ij")
    terms = torch.stack([torch.ones_like(x), x, y, x * x, x * y, y * y], dim=-1) * weight[..., None]
    flat, wanted = terms.flatten(0, 1), (image * weight).flatten()
    normal = flat.T @ flat
    ridge = 1e-9 * normal.diagonal().sum() * torch.eye(len(normal), dtype=image.dtype, device=image.device)
    return image * weight - terms @ torch.linalg.solve(normal + ridge, flat.T @ wanted)
