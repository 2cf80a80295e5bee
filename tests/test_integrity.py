"""The patch discriminator tells what differs, where and by which waves, and nothing where nothing differs."""

import csv
import json
import math

import numpy as np
import pytest
import torch
from PIL import Image
from textures import texture, write_textures

from nerp.errors import DataError, EvaluationError
from nerp.evaluation.auroc import auroc
from nerp.evaluation.fair_images import read_fairly
from nerp.evaluation.folds import grouped_folds
from nerp.evaluation.integrity import evaluate_integrity
from nerp.evaluation.logistic import fit_logistic
from nerp.evaluation.patch_discriminator import (
    auroc_by_place,
    auroc_by_wave,
    cross_validated_logits,
    telling_patches,
    widened,
)
from nerp.evaluation.patches import cosine_waves, patch_corner, patch_features, places
from nerp.evaluation.set_settings import IntegrityConfig
from nerp.files import sha256


def textures(count, *, seed, **kind):
    source = np.random.default_rng(seed)
    return torch.from_numpy(np.stack([texture(source, **kind) for _ in range(count)])).float()


def score(fake, real, **settings):
    kind = {"n_resamples": 100, "side": 96} | settings
    return evaluate_integrity(IntegrityConfig(fake=str(fake), real=str(real), **kind))


def opened(path):
    with Image.open(path) as image:
        return np.array(image)


def test_the_waves_are_orthonormal():
    waves = cosine_waves().flatten(1)
    assert torch.allclose(waves @ waves.T, torch.eye(64), atol=1e-6)
    assert torch.allclose(waves[0], torch.full((64,), 1 / 8))


def test_normal_noise_has_its_variance_in_every_wave_and_pi_over_two():
    levels = 128 + 5 * torch.randn(40, 128, 128, generator=torch.Generator().manual_seed(0))
    features = patch_features(levels)
    assert features.shape == (40, places(128) ** 2, 126)
    assert features[..., :63].mean((0, 1)).numpy() == pytest.approx(math.log(25.1), abs=0.05)
    assert features[..., 63:].mean((0, 1)).numpy() == pytest.approx(math.log(math.pi / 2), abs=0.03)
    assert torch.allclose(patch_features(levels + 20.0), features, atol=1e-2)


def test_patches_lie_where_they_are_said_to(generator):
    levels = torch.full((1, 256, 256), 100.0)
    top, left = patch_corner(17, 256)
    levels[:, top : top + 64, left : left + 64] += 9 * torch.randn(64, 64, generator=generator)
    energies = patch_features(levels)[0, :, :63].mean(1)
    assert places(256) == 7 and int(energies.argmax()) == 17
    assert (top, left) == (64, 96)


def test_the_regression_is_at_the_minimum_of_its_penalised_loss():
    generator = torch.Generator().manual_seed(0)
    features = torch.randn(300, 4, generator=generator, dtype=torch.float64) * torch.tensor([1.0, 5.0, 0.1, 2.0])
    labels = (features[:, 0] + torch.randn(300, generator=generator) > 0.5).double()
    fitted = fit_logistic(features, labels, penalty=2.0)
    weights, bias = fitted.weights.clone().requires_grad_(), torch.tensor(fitted.bias, requires_grad=True)
    logits = ((features - fitted.mean) / fitted.deviation) @ weights + bias
    balance = torch.where(labels > 0, 0.5 / labels.mean(), 0.5 / (1 - labels.mean()))
    losses = balance * torch.nn.functional.binary_cross_entropy_with_logits(logits, labels, reduction="none")
    (losses.sum() + weights.square().sum()).backward()
    assert weights.grad.abs().max() < 1e-4 and bias.grad.abs() < 1e-4
    assert torch.allclose(fitted.logits(features), logits.detach())


def test_folds_share_no_patient_and_lack_no_class(generator):
    groups = [f"a{n // 3}" for n in range(30)] + [f"b{n // 2}" for n in range(30)] + ["both"] * 4
    labels = [1] * 30 + [0] * 30 + [0, 1, 0, 1]
    folds = grouped_folds(groups, labels, n_folds=5, generator=generator)
    assert all(len({fold for fold, one in zip(folds, groups, strict=True) if one == group}) == 1 for group in groups)
    for number in range(5):
        assert {label for fold, label in zip(folds, labels, strict=True) if fold == number} == {0, 1}
    with pytest.raises(EvaluationError, match="class 1 has 2 patients, or CTs, for 5 folds"):
        grouped_folds(["a", "b", *range(6)], [1, 1, *[0] * 6], n_folds=5, generator=generator)


def test_a_discriminator_finds_the_place_and_the_wave(generator):
    real, fake = textures(40, seed=0), textures(40, seed=1)
    fake[:, :32, :32] += 12 * (torch.arange(32) % 2 * 2 - 1)  # stripes: two pixels a cycle, across
    features = patch_features(torch.cat([fake, real]))
    labels = [1] * 40 + [0] * 40
    logits = cross_validated_logits(features, labels, range(80), n_folds=4, generator=generator)
    assert auroc(logits.mean(1).numpy(), labels) > 0.7
    by_place = auroc_by_place(logits, labels, 96)
    assert by_place.shape == (2, 2) and by_place[0, 0] > 0.99
    assert np.abs(by_place.flatten()[1:] - 0.5).max() < 0.25
    by_wave = auroc_by_wave(features, labels)
    assert by_wave.shape == (8, 8) and by_wave[0, 0] == 0.5 and by_wave[0, 7] == 1.0
    assert abs(by_wave[5, 1] - 0.5) < 0.2
    assert {place for _, place in telling_patches(logits, range(40), count=10)} == {0}


def test_each_patch_is_judged_by_what_has_not_seen_its_patient(generator):
    """Features that name the image let a discriminator that has seen it tell it without a fault, and no other."""
    features = torch.eye(40).repeat(1, 4).view(40, 4, 40)
    labels = [1, 0] * 20
    logits = cross_validated_logits(features, labels, range(40), n_folds=5, generator=generator)
    assert logits.std() < 1e-3


def test_the_interval_allows_for_the_discriminators():
    assert widened((0.4, 0.7), 0.5, 5) == pytest.approx((0.35, 0.8))
    assert widened((0.9, 1.0), 0.99, 5) == pytest.approx((0.855, 1.0))


def test_textures_of_one_kind_are_not_told_apart_and_others_are(tmp_path):
    one, other = (write_textures(tmp_path / str(seed), 40, seed=seed) for seed in (1, 2))
    same = score(one, other, seed=3)
    low, high = same["auroc"]["ci95"]
    assert low <= 0.5 <= high and abs(same["auroc"]["value"] - 0.5) < 0.15
    assert same["spectrum"]["distance"]["value"] < 2 * same["spectrum"]["floor"]["value"]
    grainy = write_textures(tmp_path / "grainy", 40, seed=3, grain=5.0)
    told = score(grainy, other)
    assert told["auroc"]["value"] > 0.99 and told["auroc"]["ci95"][0] > 0.9
    assert told["auroc_patch"]["value"] > 0.9
    assert told["spectrum"]["band"]["decibels"] == pytest.approx(20 * math.log10(5 / 4), abs=0.4)
    assert told["spectrum"]["distance"]["ci95"][0] > told["spectrum"]["floor"]["value"]


def resaved(source, target, ending, change):
    target.mkdir()
    for path in sorted(source.iterdir()):
        change(opened(path), target / f"{path.stem}{ending}")
    return target


RESAVED = {
    "png": lambda pixels, path: Image.fromarray(pixels).save(path, optimize=True),
    "tif": lambda pixels, path: Image.fromarray(pixels.astype(np.uint16) * 257).save(path),
    "bmp": lambda pixels, path: Image.fromarray(np.stack([pixels] * 3, -1)).save(path),
    "jpg": lambda pixels, path: Image.fromarray(pixels).save(path, quality=80),
}


@pytest.mark.parametrize("ending", RESAVED)
@pytest.mark.parametrize("name", ["{0:08d}_000.png", "film{0}.png"], ids=["patients", "no_patients"])
def test_the_same_images_saved_again_are_not_told_apart(tmp_path, ending, name):
    source = write_textures(tmp_path / "source", 16, name=name)
    again = resaved(source, tmp_path / "again", f".{ending}", RESAVED[ending])
    result = score(again, source, n_resamples=0)
    assert result["auroc"]["value"] == 0.5
    assert result["images"]["jpeg"] == (ending == "jpg")
    assert ("some files are JPEGs" in str(result["warnings"])) == (ending == "jpg")
    assert "the same images" in str(result["warnings"])


def test_all_are_read_on_equal_terms(tmp_path):
    large = sorted(write_textures(tmp_path / "large", 2, side=160).iterdir())
    small = sorted(write_textures(tmp_path / "small", 2, side=80, seed=1).iterdir())
    found = read_fairly(large, small, side=128)
    assert found.pixels.shape == (4, 80, 80) and found.pixels.dtype == torch.uint8 and found.side == 80
    assert torch.equal(found.pixels[2], torch.from_numpy(opened(small[0])))
    assert any("all were brought to 80 instead of 128" in text for text in found.warnings)
    assert any("generated images have 160 pixels, real ones 80" in text for text in found.warnings)
    assert read_fairly(large, large, side=128).warnings == []


def test_jpegs_of_several_qualities_are_told(tmp_path):
    source = write_textures(tmp_path / "source", 2)
    fine, coarse = (
        resaved(
            source,
            tmp_path / str(quality),
            ".jpg",
            lambda pixels, path, q=quality: Image.fromarray(pixels).save(path, quality=q),
        )
        for quality in (95, 60)
    )
    found = read_fairly(sorted(fine.iterdir()), sorted(coarse.iterdir()), side=96)
    assert found.compressed and any("the JPEGs are of 2 qualities" in text for text in found.warnings)
    assert read_fairly(sorted(coarse.iterdir()), sorted(coarse.iterdir()), side=96).warnings == []
    again = read_fairly(sorted(source.iterdir()), sorted(coarse.iterdir()), side=96)
    assert torch.equal(
        again.pixels[:2],
        torch.from_numpy(np.stack([opened(path) for path in sorted(coarse.iterdir())])),
    )


def test_the_command_writes_pictures_and_json(tmp_path, nerp):
    fake = write_textures(tmp_path / "fake", 12, seed=1, grain=8.0)
    real = write_textures(tmp_path / "real", 14, seed=2)
    options = ["--out", tmp_path / "told", "--seed", 2, "--save", tmp_path / "saved.json", "--json"]
    keys = ["side=96", "n_resamples=50", "n_folds=3", "max_images=12", "skip_bad=true"]
    code, said, told = nerp("evaluate", "integrity", fake, real, *options, *keys)
    assert code == 0 and told == ""
    result = json.loads(said)
    assert json.loads((tmp_path / "saved.json").read_text()) == result
    assert result["kind"] == "integrity" and result["skipped"] == []
    assert set(result["auroc"]) == {"value", "ci95", "n"} and result["auroc"]["n"] == 24
    assert any("12 of 14 images" in text for text in result["warnings"])
    assert any("generated images are of 12 patients or CTs" in text for text in result["warnings"])
    assert list(result["pictures"]) == ["places.png", "waves.png", "patches.png"]
    assert all(sha256(tmp_path / "told" / name) == digest for name, digest in result["pictures"].items())
    shapes = [opened(tmp_path / "told" / name).shape for name in result["pictures"]]
    assert shapes == [(96, 3 * 96 + 8, 3), (256, 256, 3), (4 * 64 + 2 * 4 + 12, 8 * 64 + 7 * 4, 3)]
    assert len(result["telling"]["generated"]) == 12
    assert result["telling"]["generated"][0]["file"] in {path.name for path in fake.iterdir()}
    code, said, _ = nerp("evaluate", "integrity", fake, real, *keys)
    assert code == 0 and said.startswith("auroc    1.0000 [") and "dB apart" in said and "warning: 12 of 14" in said
    code, said, _ = nerp("evaluate", "integrity", fake, real, "--dry-run", "--skip-bad", "side=128")
    assert code == 0 and "side: 128" in said and "skip_bad: true" in said


def test_without_resamples_there_is_no_interval(tmp_path):
    one = write_textures(tmp_path / "one", 6)
    other = write_textures(tmp_path / "other", 6, seed=1)
    result = score(one, other, n_resamples=0)
    assert result["auroc"]["ci95"] is None and result["spectrum"]["distance"]["ci95"] is None
    assert result == score(one, other, n_resamples=0)


def test_an_index_tells_patients(tmp_path):
    one = write_textures(tmp_path / "one", 8, name="a{0}.png")
    other = write_textures(tmp_path / "other", 8, seed=1, name="b{0}.png")
    index = tmp_path / "index.csv"
    with open(index, "w", newline="") as stream:
        rows = csv.writer(stream)
        rows.writerow(["file", "patient_id"])
        rows.writerows((path.name, number // 4) for number, path in enumerate([*one.iterdir(), *other.iterdir()]))
    result = score(one, other, patients=str(index), n_resamples=10)
    assert (result["fake"]["patients"], result["real"]["patients"], result["fake"]["patients_by"]) == (2, 2, "index")
    assert any("2 folds instead of 5" in text for text in result["warnings"])
    unknown = score(one, other, n_resamples=10)
    assert any("nothing tells patients of the generated images" in text for text in unknown["warnings"])


def test_bad_input_is_one_clear_line(tmp_path, nerp):
    good = write_textures(tmp_path / "good", 6)
    lone = write_textures(tmp_path / "lone", 1)
    small = write_textures(tmp_path / "small", 3, side=40)
    one_patient = write_textures(tmp_path / "one", 3, name="00000001_{0:03d}.png")
    (tmp_path / "empty").mkdir()
    for folder, message in [
        (tmp_path / "absent", "no folder at"),
        (tmp_path / "empty", "no image in"),
        (lone, "has 1 generated image; expected 2 or more"),
        (small, "is 40 pixels wide or high; expected 64 or more"),
        (one_patient, "all generated images are of one patient or CT"),
    ]:
        code, said, told = nerp("evaluate", "integrity", folder, good, "side=96")
        assert code == 1 and said == "" and message in told and told.count("\n") == 1
    with pytest.raises(EvaluationError, match="no folder of generated images is named"):
        evaluate_integrity(IntegrityConfig(real=str(good)))
    (good / "00000002_000.png").write_bytes(b"no picture")
    with pytest.raises(DataError, match="00000002_000.png cannot be read"):
        score(good, good)
    skipped = score(good, write_textures(tmp_path / "other", 6, seed=4), skip_bad=True, n_resamples=0)
    assert skipped["skipped"] == ["00000002_000.png"] and skipped["fake"]["images"] == 5


def test_identical_folders_are_scored_with_a_warning(tmp_path):
    good = write_textures(tmp_path / "good", 20)
    result = score(good, good)
    assert result["auroc"]["value"] == 0.5
    assert "the two sets are the same images: nothing can tell them apart" in result["warnings"]
    some = write_textures(tmp_path / "some", 20, seed=1)
    Image.fromarray(opened(sorted(good.iterdir())[0])).save(some / "99999999_000.png")
    assert "1 images are in both sets" in str(score(some, good, n_resamples=0)["warnings"])


def test_real_halves_are_not_told_apart_and_hospitals_are(real_data, tmp_path):
    images = sorted((real_data / "cxr-nih" / "images").iterdir())
    patients = sorted({path.name[:8] for path in images})[:60]
    halves = [tmp_path / "one", tmp_path / "other"]
    for number, folder in enumerate(halves):
        folder.mkdir()
        for path in images:
            if path.name[:8] in patients[number::2]:
                (folder / path.name).symlink_to(path)
    low, high = score(*halves, side=128)["auroc"]["ci95"]
    assert low <= 0.5 <= high
    chinese = tmp_path / "chinese"
    chinese.mkdir()
    for path in sorted((real_data / "cxr-shenzhen" / "images").iterdir())[:40]:
        (chinese / path.name).symlink_to(path)
    assert score(chinese, halves[0], side=128)["auroc"]["value"] > 0.9
