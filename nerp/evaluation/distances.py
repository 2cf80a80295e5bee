"""Distances between two sets of features: FID, KID; and the Inception score of one set.

The values are torch-fidelity's on float64 features, which tests hold them to; they are computed in forms that many
subsets can afford.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from nerp.devices import SINGLE, WHOLE

KID_SUBSET = 1000
KID_SUBSETS = 100
ISC_SPLITS = 10
INFINITY_FRACTIONS = 15
INFINITY_SMALLEST = 0.5
"""FID-infinity is drawn from so many sizes of subsets, from this fraction of all images to all of them."""


@dataclass(frozen=True)
class Moments:
    """Mean and covariance of features, all that FID knows of a set.

    Args:
        mean:     (F,) float64.
        root:     (K, F) float64, where root'root is the covariance and K is at most F.
        n_images: that they were taken of.
    """

    mean: Tensor
    root: Tensor
    n_images: int


def moments(features: Tensor) -> Moments:
    """Mean and covariance of features (N, F) float64, N of 2 or more; the covariance divides by N - 1."""
    mean = features.mean(0)
    root = (features - mean) / math.sqrt(len(features) - 1)
    return Moments(mean, root if len(root) <= root.shape[1] else covariance_root(root.T @ root), len(features))


def covariance_root(covariance: Tensor) -> Tensor:
    """A root (F, F) of a covariance (F, F) float64, such that root'root gives it back."""
    values, vectors = torch.linalg.eigh(covariance)
    return _without_noise(values).sqrt()[:, None] * vectors.T


def _without_noise(eigenvalues: Tensor) -> Tensor:
    """Eigenvalues of a matrix that has none below 0, those within rounding of 0 made 0."""
    noise = eigenvalues.max() * len(eigenvalues) * torch.finfo(eigenvalues.dtype).eps
    return eigenvalues.where(eigenvalues > noise, 0.0)


def frechet(fake: Moments, real: Moments) -> float:
    """FID between two sets, >= 0.

    With covariances A'A and B'B, tr (cov cov')^(1/2) is the sum of the singular values of A B', which is as small as
    the smaller set: fast where images are fewer than features, as in every subset.

    Args:
        fake: of features that the extractor of `real` gave.
        real: likewise.

    Source: Heusel 2017; the trace from the images' side as in Mathiasen and Hvilshoj 2020.
    """
    shared = fake.root @ real.root.T
    squared = shared @ shared.T if len(shared) <= shared.shape[1] else shared.T @ shared
    overlap = _without_noise(torch.linalg.eigvalsh(squared)).sqrt().sum()
    spread = fake.root.square().sum() + real.root.square().sum()
    return max(0.0, float((fake.mean - real.mean).square().sum() + spread - 2 * overlap))


def frechet_at_infinity(fake: Tensor, real: Tensor, *, generator: torch.Generator) -> tuple[float, float]:
    """FID of infinitely many images, drawn from subsets of both sets, and the standard error of the line.

    FID of a fraction of the images is a line in one over the fraction; the line is followed to 0. Without enough
    images it is no line: both sets should have three times as many images as features.

    Args:
        fake:      (N, F) float64 features.
        real:      (M, F) float64 features.
        generator: source of the subsets.

    Source: Chong and Forsyth 2020, which draws subsets of the fake images alone.
    """
    fractions = np.linspace(INFINITY_SMALLEST, 1.0, INFINITY_FRACTIONS)
    values = [frechet(*(moments(_fraction(side, f, generator)) for side in (fake, real))) for f in fractions]
    inverse = 1.0 / fractions
    slope, end = np.polyfit(inverse, values, 1)
    residual = np.sum((np.asarray(values) - end - slope * inverse) ** 2) / (len(values) - 2)
    spread = np.sum((inverse - inverse.mean()) ** 2)
    return float(end), float(np.sqrt(residual * (1 / len(values) + inverse.mean() ** 2 / spread)))


def _fraction(features: Tensor, fraction: float, generator: torch.Generator) -> Tensor:
    if fraction == 1.0:
        return features
    return features[torch.randperm(len(features), generator=generator, **WHOLE)[: round(fraction * len(features))]]


def kernel(fake: Tensor, real: Tensor, *, seed: int = 0) -> float:
    """KID between two sets of features: the mean of the unbiased squared MMD over subsets, torch-fidelity's own ones.

    A subset holds 1000 images, or as many as the smaller set has; where that is all of both, one subset is enough.

    Args:
        fake: (N, F) float64 features.
        real: (M, F) float64 features.
        seed: of the subsets.

    Source: Binkowski 2018.
    """
    size = min(KID_SUBSET, len(fake), len(real))
    count = 1 if size == len(fake) == len(real) else KID_SUBSETS
    draws = np.random.RandomState(seed)
    taken = [torch.zeros(count, len(side), dtype=torch.float64, device="cpu") for side in (fake, real)]
    for number in range(count):
        for side in taken:
            side[number, draws.choice(side.shape[1], size, replace=False)] = 1.0
    return float(squared_mmd(fake, real, counts=taken).mean())


def squared_mmd(fake: Tensor, real: Tensor, *, counts: Sequence[Tensor] | None = None) -> Tensor:
    """Unbiased squared MMD of whole sets under KID's kernel (x.y / F + 1)^3, for many subsets in one pass.

    Args:
        fake:   (N, F) float64 features.
        real:   (M, F) float64 features.
        counts: how often each subset holds each image, (R, N) and (R, M) float64; None takes each image once.

    Returns:
        (R,) values; (1,) without counts.

    Source: Gretton 2012 (the unbiased estimate), Binkowski 2018 (the kernel).
    """
    counts = counts or [torch.ones(1, len(side), **SINGLE).double() for side in (fake, real)]
    within = []
    for features, times in zip((fake, real), counts, strict=True):
        size = times.sum(1)
        itself = times @ (features.square().mean(1) + 1.0) ** 3
        within.append((_kernel_sum(features, features, times, times) - itself) / (size * (size - 1)))
    across = _kernel_sum(fake, real, *counts) / (counts[0].sum(1) * counts[1].sum(1))
    return within[0] + within[1] - 2 * across


def _kernel_sum(first: Tensor, second: Tensor, counts: Tensor, second_counts: Tensor) -> Tensor:
    """(R,) sums of the kernel over all pairs, counted; in blocks of rows, so that memory stays flat."""
    total = torch.zeros(len(counts), dtype=torch.float64, device="cpu")
    for rows in torch.arange(len(first), **WHOLE).split(1024):
        kernels = (second @ first[rows].T / first.shape[1] + 1.0) ** 3
        total += (counts[:, rows] * (second_counts @ kernels)).sum(1)
    return total


def inception_score(logits: Tensor) -> float:
    """exp of the mean KL from each image's classes to all images' classes, by torch-fidelity; logits (N, K), >= 1.

    The mean of ten splits where there are at least 1000 images; of one where fewer, since a split of n images can
    score n at most.

    Source: Salimans 2016.
    """
    from torch_fidelity.metric_isc import KEY_METRIC_ISC_MEAN, isc_features_to_metric

    return isc_features_to_metric(logits, splits=isc_splits(len(logits)))[KEY_METRIC_ISC_MEAN]


def isc_splits(count: int) -> int:
    """How many splits an Inception score of so many images is the mean of."""
    return ISC_SPLITS if count >= 100 * ISC_SPLITS else 1
