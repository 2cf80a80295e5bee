"""Settings of a training that show in its run folder: rates, phantoms, pictures, the settings themselves."""

import json

import pytest
import torch
from tiny_run import metrics, sources_of, tiny

from nerp.data.images import read_grey
from nerp.errors import ConfigError
from nerp.projection import siddon
from nerp.runs import RunFolder
from nerp.settings import flatten
from nerp.training.adversarial import sources, train
from nerp.training.config import load_config
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


PINNED = {
    "paper": {
        "mapper.arch": "vnet",
        "mapper.residual": False,
        "mapper.opacity_max_per_mm": 0.0143,
        "viewer.opacity": "extinction",
        "viewer.n_samples": 512,
        "viewer.shape": [256, 256],
        "loss.form": "log",
        "loss.l1": 1.0,
        "loss.l1_target": "drr",
        "loss.matter_l1": 0.0,
        "discriminator.patches": 0,
        "discriminator.augment": "none",
        "discriminator.zoom": 0.0,
        "trainer.views_per_volume": 1,
    },
    "code": {
        "mapper.residual": False,
        "mapper.opacity_max_per_mm": 0.02,
        "viewer.opacity": "per_sample",
        "data.window_hu": [-500.0, 1300.0],
        "loss.form": "softplus",
        "loss.l1": 0.0,
        "loss.matter_l1": 10.0,
        "loss.tv": 3.36,
        "optimizer.schedule": "cosine",
        "optimizer.weight_decay": 0.01,
        "discriminator.patches": 0,
        "trainer.views_per_volume": 1,
    },
    "chest": {
        "mapper.residual": True,
        "data.phantoms": 16,
        "data.extend_mm": 80.0,
        "loss.form": "softplus",
        "loss.l1_target": "physics",
        "loss.whole": 0.25,
        "loss.r1": 1.0,
        "discriminator.patches": 4,
        "discriminator.augment": "light",
        "discriminator.objects": "standing",
        "discriminator.markers": 0.5,
        "discriminator.borders": 0.3,
        "optimizer.discriminator_lr": 4e-4,
        "trainer.select_every": 1000,
        "trainer.views_per_volume": 4,
    },
}
"""What makes a preset what it is."""


@pytest.mark.parametrize("name", PINNED)
def test_presets_keep_what_distinguishes_them(name):
    found = flatten(load_config(name))
    assert {key: found[key] for key in PINNED[name]} == PINNED[name]


def test_phantoms_are_added_to_the_cts_of_a_folder(tmp_path, training_data):
    config = tiny(tmp_path, *training_data, "data.phantoms=1", "phantom.seed=9")
    told = []
    sources.prepare(
        config.data, config.phantom, folder=tmp_path / "data", shape=(16, 16), progress=lambda *done: told.append(done)
    )
    assert told == [(1, 1)]
    volumes = sources_of(config).volumes
    assert len(volumes) == 3
    assert not torch.equal(volumes[2].windowed_ct, volumes[0].windowed_ct)


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("data.phantoms=3", "data.phantoms is 3, but there are no CTs to add them to; give data.ct_dir, or phantom"),
        (
            "trainer={select_every: 15, log_every: 10}",
            r"select_every is 15; expected a multiple of trainer.log_every, 10",
        ),
    ],
)
def test_what_does_not_fit_is_refused(tmp_path, override, message):
    with pytest.raises(ConfigError, match=message):
        train(tiny(tmp_path / "run", override))
    assert not (tmp_path / "run").exists()


def test_a_longer_ct_shows_no_end_within_the_film(tmp_path, training_data):
    plain, longer = (sources_of(tiny(tmp_path, *training_data, f"data.extend_mm={mm}")).volumes[0] for mm in (0, 80))
    lengths = [one.attenuation.shape[0] * float(one.attenuation.affine[2, 0]) for one in (plain, longer)]
    assert lengths[1] > lengths[0] + 100
    rows = [siddon(one.attenuation, one.camera)[0, 0].amax(dim=1) for one in (plain, longer)]
    assert (rows[1][[0, -1]] > 0.5).all()
