"""Air kerma and half-value layers against NIST's and IEC's numbers."""

import pytest
import torch

from nerp.errors import UsageError
from nerp.physics.beam import Beam, mono, spectrum
from nerp.physics.dose import air_kerma_ugy, energy_transfer_cm2_per_g, half_value_layer_mm, recoil_fraction

NIST_AIR = {10: 4.742, 20: 0.5389, 30: 0.1537, 40: 0.06833, 60: 0.03041, 80: 0.02407, 100: 0.02325, 150: 0.02496}
"""mu_en/rho of dry air, cm²/g, by keV: Hubbell & Seltzer 1995."""

RQR = {
    40: (2.63, 1.4, 17.5),
    50: (2.58, 1.8, 32.2),
    60: (2.74, 2.2, 44.5),
    70: (2.85, 2.6, 57.4),
    80: (2.97, 3.0, 70.9),
    90: (3.10, 3.5, 84.8),
    100: (3.23, 4.0, 99.0),
    120: (3.53, 5.0, 128.2),
    150: (4.06, 6.6, 173.1),
}
"""kVp: total filtration, mm Al; half-value layer of IEC 61267's RQR 2 to 10, mm Al; µGy/mAs at 1 m by SpekPy."""


def test_energy_taken_up_by_air():
    found = energy_transfer_cm2_per_g("air", torch.tensor(list(NIST_AIR), dtype=torch.float64))
    torch.testing.assert_close(found, torch.tensor(list(NIST_AIR.values()), dtype=torch.float64), rtol=0.014, atol=0)


@pytest.mark.parametrize("kvp", RQR)
def test_standard_beams(kvp):
    aluminium_mm, layer_mm, kerma = RQR[kvp]
    beam = spectrum(Beam(kvp=kvp, aluminium_mm=aluminium_mm))
    assert half_value_layer_mm(beam) == pytest.approx(layer_mm, rel=0.02)
    assert air_kerma_ugy(beam) == pytest.approx(kerma, rel=0.01)


def test_a_recoil_takes_little_of_a_soft_photon_and_more_of_a_hard_one():
    """Klein and Nishina's mean recoil: E / m_e for soft photons; .138 at 100 keV (Evans 1955)."""
    found = recoil_fraction(torch.tensor([0.1, 100.0], dtype=torch.float64))
    assert float(found[0]) == pytest.approx(0.1 / 511, rel=2e-3)
    assert float(found[1]) == pytest.approx(0.138, rel=5e-3)


def test_a_layer_of_one_energy_halves_by_the_logarithm():
    beam = mono(60.0)
    halved = beam.filtered("copper", half_value_layer_mm(beam, "copper"))
    assert float(halved.photons) == pytest.approx(0.5, rel=1e-9)


def test_air_halves_no_beam():
    with pytest.raises(UsageError, match="1000 mm of air do not halve the beam; expected a denser layer"):
        half_value_layer_mm(mono(60.0), "air")
