"""Label lengths, and the masks that rules make of them."""

import json

import pytest
import torch

from nerp.camera import Camera
from nerp.errors import GeometryError, UsageError
from nerp.label_names import lung_labels, obscuring_labels
from nerp.projection import (
    RULES,
    MaskRule,
    march,
    march_labels,
    obscuring_tissue,
    project_labels,
    project_mask,
    siddon,
)
from nerp.projection.masks import smooth_mask
from nerp.volume import Fields, Volume

SIDE_MM = 10.0
LEFT, RIGHT, HEART, LIVER = 1, 2, 7, 300


def affine() -> torch.Tensor:
    """RAS, 10 mm voxels, the world's origin in the middle of 24^3."""
    matrix = torch.diag(torch.tensor([SIDE_MM, SIDE_MM, SIDE_MM, 1], dtype=torch.float64))
    matrix[:3, 3] = -SIDE_MM * 11.5
    return matrix


@pytest.fixture
def chest() -> Volume:
    """Two lungs (boxes), a heart between and before them, and a liver rising into the right one."""
    values = torch.zeros(1, 24, 24, 24)
    values[0, 13:21, 4:20, 6:20] = RIGHT
    values[0, 3:11, 4:20, 6:20] = LEFT
    values[0, 7:15, 10:18, 8:16] = HEART
    values[0, 13:21, 6:18, 3:9] = LIVER
    return Volume(values, affine(), "label")


def pa(shape=(48, 48), pixel_mm=6.0) -> Camera:
    vectors = [(0, -1500, 0), (0, 125, 0), (-1, 0, 0), (0, 0, -1)]
    parts = [torch.tensor([vector], dtype=torch.float64) for vector in vectors]
    return Camera(*parts, shape=shape, pixel_mm=(pixel_mm, pixel_mm))


def pixel(x_mm: float, z_mm: float) -> tuple[int, int]:
    """Row and column of the film onto which a point of the volume's middle plane falls."""
    magnification = 1625 / 1500
    return round(23.5 - z_mm * magnification / 6), round(23.5 - x_mm * magnification / 6)


def test_lengths_are_those_of_siddon_through_each_label(chest):
    labels = [HEART, RIGHT, LIVER, 99, LEFT, HEART]
    lengths = project_labels(chest, pa(), labels)
    assert lengths.shape == (1, 6, 48, 48) and lengths.dtype == torch.float32
    indicators = torch.cat([(chest.values == label).float() for label in labels])
    assert torch.allclose(lengths, siddon(Volume(indicators, chest.affine), pa()), atol=1e-3)
    assert lengths[0, 3].max() == 0 and lengths[0, 0].max() > 70


def test_all_labels_together_fill_the_path(chest):
    present = torch.unique(chest.values).int().tolist()
    total = project_labels(chest, pa(), present).sum(dim=1)
    ones = Volume(torch.ones_like(chest.values), chest.affine)
    assert torch.allclose(total, siddon(ones, pa())[:, 0], atol=1e-3)


def test_overlapping_maps_add_up(chest):
    lesion = torch.zeros_like(chest.values)
    lesion[0, 4:7, 8:12, 8:12] = 50
    both = Volume(torch.cat([chest.values, lesion]), chest.affine, "label")
    lengths = project_labels(both, pa(), [LEFT, 50])
    assert torch.equal(lengths[:, :1], project_labels(chest, pa(), [LEFT]))
    assert torch.equal(lengths[:, 1:], project_labels(Volume(lesion, chest.affine, "label"), pa(), [50]))


def test_a_batch_of_views_is_its_views_alone(chest):
    views = pa().repeat(2).moved(torch.tensor([[0.0, 0, 0], [20.0, 0, 5]], dtype=torch.float64))
    both = project_labels(chest, views, [LEFT, HEART])
    assert torch.equal(both[1:], project_labels(chest, views[1], [LEFT, HEART]))


def test_image_and_mask_come_from_the_same_rays(chest):
    """An image of the lungs alone is lit exactly where their mask is; shifted by a pixel it is not."""
    lungs = Volume(torch.isin(chest.values, torch.tensor([float(LEFT), RIGHT])).float(), chest.affine)
    lit = siddon(lungs, pa()) > 0
    mask = project_mask(MaskRule("any"), chest, pa(), [LEFT, RIGHT])
    assert torch.equal(lit, mask)
    assert not torch.equal(lit.roll(1, dims=3), mask) and not torch.equal(lit.roll(1, dims=2), mask)


def test_any_and_thickness_count_the_path(chest):
    lengths = project_labels(chest, pa(), [HEART])
    for limit_mm in (10.0, 40.0, 79.0):
        rule = MaskRule("thickness", {"thickness_mm": limit_mm})
        assert torch.equal(project_mask(rule, chest, pa(), [HEART]), lengths >= limit_mm)
    assert torch.equal(project_mask(MaskRule("any"), chest, pa(), [HEART]), lengths > 0)


@pytest.mark.parametrize("named", [False, True])
def test_visible_leaves_out_lung_behind_heart_and_liver(chest, named):
    obscuring = obscuring_tissue(chest, [LEFT, RIGHT], [HEART, LIVER] if named else [])
    mask = project_mask(MaskRule("visible"), chest, pa(), [LEFT, RIGHT], obscuring=obscuring)[0, 0]
    whole = project_mask(MaskRule("any"), chest, pa(), [LEFT, RIGHT])[0, 0]
    for clear in ((60, 40), (-60, 40), (-60, -40)):
        assert mask[pixel(*clear)]
    for hiding in ((-30, 10), (55, -40), (0, 40)):
        assert not mask[pixel(*hiding)]
    assert whole[pixel(-30, 10)] and whole[pixel(55, -40)]
    assert (mask & ~whole).float().mean() < 0.01


def test_visible_needs_no_label_but_the_lungs(chest):
    only_lungs = torch.where(torch.isin(chest.values, torch.tensor([float(LEFT), RIGHT])), chest.values, 0.0)
    bare = Volume(only_lungs, chest.affine, "label")
    one, other = (project_mask(MaskRule(), volume, pa(), [LEFT, RIGHT]) for volume in (chest, bare))
    assert (one ^ other).sum() <= 0.02 * one.sum()
    assert one.any(), "lungs close a little over a notch that no label holds"


def test_obscuring_tissue_is_enclosed_by_the_lungs_or_below_them(chest):
    obscuring = obscuring_tissue(chest, [LEFT, RIGHT]).values[0] < 0
    lung = torch.isin(chest.values[0], torch.tensor([float(LEFT), RIGHT]))
    assert not (obscuring & lung).any()
    assert obscuring[12, 12, 10] and obscuring[18, 12, 1] and not obscuring[12, 12, 22] and not obscuring[0, 12, 10]
    flipped = Volume(chest.values.flip(3), chest.affine @ _flip(2, 24), "label")
    assert torch.equal(obscuring_tissue(flipped, [LEFT, RIGHT]).values.flip(3)[0] < 0, obscuring)
    permuted = Volume(chest.values.permute(0, 3, 1, 2), chest.affine[:, [2, 0, 1, 3]], "label")
    again = obscuring_tissue(permuted, [LEFT, RIGHT]).values[0].permute(1, 2, 0) < 0
    assert (again != obscuring).float().mean() < 0.01


def _flip(axis: int, count: int) -> torch.Tensor:
    matrix = torch.eye(4, dtype=torch.float64)
    matrix[axis, axis], matrix[axis, 3] = -1, count - 1
    return matrix


def test_names_tell_lungs_and_what_hides_them():
    names = {1: "lung_upper_lobe_left", 2: "Right Lung", 3: "heart", 4: "vertebrae_T8", 5: "rib_left_3", 6: "Liver"}
    assert lung_labels(names) == [1, 2]
    assert obscuring_labels(names) == [3, 4, 6]


def test_march_labels_is_the_march_of_the_label_over_that_of_everything(chest):
    opacity = torch.rand(1, 24, 24, 24) * 0.01
    ones = torch.ones_like(opacity)
    shares = march_labels(Fields(ones, opacity, chest.affine), chest, pa(), [LEFT, HEART], n_samples=64)
    everything = march(Fields(ones, opacity, chest.affine), pa(), 64)
    assert shares.shape == (1, 2, 48, 48)
    for place, label in enumerate((LEFT, HEART)):
        part = march(Fields((chest.values == label).float(), opacity, chest.affine), pa(), 64)
        soft_edge = (shares[:, place : place + 1] - part / everything.clamp(min=1e-9)).abs()
        assert soft_edge.mean() < 0.01 and soft_edge.median() < 1e-6
    assert march_labels(Fields(ones, 0 * ones, chest.affine), chest, pa(), [LEFT], n_samples=8).max() == 0


def test_march_labels_reads_labels_on_their_own_grid(chest):
    opacity = torch.full((1, 24, 24, 24), 0.004)
    fields = Fields(opacity, opacity, chest.affine)
    flipped = Volume(chest.values.flip(1), chest.affine @ _flip(0, 24), "label")
    one = march_labels(fields, chest, pa(), [LEFT, RIGHT], n_samples=64)
    assert torch.allclose(one, march_labels(fields, flipped, pa(), [LEFT, RIGHT], n_samples=64), atol=0.02)
    doubled = Volume(chest.values.repeat_interleave(2, dim=3), _halved(chest.affine), "label")
    assert torch.allclose(one, march_labels(fields, doubled, pa(), [LEFT, RIGHT], n_samples=64), atol=0.02)


def _halved(matrix: torch.Tensor) -> torch.Tensor:
    fine = matrix.clone()
    fine[:3, 2] /= 2
    fine[:3, 3] -= fine[:3, 2] / 2
    return fine


def test_rendered_masks_where_the_label_gives_its_share(chest):
    opacity = torch.full((1, 24, 24, 24), 0.004)
    fields = Fields(opacity, opacity, chest.affine)
    share = march_labels(fields, chest, pa(), [HEART])
    mask = project_mask(MaskRule("rendered", {"share": 0.2}), chest, pa(), [HEART], fields=fields)
    assert torch.equal(mask, share >= 0.2) and mask.any()
    with pytest.raises(UsageError, match="mask rule 'rendered' needs the fields of the image"):
        project_mask(MaskRule("rendered"), chest, pa(), [HEART])


@pytest.mark.parametrize("name", list(RULES))
def test_rules_survive_their_record(name):
    rule = MaskRule(name, {number: 2 * value for number, value in RULES[name].items()})
    record = json.loads(json.dumps(rule.to_dict()))
    assert MaskRule.from_dict(record) == rule and record["name"] == name
    assert set(record) == {"name", *RULES[name]}


@pytest.mark.parametrize(
    ("name", "numbers", "message"),
    [
        ("shadow", {}, "unknown mask rule 'shadow'; expected one of any, thickness, visible, rendered"),
        ("any", {"mm": 3.0}, "mask rule 'any' has no number 'mm'; it has no numbers"),
        ("thickness", {"mm": 3.0}, "mask rule 'thickness' has no number 'mm'; it has thickness_mm"),
        ("thickness", {"thickness_mm": -1.0}, "thickness_mm is -1.0; expected a finite number, 0 or more"),
    ],
)
def test_impossible_rules_are_refused(name, numbers, message):
    with pytest.raises(UsageError, match=message):
        MaskRule(name, numbers)


def test_smoothing_removes_specks_and_steps_and_keeps_edges():
    mask = torch.zeros(1, 1, 40, 40, dtype=torch.bool)
    mask[..., :20] = True
    mask[0, 0, 10, 30] = True
    smoothed = smooth_mask(mask, 4.0, pixel_mm=torch.tensor([[2.0, 2.0]]))
    assert smoothed[..., :20].all() and not smoothed[..., 20:].any()
    assert torch.equal(smooth_mask(mask, 0.0, pixel_mm=torch.tensor([[2.0, 2.0]])), mask)


def test_label_projection_refuses_what_does_not_fit(chest):
    ct = Volume(chest.values, chest.affine, "hu")
    with pytest.raises(GeometryError, match="expected a volume in 'label', found 'hu'; read it with read_labels"):
        project_labels(ct, pa(), [1])
    with pytest.raises(GeometryError, match="expected a volume in 'label', found 'hu'"):
        obscuring_tissue(ct, [1])
    with pytest.raises(UsageError, match="no labels are asked for; expected at least one integer"):
        project_labels(chest, pa(), [])
    small = obscuring_tissue(Volume(chest.values[:, :-1], chest.affine, "label"), [LEFT])
    with pytest.raises(GeometryError, match="obscuring tissue lies on another grid"):
        project_mask(MaskRule(), chest, pa(), [LEFT], obscuring=small)
    two = Fields(torch.ones(2, 4, 4, 4), torch.ones(2, 4, 4, 4), affine())
    with pytest.raises(GeometryError, match=r"march_labels\(\) found 2 fields; expected 1"):
        march_labels(two, chest, pa().repeat(2), [LEFT])


def test_about_the_apices_less_obscures():
    """Two blocks of lung, 120 mm high, one 12 mm higher, with 32 mm of tissue between them."""
    values = torch.zeros(1, 40, 20, 40)
    values[0, 6:16, :, 5:35], values[0, 24:34, :, 8:38] = LEFT, RIGHT
    matrix = torch.diag(torch.tensor([4.0, 4.0, 4.0, 1.0], dtype=torch.float64))
    matrix[:3, 3] = -78.0
    volume = Volume(values, matrix, "label")
    obscuring = obscuring_tissue(volume, [LEFT, RIGHT]).values[0, 20, 10]
    side = {label: (obscuring == label).nonzero().flatten().tolist() for label in (-1, -2, -3, -4)}
    assert side[-2] == list(range(26, 35)), (
        "from 45 mm below the taller lung's top to the lower lung's, where the cage ends"
    )
    assert len(side[-3]) in (3, 4) and len(side[-4]) in (3, 4)
    assert min(side[-2]) > max(side[-3]) > max(side[-4]) > max(side[-1])
    camera = pa()
    even, apical = (
        project_mask(MaskRule("visible", {"apex_obscured": fraction, "close_mm": 0.0}), volume, camera, [LEFT, RIGHT])
        for fraction in (1.0, 0.5)
    )
    assert not (even & ~apical).any()
    whole = project_mask(MaskRule("any"), volume, camera, [LEFT, RIGHT])
    rows = whole[0, 0].any(1).nonzero().flatten()
    middle = int(rows.float().mean())
    assert torch.equal(even[..., middle + 6 :, :], apical[..., middle + 6 :, :])


def test_a_former_record_counts_all_that_obscures_alike():
    former = {"name": "visible", "lung_mm": 20.0, "obscured_mm": 5.0, "close_mm": 15.0}
    assert MaskRule.from_dict(former).numbers["apex_obscured"] == 1.0
