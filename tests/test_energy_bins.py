"""Few energies against every keV of a beam."""

import numpy as np
import pytest
import torch

from nerp.errors import UsageError
from nerp.physics.attenuation import mass_attenuation_cm2_per_g
from nerp.physics.beam import Beam, mono, spectrum
from nerp.physics.energy_bins import energy_bins, gauss

MATERIALS = ("soft_tissue", "bone", "adipose", "iodine", "steel", "titanium", "pvc")
BEAMS = [Beam(kvp=kvp) for kvp in (60, 70, 80, 90, 100, 110, 120, 130, 140)]
BEAMS += [Beam(kvp=60, aluminium_mm=4.5, copper_mm=0.3), Beam(kvp=120, aluminium_mm=3.5, copper_mm=0.2)]


def met_in_a_chest() -> dict[str, torch.Tensor]:
    """(C, M) g/cm² of tissue alone, and of tissue with metal or iodine."""
    soft = [0, 0.5, 1, 2, 4, 8, 12, 16, 20, 25, 30, 35, 40, 45, 50, 55, 60]
    tissue = [[a, b, c, 0, 0, 0, 0] for a in soft for b in (0, 0.3, 1, 2, 4, 7, 10) for c in (0, 5)]
    dense = [[a, 0, 0, i, s, t, p] for a in soft[:13] for i, s, t, p in METALS]
    return {"tissue": torch.tensor(tissue, dtype=torch.float64), "metal": torch.tensor(dense, dtype=torch.float64)}


METALS = [(0.1, 0, 0, 0), (0.4, 0, 0, 0), (0, 0.3, 0, 0), (0, 1, 0, 0), (0, 4, 0, 0), (0, 0, 4, 0), (0, 0, 0, 2)]


def csi(energies: torch.Tensor) -> torch.Tensor:
    """Energy that 0.2 g/cm² of CsI absorbs of a photon, keV."""
    return energies * (1 - torch.exp(-0.2 * mass_attenuation_cm2_per_g("csi", energies, "photo")))


@pytest.mark.parametrize("given", BEAMS, ids=lambda beam: f"{beam.kvp}kV-{beam.copper_mm}Cu")
@pytest.mark.parametrize("response", [csi, torch.ones_like], ids=["csi", "counts"])
def test_transmissions_are_those_of_every_kev(given, response):
    beam = spectrum(given)
    signal = response(beam.energies_kev)
    bins = energy_bins(beam, signal, MATERIALS)
    assert len(bins.energies_kev) <= 10 and bool((bins.weights > 0).all())
    exact_mu = torch.stack([mass_attenuation_cm2_per_g(name, beam.energies_kev) for name in MATERIALS])
    for kind, areal in met_in_a_chest().items():
        exact = torch.exp(-areal @ exact_mu) @ (beam.photons * signal)
        found = torch.exp(-areal @ bins.mu) @ bins.weights[0]
        seen = exact > 1e-6 * exact.max()
        error = (found / exact - 1).abs()[seen]
        assert float(error.max()) < {"tissue": 3e-3, "metal": 5e-3}[kind], areal[seen][error.argmax()]


def test_the_open_field_is_exact_and_several_signals_share_the_energies():
    beam = spectrum(Beam())
    signals = torch.stack([csi(beam.energies_kev), beam.energies_kev * csi(beam.energies_kev)])
    bins = energy_bins(beam, signals, ("water",))
    open_field = (signals * beam.photons).sum(dim=1)
    torch.testing.assert_close(bins.weights[0].sum(), open_field[0], rtol=1e-12, atol=0)
    torch.testing.assert_close(bins.weights.sum(dim=1), open_field, rtol=1e-3, atol=0)
    behind = torch.exp(-20 * mass_attenuation_cm2_per_g("water", beam.energies_kev))
    exact = (signals * beam.photons * behind).sum(dim=1)
    torch.testing.assert_close((bins.weights * torch.exp(-20 * bins.mu[0])).sum(dim=1), exact, rtol=1e-3, atol=0)


def test_a_beam_of_one_energy_keeps_it():
    bins = energy_bins(mono(60.0), torch.full((1,), 3.0), ("water", "bone"))
    assert bins.energies_kev.tolist() == pytest.approx([60.0]) and bins.weights.tolist() == [[pytest.approx(3.0)]]
    assert bins.mu[0].item() == pytest.approx(0.2059, rel=2e-3)


def test_quadrature_is_exact_for_polynomials():
    generator = np.random.default_rng(0)
    places, weights = np.sort(generator.uniform(-1, 2, 40)), generator.uniform(0.1, 1, 40)
    nodes, amounts = gauss(places, weights, 5)
    assert (amounts > 0).all() and nodes.min() > places[0] and nodes.max() < places[-1]
    for degree in range(10):
        assert (amounts * nodes**degree).sum() == pytest.approx((weights * places**degree).sum(), rel=1e-9)
    nodes, amounts = gauss(places[:3], weights[:3], 5)
    assert nodes == pytest.approx(places[:3]) and amounts == pytest.approx(weights[:3])


@pytest.mark.parametrize("response", [torch.ones(3), -torch.ones(1), torch.zeros(1)])
def test_a_response_that_does_not_fit_is_refused(response):
    with pytest.raises(UsageError, match="response .*; expected 0 or more at each of the beam's 1 energies"):
        energy_bins(mono(60.0), response, ("water",))
