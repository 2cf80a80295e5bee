"""Intervals by leaving blocks out: closed forms, whole groups, and how often they hold the truth."""

import math

import numpy as np
import pytest
import torch
from fidelity_parts import gaussians

from nerp.errors import EvaluationError
from nerp.evaluation.bootstrap import percentile_interval, resamples
from nerp.evaluation.distances import frechet, moments, squared_mmd
from nerp.evaluation.jackknife import interval, leave_out, proportion_interval, variance


def seeded(seed=0):
    return torch.Generator().manual_seed(seed)


def fid(fake, real):
    return frechet(moments(fake), moments(real))


def mmd(fake, real):
    return float(squared_mmd(fake, real))


def interval_of(score, fake, real, n_blocks=20, generator=None):
    subsets = leave_out([range(len(fake)), range(len(real))], n_blocks, generator=generator or seeded())
    found = [score(fake[rows], real[columns]) for rows, columns in zip(*subsets.kept, strict=True)]
    return found[0], interval(found[0], found, subsets)


def test_the_jackknife_of_a_mean_is_its_variance():
    values = gaussians(30)[:, 0].numpy()
    without = [(values.sum() - value) / 29 for value in values]
    assert variance(values.mean(), without, [1] * 30) == pytest.approx(values.var(ddof=1) / 30, rel=1e-9)


def test_blocks_of_unequal_sizes_still_tell_the_variance_of_a_mean():
    found = []
    for seed in range(60):
        values = gaussians(60, seed=seed)[:, 0].numpy()
        blocks = np.split(values, np.cumsum([1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 4]))
        sizes = [len(block) for block in blocks if len(block)]
        without = [(values.sum() - block.sum()) / (60 - len(block)) for block in blocks if len(block)]
        found.append(variance(values.mean(), without, sizes))
    assert np.mean(found) == pytest.approx(1 / 60, rel=0.15)


def test_an_interval_of_two_means_is_students():
    fake, real = gaussians(40), gaussians(25, mean=1.0, seed=1)
    value, (low, high) = interval_of(lambda a, b: float(a[:, 0].mean() - b[:, 0].mean()), fake, real, n_blocks=40)
    spread = math.sqrt(float(fake[:, 0].var()) / 40 + float(real[:, 0].var()) / 25)
    assert (low + high) / 2 == pytest.approx(value)
    assert high - low == pytest.approx(2 * 2.01 * spread, rel=0.02)


@pytest.mark.parametrize("score", [fid, mmd], ids=["fid", "kid"])
def test_a_naive_bootstrap_of_few_images_excludes_its_own_estimate_and_ours_does_not(score):
    fake, real = gaussians(40, width=30), gaussians(60, width=30, seed=1)
    drawn = [resamples(range(len(side)), 60, generator=seeded(number)) for number, side in enumerate((fake, real))]
    value, (low, high) = interval_of(score, fake, real)
    bootstrap = percentile_interval([score(fake[rows], real[columns]) for rows, columns in zip(*drawn, strict=True)])
    assert value < bootstrap[0]
    assert low < value < high


@pytest.mark.parametrize(
    ("score", "shift", "width", "bounds"),
    [(fid, 0.6, 8, (0.89, 0.99)), (mmd, 0.6, 8, (0.89, 0.99)), (fid, 0.6, 60, (0.89, 1.0)), (mmd, 0.0, 8, (0.93, 1.0))],
    ids=["fid", "kid", "fid of fewer images than features", "kid of equal sets"],
)
def test_intervals_hold_the_truth_as_often_as_they_say(score, shift, width, bounds):
    """Truth is the mean over 100 pairs of sets; the KID's own is known besides."""
    generator = seeded(4)
    pairs = [
        [torch.randn(n, width, generator=generator, dtype=torch.float64) + move for n, move in ((40, shift), (50, 0.0))]
        for _ in range(100)
    ]
    found = [interval_of(score, *pair, n_blocks=10, generator=generator) for pair in pairs]
    truth = np.mean([value for value, _ in found])
    if score is mmd:
        assert truth == pytest.approx(kid_of_normals(shift, width), abs=4 * np.std([v for v, _ in found]) / 10)
    assert bounds[0] <= np.mean([low <= truth <= high for _, (low, high) in found]) <= bounds[1]


def kid_of_normals(shift, width):
    """The MMD of N(m, I) and N(0, I) under (x.y / F + 1)^3; moments of x.y of independent normals, by hand.

    With s = x.y / F: E s = a.b / F, E s^2 = (|a|^2 + |b|^2 + F + (a.b)^2) / F^2,
    E s^3 = ((a.b)^3 + 3 (a.b) (|a|^2 + |b|^2 + F + 2)) / F^3, where a, b are the means.
    """
    size = width * shift**2

    def mean_kernel(dot, first, second):
        one = dot / width
        two = (first + second + width + dot**2) / width**2
        three = (dot**3 + 3 * dot * (first + second + width + 2)) / width**3
        return 1 + 3 * one + 3 * two + three

    return mean_kernel(size, size, size) + mean_kernel(0, 0, 0) - 2 * mean_kernel(0, size, 0)


def test_groups_are_left_out_whole_and_each_once():
    groups = ["b", "a", "b", "c", "a", "d", "d", "e"]
    subsets = leave_out([groups, range(3)], 3, generator=seeded())
    assert subsets.kept[0].shape == (7, 8) and subsets.kept[0][0].all() and subsets.kept[1][:4].all()
    assert subsets.blocks[0].sum(0).tolist() == [1] * 8
    for block in subsets.blocks[0]:
        inside = {groups[image] for image in block.nonzero()[:, 0].tolist()}
        assert not inside & {groups[image] for image in (~block).nonzero()[:, 0].tolist()}
    assert subsets.fewest() == 2


def test_images_of_one_patient_widen_the_interval():
    """Ten copies of each image tell no more than one: the interval must not shrink."""
    fake, real = gaussians(30, width=4), gaussians(40, mean=1.0, width=4, seed=1)
    many = fake.repeat_interleave(10, 0)
    patients = [image // 10 for image in range(300)]
    widths = []
    for groups in (patients, range(300)):
        subsets = leave_out([groups, range(40)], 30, generator=seeded())
        found = [fid(many[rows], real[columns]) for rows, columns in zip(*subsets.kept, strict=True)]
        low, high = interval(found[0], found, subsets)
        widths.append(high - low)
    _, (low, high) = interval_of(fid, fake, real, n_blocks=30)
    assert widths[0] == pytest.approx(high - low, rel=0.15) and widths[0] > 1.25 * widths[1]


def test_a_set_of_one_patient_has_no_interval():
    subsets = leave_out([["a"] * 9, range(9)], 5, generator=seeded())
    assert not subsets.has_interval and interval(1.0, [1.0] * len(subsets.kept[0]), subsets) is None
    assert not leave_out([range(2), range(9)], 5, generator=seeded()).has_interval
    with pytest.raises(EvaluationError, match="no image to leave out: found 0"):
        leave_out([[]], 5, generator=seeded())


def test_proportions_at_their_ends_stay_open():
    assert proportion_interval(0.0, (0.0, 0.0), 20) == pytest.approx((0.0, 1 - 0.025**0.05))
    assert proportion_interval(1.0, (1.0, 1.0), 20) == pytest.approx((0.025**0.05, 1.0))
    assert proportion_interval(0.5, (-0.1, 0.9), 20) == (0.0, 0.9)
