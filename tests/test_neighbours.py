"""Precision, recall, density and coverage against their papers' definitions, image by image."""

import pytest
import torch
from fidelity_parts import gaussians
from fidelity_reference import reference_neighbour_scores

from nerp.evaluation import neighbours
from nerp.evaluation.jackknife import leave_out
from nerp.evaluation.neighbours import METRICS, neighbour_scores, squared_distances


def values(fake, real, **options):
    return {name: float(found[0]) for name, found in neighbour_scores(fake, real, **options).items()}


@pytest.mark.parametrize(("n", "m", "width", "k"), [(30, 40, 3, 5), (25, 12, 2, 3), (12, 30, 60, 5)])
def test_the_scores_are_the_papers(n, m, width, k):
    fake, real = gaussians(n, mean=0.5, scale=0.8, width=width), gaussians(m, width=width, seed=1)
    expected = reference_neighbour_scores(fake.numpy(), real.numpy(), k)
    assert values(fake, real, k=k) == pytest.approx(expected, rel=1e-12)


def test_precision_and_recall_are_torch_fidelitys():
    from torch_fidelity.metric_prc import prc_features_to_metric

    fake, real = gaussians(300, mean=0.4, width=6), gaussians(280, width=6, seed=1)
    options = {"prc_neighborhood": 5, "prc_batch_size": 10_000, "save_cpu_ram": False, "verbose": False}
    theirs = prc_features_to_metric(fake, real, **options)
    found = values(fake, real)
    assert 0.1 < found["precision"] < 0.95
    assert (found["precision"], found["recall"]) == pytest.approx((theirs["precision"], theirs["recall"]), abs=1e-6)


def test_subsets_score_as_if_they_were_alone(monkeypatch):
    monkeypatch.setattr(neighbours, "ROWS", 16)  # many blocks
    fake, real = gaussians(45, mean=0.3, scale=0.8, width=4), gaussians(60, width=4, seed=1)
    subsets = leave_out([range(45), range(60)], 6, generator=torch.Generator().manual_seed(0)).kept
    found = neighbour_scores(fake, real, subsets=subsets)
    for number in range(len(subsets[0])):
        alone = values(fake[subsets[0][number]], real[subsets[1][number]])
        assert {name: float(found[name][number]) for name in METRICS} == pytest.approx(alone, rel=1e-12)


def test_copies_are_all_precise_and_cover_all():
    real = gaussians(40, width=512)
    found = values(real.clone(), real)
    assert found == {"precision": 1.0, "recall": 1.0, "density": pytest.approx(6 / 5), "coverage": 1.0}


def test_far_sets_share_nothing():
    assert values(gaussians(20) + 100.0, gaussians(20, seed=1)) == dict.fromkeys(METRICS, 0.0)


def test_one_set_alike_has_density_and_coverage_of_known_size():
    """Of equal distributions the density is 1 on the average, and the coverage 1 - 2^-k; Naeem 2020, section 3.2.2."""
    found = [values(gaussians(300, seed=2 * n, width=8), gaussians(300, seed=2 * n + 1, width=8)) for n in range(10)]
    density, coverage = (sum(one[name] for one in found) / 10 for name in ("density", "coverage"))
    assert density == pytest.approx(1.0, abs=0.06)
    assert coverage == pytest.approx(1 - 0.5**5, abs=0.01)


def test_scores_ignore_how_features_are_turned_shifted_and_scaled():
    fake, real = gaussians(40, mean=0.4), gaussians(50, seed=1)
    turn = torch.linalg.qr(gaussians(8, seed=2)).Q
    assert values(3 * fake @ turn + 1, 3 * real @ turn + 1) == pytest.approx(values(fake, real))


def test_equal_features_are_no_distance_apart():
    features = 1000 + gaussians(20, width=700)
    assert squared_distances(features, features).diagonal().max() == 0
    other = gaussians(9, width=700, seed=1)
    expected = torch.cdist(features, other, compute_mode="donot_use_mm_for_euclid_dist").square()
    torch.testing.assert_close(squared_distances(features, other), expected, rtol=1e-9, atol=0)
