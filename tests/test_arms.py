"""Arms of a comparison: equal steps, balanced draws, paired differences, and runs that are not done twice."""

import json
import shutil
from dataclasses import replace

import numpy as np
import pytest
import torch
from ellipses import write_pairs
from PIL import Image

from nerp.errors import CheckpointError, ConfigError, DataError, EvaluationError, UsageError
from nerp.evaluation.crossed import crossed_draws, crossed_score
from nerp.experiments import arms as experiment
from nerp.experiments.arms import evaluate_arms
from nerp.experiments.settings import ArmsConfig
from nerp.training.arms import ARMS
from nerp.training.curriculum import Curriculum
from nerp.training.segmentation.arms import load_arm_pairs, train_arm
from nerp.training.settings import ArmConfig, ArmSettings

TINY = ArmSettings(steps=2, side=32, batch_size=2, encoder="tu-resnet10t")


def test_a_mixed_batch_is_half_of_each_set_whatever_their_sizes():
    for size in (2, 3, 8):
        mixed = Curriculum(((range(3), range(3, 103)),), size, seed=0)
        drawn = [mixed.indices(step, 50) for step in range(1, 51)]
        assert {len(indices) for indices in drawn} == {size}
        of_first = torch.cat(drawn) < 3
        assert abs(int(of_first.sum()) - 50 * size / 2) <= 1
        assert torch.cat(drawn)[of_first].bincount().diff().abs().max() <= 1


def test_a_set_is_gone_through_in_whole_rounds():
    alone = Curriculum(((range(5, 12),),), 4, seed=3)
    drawn = torch.cat([alone.indices(step, 14) for step in range(1, 15)])
    rounds = drawn.view(8, 7)
    assert all(sorted(one.tolist()) == list(range(5, 12)) for one in rounds)
    assert not torch.equal(rounds[0], rounds[1])


@pytest.mark.parametrize("total", [2, 7, 10])
def test_parts_share_the_steps_and_each_anneals_by_itself(total):
    both = Curriculum(((range(4),), (range(4, 8),)), 2, seed=0)
    kinds = [bool((both.indices(step, total) >= 4).all()) for step in range(1, total + 1)]
    assert kinds == sorted(kinds)
    assert abs(sum(kinds) - total / 2) <= 0.5
    fractions = [both.fraction(step, total) for step in range(1, total + 1)]
    assert all(0 <= one < 1 for one in fractions)
    assert [step for step, one in enumerate(fractions) if one == 0] == [0, kinds.index(True)]


def crossed(values, groups=None):
    generator = torch.Generator().manual_seed(0)
    return crossed_score(values, crossed_draws(*values.shape, generator=generator, groups=groups))


def test_crossed_intervals_know_both_sources_of_chance():
    images = torch.rand(40, generator=torch.Generator().manual_seed(0), dtype=torch.float64).numpy()
    seeds = np.array([0.0, 0.1, 0.2])
    assert crossed(np.repeat(seeds[:, None], 40, 1)).ci95 == pytest.approx((0.0, 0.2))
    one_training = crossed(np.repeat(images[None], 3, 0))
    spread = 1.96 * images.std() / np.sqrt(40)
    assert one_training.ci95 == pytest.approx((images.mean() - spread, images.mean() + spread), abs=0.02)
    both = crossed(images[None] + seeds[:, None])
    assert both.ci95[1] - both.ci95[0] > one_training.ci95[1] - one_training.ci95[0]
    assert both.value == pytest.approx(images.mean() + 0.1)


def test_crossed_intervals_draw_patients_whole():
    values = np.repeat(np.arange(8.0), 5)[None]
    alone, together = crossed(values).ci95, crossed(values, [n // 5 for n in range(40)]).ci95
    assert together[1] - together[0] > 1.5 * (alone[1] - alone[0])
    with pytest.raises(EvaluationError, match="found 3 groups for 40 images"):
        crossed(values, [1, 2, 3])
    with pytest.raises(EvaluationError, match=r"scores have shape \(2, 4\); expected \(trainings, images\), \(1, 4\)"):
        crossed_score(np.zeros((2, 4)), crossed_draws(1, 4, generator=torch.Generator(), n_resamples=1))


@pytest.fixture(scope="module")
def folders(tmp_path_factory):
    """Real pairs, synthetic ones whose masks are of no use, and tests."""
    folder = tmp_path_factory.mktemp("arms")
    real, synthetic = write_pairs(folder / "real", 8), write_pairs(folder / "synthetic", 6, seed=1)
    for path in (synthetic / "masks").iterdir():
        Image.fromarray(255 - np.asarray(Image.open(path))).save(path)
    return {"real": str(real), "synthetic": str(synthetic), "test": str(write_pairs(folder / "test", 4, seed=2))}


def config(folders, **more):
    return ArmsConfig(**folders, device="cpu", **{"segmenter": TINY, "seeds": 1, **more})


@pytest.fixture(scope="module")
def compared(folders, tmp_path_factory):
    out = tmp_path_factory.mktemp("out")
    told = []
    settings = config(folders, arms="real,mixed", seeds=2, out=str(out))
    return settings, evaluate_arms(settings, progress=lambda *row: told.append(row)), told


def test_the_result_has_the_documented_shape(compared):
    _, result, told = compared
    assert json.loads(json.dumps(result, allow_nan=False)) == result
    assert result["kind"] == "arms"
    assert list(result["arms"]) == ["real", "mixed"]
    assert list(result["differences"]) == ["mixed minus real"]
    for name in ("dice", "jaccard", "hd", "hd95", "asd"):
        score = result["arms"]["mixed"][name]
        assert set(score) == {"value", "ci95", "n", "per_seed"}
        assert (score["n"], len(score["per_seed"])) == (4, 2)
        assert score["value"] == pytest.approx(np.mean(score["per_seed"]))
        assert score["ci95"][0] <= score["value"] <= score["ci95"][1]
    difference = result["differences"]["mixed minus real"]["dice"]["value"]
    apart = result["arms"]["mixed"]["dice"]["value"] - result["arms"]["real"]["dice"]["value"]
    assert difference == pytest.approx(apart)
    assert result["pairs"] == {"real": 8, "synthetic": 6}
    assert told[-1] == (8, 8)
    assert sum("are not known" in text for text in result["warnings"]) == 1


def test_what_is_done_is_read_and_never_done_again(compared, monkeypatch):
    settings, result, _ = compared
    monkeypatch.setattr(experiment, "train_arm", lambda *_, **__: pytest.fail("trained"))
    assert evaluate_arms(settings) == result
    fewer = evaluate_arms(replace(settings, arms="mixed"))
    assert fewer["arms"]["mixed"] == result["arms"]["mixed"]


def test_what_is_lost_alone_is_done_again_to_the_same_scores(compared, tmp_path, monkeypatch):
    settings, result, _ = compared
    copied = shutil.copytree(settings.out, tmp_path / "out")
    shutil.rmtree(copied / "mixed" / "seed-1")
    (copied / "real" / "seed-0" / "scores.json").unlink()
    trained, train = [], experiment.train_arm

    def told(one, pairs, **more):
        trained.append((one.arm, one.seed))
        return train(one, pairs, **more)

    monkeypatch.setattr(experiment, "train_arm", told)
    assert evaluate_arms(replace(settings, out=str(copied))) == result
    assert trained == [("real", 0), ("mixed", 1)]


def test_runs_of_other_settings_are_not_taken_for_done(compared):
    settings, _, _ = compared
    with pytest.raises(CheckpointError, match=r"real/seed-0 was made with other settings: segmenter.steps \(2 in"):
        evaluate_arms(replace(settings, segmenter=replace(TINY, steps=4)))
    with pytest.raises(CheckpointError, match="was made with other settings: test "):
        evaluate_arms(replace(settings, spacing_mm=(0.5, 0.5)))


def test_scores_on_other_masks_of_the_same_size_are_not_taken(compared, tmp_path):
    settings, _, _ = compared
    test = shutil.copytree(settings.test, tmp_path / "test")
    path = next((test / "masks").iterdir())
    before = path.read_bytes()
    path.write_bytes(before[:-1] + bytes([before[-1] ^ 1]))  # of a PNG's closing check, which nobody reads
    with pytest.raises(CheckpointError, match="was made with other settings: test "):
        evaluate_arms(replace(settings, test=str(test)))


def test_arms_of_one_seed_begin_alike_and_differ_by_their_pairs_alone(folders):
    settings = ArmConfig(real=folders["real"], synthetic=folders["real"], device="cpu", segmenter=TINY)
    pairs = load_arm_pairs(settings)
    assert (pairs.n_real, pairs.n_synthetic, pairs.hashes["real"]) == (8, 8, pairs.hashes["synthetic"])
    weights = [train_arm(replace(settings, arm=arm), pairs).state_dict() for arm in ("real", *ARMS)]
    first, again, *others = (torch.cat([value.flatten() for value in one.values()]) for one in weights)
    assert torch.equal(first, again)
    assert not any(torch.equal(first, other) for other in others)


def test_useless_synthetic_pairs_are_found_out(folders):
    learning = replace(TINY, steps=36, batch_size=4, learning_rate=3e-3)
    result = evaluate_arms(config(folders, segmenter=learning, arms="real,synthetic", seed=1))
    assert result["arms"]["real"]["dice"]["value"] > 0.8
    assert result["differences"]["synthetic minus real"]["dice"]["ci95"][1] < -0.5
    assert any("one seed" in text for text in result["warnings"])


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"synthetic": None}, "arm 'synthetic' needs synthetic pairs and there are none; give --synthetic FOLDER"),
        ({"real": None, "arms": "fine-tune"}, "arm 'fine-tune' needs real pairs"),
        ({"arms": "real,both"}, "no arm is called 'both'; expected some of real, synthetic, mixed, fine-tune"),
        (
            {"arms": "self-trained"},
            "arm 'self-trained' needs synthetic pairs and radiographs without masks",
        ),
        ({"arms": ","}, "no arms; expected some of"),
        ({"test": None}, "no images to test on; give --test"),
    ],
)
def test_arms_that_cannot_be_are_refused_before_the_work(folders, change, message):
    with pytest.raises(UsageError, match=message):
        evaluate_arms(replace(config(folders), **change))


def test_a_test_image_in_either_folder_is_an_error(folders):
    for name in ("real", "synthetic"):
        with pytest.raises(DataError, match=f"4 of the test's files are in the {name} folder, too: 00.png"):
            evaluate_arms(replace(config(folders), **{name: folders["test"]}))


def test_a_batch_holds_both_kinds():
    with pytest.raises(ConfigError, match="segmenter.batch_size is 1; expected 2 or more"):
        ArmSettings(batch_size=1)


def test_the_command_says_what_the_arms_are_worth(folders, nerp, tmp_path):
    paths = ["--real", folders["real"], "--synthetic", folders["synthetic"], "--test", folders["test"]]
    tiny = ["segmenter.side=32", "segmenter.encoder=tu-resnet10t", "device=cpu", "segmenter.batch_size=2"]
    command = ["evaluate", "arms", *paths, "--arms", "real,mixed", "--seeds", "1", "--steps", "2", *tiny]
    code, out, err = nerp(*command, "--spacing-mm", "0.5", "-o", tmp_path / "runs")
    assert code == 0, err
    assert [line.split("  ")[0].strip() for line in out.splitlines()[:3]] == ["real", "mixed", "mixed minus real"]
    assert " mm" in out
    assert "warning: one seed" in out
    code, out, _ = nerp(*command, "--masks-pattern", "{name}.png", "precision=32-true", "skip_bad=true", "--dry-run")
    assert (code, "arms: real,mixed\nseeds: 1" in out) == (0, True)
