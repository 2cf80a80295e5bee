"""Labels that speak against belonging to their CT."""

import pytest
import torch

from nerp.label_maps import check_labels_on_ct
from nerp.label_maps.checks import air_share
from nerp.phantom import FINDINGS, LABELS, LUNG_LABELS, thorax
from nerp.volume import Volume, read_volume

AFFINE = torch.eye(4, dtype=torch.float64)
NAMES = {1: "lung_left", 2: "rib_left_1"}


def pair(n_air: int, n_voxels: int = 20) -> tuple[Volume, Volume]:
    """A CT of tissue, and a label 1 of so many voxels, the first of them air; label 2 is tissue."""
    hu, labels = torch.full((1, 10, 10, 1), 40.0), torch.zeros(1, 10, 10, 1)
    hu.view(-1)[:n_air], labels.view(-1)[:n_voxels], labels.view(-1)[60:70] = -800.0, 1.0, 2.0
    return Volume(hu, AFFINE, "hu"), Volume(labels, AFFINE, "label")


def test_lungs_full_of_air_are_fine():
    ct, labels = pair(18)
    assert air_share(ct, labels, [1]) == 0.9 and air_share(ct, labels, [2]) == 0.0
    assert check_labels_on_ct(ct, labels, [1], NAMES) == check_labels_on_ct(ct, labels, [1]) == []


@pytest.mark.parametrize("names", [NAMES, {}])
def test_lungs_without_air_are_told(names):
    ct, labels = pair(12)
    (finding,) = check_labels_on_ct(ct, labels, [1], names)
    assert "60 % of" in finding and "air" in finding and "\n" not in finding


def test_air_about_the_patient_is_not_that_of_lungs():
    ct, labels = pair(20)
    outside = Volume(torch.where(ct.values < 0, -1024.0, ct.values), AFFINE, "hu")
    assert air_share(outside, labels, [1]) == 0.0


def test_what_is_named_otherwise_need_not_hold_air():
    ct, labels = pair(18)
    assert check_labels_on_ct(ct, labels, [2], NAMES) == check_labels_on_ct(ct, labels, [2], {}) == []
    assert check_labels_on_ct(ct, labels, [1], {1: "lung nodule"}) == []


def test_mirrored_labels_are_told_as_such():
    ct, labels = pair(20)
    mirrored = Volume(labels.values.flip(1), AFFINE, "label")
    (finding,) = check_labels_on_ct(ct, mirrored, [1], NAMES)
    assert "0 % of the lungs' voxels are air" in finding and "(mirrored, 100 % would be)" in finding


def test_absent_values_and_masks_outside_are_told():
    ct, labels = pair(20)
    absent, outside = check_labels_on_ct(ct, labels, [1, 222, 3], {**NAMES, 3: "heart"}, outside={1: 0.44, 2: 0.9})
    assert absent == "no voxel of the CT has the label 222, 3 (heart); check --mask"
    assert outside.startswith("44 % of label 1 (lung_left) lies outside the CT")
    assert check_labels_on_ct(ct, labels, [1], NAMES, outside={1: 0.05}) == []


def test_values_in_other_maps_count():
    ct, labels = pair(20)
    other = Volume(torch.cat([labels.values, torch.full_like(labels.values, 5.0)]), AFFINE, "label")
    assert check_labels_on_ct(ct, other, [1, 5], {1: "lung", 5: "body"}) == []


@pytest.mark.parametrize("findings", [(), FINDINGS])
def test_phantoms_belong_to_their_labels(findings):
    phantom = thorax(seed=0, spacing_mm=6.0, findings=findings)
    present = [value for value in LUNG_LABELS if (phantom.labels.values == value).any()]
    assert check_labels_on_ct(phantom.ct, phantom.labels, present, LABELS) == []
    mirrored = Volume(phantom.labels.values.flip(1, 2, 3), phantom.labels.affine, "label")
    assert check_labels_on_ct(phantom.ct, mirrored, [6, 7], LABELS)


REAL = ["4dlung-113_HM10395", "lidc-idri-0314", "lungpetctdx-A0002", "cmb-crc-MSB-01068"]


@pytest.mark.parametrize("name", REAL)
def test_real_lungs_belong_to_their_labels_and_not_when_mirrored(real_data, name):
    from nerp.label_maps import read_labels

    ct = read_volume(real_data / "ct" / name / "ct_2mm.nii.gz")
    labels = read_labels(real_data / "ct" / name / "lung_mask_auto_2mm.nii.gz", like=ct)
    assert check_labels_on_ct(ct, labels, [1]) == [] and air_share(ct, labels, [1]) > 0.95
    mirrored = Volume(labels.values.flip(1), labels.affine, "label")
    assert "(mirrored, 9" in check_labels_on_ct(ct, mirrored, [1])[0]
