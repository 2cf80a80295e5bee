"""Settings reach the commands: from a YAML file, from options, and as key=value, in that order."""

import json
from pathlib import Path

import numpy as np
import pytest
import torch
import yaml
from small_chests import HEART, contents, write_chests

from nerp.data.pairs import read_records


@pytest.fixture
def files(tmp_path) -> dict[str, Path]:
    ct, labels = write_chests(tmp_path / "in", names=("anna",))
    (tmp_path / "labels.csv").write_text(f"value,name\n10,lung_right\n11,lung_left\n{HEART},heart\n")
    settings = {
        "labels": str(labels),
        "views": 4,
        "shape": [24, 20],
        "licence": "mine",
        "camera": {"pitch_deg": [1, 2], "yaw_deg": [0, 0]},
        "mask": {
            "labels": "lung_*",
            "rule": "visible",
            "numbers": {"lung_mm": 30},
            "obscuring": "heart",
            "label_names": str(tmp_path / "labels.csv"),
        },
    }
    (tmp_path / "pairs.yaml").write_text(yaml.safe_dump(settings))
    return {"ct": ct, "labels": labels, "config": tmp_path / "pairs.yaml", "names": tmp_path / "labels.csv"}


def test_a_dry_run_prints_what_would_be_done_and_does_nothing(nerp, files, tmp_path):
    before = contents(tmp_path)
    code, out, err = nerp("synthesize", "--config", files["config"], "--ct", files["ct"], "views=3", "--dry-run")
    assert code == 0, err
    resolved = yaml.safe_load(out)
    assert (resolved["views"], resolved["shape"], resolved["licence"]) == (3, [24, 20], "mine")
    assert resolved["camera"]["pitch_deg"] == [1.0, 2.0]
    assert resolved["mask"]["labels"] == "lung_*" and resolved["mask"]["numbers"] == {"lung_mm": 30.0}
    assert resolved["ct"] == str(files["ct"])
    assert contents(tmp_path) == before


def test_what_a_dry_run_prints_is_a_config_of_the_same_pairs(nerp, files, tmp_path):
    stated = ["--config", files["config"], "--ct", files["ct"], "--device", "cpu"]
    _, out, _ = nerp("synthesize", *stated, "-o", tmp_path / "one", "--dry-run")
    (tmp_path / "again.yaml").write_text(out)
    assert nerp("synthesize", *stated, "-o", tmp_path / "one")[0] == 0
    assert nerp("synthesize", "--config", tmp_path / "again.yaml", "-o", tmp_path / "other")[0] == 0
    assert contents(tmp_path / "one") == contents(tmp_path / "other")
    records = read_records(tmp_path / "one" / "metadata.jsonl")
    assert len(records) == 4
    assert {record.device for record in records} == {"cpu"}
    assert records[0].obscuring_labels == [HEART] and records[0].mask_labels == [10, 11]
    assert records[0].rule["lung_mm"] == 30.0


def test_the_settings_of_a_set_lie_beside_it_and_make_it_again(nerp, files, tmp_path):
    places = ["--ct", files["ct"], "--labels", files["labels"], "mode=drr"]
    assert nerp("synthesize", "--config", files["config"], *places, "-o", tmp_path / "one")[0] == 0
    beside = tmp_path / "one" / "settings.yaml"
    assert str(tmp_path) not in beside.read_text()
    assert nerp("synthesize", "--config", beside, *places, "-o", tmp_path / "other")[0] == 0
    one, other = contents(tmp_path / "one"), contents(tmp_path / "other")
    assert one == other
    assert json.loads(one["dataset.json"])["licence"] == "mine"


def test_a_mask_is_chosen_by_keys_as_by_options(nerp, files, tmp_path):
    places = ["--ct", files["ct"], "--labels", files["labels"], "views=1", "shape=[24,20]", "licence=mine"]
    keys = ["mask.labels=lung_*", f"mask.label_names={files['names']}", "mask.obscuring=[51]", "camera.pitch_deg=[0,0]"]
    numbers = ["mask.rule=visible", "mask.numbers={lung_mm: 30}"]
    code, out, err = nerp("synthesize", *places, *keys, *numbers, "-o", tmp_path / "pairs", "--json")
    assert code == 0, err
    dataset = json.loads(out)
    mask = dataset["settings"]["mask"]
    assert (mask["labels"], mask["obscuring"], mask["rule"]["lung_mm"]) == ([10, 11], [51], 30.0)
    assert dataset["licence"] == "mine" and dataset["label_names"]["obscuring"] == {"51": "heart"}


def test_the_preset_of_pairs_is_found_by_name_and_states_only_differences(nerp):
    from nerp.config.reading import preset_path, read_layer
    from nerp.settings import flatten
    from nerp.synthesis.config import SynthesisConfig

    stated = ["--ct", "ct", "--labels", "labels", "views=3", "--dry-run"]
    by_name, by_path = (nerp("synthesize", "--config", source, *stated) for source in ("pairs", "configs/pairs.yaml"))
    assert by_name == by_path and yaml.safe_load(by_name[1])["views"] == 3
    content, defaults = read_layer(preset_path("pairs"))[1], flatten(SynthesisConfig())
    assert content["views"] != defaults["views"] and content["mask"]["labels"] != defaults["mask.labels"]


def test_the_settings_of_a_view_make_it_again(nerp, files, tmp_path):
    ct, labels = files["ct"] / "anna.nii.gz", files["labels"] / "anna.nii.gz"
    stated = ["--labels", labels, "--config", files["config"], "--view", "oblique", "--seed", 5, "licence=x"]
    assert nerp("render", ct, *stated)[0] == 2  # a set's settings are not a view's
    stated = ["--labels", labels, "--mask", "10", "--rule", "any", "--view", "oblique", "--seed", 5, "--shape", 16]
    assert nerp("render", ct, *stated, "-o", tmp_path / "one")[0] == 0
    again = ["--labels", labels, "--config", tmp_path / "one" / "settings.yaml", "-o", tmp_path / "other"]
    assert nerp("render", ct, *again)[0] == 0
    assert contents(tmp_path / "one") == contents(tmp_path / "other")


def test_options_come_after_the_file_and_key_value_last(nerp, files):
    stated = ["--config", files["config"], "--views", 5, "--backend", "reference"]
    resolved = yaml.safe_load(nerp("synthesize", *stated, "--dry-run")[1])
    assert (resolved["views"], resolved["backend"]) == (5, "reference")
    assert yaml.safe_load(nerp("synthesize", *stated, "views=6", "--dry-run")[1])["views"] == 6


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["synthesize", "--config", "none.yaml"], "no config 'none.yaml'"),
        (["synthesize", "vews=3"], "did you mean 'views'"),
        (["synthesize", "views=3"], "ct is not given; give --ct, or ct: in the --config file"),
        (["synthesize", "run_one", "run_two"], "got 2 run folders (run_one, run_two)"),
        (["synthesize", "mask=3"], "'mask' in override 'mask=3' is a section"),
        (["evaluate", "fidelity", "a", "b", "n_resamples=-1"], "n_resamples is -1"),
    ],
)
def test_mistakes_in_settings_are_told(nerp, tmp_path, monkeypatch, arguments, message):
    monkeypatch.chdir(tmp_path)
    code, out, err = nerp(*arguments)
    assert code == 2 and message in err and err.count("\n") == 1 and not out


def test_a_view_of_a_run_takes_the_runs_shape(nerp, files, run, tmp_path):
    ct = files["ct"] / "anna.nii.gz"
    code, out, err = nerp("render", ct, "--run", run, "--device", "cpu", "-o", tmp_path / "vrr", "--json")
    assert code == 0, err
    record = json.loads(out)
    assert (record["mode"], record["camera"]["shape"], record["device"]) == ("vrr", [24, 20], "cpu")
    resolved = yaml.safe_load(nerp("render", ct, "--run", run, "--dry-run")[1])
    assert resolved["shape"] == [24, 20] and resolved["mode"] is None


def test_a_run_is_loaded_once(nerp, files, run, tmp_path, monkeypatch):
    from nerp.synthesis import dataset

    loaded = []
    real = dataset.load_generator
    monkeypatch.setattr(dataset, "load_generator", lambda folder: loaded.append(folder) or real(folder))
    assert nerp("render", files["ct"] / "anna.nii.gz", "--run", run, "-o", tmp_path / "vrr")[0] == 0
    assert loaded == [str(run)]


def test_a_recorded_view_is_measured_not_repeated(nerp, files, tmp_path):
    ct = files["ct"] / "anna.nii.gz"
    for view in ("pa", "ap", "lateral", "oblique"):
        code, out, err = nerp("render", ct, "--view", view, "--shape", 16, "-o", tmp_path / view, "--json")
        assert code == 0, err
        assert json.loads(out)["view"] == view


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU")
def test_a_gpu_that_is_not_there_is_refused(nerp, files, tmp_path):
    ct = files["ct"] / "anna.nii.gz"
    code, _, err = nerp("render", ct, "--device", "cuda", "--shape", 16, "-o", tmp_path / "out")
    assert code == 2 and "device 'cuda' is not usable here" in err
    assert not (tmp_path / "out").exists()


def test_replay_shows_a_record_and_may_take_another_device(nerp, files, tmp_path):
    ct = files["ct"] / "anna.nii.gz"
    assert nerp("render", ct, "--shape", 16, "-o", tmp_path / "one")[0] == 0
    record = tmp_path / "one" / "record.json"
    shown = json.loads(nerp("replay", record, "--ct", ct, "-o", tmp_path / "two", "--dry-run")[1])
    assert shown == json.loads(record.read_text()) and not (tmp_path / "two").exists()
    code, out, err = nerp("replay", record, "--ct", ct, "--device", "cpu", "-o", tmp_path / "two")
    assert code == 0 and "identical to the record" in out, err


def test_training_and_scoring_show_their_settings(nerp):
    resolved = yaml.safe_load(nerp("train", "demo", "nodes=2", "--device", "cpu", "--seed", 3, "--dry-run")[1])
    assert (resolved["nodes"], resolved["device"], resolved["seed"]) == (2, "cpu", 3)
    fidelity = ["evaluate", "fidelity", "fake", "real", "--extractor", "inception"]
    resolved = yaml.safe_load(nerp(*fidelity, "--weights", "w.pth", "--download", "n_resamples=5", "--dry-run")[1])
    assert (resolved["fake"], resolved["real"], resolved["weights"]) == ("fake", "real", "w.pth")
    assert (resolved["download"], resolved["n_resamples"], resolved["device"]) == (True, 5, "auto")
    swapped = ["evaluate", "fidelity", "a", "b", "fake=c", "real=d", "--extractor", "efficientnet-lite0"]
    shown = yaml.safe_load(nerp(*swapped, "--dry-run")[1])
    assert (shown["fake"], shown["real"]) == ("c", "d")
    assert "no folder at c" in nerp(*swapped)[2]  # and what is shown is what is done
    segmentation = ["evaluate", "segmentation", "--train", "pairs", "--test", "other", "--minutes", 2.5]
    resolved = yaml.safe_load(nerp(*segmentation, "segmenter.side=64", "--dry-run")[1])
    assert (resolved["train"], resolved["segmenter"]["minutes"], resolved["segmenter"]["side"]) == ("pairs", 2.5, 64)


def test_phantoms_come_at_the_spacing_asked_for(nerp, tmp_path):
    import nibabel

    assert nerp("phantom", tmp_path, "--count", 1, "--spacing-mm", 10)[0] == 0
    image = nibabel.load(tmp_path / "ct" / "phantom_0000.nii.gz")
    assert np.allclose(image.header.get_zooms(), 10.0)
    code, _, err = nerp("phantom", tmp_path / "other", "--spacing-mm", 11)
    assert code == 2 and "phantom spacing is 11 mm; expected 0.5 to 10 mm" in err
