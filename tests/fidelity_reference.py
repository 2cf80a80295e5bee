"""FID, KID, precision, recall, density and coverage written out plainly in float64, for tests alone.

They share nothing with the library: matrix roots by scipy, sums pair by pair.
"""

import numpy as np
from scipy.linalg import sqrtm


def reference_fid(first, second):
    """|m1 - m2|^2 + tr(c1 + c2 - 2 (c1^1/2 c2 c1^1/2)^1/2); Dowson and Landau 1982, the root of a symmetric matrix."""
    means = [features.mean(axis=0) for features in (first, second)]
    covariances = []
    for features, mean in zip((first, second), means, strict=True):
        covariance = np.zeros((features.shape[1], features.shape[1]))
        for row in features:
            covariance += np.outer(row - mean, row - mean) / (len(features) - 1)
        covariances.append(covariance)
    values, vectors = np.linalg.eigh(covariances[0])
    root = (vectors * np.sqrt(np.where(values > 1e-13 * values.max(), values, 0.0))) @ vectors.T
    inner = root @ covariances[1] @ root
    ends = np.linalg.eigvalsh((inner + inner.T) / 2)
    shared = np.sqrt(np.where(ends > 1e-13 * ends.max(), ends, 0.0)).sum()
    return float(((means[0] - means[1]) ** 2).sum() + np.trace(covariances[0] + covariances[1]) - 2 * shared)


def reference_fid_by_sqrtm(first, second):
    """The same by the root of the product, Heusel 2017; for sets with more images than features."""
    covariances = [np.cov(features, rowvar=False) for features in (first, second)]
    difference = first.mean(0) - second.mean(0)
    root = sqrtm(covariances[0] @ covariances[1]).real
    return float(difference @ difference + np.trace(covariances[0] + covariances[1] - 2 * root))


def reference_kid(first, second):
    """The unbiased squared MMD, pair by pair."""

    def kernel_of(x, y):
        return (float(x @ y) / len(x) + 1.0) ** 3

    n, m = len(first), len(second)
    same_first = sum(kernel_of(first[i], first[j]) for i in range(n) for j in range(n) if i != j) / (n * (n - 1))
    same_second = sum(kernel_of(second[i], second[j]) for i in range(m) for j in range(m) if i != j) / (m * (m - 1))
    return same_first + same_second - 2 * sum(kernel_of(x, y) for x in first for y in second) / (n * m)


def reference_neighbour_scores(fake, real, k):
    """As the papers define them, image by image: Kynkaanniemi 2019 and Naeem 2020; borders belong to the balls."""

    def apart(x, y):
        return float(np.sqrt(((x - y) ** 2).sum()))

    def radii(images):
        return [
            sorted(apart(one, other) for place, other in enumerate(images) if place != at)[k - 1]
            for at, one in enumerate(images)
        ]

    of_real, of_fake = radii(real), radii(fake)
    inside_real = [[apart(x, y) <= radius for y, radius in zip(real, of_real, strict=True)] for x in fake]
    inside_fake = [[apart(x, y) <= radius for x, radius in zip(fake, of_fake, strict=True)] for y in real]
    held = np.array(inside_real)
    return {
        "precision": held.any(axis=1).mean(),
        "recall": np.array(inside_fake).any(axis=1).mean(),
        "density": held.sum() / (k * len(fake)),
        "coverage": held.any(axis=0).mean(),
    }
