"""Losses against numbers worked by hand, and their gradients."""

import math

import pytest
import torch

from nerp.training.adversarial import losses
from nerp.training.adversarial.discriminator_augmentation import sample_zoom_shift, zoom_shift


def logits(value, n=2):
    return torch.full((n, 1, 4, 4), value), torch.full((n, 1), value)


def test_softplus_at_zero_and_two():
    zero, two = torch.zeros(3), torch.full((3,), 2.0)
    assert losses.softplus_generator(zero).item() == pytest.approx(math.log(2))
    assert losses.softplus_generator(two).item() == pytest.approx(-math.log(1 / (1 + math.exp(-2))))
    expected = -math.log(1 / (1 + math.exp(-2))) - math.log(1 - 0.5)
    assert losses.softplus_discriminator(two, zero).item() == pytest.approx(expected)


def test_log_form_is_the_generators_part_of_the_minimax_game():
    fake = torch.randn(50)
    assert torch.allclose(losses.log_generator(fake), torch.log(1 - torch.sigmoid(fake)).mean(), atol=1e-5)


def test_hinge_stops_beyond_the_margin():
    assert losses.hinge_discriminator(torch.tensor([1.5]), torch.tensor([-2.0])).item() == 0.0
    assert losses.hinge_discriminator(torch.tensor([0.0]), torch.tensor([0.5])).item() == 2.5
    assert losses.hinge_generator(torch.tensor([3.0])).item() == -3.0


@pytest.mark.parametrize("form", ["softplus", "log", "hinge"])
def test_every_form_pulls_the_fakes_up_and_tells_them_apart(form):
    real, fake = (torch.zeros(4, requires_grad=True) for _ in range(2))
    losses.GENERATOR_LOSSES[form](fake).backward()
    assert (fake.grad < 0).all()
    fake.grad = None
    losses.DISCRIMINATOR_LOSSES[form](real, fake).backward()
    assert (real.grad < 0).all()
    assert (fake.grad > 0).all()


def test_heads_weigh_the_same_whatever_their_size():
    per_pixel, whole = logits(0.0)[0], logits(2.0)[1]
    expected = 0.5 * (math.log(2) + math.log(1 + math.exp(-2)))
    assert losses.over_heads(losses.softplus_generator, (per_pixel, whole)).item() == pytest.approx(expected)


def test_l1_and_total_variation_of_a_step():
    assert losses.l1(torch.tensor([1.0, 3.0]), torch.tensor([0.0, 5.0])).item() == 1.5
    opacity = torch.zeros(1, 4, 4, 4)
    opacity[:, 2:] = 0.5
    assert losses.total_variation(opacity).item() == pytest.approx(0.5 * 16 / 64)
    assert torch.equal(losses.total_variation(opacity), losses.total_variation(opacity.transpose(1, 3)))


def test_r1_of_a_linear_discriminator():
    images = torch.rand(3, 1, 4, 4, requires_grad=True)
    slope = torch.arange(16.0, requires_grad=True)
    whole = (images.flatten(1) * slope).sum(dim=1, keepdim=True)
    penalty = losses.r1((torch.zeros(3, 1, 4, 4) * images, whole), images)
    assert penalty.item() == pytest.approx(0.5 * (slope**2).sum().item())
    penalty.backward()
    assert torch.allclose(slope.grad, slope.detach())


@pytest.mark.parametrize(
    "loss",
    [
        losses.softplus_generator,
        losses.log_generator,
        losses.hinge_generator,
        lambda x: losses.softplus_discriminator(x, 2 * x),
        lambda x: losses.hinge_discriminator(x, 2 * x),
        lambda x: losses.l1(x, 0.3 * x**2),
        losses.total_variation,
    ],
)
def test_gradients(loss):
    x = torch.randn(1, 3, 3, 3, dtype=torch.float64, generator=torch.Generator().manual_seed(1), requires_grad=True)
    assert torch.autograd.gradcheck(loss, x)


def test_zoom_shift_leaves_and_moves():
    images = torch.rand(2, 1, 8, 8)
    assert torch.allclose(zoom_shift(images, torch.ones(2), torch.zeros(2, 2)), images, atol=1e-6)
    moved = zoom_shift(images, torch.ones(2), torch.tensor([[0.25, 0.0], [0.0, -0.25]]))
    assert torch.allclose(moved[0, 0, :, 2:], images[0, 0, :, :-2], atol=1e-5)
    assert torch.allclose(moved[1, 0, :-2], images[1, 0, 2:], atol=1e-5)
    edge = torch.zeros(1, 1, 8, 8)
    edge[..., 2:6, 2:6] = 1.0
    assert zoom_shift(edge, torch.tensor([1.5]), torch.zeros(1, 2)).sum() > edge.sum()


def test_zoom_shift_samples_stay_in_their_ranges(generator):
    zoom, shift = sample_zoom_shift(500, 0.2, 0.1, generator)
    assert 0.8 <= zoom.min() < 0.82 < 1.18 < zoom.max() <= 1.2
    assert -0.1 <= shift.min() < -0.09 < 0.09 < shift.max() <= 0.1
    assert shift.shape == (500, 2)
