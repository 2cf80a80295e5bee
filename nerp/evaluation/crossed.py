"""Intervals of scores that vary with the images and with the chance of training alike."""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from dataclasses import dataclass

import numpy as np
import torch

from nerp.devices import WHOLE
from nerp.errors import EvaluationError
from nerp.evaluation.bootstrap import percentile_interval, resamples
from nerp.evaluation.score import Score


@dataclass(frozen=True)
class CrossedDraws:
    """How often each training and each image is in each of R resamples, for all scores alike.

    Args:
        trainings: (R, S) float64 counts, >= 0.
        images:    (R, N) float64 counts, >= 0.
    """

    trainings: np.ndarray
    images: np.ndarray


def crossed_draws(
    n_trainings: int,
    n_images: int,
    *,
    generator: torch.Generator,
    groups: Sequence[Hashable] | None = None,
    n_resamples: int = 2000,
) -> CrossedDraws:
    """Draw trainings and images with replacement, each as often as there are, independently of one another.

    Args:
        n_trainings: S, at least 1.
        n_images:    N, at least 1.
        generator:   source of the draws.
        groups:      N labels where images belong together (patients), which are drawn whole.
        n_resamples: R.

    Raises:
        EvaluationError: no image, or groups of another count.

    Source: the pigeonhole bootstrap, Owen 2007, Ann. Appl. Stat. 1(2):386.
    """
    groups = range(n_images) if groups is None else groups
    if len(groups) != n_images:
        raise EvaluationError(f"found {len(groups)} groups for {n_images} images; expected one group an image")
    drawn = resamples(groups, n_resamples, generator=generator)
    images = np.stack([rows.bincount(minlength=n_images).numpy() for rows in drawn]).astype(np.float64)
    chosen = torch.randint(n_trainings, (n_resamples, n_trainings), generator=generator, **WHOLE).numpy()
    return CrossedDraws((chosen[..., None] == np.arange(n_trainings)).sum(1).astype(np.float64), images)


def crossed_score(values: np.ndarray, draws: CrossedDraws) -> Score:
    """The mean of a score over trainings and images, with its 95 % percentile interval over the draws.

    Of differences between two trainings on the same images it is the interval of a paired comparison.

    Args:
        values: (S, N) one finite score of each training on each image.
        draws:  for S trainings and N images.

    Raises:
        EvaluationError: values of another shape.
    """
    expected = (draws.trainings.shape[1], draws.images.shape[1])
    if values.shape != expected:
        raise EvaluationError(f"scores have shape {values.shape}; expected (trainings, images), {expected}")
    sums = ((draws.trainings @ values) * draws.images).sum(1)
    means = sums / (draws.trainings.sum(1) * draws.images.sum(1))
    return Score(float(values.mean()), percentile_interval(means.tolist()), expected[1])
