"""CTs varied: tissue and labels move together, nothing folds, findings have their volume and HU, pairs replay."""

import json
import math
from dataclasses import replace

import pytest
import torch
from plain_chest import plain_chest
from small_chests import changed, write_chests

from nerp.errors import DataError, GeometryError, UsageError
from nerp.label_maps import LabelMap
from nerp.phantom import LABEL_OF, LABELS, thorax
from nerp.projection import MaskRule
from nerp.synthesis import replay, synthesize
from nerp.variation import (
    Deformation,
    DeformationSettings,
    InsertSettings,
    Variation,
    deform,
    draw_variation,
    finding_values,
    vary,
)
from nerp.variation.chest import lungs_of, measure_chest
from nerp.variation.deformation import LEAST_JACOBIAN, displacement, jacobians
from nerp.variation.warping import lattice_index, warp
from nerp.volume import Volume, read_volume

LUNGS = (LABEL_OF["lung_right"], LABEL_OF["lung_left"])
VALUES = finding_values(LABELS, list(LABELS))


@pytest.fixture(scope="module")
def phantom():
    return thorax(3, spacing_mm=5.0)


@pytest.fixture(scope="module")
def chest(phantom):
    return measure_chest(lungs_of(phantom.labels, LUNGS))


def centre(volume, values):
    """World mm of the middle of some labels."""
    return volume.to_world(torch.isin(volume.values[0], torch.tensor(values).float()).nonzero().double()).mean(0)


def volume_ml(labels, values):
    count = torch.isin(labels.values, torch.tensor(values).float()).sum()
    return float(count * labels.affine[:3, :3].det().abs() / 1000)


def test_no_deformation_is_the_identity(phantom, chest):
    ct, labels, facts = deform(phantom.ct, phantom.labels, Deformation(), chest)
    assert torch.equal(ct.values, phantom.ct.values) and torch.equal(labels.values, phantom.labels.values)
    assert torch.equal(ct.affine, phantom.ct.affine) and facts["least_jacobian"] == 1.0
    made = vary(phantom.ct, LabelMap(phantom.labels), Variation(), lungs=(), values={})
    assert made.ct is phantom.ct and made.record == {}


def test_warping_by_nothing_gives_the_values_back(phantom):
    still = torch.zeros_like(lattice_index(phantom.ct))
    assert torch.equal(warp(phantom.labels, still, nearest=True).values, phantom.labels.values)
    assert torch.allclose(warp(phantom.ct, still, nearest=False).values, phantom.ct.values, atol=0.1)


def test_warping_by_whole_voxels_shifts(phantom):
    offsets = torch.zeros_like(lattice_index(phantom.ct))
    offsets[..., 1] = 2.0
    moved = warp(phantom.ct, offsets, nearest=False).values
    assert torch.allclose(moved[:, :, :-2], phantom.ct.values[:, :, 2:], atol=0.1)
    assert torch.allclose(moved[:, :, -1], phantom.ct.values[:, :, -1], atol=0.1), (
        "beyond the face it goes on as it ends"
    )


@pytest.mark.parametrize("rise_mm", [25.0, -25.0])
def test_the_diaphragm_moves_and_the_spine_does_not(phantom, chest, rise_mm):
    _, labels, facts = deform(phantom.ct, phantom.labels, Deformation(rise_mm), chest)
    liver, spine = ([LABEL_OF[name]] for name in ("liver", "vertebrae"))
    lift = (centre(labels, liver) - centre(phantom.labels, liver))[2]
    assert 0.15 * abs(rise_mm) < lift * math.copysign(1, rise_mm) < abs(rise_mm)
    assert (centre(labels, spine) - centre(phantom.labels, spine)).norm() < 1.5
    assert (volume_ml(labels, LUNGS) < volume_ml(phantom.labels, LUNGS)) == (rise_mm > 0)
    assert facts["applied"] == 1.0


def test_a_deeper_breath_moves_the_ribs_outwards_and_forwards(phantom, chest):
    _, labels, _ = deform(phantom.ct, phantom.labels, Deformation(-40.0), chest)
    sternum, rib = [LABEL_OF["sternum"]], [LABEL_OF["rib_right_7"]]
    moved = [centre(labels, one) - centre(phantom.labels, one) for one in (sternum, rib)]
    assert moved[0][1] > 0.5 and moved[0][2] > 0 and moved[1][0] > 0.3


def test_labels_follow_their_tissue(phantom, chest):
    ct, labels, _ = deform(phantom.ct, phantom.labels, Deformation(-20.0, (1.05, 0.95, 1.0), 4.0, 7), chest)
    for name in ("liver", "heart", "lung_right", "lung_left", "spleen"):
        before, after = (inner_mean_hu(*both, LABEL_OF[name]) for both in ((phantom.ct, phantom.labels), (ct, labels)))
        assert abs(after - before) < 4.0, name
        other = inner_mean_hu(ct, phantom.labels, LABEL_OF[name])
        assert abs(other - before) > abs(after - before), f"{name}: labels that stay where they were fit less"


def inner_mean_hu(ct, labels, value):
    """Mean HU of the voxels whose neighbours have the label, too: without half-filled edges."""
    others = (labels.values != value).float()
    inner = torch.nn.functional.max_pool3d(others, 3, stride=1, padding=1) == 0
    return float(ct.values[inner].double().mean())


def test_nothing_folds_and_too_much_is_held_back(phantom, chest):
    for moved in (Deformation(30.0, irregular_mm=5.0, seed=1), Deformation(150.0)):
        offsets, facts = displacement(phantom.ct, moved, chest)
        found = jacobians(lattice_index(phantom.ct), offsets)
        assert float(found.min()) >= LEAST_JACOBIAN and float(found.max()) <= 1 / LEAST_JACOBIAN
        assert facts["least_jacobian"] == pytest.approx(min(float(found.min()), 1 / float(found.max())), abs=1e-5)
    assert facts["applied"] < 1
    with pytest.raises(GeometryError, match="would fold the tissue of this CT; lower deformation.amplitude_mm"):
        displacement(phantom.ct, Deformation(irregular_mm=5000.0), chest)


def test_jacobians_are_those_of_a_linear_map(phantom):
    index = lattice_index(phantom.ct)
    linear = torch.tensor([[0.1, 0.2, 0.0], [0.0, -0.1, 0.05], [0.03, 0.0, 0.2]], dtype=torch.float64)
    expected = torch.linalg.det(torch.eye(3, dtype=torch.float64) + linear)
    assert torch.allclose(jacobians(index, index @ linear.T), expected)


def test_the_scale_moves_the_grid_alone(phantom, chest):
    ct, labels, _ = deform(phantom.ct, phantom.labels, Deformation(scale=(1.1, 0.9, 1.2)), chest)
    assert torch.equal(ct.values, phantom.ct.values) and torch.equal(ct.affine, labels.affine)
    assert ct.spacing_mm == pytest.approx((5.5, 4.5, 6.0))
    assert volume_ml(labels, LUNGS) == pytest.approx(1.1 * 0.9 * 1.2 * volume_ml(phantom.labels, LUNGS))
    assert torch.allclose(
        measure_chest(lungs_of(labels, LUNGS)).middle[0] + torch.zeros(1),
        torch.tensor(chest.middle[0]).float(),
        atol=0.5,
    )


def inserted(phantom, *names, seed=4):
    return vary(phantom.ct, LabelMap(phantom.labels, LABELS), Variation(None, names, seed), lungs=LUNGS, values=VALUES)


@pytest.mark.parametrize(
    ("name", "low_hu", "high_hu"), [("effusion", -60, 30), ("pneumothorax", -1010, -900), ("consolidation", -600, 30)]
)
def test_findings_have_their_volume_and_hu(phantom, name, low_hu, high_hu):
    made = inserted(phantom, name)
    (fact,) = made.record["findings"]
    where = made.labels.volume.values == VALUES[name]
    assert fact["kind"] == name and fact["side"] in ("right", "left") and fact["label"] == VALUES[name]
    assert (
        fact["volume_ml"] == pytest.approx(volume_ml(made.labels.volume, [VALUES[name]]), rel=0.05)
        and fact["volume_ml"] > 20
    )
    assert low_hu < float(made.ct.values[where].mean()) < high_hu
    changed_hu = made.ct.values != phantom.ct.values
    lungs = lungs_of(phantom.labels, LUNGS).values > 0
    assert float((changed_hu & lungs).sum()) > 0.75 * float(changed_hu.sum()), "what is painted stays in the lungs"


def test_a_nodule_is_solid_and_as_large_as_drawn():
    ct = plain_chest()
    labels = LabelMap(Volume((ct.values == -850.0).float(), ct.affine, "label"))
    made = vary(ct, labels, Variation(None, ("nodule",), 11), lungs=(1,), values={"nodule": 2})
    (fact,) = made.record["findings"]
    where = made.labels.volume.values == 2
    assert 0.3 < fact["volume_ml"] < 3 * 4 / 3 * math.pi * 1.84**3 and float(
        made.ct.values[where].quantile(0.8)
    ) == pytest.approx(38, abs=25)


def test_fluid_and_air_lie_on_opposite_sides_and_nodules_in_aerated_lung(phantom):
    made = inserted(phantom, "effusion", "nodule", "pneumothorax")
    sides = {one["kind"]: one["side"] for one in made.record["findings"]}
    assert {sides["effusion"], sides["pneumothorax"]} == {"right", "left"}
    low, high = (centre(made.labels.volume, [VALUES[name]])[2] for name in ("effusion", "pneumothorax"))
    assert low < high, "fluid sinks, air rises"


def test_values_of_findings_are_those_of_their_names_or_free():
    assert finding_values({7: "nodule"}, [1, 2, 9]) == {
        "effusion": 10,
        "nodule": 7,
        "consolidation": 12,
        "pneumothorax": 13,
    }


def test_what_is_drawn_of_the_one_depends_not_on_the_other():
    def drawn(moved, insert):
        return draw_variation(moved, insert, torch.Generator().manual_seed(5))

    moved, some = DeformationSettings(amplitude_mm=20, scale_spread=0.05, irregular_mm=3), InsertSettings("random", 0.9)
    both = drawn(moved, some)
    assert both.deformation == drawn(moved, InsertSettings()).deformation
    assert both.findings == drawn(DeformationSettings(), some).findings
    assert abs(both.deformation.diaphragm_mm) <= 20 and not drawn(DeformationSettings(), InsertSettings()).any
    assert Variation.from_dict({"deformation": both.deformation.to_dict()}).deformation == both.deformation


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        ({"deformation": {"scale": [1, 1]}}, "deformation is damaged"),
        ({"findings": [{"kind": "mumps"}]}, "holds mumps; this nerp knows effusion"),
        ({"findings": [3]}, "variation is damaged"),
    ],
)
def test_damaged_records_are_refused(damage, message):
    with pytest.raises(DataError, match=message):
        Variation.from_dict(damage)


def test_wrong_settings_and_missing_lungs_are_refused(phantom):
    with pytest.raises(UsageError, match="insert.findings holds 'mumps'; expected none, random or any of effusion"):
        InsertSettings("mumps")
    with pytest.raises(DataError, match="varied by its lungs, but no labels tell them"):
        vary(phantom.ct, None, Variation(Deformation(5.0)), lungs=(), values={})


SETTINGS = {
    "deformation": DeformationSettings(amplitude_mm=25.0, scale_spread=0.05, irregular_mm=2.0, views_each=2),
    "insert": InsertSettings("effusion,pneumothorax"),
}
NAMES = {10: "lung_right", 11: "lung_left", 51: "heart"}


@pytest.fixture(scope="module")
def pairs(tmp_path_factory):
    folder = tmp_path_factory.mktemp("varied")
    ct, labels = write_chests(folder, names=("anna",))
    settings = replace(changed(rule=MaskRule("visible"), label_names=NAMES, views=3), **SETTINGS)
    synthesize(ct, labels, out=folder / "pairs", settings=settings)
    return folder, [json.loads(line) for line in (folder / "pairs" / "metadata.jsonl").read_text().splitlines()]


def test_varied_pairs_replay_bit_for_bit(pairs, tmp_path):
    folder, records = pairs
    for index in range(3):
        out = tmp_path / str(index)
        found = replay(folder / "pairs" / "metadata.jsonl", index, ct=folder / "ct", labels=folder / "labels", out=out)
        assert found["identical"]
        again = json.loads((out / "record.json").read_text())
        assert again["variation"] == records[index]["variation"]


def test_views_share_a_variation_as_often_as_stated(pairs):
    _, records = pairs
    varied = [record["variation"] for record in records]
    assert varied[0] == varied[1] and varied[1]["deformation"] != varied[2]["deformation"]
    assert {one["kind"] for one in varied[0]["findings"]} == {"effusion", "pneumothorax"}
    values = {one["kind"]: one["label"] for one in varied[0]["findings"]}
    assert records[0]["joined_labels"] == [values["pneumothorax"]], "air belongs to its lung, fluid does not"
    assert records[0]["label_names"][str(values["pneumothorax"])] == "pneumothorax"


def test_a_varied_set_is_made_from_the_command_line(tmp_path, capsys):
    from nerp.cli import main

    ct, labels = write_chests(tmp_path, names=("anna",))
    words = ["synthesize", "--ct", str(ct), "--labels", str(labels), "--mask", "10,11", "--views", "2", "--shape", "24"]
    words += ["--insert", "random", "insert.chance=1", "deformation.amplitude_mm=20", "deformation.views_each=1"]
    words += ["deformation.scale_spread=0.02", "deformation.irregular_mm=1", "insert.findings=random"]
    assert main([*words, "-o", str(tmp_path / "pairs")]) == 0
    record = json.loads((tmp_path / "pairs" / "metadata.jsonl").read_text().splitlines()[0])
    assert len(record["variation"]["findings"]) == 4 and record["schema"] == 6
    assert "insert" in (tmp_path / "pairs" / "settings.yaml").read_text()


def test_labels_found_by_a_record_are_the_varied_ones(pairs):
    from nerp.data.pairs import read_records
    from nerp.synthesis.recorded import labels_finder

    folder, records = pairs
    record = read_records(folder / "pairs" / "metadata.jsonl")[0]
    found = labels_finder(folder / "ct", folder / "labels")(record)
    values = {one["label"] for one in records[0]["variation"]["findings"]}
    assert values <= {int(value) for value in found.volume.values.unique().tolist()}
    stored = read_volume(next((folder / "ct").glob("*")))
    assert isinstance(stored, Volume) and not torch.equal(found.volume.affine, stored.affine)
