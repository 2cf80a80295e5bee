"""How close two sets of images are to each other: Inception score, FID and KID, with intervals.

Features first, once; distances after. The values are torch-fidelity's on float64 features. The intervals come from
resampling the images of both sets. Resamples repeat images, which by itself raises FID and KID and lowers the
Inception score; each interval is therefore shifted so that the median resample falls on the value. It tells the
spread owed to the choice of images, and not the bias of few images, which a warning tells instead. With fewer
images than features it errs on the wide side: about twice for FID on normal data.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from nerp.data.images import list_images
from nerp.errors import EvaluationError, UsageError
from nerp.evaluation.bootstrap import percentile_interval, resamples
from nerp.evaluation.extractors import Extractor, extract, load_extractor
from nerp.evaluation.score import Score

KID_SUBSET = 1000
KID_SUBSETS = 100
ISC_SPLITS = 10


def evaluate_fidelity(
    fake_dir: str | Path,
    real_dir: str | Path,
    *,
    extractor: Extractor | str = "inception",
    seed: int = 0,
    n_resamples: int = 100,
    progress: Callable[[int, int], None] | None = None,
) -> dict[str, Any]:
    """FID, KID and Inception score of a folder of images against a folder of real ones.

    Args:
        fake_dir:    folder of images, at least two.
        real_dir:    folder of images, at least two.
        extractor:   from `load_extractor`, or a name that it knows: then it runs on the CPU.
        seed:        of the KID's subsets and of the intervals.
        n_resamples: bootstrap sets an interval; 0 leaves the intervals out (null).
        progress:    called as progress(images done, images in all).

    Returns:
        JSON-ready: `fid`, `kid`, `isc`, each with `value`, `ci95` and `n`, the fake images; `isc` is of these
        alone, and its value null with a `reason` where the extractor has no classes; `extractor` with name, sha256,
        the resizing and the device; `n_fake`, `n_real`, `n_resamples`, `warnings`.

    Raises:
        DataError: a folder that is missing or empty, or a file that is no image.
        EvaluationError: fewer than two images, or features that cannot be compared.
        UsageError: an unknown extractor, or a seed that cannot be.
    """
    if not 0 <= seed < 2**32:
        raise UsageError(f"seed is {seed}; expected 0 to {2**32 - 1}")
    fake, real = _images(fake_dir), _images(real_dir)
    if isinstance(extractor, str):
        extractor = load_extractor(extractor)
    features, logits = extract(extractor, fake + real, progress=progress)
    logits = None if logits is None else logits[: len(fake)]
    result = compare(features[: len(fake)], features[len(fake) :], logits=logits, seed=seed, n_resamples=n_resamples)
    return result | {"extractor": _identity(extractor)}


def _identity(extractor: Extractor) -> dict[str, str]:
    resize = f"bilinear, antialiased, to {extractor.side} x {extractor.side}"
    return {
        "name": extractor.name,
        "sha256": extractor.sha256,
        "resize": resize,
        "device": extractor.device.type,
    }


def compare(
    fake: Tensor, real: Tensor, *, logits: Tensor | None = None, seed: int = 0, n_resamples: int = 100
) -> dict[str, Any]:
    """The scores of features already extracted.

    Args:
        fake:        (N, F) features.
        real:        (M, F) features.
        logits:      (N, K) class logits of the fake images, or None.
        seed:        of the KID's subsets and of the intervals.
        n_resamples: bootstrap sets an interval; 0 leaves the intervals out.

    Returns:
        As `evaluate_fidelity`, without `extractor`.
    """
    fake, real = fake.double(), real.double()
    generator = torch.Generator().manual_seed(seed)
    drawn = [list(resamples(range(len(side)), n_resamples, generator=generator)) for side in (fake, real)]
    mmds = squared_mmd(fake, real, counts=(_counts(drawn[0], len(fake)), _counts(drawn[1], len(real))))
    distances = [frechet_by_images(fake[rows], real[columns]) for rows, columns in zip(*drawn, strict=True)]
    return {
        "fid": _with_interval(frechet(fake, real), distances, len(fake)).to_dict(),
        "kid": _with_interval(kernel(fake, real, seed=seed), mmds.tolist(), len(fake)).to_dict(),
        "isc": _isc(logits, drawn[0], len(fake)),
        "n_fake": len(fake),
        "n_real": len(real),
        "n_resamples": n_resamples,
        "warnings": _warnings(len(fake), len(real), fake.shape[1], logits is not None),
    }


def _isc(logits: Tensor | None, drawn: list[Tensor], count: int) -> dict[str, Any]:
    if logits is None:
        return Score(None, None, count).to_dict() | {"reason": "the extractor gives features and no class logits"}
    return _with_interval(inception_score(logits), [inception_score(logits[rows]) for rows in drawn], count).to_dict()


def _counts(drawn: list[Tensor], count: int) -> Tensor:
    """(R, count) float64: how often each resample holds each image."""
    counts = torch.zeros(len(drawn), count, dtype=torch.float64)
    for row, indices in zip(counts, drawn, strict=True):
        row += indices.bincount(minlength=count)
    return counts


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
    counts = counts or (torch.ones(1, len(fake)).double(), torch.ones(1, len(real)).double())
    within = []
    for features, times in zip((fake, real), counts, strict=True):
        size = times.sum(1)
        itself = times @ (features.square().mean(1) + 1.0) ** 3
        within.append((_kernel_sum(features, features, times, times) - itself) / (size * (size - 1)))
    across = _kernel_sum(fake, real, *counts) / (counts[0].sum(1) * counts[1].sum(1))
    return within[0] + within[1] - 2 * across


def _kernel_sum(first: Tensor, second: Tensor, counts: Tensor, second_counts: Tensor) -> Tensor:
    """(R,) sums of the kernel over all pairs, counted; in blocks of rows, so that memory stays flat."""
    total = torch.zeros(len(counts), dtype=torch.float64)
    for rows in torch.arange(len(first)).split(1024):
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

    return isc_features_to_metric(logits, splits=_splits(len(logits)))[KEY_METRIC_ISC_MEAN]


def _splits(count: int) -> int:
    return ISC_SPLITS if count >= 100 * ISC_SPLITS else 1


def _with_interval(value: float, drawn: list[float], count: int) -> Score:
    """The value and the percentiles of the resamples, shifted so that their median falls on the value."""
    if not drawn:
        return Score(value, None, count)
    shift = value - float(torch.tensor(drawn, dtype=torch.float64).quantile(0.5))
    low, high = percentile_interval(drawn)
    return Score(value, (low + shift, high + shift), count)


def _images(folder: str | Path) -> list[Path]:
    files = list_images(folder)
    if len(files) < 2:
        raise EvaluationError(f"{folder} has 1 image; expected 2 or more to compare: a distribution needs several")
    return files


def _warnings(n_fake: int, n_real: int, n_features: int, has_classes: bool) -> list[str]:
    found, fewest = [], min(n_fake, n_real)
    if fewest <= n_features:
        found.append(
            f"FID: {fewest} images are no more than the {n_features} features, so that FID is biased upwards; "
            "compare only values of equal counts, or use KID"
        )
    if fewest < KID_SUBSET:
        found.append(f"KID: subsets of {fewest} images, fewer than the usual {KID_SUBSET}")
    if has_classes and _splits(n_fake) < ISC_SPLITS:
        found.append(f"ISC: {n_fake} images in 1 split, not the usual {ISC_SPLITS}")
    return found
