"""Bootstrap intervals against the normal closed form, and their handling of groups and seeds."""

import json

import pytest
import torch

from nerp.errors import EvaluationError
from nerp.evaluation.bootstrap import mean_interval, mean_score, percentile_interval, resamples
from nerp.evaluation.score import Score


def seeded(seed=0):
    return torch.Generator().manual_seed(seed)


def test_interval_of_a_mean_is_that_of_the_normal(generator):
    values = torch.randn(400, generator=generator, dtype=torch.float64)
    low, high = mean_interval(values, generator=generator)
    half = 1.96 * values.std() / 400**0.5
    assert low == pytest.approx(float(values.mean() - half), abs=0.01)
    assert high == pytest.approx(float(values.mean() + half), abs=0.01)


def test_intervals_cover_the_truth_as_often_as_they_say(generator):
    covered = 0
    for _ in range(200):
        low, high = mean_interval(torch.rand(30, generator=generator), generator=generator, n_resamples=300)
        covered += low <= 0.5 <= high
    assert 0.88 <= covered / 200 <= 0.99


def test_the_seed_alone_decides():
    values = [0.1, 0.5, 0.7, 0.9]
    assert mean_interval(values, generator=seeded(3)) == mean_interval(values, generator=seeded(3))
    assert mean_interval(values, generator=seeded(3), n_resamples=50) != mean_interval(
        values, generator=seeded(4), n_resamples=50
    )


def test_groups_are_drawn_whole():
    groups = ["b", "a", "b", "c", "a", "b"]
    for drawn in resamples(groups, 50, generator=seeded()):
        found = [groups[index] for index in drawn.tolist()]
        indices = sorted(drawn.tolist())
        for group in set(found):
            members = [index for index in range(6) if groups[index] == group]
            counts = {indices.count(index) for index in members}
            assert len(counts) == 1
        assert sum(indices.count(groups.index(group)) for group in "abc") == 3


def test_every_image_alone_is_the_plain_bootstrap():
    drawn = torch.stack(list(resamples(range(50), 400, generator=seeded())))
    assert drawn.shape == (400, 50)
    assert drawn.float().mean() == pytest.approx(24.5, abs=0.5)
    assert torch.bincount(drawn.flatten(), minlength=50).min() > 300


def test_groups_widen_the_interval_of_images_alike():
    values = torch.arange(20.0).repeat_interleave(10)
    patients = [int(value) for value in values]
    alone = mean_interval(values, generator=seeded())
    together = mean_interval(values, generator=seeded(), groups=patients)
    assert (together[1] - together[0]) / (alone[1] - alone[0]) == pytest.approx(10**0.5, rel=0.1)


def test_one_value_has_no_width(generator):
    assert mean_interval([0.7], generator=generator) == pytest.approx((0.7, 0.7))


def test_percentiles_of_known_numbers():
    assert percentile_interval([float(value) for value in range(1001)]) == pytest.approx((25.0, 975.0))


def test_nothing_to_draw_is_refused(generator):
    with pytest.raises(EvaluationError, match="no image to resample: found 0"):
        mean_interval([], generator=generator)
    with pytest.raises(EvaluationError, match="found 1 groups for 2 values"):
        mean_interval([1.0, 2.0], generator=generator, groups=["a"])


def test_a_mean_score_is_the_mean_with_its_interval_and_count():
    values, patients = [0.2, 0.4, 0.9, 0.5], ["a", "a", "b", "c"]
    score = mean_score(values, generator=seeded(), groups=patients, n_resamples=50)
    assert score.value == pytest.approx(0.5)
    assert score.ci95 == mean_interval(values, generator=seeded(), groups=patients, n_resamples=50)
    assert score.n == 4


def test_a_score_is_written_as_plain_json():
    assert Score(0.5, (0.4, 0.6), 7).to_dict() == {"value": 0.5, "ci95": [0.4, 0.6], "n": 7}
    assert list(Score(0.5, (0.4, 0.6), 7).to_dict("mean")) == ["mean", "ci95", "n"]
    assert json.loads(json.dumps(Score(None, None, 0).to_dict())) == {"value": None, "ci95": None, "n": 0}
