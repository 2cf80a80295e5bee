"""Training a segmenter: it learns, it keeps its budget, the same seed gives the same weights."""

import itertools
import json
import math

import numpy as np
import pytest
import torch
from ellipses import write_pairs
from PIL import Image

from nerp.data.images import find_pairs
from nerp.errors import CheckpointError, DataError, GeometryError, TrainingError, UsageError
from nerp.networks.segmenter import KIND, Segmenter, load_segmenter, save_segmenter, standardise
from nerp.training import augmentation, supervised
from nerp.training.supervised import SegmenterPlan, learning_rate_share, load_pairs, segmentation_loss, train_segmenter

QUICK = SegmenterPlan(epochs=2, side=32, batch_size=2, encoder="tu-resnet10t")


def test_it_learns_ellipses(tmp_path):
    plan = SegmenterPlan(epochs=8, side=32, batch_size=4, learning_rate=3e-3, encoder="tu-resnet10t")
    losses = []
    trained = train_segmenter(write_pairs(tmp_path, 12), plan=plan, progress=lambda *step: losses.append(step[2]))
    assert np.mean(losses[-3:]) < 0.5 * np.mean(losses[:3])
    assert trained.record()["stopped_by"] == "epochs"
    assert (trained.epochs, trained.steps, len(losses)) == (8, 24, 24)


def test_the_seed_alone_decides(tmp_path):
    write_pairs(tmp_path, 4)
    first, again = (train_segmenter(tmp_path, plan=QUICK).network.state_dict() for _ in range(2))
    assert all(torch.equal(first[name], again[name]) for name in first)
    other = SegmenterPlan(epochs=2, side=32, batch_size=2, encoder="tu-resnet10t", seed=1)
    different = train_segmenter(tmp_path, plan=other).network.state_dict()
    assert any(not torch.equal(first[name], different[name]) for name in first)


def test_training_leaves_the_global_randomness_alone(tmp_path):
    write_pairs(tmp_path, 2)
    torch.manual_seed(5)
    expected = torch.rand(3)
    torch.manual_seed(5)
    train_segmenter(tmp_path, plan=QUICK)
    assert torch.equal(torch.rand(3), expected)


def test_the_clock_stops_a_long_run_and_the_result_says_so(tmp_path, monkeypatch):
    ticks = itertools.count()
    monkeypatch.setattr(supervised.time, "monotonic", lambda: float(next(ticks)))  # about a second a step
    plan = SegmenterPlan(epochs=1000, minutes=0.5, side=32, batch_size=2, encoder="tu-resnet10t")
    planned = []
    trained = train_segmenter(write_pairs(tmp_path, 2), plan=plan, progress=lambda *step: planned.append(step[1]))
    assert trained.stopped_by == "minutes"
    assert planned[0] == 1000
    assert 20 < trained.steps <= 30
    assert planned[-1] == pytest.approx(trained.steps, abs=2)


def test_default_epochs_make_about_the_same_number_of_steps():
    assert SegmenterPlan().steps(8) == 1000
    assert SegmenterPlan().steps(100) == pytest.approx(1000, rel=0.02)
    assert SegmenterPlan(epochs=3).steps(100) == 3 * 13


def test_learning_rate_warms_up_and_falls():
    shares = [learning_rate_share(fraction / 100) for fraction in range(101)]
    assert shares[0] == pytest.approx(0.1)
    assert max(shares) == shares[5] == pytest.approx(1.0)
    assert all(later <= earlier for earlier, later in zip(shares[5:], shares[6:], strict=False))
    assert shares[-1] == pytest.approx(0.01)


def test_loss_of_a_perfect_and_of_an_undecided_answer():
    masks = torch.zeros(2, 1, 8, 8)
    masks[..., :4] = 1
    assert segmentation_loss(50 * (2 * masks - 1), masks) == pytest.approx(0.0, abs=1e-6)
    dice = (2 * 16 + 1) / (32 + 32 + 1)
    assert segmentation_loss(torch.zeros_like(masks), masks) == pytest.approx(math.log(2) + 1 - dice, rel=1e-5)


def test_a_loss_that_is_not_finite_stops_with_its_step(tmp_path, monkeypatch):
    monkeypatch.setattr(supervised, "segmentation_loss", lambda logits, masks: logits.sum() * math.nan)
    with pytest.raises(TrainingError, match="segmentation loss is nan at step 0"):
        train_segmenter(write_pairs(tmp_path, 2), plan=QUICK)


def test_a_segmenter_sees_through_brightness_and_contrast():
    network = Segmenter("tu-resnet10t", 32).eval()
    images = torch.rand(2, 1, 32, 32)
    with torch.no_grad():
        assert torch.allclose(network(images), network(0.5 * images + 0.3), atol=0.02)
        assert torch.allclose(network(images)[:1], network(images[:1]), atol=1e-4)
    assert torch.equal(standardise(torch.ones(1, 1, 4, 4)), torch.zeros(1, 1, 4, 4))


def test_segment_gives_probabilities_of_the_images_own_shape():
    probability = Segmenter("tu-resnet10t", 32).eval().segment(torch.rand(1, 1, 70, 90))
    assert probability.shape == (1, 1, 70, 90)
    assert 0 <= probability.min() <= probability.max() <= 1


def test_weights_come_back_as_they_were(tmp_path):
    network = Segmenter("tu-resnet10t", 64).eval()
    save_segmenter(tmp_path / "segmenter.safetensors", network)
    again = load_segmenter(tmp_path / "segmenter.safetensors")
    assert (again.encoder, again.side) == ("tu-resnet10t", 64)
    images = torch.rand(1, 1, 64, 64)
    with torch.no_grad():
        assert torch.equal(network(images), again(images))
    assert [path.name for path in tmp_path.iterdir()] == ["segmenter.safetensors"]


def test_weights_that_are_none_are_refused(tmp_path):
    from safetensors.torch import save_file

    with pytest.raises(CheckpointError, match="absent.* cannot be read"):
        load_segmenter(tmp_path / "absent.safetensors")
    (tmp_path / "text").write_text("no weights")
    with pytest.raises(CheckpointError, match="cannot be read"):
        load_segmenter(tmp_path / "text")
    save_file({"a": torch.zeros(1)}, tmp_path / "other.safetensors")
    with pytest.raises(CheckpointError, match="holds no segmenter"):
        load_segmenter(tmp_path / "other.safetensors")
    for change in ({"encoder": "vgg"}, {"side": "x"}, {"side": None}):
        metadata = {"kind": KIND, "encoder": "tu-resnet10t", "side": "32", **change}
        metadata = {key: value for key, value in metadata.items() if value is not None}
        save_file({"a": torch.zeros(1)}, tmp_path / "old.safetensors", metadata)
        with pytest.raises(CheckpointError, match="does not fit this version's segmenter"):
            load_segmenter(tmp_path / "old.safetensors")


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
    assert torch.equal((images > 0.5).float(), moved)
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
        train_segmenter(write_pairs(tmp_path / "one", 1), plan=QUICK)
    empty = write_pairs(tmp_path / "empty", 2)
    for path in (empty / "masks").iterdir():
        Image.new("L", (40, 40)).save(path)
    with pytest.raises(DataError, match="all 2 masks in .*empty are empty"):
        train_segmenter(empty, plan=QUICK)
    with pytest.raises(DataError, match="no folder at .*images"):
        train_segmenter(tmp_path / "absent", plan=QUICK)
    listed = write_pairs(tmp_path / "listed", 2)
    (listed / "metadata.jsonl").write_text('{"file_name": "images/77.png"}\n')
    with pytest.raises(DataError, match="lists images/77.png and 0 more that do not exist"):
        train_segmenter(listed, plan=QUICK)
    (listed / "metadata.jsonl").write_text('{"name": "images/00.png"}\n')
    with pytest.raises(DataError, match="a line without a `file_name`"):
        train_segmenter(listed, plan=QUICK)


@pytest.mark.parametrize(
    ("setting", "message"),
    [
        ({"epochs": 0}, "epochs is 0; expected 1 or more"),
        ({"minutes": -1.0}, "minutes is -1.0; expected a number above 0"),
        ({"side": 100}, "side is 100; expected a multiple of 32"),
        ({"batch_size": 0}, "batch_size and learning_rate must be above 0"),
        ({"seed": -1}, "seed is -1; expected 0 or more"),
        ({"encoder": "vgg"}, "encoder is 'vgg'; expected one of resnet18"),
    ],
)
def test_bad_settings_are_refused(setting, message):
    with pytest.raises(UsageError, match=message):
        SegmenterPlan(**setting)


def test_a_network_refuses_what_does_not_fit():
    with pytest.raises(UsageError, match="segmenter encoder is 'vgg'"):
        Segmenter("vgg")
    with pytest.raises(GeometryError, match=r"images have shape \(1, 1, 30, 32\)"):
        Segmenter("tu-resnet10t")(torch.zeros(1, 1, 30, 32))
