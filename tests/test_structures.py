"""Masks of any structure: the rule that fits the label, several masks at once, and what is told of doubtful ones."""

import json
import logging
from dataclasses import replace

import numpy as np
import pytest
import torch
from small_chests import HEART, SETTINGS, changed, chest, contents, write_chests

from nerp.camera import chest_camera
from nerp.data.pairs import mask_path, read_pair, read_records
from nerp.errors import DataError, UsageError
from nerp.projection import RULES, MaskRule, Structure, obscuring_tissue, project_mask, project_masks
from nerp.synthesis import MaskSettings, Synthesiser, render, replay, synthesize
from nerp.synthesis.structures import plan_masks
from nerp.volume import Volume

NAMES = {10: "lung_right", 11: "lung_left", HEART: "heart", 20: "rib_left_3", 16: "trachea"}
VISIBLE = MaskRule("visible")


def lobes() -> tuple[Volume, Volume]:
    """The small chest with a lobe, 12, in the middle of the rest of its lung, 10."""
    ct, labels = chest()
    values = labels.values.clone()
    depth = torch.arange(values.shape[2])[:, None] - (values.shape[2] - 1) / 2
    values[(values == 10) & (depth.abs() < 3)] = 12
    return ct, Volume(values, labels.affine, "label")


def plan(names, chosen, **settings):
    ct, labels = lobes()
    return plan_masks(MaskSettings(labels=chosen, **settings), ct, labels, names)


@pytest.mark.parametrize(
    ("names", "chosen", "rule", "reason"),
    [
        (NAMES, (10, 11), "visible", "lungs by name"),
        ({**NAMES, 12: "lung_lower_lobe_right"}, (12,), "visible", "lungs by name"),
        (NAMES, (HEART,), "any", "no lungs by name"),
        (NAMES, (10, HEART), "any", "no lungs by name: 51"),
        (NAMES, (16,), "any", "no lungs by name"),
        ({**NAMES, HEART: "pulmonary_veins"}, (10, HEART), "visible", "lungs by name"),
        ({**NAMES, HEART: "lung_nodule"}, (10, 11, HEART), "visible", "lungs by name"),
        ({**NAMES, HEART: "bronchi"}, (HEART,), "any", "no lungs by name"),
        ({}, (10, 11, 12), "visible", "lungs by HU"),
        ({}, (12,), "visible", "lungs by HU"),
        ({}, (HEART,), "any", "no lungs by HU"),
        ({}, (10, 11, 99), "visible", "lungs by HU"),
    ],
)
def test_the_rule_follows_the_label(names, chosen, rule, reason):
    found = plan(names, chosen)
    assert (found.structures[0].rule, found.reasons) == (MaskRule(rule), (reason,))


def test_small_pieces_of_air_are_no_lung():
    ct, labels = lobes()
    values = torch.where((labels.values == 10).cumsum(dim=1) <= 1, labels.values, torch.zeros(()))
    few = Volume(values * (labels.values == 10), labels.affine, "label")
    assert few.values.any() and (ct.values[few.values > 0] == -850).all()
    scaled = Volume(ct.values, torch.diag(torch.tensor([2.0, 2.0, 2.0, 1.0])), "hu")
    found = plan_masks(MaskSettings(labels=(10,)), scaled, Volume(few.values, scaled.affine, "label"), {})
    assert found.reasons == ("no lungs by HU",)


def test_numbers_without_a_rule_are_those_of_visible():
    assert plan(NAMES, (10, 11), numbers={"lung_mm": 33.0}).structures[0].rule.numbers["lung_mm"] == 33.0
    assert plan(NAMES, (HEART,), numbers={"lung_mm": 33.0}).structures[0].rule == MaskRule("any")
    with pytest.raises(UsageError, match="has no number 'thickness_mm'"):
        MaskSettings(numbers={"thickness_mm": 3.0})


def test_visible_of_what_is_no_lung_is_refused_unless_forced():
    with pytest.raises(UsageError, match=r"the mask \(heart\) is no lung by name; give --rule any, or --force"):
        plan(NAMES, (HEART,), rule=VISIBLE)
    with pytest.raises(UsageError, match=r"the mask \(51\) is no lung by HU"):
        plan({}, (HEART,), rule=VISIBLE)
    assert plan(NAMES, (HEART,), rule=VISIBLE, force=True).structures[0].rule == VISIBLE


def test_the_other_lobes_do_not_obscure_a_lobe():
    ct, labels = lobes()
    camera = chest_camera(ct, shape=(48, 40))
    obscuring = obscuring_tissue(labels, (10, 11, 12))
    lungs = project_mask(VISIBLE, labels, camera, (10, 11, 12), obscuring=obscuring)
    parts = [
        project_mask(VISIBLE, labels, camera, (label,), lungs=(10, 11, 12), obscuring=obscuring)
        for label in (10, 11, 12)
    ]
    union = torch.stack(parts).any(dim=0)
    assert (union & ~lungs).sum() <= 0.01 * lungs.sum()
    assert (lungs & ~union).sum() <= 0.02 * lungs.sum()
    assert parts[0].sum() > 2 * project_mask(VISIBLE, labels, camera, (10,)).sum()


def test_a_part_is_seen_where_enough_of_it_is_crossed():
    ct, labels = lobes()
    camera, numbers = chest_camera(ct, shape=(48, 40)), {"part_mm": 60.0}
    thick, thin = (
        project_mask(MaskRule("visible", given), labels, camera, (12,), lungs=(10, 11, 12)) for given in (numbers, {})
    )
    assert 0 < thick.sum() < thin.sum()


def test_several_masks_equal_each_one_alone():
    ct, labels = lobes()
    camera = chest_camera(ct, shape=(32, 24))
    obscuring = obscuring_tissue(labels, (10, 11, 12), [HEART])
    structures = [
        Structure((10, 11, 12), VISIBLE),
        Structure((12,), VISIBLE, (10, 11, 12)),
        Structure((HEART,), MaskRule("any")),
        Structure((10, HEART), MaskRule("thickness", {"thickness_mm": 40.0})),
    ]
    together, crossed = project_masks(structures, labels, camera, obscuring=obscuring)
    for number, one in enumerate(structures):
        alone = project_mask(one.rule, labels, camera, one.labels, lungs=one.lungs, obscuring=obscuring)
        assert torch.equal(together[:, number : number + 1], alone)
        everything = project_mask(MaskRule("any"), labels, camera, one.labels)
        assert torch.equal(crossed[:, number : number + 1], everything)


MASKS = {"lungs": "lung_*", "heart": "heart", "left": "11"}


def several(**changes):
    mask = MaskSettings(structures=MASKS, label_names={10: "lung_right", 11: "lung_left", HEART: "heart"})
    return replace(SETTINGS, mask=mask, views=2, **changes)


def test_a_set_of_several_masks_has_a_folder_each(tmp_path):
    ct, labels = write_chests(tmp_path / "in")
    dataset = synthesize(ct, labels, out=tmp_path / "pairs", settings=several())
    records = read_records(tmp_path / "pairs" / "metadata.jsonl")
    assert len(records) == 4
    for record in records:
        assert [mask.name for mask in record.masks] == ["lungs", "heart", "left"]
        assert [mask.rule["name"] for mask in record.masks] == ["visible", "any", "visible"]
        assert [mask.lung_labels for mask in record.masks] == [[], [], [10, 11]]
        assert record.mask_file_name == f"masks/lungs/{record.id}.png"
        assert record.label_names == {"10": "lung_right", "11": "lung_left", "51": "heart"}
        lungs, heart, left = (read_pair(tmp_path / "pairs", record, name)[1] for name in MASKS)
        assert heart.any() and left.any() and not (left & ~lungs).any()
        assert record.masks[1].fraction == record.masks[1].any_fraction == pytest.approx(heart.mean())
    assert [mask["name"] for mask in dataset["masks"]] == list(MASKS)
    assert dataset["masks"][1]["rules"] == {"any (no lungs by name)": 4}
    with pytest.raises(DataError, match="has no mask 'ribs'; it has heart, left, lungs"):
        mask_path(tmp_path / "pairs", records[0], "ribs")


def test_a_lost_mask_is_made_again_and_nothing_else(tmp_path):
    ct, labels = write_chests(tmp_path / "in", names=("anna",))
    synthesize(ct, labels, out=tmp_path / "pairs", settings=several())
    before = contents(tmp_path / "pairs")
    next((tmp_path / "pairs" / "masks" / "heart").iterdir()).unlink()
    synthesize(ct, labels, out=tmp_path / "pairs", settings=several())
    assert contents(tmp_path / "pairs") == before


def test_a_pair_of_several_masks_replays(tmp_path):
    ct, labels = write_chests(tmp_path / "in")
    synthesize(ct, labels, out=tmp_path / "pairs", settings=several())
    again = replay(tmp_path / "pairs" / "metadata.jsonl", 3, ct=ct, labels=labels, out=tmp_path / "again")
    assert again["identical"]
    record = read_records(tmp_path / "pairs" / "metadata.jsonl")[3]
    for mask in record.masks:
        same = (tmp_path / "again" / f"mask_{mask.name}.png").read_bytes()
        assert same == (tmp_path / "pairs" / mask.file_name).read_bytes()


def test_a_single_view_of_several_masks(tmp_path):
    ct, labels = (folder / "anna.nii.gz" for folder in write_chests(tmp_path / "in"))
    record = render(ct, labels=labels, out=tmp_path / "view", settings=several())
    assert sorted(path.name for path in (tmp_path / "view").glob("mask*")) == [
        "mask_heart.png",
        "mask_left.png",
        "mask_lungs.png",
    ]
    replayed = replay(tmp_path / "view" / "record.json", ct=ct, labels=labels, out=tmp_path / "again")
    assert replayed["identical"] and record.more_masks[0]["file_name"] == "mask_heart.png"
    render(ct, labels=labels, out=tmp_path / "view", settings=changed())
    assert sorted(path.name for path in (tmp_path / "view").glob("mask*")) == ["mask.png"]


def test_masks_cannot_be_stated_twice_nor_called_anything():
    with pytest.raises(UsageError, match="expected one of them"):
        MaskSettings(labels=(10,), structures={"lungs": "10"})
    with pytest.raises(UsageError, match="a mask is called '../x'; expected letters"):
        MaskSettings(structures={"../x": "10"})
    with pytest.raises(UsageError, match="a mask is called ''"):
        MaskSettings(structures={"": "10", "heart": "51"})


def test_names_that_no_label_has_are_refused():
    with pytest.raises(UsageError, match=r"'lung_\*' is no label"):
        plan_masks(MaskSettings(structures={"": "lung_*"}), *lobes(), {})


def test_values_that_no_voxel_has_are_named(tmp_path, caplog):
    ct, labels = (folder / "anna.nii.gz" for folder in write_chests(tmp_path / "in"))
    render(ct, labels=labels, out=tmp_path / "view", settings=changed(mask_labels=(10, 222), rule=None))
    assert "no voxel of the CT has the label 222; check --mask" in caplog.text
    strict = replace(changed(mask_labels=(10, 222)), inputs=replace(SETTINGS.inputs, strict=True))
    with pytest.raises(DataError, match="no voxel of the CT has the label 222"):
        render(ct, labels=labels, out=tmp_path / "strict", settings=strict)
    assert not (tmp_path / "strict").exists()


def test_masks_that_are_empty_or_nearly_so_are_told(tmp_path, caplog):
    ct, labels = (folder / "anna.nii.gz" for folder in write_chests(tmp_path / "in"))
    empty = changed(rule=MaskRule("thickness", {"thickness_mm": 5000.0}))
    render(ct, labels=labels, out=tmp_path / "view", settings=empty)
    assert "mask: of 1 views 1 empty; look at them" in caplog.text
    caplog.clear()
    thin = changed(rule=MaskRule("thickness", {"thickness_mm": 155.0}))
    record = render(ct, labels=labels, out=tmp_path / "view", settings=thin)
    assert 0 < record.mask_fraction < 0.05 * record.mask_any_fraction
    assert "of 1 views 1 under 5% of the rays that meet their labels" in caplog.text


def test_the_rule_and_why_are_said(tmp_path, caplog):
    caplog.set_level(logging.INFO, logger="nerp.synthesis")
    ct, labels = write_chests(tmp_path / "in")
    synthesize(ct, labels, out=tmp_path / "pairs", settings=several())
    assert [record.getMessage() for record in caplog.records if record.levelno == logging.INFO] == [
        "mask lungs: rule visible (lungs by name)",
        "mask heart: rule any (no lungs by name)",
        "mask left: rule visible (lungs by name)",
    ]


def test_settings_beside_several_masks_make_them_again(nerp, tmp_path):
    ct, labels = write_chests(tmp_path / "in", names=("anna",))
    (tmp_path / "names.csv").write_text(f"id,name\n10,lung_right\n11,lung_left\n{HEART},heart\n")
    masks = ["--mask", "lungs=lung_*", "--mask", f"heart={HEART}"]
    files = ["--ct", ct, "--labels", labels]
    stated = [*masks, "--label-names", tmp_path / "names.csv", "--views", "1", "--shape", "24x20"]
    code, out, err = nerp("synthesize", *files, *stated, "-o", tmp_path / "one", "--json")
    assert code == 0, err
    assert json.loads(out)["settings"]["mask"]["rule"] == {"name": "by label", **RULES["visible"]}
    code, _, err = nerp("synthesize", *files, "--config", tmp_path / "one" / "settings.yaml", "-o", tmp_path / "two")
    assert code == 0, err
    assert contents(tmp_path / "one") == contents(tmp_path / "two")


def test_points_of_every_map_count_for_what_is_cut_off():
    ct, labels = chest()
    other = torch.zeros_like(labels.values)
    other[0, 13, 9, 13] = 7
    both = Volume(torch.cat([labels.values, other]), labels.affine, "label")
    pair = Synthesiser(ct, both, settings=changed(mask_labels=(7,), rule=None)).pair(chest_camera(ct, shape=(24, 20)))
    assert pair.record.mask_outside_fraction == 0.0 and np.any(pair.mask)


def test_one_lung_with_its_vessels_is_a_part_of_both_lungs():
    names = {10: "lung_right", 12: "lung_left", HEART: "lung_vessels"}
    found = plan(names, (10, HEART)).structures[0]
    assert found.rule == VISIBLE and found.lungs == (10, 11, 12, HEART)
    assert plan(names, (10, 11, 12, HEART)).structures[0].lungs == ()
