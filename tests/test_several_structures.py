"""One network for several structures, each with its own masks and its own scores."""

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from ellipses import write_pairs
from PIL import Image

from nerp.data.structures import find_outlined, structure_names
from nerp.errors import CheckpointError, DataError, UsageError
from nerp.evaluation.overlap import METRICS
from nerp.experiments.arms import evaluate_arms
from nerp.experiments.settings import ArmsConfig
from nerp.experiments.utility import SegmentationConfig, evaluate_segmentation
from nerp.networks.segmenter import Segmenter, load_segmenter, save_segmenter
from nerp.training.segmentation.pairs import load_pairs
from nerp.training.segmentation.trainer import segmentation_loss
from nerp.training.settings import ArmSettings, SegmenterSettings

LEARNING = SegmenterSettings(epochs=12, side=32, batch_size=4, learning_rate=3e-3, encoder="tu-resnet10t")


def write_two(folder, count, *, seed=0, beside=False):
    """Pairs with two masks: the ellipse, and its upper half."""
    write_pairs(folder / "one", count, seed=seed)
    (folder / "one" / "images").rename(folder / "images")
    places = {name: folder / name if beside else folder / "masks" / name for name in ("whole", "half")}
    for place in places.values():
        place.mkdir(parents=True)
    for path in sorted((folder / "one" / "masks").iterdir()):
        whole = np.asarray(Image.open(path))
        half = np.where(np.arange(len(whole))[:, None] < len(whole) // 2, whole, 0).astype(np.uint8)
        Image.fromarray(whole).save(places["whole"] / path.name)
        Image.fromarray(half).save(places["half"] / path.name)
    return folder


def config(**more):
    return SegmentationConfig(device="cpu", segmenter=LEARNING, mask_name="whole,half", **more)


@pytest.fixture(scope="module")
def evaluated(tmp_path_factory):
    folder = tmp_path_factory.mktemp("several")
    train, test = write_two(folder / "train", 12), write_two(folder / "test", 4, seed=1, beside=True)
    (test / "half" / "03.png").unlink()
    settings = config(train=str(train), test=str(test), out=str(folder / "out"))
    return settings, evaluate_segmentation(settings)


def test_each_structure_has_its_scores_and_above_them_stands_the_mean(evaluated):
    _, result = evaluated
    assert json.loads(json.dumps(result, allow_nan=False)) == result
    assert list(result["structures"]) == ["whole", "half"]
    for metric in METRICS:
        each = [result["structures"][name][metric]["per_image"] for name in ("whole", "half")]
        assert list(each[0]) == ["00", "01", "02"]
        mean = {stem: (each[0][stem] + each[1][stem]) / 2 for stem in each[0]}
        assert result[metric]["per_image"] == pytest.approx(mean)
    assert result["images_without_mask"] == ["03"]


def test_both_are_learned_and_not_mixed_up(evaluated):
    _, result = evaluated
    assert result["structures"]["whole"]["dice"]["mean"] > 0.75
    assert result["structures"]["half"]["dice"]["mean"] > 0.6


def test_files_are_kept_by_structure(evaluated):
    settings, _ = evaluated
    places = [Path(settings.out) / "predictions" / name for name in ("half", "whole")]
    assert all(sorted(path.name for path in place.iterdir()) == ["00.png", "01.png", "02.png"] for place in places)
    half, whole = (np.asarray(Image.open(place / "00.png")) > 0 for place in places)
    assert half[:20].sum() > half[20:].sum()
    assert whole[20:].sum() > half[20:].sum()


def test_weights_know_their_structures(evaluated):
    settings, result = evaluated
    weights = f"{settings.out}/segmenter.safetensors"
    again = evaluate_segmentation(SegmentationConfig(test=settings.test, weights=weights, device="cpu"))
    assert again["structures"]["half"]["dice"]["per_image"] == result["structures"]["half"]["dice"]["per_image"]
    one = evaluate_segmentation(SegmentationConfig(test=settings.test, weights=weights, device="cpu", mask_name="half"))
    assert one["dice"]["per_image"]["00"] == result["structures"]["half"]["dice"]["per_image"]["00"]
    with pytest.raises(UsageError, match="outlines whole, half, and no 'images'; give --mask-name"):
        evaluate_segmentation(SegmentationConfig(test=settings.test, weights=weights, device="cpu", mask_name="images"))


def test_weights_of_one_structure_say_nothing_of_structures(tmp_path):
    from safetensors import safe_open

    for structures, told in (((), None), (("a", "b"), ["a", "b"])):
        save_segmenter(tmp_path / "w.safetensors", Segmenter("tu-resnet10t", 32, structures))
        with safe_open(tmp_path / "w.safetensors", framework="pt") as file:
            assert json.loads(file.metadata()["header"]).get("structures") == told
        again = load_segmenter(tmp_path / "w.safetensors")
        assert again.structures == structures
        assert again.segment(torch.rand(1, 1, 40, 50)).shape == (1, max(1, len(structures)), 40, 50)
    from safetensors.torch import save_file

    save_file({"a": torch.zeros(1)}, tmp_path / "w.safetensors", {"header": json.dumps({
        "kind": "nerp segmenter", "encoder": "tu-resnet10t", "side": 32, "structures": 3,
    })})  # fmt: skip
    with pytest.raises(CheckpointError, match="does not fit this version's segmenter"):
        load_segmenter(tmp_path / "w.safetensors")


def test_the_loss_of_several_is_the_mean_of_each():
    logits, masks = torch.randn(2, 2, 8, 8), (torch.rand(2, 2, 8, 8) > 0.5).float()
    each = [segmentation_loss(logits[:, k : k + 1], masks[:, k : k + 1]) for k in range(2)]
    assert segmentation_loss(logits, masks) == pytest.approx(float(sum(each) / 2), rel=1e-5)


def test_pairs_hold_a_channel_a_structure(tmp_path):
    images, masks = load_pairs(write_two(tmp_path, 3), 32, mask_name="whole,half")
    assert (tuple(images.shape), tuple(masks.shape)) == ((3, 1, 32, 32), (3, 2, 32, 32))
    assert bool((masks[:, 1] <= masks[:, 0]).all())
    for path in (tmp_path / "masks" / "half").iterdir():
        Image.new("L", (60, 40)).save(path)
    with pytest.raises(DataError, match="all 3 masks of half in"):
        load_pairs(tmp_path, 32, mask_name="whole,half")


def test_structures_are_named_once_and_have_a_folder(tmp_path):
    assert structure_names(" lungs, heart ,") == ("lungs", "heart")
    assert structure_names(None) == ()
    with pytest.raises(UsageError, match="expected each name once"):
        structure_names("lungs,lungs")
    write_pairs(tmp_path, 2)
    with pytest.raises(UsageError, match=r"has no masks 'lungs'; expected a folder .*masks/lungs"):
        find_outlined(tmp_path, ("lungs", "heart"))


def test_arms_compare_each_structure(tmp_path):
    settings = ArmsConfig(
        real=str(write_two(tmp_path / "real", 4)),
        synthetic=str(write_two(tmp_path / "synthetic", 4, seed=1)),
        test=str(write_two(tmp_path / "test", 3, seed=2)),
        mask_name="whole,half",
        arms="real,mixed",
        seeds=1,
        out=str(tmp_path / "out"),
        device="cpu",
        segmenter=ArmSettings(steps=2, side=32, batch_size=2, encoder="tu-resnet10t"),
    )
    result = evaluate_arms(settings)
    dice = [result["structures"][name]["arms"]["mixed"]["dice"]["value"] for name in ("whole", "half")]
    assert result["arms"]["mixed"]["dice"]["value"] == pytest.approx(sum(dice) / 2)
    assert evaluate_arms(replace(settings, arms="real,mixed")) == result
