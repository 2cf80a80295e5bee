"""Classification: what is learned, scored and left out; folds, arms, and runs that are not done twice."""

import csv
import json
import os
import shutil
import signal
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from finding_images import write_findings
from safetensors.torch import load_file, save_file

from nerp.config import save_settings
from nerp.errors import CheckpointError, DataError, GeometryError, UsageError
from nerp.evaluation.auroc import auroc, auroc_interval
from nerp.evaluation.crossed import CrossedDraws, crossed_draws
from nerp.evaluation.drawn_auroc import drawn_area
from nerp.experiments import cells
from nerp.experiments.classification import evaluate_classification
from nerp.experiments.classification_scores import KnownFindings, classification_scores
from nerp.experiments.finding_folds import finding_folds
from nerp.experiments.settings import ClassificationConfig
from nerp.networks.classifier import Classifier, fill, save_classifier
from nerp.training.classification.settings import ClassifierSettings
from nerp.training.classification.trainer import known_cross_entropy, moved

TINY = ClassifierSettings(network="small", side=32, steps=12, batch_size=8, learning_rate=2e-3)
ONCE = replace(TINY, steps=2, batch_size=4)


def test_what_is_not_known_is_left_out_of_the_loss_and_its_gradient():
    logits = torch.tensor([[0.3, -1.0], [2.0, 0.5]], dtype=torch.float64, device="cpu", requires_grad=True)
    labels = torch.tensor([[1.0, torch.nan], [0.0, 1.0]], dtype=torch.float64, device="cpu")
    each = [np.log1p(np.exp(-0.3)), np.log1p(np.exp(2.0)), np.log1p(np.exp(-0.5))]
    loss = known_cross_entropy(logits, labels)
    assert float(loss.detach()) == pytest.approx(np.mean(each))
    loss.backward()
    assert logits.grad[0, 1] == 0 and (logits.grad != 0).sum() == 3
    assert torch.autograd.gradcheck(lambda x: known_cross_entropy(x, labels), logits.detach().requires_grad_())
    assert known_cross_entropy(logits.detach(), torch.full_like(labels, torch.nan)) == 0


def test_images_are_moved_a_little_and_mirrored_only_when_asked(generator):
    y, x = torch.meshgrid(*[torch.arange(64, dtype=torch.float32, device="cpu")] * 2, indexing="ij")
    image = torch.exp(-((y - 20) ** 2 + (x - 12) ** 2) / 60)[None, None].repeat(40, 1, 1, 1)
    found = moved(image, generator)
    peaks = found.flatten(1).argmax(1)
    rows, columns = peaks // 64, peaks % 64
    assert (rows - 20).abs().max() < 12 and (columns - 12).abs().max() < 12
    assert rows.unique().numel() > 5 and (columns < 32).all()
    mirrored = moved(image, generator, mirror=True).flatten(1).argmax(1) % 64
    assert 5 < int((mirrored > 32).sum()) < 35
    flat = torch.full((2, 1, 32, 32), 0.7, dtype=torch.float32, device="cpu")
    assert torch.allclose(moved(flat, generator), flat)


def test_each_image_is_told_by_itself_whatever_its_brightness(generator):
    for kind, side in (("small", 40), ("densenet121", 64)):
        network = Classifier(kind, ("a", "b", "c")).eval()
        images = torch.rand(3, 1, side, side, generator=generator, dtype=torch.float32, device="cpu")
        with torch.no_grad():
            together, one = network(images), network(images[1:2] * 0.5 + 0.2)
        assert together.shape == (3, 3)
        assert torch.allclose(together[1:2], one, atol=0.02)
    with pytest.raises(GeometryError, match=r"images have shape \(1, 3, 64, 64\); expected \(B, 1, H, W\)"):
        network(torch.zeros(1, 3, 64, 64, dtype=torch.float32, device="cpu"))
    with pytest.raises(UsageError, match="classifier network is 'vit'; expected one of densenet121, small"):
        Classifier("vit", ("a",))


def test_weights_to_begin_with_fit_whoever_named_them(tmp_path):
    first = Classifier("densenet121", ("a",))
    of_torchvision = {name.replace(".layers.", "."): value for name, value in first.network.state_dict().items()}
    colour = of_torchvision["features.conv0.weight"]
    of_torchvision["features.conv0.weight"] = colour.repeat(1, 3, 1, 1) / 3
    of_torchvision["classifier.weight"] = torch.zeros(14, 1024, dtype=torch.float32, device="cpu")
    save_file({name: value.contiguous() for name, value in of_torchvision.items()}, tmp_path / "w.safetensors")
    other = Classifier("densenet121", ("a", "b"))
    before = other.network.class_layers.out.weight.clone()
    fill(other, tmp_path / "w.safetensors")
    assert torch.allclose(other.network.features.conv0.weight, colour)
    name = "features.denseblock4.denselayer16.layers.conv2.weight"
    assert torch.equal(other.network.state_dict()[name], first.network.state_dict()[name])
    assert torch.equal(other.network.class_layers.out.weight, before)
    small = Classifier("small", ("a",))
    with pytest.raises(
        CheckpointError, match=r"holds nothing as 0.weight; expected \(16, 1, 3, 3\), of a network small"
    ):
        fill(small, tmp_path / "w.safetensors")
    save_classifier(tmp_path / "s.safetensors", small)
    again = Classifier("small", ("x", "y"))
    fill(again, tmp_path / "s.safetensors")
    assert torch.equal(again.network[0].weight, small.network[0].weight)
    with pytest.raises(CheckpointError, match="cannot be read"):
        fill(small, tmp_path / "absent.safetensors")


def scored_cases(n=60, seed=0):
    generator = np.random.default_rng(seed)
    positive = generator.random(n) < 0.3
    return np.round(generator.normal(positive * 0.8, 1.0), 1), positive


def test_drawn_areas_are_aurocs_of_the_images_that_are_drawn():
    scores, positive = scored_cases()
    draws = crossed_draws(2, 60, generator=torch.Generator().manual_seed(1), n_resamples=7)
    area = drawn_area(np.stack([scores, -scores]), positive, draws)
    assert area.per_training == pytest.approx([auroc(scores, positive), 1 - auroc(scores, positive)])
    for counts, trainings, found in zip(draws.images, draws.trainings, area.drawn, strict=True):
        drawn = np.repeat(np.arange(60), counts.astype(int))
        plain = auroc(scores[drawn], positive[drawn])
        assert found == pytest.approx((trainings[0] * plain + trainings[1] * (1 - plain)) / 2)


def test_a_positive_is_compared_within_its_own_fold():
    scores, positive = scored_cases()
    folds = np.arange(60) % 3
    draws = CrossedDraws(np.ones((1, 1)), np.ones((1, 60)))
    area = drawn_area(scores[None], positive, draws, strata=folds)
    shifted = drawn_area((scores + 1000 * folds)[None], positive, draws, strata=folds)
    assert area.value == pytest.approx(shifted.value)
    pairs = [int(positive[folds == f].sum() * (~positive[folds == f]).sum()) for f in range(3)]
    each = [auroc(scores[folds == f], positive[folds == f]) for f in range(3)]
    assert area.value == pytest.approx(np.average(each, weights=pairs))
    none = drawn_area(scores[None], positive, CrossedDraws(np.ones((1, 1)), positive[None] * 1.0))
    assert np.isnan(none.drawn).all() and none.interval() is None


def test_intervals_agree_with_those_of_auroc_where_there_is_one_training():
    scores, positive = scored_cases(300)
    draws = crossed_draws(1, 300, generator=torch.Generator().manual_seed(0), n_resamples=2000)
    ours = drawn_area(scores[None], positive, draws).interval()
    plain = auroc_interval(scores, positive.astype(int), n_resamples=2000)
    assert ours == pytest.approx(plain, abs=0.015)


def test_scores_leave_out_what_is_not_known_and_say_what_is_not_scored():
    generator = np.random.default_rng(0)
    labels = (generator.random((80, 3)) < 0.4).astype(np.float32)
    labels[:40, 1] = np.nan
    labels[:, 2] = np.where(np.arange(80) < 2, 1, 0)
    predicted = np.clip(np.nan_to_num(labels) * 0.3 + generator.random((2, 80, 3)) * 0.7, 0, 1)
    tested = KnownFindings(("a", "b", "c"), labels, tuple(f"p{n // 2}" for n in range(80)))
    options = {"seed": 0, "least": 5, "n_resamples": 200}
    result = classification_scores({"real": predicted, "mixed": predicted[::-1]}, tested, **options)
    assert list(result["arms"]["real"]) == ["mean", "a", "b"]
    b = result["arms"]["real"]["b"]
    assert (b["n"], b["n_positive"]) == (40, int((labels[40:, 1] == 1).sum()))
    known = [auroc(one[40:, 1], labels[40:, 1] == 1) for one in predicted]
    assert b["per_seed"] == pytest.approx(known) and b["value"] == pytest.approx(np.mean(known))
    assert result["differences"]["mixed minus real"]["a"]["value"] == pytest.approx(0)
    reason = result["not_scored"]["c"]
    assert (
        reason["value"] is None and "2 positive images of 80, and only 1 patients of the rarer kind" in reason["reason"]
    )
    mean = result["arms"]["real"]["mean"]
    assert mean["value"] == pytest.approx((b["value"] + result["arms"]["real"]["a"]["value"]) / 2)
    assert mean["n_findings"] == 2 and mean["ci95"][0] < mean["value"] < mean["ci95"][1]


def test_two_arms_without_a_fault_tell_no_interval_of_their_difference():
    labels = np.repeat([[1.0], [0.0]], 20, 0).astype(np.float32)
    tested = KnownFindings(("a",), labels, tuple(map(str, range(40))))
    perfect = {arm: labels[None].astype(float) for arm in ("real", "mixed")}
    result = classification_scores(perfect, tested, seed=0, least=5, n_resamples=50)
    one = result["arms"]["real"]["a"]
    assert one["value"] == 1 and one["ci95"] == pytest.approx(auroc_interval(labels[:, 0], labels[:, 0].astype(int)))
    assert result["differences"]["mixed minus real"]["a"]["ci95"] is None


def test_folds_keep_patients_whole_and_spread_each_finding():
    generator = np.random.default_rng(0)
    groups = [f"p{n // 3}" for n in range(300)]
    labels = (generator.random((300, 4)) < (0.3, 0.1, 0.02, 0.0)).astype(np.float32)
    labels[5] = np.nan
    folds = finding_folds(labels, groups, 5, seed=1)
    assert sorted(set(folds)) == [0, 1, 2, 3, 4]
    assert all(len({folds[n] for n in range(300) if groups[n] == group}) == 1 for group in set(groups))
    counts = np.array([(labels[folds == fold] == 1).sum(0) for fold in range(5)])
    assert counts[:, 1].min() >= 3 and counts[:, 0].max() - counts[:, 0].min() <= 12
    assert np.array_equal(folds, finding_folds(labels, groups, 5, seed=1))
    with pytest.raises(DataError, match="2 patients, or CTs, are too few for 3 folds"):
        finding_folds(labels[:6], groups[:6], 3, seed=0)


@pytest.fixture(scope="module")
def folders(tmp_path_factory):
    folder = tmp_path_factory.mktemp("findings")
    named = {"real": (30, 1), "synthetic": (24, 2), "test": (30, 3)}
    return {name: str(write_findings(folder / name, count, seed=seed)) for name, (count, seed) in named.items()}


def config(folders, **more):
    rest = {"classifier": ONCE, "seeds": 1, "device": "cpu", "n_resamples": 50}
    return ClassificationConfig(**{**folders, **rest, **more})


@pytest.fixture(scope="module")
def compared(folders, tmp_path_factory):
    settings = config(folders, arms="real,mixed", seeds=2, out=str(tmp_path_factory.mktemp("out")), classifier=TINY)
    told = []
    return settings, evaluate_classification(settings, progress=lambda *row: told.append(row)), told


def test_visible_findings_are_learned_and_invisible_ones_are_not(compared):
    _, result, told = compared
    assert json.loads(json.dumps(result, allow_nan=False)) == result
    assert result["kind"] == "classification" and result["findings"] == ["effusion", "mass", "nodule"]
    for arm in ("real", "mixed"):
        scores = result["arms"][arm]
        assert list(scores) == ["mean", "effusion", "mass", "nodule"]
        assert scores["effusion"]["value"] > 0.9 and abs(scores["mass"]["value"] - 0.5) < 0.3
        assert scores["effusion"]["n"] == 30 and scores["effusion"]["n_positive"] == 15
        assert scores["mass"]["ci95"][0] < scores["mass"]["value"] < scores["mass"]["ci95"][1]
    assert result["images"] == {"real": 30, "synthetic": 24, "test": 30} and result["patients"] == 30
    assert result["learned_positive"]["synthetic"] == {"effusion": 12, "mass": 5, "nodule": 8}
    assert told[-1] == (48, 48)
    assert any("fewer than 20 patients" in text for text in result["warnings"])


def test_anyone_can_compute_the_scores_from_the_predictions(compared, folders):
    settings, result, _ = compared
    with open(Path(folders["test"]) / "labels.csv") as file:
        labels = {row["Image Index"]: int(row["Pleural Effusion"]) for row in csv.DictReader(file)}
    areas = []
    for seed in (0, 1):
        with open(Path(settings.out) / "mixed" / f"seed-{seed}" / "predictions.csv") as file:
            rows = list(csv.DictReader(file))
        areas.append(auroc([float(row["effusion"]) for row in rows], [labels[row["file"]] for row in rows]))
    assert result["arms"]["mixed"]["effusion"]["per_seed"] == areas


def test_what_is_done_is_read_and_what_is_lost_is_done_again(compared, tmp_path, monkeypatch):
    settings, result, _ = compared
    trained, train = [], cells.train_classifier

    def told(cell, learned, **more):
        trained.append((cell.arm, cell.seed))
        return train(cell, learned, **more)

    monkeypatch.setattr(cells, "train_classifier", told)
    assert evaluate_classification(settings) == result and trained == []
    copied = shutil.copytree(settings.out, tmp_path / "out")
    shutil.rmtree(copied / "mixed" / "seed-1")
    (copied / "real" / "seed-0" / "scores.json").unlink()
    assert evaluate_classification(replace(settings, out=str(copied))) == result
    assert trained == [("real", 0), ("mixed", 1)]
    table = copied / "mixed" / "seed-0" / "predictions.csv"
    table.write_text("".join(table.read_text().splitlines(keepends=True)[:-1]))
    with pytest.raises(DataError, match=r"predictions.csv holds other predictions than its training left; remove"):
        evaluate_classification(replace(settings, out=str(copied)))
    with pytest.raises(CheckpointError, match=r"classifier.steps \(12 in the run, 4 now\)"):
        evaluate_classification(replace(settings, out=str(copied), classifier=replace(TINY, steps=4)))
    with pytest.raises(
        CheckpointError, match=r"seed-0 was made with other settings: test \(\w{64} in the run, \w{64} now\)"
    ):
        evaluate_classification(replace(settings, test=settings.synthetic, synthetic=None, arms="real"))


KILLED = """
import os, signal, sys
from nerp.config import read_settings
from nerp.experiments.classification import evaluate_classification
from nerp.experiments.settings import ClassificationConfig

def die(done, total):
    if done == 3:
        os.kill(os.getpid(), signal.SIGKILL)

evaluate_classification(read_settings(ClassificationConfig, sys.argv[1], []), progress=die)
"""


def test_a_killed_training_goes_on_bit_for_bit(folders, tmp_path):
    two = {name: folders[name] for name in ("real", "test")}
    learning = replace(ONCE, steps=6, checkpoint_every=2)
    killed, whole = (config(two, classifier=learning, out=str(tmp_path / name)) for name in ("killed", "whole"))
    save_settings(killed, tmp_path / "config.yaml")
    environment = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[1])}
    done = subprocess.run([sys.executable, "-c", KILLED, str(tmp_path / "config.yaml")], env=environment)
    assert done.returncode == -signal.SIGKILL
    run = tmp_path / "killed" / "real" / "seed-0"
    assert [path.name for path in (run / "checkpoints").iterdir()] == ["step-00000002.safetensors"]
    assert not (run / "predictions.csv").exists()
    assert evaluate_classification(killed) == evaluate_classification(whole)
    names = (tmp_path / one / "real" / "seed-0" / "classifier.safetensors" for one in ("killed", "whole"))
    first, second = map(load_file, names)
    assert all(torch.equal(first[name], second[name]) for name in first)


def test_cross_validation_never_learns_whom_it_tests(tmp_path, monkeypatch):
    folder = write_findings(tmp_path / "real", 20, images_each=2)
    seen = []

    def told(cell, learned, **_):
        seen.append((cell.arm, cell.fold, len(learned.images), learned.n_real))
        return Classifier("small", learned.findings).eval()

    monkeypatch.setattr(cells, "train_classifier", told)
    synthetic = write_findings(tmp_path / "synthetic", 12, seed=4)
    both = {"real": str(folder), "synthetic": str(synthetic), "test": None}
    result = evaluate_classification(config(both, folds=4, least=3, arms="real,synthetic,mixed"))
    assert [one[:2] for one in seen[:5]] == [*(("real", fold) for fold in range(4)), ("synthetic", None)]
    assert seen[0][2:] == (30 + 12, 30) and seen[4][2:] == (40 + 12, 40)
    assert result["patients"] == 20 and result["folds"] == 4
    assert result["arms"]["synthetic"]["effusion"]["n"] == 40
    seen.clear()
    evaluate_classification(config({"synthetic": str(synthetic)}, folds=2, least=2))
    assert [one[:2] for one in seen] == [("synthetic", 0), ("synthetic", 1)]


def test_findings_are_those_of_all_folders_or_those_asked_for(folders, tmp_path):
    phantoms = tmp_path / "phantoms.csv"
    names = sorted(path.name for path in (Path(folders["synthetic"]) / "images").iterdir())
    rows = [f"{name},{int(n % 2 == 0)},{int(n % 3 == 0)}" for n, name in enumerate(names)]
    phantoms.write_text("file,effusion,large_heart\n" + "\n".join(rows) + "\n")
    result = evaluate_classification(config(folders, labels=str(phantoms), arms="synthetic"))
    assert result["findings"] == ["effusion"]
    asked = evaluate_classification(config(folders, findings="Lung nodule, Pleural Effusion", arms="real"))
    assert asked["findings"] == ["nodule", "effusion"]
    with pytest.raises(
        UsageError, match="the real images' tables tell nothing of cardiomegaly; they tell effusion, mass"
    ):
        evaluate_classification(config(folders, findings="cardiomegaly"))
    phantoms.write_text("file,large_heart\n" + "\n".join(row.rsplit(",", 1)[0] for row in rows) + "\n")
    with pytest.raises(UsageError, match="no finding is told of all folders"):
        evaluate_classification(config(folders, labels=str(phantoms)))


def test_empty_cells_are_not_known_or_negative_as_asked(folders, tmp_path):
    folder = shutil.copytree(folders["test"], tmp_path / "test")
    table = folder / "labels.csv"
    table.write_text(table.read_text().replace(",0", ","))
    with pytest.raises(DataError, match="no finding can be scored: effusion: 15 positive images of 15"):
        evaluate_classification(config(folders, test=str(folder)))
    again = evaluate_classification(config(folders, test=str(folder), arms="real", empty="negative"))
    assert again["arms"] == evaluate_classification(config(folders, arms="real"))["arms"]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"test": None}, "give either --test, a folder of other patients, or --folds"),
        ({"folds": 5}, "give either --test, a folder of other patients, or --folds"),
        ({"synthetic": None, "arms": "mixed"}, "arm 'mixed' needs synthetic images and there are none"),
        ({"synthetic": None, "real": None}, "no images to learn from; give --real, --synthetic or both"),
        ({"arms": "both"}, "no arm is called 'both'"),
    ],
)
def test_what_cannot_be_is_refused_before_the_work(folders, change, message):
    with pytest.raises(UsageError, match=message):
        evaluate_classification(config(folders, **change))


def test_a_patient_who_is_learned_and_tested_is_an_error(folders, tmp_path):
    with pytest.raises(DataError, match="30 of the test's files are in the real folder, too"):
        evaluate_classification(config(folders, real=folders["test"]))
    index = tmp_path / "patients.csv"
    one, other = (sorted((Path(folders[name]) / "images").iterdir())[0].name for name in ("synthetic", "test"))
    index.write_text(f"file,patient_id\n{one},7\n{other},7\n")
    with pytest.raises(DataError, match="1 of the test's patients are in the synthetic folder, too: patient 7"):
        evaluate_classification(config(folders, patients=str(index)))


def test_the_command_tells_each_finding(folders, nerp, tmp_path):
    paths = ["--real", folders["real"], "--test", folders["test"], "--findings", "effusion,mass"]
    small = ["--network", "small", "--steps", "2", "--seeds", "1", "classifier.side=32", "classifier.batch_size=4"]
    command = ["evaluate", "classification", *paths, *small, "device=cpu", "n_resamples=20"]
    code, out, err = nerp(*command, "--arms", "real", "--labels", Path(folders["test"]) / "labels.csv", "least=6")
    assert code == 0, err
    lines = out.splitlines()
    assert lines[0] == "real" and lines[1].split()[0] == "mean" and lines[2].endswith("15 of 30")
    assert "not scored" not in out and "warning: one seed" in out
    code, out, _ = nerp(*command, "--folds", "3", "--ct", "ct/", "--weights", "w.safetensors", "--dry-run")
    assert code == 0 and "folds: 3" in out and "weights: w.safetensors" in out


def test_every_setting_reaches_the_training(folders, nerp):
    more = ["classifier.mirror=true", "classifier.weight_decay=0.1", "classifier.log_every=1", "precision=32-true"]
    more += [
        "classifier.checkpoint_every=7",
        "classifier.learning_rate=0.01",
        "classifier.weights=w",
        "empty=negative",
        "ct=cts",
        "labels=a.csv",
        "skip_bad=true",
    ]
    code, out, _ = nerp("evaluate", "classification", *more, "--dry-run")
    assert code == 0
    assert all(text in out for text in ("mirror: true", "weight_decay: 0.1", "log_every: 1", "empty: negative"))


def test_a_finding_that_is_not_scored_is_no_rejected_image_on_the_page(compared, tmp_path, nerp):
    result = dict(compared[1])
    result["not_scored"] = {"hernia": {"value": None, "ci95": None, "n": 30, "n_positive": 2, "reason": "2 patients"}}
    (tmp_path / "evaluation.json").write_text(json.dumps(result))
    code, _, err = nerp("report", tmp_path, "-o", tmp_path / "page.html")
    assert code == 0, err
    page = (tmp_path / "page.html").read_text()
    assert "hernia" in page and "2 patients" in page and "Rejected" not in page
