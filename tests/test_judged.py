"""What judges are shown: patches, augmentation, what lies on films; and what the L1 term ties the images to."""

import math
from dataclasses import replace

import pytest
import torch
from test_adversarial import make_trainer, moments
from tiny_run import tiny

from nerp.camera import ViewSettings, chest_camera
from nerp.display import display_image, display_limits
from nerp.networks.settings import DiscriminatorSettings
from nerp.phantom import thorax
from nerp.physics.objects import landmarks
from nerp.projection import siddon
from nerp.training.adversarial.differentiable_augmentation import STRENGTHS, Looks, changed, sample_looks
from nerp.training.adversarial.drawing import Draws
from nerp.training.adversarial.overlays import Overlay, draw_overlay, joined
from nerp.training.adversarial.patches import Windows, cut, patch_side, sample_windows
from nerp.training.adversarial.showing import draw_showings
from nerp.training.adversarial.targets import PhysicalImages
from nerp.training.adversarial.training_volumes import TrainingVolumes
from nerp.volume import attenuation

SHOWN = DiscriminatorSettings()


def seeded(seed=0):
    return torch.Generator().manual_seed(seed)


def test_a_patch_is_the_part_of_the_image_that_its_window_says():
    ramp = torch.arange(32.0).expand(1, 1, 32, 32)
    corners = Windows(torch.full((2,), 0.5), torch.tensor([[0.0, 0.0], [1.0, 1.0]]))
    first, last = cut(ramp, corners, 16)
    assert torch.allclose(first[0], ramp[0, 0, :16, :16], atol=1e-4)
    assert torch.allclose(last[0], ramp[0, 0, 16:, 16:], atol=1e-4)
    wide = torch.arange(64.0).expand(1, 1, 32, 64)  # pixels stay square: half of the shorter side
    assert torch.allclose(cut(wide, corners, 16)[1, 0, 0], torch.arange(48.0, 64.0), atol=1e-4)


def test_patches_of_one_image_are_contiguous_and_pass_gradients():
    images = torch.stack([torch.full((1, 24, 24), value) for value in (0.25, 0.75)]).double().requires_grad_()
    windows = sample_windows(6, (0.25, 0.5), seeded())
    assert (windows.extents >= 0.25).all() and (windows.extents <= 0.5).all()
    values = cut(images, windows, 8).mean(dim=(1, 2, 3))
    assert torch.allclose(values, torch.tensor([0.25] * 3 + [0.75] * 3).double())
    small = torch.rand(1, 1, 6, 6, dtype=torch.float64, generator=seeded(), requires_grad=True)
    window = Windows(torch.tensor([0.5]), torch.tensor([[0.3, 0.8]]))
    assert torch.autograd.gradcheck(lambda x: cut(x, window, 3), small)


def test_a_patch_loses_nothing_of_the_largest_window():
    assert patch_side((128, 128), (0.25, 0.5), 32) == 64
    assert patch_side((96, 128), (0.25, 0.4), 32) == 64 >= 0.4 * 96
    assert patch_side((16, 16), (0.25, 0.5), 8) == 8


def looks(n=1, **changed_ones):
    still = Looks(torch.zeros(n), torch.ones(n), torch.zeros(n, 2), torch.full((n, 2), 9.0), 0.0)
    return replace(still, **changed_ones)


def test_looks_do_what_they_say():
    images = torch.rand(1, 1, 8, 8, generator=seeded())
    assert torch.allclose(changed(images, looks()), images, atol=1e-6)
    assert torch.allclose(changed(images, looks(brightness=torch.tensor([0.1]))), images + 0.1, atol=1e-6)
    doubled = changed(images, looks(contrast=torch.tensor([2.0])))
    assert doubled.std() == pytest.approx(2 * images.std().item(), rel=1e-4)
    assert doubled.mean() == pytest.approx(images.mean().item(), rel=1e-4)
    moved = changed(images, looks(shifts=torch.tensor([[0.25, -0.125]])))[0, 0]
    assert torch.allclose(moved[2:, :7], images[0, 0, :6, 1:], atol=1e-6)
    assert not moved[:2].any() and not moved[:, 7].any()
    blank = changed(torch.ones(1, 1, 8, 8), looks(holes=torch.full((1, 2), 0.5), cutout=0.5))
    assert blank[0, 0, 2:6, 2:6].sum() == 0 and blank.sum() == 48


def test_looks_are_differentiable_in_the_images():
    drawn = sample_looks(2, STRENGTHS["strong"], seeded())
    images = torch.rand(2, 1, 5, 5, dtype=torch.float64, generator=seeded(), requires_grad=True)
    assert torch.autograd.gradcheck(lambda x: changed(x, drawn), images)


@pytest.mark.parametrize("name", ["light", "strong"])
def test_looks_keep_their_ranges(name):
    strength, drawn = STRENGTHS[name], sample_looks(400, STRENGTHS[name], seeded())
    for values, most in ((drawn.brightness, strength.brightness), (drawn.contrast - 1, strength.contrast)):
        assert 0.9 * most < values.abs().max() <= most
    assert 0.9 * strength.translation < drawn.shifts.abs().max() <= strength.translation
    assert drawn.cutout == strength.cutout and 0 <= drawn.holes.min() < drawn.holes.max() <= 1


def test_real_and_rendered_are_shown_by_the_same_law():
    settings = DiscriminatorSettings(patches=64, augment="light")
    real, fake = draw_showings(settings, 6, Draws(3), 5)
    assert not torch.equal(real.windows.extents, fake.windows.extents)
    for read in (lambda one: one.windows.extents, lambda one: one.windows.places, lambda one: one.patch_looks.contrast):
        assert torch.allclose(read(real).mean(dim=0), read(fake).mean(dim=0), atol=0.1)
        assert torch.allclose(read(real).std(dim=0), read(fake).std(dim=0), atol=0.05)
    again = draw_showings(settings, 6, Draws(3), 5)[1]
    assert torch.equal(again.windows.places, fake.windows.places)


def test_processes_share_what_one_would_draw():
    settings = DiscriminatorSettings(patches=3, augment="light")
    whole = draw_showings(settings, 4, Draws(1), 2)
    parts = [draw_showings(settings, 2, Draws(1, rank, 2), 2) for rank in range(2)]
    for side in range(2):
        for read in (lambda one: one.zooms, lambda one: one.windows.places, lambda one: one.patch_looks.brightness):
            assert torch.equal(torch.cat([read(part[side]) for part in parts]), read(whole[side]))
    chosen = [Draws(1, rank, 2).chosen(3, 10, Draws(1).stream(1, "x")) for rank in range(2)]
    assert chosen[0] + chosen[1] == Draws(1).chosen(6, 10, Draws(1).stream(1, "x"))
    assert [Draws(1, 1, 2).place(index, 3) for index in range(3)] == [3, 4, 5]


@pytest.fixture(scope="module")
def chest():
    """A phantom, its camera, and its DRR's limits."""
    ct = thorax(1, spacing_mm=6.0).ct
    camera = chest_camera(ct, "pa", shape=(64, 64))
    integrals = siddon(attenuation(ct), camera)
    low, high = display_limits(integrals)
    return ct, camera, integrals, float(high - low)


def test_overlay_of_nothing_leaves_images_alone(chest):
    _, camera, integrals, span = chest
    images = display_image(integrals)
    assert torch.equal(draw_overlay(SHOWN, camera, None, span=span, generator=seeded()).on(images), images)


@pytest.mark.parametrize("scene", ["standing", "bedside"])
def test_objects_brighten_what_is_behind_them_and_nothing_else(chest, scene):
    ct, camera, integrals, span = chest
    shown = DiscriminatorSettings(objects=scene, objects_fraction=1.0)
    overlay = draw_overlay(shown, camera, landmarks(ct), span=span, generator=seeded(4))
    images = display_image(integrals)
    laid = overlay.on(images)
    assert (laid >= images - 1e-6).all() and laid.max() <= 1
    touched = overlay.kept < 1
    assert 0 < touched.float().mean() < 0.5
    assert torch.equal(laid[~touched], images[~touched])
    never = draw_overlay(replace(shown, objects_fraction=0.0), camera, landmarks(ct), span=span, generator=seeded(4))
    assert torch.equal(never.on(images), images)


def test_a_faint_object_adds_what_it_adds_to_the_drr():
    faint = 1e-3  # of an attenuation that spans one display range, over black
    assert 1 - math.exp(-faint) == pytest.approx(faint, rel=1e-3)
    overlay = Overlay(torch.full((1, 1, 1, 1), math.exp(-faint)), torch.full((1, 1, 1, 1), 1 - math.exp(-faint)))
    assert overlay.on(torch.zeros(1, 1, 1, 1)).item() == pytest.approx(faint, rel=1e-3)


def test_letters_lie_at_the_side_that_they_name_and_borders_at_the_edges(chest):
    _, camera, _, span = chest
    images = torch.full((1, 1, 64, 64), 0.5)
    sides = set()
    for seed in range(6):
        letter = draw_overlay(replace(SHOWN, markers=1.0), camera, None, span=span, generator=seeded(seed)).on(images)
        changed_columns = torch.nonzero((letter != 0.5).any(dim=2)[0, 0])[:, 0]
        sides.add("right" if changed_columns.max() < 32 else "left")
        assert changed_columns.max() < 32 or changed_columns.min() >= 32
        assert letter.max() > 0.55  # its stroke is thinner than a pixel here
    assert sides == {"right", "left"}
    border = draw_overlay(replace(SHOWN, borders=1.0), camera, None, span=span, generator=seeded(1)).on(images)
    assert border.min() == 0 and (border[..., 16:48, 16:48] == 0.5).all()


def test_gradients_pass_between_what_is_laid_on():
    kept = torch.tensor([[[[1.0, 0.5, 0.0]]]])
    overlay = joined([Overlay(kept, 1 - kept)] * 2)
    images = torch.zeros(2, 1, 1, 3, requires_grad=True)
    overlay.on(images).sum().backward()
    assert torch.equal(images.grad, kept.expand(2, -1, -1, -1))


ON = [
    *("discriminator.patches=2", "discriminator.patch_extent=[0.3,0.6]", "discriminator.augment=light"),
    *("discriminator.objects=bedside", "discriminator.objects_fraction=0.5", "discriminator.markers=0.5"),
    *("discriminator.borders=0.5", "loss.l1_target=physics", "loss.whole=0.5", "loss.patches=2"),
]


def test_all_parts_take_part_in_a_step(tmp_path, training_data):
    trainer = make_trainer(tiny(tmp_path, *training_data, *ON, "loss.r1=1", "loss.r1_every=1"))
    found = trainer.step(1)
    told = {"adversarial", "patch_adversarial", "patch_discriminator", "patch_r1", "patch_logit_real", "l1"}
    assert told <= found.keys()
    assert all(math.isfinite(value) for value in found.values())
    assert any(name.startswith("patch_discriminator/") for name in trainer.state())
    assert list(trainer.picture()) == ["VRR", "DRR", "physics", "phantom"]


def test_a_judge_of_no_weight_does_not_learn(tmp_path, training_data):
    trainer = make_trainer(tiny(tmp_path, *training_data, *ON, "loss.whole=0"))
    before = [parameter.detach().clone() for parameter in trainer.networks.discriminator.parameters()]
    found = trainer.step(1)
    assert "adversarial" not in found and "discriminator" not in found and "patch_adversarial" in found
    after = trainer.networks.discriminator.parameters()
    assert all(torch.equal(*pair) for pair in zip(before, after, strict=True))


def test_weights_of_the_judges_scale_what_the_mapper_hears(tmp_path, training_data):
    """With patches alone, AdamW's first moment is the gradient, which grows with the weight."""
    plain = ["discriminator.patches=2", "loss.whole=0", "loss.l1=0"]
    norms = []
    for weight in (1.0, 3.0):
        trainer = make_trainer(tiny(tmp_path, *training_data, *plain, f"loss.patches={weight}"))
        trainer.step(1)
        norms.append(moments(trainer, "mapper").norm())
    assert norms[1] == pytest.approx(3 * norms[0].item(), rel=1e-3)


def test_the_physical_target_is_of_the_same_camera_and_no_drr(chest):
    ct, _, _, _ = chest

    class One:
        def __len__(self):
            return 1

        def __getitem__(self, index):
            return ct

    volume = TrainingVolumes(One(), ViewSettings(), shape=(64, 64), window_hu=(-1000.0, 1500.0), n_kept=1)[0]
    drr = display_image(siddon(volume.attenuation, volume.camera))
    image = PhysicalImages(volume, torch.device("cpu"), "auto")(volume.camera.repeat(2))
    assert image.shape == (2, 1, 64, 64) and torch.equal(image[0], image[1])
    assert image.min() >= 0 and image.max() <= 1
    correlation = torch.corrcoef(torch.stack([drr.flatten(), image[0].flatten()]))[0, 1]
    assert 0.85 < correlation < 0.999
    mirrored = torch.corrcoef(torch.stack([drr.flip(-1).flatten(), image[0].flatten()]))[0, 1]
    assert correlation > mirrored
