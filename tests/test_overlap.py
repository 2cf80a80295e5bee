"""Overlap scores against closed forms, MONAI's metrics, and their stated conventions."""

import warnings

import numpy as np
import pytest
import torch

from nerp.errors import EvaluationError
from nerp.evaluation.overlap import METRICS, overlap


def square(top, left, side=10, shape=(40, 60)):
    mask = np.zeros(shape, bool)
    mask[top : top + side, left : left + side] = True
    return mask


def disc(radius, shape=(101, 101), centre=(50, 50)):
    y, x = np.ogrid[: shape[0], : shape[1]]
    return (y - centre[0]) ** 2 + (x - centre[1]) ** 2 <= radius**2


def test_equal_masks_agree_fully():
    assert overlap(square(5, 5), square(5, 5)) == {"dice": 1.0, "jaccard": 1.0, "hd": 0.0, "hd95": 0.0, "asd": 0.0}


def test_shifted_squares_have_their_closed_forms():
    scores = overlap(square(5, 5), square(5, 9))
    assert scores["dice"] == pytest.approx(2 * 60 / 200)
    assert scores["jaccard"] == pytest.approx(60 / 140)
    assert scores["hd95"] == pytest.approx(4.0)
    # Of the 36 outline pixels the far side's 10 lie 4 off, and along top and bottom they lie 1, 2, 3 off near it;
    # the near side's 10, now inside the other square, lie up to 4 off: 1, 2, 3, 4, 4, 4, 4, 3, 2, 1 minus the corners.
    inner = [min(row, 9 - row, 4) for row in range(1, 9)]
    assert scores["asd"] == pytest.approx((10 * 4 + 2 * (1 + 2 + 3) + sum(inner)) / 36)


def test_one_stray_pixel_decides_the_hausdorff_distance_alone():
    stray = square(5, 5)
    stray[30, 50] = True
    scores = overlap(stray, square(5, 5))
    assert scores["hd"] == pytest.approx(np.hypot(30 - 14, 50 - 14))
    assert scores["hd95"] == 0.0


def test_concentric_discs_are_as_far_apart_as_their_radii():
    scores = overlap(disc(40), disc(30))
    assert scores["dice"] == pytest.approx(2 * 30**2 / (40**2 + 30**2), abs=0.005)
    assert scores["hd95"] == pytest.approx(10, abs=0.6)
    assert scores["asd"] == pytest.approx(10, abs=0.4)


def test_spacing_scales_distances_alone_and_each_axis_by_its_own():
    pixels = overlap(square(5, 5), square(5, 9))
    scaled = overlap(square(5, 5), square(5, 9), spacing=(0.5, 0.5))
    assert scaled["hd95"] == pytest.approx(pixels["hd95"] / 2)
    assert scaled["asd"] == pytest.approx(pixels["asd"] / 2)
    assert scaled["dice"] == pixels["dice"]
    assert overlap(square(5, 5), square(5, 45), spacing=(1.0, 0.1))["hd95"] == pytest.approx(4.0)


def test_scores_are_symmetric_and_unmoved_by_translation():
    first, second = disc(20, centre=(40, 45)), disc(25, centre=(50, 50))
    assert overlap(first, second) == overlap(second, first)
    moved = overlap(np.roll(first, 7, axis=1), np.roll(second, 7, axis=1))
    assert moved == pytest.approx(overlap(first, second))


def test_both_empty_agree():
    empty = np.zeros((30, 40))
    assert overlap(empty, empty) == {"dice": 1.0, "jaccard": 1.0, "hd": 0.0, "hd95": 0.0, "asd": 0.0}


def test_one_empty_costs_the_diagonal():
    empty, target = np.zeros((30, 40)), square(5, 5, shape=(30, 40))
    for first, second in ((empty, target), (target, empty)):
        assert overlap(first, second) == {"dice": 0.0, "jaccard": 0.0, "hd": 50.0, "hd95": 50.0, "asd": 50.0}
    assert overlap(empty, target, spacing=(2.0, 2.0))["hd95"] == 100.0


def test_a_full_mask_has_its_outline_at_the_image_edge():
    scores = overlap(np.ones((21, 21)), square(5, 5, side=11, shape=(21, 21)))
    assert scores["hd95"] == pytest.approx(np.hypot(5, 5), abs=1.5)


def random_shape(generator, discs):
    """A union of discs, apart or overlapping, some cut by the border."""
    parts = [disc(generator.integers(4, 30), centre=generator.integers(5, 96, 2)) for _ in range(discs)]
    return np.logical_or.reduce(parts)


def test_monai_agrees():
    metrics = pytest.importorskip("monai.metrics")
    generator = np.random.default_rng(0)
    for number in range(8):
        first, second = random_shape(generator, discs=1 + number % 3), random_shape(generator, discs=1 + number % 3)
        pair = [torch.from_numpy(mask)[None, None].float() for mask in (first, second)]
        options = {"include_background": True, "spacing": (0.7, 1.3)}
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            farthest = metrics.compute_hausdorff_distance(*pair, **options).item()
            hausdorff = metrics.compute_hausdorff_distance(*pair, percentile=95, **options).item()
            average = metrics.compute_average_surface_distance(*pair, symmetric=True, **options).item()
            dice = metrics.DiceMetric()(*pair).item()
        scores = overlap(first, second, spacing=(0.7, 1.3))
        assert scores["dice"] == pytest.approx(dice, abs=1e-6)
        assert scores["hd"] == pytest.approx(farthest, abs=1e-5)
        assert scores["hd95"] == pytest.approx(hausdorff, abs=1e-5)
        assert scores["asd"] == pytest.approx(average, abs=1e-5)


def test_every_metric_is_there():
    assert tuple(overlap(square(1, 1), square(2, 2))) == METRICS


@pytest.mark.parametrize(
    ("first", "second", "spacing", "message"),
    [
        (np.zeros((4, 5)), np.zeros((5, 4)), (1, 1), r"masks have shapes \(4, 5\) and \(5, 4\)"),
        (np.zeros((1, 4, 5)), np.zeros((1, 4, 5)), (1, 1), r"expected two equal \(H, W\)"),
        (np.zeros((4, 5)), np.zeros((4, 5)), (1, 0), "expected two positive distances"),
    ],
)
def test_masks_that_do_not_fit_are_refused(first, second, spacing, message):
    with pytest.raises(EvaluationError, match=message):
        overlap(first, second, spacing=spacing)
