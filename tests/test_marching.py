"""The quantities of marching: worked rows, closed forms, and a march made of them."""

import doctest
import math

import pytest
import torch

from nerp.errors import GeometryError, UsageError
from nerp.projection import composite, emission_weights, marching, transmittance
from nerp.projection.backends import reference
from nerp.projection.rays import Rays

READINGS = pytest.mark.parametrize("opacity_is", marching.OPACITIES)


@pytest.mark.parametrize("name", ["transmittance", "emission_weights", "composite"])
def test_the_docstring_s_worked_row_holds(name):
    (row,) = doctest.DocTestFinder(recurse=False).find(getattr(marching, name), name, globs=vars(marching))
    found = doctest.DocTestRunner().run(row)
    assert found.attempted >= 3
    assert found.failed == 0


def samples(generator):
    """Matter, opacity and steps of (2, 3) rays with 7 samples, of which one ray misses."""
    matter, opacity = torch.rand(2, 2, 3, 7, generator=generator, dtype=torch.float64)
    step_mm = 0.1 + torch.rand(2, 3, generator=generator, dtype=torch.float64)
    step_mm[1, 2] = 0
    return matter, opacity, step_mm


def alpha(opacity: float, step_mm: float, opacity_is: str) -> float:
    if opacity_is == "per_sample":
        return opacity if step_mm > 0 else 0.0
    return 1 - math.exp(-opacity * step_mm)


@READINGS
def test_quantities_are_those_of_a_walk_from_the_source(generator, opacity_is):
    matter, opacity, step_mm = samples(generator)
    passed = transmittance(opacity, step_mm, opacity_is=opacity_is)
    weights = emission_weights(opacity, step_mm, opacity_is=opacity_is)
    image = composite(matter, opacity, step_mm, opacity_is=opacity_is)
    for ray in [(i, j) for i in range(2) for j in range(3)]:
        light, left = 0.0, 1.0
        for i in range(7):
            assert passed[ray][i].item() == pytest.approx(left)
            absorbed = left * alpha(opacity[ray][i].item(), step_mm[ray].item(), opacity_is)
            assert weights[ray][i].item() == pytest.approx(absorbed)
            light += absorbed * matter[ray][i].item()
            left -= absorbed
        assert image[ray].item() == pytest.approx(light)


@READINGS
def test_a_ray_that_misses_is_clear_and_dark(generator, opacity_is):
    matter, opacity, step_mm = samples(generator)
    assert (transmittance(opacity, step_mm, opacity_is=opacity_is)[1, 2] == 1).all()
    assert composite(matter, opacity, step_mm, opacity_is=opacity_is)[1, 2] == 0


def test_weights_sum_to_what_the_ray_absorbs(generator):
    _, opacity, step_mm = samples(generator)
    absorbed = 1 - torch.exp(-opacity.sum(dim=-1) * step_mm)
    torch.testing.assert_close(emission_weights(opacity, step_mm).sum(dim=-1), absorbed)


def test_thin_samples_keep_their_digits():
    thin = torch.full((4,), 1e-9, dtype=torch.float32)
    torch.testing.assert_close(emission_weights(thin, torch.tensor(1.0, dtype=torch.float32)), thin, atol=0, rtol=1e-6)


def test_an_extinction_does_not_notice_the_number_of_samples(generator):
    matter, opacity, step_mm = samples(generator)
    halved = [part.repeat_interleave(2, dim=-1) for part in (matter, opacity)]
    torch.testing.assert_close(composite(*halved, step_mm / 2), composite(matter, opacity, step_mm))


@READINGS
def test_gradients_are_those_of_finite_differences(generator, opacity_is):
    matter, opacity, step_mm = (part[:1].requires_grad_() for part in samples(generator))
    fixed = step_mm.detach()
    if opacity_is == "per_mm":
        assert torch.autograd.gradcheck(composite, (matter, opacity, step_mm))
        assert torch.autograd.gradcheck(transmittance, (opacity, step_mm))
    else:
        assert torch.autograd.gradcheck(lambda *a: composite(*a, fixed, opacity_is=opacity_is), (matter, opacity))
        assert torch.autograd.gradcheck(lambda a: transmittance(a, fixed, opacity_is=opacity_is), (opacity,))


@READINGS
def test_the_plain_march_is_the_composite_of_its_samples(opacity_is):
    """In uniform fields every sample is known."""
    rays = Rays(
        torch.zeros(1, 2, 3, dtype=torch.float32),
        torch.full((1, 2, 3), 0.1, dtype=torch.float32),
        torch.tensor([[20.0, 0.0]], dtype=torch.float32),
    )
    matter, opacity = (
        torch.full((1, 4, 4, 4), 0.75, dtype=torch.float32),
        torch.full((1, 4, 4, 4), 0.03125, dtype=torch.float32),
    )
    marched = reference.march(matter, opacity, rays, n_samples=9, per_sample=opacity_is == "per_sample")
    known = torch.full((1, 2, 9), 0.75, dtype=torch.float32), torch.full((1, 2, 9), 0.03125, dtype=torch.float32)
    expected = composite(*known, rays.lengths_mm / 9, opacity_is=opacity_is)
    torch.testing.assert_close(marched, expected, atol=1e-7, rtol=1e-6)


def test_what_does_not_fit_is_refused():
    opacity = torch.zeros(2, 5, dtype=torch.float32)
    with pytest.raises(GeometryError, match=r"opacity has shape \(2, 5\), step_mm \(3,\); .* one step for each ray"):
        transmittance(opacity, torch.zeros(3, dtype=torch.float32))
    with pytest.raises(GeometryError, match=r"matter has shape \(2, 4\), opacity \(2, 5\); .* at the same points"):
        composite(torch.zeros(2, 4, dtype=torch.float32), opacity, torch.zeros(2, dtype=torch.float32))
    with pytest.raises(UsageError, match="unknown opacity_is 'alpha'; expected one of per_mm, per_sample"):
        emission_weights(opacity, torch.zeros(2, dtype=torch.float32), opacity_is="alpha")
