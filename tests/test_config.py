"""Settings: defaults, presets, overrides, and what is said about mistakes."""

import sys
from importlib import metadata
from pathlib import Path

import numpy as np
import pytest

from nerp.config import reading as reading_module
from nerp.config import save_settings
from nerp.errors import ConfigError
from nerp.physics.beam import Beam
from nerp.settings import dotted, flatten
from nerp.training.config import Config, load_config

PRESETS = ("chest", "code", "demo", "light", "paper", "real_cpu")


def test_defaults_are_the_dataclasses():
    assert load_config() == Config()


def test_file_then_overrides_change_the_defaults(tmp_path):
    file = tmp_path / "mine.yaml"
    file.write_text("seed: 3\ntrainer:\n  steps: 7\noptimizer:\n  lr: 1e-3\n")
    config = load_config(file, ["trainer.steps=9", "viewer.shape=[64, 32]", "data.ct_dir=/cts"])
    assert (config.seed, config.trainer.steps, config.viewer.shape) == (3, 9, (64, 32))
    assert (config.optimizer.lr, config.data.ct_dir, config.trainer.ema_decay) == (1e-3, "/cts", 0.999)


def test_saved_config_loads_again(tmp_path):
    config = load_config(None, ["optimizer.lr=1e-5", "data.spacing_mm=2", "mapper.residual=false"])
    save_settings(config, tmp_path / "config.yaml")
    assert load_config(tmp_path / "config.yaml") == config
    assert [path.name for path in tmp_path.iterdir()] == ["config.yaml"]


@pytest.mark.parametrize("name", PRESETS)
def test_presets_load_by_name_and_state_only_differences(name, monkeypatch):
    monkeypatch.setenv("NERP_DATA", "/data")
    config, defaults = flatten(load_config(name)), flatten(Config())
    stated = dotted(reading_module.read_layer(reading_module.preset_path(name))[1])
    assert load_config(f"configs/{name}.yaml") == load_config(name) == load_config(f"{name}.yaml")
    assert {key for key in stated if config[key] == defaults[key]} == set()


def test_presets_are_found_in_a_plain_install(tmp_path, monkeypatch):
    folder = tmp_path / "share" / "nerp" / "configs"
    folder.mkdir(parents=True)
    (folder / "demo.yaml").write_text("seed: 42\n")
    monkeypatch.setattr(reading_module, "__file__", str(tmp_path / "site" / "nerp" / "config" / "reading.py"))
    monkeypatch.setattr(metadata, "files", lambda name: None)
    monkeypatch.setattr(reading_module.sysconfig, "get_path", lambda name: str(tmp_path))
    assert load_config("demo").seed == 42


def test_presets_are_found_through_the_installed_file_list(tmp_path, monkeypatch):
    folder = tmp_path / "elsewhere" / "configs"
    folder.mkdir(parents=True)
    (folder / "demo.yaml").write_text("seed: 43\n")

    class Listed(type(Path())):
        def locate(self):
            return self

    monkeypatch.setattr(reading_module, "__file__", str(tmp_path / "site" / "nerp" / "config" / "reading.py"))
    monkeypatch.setattr(metadata, "files", lambda name: [Listed(folder / "demo.yaml")])
    assert load_config("demo").seed == 43


MISTAKES = {
    "trainer.setps=3": r"unknown key 'trainer.setps' in override 'trainer.setps=3'; did you mean 'trainer.steps'\?",
    "steps=3": r"unknown key 'steps' .*did you mean 'trainer.steps'\?",
    "mapper.opacty_max=3": r"did you mean 'mapper.opacity_max_per_mm'\?",
    "trainer=3": r"'trainer' in override 'trainer=3' is a section; expected keys in it, such as trainer.steps",
    "trainer.steps=many": r"trainer.steps in override 'trainer.steps=many': Value 'many' .* expected int",
    "seed=1.5": r"seed in override 'seed=1.5': .* expected int",
    "trainer.steps=0": r"trainer.steps is 0; expected a number of at least 1",
    "optimizer.lr=nan": r"optimizer.lr is nan; expected a number from 0 to 1",
    "camera.roll_deg=[-181, 0]": r"camera.roll_deg is -181; expected a number from -180 to 180",
    "camera.yaw_deg=[5, -5]": r"camera.yaw_deg is \[5.0, -5.0\]; expected the lower bound first",
    "camera.yaw_deg=5": r"camera.yaw_deg in override .* expected 2 numbers, such as camera.yaw_deg=\[…, …\]",
    "viewer.shape=[64]": r"viewer.shape in override .*expected 2 numbers, such as viewer.shape=",
    "data.window_hu=[5, 1]": r"data.window_hu is \[5.0, 1.0\]; expected the lower bound first",
    "data.size=100": r"data.size is 100; expected a multiple of 16, such as 128",
    "mapper.arch=vent": r"mapper.arch is 'vent'; expected one of vnet, unet",
    "data.ct_dir=${oc.env:NERP_NO_SUCH}/ct": r"data.ct_dir: .*'NERP_NO_SUCH' not found.*; set it or give data.ct_dir=",
    "no equals sign": r"override 'no equals sign' is not 'key=value'; write for example trainer.steps=100",
    "seed={": r"override 'seed=\{' cannot be read",
}


@pytest.mark.parametrize("override", MISTAKES)
def test_mistakes_end_in_one_clear_line(override):
    with pytest.raises(ConfigError, match=MISTAKES[override]) as caught:
        load_config(None, [override])
    assert "\n" not in str(caught.value)
    assert caught.value.exit_code == 2


def test_typo_in_a_file_names_the_file(tmp_path):
    file = tmp_path / "typo.yaml"
    file.write_text("loss:\n  l2: 1\n")
    with pytest.raises(ConfigError, match=r"unknown key 'loss.l2' in .*typo.yaml; did you mean 'loss.l1'\?"):
        load_config(file)


@pytest.mark.parametrize("text", ["a: [1", "- 1\n- 2\n"])
def test_file_that_is_no_mapping(tmp_path, text):
    file = tmp_path / "bad.yaml"
    file.write_text(text)
    with pytest.raises(ConfigError, match=r"bad.yaml (is not valid YAML|holds a list)"):
        load_config(file)


def test_unknown_preset_lists_the_known():
    with pytest.raises(ConfigError, match=r"no config 'dmo': expected a YAML file or one of the presets .*demo.*paper"):
        load_config("dmo")


def test_config_imports_nothing_heavy():
    import subprocess

    code = "import nerp.config, sys; assert not {'torch', 'monai', 'lightning_fabric'} & set(sys.modules)"
    subprocess.run([sys.executable, "-c", code], check=True, cwd=Path(__file__).parents[1])


def test_keys_of_the_version_before_are_read_with_a_warning(tmp_path, caplog):
    file = tmp_path / "old.yaml"
    file.write_text("camera:\n  sdd_mm: [1500, 1900]\n  field_of_view: [1, 2]\ndata:\n  labels_dir: /labels\n")
    config = load_config(file, ["phantom.stand_ins=3"])
    assert config.camera.source_detector_mm == (1500.0, 1900.0) and config.camera.field_scale == (1.0, 2.0)
    assert config.phantom.radiographs == 3
    messages = [record.getMessage() for record in caplog.records]
    assert any("camera.sdd_mm in" in text and "is now camera.source_detector_mm" in text for text in messages)
    assert any("data.labels_dir in" in text and "decides nothing and is passed over" in text for text in messages)
    caplog.clear()
    load_config(file, warn=False)
    assert not caplog.records


def test_one_distribution_serves_training_and_pairs():
    from nerp.camera import CameraDistribution, ViewSettings

    camera = flatten(Config().camera)
    assert camera == flatten(ViewSettings())
    assert {key: value for key, value in camera.items() if key not in ("view", "angle_deg")} == flatten(
        CameraDistribution()
    )
    assert load_config(None, ["camera.view=oblique"]).camera.turn_deg == 30.0
    assert load_config(None, ["camera.angle_deg=20"]).camera.turn_deg == 0.0


@pytest.mark.parametrize("value", ["120", None, True, [120.0]])
def test_a_number_that_is_none_is_refused_in_python_too(value):
    with pytest.raises(ConfigError, match=r"beam.kvp is .*; expected a number from 40 to 150"):
        Beam(kvp=value)
    assert Beam(kvp=np.float32(120.0)).kvp == 120.0
