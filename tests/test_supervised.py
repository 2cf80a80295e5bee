"""Training a segmenter: it learns, it keeps its budget, the same seed gives the same weights."""

import itertools
import json
import math
import os
import runpy
import signal
import subprocess
import sys
import time
from dataclasses import fields, replace
from pathlib import Path

import numpy as np
import pytest
import torch
from ellipses import write_pairs
from PIL import Image
from tiny_run import event_steps, metrics, state

from nerp.config import read_settings
from nerp.data.folders import find_pairs
from nerp.errors import CheckpointError, DataError, TrainingError, UsageError
from nerp.networks.segmenter import ENCODERS, load_segmenter
from nerp.training import budget as budget_module
from nerp.training.budget import Budget
from nerp.training.segmentation import augmentation, train_segmenter
from nerp.training.segmentation import trainer as trainer_module
from nerp.training.segmentation.pairs import load_pairs
from nerp.training.segmentation.run import first_weights
from nerp.training.segmentation.trainer import SegmenterTrainer, rate_factor, segmentation_loss
from nerp.training.settings import SegmenterConfig, SegmenterSettings

ROOT = Path(__file__).parents[1]
QUICK = SegmenterSettings(epochs=2, side=32, batch_size=2, encoder="tu-resnet10t")


def config(pairs, settings=QUICK, **more):
    return SegmenterConfig(train=str(pairs), device="cpu", segmenter=settings, **more)


def test_it_learns_ellipses(tmp_path):
    settings = replace(QUICK, epochs=8, batch_size=4, learning_rate=3e-3, log_every=1)
    told = []
    learning = config(write_pairs(tmp_path, 12), settings, out=f"{tmp_path}/run")
    trained = train_segmenter(learning, progress=lambda *row: told.append(row))
    losses = [row["loss"] for row in metrics(tmp_path / "run")]
    assert np.mean(losses[-3:]) < 0.5 * np.mean(losses[:3])
    assert trained.loss == losses[-1]
    assert trained.record()["stopped_by"] == "epochs"
    assert (trained.epochs, trained.steps, len(losses)) == (8, 24, 24)
    assert told == [(done, 24) for done in range(25)]


def test_the_seed_alone_decides(tmp_path):
    write_pairs(tmp_path, 4)
    first, again = (train_segmenter(config(tmp_path)).network.state_dict() for _ in range(2))
    assert all(torch.equal(first[name], again[name]) for name in first)
    different = train_segmenter(config(tmp_path, seed=1)).network.state_dict()
    assert any(not torch.equal(first[name], different[name]) for name in first)


def test_training_leaves_the_global_randomness_and_the_disk_alone(tmp_path, monkeypatch):
    write_pairs(tmp_path / "pairs", 2)
    monkeypatch.chdir(tmp_path)
    torch.manual_seed(5)
    expected = torch.rand(3)
    torch.manual_seed(5)
    train_segmenter(config(tmp_path / "pairs"))
    assert torch.equal(torch.rand(3), expected)
    assert [path.name for path in tmp_path.iterdir()] == ["pairs"]


def test_the_clock_stops_a_long_run_and_the_result_says_so(tmp_path, monkeypatch):
    ticks = itertools.count()
    monkeypatch.setattr(budget_module.time, "monotonic", lambda: float(next(ticks)))  # about a second a step
    planned = []
    trained = train_segmenter(
        config(write_pairs(tmp_path, 2), replace(QUICK, epochs=1000, minutes=0.5)),
        progress=lambda *step: planned.append(step[1]),
    )
    assert trained.stopped_by == "minutes"
    assert planned[0] == 1000
    assert 20 < trained.steps <= 30
    assert planned[-1] == pytest.approx(trained.steps, abs=2)


def test_time_spent_before_an_interruption_counts_and_that_between_does_not(monkeypatch):
    now = [100.0]
    monkeypatch.setattr(budget_module.time, "monotonic", lambda: now[0])
    before = Budget(1000, minutes=1.0)
    now[0] += 40.0
    before.count(20)
    assert (before.seconds, before.total, before.allows(20)) == (40.0, 30, True)
    assert torch.equal(before.state()["budget"], kept(40.0, 30))
    now[0] += 1000.0
    after = Budget(1000, minutes=1.0)
    now[0] += 50.0
    after.restore({"other": kept(1.0), "budget": kept(40.0, 30)})
    assert (after.seconds, after.total) == (40.0, 30)
    now[0] += 20.5
    after.count(25)
    assert (after.seconds, after.allows(25)) == (60.5, False)
    assert after.allows(0)  # one step at least
    unlimited = Budget(5)
    now[0] += 1e9
    unlimited.count(20)
    assert (unlimited.state(), unlimited.allows(4), unlimited.allows(5)) == ({}, True, False)


def kept(*values):
    return torch.tensor(values, dtype=torch.float64)


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    """An uninterrupted run of 9 steps: its pairs, its folder, what it answered."""
    folder = tmp_path_factory.mktemp("whole")
    learning = lasting(write_pairs(folder / "pairs", 5), folder / "run")
    return folder / "pairs", folder / "run", train_segmenter(learning)


def lasting(pairs, out, **changes):
    settings = replace(QUICK, epochs=3, minutes=60.0, log_every=1, sample_every=4, checkpoint_every=2)
    return config(pairs, replace(settings, **changes), out=str(out))


def test_run_folder_holds_what_it_should(whole):
    _, run, trained = whole
    names = {path.name for path in run.iterdir()}
    assert names == {"config.yaml", "metrics.jsonl", "tensorboard", "samples", "checkpoints", "segmenter.safetensors"}
    assert [row["step"] for row in metrics(run)] == list(range(1, 10)) == event_steps(run, "loss")
    assert {"loss", "gradient_segmenter", "lr_segmenter"} <= metrics(run)[0].keys()
    samples = ["step-00000000.png", "step-00000004.png", "step-00000008.png", "step-00000009.png"]
    assert sorted(path.name for path in (run / "samples").iterdir()) == samples
    with Image.open(run / "samples" / samples[-1]) as picture:
        assert picture.size[0] > 4 * 192 and picture.size[1] > 3 * 192  # four pairs: image, mask, prediction
    assert read_settings(SegmenterConfig, run / "config.yaml").segmenter.epochs == 3
    weights = load_segmenter(run / "segmenter.safetensors").state_dict()
    assert all(torch.equal(weights[name], value) for name, value in trained.network.state_dict().items())


def test_killed_run_resumes_bit_for_bit(tmp_path, whole):
    pairs, expected, _ = whole
    code = (
        "import sys; from test_supervised import *; import time; step = SegmenterTrainer.step\n"
        "SegmenterTrainer.step = lambda self, n: (time.sleep(0.5 * (n > 4)), step(self, n))[1]\n"
        "train_segmenter(lasting(*sys.argv[1:]))"
    )
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join((str(ROOT), str(ROOT / "tests")))}
    environment["OMP_NUM_THREADS"] = str(torch.get_num_threads())
    child = subprocess.Popen([sys.executable, "-c", code, str(pairs), str(tmp_path)], env=environment)
    deadline = time.monotonic() + 120
    while not (tmp_path / "checkpoints" / "step-00000004.safetensors").exists() and time.monotonic() < deadline:
        assert child.poll() is None
        time.sleep(0.01)
    child.send_signal(signal.SIGSTOP)
    with pytest.raises(CheckpointError, match="another process is training into"):
        train_segmenter(lasting(pairs, tmp_path))
    child.send_signal(signal.SIGKILL)
    assert child.wait() == -signal.SIGKILL
    assert state(tmp_path).step == 4, "the machine stalled: the child outran this test"
    (tmp_path / ".1.partial.segmenter.safetensors").write_bytes(b"half")
    trained = train_segmenter(lasting(pairs, tmp_path))
    files = [(folder / "segmenter.safetensors").read_bytes() for folder in (tmp_path, expected)]
    assert files[0] == files[1]
    assert metrics(tmp_path) == metrics(expected)
    found, wanted = state(tmp_path), state(expected)
    assert found.tensors.keys() == wanted.tensors.keys()
    differing = {name for name, value in wanted.tensors.items() if not torch.equal(found.tensors[name], value)}
    assert differing <= {"budget"}  # seconds are no two times the same
    assert not list(tmp_path.rglob("*.partial.*"))
    assert (trained.steps, trained.epochs, trained.stopped_by) == (9, 3, "epochs")


def test_a_finished_run_is_answered_from_its_checkpoint(whole, monkeypatch):
    pairs, run, trained = whole
    monkeypatch.setattr(SegmenterTrainer, "step", lambda *_: pytest.fail("trained"))
    again = train_segmenter(lasting(pairs, run, log_every=3, checkpoint_every=7))
    assert again.record() == trained.record()
    expected = trained.network.state_dict()
    assert all(torch.equal(value, expected[name]) for name, value in again.network.state_dict().items())


def test_other_settings_are_refused_by_name(whole):
    pairs, run, _ = whole
    with pytest.raises(CheckpointError, match=r"other settings: segmenter.side \(32 in the run, 64 now\)"):
        train_segmenter(lasting(pairs, run, side=64))
    with pytest.raises(CheckpointError, match=r"other settings: pairs \(5 in the run, 2 now\), train \("):
        train_segmenter(lasting(write_pairs(run.parent / "others", 2), run))
    with pytest.raises(CheckpointError, match=r"other settings: seed \(0 in the run, 1 now\)"):
        train_segmenter(replace(lasting(pairs, run), seed=1))


def test_each_epoch_goes_once_through_all_pairs():
    from lightning_fabric import Fabric

    pairs = torch.zeros(5, 1, 32, 32, dtype=torch.uint8), torch.ones(5, 1, 32, 32, dtype=torch.uint8)
    fabric = Fabric(accelerator="cpu", devices=1)
    trainer = SegmenterTrainer(first_weights(QUICK, 0), pairs, settings=QUICK, seed=0, budget=Budget(6), fabric=fabric)
    orders = [[trainer._chosen(step).tolist() for step in steps] for steps in ((1, 2, 3), (4, 5, 6))]
    assert [[len(batch) for batch in epoch] for epoch in orders] == [[2, 2, 1]] * 2
    assert [sorted(sum(epoch, [])) for epoch in orders] == [[0, 1, 2, 3, 4]] * 2
    assert orders[0] != orders[1]


def test_script_trains_into_a_folder_by_options_and_keys(tmp_path, capsys, monkeypatch):
    pairs, run = write_pairs(tmp_path / "pairs", 2), tmp_path / "run"
    options = ["-o", str(run), "--epochs", "2", "--side", "32", "--minutes", "1", "--seed", "3"]
    keys = ["segmenter.encoder=tu-resnet10t", "device=cpu", "segmenter.log_every=1", "segmenter.sample_every=1"]
    monkeypatch.setattr(sys, "argv", ["segmenter.py", str(pairs), *options, *keys, "segmenter.checkpoint_every=1"])
    runpy.run_path(str(ROOT / "train" / "segmenter.py"))["main"]()
    assert json.loads(capsys.readouterr().out)["steps"] == 2
    assert [len(list((run / name).iterdir())) for name in ("checkpoints", "samples")] == [2, 3]
    kept = read_settings(SegmenterConfig, run / "config.yaml")
    assert (kept.seed, kept.segmenter.minutes, kept.segmenter.side) == (3, 1.0, 32)


def test_default_epochs_make_about_the_same_number_of_steps():
    assert SegmenterSettings().steps(8) == 1000
    assert SegmenterSettings().steps(100) == pytest.approx(1000, rel=0.02)
    assert SegmenterSettings(epochs=3).steps(100) == 3 * 13


def test_learning_rate_warms_up_and_falls():
    factors = [rate_factor(fraction / 100) for fraction in range(101)]
    assert factors[0] == pytest.approx(0.1)
    assert max(factors) == factors[5] == pytest.approx(1.0)
    assert all(later <= earlier for earlier, later in zip(factors[5:], factors[6:], strict=False))
    assert factors[-1] == pytest.approx(0.01)


def test_loss_of_a_perfect_and_of_an_undecided_answer():
    masks = torch.zeros(2, 1, 8, 8)
    masks[..., :4] = 1
    assert segmentation_loss(50 * (2 * masks - 1), masks) == pytest.approx(0.0, abs=1e-6)
    dice = (2 * 16 + 1) / (32 + 32 + 1)
    assert segmentation_loss(torch.zeros_like(masks), masks) == pytest.approx(math.log(2) + 1 - dice, rel=1e-5)


def test_a_loss_that_is_not_finite_stops_with_its_step(tmp_path, monkeypatch):
    monkeypatch.setattr(trainer_module, "segmentation_loss", lambda logits, *_: logits.sum() * math.nan)
    with pytest.raises(TrainingError, match="step 1: 'loss' is nan; expected a finite number"):
        train_segmenter(config(write_pairs(tmp_path, 2)))


def test_augmentation_keeps_ranges_follows_its_seed_and_never_inverts():
    y, x = torch.meshgrid(torch.linspace(0, 1, 64), torch.linspace(0, 1, 64), indexing="ij")
    masks = (((y - 0.5) / 0.3) ** 2 + ((x - 0.5) / 0.2) ** 2 < 1).float().expand(32, 1, 64, 64)
    images = 0.75 - 0.5 * masks
    new, moved = augmentation.augment(images, masks, torch.Generator().manual_seed(0))
    again, _ = augmentation.augment(images, masks, torch.Generator().manual_seed(0))
    assert torch.equal(new, again)
    assert not torch.equal(new, augmentation.augment(images, masks, torch.Generator().manual_seed(1))[0])
    assert new.min() >= 0
    assert new.max() <= 1
    assert set(moved.unique().tolist()) == {0.0, 1.0}
    inside = (new * moved).sum((1, 2, 3)) / moved.sum((1, 2, 3))
    ring = torch.nn.functional.max_pool2d(moved, 5, 1, 2) - moved
    assert (inside < (new * ring).sum((1, 2, 3)) / ring.sum((1, 2, 3))).all()


def test_image_and_mask_move_together(generator):
    masks = torch.zeros(16, 1, 64, 64)
    masks[..., 20:45, 25:40] = 1
    images, moved = augmentation.move(masks.clone(), masks, generator)
    assert torch.equal(images, moved)
    assert not torch.equal(moved, masks)


def test_pairs_follow_the_records_where_there_are_any(tmp_path):
    write_pairs(tmp_path, 4)
    lines = [json.dumps({"file_name": f"images/{name}.png", "seed": 1}) for name in ("03", "01")]
    (tmp_path / "metadata.jsonl").write_text("\n".join(lines) + "\n")
    pairs, unmatched = find_pairs(tmp_path)
    assert [image.stem for image, _ in pairs] == ["01", "03"]
    assert unmatched == []
    images, masks = load_pairs(tmp_path, 32)
    assert images.shape == masks.shape == (2, 1, 32, 32)
    assert images.dtype == masks.dtype == torch.uint8


def test_images_without_masks_are_named(tmp_path):
    write_pairs(tmp_path, 3)
    (tmp_path / "masks" / "01.png").unlink()
    assert find_pairs(tmp_path)[1] == ["01"]


def test_bad_pairs_are_refused(tmp_path):
    with pytest.raises(DataError, match="1 image-mask pairs; expected 2 or more"):
        train_segmenter(config(write_pairs(tmp_path / "one", 1)))
    empty = write_pairs(tmp_path / "empty", 2)
    for path in (empty / "masks").iterdir():
        Image.new("L", (40, 40)).save(path)
    with pytest.raises(DataError, match="all 2 masks in .*empty are empty"):
        train_segmenter(config(empty))
    with pytest.raises(DataError, match="no folder at .*images"):
        train_segmenter(config(tmp_path / "absent"))
    listed = write_pairs(tmp_path / "listed", 2)
    (listed / "metadata.jsonl").write_text('{"file_name": "images/77.png"}\n')
    with pytest.raises(DataError, match="lists images/77.png and 0 more that do not exist"):
        train_segmenter(config(listed))
    (listed / "metadata.jsonl").write_text('{"name": "images/00.png"}\n')
    with pytest.raises(DataError, match="a line without a `file_name`"):
        train_segmenter(config(listed))


def test_pairs_must_be_named():
    with pytest.raises(UsageError, match="no pairs to train a segmenter on; give train="):
        train_segmenter(SegmenterConfig())


@pytest.mark.parametrize(
    ("setting", "message"),
    [
        ({"epochs": 0}, "segmenter.epochs is 0; expected a number of at least 1"),
        ({"minutes": -1.0}, "segmenter.minutes is -1; expected a number of at least 0.001"),
        ({"side": 100}, "segmenter.side is 100; expected a multiple of 32"),
        ({"batch_size": 0}, "segmenter.batch_size is 0; expected a number from 1 to 4096"),
        ({"learning_rate": 0.0}, "segmenter.learning_rate is 0; expected a number from 1e-09 to 1"),
        ({"encoder": "vgg"}, "segmenter.encoder is 'vgg'; expected one of resnet18"),
        ({"log_every": 0}, "segmenter.log_every is 0; expected a number of at least 1"),
    ],
)
def test_bad_settings_are_refused(setting, message):
    with pytest.raises(UsageError, match=message):
        SegmenterSettings(**setting)


def test_every_encoder_of_the_settings_can_be_built():
    choices = next(item for item in fields(SegmenterSettings) if item.name == "encoder").metadata["choices"]
    assert choices == ENCODERS
    with pytest.raises(UsageError, match="seed is -1; expected"):
        SegmenterConfig(seed=-1)
