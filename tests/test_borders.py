"""Where a mask's border fits an image: shifts, mirroring and contrast, against sums written out and symmetries."""

import numpy as np
import pytest
from lung_pictures import lungs
from scipy.ndimage import gaussian_filter

from nerp.evaluation.borders import agreement_map, border_field, edge_field, edges_of, fit_of, maps_of
from nerp.evaluation.probing import probed, shifted

REACH, TOLERANCE = 8, 4.0


def fit(image, mask, inside="dark"):
    return fit_of(maps_of(edges_of(image, REACH), mask), inside=inside, tolerance=TOLERANCE)


@pytest.mark.parametrize("shift", [(0, 0), (3, -5), (-8, 8)])
def test_the_map_is_the_mean_along_the_shifted_border(shift):
    image, mask = lungs(1)
    found = agreement_map(edges_of(image, REACH), border_field(mask))
    edges, border = edge_field(image), border_field(mask)
    total = length = 0.0
    for row, column in np.argwhere(np.hypot(*border) > 0):
        at = row + shift[0], column + shift[1]
        if 0 <= at[0] < image.shape[0] and 0 <= at[1] < image.shape[1]:
            total += border[:, row, column] @ edges[:, at[0], at[1]]
            length += np.hypot(*border[:, row, column])
    assert found[REACH + shift[0], REACH + shift[1]] == pytest.approx(total / length, abs=1e-9)


def test_normals_point_outwards_and_sum_to_the_border_s_length():
    mask = np.zeros((64, 64), bool)
    mask[20:40, 10:50] = True
    border = border_field(mask)
    length = 2 * (20 + 40)
    assert np.hypot(*border).sum() == pytest.approx(length, rel=0.03)  # less at the corners, which are rounded
    assert border[0, 14:26, 30].sum() == pytest.approx(-1, abs=1e-3)
    assert border[1, 30, 44:56].sum() == pytest.approx(1, abs=1e-3)
    assert not border_field(np.ones((20, 20), bool)).any()


def test_a_mask_that_lies_on_its_edges_scores_near_one():
    image, mask = lungs(2)
    found = fit(image, mask)
    assert found.score > 0.95 and found.distance < 0.5 and not found.is_mirrored
    assert fit(image, mask, "bright").score < 0.2


@pytest.mark.parametrize(("rows", "columns"), [(4, 0), (-4, 0), (0, 4), (0, -4), (3, -3)])
def test_a_shift_is_found_and_lowers_the_score(rows, columns):
    image, mask = lungs(3)
    found = fit(image, shifted(mask, rows, columns))
    assert (found.dy, found.dx) == (pytest.approx(-rows, abs=0.5), pytest.approx(-columns, abs=0.5))
    assert found.score < 0.6


def test_the_score_falls_with_the_distance():
    image, mask = lungs(4)
    scores = [fit(image, shifted(mask, 0, columns)).score for columns in range(7)]
    assert scores == sorted(scores, reverse=True) and scores[0] > 0.95 and scores[-1] < 0.2


def test_a_mirrored_mask_is_told():
    image, mask = lungs(5)
    found = fit(image, mask[:, ::-1])
    assert found.is_mirrored and found.score < 0.5


def test_nothing_depends_on_brightness_and_contrast():
    image, mask = lungs(6)
    one, other = fit(image, mask), fit(0.3 * image + 0.2, mask)
    assert other.score == pytest.approx(one.score, abs=1e-5) and other.dx == pytest.approx(one.dx, abs=1e-4)


def test_an_inverted_image_swaps_dark_and_bright():
    image, mask = lungs(7)
    assert fit(1 - image, mask, "bright").score == pytest.approx(fit(image, mask).score, abs=1e-5)


def test_image_and_mask_mirrored_together_fit_alike():
    image, mask = lungs(8)
    one, other = fit(image, shifted(mask, 0, 2)), fit(image[:, ::-1], shifted(mask, 0, 2)[:, ::-1])
    assert other.score == pytest.approx(one.score, abs=1e-5) and other.dx == pytest.approx(-one.dx, abs=1e-4)


def test_image_and_mask_moved_together_fit_alike():
    image, mask = (np.pad(part, 30, mode="edge") for part in lungs(9))
    one = fit(image, mask)
    other = fit(np.roll(image, (5, -7), (0, 1)), np.roll(mask, (5, -7), (0, 1)))
    assert other.agreement == pytest.approx(one.agreement, abs=0.01) and other.score == pytest.approx(
        one.score, abs=0.02
    )


def test_blank_images_and_masks_without_border_score_zero():
    image, mask = lungs(10)
    assert fit(np.full_like(image, 0.5), mask).score == 0
    assert fit(image, np.zeros_like(mask)).score == 0


def test_a_score_is_written_out():
    agreement = np.full((5, 5), 0.1)
    agreement[2, 2], agreement[2, 3] = 0.6, 0.8
    found = fit_of(np.stack([agreement, np.full((5, 5), 0.4)]), tolerance=2.0)
    top = 1 + 0.5 * (0.6 - 0.1) / (0.6 - 1.6 + 0.1)
    assert found.dx == pytest.approx(top) and found.dy == 0
    assert found.score == pytest.approx(0.75 * np.exp(-(top**2) / 8))
    about = fit_of(np.stack([agreement, np.full((5, 5), 0.4)]), tolerance=2.0, about=(1.0, 0.0))
    assert about.score == pytest.approx(np.exp(-((top - 1) ** 2) / 8))
    assert fit_of(np.stack([agreement, np.ones((5, 5))]), tolerance=2.0).is_mirrored


def test_masks_are_moved_without_coming_in_again():
    mask = np.zeros((6, 8), bool)
    mask[0, 0] = mask[3, 4] = True
    assert np.argwhere(shifted(mask, -1, 2)).tolist() == [[2, 6]]
    assert np.array_equal(shifted(mask, 0, 0), mask)
    assert not shifted(mask, 6, 0).any()


def test_probes_go_in_every_direction():
    image, mask = lungs(11)
    maps = probed(edges_of(gaussian_filter(image, 0.5), REACH), mask, 4)
    found = {name: fit_of(one, tolerance=TOLERANCE) for name, one in maps.items()}
    names = "right left down up up-left up-right down-left down-right mirrored"
    assert list(found) == names.split()
    assert found["right"].dx == pytest.approx(-4, abs=0.5)
    assert found["up-left"].dy == pytest.approx(3, abs=0.5)
