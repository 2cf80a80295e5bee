"""Every setting of a training reaches what it sets: changed alone, the run is another one where it must be."""

import json

import pytest
from tiny_run import metrics, state, tiny

from nerp.data.images import read_grey
from nerp.runs import RunFolder
from nerp.settings import flatten
from nerp.training.adversarial import train
from nerp.training.settings import SegmenterSettings

STEPS = ["trainer.steps=3", "trainer.checkpoint_every=3"]


@pytest.fixture(scope="module")
def plain(tmp_path_factory, training_data):
    folder = tmp_path_factory.mktemp("plain") / "run"
    train(tiny(folder, *training_data, *STEPS))
    return folder


def trained(folder, *overrides):
    train(tiny(folder, *overrides))
    return folder


@pytest.mark.parametrize(
    "override",
    [
        "discriminator.zoom=0.4",
        "discriminator.shift=0.4",
        "discriminator.encoder=resnet34",
        "optimizer.betas=[0.0,0.5]",
        "optimizer.discriminator_lr=0.01",
        "optimizer.weight_decay=0.5",
        "optimizer.max_grad_norm=1e-6",
        "camera.pitch_deg=[20,21]",
        "camera.roll_deg=[20,21]",
    ],
)
def test_what_shapes_learning_changes_the_metrics(plain, training_data, tmp_path, override):
    run = trained(tmp_path / "run", *training_data, *STEPS, override)
    assert metrics(run) != metrics(plain)


def test_the_cosine_has_its_period(training_data, tmp_path):
    schedule = ["optimizer.schedule=cosine", "optimizer.period_steps=4", "optimizer.lr=1e-3"]
    rates = [line["lr_mapper"] for line in metrics(trained(tmp_path / "run", *training_data, *STEPS, *schedule))]
    assert rates == pytest.approx([1e-3, 5e-4, 0.0])


def test_a_pattern_chooses_the_cts(plain, training_data, tmp_path):
    run = trained(tmp_path / "run", *training_data, *STEPS, "data.ct_pattern=phantom_0001*")
    assert (state(plain).settings["CTs"], state(run).settings["CTs"]) == (2, 1)


def test_phantoms_follow_their_seed(tmp_path):
    one, other = (trained(tmp_path / seed, "trainer.steps=1", f"phantom.seed={seed}") for seed in "34")
    tables = [(run / "data" / "findings.csv").read_text() for run in (one, other)]
    assert tables[0] != tables[1]


def test_pictures_come_when_and_as_wide_as_asked_for(training_data, tmp_path):
    pictures = ["trainer.sample_every=2", "trainer.sample_columns=1"]
    run = RunFolder(trained(tmp_path / "run", *training_data, *STEPS, *pictures))
    assert sorted(run.samples.iterdir()) == [run.sample(step) for step in (0, 2, 3)]
    wide = RunFolder(trained(tmp_path / "wide", *training_data, *STEPS, "trainer.sample_columns=2"))
    widths = [read_grey(folder.sample(0)).shape[1] for folder in (run, wide)]
    assert widths[0] < widths[1]


def test_settings_lie_in_the_run_folder_whole(plain):
    import yaml

    stored = yaml.safe_load((plain / "config.yaml").read_text())
    assert stored["trainer"]["steps"] == 3
    assert set(stored["optimizer"]) == {key.removeprefix("x.") for key in flatten(tiny(plain).optimizer, "x.")}


def test_the_segmenter_has_a_pace_of_its_own():
    pace = flatten(SegmenterSettings(), "segmenter.")
    assert pace["segmenter.sample_every"] == pace["segmenter.checkpoint_every"] == 250
    assert json.loads(json.dumps(pace)) == pace
