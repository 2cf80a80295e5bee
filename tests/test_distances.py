"""FID, KID and Inception score against independent float64 formulas, torch-fidelity and closed forms."""

import numpy as np
import pytest
import torch
from fidelity_parts import gaussians
from fidelity_reference import reference_fid, reference_kid

from nerp.evaluation.distances import (
    Moments,
    covariance_root,
    frechet,
    frechet_at_infinity,
    inception_score,
    kernel,
    moments,
    squared_mmd,
)


def fid(first, second):
    return frechet(moments(first), moments(second))


def test_fid_of_shifted_sets_is_the_squared_shift():
    first = gaussians(500)
    assert fid(first, first) == pytest.approx(0.0, abs=1e-6)
    assert fid(first, first + 2.0) == pytest.approx(8 * 4.0, rel=1e-6)


def test_fid_of_scaled_sets_has_its_closed_form():
    first = gaussians(500)
    centred = first - first.mean(0)
    expected = (3 - 1) ** 2 * float(torch.cov(centred.T).trace())
    assert fid(centred, 3 * centred) == pytest.approx(expected, rel=1e-6)


@pytest.mark.parametrize(("n", "m", "width"), [(200, 150, 8), (20, 30, 50), (60, 20, 40), (40, 60, 41)])
def test_the_fid_is_the_references_and_torch_fidelitys(n, m, width):
    from torch_fidelity.metric_fid import KEY_METRIC_FID, fid_features_to_statistics, fid_statistics_to_metric

    first, second = gaussians(n, width=width), gaussians(m, mean=0.3, scale=1.5, width=width, seed=1)
    assert fid(first, second) == pytest.approx(reference_fid(first.numpy(), second.numpy()), rel=1e-6)
    theirs = fid_statistics_to_metric(*map(fid_features_to_statistics, (first, second)), verbose=False)[KEY_METRIC_FID]
    assert fid(first, second) == pytest.approx(theirs, rel=1e-5)  # theirs takes roots of eigenvalues that are noise


def test_sets_of_equal_covariance_are_their_means_distance_apart():
    first = gaussians(30, width=40)
    step = gaussians(1, width=40, seed=3)
    assert fid(first, first + step) == pytest.approx(float(step.square().sum()), rel=1e-6)


def test_the_fid_of_moments_alone_is_that_of_the_features():
    first, second = gaussians(30, width=12), gaussians(50, mean=0.2, scale=1.3, width=12, seed=1)
    known = Moments(second.mean(0), covariance_root(torch.cov(second.T)), 50)
    assert frechet(moments(first), known) == pytest.approx(fid(first, second), rel=1e-9)


def test_fid_of_infinite_images_is_nearer_to_the_truth():
    """Of equal normal distributions the true FID is 0; that of a few images lies far above."""
    sides = [(gaussians(400, width=40, seed=2 * k), gaussians(300, width=40, seed=2 * k + 1)) for k in range(8)]
    found = [frechet_at_infinity(*pair, generator=torch.Generator().manual_seed(0)) for pair in sides]
    few = [fid(*pair) for pair in sides]
    assert abs(np.mean([value for value, _ in found])) < 0.1 * np.mean(few)
    assert all(0 < error < 0.1 * value for (_, error), value in zip(found, few, strict=True))


@pytest.mark.parametrize(("n", "m"), [(12, 12), (30, 12), (12, 30)])
def test_the_kid_is_torch_fidelitys_on_the_same_subsets(n, m):
    from torch_fidelity.metric_kid import KEY_METRIC_KID_MEAN, kid_features_to_metric

    first, second = gaussians(n), gaussians(m, mean=0.5, seed=1)
    options = {"kid_subset_size": 12, "kid_subsets": 1 if n == m else 100, "rng_seed": 5, "verbose": False}
    theirs = kid_features_to_metric(first, second, **options)[KEY_METRIC_KID_MEAN]
    assert kernel(first, second, seed=5) == pytest.approx(theirs, rel=1e-9)


def test_kid_equals_the_reference_and_ignores_the_seed_where_all_images_serve():
    first, second = gaussians(12), gaussians(12, mean=0.5, seed=1)
    assert kernel(first, second) == pytest.approx(reference_kid(first, second), rel=1e-9)
    assert kernel(first, second, seed=1) == kernel(first, second, seed=2)


def test_the_kernel_of_counted_images_is_that_of_repeated_ones():
    first, second = gaussians(12), gaussians(9, mean=0.5, seed=1)
    assert squared_mmd(first, second).item() == pytest.approx(reference_kid(first, second), rel=1e-9)
    counts = torch.tensor([[2.0] * 12, [3.0] + [0.0] * 2 + [1.0] * 9]).double(), torch.ones(2, 9).double()
    repeated = [first.repeat(2, 1), torch.cat([first[:1]] * 3 + [first[3:]])]
    expected = [reference_kid(features, second) for features in repeated]
    assert squared_mmd(first, second, counts=counts).tolist() == pytest.approx(expected, rel=1e-9)


def test_kid_is_unbiased_where_fid_is_not():
    kids = [kernel(gaussians(20, seed=2 * k), gaussians(20, seed=2 * k + 1)) for k in range(200)]
    assert np.mean(kids) == pytest.approx(0.0, abs=3 * np.std(kids) / 200**0.5)
    assert fid(gaussians(20), gaussians(20, seed=1)) > 1.0


def test_kid_of_unequal_counts_takes_subsets_of_the_smaller():
    first, second = gaussians(30), gaussians(12, mean=1.0, seed=1)
    assert kernel(first, second) == pytest.approx(reference_kid(first, second), rel=0.1)


def test_inception_score_counts_the_classes():
    logits = 100.0 * torch.eye(5, dtype=torch.float64).repeat(6, 1)
    assert inception_score(logits) == pytest.approx(5.0)
    assert inception_score(torch.zeros(10, 5)) == pytest.approx(1.0)
    assert inception_score(logits.repeat(40, 1)) == pytest.approx(5.0, rel=0.02)
