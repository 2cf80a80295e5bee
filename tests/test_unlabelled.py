"""Learning from radiographs without masks: what is outlined, what is kept, what is refused, and that it resumes."""

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from lung_pictures import lungs, write_lungs, write_picture
from tiny_run import metrics, state
from typer.testing import CliRunner

from nerp.cli import app
from nerp.errors import CheckpointError, ConfigError, DataError, UsageError
from nerp.experiments.arms import evaluate_arms
from nerp.experiments.settings import ArmsConfig, SegmentationConfig
from nerp.experiments.utility import evaluate_segmentation
from nerp.networks.segmenter import load_segmenter
from nerp.training.budget import Budget
from nerp.training.segmentation import train_segmenter
from nerp.training.segmentation.augmentation import augment, augment_soft, cover
from nerp.training.segmentation.films import Films, load_films
from nerp.training.segmentation.pseudo_labels import label_films
from nerp.training.segmentation.self_training import Rounds
from nerp.training.segmentation.trainer import segmentation_loss
from nerp.training.segmentation.views import View, averaged, draw_views
from nerp.training.settings import SegmenterConfig, SegmenterSettings
from nerp.training.unlabelled_settings import UnlabelledSettings

ROOT = Path(__file__).parents[1]
QUICK = SegmenterSettings(epochs=2, side=32, batch_size=2, encoder="tu-resnet10t", minutes=60.0)
ANY = UnlabelledSettings(views=2, agreement=0.0, area=(0.0, 1.0), balance=0.0)
"""Takes every outline, whatever a network that has learned for seconds says."""


@pytest.fixture(scope="module")
def folders(tmp_path_factory):
    """Pairs to learn from, films without masks, and a test."""
    folder = tmp_path_factory.mktemp("sets")
    write_lungs(folder / "pairs", 4)
    write_lungs(folder / "films", 5, first=10)
    shutil.rmtree(folder / "films" / "masks")
    write_lungs(folder / "test", 2, first=20)
    for kind in ("images", "masks"):  # names of their own
        for path in (folder / "test" / kind).iterdir():
            path.rename(path.with_name(f"t{path.name}"))
    return folder


def config(folders, unlabelled=ANY, settings=QUICK, **more):
    unlabelled = replace(unlabelled, folders=(str(folders / "films"),))
    return SegmenterConfig(
        train=str(folders / "pairs"), device="cpu", segmenter=settings, unlabelled=unlabelled, **more
    )


class Marks(torch.nn.Module):
    """Instead of a network: sees exactly the dark pixels of an image."""

    device = torch.device("cpu")

    def forward(self, images):
        return 40.0 * (0.5 - images)


def drawn_films(*dark):
    """Films that are dark where the given (128, 128) masks are."""
    images = torch.stack([torch.where(torch.from_numpy(mask), 40, 250) for mask in dark])[:, None]
    return Films(images.to(torch.uint8), tuple(f"{number}.png" for number in range(len(dark))))


def drawn_lungs():
    return lungs(0, (128, 128))[1]


def test_views_lie_back_on_the_image():
    image = torch.from_numpy(drawn_lungs()).float()[None, None]
    for view in (View(), View(0.9, (0.05, -0.08), 1.0, True), View(1.1, (-0.06, 0.02))):
        looked = view.back(torch.ones_like(image)) > 0.99
        assert looked.float().mean() > 0.6
        back = view.back(view.of(image))
        assert (back - image)[looked].abs().mean() < 0.02  # interpolated twice along the borders
    mirrored = View(mirrored=True)
    assert torch.allclose(mirrored.of(image), image.flip(3), atol=1e-4)
    assert torch.allclose(View(gamma=2.0).of(0.5 * image), 0.25 * image, atol=1e-4)


def test_views_are_drawn_from_the_generator_alone():
    views, again = (draw_views(5, torch.Generator().manual_seed(3)) for _ in range(2))
    assert views == again and views[0] == View()
    assert [view.mirrored for view in views] == [False, True, False, True, False]
    assert draw_views(5, torch.Generator().manual_seed(4)) != views


def test_views_of_a_plain_answer_agree_and_average_to_it():
    films = drawn_films(drawn_lungs())
    probability, agreement = averaged(Marks(), films.images, draw_views(4, torch.Generator().manual_seed(0)))
    seen = probability[0, 0].numpy() > 0.5
    assert 2 * (seen & drawn_lungs()).sum() / (seen.sum() + drawn_lungs().sum()) > 0.98
    assert agreement.shape == (1,) and 0.97 < agreement.item() <= 1.0


def test_views_that_disagree_are_told():
    class Fickle(Marks):
        def forward(self, images):
            half = torch.linspace(-1, 1, images.shape[3], dtype=torch.float32, device="cpu") > 0
            return super().forward(images) - 80.0 * half  # never anything on the right half, mirrored or not

    _, agreement = averaged(Fickle(), drawn_films(drawn_lungs()).images, [View(), View(mirrored=True)])
    assert agreement.item() < 0.8


def test_sure_outlines_of_two_lungs_are_kept_and_the_reasons_told():
    both = drawn_lungs()
    one, tiny = both.copy(), np.zeros_like(both)
    one[:, 64:] = False
    tiny[60:64, 40:44] = tiny[60:64, 80:84] = True
    hole = both.copy()
    hole[60:66, 36:42] = False
    films, settings = drawn_films(both, one, tiny, hole), UnlabelledSettings(views=4, agreement=0.9)
    labels, found = label_films(Marks(), films, settings=settings, generator=torch.Generator().manual_seed(0))
    assert labels.chosen.tolist() == [0, 3]
    assert [row["used"] for row in found["each"]] == [True, False, False, True]
    assert (found["films"], found["used"]) == (4, 2)
    assert found["refused_for"]["balance"] == 1 and found["refused_for"]["area"] == 1
    assert labels.masks[1, 0, 63, 39] == 1 and labels.weights[1, 0, 63, 39] == round(255 * 0.5)  # filled in: half sure
    assert labels.weights[0, 0, 2, 2] == 255 and labels.weights[0].min() < 200  # sure far from borders, not on them


def test_films_are_read_as_other_images_and_counted_once(folders, tmp_path):
    films = load_films((str(folders / "films"), str(folders / "films" / "images")), 32)
    assert films.images.shape == (5, 1, 32, 32) and films.images.dtype == torch.uint8
    assert films.names == tuple(f"{number:03d}.png" for number in range(10, 15))
    shutil.copytree(folders / "films", tmp_path / "again")
    assert load_films((str(tmp_path / "again"),), 32).sha256 == films.sha256
    (tmp_path / "again" / "images" / "torn.png").write_bytes(b"torn")
    with pytest.raises(DataError, match="1 of 6 unlabelled radiographs cannot be used: .*torn.png"):
        load_films((str(tmp_path / "again"),), 32)
    assert load_films((str(tmp_path / "again"),), 32, skip_bad=True).sha256 == films.sha256


def test_weights_of_one_change_no_loss_and_unsure_pixels_do_not_count():
    generator = torch.Generator().manual_seed(0)
    logits, noise = (torch.randn(2, 1, 8, 8, generator=generator) for _ in range(2))
    masks = (noise > 0).float()
    plain, weighted = segmentation_loss(logits, masks), segmentation_loss(logits, masks, torch.ones_like(masks))
    assert torch.allclose(plain, weighted)
    weights = (torch.arange(8) < 4).float().expand(2, 1, 8, 8)
    other = torch.where(weights > 0, masks, 1 - masks)
    assert torch.equal(segmentation_loss(logits, masks, weights), segmentation_loss(logits, other, weights))


def test_soft_maps_follow_the_same_changes_as_masks():
    images, masks = torch.rand(3, 1, 32, 32), (torch.rand(3, 1, 32, 32) > 0.5).float()
    changed = augment(images, masks, torch.Generator().manual_seed(1))
    soft = augment_soft(images, torch.cat([masks, 0.5 * masks], 1), torch.Generator().manual_seed(1))
    assert torch.equal(changed[0], soft[0])
    assert torch.equal(changed[1], (soft[1][:, :1] > 0.5).float())
    assert torch.allclose(soft[1][:, 1:], 0.5 * soft[1][:, :1], atol=1e-6)


def test_covers_hide_some_of_an_image_and_stay_grey():
    images = torch.full((20, 1, 32, 32), 0.5)
    covered = cover(images, torch.Generator().manual_seed(0))
    hidden = (covered != images).float().mean((1, 2, 3))
    assert covered.min() >= 0 and covered.max() <= 1
    assert hidden.max() < 0.6 and 0 < hidden.mean() < 0.3


def test_each_part_warms_up_by_itself_and_shrinks_with_the_time():
    budget = Budget(20)
    rounds = Rounds(budget, 10, 2, 5)
    assert [rounds.of(step) for step in (1, 10, 11, 15, 16, 20)] == [0, 0, 1, 1, 2, 2]
    assert [rounds.fraction(step) for step in (1, 6, 11, 16, 18)] == [0.0, 0.5, 0.0, 0.0, 0.4]
    assert (rounds.after_pairs(8), rounds.after_pairs(14)) == (0, 4)
    budget.total = 10
    assert [rounds.of(step) for step in (5, 6, 8, 9, 10)] == [0, 1, 1, 2, 2]


def test_without_rounds_it_is_the_plain_training_bit_for_bit(folders):
    plain = train_segmenter(SegmenterConfig(train=str(folders / "pairs"), device="cpu", segmenter=QUICK))
    none = train_segmenter(config(folders, replace(ANY, rounds=0)))
    expected = plain.network.state_dict()
    assert all(torch.equal(value, expected[name]) for name, value in none.network.state_dict().items())
    assert {**none.record(), "seconds": 0} == {**plain.record(), "seconds": 0}


def test_the_part_before_the_rounds_is_the_plain_training_bit_for_bit(folders, tmp_path):
    often = replace(QUICK, log_every=1)
    train_segmenter(config(folders, settings=often, out=f"{tmp_path}/rounds"))
    plain = replace(config(folders, settings=often, out=f"{tmp_path}/plain"), unlabelled=UnlabelledSettings())
    train_segmenter(plain)
    told = [[{**row, "seconds": 0} for row in metrics(tmp_path / name)] for name in ("plain", "rounds")]
    assert len(told[0]) == 4 and told[1][:4] == told[0]


@pytest.fixture(scope="module")
def whole(folders):
    """An undisturbed run of 4 steps on pairs and two rounds of 3 steps: its folder, and what it answered."""
    return folders / "run", train_segmenter(lasting(folders, folders / "run"))


def lasting(folders, out):
    settings = replace(QUICK, log_every=1, sample_every=5, checkpoint_every=2)
    return config(Path(folders), replace(ANY, rounds=2, steps=3), settings, out=str(out))


def test_a_run_tells_which_films_each_round_learned_from(whole):
    run, trained = whole
    told = json.loads((run / "unlabelled.json").read_text())
    assert [(one["round"], one["step"]) for one in told["rounds"]] == [(1, 5), (2, 8)]
    assert told["kind"] == "unlabelled" and told["settings"]["agreement"] == 0.0
    first, second = told["rounds"]
    assert (first["films"], first["used"]) == (5, 5)
    assert [row["name"] for row in first["each"]] == [f"{number:03d}.png" for number in range(10, 15)]
    assert first["teacher_sha256"] != second["teacher_sha256"] and len(first["labels_sha256"]) == 64
    assert state(run).settings["unlabelled.images_sha256"] == told["images_sha256"]
    assert trained.steps == 10 and trained.epochs == pytest.approx(3.5)  # a pair and a film a step in rounds
    assert [one["used"] for one in trained.record()["rounds"]] == [5, 5]
    assert (run / "samples" / "step-00000010.png").is_file()


def test_a_run_killed_in_a_round_resumes_bit_for_bit(folders, tmp_path, whole):
    expected, _ = whole
    code = (
        "import sys; from test_unlabelled import *\n"
        "from nerp.training.segmentation.self_training import SelfTrainer; step = SelfTrainer.step\n"
        "SelfTrainer.step = lambda self, n: (time.sleep(0.5 * (n > 6)), step(self, n))[1]\n"
        "train_segmenter(lasting(*sys.argv[1:]))"
    )
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join((str(ROOT), str(ROOT / "tests")))}
    environment["OMP_NUM_THREADS"] = str(torch.get_num_threads())
    child = subprocess.Popen([sys.executable, "-c", code, str(folders), str(tmp_path)], env=environment)
    deadline = time.monotonic() + 600
    while not (tmp_path / "checkpoints" / "step-00000006.safetensors").exists() and time.monotonic() < deadline:
        assert child.poll() is None
        time.sleep(0.01)
    child.send_signal(signal.SIGKILL)
    assert child.wait() == -signal.SIGKILL
    assert state(tmp_path).step == 6, "the machine stalled: the child outran this test"
    train_segmenter(lasting(folders, tmp_path))
    for name in ("segmenter.safetensors", "unlabelled.json"):
        assert (tmp_path / name).read_bytes() == (expected / name).read_bytes()
    found, wanted = state(tmp_path), state(expected)
    assert found.tensors.keys() == wanted.tensors.keys()
    assert {name for name, value in wanted.tensors.items() if not torch.equal(found.tensors[name], value)} <= {"budget"}
    assert load_segmenter(tmp_path / "segmenter.safetensors").side == 32


def test_other_films_do_not_continue_a_run(folders, tmp_path, whole):
    run, _ = whole
    shutil.copytree(run, tmp_path / "run")
    shutil.copytree(folders / "films", tmp_path / "films")
    (tmp_path / "films" / "images" / "010.png").unlink()
    learning = lasting(folders, tmp_path / "run")
    other = replace(learning.unlabelled, folders=(str(tmp_path / "films"),))
    with pytest.raises(CheckpointError, match="other settings: unlabelled.images_sha256"):
        train_segmenter(replace(learning, unlabelled=other))
    with pytest.raises(CheckpointError, match=r"unlabelled.views \(2 in the run, 3 now\)"):
        train_segmenter(replace(learning, unlabelled=replace(learning.unlabelled, views=3)))


def test_a_round_without_a_sure_film_learns_from_pairs_and_says_so(folders, caplog):
    trained = train_segmenter(config(folders, replace(ANY, agreement=1.0, area=(1.0, 1.0))))
    assert trained.rounds[0]["used"] == 0
    assert "round 1: none of 5 radiographs is outlined surely enough" in caplog.text


def scoring(folders, films, **more):
    unlabelled = replace(ANY, folders=(str(films),))
    return SegmentationConfig(
        train=str(folders / "pairs"), test=str(folders / "test"), device="cpu", segmenter=QUICK, unlabelled=unlabelled,
        **more,
    )  # fmt: skip


def test_films_that_are_tested_are_refused(folders, tmp_path):
    with pytest.raises(DataError, match="2 of the test's files are in the folder of unlabelled radiographs"):
        evaluate_segmentation(scoring(folders, folders / "test"))
    shutil.copytree(folders / "films", tmp_path / "films")
    shutil.copy(folders / "test" / "images" / "t020.png", tmp_path / "films" / "images" / "renamed.png")
    with pytest.raises(
        DataError, match="1 images in the folder of unlabelled .*: renamed.png has the pixels of t020.png"
    ):
        evaluate_segmentation(scoring(folders, tmp_path / "films"))


def test_films_of_a_tested_patient_are_refused(folders, tmp_path):
    index = tmp_path / "patients.csv"
    index.write_text("file,patient_id\n013.png,7\nt021.png,7\n")
    with pytest.raises(DataError, match="1 of the test's patients are in the folder of unlabelled radiographs"):
        evaluate_segmentation(scoring(folders, folders / "films", patients=str(index)))


def test_the_command_learns_from_films_and_scores(folders, tmp_path):
    keys = ["segmenter.epochs=1", "segmenter.side=32", "segmenter.encoder=tu-resnet10t", "device=cpu"]
    keys += ["unlabelled.rounds=1", "unlabelled.steps=2", "unlabelled.views=2", "unlabelled.agreement=0.5"]
    keys += [
        "unlabelled.area=[0.01,0.9]",
        "unlabelled.balance=0.1",
        "unlabelled.sureness=2",
        "unlabelled.ema_decay=0.9",
    ]
    options = ["--train", str(folders / "pairs"), "--test", str(folders / "test"), "-o", str(tmp_path / "run")]
    options += ["--unlabelled", str(folders / "films"), "--json"]
    result = CliRunner().invoke(app, ["evaluate", "segmentation", *options, *keys])
    assert result.exit_code == 0, result.output
    told = json.loads(result.stdout)
    assert told["training"]["rounds"][0]["films"] == 5
    assert (tmp_path / "run" / "unlabelled.json").is_file()
    assert any("unlabelled radiographs" in text for text in told["warnings"])  # whose patients nobody knows


def test_folders_are_a_setting_as_others_are(folders):
    keys = ["unlabelled.folders=[nih,hannover]", "unlabelled.rounds=3", "--dry-run"]
    result = CliRunner().invoke(app, ["evaluate", "segmentation", "--train", "a", "--test", "b", *keys])
    assert "folders:\n  - nih\n  - hannover\n  rounds: 3" in result.stdout


def test_the_arm_does_as_many_steps_as_others(folders, tmp_path):
    keys = ["segmenter.side=32", "segmenter.encoder=tu-resnet10t", "segmenter.batch_size=2", "device=cpu"]
    keys += ["unlabelled.rounds=2", "unlabelled.views=2", "unlabelled.agreement=0", "unlabelled.area=[0,1]"]
    options = ["--synthetic", str(folders / "pairs"), "--test", str(folders / "test"), "-o", str(tmp_path / "arms")]
    options += ["--unlabelled", str(folders / "films"), "--arms", "synthetic,self-trained", "--seeds", "1"]
    command = ["evaluate", "arms", *options, "--steps", "8", "--json", *keys, "unlabelled.balance=0"]
    result = CliRunner().invoke(app, command)
    assert result.exit_code == 0, result.output
    told = json.loads(result.stdout)
    assert list(told["differences"]) == ["self-trained minus synthetic"]
    assert told["arms"]["self-trained"]["dice"]["n"] == 2
    runs = {name: tmp_path / "arms" / name / "seed-0" for name in ("synthetic", "self-trained")}
    assert [state(run).step for run in runs.values()] == [8, 8]
    assert "unlabelled.images_sha256" in state(runs["self-trained"]).settings
    assert not any("unlabelled" in key for key in state(runs["synthetic"]).settings)
    rounds = json.loads((runs["self-trained"] / "unlabelled.json").read_text())["rounds"]
    assert [(one["round"], one["step"], one["used"]) for one in rounds] == [(1, 5, 5), (2, 7, 5)]


def test_an_arm_learns_from_no_film_that_is_tested(folders):
    settings = ArmsConfig(
        synthetic=str(folders / "pairs"),
        test=str(folders / "test"),
        arms="self-trained",
        unlabelled=replace(ANY, folders=(str(folders / "test"),)),
    )
    with pytest.raises(DataError, match="2 of the test's files are in the folder of unlabelled radiographs"):
        evaluate_arms(settings)
    apart = replace(settings, unlabelled=replace(ANY, folders=(str(folders / "films"),), rounds=9, steps=200))
    with pytest.raises(UsageError, match="1000 steps hold no 9 rounds of 200 and one on pairs alone"):
        evaluate_arms(apart)


def test_what_does_not_fit_is_refused(folders):
    with pytest.raises(UsageError, match="the masks are of heart; radiographs without masks .* teach lungs alone"):
        train_segmenter(config(folders, mask_name="heart"))
    with pytest.raises(UsageError, match="segmenter.batch_size is 1; with --unlabelled expected 2 or more"):
        train_segmenter(config(folders, settings=replace(QUICK, batch_size=1)))
    with pytest.raises(ConfigError, match="unlabelled.views is 1; expected a number from 2 to 64"):
        UnlabelledSettings(views=1)
    weights = replace(scoring(folders, folders / "films"), train=None, weights="segmenter.safetensors")
    with pytest.raises(UsageError, match="--weights are trained already; --unlabelled needs --train"):
        evaluate_segmentation(weights)
    assert not replace(ANY, rounds=0, folders=("a",)).is_used and not ANY.is_used


def test_no_folder_of_films_is_an_error(folders, tmp_path):
    write_picture(tmp_path / "empty" / "masks" / "a.png", np.zeros((8, 8)))
    for folder, message in ((tmp_path / "absent", "no folder at"), (tmp_path / "empty", "no ")):
        learning = config(folders)
        learning = replace(learning, unlabelled=replace(learning.unlabelled, folders=(str(folder),)))
        with pytest.raises(DataError, match=message):
            train_segmenter(learning)
