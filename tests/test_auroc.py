"""The AUROC against its definition by pairs, and its interval's coverage."""

import numpy as np
import pytest
import torch

from nerp.errors import EvaluationError
from nerp.evaluation.auroc import auroc, auroc_interval


def of_pairs(scores, labels):
    """Every positive against every negative; a tie counts half."""
    positives = [score for score, label in zip(scores, labels, strict=True) if label]
    negatives = [score for score, label in zip(scores, labels, strict=True) if not label]
    won = [(p > n) + 0.5 * (p == n) for p in positives for n in negatives]
    return sum(won) / len(won)


def drawn(n, *, shift=0.0, ties=False, seed=0):
    source = np.random.default_rng(seed)
    labels = source.permutation(np.arange(n) % 3 == 0).astype(int)
    scores = source.normal(size=n) + shift * labels
    return (np.round(scores) if ties else scores), labels


@pytest.mark.parametrize("ties", [False, True])
@pytest.mark.parametrize("n", [3, 10, 97])
def test_it_is_the_count_of_pairs(n, ties):
    scores, labels = drawn(n, shift=0.7, ties=ties, seed=n)
    assert auroc(scores, labels) == pytest.approx(of_pairs(scores, labels), abs=1e-12)


def test_it_is_scikit_learns():
    metrics = pytest.importorskip("sklearn.metrics", reason="scikit-learn is not installed")
    for seed in range(20):
        scores, labels = drawn(60, shift=0.5, ties=seed % 2 == 0, seed=seed)
        assert auroc(scores, labels) == pytest.approx(metrics.roc_auc_score(labels, scores), abs=1e-12)


def test_order_alone_matters():
    scores, labels = drawn(50, shift=1.0)
    assert auroc(np.exp(scores), labels) == auroc(scores, labels)
    assert auroc(-scores, labels) == pytest.approx(1 - auroc(scores, labels))
    assert auroc(scores, 1 - labels) == pytest.approx(1 - auroc(scores, labels))
    assert auroc(np.zeros(50), labels) == 0.5


def test_normal_scores_have_their_closed_form():
    source = np.random.default_rng(1)
    scores = np.concatenate([source.normal(1.0, 1.0, 20000), source.normal(0.0, 1.0, 20000)])
    expected = 0.5 * (1 + torch.erf(torch.tensor(1.0 / 2)).item())  # Phi(1 / sqrt 2)
    assert auroc(scores, np.repeat([1, 0], 20000)) == pytest.approx(expected, abs=0.01)


def test_the_interval_holds_the_truth_nineteen_times_of_twenty():
    truth = 0.5 * (1 + torch.erf(torch.tensor(1.0 / 2)).item())
    held = 0
    for seed in range(120):
        source = np.random.default_rng(seed)
        labels = np.repeat([1, 0], 40)
        low, high = auroc_interval(source.normal(size=80) + labels, labels, n_resamples=150)
        held += low <= truth <= high
    assert 0.90 <= held / 120 <= 0.985


def test_groups_that_repeat_a_case_give_the_interval_of_the_cases():
    scores, labels = drawn(60, shift=1.0)
    alone = auroc_interval(scores, labels, generator=torch.Generator().manual_seed(3))
    repeated, again, groups = (np.repeat(part, 4) for part in (scores, labels, np.arange(60)))
    together = auroc_interval(repeated, again, groups.tolist(), torch.Generator().manual_seed(3))
    assert together == pytest.approx(alone, abs=1e-12)
    apart = auroc_interval(repeated, again, generator=torch.Generator().manual_seed(3))
    assert apart[1] - apart[0] < 0.7 * (together[1] - together[0])


def test_groups_of_both_classes_stay_whole_and_every_resample_has_both():
    scores, labels = [0.1, 0.9, 0.2, 0.8, 0.7, 0.3], [0, 1, 0, 1, 0, 1]
    low, high = auroc_interval(scores, labels, ["a", "a", "b", "b", "c", "c"], n_resamples=50)
    assert 0.0 <= low <= auroc(scores, labels) <= high <= 1.0


def test_a_faultless_score_has_an_interval_that_narrows_with_the_groups():
    few = auroc_interval([1, 2, 3, 4], [0, 0, 1, 1])
    many = auroc_interval(range(400), [0] * 200 + [1] * 200)
    grouped = auroc_interval(range(400), [0] * 200 + [1] * 200, [n // 100 for n in range(400)])
    assert few[1] == many[1] == 1.0 and few[0] < 0.7 and many[0] > 0.98
    assert grouped == pytest.approx(few)
    mirrored = auroc_interval([4, 3, 2, 1], [0, 0, 1, 1])
    assert mirrored == pytest.approx((0.0, 1 - few[0]))


@pytest.mark.parametrize(
    ("scores", "labels", "message"),
    [
        ([1.0, 2.0], [1], r"scores \(2,\) and labels \(1,\); expected one label a score"),
        ([1.0, float("nan")], [0, 1], "1 scores are not finite"),
        ([1.0, 2.0], [0, 2], r"labels are \[0, 2\]; expected 1 for positive"),
        ([1.0, 2.0], [1, 1], "all 2 cases are positive; an AUROC needs cases of both"),
        ([], [], "all 0 cases are negative"),
    ],
)
def test_what_has_no_area_is_refused(scores, labels, message):
    with pytest.raises(EvaluationError, match=message):
        auroc(scores, labels)


def test_groups_of_another_count_are_refused():
    with pytest.raises(EvaluationError, match="found 1 groups for 2 scores"):
        auroc_interval([1.0, 2.0], [0, 1], ["a"])
