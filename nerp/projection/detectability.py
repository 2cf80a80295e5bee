"""Whether an image shows what was added to it: the contrast of a signal against the texture that it lies in."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor

ROSE = 5.0
"""Signal-to-noise ratio at which observers find a signal wherever it may lie, and hardly ever one that is none."""
LEAST_MARGIN_MM, MOST_MARGIN_MM = 20.0, 60.0
"""How far around a signal its surroundings reach, at the detector: as far as it is wide, within these."""
LEVELS = 255
"""Grey steps of an image as it is stored: what they round off is noise as well."""


@dataclass(frozen=True)
class Detectability:
    """How well a signal can be seen.

    Args:
        contrast:   mean of what it adds to the image within its mask, in parts of the grey scale; with its sign.
        visibility: the signal-to-noise ratio of a matched filter, 0 or more.
    """

    contrast: float
    visibility: float


def detectability(
    signal: Tensor, background: Tensor, mask: Tensor, *, body: Tensor, pixel_mm: tuple[float, float]
) -> Detectability | None:
    """The signal-to-noise ratio of an observer who knows the signal and looks for it in the texture around it.

    The template is the signal itself within its mask, s. The texture t is what the background has in and around the
    mask, less a smooth trend: a quadratic surface fitted to it. The template, laid on the texture at every place, gives
    numbers with the variance V, of which rounding to grey levels, 1 / (12 LEVELS^2) a pixel, is a part; SNR = Σs² / √V.
    On white texture of standard deviation σ this is √(Σs²) / σ: of a flat signal of contrast C on N pixels C √N / σ,
    Rose's. Coarse texture, ribs and vessels and edges of the size of the signal, counts by what of it the template
    takes for the signal, and hides more than white texture of the same standard deviation does.

    Args:
        signal:     (H, W) what was added, without noise, in parts of the grey scale.
        background: (H, W) the image without it, with its noise, in parts of the grey scale.
        mask:       (H, W) bool, where it lies.
        body:       (H, W) bool, where the beam met somebody: open beam is no texture.
        pixel_mm:   between rows, between columns, at the detector.

    Returns:
        None of an empty mask.

    Source: non-prewhitening matched filter, Burgess 1999, J Opt Soc Am A 16:633 (eqs for SNR of NPW observers); the
    variance by laying the template on real backgrounds, Revesz et al. 1974, Invest Radiol 9:479, and Kundel & Revesz
    1976, AJR 126:1233 (conspicuity); Rose 1948, J Opt Soc Am 38:196.
    """
    mask = mask & body
    if not mask.any():
        return None
    box = _surroundings(mask, pixel_mm)
    inside, weight = mask[box], body[box].double()
    around = signal[box][body[box] & ~inside]
    offset = around.median() if len(around) else signal.new_zeros(())
    template = torch.where(inside, (signal[box] - offset).double(), 0.0)
    texture = _detrended(background[box].double(), weight)
    energy = float((template**2).sum())
    variance = _filtered_variance(template, texture, weight) + energy / (12 * LEVELS**2)
    visibility = energy / math.sqrt(variance) if energy else 0.0
    return Detectability(float(template[inside].mean()), visibility)


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


def _detrended(image: Tensor, weight: Tensor) -> Tensor:
    """(h, w) less the quadratic surface that fits it best where the weight (h, w) is 1; 0 elsewhere."""
    axes = [torch.linspace(-1.0, 1.0, n, dtype=image.dtype, device=image.device) for n in image.shape]
    y, x = torch.meshgrid(*axes, indexing="ij")
    terms = torch.stack([torch.ones_like(x), x, y, x * x, x * y, y * y], dim=-1) * weight[..., None]
    flat, wanted = terms.flatten(0, 1), (image * weight).flatten()
    normal = flat.T @ flat
    ridge = 1e-9 * normal.diagonal().sum() * torch.eye(len(normal), dtype=image.dtype, device=image.device)
    return image * weight - terms @ torch.linalg.solve(normal + ridge, flat.T @ wanted)


def _filtered_variance(template: Tensor, texture: Tensor, weight: Tensor) -> float:
    """Mean square of a template (h, w) laid on a texture (h, w) at every place, the texture going on periodically."""
    laid = torch.fft.irfft2(torch.fft.rfft2(texture) * torch.fft.rfft2(template).conj(), s=texture.shape)
    return float((laid**2).sum()) / max(float(weight.sum()), 1.0)
