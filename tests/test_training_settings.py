"""Settings of a training that show in its run folder: rates, phantoms, pictures, the settings themselves."""

import json

import pytest
from tiny_run import metrics, tiny

from nerp.data.images import read_grey
from nerp.runs import RunFolder
from nerp.settings import flatten
from nerp.training.adversarial import sources, train
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


def test_the_cosine_has_its_period(training_data, tmp_path):
    schedule = ["optimizer.schedule=cosine", "optimizer.period_steps=4", "optimizer.lr=1e-3"]
    rates = [line["lr_mapper"] for line in metrics(trained(tmp_path / "run", *training_data, *STEPS, *schedule))]
    assert rates == pytest.approx([1e-3, 5e-4, 0.0])


def test_phantoms_follow_their_seed(tmp_path, monkeypatch):
    made = []
    monkeypatch.setattr(sources, "write_phantoms", lambda folder, **options: made.append(options))
    monkeypatch.setattr(sources, "make_radiographs", lambda folder, **options: made.append(options))
    config = tiny(tmp_path, "phantom.seed=4")
    shape = config.viewer.shape
    sources.prepare(config.data, config.phantom, folder=tmp_path, shape=shape, progress=lambda done, total: None)
    assert [options["seed"] for options in made] == [4, 4]


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
