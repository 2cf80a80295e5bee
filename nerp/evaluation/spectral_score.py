"""How far two sets of images lie apart in their radial spectra, with an interval and a scale."""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from dataclasses import asdict
from statistics import fmean, pstdev
from typing import Any

import torch
from torch import Tensor

from nerp.evaluation.bootstrap import percentile_interval, resamples
from nerp.evaluation.fair_images import FairImages
from nerp.evaluation.folds import grouped_folds
from nerp.evaluation.score import Score
from nerp.evaluation.spectrum import (
    most_different_band,
    radial_spectra,
    ring_frequencies,
    spectral_distance,
)
from nerp.randomness import stream

HALVINGS = 10
"""Random halves of the real set, for the scale."""


def compare_spectra(
    images: FairImages, groups: Sequence[Hashable], n_fake: int, *, n_resamples: int, seed: int
) -> dict[str, Any]:
    """The mean spectra of both sets, how far they lie apart, and where most.

    The interval resamples patients and CTs of both sets; resampling by itself raises the distance, so it is shifted
    until its median falls on the value.

    Args:
        images:      of both sets, the generated ones first.
        groups:      one label an image, of its patient or CT.
        n_fake:      how many are generated.
        n_resamples: bootstrap sets of the interval; 0 leaves it out.
        seed:        of the draws.

    Returns:
        JSON-ready: `frequencies` in cycles a pixel; `fake` and `real`, `mean` and `sd` among images in dB; `distance`
        in dB with its interval; `floor`, the distance of two halves of the real set, mean and `sd` of ten halvings;
        `band`, see `Band`.
    """
    spectra = torch.cat([radial_spectra(images.levels(slice(row, row + 64))) for row in range(0, len(groups), 64)])
    fake, real = spectra[:n_fake], spectra[n_fake:]
    frequencies = ring_frequencies(images.side)
    distance = spectral_distance(fake, real)
    interval = _interval(fake, real, groups, distance, n_resamples=n_resamples, seed=seed) if n_resamples else None
    return {
        "frequencies": [round(one, 5) for one in frequencies.tolist()],
        "fake": _mean_and_spread(fake),
        "real": _mean_and_spread(real),
        "distance": Score(distance, interval, len(groups)).to_dict() | {"unit": "dB"},
        "floor": _floor(real, groups[n_fake:], seed),
        "band": asdict(most_different_band(fake, real, frequencies)),
    }


def _mean_and_spread(spectra: Tensor) -> dict[str, list[float]]:
    return {
        "mean": [round(one, 3) for one in spectra.mean(0).tolist()],
        "sd": [round(one, 3) for one in spectra.std(0).tolist()],
    }


def _interval(
    fake: Tensor, real: Tensor, groups: Sequence[Hashable], distance: float, *, n_resamples: int, seed: int
) -> tuple[float, float]:
    drawn = [
        resamples(part, n_resamples, generator=stream(seed, 0, name))
        for name, part in (("fake", groups[: len(fake)]), ("real", groups[len(fake) :]))
    ]
    found = [spectral_distance(fake[rows], real[others]) for rows, others in zip(*drawn, strict=True)]
    low, high = percentile_interval(found)
    shift = distance - float(torch.tensor(found, dtype=torch.float64, device="cpu").quantile(0.5))
    return max(0.0, low + shift), high + shift


def _floor(real: Tensor, groups: Sequence[Hashable], seed: int) -> dict[str, Any]:
    """The distance of two halves of the real set, no patient in both."""
    found = []
    for number in range(HALVINGS):
        generator = stream(seed, number, "halves")
        half = torch.tensor(
            grouped_folds(groups, [0] * len(real), n_folds=2, generator=generator), device="cpu", dtype=torch.int64
        )
        found.append(spectral_distance(real[half == 0], real[half == 1]))
    return {"value": fmean(found), "sd": pstdev(found), "n": len(real) // 2}
