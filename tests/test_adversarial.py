"""Adversarial training: what a run leaves, what it learns, and that it resumes bit for bit."""

import json
import logging
import math
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors import safe_open

from nerp.config import OptimizerConfig, load_config, save_config
from nerp.errors import CheckpointError, ConfigError, DataError, TrainingError
from nerp.training import adversarial as adversarial_module
from nerp.training import losses
from nerp.training import trainer as trainer_module
from nerp.training.adversarial import AdversarialTrainer, build_networks, train
from nerp.training.checkpoint import latest_checkpoint
from nerp.training.journal import GAP, HEADING, MARGIN, TILE, write_picture
from nerp.training.launch import accelerator
from nerp.training.learner import Learner, rate_factor
from nerp.training.sources import open_sources, prepare
from nerp.training.stand_in import stand_in
from nerp.training.trainer import Recipe

ROOT = Path(__file__).parents[1]


def tiny(run_dir, *overrides):
    """A run of a second: 32-voxel grids, 16 x 16 images."""
    return load_config(
        None,
        [
            f"run_dir={run_dir}",
            "device=cpu",
            "phantom.count=2",
            "phantom.stand_ins=3",
            "phantom.spacing_mm=10",
            "data.size=32",
            "mapper.arch=unet",
            "mapper.channels=4",
            "viewer.n_samples=16",
            "viewer.shape=[16,16]",
            "discriminator.depth=3",
            "discriminator.channels=4",
            "trainer.views_per_volume=2",
            "trainer.steps=6",
            "trainer.log_every=1",
            "trainer.checkpoint_every=2",
            *overrides,
        ],
    )


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    """Overrides that name phantoms and stand-ins made once."""
    folder = tmp_path_factory.mktemp("data")
    prepare(tiny(folder), advance=lambda: None)
    return [f"data.ct_dir={folder}/data/ct", f"data.radiographs_dir={folder}/data/radiographs"]


@pytest.fixture(scope="module")
def whole(tmp_path_factory, data):
    """An uninterrupted run."""
    return train(tiny(tmp_path_factory.mktemp("whole"), *data), progress=False)


def state(run_dir):
    return latest_checkpoint(run_dir / "checkpoints")


def metrics(run_dir):
    rows = [json.loads(line) for line in (run_dir / "metrics.jsonl").read_text().splitlines()]
    return [{name: value for name, value in row.items() if name != "seconds"} for row in rows]


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


def event_steps(run_dir):
    """Steps whose L1 TensorBoard shows, a killed run's included."""
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    events = EventAccumulator(str(run_dir / "tensorboard")).Reload()
    return [event.step for event in events.Scalars("l1")]


def make_trainer(config):
    from lightning_fabric import Fabric

    fabric = Fabric(accelerator="cpu", devices=1, precision=config.precision)
    recipe = Recipe(config.loss, config.optimizer, config.trainer, zoom=0.1, shift=0.05)
    return AdversarialTrainer(
        build_networks(config), open_sources(config), recipe=recipe, seed=config.seed, fabric=fabric
    )


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
    build_networks(load_config(whole / "config.yaml")).mapper.load_state_dict(weights)


def test_finished_run_is_left_alone(whole):
    def written():
        files = (path for path in whole.rglob("*") if path.is_file() and path.name != "config.yaml")
        return {path: path.stat().st_mtime_ns for path in files}

    before = written()
    train(load_config(whole / "config.yaml"), progress=False)
    assert written() == before


@pytest.mark.parametrize("last", [1, 4])
def test_interrupted_run_resumes_bit_for_bit(tmp_path, data, whole, monkeypatch, last):
    original = AdversarialTrainer.step

    def interrupted(self, step):
        if step > last:
            raise KeyboardInterrupt
        return original(self, step)

    config = tiny(tmp_path, *data)
    monkeypatch.setattr(AdversarialTrainer, "step", interrupted)
    with pytest.raises(KeyboardInterrupt):
        train(config, progress=False)
    monkeypatch.setattr(AdversarialTrainer, "step", original)
    torch.rand(7)  # whatever the global generator has been used for
    train(config, progress=False)
    assert_same_run(tmp_path, whole)


def test_killed_run_resumes_bit_for_bit(tmp_path, data, whole):
    config = tiny(tmp_path, *data)
    code = "import sys; from test_adversarial import tiny, train; train(tiny(*sys.argv[1:]), progress=False)"
    paths = os.pathsep.join((str(ROOT), str(ROOT / "tests")))
    environment = {**os.environ, "PYTHONPATH": paths, "OMP_NUM_THREADS": str(torch.get_num_threads())}
    child = subprocess.Popen(
        [sys.executable, "-c", code, str(tmp_path), *data, "trainer.steps=100000"], env=environment
    )
    deadline = time.monotonic() + 120
    while not list((tmp_path / "checkpoints").glob("step-*")) and time.monotonic() < deadline:
        assert child.poll() is None
        time.sleep(0.01)
    child.send_signal(signal.SIGSTOP)
    with pytest.raises(CheckpointError) as refusal:
        train(config, progress=False)
    child.send_signal(signal.SIGKILL)
    assert child.wait() == -signal.SIGKILL
    killed_after = state(tmp_path).step
    assert "another process is training into" in str(refusal.value)
    assert killed_after in (2, 4), "the machine stalled: the child outran this test"
    (tmp_path / "checkpoints" / ".1.partial.step-00000006.safetensors").write_bytes(b"half")
    train(config, progress=False)
    assert_same_run(tmp_path, whole)
    assert not list(tmp_path.rglob("*.partial.*"))
    assert event_steps(tmp_path) == [1, 2, 3, 4, 5, 6]


@pytest.mark.parametrize("writer", ["save_checkpoint", "save_generator"])
def test_run_stopped_while_writing_its_end_is_completed(tmp_path, data, whole, monkeypatch, writer):
    original, step, done = getattr(adversarial_module, writer), AdversarialTrainer.step, []

    def counted(self, number):
        done.append(number)
        return step(self, number)

    def interrupted(*args, **kwargs):
        if 6 in done:
            raise KeyboardInterrupt
        return original(*args, **kwargs)

    monkeypatch.setattr(AdversarialTrainer, "step", counted)
    monkeypatch.setattr(adversarial_module, writer, interrupted)
    with pytest.raises(KeyboardInterrupt):
        train(tiny(tmp_path, *data), progress=False)
    monkeypatch.setattr(adversarial_module, writer, original)
    train(tiny(tmp_path, *data), progress=False)
    assert_same_run(tmp_path, whole)
    last = Path("samples") / "step-00000006.png"
    assert (tmp_path / last).read_bytes() == (whole / last).read_bytes()


def test_damaged_newest_checkpoint_costs_only_its_steps(tmp_path, data, whole, caplog):
    config = tiny(tmp_path, *data)
    train(config, progress=False)
    newest = tmp_path / "checkpoints" / "step-00000006.safetensors"
    newest.write_bytes(newest.read_bytes()[:5000])
    with caplog.at_level(logging.WARNING, "nerp"):
        train(config, progress=False)
    assert "step-00000006.safetensors is damaged" in caplog.text
    assert_same_run(tmp_path, whole)


def test_steps_may_grow_and_not_shrink(tmp_path, data, whole):
    train(tiny(tmp_path, *data, "trainer.steps=4"), progress=False)
    train(tiny(tmp_path, *data), progress=False)
    assert_same_run(tmp_path, whole)
    with pytest.raises(CheckpointError, match=r"is trained for 6 steps, trainer.steps is 3; ask for more"):
        train(tiny(tmp_path, *data, "trainer.steps=3"), progress=False)


def test_other_settings_are_refused_by_name(whole, data):
    config = tiny(whole, *data, "loss.l1=2", "seed=1")
    with pytest.raises(
        CheckpointError, match=r"other settings: loss.l1 \(1.0 in the run, 2.0 now\), seed \(0 in the run"
    ):
        train(config, progress=False)
    assert load_config(whole / "config.yaml").loss.l1 == 1.0


def test_term_that_is_not_finite_stops_the_run(tmp_path, data, monkeypatch):
    calls = []

    def poisoned(images, targets):
        calls.append(1)
        return (images - targets).abs().mean() * (math.nan if len(calls) == 4 else 1.0)

    monkeypatch.setattr(losses, "l1", poisoned)
    with pytest.raises(
        TrainingError, match=r"step 4: 'l1' is nan; expected a finite number. The last checkpoint is int"
    ):
        train(tiny(tmp_path, *data), progress=False)
    assert state(tmp_path).step == 2
    assert [row["step"] for row in metrics(tmp_path)] == [1, 2, 3]


def test_gradient_that_is_not_finite_leaves_the_weights():
    from lightning_fabric import Fabric

    module = torch.nn.Linear(2, 1)
    before = module.weight.detach().clone()
    learner = Learner(
        "judge", module, rate=0.1, settings=OptimizerConfig(), fabric=Fabric(accelerator="cpu", devices=1)
    )
    term = (learner.module(torch.zeros(1, 2)) * 0.0).square().sum().sqrt()
    with pytest.raises(TrainingError, match="step 9: 'gradient_judge' is nan"):
        learner.update(9, {"root": (1.0, term)})
    assert torch.equal(module.weight, before)


@pytest.mark.parametrize(
    ("overrides", "terms"),
    [
        (["loss.form=hinge", "loss.tv=1", "loss.matter_l1=1"], {"tv", "matter_l1", "l1", "adversarial"}),
        (["loss.form=log", "loss.r1=1", "loss.r1_every=2"], {"r1"}),
        (["trainer.volumes_per_step=3", "optimizer.schedule=cosine", "optimizer.warmup_steps=4"], {"l1"}),
        (["viewer.opacity=per_sample", "mapper.opacity_max_per_mm=0.02", "mapper.residual=false"], {"l1"}),
        (["precision=bf16-mixed", "loss.r1=1", "loss.r1_every=1"], {"r1"}),
        (["precision=bf16-mixed", "camera.view=oblique", "camera.angle_deg=45"], {"adversarial"}),
        (["camera.view=ap", "camera.sdd_mm=[900,1100]", "loss.adversarial=0"], {"l1"}),
        (["data.spacing_mm=16", "backend=reference"], {"l1"}),
    ],
)
def test_options_take_part_in_a_step(tmp_path, data, overrides, terms):
    trainer = make_trainer(tiny(tmp_path, *data, *overrides))
    found = [trainer.step(step) for step in (1, 2)]
    assert terms <= found[1].keys()
    assert all(math.isfinite(value) for row in found for value in row.values())
    assert ("adversarial" in found[1]) == ("loss.adversarial=0" not in overrides)


def test_one_generator_forward_serves_both_updates(tmp_path, data, monkeypatch):
    trainer = make_trainer(tiny(tmp_path, *data))
    calls = []
    original = trainer.networks.mapper.field_values
    monkeypatch.setattr(trainer.networks.mapper, "field_values", lambda ct: calls.append(1) or original(ct))
    trainer.step(1)
    assert len(calls) == 1


def test_vrr_and_drr_come_from_one_camera(tmp_path, data, monkeypatch):
    seen = {"march": [], "siddon": []}
    trainer = make_trainer(tiny(tmp_path, *data))
    monkeypatch.setattr(
        trainer_module, "siddon", lambda v, c, backend, f=trainer_module.siddon: seen["siddon"].append(c) or f(v, c)
    )
    original = trainer.networks.viewer.forward
    monkeypatch.setattr(trainer.networks.viewer, "forward", lambda f, c: seen["march"].append(c) or original(f, c))
    trainer.step(1)
    (marched,), (traced,) = seen["march"], seen["siddon"]
    assert len(marched) == 2
    assert torch.equal(marched.source, traced.source)
    assert torch.equal(marched.detector_centre, traced.detector_centre)
    assert not torch.equal(marched.source[0], marched.source[1])


def test_plain_mapper_learns_the_drr(tmp_path, data):
    overrides = ["mapper.residual=false", "loss.adversarial=0", "optimizer.lr=1e-2"]
    trainer = make_trainer(tiny(tmp_path, *data, *overrides))
    losses_seen = [trainer.step(step)["l1"] for step in range(1, 31)]
    assert sum(losses_seen[-5:]) < 0.6 * sum(losses_seen[:5])


def test_pictures_show_the_same_views_every_time(tmp_path, data):
    trainer = make_trainer(tiny(tmp_path, *data))
    first, again = trainer.picture(4), trainer.picture(4)
    assert list(first) == ["VRR", "DRR", "stand-in"]
    assert all(images.shape == (2, 1, 16, 16) for images in first.values())
    assert all(torch.equal(first[name], again[name]) for name in first)


def test_picture_is_large_enough_to_read(tmp_path):
    from PIL import Image

    image = torch.zeros(1, 1, 8, 16)
    image[..., 8:] = 1.0
    write_picture(tmp_path / "a.png", {"VRR": image.repeat(3, 1, 1, 1), "real": 1 - image.repeat(3, 1, 1, 1)})
    with Image.open(tmp_path / "a.png") as picture:
        shown = torch.from_numpy(np.array(picture))
    tile = shown[HEADING : HEADING + TILE, MARGIN : MARGIN + 2 * TILE]
    assert (tile[:, : TILE - 24] < 5).all() and (tile[:, TILE + 24 :] > 250).all()
    assert shown.shape == (HEADING + 2 * (TILE + GAP), MARGIN + 3 * (2 * TILE + GAP))
    assert (shown[:HEADING, MARGIN:].amax() > 200) and (shown[HEADING:, :MARGIN].amax() > 200)  # names and numbers
    write_picture(tmp_path / "b.png", {"VRR": torch.rand(1, 1, 256, 256)})
    with Image.open(tmp_path / "b.png") as picture:
        assert picture.size == (MARGIN + 256 + GAP, HEADING + 256 + GAP)


def test_pictures_name_real_radiographs_so(tmp_path, data):
    ct, radiographs = data
    overrides = [ct, f"{radiographs}/images"]
    assert "real" in make_trainer(tiny(tmp_path, *overrides)).picture(1)


def test_averaging_starts_quickly_and_ends_slowly(tmp_path, data):
    trainer = make_trainer(tiny(tmp_path, *data))
    trainer.step(1)
    new, kept = (next(net.parameters()) for net in (trainer.networks.mapper, trainer.averaged))
    start = next(build_networks(tiny(tmp_path)).mapper.parameters())
    assert torch.allclose(kept, torch.lerp(start, new, 0.9), atol=1e-6)


def test_rates_rise_and_swing():
    settings = OptimizerConfig(warmup_steps=10)
    assert [rate_factor(step, settings) for step in (1, 5, 10, 99)] == [0.1, 0.5, 1.0, 1.0]
    settings = OptimizerConfig(schedule="cosine", period_steps=20)
    assert [rate_factor(step, settings) for step in (1, 6, 11, 21)] == pytest.approx([1.0, 0.5, 0.0, 1.0])


def test_stand_ins_are_named_so_and_are_not_drrs(data):
    folder = Path(data[1].split("=")[1])
    assert "NOT radiographs of people" in (folder / "STAND-IN.txt").read_text()
    assert len(list((folder / "images").glob("*.png"))) == len(list((folder / "masks").glob("*.png"))) == 3
    image, mask = stand_in(0, spacing_mm=10.0, shape=(32, 32))
    again, mask_again = stand_in(0, spacing_mm=10.0, shape=(32, 32))
    assert torch.equal(image, again)
    assert torch.equal(mask, mask_again)
    assert image[mask > 0].mean() < image[mask == 0].mean()  # lungs are dark
    assert 0.1 < mask.mean() < 0.6
    assert 0 <= image.min() < 0.05 < 0.95 < image.max() <= 1


def test_script_trains_and_reports_mistakes_in_one_line(tmp_path, data, capsys):
    import runpy

    main = runpy.run_path(str(ROOT / "train" / "gan.py"))["main"]
    assert main(["nonsense"]) == 2
    assert capsys.readouterr().err.startswith("error: no config 'nonsense'")
    config = tmp_path / "config.yaml"
    config.write_text("{}")
    assert main([str(config), "trainer.setps=1"]) == 2
    assert "did you mean 'trainer.steps'?" in capsys.readouterr().err


def test_grids_are_cached_on_disk_and_patients_in_memory(tmp_path, data):
    config = tiny(tmp_path, *data, f"data.cache_dir={tmp_path}/grids", "data.cached_volumes=1")
    patients = open_sources(config).patients
    first = patients[0]
    assert patients[0] is first
    again = open_sources(config).patients[0]
    assert torch.equal(again.ct01, first.ct01)
    assert len(list((tmp_path / "grids").glob("*.safetensors"))) == 1
    assert patients[1] is not first
    assert patients[0] is not first  # only one is kept


@pytest.mark.parametrize(
    ("override", "message"),
    [
        (
            "viewer.shape=[16,20]",
            r"viewer.shape is \[16, 20\]; expected multiples of 8, since discriminator.depth is 3",
        ),
        ("loss={adversarial: 0, l1: 0}", "every loss of the mapper has weight 0; expected at least one above"),
        ("precision=bf16-mixed", "precision is bf16-mixed, which needs a GPU; on a CPU give precision=32-true"),
        ("device=cuda", "device is cuda, but torch finds no GPU here; give device=cpu"),
    ],
)
def test_what_cannot_be_trained_is_said_before_data_is_made(tmp_path, monkeypatch, override, message):
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 0)
    with pytest.raises(ConfigError, match=message):
        train(tiny(tmp_path / "run", override), progress=False)
    assert not (tmp_path / "run").exists()


def test_gpus_are_counted(tmp_path, monkeypatch):
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    found = [accelerator(tiny(tmp_path, *more)) for more in (["device=auto"], ["device=cuda", "devices=2"], [])]
    assert found == ["cuda", "cuda", "cpu"]
    with pytest.raises(ConfigError, match=r"devices is 3, but torch finds 2 GPU\(s\) here; ask for no more"):
        accelerator(tiny(tmp_path, "device=auto", "devices=3"))


def test_missing_folder_is_named(tmp_path):
    overrides = [f"data.ct_dir={tmp_path}/nowhere", f"data.radiographs_dir={tmp_path}"]
    with pytest.raises(DataError, match="nowhere: no such folder"):
        train(tiny(tmp_path / "run", *overrides), progress=False)
    assert not (tmp_path / "run").exists()


@pytest.mark.slow
@pytest.mark.parametrize("preset", ["paper", "code", "chest", "demo"])
def test_presets_train_at_a_reduced_size(tmp_path, data, preset):
    reduced = ["data.size=32", "viewer.shape=[32,32]", "viewer.n_samples=32", "trainer.steps=2", "loss.r1_every=1"]
    config = load_config(
        preset, [f"run_dir={tmp_path}", "device=cpu", "precision=32-true", "trainer.log_every=1", *data, *reduced]
    )
    train(config, progress=False)
    assert state(tmp_path).step == 2
    assert all(math.isfinite(value) for row in metrics(tmp_path) for value in row.values())
    assert ("r1" in metrics(tmp_path)[0]) == (config.loss.r1 > 0)


@pytest.mark.slow
def test_two_processes_train_as_one(tmp_path, data):
    config = tmp_path / "config.yaml"
    overrides = ["devices=2", "trainer.steps=2", "trainer.volumes_per_step=2", "loss.r1=1", "loss.r1_every=2"]
    save_config(tiny(tmp_path / "run", *data, *overrides), config)
    command = [sys.executable, str(ROOT / "train" / "gan.py"), str(config)]
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}
    subprocess.run(command, env=environment, check=True, timeout=300)
    assert state(tmp_path / "run").step == 2
    assert math.isfinite(metrics(tmp_path / "run")[1]["r1"])
