"""What is to be said about scores of two sets: few images, images in both, and intervals that are none."""

from __future__ import annotations

from collections import Counter

from nerp.evaluation.distances import ISC_SPLITS, KID_SUBSET, Moments, isc_splits
from nerp.evaluation.sample import Sample

LARGE_FEATURES = 2.0
"""Root mean square of features above which KID's kernel is dominated by its cubic term."""
MOMENTS_ALONE = "the statistics hold mean and covariance and no features, of which FID alone can be told"


def remarks(fake: Sample, real: Sample | Moments, *, intervals: bool) -> list[str]:
    """One sentence for each thing that a reader of the scores should know.

    Args:
        fake:      the set that is scored.
        real:      the set that it is held to, or its moments.
        intervals: whether intervals were asked for.
    """
    few = _few(fake, real.n_images, with_kid=isinstance(real, Sample))
    if isinstance(real, Moments):
        alone = ["the interval of FID tells the spread of the fake images alone"] if intervals else []
        return [MOMENTS_ALONE, *alone, *few, *(_one_patient(fake, "fake") if intervals else [])]
    patients = _one_patient(fake, "fake") + _one_patient(real, "real") if intervals else []
    return _same(fake, real) + few + _large(real) + patients


def _few(fake: Sample, n_real: int, *, with_kid: bool) -> list[str]:
    found, fewest, n_features = [], min(fake.n_images, n_real), fake.features.shape[1]
    if fewest <= n_features:
        found.append(
            f"FID: {fewest} images are no more than the {n_features} features, so that FID is biased upwards; "
            "compare only values of equal counts, or use KID"
        )
    if with_kid and fewest < KID_SUBSET:
        found.append(f"KID: subsets of {fewest} images, fewer than the usual {KID_SUBSET}")
    if fake.logits is not None and isc_splits(fake.n_images) < ISC_SPLITS:
        found.append(f"ISC: {fake.n_images} images in 1 split, not the usual {ISC_SPLITS}")
    return found


def _large(real: Sample) -> list[str]:
    """A word on features so large that KID's kernel, (x y / d + 1)^3, is little but its cubic term."""
    size = real.features.square().mean().sqrt().item()
    if size <= LARGE_FEATURES:
        return []
    return [
        f"KID: the features' root mean square is {size:.2g}, and its kernel was made for about .5: few images of large "
        "features decide it; go by FID, or by another extractor"
    ]


def _one_patient(side: Sample, name: str) -> list[str]:
    if side.n_images > 1 and side.n_groups == 1:
        return [f"all {name} images are of one patient or CT: nothing tells how those of another would score"]
    return []


def _same(fake: Sample, real: Sample) -> list[str]:
    """A word on images that stand in both sets, or several times in one, by their features."""
    rows = [Counter(row.tobytes() for row in side.features.numpy()) for side in (fake, real)]
    shared = len(rows[0].keys() & rows[1].keys())
    found = []
    if shared:
        is_all = shared == len(rows[0]) == len(rows[1])
        which = "the two sets are the same images" if is_all else f"{shared} images are in both sets"
        found.append(f"{which}: their scores do not tell how close generated images are to real ones")
    for side, counts in zip(("fake", "real"), rows, strict=True):
        if copies := sum(counts.values()) - len(counts):
            found.append(f"{copies} of the {side} images repeat others: intervals are too narrow")
    return found
