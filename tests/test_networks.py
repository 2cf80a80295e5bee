"""Mapper, viewer and discriminator."""

from dataclasses import replace

import pytest
import torch

from nerp.camera import chest_camera
from nerp.errors import ConfigError, GeometryError
from nerp.networks import Discriminator, Mapper, Viewer
from nerp.synthesis import load_generator
from nerp.training.config import load_config
from nerp.volume import Fields, Volume

AFFINE = torch.diag(torch.tensor([10.0, 10.0, 10.0, 1.0]))


def windowed_ct(side=16, batch=1, seed=0):
    return torch.rand(batch, 1, side, side, side, generator=torch.Generator().manual_seed(seed))


@pytest.mark.parametrize("arch", ["vnet", "unet"])
def test_untrained_residual_mapper_gives_back_the_ct(arch):
    ct = windowed_ct()
    fields = Mapper(arch, channels=4)(ct, AFFINE)
    assert (fields.matter - ct[:, 0]).abs().max() < 2e-3
    assert (fields.opacity - 0.0143 * ct[:, 0]).abs().max() < 2e-3 * 0.0143
    assert torch.equal(fields.affine, AFFINE.double())


def test_air_stays_almost_clear():
    fields = Mapper("unet", channels=4)(torch.zeros(1, 1, 16, 16, 16), AFFINE)
    assert fields.opacity.max() * 400 < 0.01  # over 400 mm of air


@pytest.mark.parametrize("arch", ["vnet", "unet"])
def test_plain_mapper_is_bounded_and_differentiable(arch):
    ct = windowed_ct().requires_grad_()
    fields = Mapper(arch, channels=4, opacity_max_per_mm=0.5, residual=False)(ct, AFFINE)
    assert 0 <= fields.matter.min() <= fields.matter.max() <= 1
    assert 0 <= fields.opacity.min() <= fields.opacity.max() <= 0.5
    (fields.matter.mean() + fields.opacity.mean()).backward()
    assert ct.grad.abs().sum() > 0


@pytest.mark.parametrize("arch", ["vnet", "unet"])
def test_batch_of_two_is_two_batches_of_one_in_training(arch):
    torch.manual_seed(0)
    mapper, ct = Mapper(arch, channels=4, residual=False), windowed_ct(batch=2)
    both = mapper(ct, AFFINE)
    for index in range(2):
        alone = mapper(ct[index : index + 1], AFFINE)
        assert torch.allclose(both.matter[index], alone.matter[0], atol=1e-5)


@pytest.mark.parametrize("arch", ["vnet", "unet"])
def test_mapper_is_all_parameters_so_that_its_average_is_whole(arch):
    assert list(Mapper(arch).buffers()) == []


def test_vnet_has_no_dropout_and_no_batch_norm():
    mapper = Mapper("vnet")
    unwanted = (torch.nn.modules.batchnorm._BatchNorm, torch.nn.modules.dropout._DropoutNd)
    assert not [module for module in mapper.modules() if isinstance(module, unwanted)]
    ct = windowed_ct()
    assert torch.equal(mapper.train()(ct, AFFINE).matter, mapper.eval()(ct, AFFINE).matter)


@pytest.mark.parametrize(
    ("arch", "shape", "message"),
    [
        (
            "vnet",
            (1, 1, 16, 24, 16),
            r"\(16, 24, 16\) voxels; expected sides that are multiples of 16: pad to \(16, 32, 16\)",
        ),
        ("unet", (1, 1, 16, 16, 18), r"multiples of 4: pad to \(16, 16, 20\)"),
        ("unet", (1, 16, 16, 16), r"shape \(1, 16, 16, 16\); expected \(B, 1, D, H, W\)"),
    ],
)
def test_mapper_refuses_sides_that_do_not_fit(arch, shape, message):
    with pytest.raises(GeometryError, match=message):
        Mapper(arch)(torch.zeros(shape), AFFINE)


def test_unknown_choices_are_refused():
    with pytest.raises(ConfigError, match="mapper arch is 'resnet'; expected one of vnet, unet"):
        Mapper("resnet")
    with pytest.raises(ConfigError, match="viewer opacity is 'alpha'; expected one of extinction, per_sample"):
        Viewer(opacity="alpha")
    with pytest.raises(ConfigError, match="encoder 'vgg', depth 5; expected resnet18 or resnet34, depth 3 to 5"):
        Discriminator("vgg")


def uniform_fields(opacity):
    shape = (1, 16, 16, 16)
    affine = AFFINE.clone()
    affine[:3, 3] = -75.0
    return Fields(torch.ones(shape), torch.full(shape, opacity), affine)


def camera(shape=(8, 8)):
    fields = uniform_fields(0.0)
    return chest_camera(Volume(fields.matter, fields.affine, "1/mm"), shape=shape)


def test_extinction_does_not_notice_the_samples_and_per_sample_does():
    fields, view = uniform_fields(0.004), camera()
    few, many = (Viewer(n)(fields, view) for n in (16, 64))
    assert torch.allclose(few, many, atol=1e-6)
    centre = (0, 0, 4, 4)
    few, many = (Viewer(n, "per_sample")(uniform_fields(0.02), view)[centre] for n in (16, 64))
    assert few == pytest.approx(1 - 0.98**16, abs=1e-5)
    assert many == pytest.approx(1 - 0.98**64, abs=1e-5)


def test_viewer_is_differentiable_in_both_fields():
    base = uniform_fields(0.004)
    matter, opacity = base.matter.requires_grad_(), base.opacity.requires_grad_()
    Viewer(16)(Fields(matter, opacity, base.affine), camera()).mean().backward()
    assert matter.grad.sum() > 0
    assert opacity.grad.abs().sum() > 0


@pytest.mark.parametrize("depth", [3, 4, 5])
def test_discriminator_answers_for_each_pixel_and_the_whole(depth):
    discriminator = Discriminator(depth=depth, channels=4)
    images = torch.rand(3, 1, 64, 32, requires_grad=True)
    per_pixel, whole = discriminator(images)
    assert per_pixel.shape == (3, 1, 64, 32)
    assert whole.shape == (3, 1)
    (per_pixel.mean() + whole.mean()).backward()
    assert images.grad.abs().sum() > 0
    assert all(parameter.grad is not None for parameter in discriminator.parameters())


def test_discriminator_layers_have_spectral_norm_one():
    discriminator = Discriminator(depth=3, channels=4)
    for _ in range(30):
        discriminator(torch.rand(1, 1, 16, 16))
    layers = [m for m in discriminator.modules() if isinstance(m, (torch.nn.Conv2d, torch.nn.Linear))]
    norms = [torch.linalg.matrix_norm(layer.weight.flatten(1), 2).item() for layer in layers]
    assert max(norms) == pytest.approx(1.0, abs=0.05)


def test_discriminator_answers_together_as_apart():
    discriminator = Discriminator(depth=3, channels=4).eval()
    images = torch.rand(2, 1, 16, 16)
    both, alone = discriminator(images), discriminator(images[:1])
    assert torch.allclose(both[0][:1], alone[0], atol=1e-5)
    assert torch.allclose(both[1][:1], alone[1], atol=1e-5)


def test_discriminator_refuses_sides_that_do_not_fit():
    with pytest.raises(GeometryError, match=r"\(1, 1, 40, 64\); expected \(B, 1, H, W\) with sides multiples of 32"):
        Discriminator()(torch.zeros(1, 1, 40, 64))


def test_checkpointing_changes_memory_and_nothing_else():
    torch.manual_seed(0)
    plain = Mapper("vnet", residual=False)
    thrifty = Mapper("vnet", residual=False, checkpointing=True)
    thrifty.load_state_dict(plain.state_dict())
    kept, gradients = [], []
    for mapper in (plain, thrifty):
        sizes = []
        with torch.autograd.graph.saved_tensors_hooks(
            lambda x, sizes=sizes: (sizes.append(x.numel()), x)[1], lambda x: x
        ):
            fields = mapper(windowed_ct(), AFFINE)
        (fields.matter.mean() + fields.opacity.mean()).backward()
        kept.append(sum(sizes))
        gradients.append([parameter.grad for parameter in mapper.parameters()])
    assert all(torch.equal(one, other) for one, other in zip(*gradients, strict=True))
    assert kept[1] < 0.3 * kept[0]
    with torch.no_grad():
        assert torch.equal(plain(windowed_ct(), AFFINE).matter, thrifty(windowed_ct(), AFFINE).matter)


def fine_of(ct, factor):
    """A CT in blocks on a grid so many times finer, in the same place, and its affine."""
    fine = ct
    for dim in (2, 3, 4):
        fine = fine.repeat_interleave(factor, dim)
    affine = AFFINE.double().clone()
    affine[:3, :3] /= factor
    affine[:3, 3] -= affine[:3, :3] @ torch.full((3,), (factor - 1) / 2, dtype=torch.float64)
    return fine, affine


def test_an_untrained_mapper_keeps_the_finer_cts_own_resolution():
    ct = windowed_ct()
    fine, affine = fine_of(ct, 2)
    fine = (fine + 0.1 * torch.rand(fine.shape, generator=torch.Generator().manual_seed(3))).clamp(0.01, 0.99)
    fields = Mapper("unet", channels=4).fine_fields(ct, AFFINE, fine, affine)
    assert (fields.matter - fine[:, 0]).abs().max() < 1e-5 and torch.equal(fields.affine, affine)
    assert (fields.opacity - 0.0143 * fine[:, 0]).abs().max() < 1e-6


def test_on_its_own_grid_fine_fields_are_the_mappers_own():
    mapper, ct = _learned(Mapper("unet", channels=4)), windowed_ct()
    own, same = mapper(ct, AFFINE), mapper.fine_fields(ct, AFFINE, ct, AFFINE.double())
    assert (own.matter - ct[:, 0]).abs().max() > 0.01
    torch.testing.assert_close(same.matter, own.matter, atol=1e-5, rtol=0)
    torch.testing.assert_close(same.opacity, own.opacity, atol=1e-7, rtol=0)


def test_a_learned_change_is_interpolated_where_the_finer_voxels_lie():
    """A change that grows evenly along each axis is met exactly, between the outermost voxels."""

    class Slope(torch.nn.Module):
        def forward(self, ct):
            axes = [torch.arange(n, dtype=torch.float32).view([-1 if a == k else 1 for a in range(3)]) for k, n in AXES]
            return (0.1 * axes[0] - 0.05 * axes[1] + 0.02 * axes[2]).expand(1, 2, *ct.shape[2:])

    ct = windowed_ct()
    AXES = list(enumerate(ct.shape[2:]))
    mapper = Mapper("unet", channels=4)
    mapper.network = Slope()
    fine, affine = fine_of(ct, 3)
    place = (torch.arange(48, dtype=torch.float32) - 1) / 3
    slope = 0.1 * place[:, None, None] - 0.05 * place[:, None] + 0.02 * place
    expected = torch.sigmoid(torch.logit(fine[:, 0].clamp(1e-3, 1 - 1e-3)) + slope)
    inner = (slice(None), *(slice(2, -2),) * 3)
    found = mapper.fine_fields(ct, AFFINE.double(), fine, affine).matter
    torch.testing.assert_close(found[inner], expected[inner], atol=1e-4, rtol=0)


def _learned(mapper):
    """A mapper whose last layer is not 0."""
    torch.manual_seed(1)
    torch.nn.init.normal_(list(mapper.parameters())[-2], std=0.5)
    return mapper


def test_a_plain_mapper_has_no_change_to_put_on_a_finer_grid():
    ct = windowed_ct()
    with pytest.raises(ConfigError, match="viewer.fine_size needs mapper.residual=true"):
        Mapper("unet", residual=False).fine_fields(ct, AFFINE, ct, AFFINE)
    with pytest.raises(ConfigError, match="viewer.fine_size needs mapper.residual=true"):
        load_config(None, ["viewer.fine_size=64", "mapper.residual=false"])
    with pytest.raises(ConfigError, match="viewer.fine_size is 60; expected a multiple of 16"):
        load_config(None, ["viewer.fine_size=60"])


def test_a_run_renders_on_the_finer_grid_where_it_says_so(run):
    """Fields of the finer grid, more samples on each ray, and another hash; without it the hash is as it was."""
    own = load_generator(run)
    fine = replace(own, config=replace(own.config, viewer=replace(own.config.viewer, fine_size=64)))
    ct = Volume(torch.full((1, 20, 24, 24), -500.0), torch.diag(torch.tensor([12.0, 12.0, 12.0, 1.0]).double()), "hu")
    coarse_fields, fine_fields = (one.fields(ct, torch.device("cpu")) for one in (own, fine))
    assert max(fine_fields.matter.shape) == 64 > max(coarse_fields.matter.shape)
    images = [
        one.view(fields, chest_camera(ct, shape=(9, 9)), backend="reference")
        for one, fields in ((own, coarse_fields), (fine, fine_fields))
    ]
    torch.testing.assert_close(*(image[..., 2:7, 2:7] for image in images), atol=0.01, rtol=0.05)
    assert own.config_sha256 != fine.config_sha256
