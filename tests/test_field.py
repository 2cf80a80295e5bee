"""The open field: closed forms, and SpekPy off the axis."""

import math

import pytest
import torch

from nerp.camera import Camera
from nerp.physics.beam import Beam
from nerp.physics.field import heel_factor, open_field


def camera(shape=(3, 5), pixel_mm=100.0) -> Camera:
    vectors = ((0.0, -1800.0, 0.0), (0.0, 0.0, 0.0), (-1.0, 0.0, 0.0), (0.0, 0.0, -1.0))
    return Camera(
        *(torch.tensor([v], dtype=torch.float64) for v in vectors), shape=shape, pixel_mm=(pixel_mm, pixel_mm)
    )


def test_distance_and_slant_take_the_third_power_of_the_cosine():
    found = open_field(camera(), Beam())
    assert found.shape == (1, 1, 3, 5)
    assert float(found[0, 0, 1, 2]) == 1.0
    assert float(found[0, 0, 0, 4]) == pytest.approx((1800 / math.sqrt(1800**2 + 200**2 + 100**2)) ** 3, rel=1e-12)


def test_without_either_the_field_is_even():
    assert bool((open_field(camera(), Beam(), inverse_square=False) == 1).all())


def test_the_heel_darkens_the_side_of_the_head():
    found = open_field(camera(pixel_mm=200.0), Beam(), heel=True, inverse_square=False)[0, 0, :, 2]
    assert float(found[0]) < 1 < float(found[2])
    assert float(found[1]) == pytest.approx(1, abs=1e-12)


@pytest.mark.parametrize("kvp", [60, 90, 120])
def test_the_heel_is_that_of_spekpy(kvp):
    spekpy = pytest.importorskip("spekpy")

    def fluence(x_cm: float) -> float:
        energies, photons = (
            spekpy.Spek(kvp=kvp, th=12, dk=1.0, z=180, x=x_cm).filter("Al", 3.0).get_spectrum(edges=False)
        )
        return float((energies * photons).sum())

    for degrees in (-6, -3, 3, 6):
        x_cm = 180 * math.tan(math.radians(degrees))
        expected = fluence(x_cm) / fluence(0.0) * (180**2 + x_cm**2) / 180**2
        found = heel_factor(torch.tensor(-math.radians(degrees), dtype=torch.float64), Beam(kvp=kvp, aluminium_mm=3.0))
        assert float(found) == pytest.approx(expected, abs=0.04)


def test_gradients_reach_the_camera():
    view = camera(shape=(2, 2))

    def field(source):
        moved = Camera(
            source, view.detector_centre, view.image_right, view.image_down, shape=(2, 2), pixel_mm=(50.0, 50.0)
        )
        return open_field(moved, Beam(), heel=True)

    source = (view.source + torch.tensor([30.0, 0.0, 50.0], dtype=torch.float64)).requires_grad_()
    assert torch.autograd.gradcheck(field, (source,))


def test_a_grazing_ray_is_bounded():
    found = heel_factor(torch.tensor([0.3, 1.5], dtype=torch.float64), Beam())
    assert bool(((found >= 0) & (found < 1)).all()) and bool(torch.isfinite(found).all())
