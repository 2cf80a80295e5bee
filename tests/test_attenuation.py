"""Attenuation against published numbers, and the compositions themselves."""

import math

import pytest
import torch

from nerp.errors import UsageError
from nerp.physics.attenuation import COMPOSITIONS, linear_attenuation_per_cm, mass_attenuation_cm2_per_g

ENERGIES = (30.0, 40.0, 50.0, 60.0, 80.0, 100.0, 120.0)
PUBLISHED = {
    "water": (0.3756, 0.2683, 0.2269, 0.2059, 0.1837, 0.1707, 0.1614),
    "soft_tissue": (0.3790, 0.2688, 0.2264, 0.2048, 0.1823, 0.1693, 0.1599),
    "lung": (0.3815, 0.2699, 0.2270, 0.2053, 0.1826, 0.1695, 0.1601),
    "bone": (1.3311, 0.6655, 0.4242, 0.3148, 0.2229, 0.1855, 0.1656),
    "adipose": (0.3064, 0.2396, 0.2123, 0.1974, 0.1800, 0.1688, 0.1602),
    "csi": (9.047, 22.97, 12.87, 7.921, 3.677, 2.035, 1.269),
}
"""cm²/g, of xraylib 4 with ICRU Report 44's compositions: another compilation than ours."""


def energies(*values: float) -> torch.Tensor:
    return torch.tensor(values, dtype=torch.float64)


@pytest.mark.parametrize("material", PUBLISHED)
def test_mass_attenuation_is_the_published_one(material):
    found = mass_attenuation_cm2_per_g(material, energies(*ENERGIES))
    torch.testing.assert_close(found, energies(*PUBLISHED[material]), rtol=3e-3, atol=0)


def test_the_parts_sum_to_the_total():
    at = energies(20.0, 60.0, 120.0)
    parts = [mass_attenuation_cm2_per_g("bone", at, kind) for kind in ("photo", "coherent", "incoherent")]
    torch.testing.assert_close(sum(parts), mass_attenuation_cm2_per_g("bone", at), rtol=1e-3, atol=0)


def test_twenty_centimetres_of_water_pass_what_they_should():
    passed = math.exp(-20 * float(linear_attenuation_per_cm("water", energies(60.0))))
    assert passed == pytest.approx(0.016397, rel=3e-3)


@pytest.mark.parametrize("material", COMPOSITIONS)
def test_every_composition_is_whole(material):
    found = COMPOSITIONS[material]
    assert sum(found.fractions.values()) == pytest.approx(1, abs=1.5e-3)
    assert 0 < found.density_g_per_cm3 < 20


def test_what_has_no_data_is_refused():
    with pytest.raises(UsageError, match="unknown material 'cheese'; expected one of adipose, air"):
        mass_attenuation_cm2_per_g("cheese", energies(60.0))
    with pytest.raises(UsageError, match="unknown kind of attenuation 'pair'"):
        mass_attenuation_cm2_per_g("water", energies(60.0), "pair")
    with pytest.raises(UsageError, match="asked for at 0.1 to 60 keV; expected 1 to 500 keV"):
        mass_attenuation_cm2_per_g("water", energies(60.0, 0.1))
