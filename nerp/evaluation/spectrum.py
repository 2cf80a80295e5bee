"""Radial power spectra: how much of an image lies at each fineness, whatever its direction and place."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from nerp.devices import SINGLE, WHOLE

BLOCK = 64
"""Images transformed at a time, so that memory stays flat."""
FLOOR = 1e-3
"""Power, in squared grey levels, that is added to every frequency, so that an empty one has a logarithm; rounding to
8 bits alone leaves 1/12 = 0.083 in each."""


def radial_spectra(images: Tensor) -> Tensor:
    """The mean power of each ring of frequencies, in decibels, of every image.

    Each image has its mean taken off and is faded out by a Hann window, so that its borders add no edges. White noise
    of variance v has 10 log10(v) in every ring but the first, of which the mean takes a third.

    Args:
        images: (N, S, S) float32 grey levels; S even.

    Returns:
        (N, S / 2 - 1) float64 dB: ring k holds the frequencies within half a cycle of k cycles a side, k from 1.

    Source: the periodogram, Welch 1967; its ring averages as in Durall 2020, section 3.1.
    """
    side = images.shape[-1]
    window = torch.hann_window(side, periodic=True, **SINGLE)
    window = window[:, None] * window
    rings = _rings(side)
    counts = rings.flatten().bincount(minlength=side)
    found = []
    for block in images.split(BLOCK):
        centred = block - (block * window).sum((1, 2), keepdim=True) / window.sum()
        power = torch.fft.fft2(centred * window).abs().square().double() / window.double().square().sum()
        sums = torch.zeros(len(block), side, dtype=torch.float64, device="cpu")
        sums.index_add_(1, rings.flatten(), power.flatten(1))
        found.append((sums / counts)[:, 1 : side // 2])
    return 10 * torch.log10(torch.cat(found) + FLOOR)


def ring_frequencies(side: int) -> Tensor:
    """(side / 2 - 1,) float64 cycles a pixel, 0 to .5: of the rings of `radial_spectra`."""
    return torch.arange(1, side // 2, **WHOLE).double() / side


def _rings(side: int) -> Tensor:
    """(side, side) int64: the number of cycles a side of each frequency of `fft2`, rounded; below `side`."""
    cycles = torch.fft.fftfreq(side, 1 / side, **SINGLE)
    return torch.hypot(cycles[:, None], cycles).round().to(torch.int64)


@dataclass(frozen=True)
class Band:
    """Frequencies where two sets differ most.

    Args:
        low, high: its ends, cycles a pixel.
        decibels:  mean power of the generated images above that of the real ones there.
        effect:    mean difference over the spread among images, the root of the mean of both variances.
    """

    low: float
    high: float
    decibels: float
    effect: float


def spectral_distance(fake: Tensor, real: Tensor) -> float:
    """The root mean square over frequencies of the difference of mean log power; dB, >= 0.

    Args:
        fake: (N, K) dB, from `radial_spectra`.
        real: (M, K) dB.

    Source: log-spectral distance, Gray & Markel 1976, of mean spectra.
    """
    return math.sqrt(float((fake.mean(0) - real.mean(0)).square().mean()))


def most_different_band(fake: Tensor, real: Tensor, frequencies: Tensor) -> Band:
    """The band about the frequency of the largest effect, out to where the effect has halved or changes its sign.

    Args:
        fake:        (N, K) dB, from `radial_spectra`; N >= 2.
        real:        (M, K) dB; M >= 2.
        frequencies: (K,) cycles a pixel.
    """
    difference = fake.mean(0) - real.mean(0)
    spread = ((fake.var(0) + real.var(0)) / 2).sqrt().clamp(min=1e-9)
    effect = difference / spread
    peak = int(effect.abs().argmax())
    like = effect * effect[peak].sign() >= effect[peak].abs() / 2
    low = peak - _run(like[: peak + 1].flip(0)) + 1
    high = peak + _run(like[peak:]) - 1
    rows = slice(low, high + 1)
    ends = float(frequencies[low]), float(frequencies[high])
    return Band(*ends, float(difference[rows].mean()), float(effect[rows].mean()))


def _run(flags: Tensor) -> int:
    """How many of (n,) bool are True before the first that is not."""
    return int(flags.int().cumprod(0).sum())
