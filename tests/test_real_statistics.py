"""A real set's statistics stand for its images: the same scores, no image in them, and no other extractor's."""

import json

import pytest
import torch
from fidelity_parts import Means, gaussians, means, write_images
from safetensors import safe_open
from safetensors.torch import save_file

from nerp.errors import EvaluationError, UsageError
from nerp.evaluation.features import Extractor
from nerp.evaluation.fidelity import evaluate_fidelity
from nerp.evaluation.settings import FidelityConfig
from nerp.evaluation.statistics import files_hash, load_statistics

SCORES = ("fid", "kid", "precision", "recall", "density", "coverage", "isc", "fid_infinity", "primary", "floor")


def other():
    return Extractor("other", "1" * 64, 16, lambda images: (Means()(images).square(), images.mean((2, 3))))


@pytest.fixture
def sets(tmp_path):
    real = tmp_path / "real"
    write_images(real, 16, level=0.6, seed=1)
    for number, path in enumerate(sorted(real.iterdir())):
        path.rename(real / f"{number // 2:08d}_{number % 2:03d}.png")
    return write_images(tmp_path / "fake", 9, level=0.4), real


def scored(fake, real, *, extractor=None, **settings):
    settings = FidelityConfig(**{"n_resamples": 8, "floor_splits": 2} | settings)
    return evaluate_fidelity(fake, real, extractor=extractor or [means(), other()], settings=settings)


def test_statistics_give_the_scores_of_the_images(sets, tmp_path):
    fake, real = sets
    path = str(tmp_path / "real.safetensors")
    there = scored(fake, real, save_statistics=path)
    here = scored(fake, path)
    for name in ("means", "other"):
        for score in SCORES:
            assert here["extractors"][name][score] == there["extractors"][name][score], score
    assert here["statistics"]["files_sha256"] == files_hash(sorted(real.iterdir()))
    assert (here["n_real"], here["patients"]["real"]["by"]) == (16, "names")
    assert here["fid"]["ci95"] and here["floor"]["by"] == "patients"
    alone = scored(fake, path, extractor=other())
    assert alone["fid"] == there["extractors"]["other"]["fid"]


def test_nothing_of_the_images_and_names_is_kept(sets, tmp_path):
    fake, real = sets
    path = tmp_path / "real.safetensors"
    scored(fake, real, save_statistics=str(path))
    again = tmp_path / "again.safetensors"
    scored(fake, real, save_statistics=str(again))
    assert path.read_bytes() == again.read_bytes() and not list(tmp_path.glob(".*"))
    with safe_open(path, framework="pt") as file:
        header = json.loads(file.metadata()["nerp_real_statistics"])
        assert sorted(file.keys()) == ["0.features", "1.features", "groups"]
    assert header["n_images"] == 16 and header["extractors"][1] == {
        "name": "other",
        "sha256": "1" * 64,
        "resize": "bilinear, antialiased, to 16 x 16",
    }
    assert b".png" not in path.read_bytes() and str(tmp_path).encode() not in path.read_bytes()


def test_without_features_the_fid_alone_is_scored_and_that_is_said(sets, tmp_path):
    fake, real = sets
    path = str(tmp_path / "moments.safetensors")
    there = scored(fake, real, save_statistics=path, statistics_features=False)
    here = scored(fake, path)
    assert here["fid"]["value"] == pytest.approx(there["fid"]["value"], rel=1e-9)
    assert here["kid"]["value"] is None and "FID alone" in here["kid"]["reason"] and here["floor"] is None
    assert here["primary"] == "fid" and here["extractors"]["other"]["isc"] == there["extractors"]["other"]["isc"]
    assert any("FID alone can be told" in text for text in here["warnings"])
    assert any("the spread of the fake images alone" in text for text in here["warnings"])
    low, high = here["fid"]["ci95"]
    assert low < here["fid"]["value"] < high
    with safe_open(path, framework="pt") as file:
        assert sorted(file.keys()) == ["0.covariance", "0.mean", "1.covariance", "1.mean", "groups"]


def test_statistics_of_another_extractor_are_refused(sets, tmp_path):
    fake, real = sets
    path = str(tmp_path / "real.safetensors")
    scored(fake, real, save_statistics=path, extractor=means())
    with pytest.raises(EvaluationError, match="the statistics are of means; expected other with sha256 111111111111"):
        scored(fake, path, extractor=other())
    resized = Extractor("means", "0" * 64, 64, means().call)
    with pytest.raises(EvaluationError, match="expected means .* to 64 x 64"):
        scored(fake, path, extractor=resized)


def test_statistics_where_they_do_not_belong_are_refused(sets, tmp_path):
    fake, real = sets
    path = str(tmp_path / "real.safetensors")
    with pytest.raises(UsageError, match="expected a name that ends in .safetensors"):
        scored(fake, real, save_statistics=str(tmp_path / "real.npz"))
    scored(fake, real, save_statistics=path)
    with pytest.raises(UsageError, match="expected a folder of generated images before the real ones"):
        scored(path, real)
    with pytest.raises(UsageError, match="expected a folder of images to take them of"):
        scored(fake, path, save_statistics=path)


@pytest.mark.parametrize("how", ["absent", "text", "other", "cut", "later", "torn"])
def test_files_that_are_no_statistics_are_refused(sets, tmp_path, how):
    fake, real = sets
    path = tmp_path / "real.safetensors"
    scored(fake, real, save_statistics=str(path), extractor=means())
    with safe_open(path, framework="pt") as file:
        header = json.loads(file.metadata()["nerp_real_statistics"])
        tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
    if how == "absent":
        path.unlink()
    elif how == "text":
        path.write_text("text")
    elif how == "cut":
        path.write_bytes(path.read_bytes()[:-40])
    elif how == "other":
        save_file({"weight": torch.zeros(3)}, path)
    elif how == "later":
        save_file(tensors, path, metadata={"nerp_real_statistics": json.dumps(header | {"format": 9})})
    else:
        save_file(
            tensors | {"0.features": torch.zeros(3, 4)}, path, metadata={"nerp_real_statistics": json.dumps(header)}
        )
    expected = {"absent": "no statistics at", "later": "of format 9; this nerp reads 1"}.get(how, "holds no statistics")
    with pytest.raises(EvaluationError, match=expected) as refused:
        load_statistics(path)
    assert "\n" not in str(refused.value)


def test_features_are_kept_as_networks_give_them(tmp_path):
    from nerp.evaluation.sample import Sample
    from nerp.evaluation.statistics import save_statistics

    features = gaussians(5, width=3).float().double()
    about = {"files_sha256": "f", "version": "v", "patients_by": "nothing"}
    save_statistics(tmp_path / "a.safetensors", [(means(), Sample(features))], about=about)
    assert torch.equal(load_statistics(tmp_path / "a.safetensors").of(means()).features, features)
