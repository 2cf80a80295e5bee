"""Findings that a film shows and findings that it hides, in phantoms, drawn into CTs, and in sets of pairs."""

import json
from dataclasses import replace

import pytest
import torch
from pair_records import pair_record
from small_chests import HEART, chest, write_chests

from nerp.camera import chest_camera
from nerp.cli import main
from nerp.data.records import PairRecord
from nerp.errors import ConfigError, UsageError
from nerp.phantom import LABEL_OF, LABELS, thorax
from nerp.synthesis import PairSettings, render, replay, synthesize
from nerp.synthesis.chance import Chance
from nerp.synthesis.config import SynthesisConfig, load_image_config
from nerp.synthesis.finding_settings import FindingSettings
from nerp.synthesis.renderers import Scene
from nerp.synthesis.settings import MaskSettings
from nerp.synthesis.visibility import finding_visibility
from nerp.variation import InsertSettings
from nerp.volume import Volume

NODULE = LABEL_OF["nodule"]
OPEN, BEHIND_THE_HEART = (70.0, 0.0, 20.0), (-45.0, -55.0, -30.0)
CPU = torch.device("cpu")


@pytest.fixture(scope="module")
def phantom():
    return thorax(5, spacing_mm=5.0)


@pytest.fixture(scope="module")
def camera(phantom):
    return chest_camera(phantom.ct, shape=128)


def with_balls(made, *balls, hu=0.0):
    """A phantom with balls (centre mm, diameter mm) of water, labelled as nodules."""
    ct, labels = made.ct.values.clone(), made.labels.values.clone()
    index = torch.stack(torch.meshgrid(*(torch.arange(n).double() for n in made.ct.shape), indexing="ij"), dim=-1)
    places = made.ct.to_world(index)
    for centre, diameter in balls:
        outside = (places - torch.tensor(centre).double()).norm(dim=-1) - diameter / 2
        cover = (0.5 - outside / made.ct.spacing_mm[0]).clamp(0, 1).float()
        ct[0] = torch.lerp(ct[0], torch.tensor(hu), cover)
        labels[0][outside < 0] = NODULE
    return Volume(ct, made.ct.affine, "hu"), Volume(labels, made.ct.affine, "label")


def told(ct, labels, camera, *, before=None, settings=None, names=LABELS, chance=None):
    settings = settings or PairSettings(device="cpu")
    return finding_visibility(Scene(ct, CPU, settings, None, labels, names), camera, chance or Chance(), before=before)


def test_a_nodule_is_seen_the_better_the_larger_and_denser_it_is(phantom, camera):
    def of(diameter, hu):
        return told(*with_balls(phantom, (OPEN, diameter), hu=hu), camera, before=phantom.ct)[0]

    sizes = [of(diameter, 0.0) for diameter in (10.0, 16.0, 24.0)]
    assert [one["visibility"] for one in sizes] == sorted(one["visibility"] for one in sizes)
    assert [one["contrast"] for one in sizes] == sorted(one["contrast"] for one in sizes)
    assert not sizes[0]["visible"] and sizes[2]["visible"]
    assert sizes[2]["area_mm2"] == pytest.approx(3.1416 * 12**2, rel=0.25)
    faint, dense = of(16.0, -500.0), of(16.0, 400.0)
    assert faint["visibility"] < sizes[1]["visibility"] < dense["visibility"]


def test_a_nodule_behind_the_heart_is_seen_less(phantom, camera):
    lit, hidden = (
        told(*with_balls(phantom, (at, 20.0)), camera, before=phantom.ct)[0] for at in (OPEN, BEHIND_THE_HEART)
    )
    assert hidden["visibility"] < 0.6 * lit["visibility"]
    assert hidden["contrast"] == pytest.approx(lit["contrast"], rel=0.35)


def test_a_nodule_within_the_heart_adds_nothing(phantom, camera):
    heart = phantom.labels.to_world((phantom.labels.values[0] == LABEL_OF["heart"]).nonzero().double()).mean(0)
    within = told(*with_balls(phantom, (heart.tolist(), 16.0), hu=44.0), camera, before=phantom.ct)[0]
    assert within["visibility"] < 1.0 and not within["visible"] and abs(within["contrast"]) < 0.005


def test_a_nodule_outside_the_field_has_no_visibility(phantom, camera):
    narrow = replace(camera, shape=(40, 40))
    one = told(*with_balls(phantom, ((100.0, -20.0, 60.0), 16.0)), narrow, before=phantom.ct)[0]
    assert one["area_px"] == 0 and one["area_mm2"] == 0 and one["fraction"] == 0 and one["parts"] == 1
    assert one["visible"] is False and one["contrast"] is None and one["visibility"] is None


def test_several_nodules_are_as_visible_as_the_most_visible(phantom, camera):
    large, small = (OPEN, 20.0), ((60.0, 0.0, 70.0), 12.0)
    both, alone = (
        told(*with_balls(phantom, *balls), camera, before=phantom.ct)[0] for balls in ((large, small), (large,))
    )
    assert both["parts"] == 2 and alone["parts"] == 1
    assert both["visibility"] == pytest.approx(alone["visibility"], rel=0.05)
    assert both["area_px"] > alone["area_px"]


@pytest.fixture(scope="module")
def ill():
    return thorax(2, spacing_mm=6.0, findings=("effusion", "pneumothorax")), thorax(2, spacing_mm=6.0)


def test_fluid_and_air_of_phantoms_are_seen(ill):
    made, well = ill
    camera = chest_camera(made.ct, shape=128)
    known = {one["name"]: one for one in told(made.ct, made.labels, camera, before=well.ct)}
    guessed = {one["name"]: one for one in told(made.ct, made.labels, camera)}
    assert known.keys() == {"effusion", "pneumothorax"} and all(one["visible"] for one in known.values())
    assert 0.05 < known["effusion"]["contrast"] < 0.5 and known["pneumothorax"]["contrast"] < 0
    assert 0.02 < known["effusion"]["fraction"] < 0.2
    assert guessed["effusion"]["contrast"] == pytest.approx(known["effusion"]["contrast"], rel=0.25)
    assert guessed["effusion"]["visibility"] == pytest.approx(known["effusion"]["visibility"], rel=0.5)


def test_findings_are_chosen_and_judged_as_stated(ill):
    made, well = ill
    camera = chest_camera(made.ct, shape=64)
    settings = PairSettings(device="cpu", findings=FindingSettings(labels="effusion", threshold=1000.0))
    (one,) = told(made.ct, made.labels, camera, before=well.ct, settings=settings)
    assert one["name"] == "effusion" and not one["visible"]
    values = FindingSettings(labels=[81, "pneumothorax"]).chosen(LABELS)
    assert values == (81, 84) and FindingSettings().chosen(LABELS) == (81, 82, 83, 84)
    with pytest.raises(UsageError, match="'abscess' is no label"):
        FindingSettings(labels="abscess").chosen(LABELS)
    with pytest.raises(ConfigError, match="findings.threshold is -1"):
        FindingSettings(threshold=-1)


def lesioned():
    """A small chest whose heart is called a nodule."""
    ct, labels = chest()
    return ct, labels, {10: "lung_left", 11: "lung_right", HEART: "nodule"}


def test_noise_is_no_signal():
    """A finding that differs from what was there in nothing is not seen, however noisy the film."""
    ct, labels, names = lesioned()
    settings = PairSettings(mode="physics", device="cpu")
    camera = chest_camera(ct, shape=48)
    (same,) = told(ct, labels, camera, before=ct, settings=settings, names=names, chance=Chance(noise_seed=4))
    assert same["visibility"] == 0.0 and same["contrast"] == 0.0
    (other,) = told(ct, labels, camera, settings=settings, names=names, chance=Chance(noise_seed=4))
    assert other["visibility"] > 1 and other["contrast"] > 0


def test_labels_without_names_are_told_of(caplog):
    ct, labels, _ = lesioned()
    assert told(ct, labels, chest_camera(ct, shape=24), names={}) == []
    assert "no label has a name" in caplog.text


SMALL = PairSettings(
    shape=(40, 32),
    mask=MaskSettings(labels=(10, 11), label_names={10: "lung_left", 11: "lung_right"}),
    insert=InsertSettings(findings="effusion"),
    findings=FindingSettings(visibility=True),
    views=2,
    device="cpu",
)


def test_records_of_inserted_findings_tell_whether_they_show(tmp_path):
    ct, labels = write_chests(tmp_path, ("anna",))
    out = tmp_path / "pairs"
    facts = synthesize(ct, labels, out=out, settings=SMALL)
    records = [json.loads(line) for line in (out / "metadata.jsonl").read_text().splitlines()]
    for record in records:
        (one,) = record["shown_findings"]
        assert one["name"] == "effusion" and one["label"] == record["variation"]["findings"][0]["label"]
        assert one["contrast"] > 0 and one["visibility"] > 0 and 0 < one["fraction"] < 1
    assert records[0]["shown_findings"] != records[1]["shown_findings"]
    assert facts["settings"]["findings"] == {"visibility": True, "labels": None, "threshold": 5.0}
    assert facts["shown_findings"] == {
        "effusion": {"pairs": 2, "visible": sum(one["shown_findings"][0]["visible"] for one in records)}
    }
    again = replay(out / "metadata.jsonl", 1, ct=ct, labels=labels, out=tmp_path / "again")
    assert again["identical"]
    assert (
        json.loads((tmp_path / "again" / "record.json").read_text())["shown_findings"] == records[1]["shown_findings"]
    )


def test_pictures_do_not_change_by_being_judged(tmp_path):
    ct, labels = write_chests(tmp_path, ("anna",))
    single = {"ct": ct / "anna.nii.gz", "labels": labels / "anna.nii.gz"}
    judged = render(**single, out=tmp_path / "judged", settings=SMALL)
    plain = render(**single, out=tmp_path / "plain", settings=replace(SMALL, findings=FindingSettings()))
    assert judged.hashes == plain.hashes and judged.shown_findings and not plain.shown_findings


def test_command_takes_the_settings(tmp_path):
    ct, labels = write_chests(tmp_path, ("anna",))
    (tmp_path / "names.csv").write_text("value,name\n10,lung_left\n11,lung_right\n51,lung nodule\n")
    command = ["synthesize", "--ct", str(ct), "--labels", str(labels), "-o", str(tmp_path / "out")]
    command += ["--label-names", str(tmp_path / "names.csv"), "--mask", "group:lungs", "views=1", "shape=[24,20]"]
    command += ["findings.visibility=true", "findings.labels=group:nodules", "findings.threshold=2.5"]
    assert main(command) == 0
    (record,) = (json.loads(line) for line in (tmp_path / "out" / "metadata.jsonl").read_text().splitlines())
    assert [one["name"] for one in record["shown_findings"]] == ["lung nodule"]
    restated = load_image_config(SynthesisConfig, tmp_path / "out" / "settings.yaml", [], {})
    assert restated.findings == FindingSettings(True, "group:nodules", 2.5)


def test_records_of_before_tell_of_no_findings():
    values = pair_record("a0").to_dict()
    del values["shown_findings"]
    assert PairRecord.from_dict({**values, "schema": 5}, where="here").shown_findings == []


def test_a_ct_kept_as_it_is_stored_is_judged_as_any(phantom, camera):
    ct, labels = with_balls(phantom, (OPEN, 20.0))
    small = Volume(ct.values.round().to(torch.int16), ct.affine, "hu"), labels.values.to(torch.uint8)
    (kept,) = told(small[0], Volume(small[1], ct.affine, "label"), camera)
    (plain,) = told(Volume(ct.values.round(), ct.affine, "hu"), labels, camera)
    assert kept["visibility"] == pytest.approx(plain["visibility"], rel=0.01)
    assert {key: kept[key] for key in ("area_px", "parts", "name")} == {
        "area_px": plain["area_px"],
        "parts": 1,
        "name": "nodule",
    }
