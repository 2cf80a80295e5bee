"""How close two sets of images are to each other: Inception score, FID and KID, with intervals.

Features first, once; distances after. The intervals come from resampling the images of both sets. Resamples repeat
images, which by itself raises FID and KID and lowers the Inception score; each interval is therefore shifted so that
the median resample falls on the value. It tells the spread owed to the choice of images, and not the bias of few
images, which a warning tells instead. With fewer images than features it errs on the wide side: about twice for FID on
normal data.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from nerp.data.checking import Bad, check_inputs
from nerp.data.folders import find_radiographs
from nerp.data.radiographs import check_radiograph
from nerp.errors import EvaluationError, UsageError
from nerp.evaluation.bootstrap import percentile_interval, resamples
from nerp.evaluation.distances import (
    ISC_SPLITS,
    KID_SUBSET,
    frechet,
    frechet_by_images,
    inception_score,
    isc_splits,
    kernel,
    squared_mmd,
)
from nerp.evaluation.extractors import load_extractor
from nerp.evaluation.features import Extractor, extract
from nerp.evaluation.score import Score


def evaluate_fidelity(
    fake_dir: str | Path,
    real_dir: str | Path,
    *,
    extractor: Extractor | str = "inception",
    seed: int = 0,
    n_resamples: int = 100,
    skip_bad: bool = False,
    progress: Callable[[int, int], None] | None = None,
) -> dict[str, Any]:
    """FID, KID and Inception score of a folder of images against a folder of real ones.

    Args:
        fake_dir:    at least two images; see `find_radiographs`.
        real_dir:    likewise.
        extractor:   from `load_extractor`, or a name that it knows: then it runs on the CPU.
        seed:        of the KID's subsets and of the intervals.
        n_resamples: bootstrap sets an interval; 0 leaves the intervals out (null).
        skip_bad:    go on without images that cannot be read.
        progress:    called as progress(images done, images in all).

    Returns:
        JSON-ready: `fid`, `kid`, `isc`, each with `value`, `ci95` and `n`, the fake images; `isc` is of these
        alone, and its value null with a `reason` where the extractor has no classes; `extractor` with name, sha256,
        the resizing and the device; `n_fake`, `n_real`, `n_resamples`, `warnings`; `skipped`, names of
        files that were left out.

    Raises:
        DataError: a folder that is missing or empty, or a file that is no image.
        EvaluationError: fewer than two images, or features that cannot be compared.
        UsageError: an unknown extractor, or a seed that cannot be.
    """
    if not 0 <= seed < 2**32:
        raise UsageError(f"seed is {seed}; expected 0 to {2**32 - 1}")
    (fake, bad_fake), (real, bad_real) = (_images(source, skip_bad=skip_bad) for source in (fake_dir, real_dir))
    if isinstance(extractor, str):
        extractor = load_extractor(extractor)
    features, logits = extract(extractor, fake + real, progress=progress)
    logits = None if logits is None else logits[: len(fake)]
    result = compare(features[: len(fake)], features[len(fake) :], logits=logits, seed=seed, n_resamples=n_resamples)
    skipped = {"skipped": [one.path.name for one in (*bad_fake, *bad_real)]}
    return result | {"extractor": _identity(extractor)} | skipped


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
        "fid": _not_below_zero(_with_interval(frechet(fake, real), distances, len(fake))).to_dict(),
        "kid": _with_interval(kernel(fake, real, seed=seed), mmds.tolist(), len(fake)).to_dict(),
        "isc": _isc(logits, drawn[0], len(fake)),
        "n_fake": len(fake),
        "n_real": len(real),
        "n_resamples": n_resamples,
        "warnings": _same(fake, real) + _warnings(len(fake), len(real), fake.shape[1], logits is not None),
    }


def _not_below_zero(score: Score) -> Score:
    """A distance's interval, cut where no distance can lie."""
    return score if score.ci95 is None else replace(score, ci95=(max(score.ci95[0], 0.0), score.ci95[1]))


def _same(fake: Tensor, real: Tensor) -> list[str]:
    """A word on images that stand in both sets, by their features."""
    shared = len({row.tobytes() for row in fake.numpy()} & {row.tobytes() for row in real.numpy()})
    if not shared:
        return []
    which = (
        "the two sets are the same images" if shared == len(fake) == len(real) else f"{shared} images are in both sets"
    )
    return [f"{which}: their scores do not tell how close generated images are to real ones"]


def _isc(logits: Tensor | None, drawn: list[Tensor], count: int) -> dict[str, Any]:
    if logits is None:
        return Score(None, None, count).to_dict() | {"reason": "the extractor gives features and no class logits"}
    return _with_interval(inception_score(logits), [inception_score(logits[rows]) for rows in drawn], count).to_dict()


def _counts(drawn: list[Tensor], count: int) -> Tensor:
    """(R, count) float64: how often each resample holds each image."""
    counts = torch.zeros(len(drawn), count, dtype=torch.float64, device="cpu")
    for row, indices in zip(counts, drawn, strict=True):
        row += indices.bincount(minlength=count)
    return counts


def _with_interval(value: float, drawn: list[float], count: int) -> Score:
    """The value and the percentiles of the resamples, shifted so that their median falls on the value."""
    if not drawn:
        return Score(value, None, count)
    shift = value - float(torch.tensor(drawn, dtype=torch.float64, device="cpu").quantile(0.5))
    low, high = percentile_interval(drawn)
    return Score(value, (low + shift, high + shift), count)


def _images(source: str | Path, *, skip_bad: bool) -> tuple[list[Path], list[Bad]]:
    """The images of a folder or set that can be read, and those that are left out."""
    files, bad = check_inputs(find_radiographs(source), check_radiograph, what="images", skip_bad=skip_bad)
    if len(files) < 2:
        raise EvaluationError(f"{source} has 1 image; expected 2 or more to compare: a distribution needs several")
    return files, bad


def _warnings(n_fake: int, n_real: int, n_features: int, has_classes: bool) -> list[str]:
    found, fewest = [], min(n_fake, n_real)
    if fewest <= n_features:
        found.append(
            f"FID: {fewest} images are no more than the {n_features} features, so that FID is biased upwards; "
            "compare only values of equal counts, or use KID"
        )
    if fewest < KID_SUBSET:
        found.append(f"KID: subsets of {fewest} images, fewer than the usual {KID_SUBSET}")
    if has_classes and isc_splits(n_fake) < ISC_SPLITS:
        found.append(f"ISC: {n_fake} images in 1 split, not the usual {ISC_SPLITS}")
    return found
