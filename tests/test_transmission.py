"""Transmission of a beam of several energies: closed form, variants, gradients, and what is refused."""

import math

import pytest
import torch

from nerp.errors import GeometryError
from nerp.physics.attenuation import mass_attenuation_cm2_per_g
from nerp.physics.beam import Beam, mono, spectrum
from nerp.physics.energy_bins import energy_bins
from nerp.physics.transmission import transmission
from nerp.projection.backends.cpu import library

DOUBLE = torch.float64


def random(*shape: int, seed: int = 0, dtype: torch.dtype = DOUBLE) -> torch.Tensor:
    return torch.rand(*shape, generator=torch.Generator().manual_seed(seed), dtype=DOUBLE).to(dtype)


def by_hand(areal, mu, weights, scales):
    """(B V, R, H, W) in one expression, float64."""
    areal, mu, weights, scales = (part.double() for part in (areal, mu, torch.atleast_2d(weights), scales))
    summed = torch.einsum("bgmhw,vg->bvmhw", areal, scales)
    left = torch.exp(-torch.einsum("bvmhw,me->bvehw", summed, mu))
    return torch.einsum("bvehw,re->bvrhw", left, weights).flatten(0, 1)


def slab(g_per_cm2: float) -> torch.Tensor:
    return torch.full((1, 1, 2, 3), g_per_cm2, dtype=torch.float32)


def test_twenty_centimetres_of_water_at_60_kev():
    bins = energy_bins(mono(60.0), torch.ones(1), ("water",))
    assert transmission(slab(20 * 0.9982), bins.mu, bins.weights).flatten().tolist() == pytest.approx(
        [0.016397] * 6, rel=3e-3
    )


@pytest.mark.parametrize(("by_energy", "expected"), [(False, 0.012838), (True, 0.016507)])
def test_twenty_centimetres_of_water_at_120_kvp(by_energy, expected):
    """By number and by energy, integrated at 1 keV with xraylib's attenuation."""
    beam = spectrum(Beam(kvp=120, aluminium_mm=2.5))
    response = beam.energies_kev if by_energy else torch.ones_like(beam.energies_kev)
    bins = energy_bins(beam, response, ("water",))
    found = transmission(slab(20 * 0.9982), bins.mu, bins.weights / bins.weights.sum())
    assert float(found[0, 0, 0, 0]) == pytest.approx(expected, rel=3e-3)


def test_a_beam_hardens():
    """The second half of a slab attenuates less than the first."""
    beam = spectrum(Beam())
    bins = energy_bins(beam, beam.energies_kev, ("bone",))
    half, whole = (float(transmission(slab(x), bins.mu, bins.weights / bins.weights.sum()).min()) for x in (5.0, 10.0))
    assert whole > 1.3 * half**2


@pytest.mark.skipif(library.missing() is not None, reason=str(library.missing()))
@pytest.mark.parametrize("name", ["baseline", "avx2", "avx512"])
@pytest.mark.parametrize(("views", "variants", "groups", "n_materials", "signals"), [(1, 1, 1, 6, 1), (2, 3, 4, 2, 3)])
@pytest.mark.parametrize("shape", [(37, 19), (1, 1)])
def test_the_kernels_are_the_formula(name, views, variants, groups, n_materials, signals, shape):
    areal = 9 * random(views, groups, n_materials, *shape, dtype=torch.float32)
    mu, weights, scales = random(n_materials, 8, seed=1), random(signals, 8, seed=2), 2 * random(variants, groups)
    before = library.instruction_set()
    try:
        if not library.choose_instruction_set(name):
            pytest.skip(f"this processor has no {name}")
        found = transmission(areal, mu, weights, scales=scales)
    finally:
        library.choose_instruction_set(before)
    assert found.shape == (views * variants, signals, *shape) and found.dtype == torch.float32
    torch.testing.assert_close(found.double(), by_hand(areal, mu, weights, scales), rtol=2e-5, atol=1e-30)


def test_many_materials_and_signals_take_the_plain_way():
    areal, mu, weights = random(1, 1, 40, 3, 4, dtype=torch.float32), random(40, 2), random(6, 2)
    found = transmission(areal, mu, weights)
    torch.testing.assert_close(found.double(), by_hand(areal, mu, weights, torch.ones(1, 1)), rtol=1e-5, atol=0)


def test_groups_in_a_row_or_apart_and_threads_change_nothing():
    areal, mu, weights = random(2, 3, 2, 70, 50, dtype=torch.float32), random(2, 4), random(4)
    before, found = torch.get_num_threads(), []
    try:
        for threads, given in ((1, areal), (2, areal.flatten(1, 2))):
            torch.set_num_threads(threads)
            found.append(transmission(given, mu, weights))
    finally:
        torch.set_num_threads(before)
    assert torch.equal(*found)


def test_nothing_passes_everything_and_everything_nothing():
    mu, weights = random(1, 4) + 0.1, torch.full((4,), 0.25)
    assert transmission(slab(0.0), mu, weights).flatten().tolist() == [1.0] * 6
    assert 0 <= float(transmission(slab(1e6), mu, weights).max()) < 1e-30


def test_scales_are_densities():
    """A variant with a group twice as dense is the image of twice as much of it."""
    areal, mu, weights = random(1, 2, 3, 5, 5, dtype=torch.float32), random(3, 4), random(4)
    doubled = torch.stack([areal[:, 0], 2 * areal[:, 1]], dim=1)
    found = transmission(areal, mu, weights, scales=torch.tensor([[1.0, 1.0], [1.0, 2.0]]))
    torch.testing.assert_close(found[1:], transmission(doubled, mu, weights))
    torch.testing.assert_close(found[:1], transmission(areal, mu, weights))


def test_gradients():
    shapes = ((1, 2, 2, 2, 3), (2, 3), (2, 3), (2, 2))
    inputs = [random(*shape, seed=n).requires_grad_() for n, shape in enumerate(shapes)]
    assert torch.autograd.gradcheck(lambda *given: transmission(*given[:3], scales=given[3]), inputs, fast_mode=True)


def test_gradients_of_single_precision_are_those_of_the_formula():
    leaf = random(1, 2, 4, 4, dtype=torch.float32).requires_grad_()
    transmission(leaf, torch.tensor([[0.5], [0.2]]), torch.ones(1)).sum().backward()
    left = torch.exp(-(0.5 * leaf[:, 0] + 0.2 * leaf[:, 1])).detach()
    torch.testing.assert_close(leaf.grad, torch.stack([-0.5 * left, -0.2 * left], dim=1))


def test_a_mixture_attenuates_as_its_parts():
    energies = torch.tensor([60.0], dtype=DOUBLE)
    mu = torch.stack([mass_attenuation_cm2_per_g(name, energies) for name in ("water", "bone")])
    found = transmission(torch.tensor([10.0, 2.0]).reshape(1, 2, 1, 1), mu, torch.ones(1))
    assert float(found) == pytest.approx(math.exp(-10 * 0.2059 - 2 * 0.3148), rel=5e-3)


@pytest.mark.parametrize(
    ("areal", "weights", "scales", "message"),
    [
        ((1, 3, 2, 2), (4,), None, r"areal densities \(1, 3, 2, 2\), mu \(2, 4\).*expected \(B, groups x materials"),
        ((1, 2, 2, 2), (5,), None, r"weights \(1, 5\); expected"),
        ((2, 2, 2), (4,), None, r"areal densities \(2, 2, 2\)"),
        ((1, 4, 2, 2), (4,), (3, 1), r"scales \(3, 1\) from .*; expected \(variants, 2 groups\), 0 or more"),
    ],
)
def test_shapes_that_do_not_fit_are_refused(areal, weights, scales, message):
    scales = None if scales is None else torch.ones(scales)
    with pytest.raises(GeometryError, match=message):
        transmission(torch.ones(areal), torch.ones(2, 4), torch.ones(weights), scales=scales)


def test_negative_densities_are_refused():
    with pytest.raises(GeometryError, match="scales .* from -1; expected .* 0 or more"):
        transmission(torch.ones(1, 2, 2, 2), torch.ones(2, 4), torch.ones(4), scales=torch.tensor([[-1.0]]))
