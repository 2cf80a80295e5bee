"""Segmentation scores from folders to JSON."""

import json

import numpy as np
import pytest
import torch
from ellipses import write_pairs
from PIL import Image

from nerp.config import read_settings
from nerp.errors import DataError, UsageError
from nerp.evaluation.overlap import METRICS
from nerp.evaluation.segmentation import score, score_structures, segment_file, summarise
from nerp.experiments import utility
from nerp.experiments.utility import SegmentationConfig, evaluate_segmentation
from nerp.networks.segmenter import Segmenter
from nerp.training.settings import SegmenterSettings

LEARNING = SegmenterSettings(epochs=12, side=32, batch_size=4, learning_rate=3e-3, encoder="tu-resnet10t")


def config(**paths):
    text = {name: None if path is None else str(path) for name, path in paths.items()}
    return SegmentationConfig(**text, device="cpu", segmenter=LEARNING)


@pytest.fixture(scope="module")
def evaluated(tmp_path_factory):
    """A run from folders to scores: the folder it wrote to, the test folder, and its result."""
    folder = tmp_path_factory.mktemp("segmentation")
    train = write_pairs(folder / "train", 12)
    test = write_pairs(folder / "test", 5, shape=(50, 90), seed=1)
    (test / "masks" / "04.png").unlink()
    result = evaluate_segmentation(config(train=train, test=test, out=folder / "out"))
    return folder / "out", test, result


def test_the_result_has_the_documented_shape(evaluated):
    _, _, result = evaluated
    assert json.loads(json.dumps(result, allow_nan=False)) == result
    for metric in METRICS:
        scores = result[metric]
        assert set(scores) == {"mean", "ci95", "n", "per_image"}
        assert list(scores["per_image"]) == ["00", "01", "02", "03"]
        assert scores["n"] == 4
        assert scores["mean"] == pytest.approx(np.mean(list(scores["per_image"].values())))
        assert scores["ci95"][0] <= scores["mean"] <= scores["ci95"][1]
    assert result["images_without_mask"] == ["04"]
    assert (result["distance_unit"], result["device"]) == ("px", "cpu")
    assert set(result["training"]) == {
        "encoder", "side", "threads", "epochs", "steps", "seconds", "stopped_by", "loss",
    }  # fmt: skip


def test_a_short_training_finds_the_ellipses(evaluated):
    assert evaluated[2]["dice"]["mean"] > 0.8
    assert evaluated[2]["empty"] == {"predicted": 0, "target": 0}


def test_weights_alone_test_again(evaluated):
    out, test, result = evaluated
    again = evaluate_segmentation(config(test=test, weights=out / "segmenter.safetensors"))
    assert again["training"] is None
    assert (again["weights"], again["device"]) == ("segmenter.safetensors", "cpu")
    for metric in METRICS:
        assert again[metric]["per_image"] == pytest.approx(result[metric]["per_image"])


def test_files_are_whole_and_at_the_masks_own_size(evaluated):
    out, test, result = evaluated
    assert json.loads((out / "scores.json").read_text()) == result
    assert sorted(path.name for path in (out / "predictions").iterdir()) == ["00.png", "01.png", "02.png", "03.png"]
    assert {"scores.json", "segmenter.safetensors", "config.yaml", "checkpoints"} <= {
        path.name for path in out.iterdir()
    }
    assert read_settings(SegmentationConfig, out / "config.yaml").test == str(test)
    with Image.open(out / "predictions" / "00.png") as prediction, Image.open(test / "masks" / "00.png") as mask:
        assert prediction.size == mask.size == (90, 50)
        assert set(np.unique(np.asarray(prediction))) <= {0, 255}


def test_a_mask_of_another_size_than_its_image_is_met_at_its_own(tmp_path):
    write_pairs(tmp_path, 2)
    mask = Image.open(tmp_path / "masks" / "00.png").resize((240, 160), Image.Resampling.NEAREST)
    mask.save(tmp_path / "masks" / "00.png")
    pairs = [(tmp_path / "images" / "00.png", (tmp_path / "masks" / "00.png",))]
    scores = score(Segmenter("tu-resnet10t", 32).eval(), pairs).scores
    assert set(scores["00"]) == set(METRICS)


def test_empty_masks_are_counted(tmp_path):
    write_pairs(tmp_path, 2)
    Image.new("L", (60, 40)).save(tmp_path / "masks" / "01.png")
    network = Segmenter("tu-resnet10t", 32).eval()
    with torch.no_grad():
        network.unet.segmentation_head[0].bias.fill_(-1e4)
    pairs = [(tmp_path / "images" / f"{name}.png", (tmp_path / "masks" / f"{name}.png",)) for name in ("00", "01")]
    scored = score(network, pairs)
    scores = scored.scores
    assert scored.empty == {"predicted": 2, "target": 1}
    assert scores["00"]["hd95"] == pytest.approx(np.hypot(40, 60))
    assert scores["01"] == {"dice": 1.0, "jaccard": 1.0, "hd": 0.0, "hd95": 0.0, "asd": 0.0}


def test_a_segmented_file_is_a_mask_of_the_shape_asked_for(tmp_path):
    write_pairs(tmp_path, 1)
    mask = segment_file(Segmenter("tu-resnet10t", 32).eval(), tmp_path / "images" / "00.png", (20, 30))
    assert (mask.shape, mask.dtype) == ((20, 30), bool)


def test_crumbs_beside_two_lungs_are_cleaned_away_but_not_of_other_structures(tmp_path):
    """A network that sees two bars and a crumb, whatever the image."""
    seen = torch.zeros(1, 1, 64, 64)
    seen[..., 10:50, 10:25] = seen[..., 10:50, 40:55] = seen[..., 2:5, 60:63] = 1.0

    class Seer(Segmenter):
        def segment(self, images):
            return seen

    network, pairs = Seer("tu-resnet10t", 32).eval(), write_pairs(tmp_path, 1, shape=(64, 64))
    outlined = [(pairs / "images" / "00.png", ((pairs / "masks" / "00.png",),))]

    def kept(clean, names=()):
        network.structures = names
        folder = tmp_path / f"{clean}{names}"
        score_structures(network, outlined, names, predictions=folder, spacing_mm=None, clean=clean)
        return np.asarray(Image.open(folder / "00.png")) > 0

    bars = seen[0, 0].numpy() > 0
    assert np.array_equal(kept(False), bars) and np.array_equal(kept(True, ("nodules",)), bars)
    bars[:8] = False
    assert np.array_equal(kept(True), bars) and np.array_equal(kept(True, ("Lungs",)), bars)


def test_patients_are_resampled_together():
    rows = {f"{index:02d}": dict.fromkeys(METRICS, float(index // 5)) for index in range(40)}
    alone = summarise(rows)["dice"]["ci95"]
    together = summarise(rows, groups={stem: str(int(stem) // 5) for stem in rows})["dice"]["ci95"]
    assert together[1] - together[0] > 1.5 * (alone[1] - alone[0])


def test_training_or_weights_but_not_both_or_none(tmp_path):
    for train, weights in ((None, None), (tmp_path, tmp_path / "x.safetensors")):
        with pytest.raises(UsageError, match="either a folder of pairs to train on, or the weights"):
            evaluate_segmentation(config(train=train, test=tmp_path, weights=weights))
    with pytest.raises(UsageError, match="no images to test on; give test="):
        evaluate_segmentation(config(train=tmp_path))


def test_tests_are_never_what_is_learned(tmp_path, monkeypatch):
    write_pairs(tmp_path / "pairs", 2)
    monkeypatch.chdir(tmp_path)
    with pytest.raises(UsageError, match="is both the folder to train on and to test on"):
        evaluate_segmentation(config(train=tmp_path / "pairs", test="pairs"))


@pytest.mark.parametrize("spoiled", ["images/00.png", "masks/00.png"])
def test_a_set_of_another_kind_is_met_before_the_training(tmp_path, monkeypatch, spoiled):
    train, test = write_pairs(tmp_path / "train", 2), write_pairs(tmp_path / "test", 2, seed=1)
    (test / spoiled).write_text("no picture")
    monkeypatch.setattr(utility, "train_segmenter", lambda *_, **__: pytest.fail("trained"))
    with pytest.raises(DataError, match="cannot be read as an image"):
        evaluate_segmentation(config(train=train, test=test))


def test_a_place_that_cannot_be_written_is_met_before_the_training(tmp_path, monkeypatch):
    train, test = write_pairs(tmp_path / "train", 2), write_pairs(tmp_path / "test", 2, seed=1)
    monkeypatch.setattr(utility, "train_segmenter", lambda *_, **__: pytest.fail("trained"))
    with pytest.raises(DataError, match=r"00\.png is a file; expected a folder"):
        evaluate_segmentation(config(train=train, test=test, out=test / "images" / "00.png"))


def test_bad_test_folders_are_refused_before_training(tmp_path):
    train = write_pairs(tmp_path / "train", 2)
    with pytest.raises(DataError, match="no folder at .*images"):
        evaluate_segmentation(config(train=train, test=tmp_path / "absent", out=tmp_path / "out"))
    test = write_pairs(tmp_path / "test", 1)
    (test / "masks" / "00.png").rename(test / "masks" / "other.png")
    with pytest.raises(DataError, match="has a mask of its name"):
        evaluate_segmentation(config(train=train, test=test, out=tmp_path / "out"))
    assert not (tmp_path / "out").exists()
