"""Spectra against published beams, and what is refused."""

import pytest
import torch

from nerp.errors import ConfigError, UsageError
from nerp.physics import beam as module
from nerp.physics.beam import Beam, mono, spectrum

RQR = {
    50: (2.58, 32.3),
    60: (2.74, 36.3),
    70: (2.85, 40.0),
    80: (2.97, 43.8),
    90: (3.10, 47.3),
    100: (3.23, 50.5),
    120: (3.53, 56.3),
    150: (4.06, 64.1),
}
"""kVp: total filtration in mm of aluminium, mean energy in keV, of IEC 61267's qualities as SpekPy reaches them."""


@pytest.mark.parametrize("kvp", RQR)
def test_mean_energies_are_those_of_standard_beams(kvp):
    aluminium_mm, mean_kev = RQR[kvp]
    assert spectrum(Beam(kvp=kvp, aluminium_mm=aluminium_mm)).mean_kev == pytest.approx(mean_kev, rel=5e-3)


def test_water_passes_of_a_chest_beam_what_it_should():
    """Fractions by number and by energy behind 20 cm, integrated at 1 keV with xraylib's attenuation."""
    before = spectrum(Beam(kvp=120, aluminium_mm=2.5))
    behind = before.filtered("water", 200.0)
    number = behind.photons.sum() / before.photons.sum()
    energy = (behind.photons * behind.energies_kev).sum() / (before.photons * before.energies_kev).sum()
    assert float(number) == pytest.approx(0.012838, rel=3e-3)
    assert float(energy) == pytest.approx(0.016507, rel=3e-3)


def test_filters_harden_the_beam():
    means = [spectrum(Beam(copper_mm=copper)).mean_kev for copper in (0.0, 0.1, 0.2, 0.3)]
    assert means == sorted(means) and means[-1] > means[0] + 8
    assert spectrum(Beam(aluminium_mm=4.5)).mean_kev > spectrum(Beam(aluminium_mm=2.5)).mean_kev


def test_no_photon_has_more_than_the_peak_voltage():
    for kvp in (40.0, 95.0, 150.0):
        found = spectrum(Beam(kvp=kvp))
        assert kvp - 1.5 < float(found.energies_kev.max()) < kvp
        assert bool((found.photons >= 0).all())


def test_the_table_is_what_spekpy_computes():
    pytest.importorskip("spekpy")
    for kvp in (70, 120):
        energies, photons = module.compute_unfiltered(kvp)
        column = list(module._table()[0]).index(kvp)
        table = module._table()[2][: len(energies), column]
        assert table == pytest.approx(photons, rel=1e-3, abs=photons.max() * 1e-4)


def test_between_the_tables_voltages_spekpy_is_asked(monkeypatch):
    monkeypatch.setitem(__import__("sys").modules, "spekpy", None)
    with pytest.raises(UsageError, match=r"beam.kvp is 73; expected one of 40, 45, .*pip install 'nerp\[spectra\]'"):
        spectrum(Beam(kvp=73))


def test_a_beam_of_one_energy():
    assert mono(60.0).filtered("water", 0.0).mean_kev == 60.0
    assert mono(60.0).photons.dtype == torch.float64


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"kvp": 30}, "beam.kvp is 30; expected a number from 40 to 150"),
        ({"aluminium_mm": 0}, "beam.aluminium_mm is 0; expected a number from 1 to 40"),
        ({"copper_mm": -0.1}, "beam.copper_mm is -0.1; expected a number from 0 to 2"),
    ],
)
def test_beams_that_no_chest_is_taken_with(values, message):
    with pytest.raises(ConfigError, match=message):
        Beam(**values)


def test_a_filter_cannot_be_negative():
    with pytest.raises(UsageError, match="filter of copper is -1 mm thick; expected 0 or more"):
        mono(60.0).filtered("copper", -1)
