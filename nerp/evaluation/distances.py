"""Distances between two sets of features: FID, KID; and the Inception score of one set.

The values are torch-fidelity's on float64 features; `frechet_by_images` and `squared_mmd` are the same numbers in a
form that many resamples can afford.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

from nerp.devices import SINGLE, WHOLE

KID_SUBSET = 1000
KID_SUBSETS = 100
ISC_SPLITS = 10


def frechet(fake: Tensor, real: Tensor) -> float:
    """FID between two sets of features, >= 0, by torch-fidelity.

    Args:
        fake: (N, F) float64 features.
        real: (M, F) float64 features.

    Source: Heusel 2017.
    """
    from torch_fidelity.metric_fid import KEY_METRIC_FID, fid_features_to_statistics, fid_statistics_to_metric

    statistics = [fid_features_to_statistics(features) for features in (fake, real)]
    return max(0.0, fid_statistics_to_metric(*statistics, verbose=False)[KEY_METRIC_FID])


def frechet_by_images(fake: Tensor, real: Tensor) -> float:
    """The same FID from the images' side: fast where images are fewer than features, as in every resample.

    With centred features A and B scaled so that cov = A'A and B'B, tr (cov cov')^(1/2) is the sum of the singular
    values of A B'. Matrices taller than wide are first replaced by their triangular QR factor.

    Args:
        fake: (N, F) float64 features.
        real: (M, F) float64 features.

    Source: Heusel 2017; the trace from the images' side as in Mathiasen and Hvilshoj 2020.
    """
    centred = [(features - features.mean(0)) / math.sqrt(len(features) - 1) for features in (fake, real)]
    small = [torch.linalg.qr(a, mode="r").R if len(a) > a.shape[1] else a for a in centred]
    shared = torch.linalg.svdvals(small[0] @ small[1].T).sum()
    distance = (fake.mean(0) - real.mean(0)).square().sum() + sum(a.square().sum() for a in centred) - 2 * shared
    return max(0.0, float(distance))


def kernel(fake: Tensor, real: Tensor, *, seed: int = 0) -> float:
    """KID between two sets of features, by torch-fidelity: the mean of the unbiased squared MMD over subsets.

    A subset holds 1000 images, or as many as the smaller set has; where that is all of both, one subset is enough.

    Args:
        fake: (N, F) float64 features.
        real: (M, F) float64 features.
        seed: of the subsets.

    Source: Binkowski 2018.
    """
    from torch_fidelity.metric_kid import KEY_METRIC_KID_MEAN, kid_features_to_metric

    size = min(KID_SUBSET, len(fake), len(real))
    count = 1 if size == len(fake) == len(real) else KID_SUBSETS
    scores = kid_features_to_metric(fake, real, kid_subset_size=size, kid_subsets=count, rng_seed=seed, verbose=False)
    return scores[KEY_METRIC_KID_MEAN]


def squared_mmd(fake: Tensor, real: Tensor, *, counts: tuple[Tensor, Tensor] | None = None) -> Tensor:
    """Unbiased squared MMD of whole sets under KID's kernel (x.y / F + 1)^3, for many resamples in one pass.

    Args:
        fake:   (N, F) float64 features.
        real:   (M, F) float64 features.
        counts: how often each resample holds each image, (R, N) and (R, M) float64; None takes each image once.

    Returns:
        (R,) values; (1,) without counts.

    Source: Gretton 2012 (the unbiased estimate), Binkowski 2018 (the kernel).
    """
    counts = counts or (torch.ones(1, len(fake), **SINGLE).double(), torch.ones(1, len(real), **SINGLE).double())
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
