"""The lung field that a reader draws: lungs closed over disease, without windpipe, heart or spine."""

import pytest
import torch
from plain_chest import SPACING_MM, ellipsoid, places, plain_chest

from nerp.anatomy import closed_lungs, map_body, windpipe_voxels
from nerp.camera import chest_camera
from nerp.errors import GeometryError, UsageError
from nerp.label_names import obscuring_labels, within_lung_labels
from nerp.phantom import LABEL_OF, LABELS, thorax
from nerp.projection import MaskRule, Structure, obscuring_tissue, project_masks
from nerp.synthesis import MaskSettings, PairSettings, Synthesiser
from nerp.volume import Volume

LUNGS = (LABEL_OF["lung_right"], LABEL_OF["lung_left"])
JOINED = tuple(within_lung_labels(LABELS))
SEED = 5
SPACING = 5.0


@pytest.fixture(scope="module")
def healthy():
    return thorax(SEED, spacing_mm=SPACING)


@pytest.fixture(scope="module")
def sick():
    return thorax(SEED, spacing_mm=SPACING, findings=("nodule", "consolidation", "pneumothorax"))


def field_of(phantom, close_mm=15.0):
    return closed_lungs(phantom.labels, LUNGS, close_mm=close_mm, joined=JOINED).values[0]


def dice(first, second):
    return 2 * float((first & second).sum()) / float(first.sum() + second.sum())


def test_a_finding_does_not_change_the_closed_field(healthy, sick):
    bare = [torch.isin(one.labels.values[0], torch.tensor(LUNGS).float()) for one in (healthy, sick)]
    fields = [field_of(one) > 0 for one in (healthy, sick)]
    assert dice(*fields) >= 0.98 > 0.95 > dice(*bare)


def test_the_field_holds_the_lungs_and_nothing_of_other_organs(sick):
    field, labels = field_of(sick), sick.labels.values[0]
    for name in ("heart", "vertebrae", "aorta", "trachea", "diaphragm", "effusion", "liver"):
        assert not (field[labels == LABEL_OF[name]] > 0).any(), name
    for name in ("lung_right", "lung_left"):
        assert (field[labels == LABEL_OF[name]] == LABEL_OF[name]).all(), name
    for name in ("nodule", "consolidation", "pneumothorax"):
        assert float((field[labels == LABEL_OF[name]] > 0).float().mean()) > 0.99, name


def test_each_side_keeps_to_its_side(sick):
    field = field_of(sick)
    x = sick.labels.to_world((field == LABEL_OF["lung_left"]).nonzero().double())[:, 0]
    assert float((x > 0).double().mean()) < 0.01


def test_by_nothing_the_lungs_stay_as_they_are_but_for_what_they_enclose(healthy):
    own = healthy.labels.values[0]
    field = closed_lungs(healthy.labels, LUNGS, close_mm=0.0).values[0]
    assert torch.equal(field[field > 0], own[field > 0])


def two_lungs(*, notch_mm=0.0, joined=False):
    """Two ellipsoids labelled 1, notched by a ball from the side, and bridged where they are to be joined."""
    xyz, affine = places()
    lungs = ellipsoid(xyz, (70, 0, 0), (50, 70, 110)) | ellipsoid(xyz, (-70, 0, 0), (50, 70, 110))
    whole = lungs.clone()
    if notch_mm:
        lungs &= ~ellipsoid(xyz, (118, 0, 0), (notch_mm,) * 3)
    if joined:
        lungs |= (xyz[0].abs() < 25) & (xyz[1].abs() < 5) & (xyz[2].abs() < 5)
    return Volume(lungs[None].float(), affine, "label"), whole


@pytest.mark.parametrize("joined", [False, True])
def test_a_notch_narrower_than_the_ball_is_filled_and_the_gap_between_lungs_is_not(joined):
    labels, whole = two_lungs(notch_mm=14.0, joined=joined)
    filled = closed_lungs(labels, (1,), close_mm=40.0).values[0] > 0
    lost = whole & (labels.values[0] == 0)
    assert float(filled[lost].float().mean()) > 0.6, "all but the cap of the convex side"
    added = filled & ~whole & (labels.values[0] == 0)
    assert float(added.sum()) < 0.005 * float(whole.sum()), "the bridge's foot alone"
    open_still = closed_lungs(labels, (1,), close_mm=4.0).values[0] > 0
    assert float(open_still[lost].float().mean()) < 0.4


def test_other_labels_and_voxels_set_apart_are_not_taken():
    labels, whole = two_lungs(notch_mm=14.0)
    lost = whole & (labels.values[0] == 0)
    other = Volume(torch.where(lost, 7.0, labels.values[0])[None], labels.affine, "label")
    assert not (closed_lungs(other, (1,), close_mm=20.0).values[0][lost] > 0).any()
    assert (closed_lungs(other, (1,), close_mm=20.0, joined=(7,)).values[0][lost] == 1).all()
    assert not (closed_lungs(labels, (1,), close_mm=20.0, apart=lost).values[0][lost] > 0).any()


def test_fine_and_mirrored_grids_give_the_same_field():
    labels, _ = two_lungs(notch_mm=14.0)
    plain = closed_lungs(labels, (1,), close_mm=20.0)
    mirror = torch.diag(torch.tensor([-1.0, 1.0, 1.0, 1.0], dtype=torch.float64))
    turned = Volume(labels.values.flip(1), labels.affine @ mirror, "label")
    assert torch.equal(closed_lungs(turned, (1,), close_mm=20.0).values.flip(1), plain.values)
    halved = torch.diag(torch.tensor([0.5, 0.5, 0.5, 1.0], dtype=torch.float64))
    fine = Volume(labels.values.repeat_interleave(2, 1).repeat_interleave(2, 2), labels.affine @ halved, "label")
    fine = Volume(fine.values.repeat_interleave(2, 3), fine.affine, "label")
    found = closed_lungs(fine, (1,), close_mm=20.0, working_mm=SPACING_MM).values[0] > 0
    assert dice(found[::2, ::2, ::2], plain.values[0] > 0) > 0.99


def test_no_labels_and_wrong_units_are_told():
    labels, _ = two_lungs()
    assert not closed_lungs(labels, (9,), close_mm=10.0).values.any()
    with pytest.raises(GeometryError, match="expected a volume in 'label', found 'hu'"):
        closed_lungs(Volume(labels.values, labels.affine, "hu"), (1,), close_mm=10.0)


def test_the_windpipe_is_found_and_left_out_of_lungs_that_hold_it(caplog):
    ct = plain_chest()
    air = torch.isin(ct.values, torch.tensor([-850.0])) | windpipe_of(ct)
    labels = Volume(air.float(), ct.affine, "label")
    found = windpipe_voxels(ct, map_body(ct))
    true = windpipe_of(ct)[0]
    assert float((found & true).sum()) > 0.8 * float(true.sum()) and not (found & (ct.values[0] == -850.0)).any()
    settings = PairSettings(shape=(32, 32), device="cpu", mask=MaskSettings(labels=(1,), rule=MaskRule("visible")))
    made = Synthesiser(ct, labels, settings=settings)
    assert made.remarks()[-1] == "the lungs' labels hold the windpipe: it is left out of the lung field"
    assert not (made._closed.values[0][found] > 0).any()
    clean = Synthesiser(ct, Volume((ct.values == -850.0).float(), ct.affine, "label"), settings=settings)
    assert len(clean.remarks()) == 1


def windpipe_of(ct):
    xyz, _ = places()
    x, y, z = xyz
    return ((((x**2 + (y + 10) ** 2) < 9**2) & (z > 20) & (z < 130)) & (ct.values[0] == -1000.0))[None]


def masks_of(phantom, close_mm, joined=JOINED):
    """Lungs as a reader sees them, from in front."""
    camera = chest_camera(phantom.ct, shape=(64, 64)).to(torch.float64)
    rule = MaskRule("visible", {"close_mm": close_mm})
    closed = closed_lungs(phantom.labels, LUNGS, close_mm=close_mm, joined=joined) if close_mm else None
    obscuring = obscuring_tissue(phantom.labels, LUNGS, obscuring_labels(LABELS), closed=closed)
    both = [Structure(LUNGS, rule), Structure(LUNGS[:1], rule, LUNGS, "right")]
    return project_masks(both, phantom.labels, camera, obscuring=obscuring, closed=closed)[0][0]


def test_outlines_run_over_findings(healthy, sick):
    plain, closed = ([masks_of(one, close_mm)[0] for one in (healthy, sick)] for close_mm in (0.0, 15.0))
    assert dice(*closed) > 0.97 and dice(*closed) > dice(*plain) + 0.02
    assert not (masks_of(sick, 15.0)[1] & ~closed[1]).any(), "one lung lies within both"


def test_masks_that_close_lungs_differently_are_refused(healthy):
    rules = [Structure(LUNGS, MaskRule("visible", {"close_mm": number})) for number in (0.0, 5.0)]
    with pytest.raises(UsageError, match="close_mm 0, 5; expected one number for all of them"):
        project_masks(rules, healthy.labels, chest_camera(healthy.ct, shape=(8, 8)))


def test_a_former_record_means_labels_as_they_are():
    former = {"name": "visible", "lung_mm": 20.0, "obscured_mm": 5.0}
    assert MaskRule.from_dict(former).numbers["close_mm"] == 0.0
    assert MaskRule.from_dict(MaskRule("visible").to_dict()) == MaskRule("visible")
    assert MaskRule("visible").numbers["close_mm"] > 0
