"""CTs without a finding: what was there before, or the tissue around it; and the pieces of a finding."""

import pytest
import torch

from nerp.errors import GeometryError
from nerp.label_maps import LabelMap
from nerp.phantom import LABEL_OF, LABELS, thorax
from nerp.variation import Variation, finding_parts, finding_values, vary, without_finding
from nerp.volume import Volume

NODULE, LUNG, WALL = 7, 1, 2


def volume(values, unit="hu", spacing_mm=2.0):
    affine = torch.diag(torch.tensor([spacing_mm] * 3 + [1.0], dtype=torch.float64))
    return Volume(values[None].float(), affine, unit)


def lesion(low=(8, 8, 8), high=(12, 12, 12)):
    """Lung of -850 HU up to plane 14, wall of 40 HU beyond, and a box of 30 HU."""
    hu, labels = torch.full((20, 20, 20), -850.0), torch.full((20, 20, 20), float(LUNG))
    hu[14:], labels[14:] = 40.0, WALL
    box = tuple(slice(a, b) for a, b in zip(low, high, strict=True))
    hu[box], labels[box] = 30.0, NODULE
    return volume(hu), volume(labels, "label")


def test_a_finding_becomes_the_lung_around_it():
    ct, labels = lesion()
    made = without_finding(ct, labels, NODULE, lungs=(LUNG,)).values
    assert (made[labels.values == NODULE] == -850.0).all()
    assert torch.equal(made[labels.values != NODULE], ct.values[labels.values != NODULE])


def test_a_finding_at_the_wall_becomes_lung_where_lung_is_known():
    ct, labels = lesion((12, 4, 4), (16, 16, 16))
    assert (without_finding(ct, labels, NODULE, lungs=(LUNG,)).values[labels.values == NODULE] == -850.0).all()


def test_a_finding_far_from_lung_becomes_what_surrounds_it():
    ct, labels = lesion((17, 8, 8), (19, 12, 12))
    assert (without_finding(ct, labels, NODULE, lungs=(LUNG,)).values[labels.values == NODULE] == 40.0).all()


def test_what_is_known_comes_back_with_its_rim():
    ct, labels = lesion()
    before = volume(torch.arange(8000.0).reshape(20, 20, 20) % 97)
    made = without_finding(ct, labels, NODULE, before=before).values[0]
    inside = torch.zeros(20, 20, 20, dtype=torch.bool)
    inside[8:12, 8:12, 6:14] = True
    assert torch.equal(made[inside], before.values[0][inside])
    assert torch.equal(made[:5], ct.values[0][:5])


def test_without_voxels_nothing_changes():
    ct, labels = lesion()
    assert without_finding(ct, labels, 99) is ct
    assert int(finding_parts(labels, 99).values.max()) == 0


def test_other_grids_are_refused():
    ct, labels = lesion()
    small = volume(torch.zeros(4, 4, 4))
    with pytest.raises(GeometryError, match=r"the CT before: found \(4, 4, 4\) voxels for a CT of \(20, 20, 20\)"):
        without_finding(ct, labels, NODULE, before=small)


def test_pieces_are_numbered_by_size_and_crumbs_left_out():
    labels = torch.zeros(40, 20, 20)
    labels[2:4, 2:6, 2:6], labels[10:20, 2:12, 2:12], labels[30, 0, 0] = NODULE, NODULE, NODULE
    parts = finding_parts(volume(labels, "label"), NODULE).values[0]
    assert [int((parts == number).sum()) for number in (1, 2, 3)] == [1000, 32, 0]
    assert parts[30, 0, 0] == 0 and parts[15, 5, 5] == 1


def test_varied_cts_remember_what_was_there():
    made = thorax(3, spacing_mm=6.0)
    values = finding_values(LABELS, list(LABELS))
    lungs = (LABEL_OF["lung_right"], LABEL_OF["lung_left"])
    varied = vary(made.ct, LabelMap(made.labels), Variation(None, ("nodule",), 4), lungs=lungs, values=values)
    assert varied.before is made.ct
    back = without_finding(varied.ct, varied.labels.volume, values["nodule"], before=varied.before)
    assert torch.equal(back.values, made.ct.values) and not torch.equal(varied.ct.values, made.ct.values)
    assert vary(made.ct, LabelMap(made.labels), Variation(), lungs=(), values={}).before is None
