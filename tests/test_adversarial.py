"""Adversarial training, step by step: its terms, its cameras, what it learns and what it shows."""

import math
from pathlib import Path

import numpy as np
import pytest
import torch
from tiny_run import networks_of, sources_of, tiny

from nerp.errors import TrainingError
from nerp.training.adversarial import AdversarialTrainer
from nerp.training.adversarial import rendering as rendering_module
from nerp.training.adversarial import showing as showing_module
from nerp.training.adversarial.parts import Recipe
from nerp.training.optimisation import OptimisationStep, rate_factor
from nerp.training.phantom_radiographs import FORMER_NOTE, NOTE, is_phantom, make_radiographs, phantom_radiograph
from nerp.training.run_log import GAP, HEADING, MARGIN, TILE, write_picture
from nerp.training.settings import OptimizerSettings


def make_trainer(config):
    from lightning_fabric import Fabric

    fabric = Fabric(accelerator="cpu", devices=1, precision=config.precision)
    recipe = Recipe(config.loss, config.optimizer, config.trainer, config.discriminator)
    return AdversarialTrainer(networks_of(config), sources_of(config), recipe=recipe, seed=config.seed, fabric=fabric)


def test_gradient_that_is_not_finite_leaves_the_weights():
    from lightning_fabric import Fabric

    module = torch.nn.Linear(2, 1)
    before = module.weight.detach().clone()
    optimisation = OptimisationStep(
        "linear", module, settings=OptimizerSettings(), fabric=Fabric(accelerator="cpu", devices=1)
    )
    term = (optimisation.module(torch.zeros(1, 2)) * 0.0).square().sum().sqrt()
    with pytest.raises(TrainingError, match="step 9: 'gradient_linear' is nan"):
        optimisation.update(9, {"root": (1.0, term)}, rate=0.1)
    assert torch.equal(module.weight, before)


@pytest.mark.parametrize(
    ("overrides", "terms"),
    [
        (["loss.form=hinge", "loss.tv=1", "loss.matter_l1=1"], {"tv", "matter_l1", "l1", "adversarial"}),
        (["loss.form=log", "loss.r1=1", "loss.r1_every=2"], {"r1"}),
        (["trainer.volumes_per_step=3", "optimizer.schedule=cosine", "optimizer.warmup_steps=4"], {"l1"}),
        (["optimizer.schedule=cosine", "optimizer.period_steps=2"], {"l1"}),
        (["viewer.opacity=per_sample", "mapper.opacity_max_per_mm=0.02", "mapper.residual=false"], {"l1"}),
        (["precision=bf16-mixed", "loss.r1=1", "loss.r1_every=1"], {"r1"}),
        (["precision=bf16-mixed", "camera.view=oblique", "camera.angle_deg=45"], {"adversarial"}),
        (["camera.view=ap", "camera.source_detector_mm=[900,1100]", "loss.adversarial=0"], {"l1"}),
        (["data.spacing_mm=16", "backend=reference"], {"l1"}),
        (["discriminator.encoder=resnet34"], {"adversarial"}),
        (["mapper.arch=vnet", "mapper.checkpointing=true"], {"l1"}),
    ],
)
def test_options_take_part_in_a_step(tmp_path, training_data, overrides, terms):
    trainer = make_trainer(tiny(tmp_path, *training_data, *overrides))
    found = [trainer.step(step) for step in (1, 2)]
    assert terms <= found[1].keys()
    assert all(math.isfinite(value) for row in found for value in row.values())
    assert ("adversarial" in found[1]) == ("loss.adversarial=0" not in overrides)


def test_only_some_of_the_cts_are_taken(tmp_path, training_data):
    assert len(sources_of(tiny(tmp_path, *training_data)).volumes) == 2
    assert len(sources_of(tiny(tmp_path, *training_data, "data.ct_pattern=phantom_0001*")).volumes) == 1


def test_what_the_discriminator_sees_moves_as_much_as_allowed(tmp_path, training_data, monkeypatch):
    seen = []
    monkeypatch.setattr(showing_module, "zoom_shift", lambda images, *move: seen.append(move) or images)
    for override in ("discriminator.zoom=0", "discriminator.shift=0"):
        make_trainer(tiny(tmp_path, *training_data, override)).step(1)
    zooms, shifts = (torch.cat(moves) for moves in zip(*seen, strict=True))
    still, moved = slice(0, len(zooms) // 2), slice(len(zooms) // 2, None)
    assert (zooms[still] == 1).all() and (zooms[moved] != 1).all() and ((zooms - 1).abs() <= 0.1).all()
    assert (shifts[moved] == 0).all() and (shifts[still] != 0).all() and (shifts.abs() <= 0.05).all()


def moments(trainer, network):
    """All first moments of a network's AdamW, in one vector."""
    found = trainer.state().items()
    mine = [tensor for name, tensor in found if name.startswith(f"{network}_") and name.endswith("/exp_avg")]
    return torch.cat([tensor.flatten() for tensor in mine])


def test_gradients_are_shortened_and_averaged_as_told(tmp_path, training_data):
    overrides = ["optimizer.betas=[0.25,0.9]", "optimizer.max_grad_norm=0.001"]
    trainer = make_trainer(tiny(tmp_path, *training_data, *overrides))
    metrics = trainer.step(1)
    for network in ("mapper", "discriminator"):
        assert metrics[f"gradient_{network}"] > 0.001
        assert moments(trainer, network).norm() == pytest.approx(0.75 * 0.001, rel=1e-3)


def test_rates_and_decay_are_those_told(tmp_path, training_data):
    overrides = ["optimizer.lr=1e-3", "optimizer.discriminator_lr=1e-2"]
    plain = make_trainer(tiny(tmp_path, *training_data, *overrides))
    decayed = make_trainer(tiny(tmp_path, *training_data, *overrides, "optimizer.weight_decay=0.5"))
    before = [parameter.detach().clone() for parameter in plain.networks.discriminator.parameters()]
    metrics = [trainer.step(1) for trainer in (plain, decayed)]
    assert {(row["lr_mapper"], row["lr_discriminator"]) for row in metrics} == {(1e-3, 1e-2)}
    pairs = zip(plain.networks.discriminator.parameters(), decayed.networks.discriminator.parameters(), strict=True)
    for start, (one, other) in zip(before, pairs, strict=True):
        assert torch.allclose(one - other, 0.5 * 1e-2 * start, atol=1e-6)


def test_one_generator_forward_serves_both_updates(tmp_path, training_data, monkeypatch):
    trainer = make_trainer(tiny(tmp_path, *training_data))
    calls = []
    original = trainer.networks.mapper.field_values
    monkeypatch.setattr(trainer.networks.mapper, "field_values", lambda ct: calls.append(1) or original(ct))
    trainer.step(1)
    assert len(calls) == 1


def test_vrr_and_drr_come_from_one_ct_and_one_camera(tmp_path, training_data, monkeypatch):
    seen = {"march": [], "siddon": []}
    trainer = make_trainer(tiny(tmp_path, *training_data, "trainer.volumes_per_step=2"))
    march, siddon = trainer.networks.viewer.forward, rendering_module.siddon
    monkeypatch.setattr(trainer.networks.viewer, "forward", lambda f, c: seen["march"].append((f, c)) or march(f, c))
    monkeypatch.setattr(
        rendering_module, "siddon", lambda v, c, backend: seen["siddon"].append((v, c)) or siddon(v, c, backend=backend)
    )
    trainer.step(1)
    cameras = [camera for _, camera in seen["march"]]
    assert [len(camera) for camera in cameras] == [2, 2]
    for (fields, marched), (volume, traced) in zip(*seen.values(), strict=True):
        assert torch.equal(marched.source, traced.source)
        assert torch.equal(marched.detector_centre, traced.detector_centre)
        assert (fields.matter[0] - volume.values[0] / (2.5 * 0.0192)).abs().max() < 2e-3  # untrained: the windowed CT
        assert not torch.equal(marched.source[0], marched.source[1])
    assert not torch.equal(seen["siddon"][0][0].values, seen["siddon"][1][0].values)


def test_plain_mapper_learns_the_drr(tmp_path, training_data):
    overrides = ["mapper.residual=false", "loss.adversarial=0", "optimizer.lr=1e-2"]
    trainer = make_trainer(tiny(tmp_path, *training_data, *overrides))
    losses_seen = [trainer.step(step)["l1"] for step in range(1, 31)]
    assert sum(losses_seen[-5:]) < 0.6 * sum(losses_seen[:5])


def test_pictures_show_the_same_views_every_time(tmp_path, training_data):
    trainer = make_trainer(tiny(tmp_path, *training_data))
    first, again = trainer.picture(), trainer.picture()
    assert list(first) == ["VRR", "DRR", "phantom"]
    assert all(images.shape == (2, 1, 16, 16) for images in first.values())
    assert all(torch.equal(first[name], again[name]) for name in first)


def test_picture_is_large_enough_to_read(tmp_path):
    from PIL import Image

    image = torch.zeros(1, 1, 8, 16)
    image[..., 8:] = 1.0
    write_picture(tmp_path / "a.png", {"VRR": image.repeat(3, 1, 1, 1), "real": 1 - image.repeat(3, 1, 1, 1)})
    with Image.open(tmp_path / "a.png") as picture:
        shown = torch.from_numpy(np.array(picture))
    tile = shown[HEADING : HEADING + TILE, MARGIN : MARGIN + 2 * TILE]
    assert (tile[:, : TILE - 24] < 5).all() and (tile[:, TILE + 24 :] > 250).all()
    assert shown.shape == (HEADING + 2 * (TILE + GAP), MARGIN + 3 * (2 * TILE + GAP))
    assert (shown[:HEADING, MARGIN:].amax() > 200) and (shown[HEADING:, :MARGIN].amax() > 200)  # names and numbers
    write_picture(tmp_path / "b.png", {"VRR": torch.rand(1, 1, 256, 256)})
    with Image.open(tmp_path / "b.png") as picture:
        assert picture.size == (MARGIN + 256 + GAP, HEADING + 256 + GAP)


def test_pictures_name_real_radiographs_so(tmp_path, training_data):
    ct, radiographs = training_data
    overrides = [ct, f"{radiographs}/images", "trainer.sample_columns=1"]
    rows = make_trainer(tiny(tmp_path, *overrides)).picture()
    assert rows["real"].shape == (1, 1, 16, 16)


def test_averaging_starts_quickly_and_ends_slowly(tmp_path, training_data):
    trainer = make_trainer(tiny(tmp_path, *training_data))
    trainer.step(1)
    new, kept = (next(net.parameters()) for net in (trainer.networks.mapper, trainer.averaged))
    start = next(networks_of(tiny(tmp_path)).mapper.parameters())
    assert torch.allclose(kept, torch.lerp(start, new, 0.9), atol=1e-6)


def test_rates_rise_and_swing():
    settings = OptimizerSettings(warmup_steps=10)
    assert [rate_factor(step, settings) for step in (1, 5, 10, 99)] == [0.1, 0.5, 1.0, 1.0]
    settings = OptimizerSettings(schedule="cosine", period_steps=20)
    assert [rate_factor(step, settings) for step in (1, 6, 11, 21)] == pytest.approx([1.0, 0.5, 0.0, 1.0])


def test_phantom_radiographs_are_named_so_and_are_not_drrs(training_data):
    folder = Path(training_data[1].split("=")[1])
    assert "NOT radiographs of people" in (folder / "PHANTOM.txt").read_text()
    assert is_phantom(folder) and not is_phantom(folder / "images")
    assert len(list((folder / "images").glob("*.png"))) == len(list((folder / "masks").glob("*.png"))) == 3
    image, mask = phantom_radiograph(0, 10.0, shape=(32, 32))
    again, mask_again = phantom_radiograph(0, 10.0, shape=(32, 32))
    assert torch.equal(image, again)
    assert torch.equal(mask, mask_again)
    assert image[mask > 0].mean() < image[mask == 0].mean()  # lungs are dark
    assert 0.1 < mask.mean() < 0.6
    assert 0 <= image.min() < 0.05 < 0.95 < image.max() <= 1


def test_phantom_radiographs_of_the_version_before_are_completed_under_their_names(tmp_path):
    (tmp_path / FORMER_NOTE).write_text("of the version before")
    calls = []
    make_radiographs(
        tmp_path, count=2, seed=7, spacing_mm=10.0, shape=(16, 16), progress=lambda *done: calls.append(done)
    )
    assert sorted(path.name for path in (tmp_path / "images").iterdir()) == ["stand-in-0007.png", "stand-in-0008.png"]
    assert is_phantom(tmp_path) and not (tmp_path / NOTE).exists()
    assert calls == [(1, 2), (2, 2)]


def test_grids_are_cached_on_disk_and_volumes_in_memory(tmp_path, training_data):
    config = tiny(tmp_path, *training_data, f"data.cache_dir={tmp_path}/grids", "data.cached_volumes=1")
    volumes = sources_of(config).volumes
    first = volumes[0]
    assert volumes[0] is first
    again = sources_of(config).volumes[0]
    assert torch.equal(again.windowed_ct, first.windowed_ct)
    assert len(list((tmp_path / "grids").glob("*.safetensors"))) == 1
    assert volumes[1] is not first
    assert volumes[0] is not first  # only one is kept
