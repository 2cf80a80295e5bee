"""A discriminator of patches: how surely texture alone tells generated images from real ones, and by what.

It sees energies of fine waves within patches (`patch_features`), not anatomy or brightness: .5 says that the texture
does not give images away, and nothing of the rest.
"""

from __future__ import annotations

import math
from collections.abc import Hashable, Sequence

import numpy as np
import torch
from torch import Tensor

from nerp.devices import SINGLE
from nerp.evaluation.auroc import auroc
from nerp.evaluation.folds import grouped_folds
from nerp.evaluation.logistic import fit_logistic
from nerp.evaluation.patches import BASIS, places

PENALTY = 100.0
"""Of the squared weights, against the sum of the patches' losses."""


def cross_validated_logits(
    features: Tensor, labels: Sequence[int], groups: Sequence[Hashable], *, n_folds: int, generator: torch.Generator
) -> Tensor:
    """How much each patch looks generated to a discriminator that has seen nothing of its patient.

    Args:
        features:  (N, P, F) from `patch_features`.
        labels:    (N,) 1 for generated images, 0 for real ones.
        groups:    (N,) patients or CTs, which no fold shares with another.
        n_folds:   how many discriminators are fitted, each to all folds but one.
        generator: source of the folds.

    Returns:
        (N, P) float64 log odds, from the discriminator that was not fitted to the image.

    Raises:
        EvaluationError: too few groups; see `grouped_folds`.
    """
    n_images, n_patches, n_features = features.shape
    fold = torch.tensor(
        grouped_folds(groups, labels, n_folds=n_folds, generator=generator), device="cpu", dtype=torch.int64
    )
    wanted = torch.tensor(list(labels), **SINGLE)
    logits = torch.empty(n_images, n_patches, dtype=torch.float64, device="cpu")
    for number in range(n_folds):
        seen, held = fold != number, fold == number
        fitted = fit_logistic(
            features[seen].reshape(-1, n_features), wanted[seen].repeat_interleave(n_patches), penalty=PENALTY
        )
        logits[held] = fitted.logits(features[held].reshape(-1, n_features)).view(-1, n_patches)
    return logits


def widened(interval: tuple[float, float], value: float, n_folds: int) -> tuple[float, float]:
    """An interval that allows for the discriminators, too, which were fitted to images that they share.

    Resampling the judged images alone takes the discriminators for given: of 30 random halves of real films, its
    interval held .5 in 25.

    Args:
        interval: its ends, 0 to 1.
        value:    the AUROC within.
        n_folds:  of the cross-validation.

    Returns:
        Both ends sqrt(1 + n_folds / (n_folds - 1)) times as far off, within 0 and 1: 1.5 times with five folds.

    Source: Nadeau & Bengio 2003, the corrected variance of cross-validation, section 4.1.
    """
    factor = math.sqrt(1 + n_folds / (n_folds - 1))
    low, high = (value + factor * (end - value) for end in interval)
    return max(0.0, low), min(1.0, high)


def auroc_by_place(logits: Tensor, labels: Sequence[int], side: int) -> np.ndarray:
    """Where images give themselves away: the AUROC of each place's patch alone.

    Args:
        logits: (N, P) from `cross_validated_logits`.
        labels: (N,) 1 for generated images, 0 for real ones.
        side:   pixels of the images.

    Returns:
        (R, R) float64, 0 to 1, as the patches lie.
    """
    found = [auroc(column, labels) for column in logits.T.numpy()]
    return np.array(found).reshape(places(side), places(side))


def auroc_by_wave(features: Tensor, labels: Sequence[int]) -> np.ndarray:
    """By which waves: the AUROC of an image's mean log energy of each alone, without any learning.

    Args:
        features: (N, P, 126) from `patch_features`.
        labels:   (N,) 1 for generated images, 0 for real ones.

    Returns:
        (8, 8) float64, [v, u] of v cycles down and u across 16 pixels; above .5 where generated images have more. The
        constant wave, which is not looked at, has .5.
    """
    energies = features[..., : BASIS**2 - 1].mean(1)
    found = [0.5] + [auroc(column, labels) for column in energies.T.numpy()]
    return np.array(found).reshape(BASIS, BASIS)


def telling_patches(logits: Tensor, rows: Sequence[int], *, count: int) -> list[tuple[int, int]]:
    """The patches of highest log odds, one an image at most.

    Args:
        logits: (N, P); give their negative for what looks most real.
        rows:   images to choose among.
        count:  how many at most.

    Returns:
        (image, place) each, the most telling first.
    """
    best = logits[list(rows)].max(dim=1)
    order = best.values.argsort(descending=True, stable=True)[:count].tolist()
    return [(rows[one], int(best.indices[one])) for one in order]
