"""Outlines of lungs made clean: checked on drawn shapes, to the pixel."""

import numpy as np
import pytest

from nerp.anatomy.lung_fields import GAP, clean_lungs, field_measures, largest_parts

SIDE = 128


def box(rows, columns):
    mask = np.zeros((SIDE, SIDE), bool)
    mask[slice(*rows), slice(*columns)] = True
    return mask


RIGHT, LEFT = box((20, 100), (15, 55)), box((30, 100), (70, 110))
BOTH = RIGHT | LEFT


def test_two_clean_lungs_stay_as_they_are():
    assert np.array_equal(clean_lungs(BOTH), BOTH)
    assert field_measures(BOTH) == {"area": BOTH.mean(), "balance": 70 / 80}


def test_holes_and_notches_are_filled_and_crumbs_go():
    hole, notch = box((50, 65), (25, 40)), box((60, 64), (52, 55))
    crumbs = box((3, 8), (60, 66)) | box((110, 114), (5, 9))
    clean = clean_lungs((BOTH & ~hole & ~notch) | crumbs)
    differing = np.argwhere(clean != BOTH)
    assert len(differing) <= 6 and (differing[:, 1] >= 53).all()  # the mouth of the notch, which a disk rounds


def test_lungs_are_never_joined():
    gap = 2  # narrower than what is closed within a lung
    assert gap < 2 * GAP * SIDE
    near = RIGHT | box((30, 100), (55 + gap, 95))
    assert np.array_equal(clean_lungs(near), near)
    assert len(largest_parts(clean_lungs(near))) == 2


def test_the_edge_of_the_image_takes_nothing_away():
    cut = box((0, 60), (0, 50)) | box((0, 60), (70, SIDE))
    assert np.array_equal(clean_lungs(cut), cut)


def test_what_is_cleaned_once_stays():
    generator = np.random.default_rng(0)
    ragged = BOTH ^ (generator.random(BOTH.shape) < 0.08)
    once = clean_lungs(ragged)
    assert np.array_equal(clean_lungs(once), once)
    assert 2 * (once & BOTH).sum() / (once.sum() + BOTH.sum()) > 0.97


@pytest.mark.parametrize("mask", [RIGHT, RIGHT | box((110, 114), (80, 90))])
def test_one_lung_has_no_balance(mask):
    assert field_measures(clean_lungs(mask)) == {"area": RIGHT.mean(), "balance": 0.0}


def test_an_empty_mask_is_no_lung():
    empty = np.zeros((SIDE, SIDE), bool)
    assert not clean_lungs(empty).any()
    assert field_measures(empty) == {"area": 0.0, "balance": 0.0}
