"""The scores of features already extracted, with intervals and what is to be said about them.

Each interval leaves blocks of images out, of one set at a time (`nerp.evaluation.jackknife`), whole patients together
where they are told. It covers what the score would be, on the average, for as many other images of the same sources:
the spread owed to the choice of images, and not the bias of few images, which a warning tells. On normal data the
intervals of FID and KID cover it in 93 to 100 of 100 cases; they are up to half wider than they need be where both sets
are alike, since a jackknife counts the spread of pairs twice. FID-infinity may lie below 0, as KID may.
"""

from __future__ import annotations

import math
from typing import Any

from nerp.evaluation.distances import (
    Moments,
    frechet,
    frechet_at_infinity,
    inception_score,
    kernel,
    moments,
    squared_mmd,
)
from nerp.evaluation.jackknife import Subsets, interval, leave_out, proportion_interval
from nerp.evaluation.neighbours import METRICS, NEIGHBOURS, neighbour_scores
from nerp.evaluation.ratios import told_left_out
from nerp.evaluation.remarks import MOMENTS_ALONE, remarks
from nerp.evaluation.sample import Sample
from nerp.evaluation.score import Score
from nerp.randomness import stream

LOWEST = {"fid": 0.0, "density": 0.0, "isc": 1.0}
"""Where no score can lie below."""
FEW_FOR_FID = 5000
"""Images of the smaller set below which KID is the score to go by: FID's bias is then felt."""
INFINITY_IMAGES = 3
"""FID-infinity asks for so many images a feature."""

Scored = dict[str, Any]
"""`value`, `ci95` and `n`, and a `reason` where the value is None."""


def compare(
    fake: Sample, real: Sample | Moments, *, seed: int = 0, n_resamples: int = 100, left_out: bool = False
) -> dict[str, Any]:
    """All scores of two sets.

    Args:
        fake:        two images or more.
        real:        likewise; or the moments of its features, of which FID alone can be told.
        seed:        of the subsets of KID, of FID-infinity and of the intervals.
        n_resamples: subsets an interval: half of them leave fake images out, half real ones; 0 leaves the intervals
            out.
        left_out:    tell FID and KID without each block, too, for `nerp.evaluation.ratios`.

    Returns:
        JSON-ready: `fid`, `kid`, `isc`, `precision`, `recall`, `density`, `coverage` and `fid_infinity`, each with
        `value`, `ci95` and `n`, the fake images, and a `reason` where the value is null; `primary`, the score to go
        by; `n_fake`, `n_real`, `n_resamples`, `warnings`; where it is asked for, `left_out`, or null of moments.
    """
    n_blocks = max(2, (n_resamples + 1) // 2) if n_resamples else 0
    alone = leave_out([fake.labels], n_blocks, generator=stream(seed, 0, "blocks of fake"))
    without = None
    if isinstance(real, Moments):
        result = {"fid": _fid(fake, real, alone)[0]} | _absent(fake, MOMENTS_ALONE, "kid", *METRICS)
    else:
        both = leave_out([fake.labels, real.labels], n_blocks, generator=stream(seed, 0, "blocks"))
        (fid, fids), (kid, kids) = _fid(fake, real, both), _kid(fake, real, both, seed)
        result = {"fid": fid, "kid": kid} | _neighbours(fake, real, both)
        without = told_left_out({"fid": fids, "kid": kids}, both, (fake, real))
    result["isc"] = _isc(fake, alone)
    result["fid_infinity"] = _infinity(fake, real, result["fid"]["ci95"], seed)
    is_few = min(fake.n_images, real.n_images) < FEW_FOR_FID
    counts = {"n_fake": fake.n_images, "n_real": real.n_images, "n_resamples": n_resamples}
    primary = "kid" if is_few and result["kid"]["value"] is not None else "fid"
    told = {"primary": primary, **counts, "warnings": remarks(fake, real, intervals=n_resamples > 0)}
    return result | told | ({"left_out": without} if left_out else {})


def _absent(fake: Sample, reason: str, *names: str) -> dict[str, Scored]:
    return {name: Score(None, None, fake.n_images).to_dict() | {"reason": reason} for name in names}


def _score(name: str, value: float, ends: tuple[float, float] | None, fake: Sample) -> Scored:
    """A score; its interval is cut where the score cannot lie."""
    if ends is not None and name in LOWEST:
        ends = (max(ends[0], LOWEST[name]), ends[1])
    return Score(value, ends, fake.n_images).to_dict()


def _fid(fake: Sample, real: Sample | Moments, subsets: Subsets) -> tuple[Scored, list[float]]:
    whole = moments(fake.features)
    target = real if isinstance(real, Moments) else moments(real.features)
    values = [frechet(whole, target)]
    values += [frechet(moments(fake.features[~block]), target) for block in subsets.blocks[0]]
    if not isinstance(real, Moments):
        values += [frechet(whole, moments(real.features[~block])) for block in subsets.blocks[1]]
    return _score("fid", values[0], interval(values[0], values, subsets), fake), values


def _kid(fake: Sample, real: Sample, subsets: Subsets, seed: int) -> tuple[Scored, list[float]]:
    mmds = squared_mmd(fake.features, real.features, counts=[kept.double() for kept in subsets.kept]).tolist()
    value = kernel(fake.features, real.features, seed=seed)
    return _score("kid", value, interval(value, mmds, subsets), fake), mmds


def _neighbours(fake: Sample, real: Sample, subsets: Subsets) -> dict[str, Scored]:
    if min(fake.n_images, real.n_images) <= NEIGHBOURS:
        reason = f"a set has {min(fake.n_images, real.n_images)} images; {NEIGHBOURS} neighbours ask for more"
        return _absent(fake, reason, *METRICS)
    subsets = subsets if subsets.fewest() > NEIGHBOURS else subsets.whole()
    scores: dict[str, Scored] = {}
    for name, values in neighbour_scores(fake.features, real.features, subsets=subsets.kept).items():
        value, ends = float(values[0]), interval(float(values[0]), values.tolist(), subsets)
        if name == "density":
            ends = ends if value > 0.0 else None  # nothing tells how far from 0 it may lie
        elif ends is not None:
            ends = proportion_interval(value, ends, (fake if name == "precision" else real).n_groups)
        scores[name] = _score(name, value, ends, fake)
    return scores


def _isc(fake: Sample, subsets: Subsets) -> Scored:
    logits = fake.logits
    if logits is None:
        return _absent(fake, "the extractor gives features and no class logits", "isc")["isc"]
    values = [inception_score(logits[kept]) for kept in subsets.kept[0]]
    return _score("isc", values[0], interval(values[0], values, subsets), fake)


def _infinity(fake: Sample, real: Sample | Moments, ends: tuple[float, float] | None, seed: int) -> Scored:
    """FID of infinitely many images, where there are enough; its interval is FID's own, widened by the line's."""
    n_features = fake.features.shape[1]
    fewest, asked = min(fake.n_images, real.n_images), INFINITY_IMAGES * n_features
    if isinstance(real, Moments):
        return _absent(fake, MOMENTS_ALONE, "fid_infinity")["fid_infinity"]
    if fewest < asked:
        reason = f"{fewest} images; {n_features} features ask for {asked} in both sets"
        return _absent(fake, reason, "fid_infinity")["fid_infinity"]
    generator = stream(seed, 0, "infinity")
    value, error = frechet_at_infinity(fake.features, real.features, generator=generator)
    if ends is not None:
        half = math.hypot((ends[1] - ends[0]) / 2, 1.96 * error)
        ends = (value - half, value + half)
    return _score("fid_infinity", value, ends, fake)
