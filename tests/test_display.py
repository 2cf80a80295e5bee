"""Display scaling: per image, bounded, differentiable, and silent on flat images."""

import pytest
import torch

from nerp.display import SCALINGS
from nerp.errors import UsageError
from nerp.projection import display_image


@pytest.mark.parametrize("name", list(SCALINGS))
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_images_fill_zero_to_one_whatever_their_range(generator, name, dtype):
    images = torch.rand(3, 1, 20, 30, generator=generator, dtype=dtype) * torch.tensor([1.0, 50, 1e4]).view(3, 1, 1, 1)
    shown = display_image(images - 7, name)
    assert shown.shape == images.shape and shown.dtype == dtype
    assert (shown.amin(dim=(1, 2, 3)) == 0).all()
    assert torch.allclose(shown.amax(dim=(1, 2, 3)), torch.ones(3, dtype=dtype))


@pytest.mark.parametrize("name", list(SCALINGS))
def test_no_image_depends_on_its_batch(generator, name):
    images = torch.rand(4, 1, 8, 8, generator=generator)
    images[2] *= 1000
    alone = torch.cat([display_image(images[k : k + 1], name) for k in range(4)])
    assert torch.equal(display_image(images, name), alone)


@pytest.mark.parametrize("name", list(SCALINGS))
@pytest.mark.parametrize("value", [0.0, 3.0, -2.0])
def test_flat_images_are_zeros_with_finite_gradients(name, value):
    images = torch.full((2, 1, 6, 6), value, requires_grad=True)
    shown = display_image(images, name)
    assert (shown == 0).all()
    assert torch.isfinite(torch.autograd.grad(shown.sum(), images)[0]).all()


def test_minmax_is_the_affine_map_of_the_extremes():
    image = torch.tensor([2.0, 3.0, 4.0, 6.0]).view(1, 1, 2, 2)
    assert display_image(image, "minmax").flatten().tolist() == [0.0, 0.25, 0.5, 1.0]


def test_percentile_is_not_led_by_one_bright_pixel(generator):
    image = torch.rand(1, 1, 64, 64, generator=generator)
    bright = image.clone()
    bright[0, 0, 5, 5] = 100.0
    one, other = display_image(image, "percentile"), display_image(bright, "percentile")
    one[0, 0, 5, 5] = other[0, 0, 5, 5] = 0
    assert (one - other).abs().max() < 0.01
    expected = torch.quantile(image.flatten(), torch.tensor([0.005, 0.995]))
    scaled = ((image - expected[0]) / (expected[1] - expected[0])).clamp(0, 1)
    assert torch.allclose(display_image(image), scaled, atol=1e-6)


@pytest.mark.parametrize("name", list(SCALINGS))
def test_scaling_is_differentiable_limits_included(generator, name):
    image = torch.rand(2, 1, 4, 5, generator=generator, dtype=torch.float64, requires_grad=True)
    weights = torch.rand(2, 1, 4, 5, generator=generator, dtype=torch.float64)
    assert torch.autograd.gradcheck(lambda x: (display_image(x, name) * weights).sum(), image)
    moved = torch.autograd.grad((display_image(image, name) * weights).sum(), image)[0]
    assert moved.sum(dim=(1, 2, 3)).abs().max() < 1e-9


def test_unknown_scaling_is_refused():
    with pytest.raises(UsageError, match="unknown display scaling 'log'; expected one of minmax, percentile"):
        display_image(torch.zeros(1, 1, 2, 2), "log")
