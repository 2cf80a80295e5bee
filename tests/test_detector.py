"""The panel: noise by the model, blur by its transfer, and the published figures of one."""

import math

import numpy as np
import pytest
import torch

from nerp.errors import ConfigError
from nerp.physics.beam import Beam, spectrum
from nerp.physics.detector import (
    Detector,
    blurred,
    exposed,
    noise_transfer,
    photons_per_mm2,
    quantum_noise,
    readout_noise,
    saturated,
    with_bad_pixels,
)
from nerp.physics.dose import air_kerma_ugy

PIXEL = (0.5, 0.5)
SHAPE = (1, 1, 400, 400)
SILENT = {"readout_photons": 0.0, "line_photons": 0.0}


def generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def flat(detector: Detector, pixel_mm: tuple[float, float] = PIXEL) -> tuple[torch.Tensor, torch.Tensor, float]:
    """Mean and variance of each pixel's signal, keV, and the mean signal of a photon, behind 20 cm of water."""
    beam = spectrum(Beam())
    reaching = photons_per_mm2(beam, detector, entrance_mm=1500.0, detector_mm=1800.0) * math.prod(pixel_mm)
    behind = reaching * (beam.filtered("water", 200.0).photons / beam.photons)
    mean = float((behind * detector.response_kev(beam.energies_kev)).sum())
    square = float((behind * detector.square_kev2(beam.energies_kev)).sum())
    return torch.full(SHAPE, mean), torch.full(SHAPE, square), mean / float(behind.sum())


@pytest.mark.parametrize("dose_mgy", [0.015, 0.15, 1.5])
def test_noise_has_the_model_s_variance(dose_mgy):
    detector = Detector(dose_mgy=dose_mgy, line_photons=0.0)
    mean, square, per_photon = flat(detector)
    read = exposed(mean, square, detector, pixel_mm=PIXEL, per_photon=per_photon, generator=generator())
    panel_pixels = math.prod(PIXEL) / detector.panel_pixel_mm**2
    electronic = panel_pixels * (detector.readout_photons * per_photon) ** 2
    expected = float(square[0, 0, 0, 0]) * noise_transfer(detector, SHAPE[2:], PIXEL) + electronic
    assert float(read.double().var()) == pytest.approx(expected, rel=0.02)
    assert float(read.double().mean()) == pytest.approx(float(mean[0, 0, 0, 0]), rel=1e-3)


@pytest.mark.parametrize("photons", [0.5, 20.0, 99.0, 101.0, 1e4])
def test_few_and_many_photons_have_mean_and_variance(photons):
    mean, square = torch.full(SHAPE, 50.0 * photons), torch.full(SHAPE, 2500.0 * photons)
    noise = quantum_noise(mean, square, generator(1)).double()
    assert float(noise.var()) == pytest.approx(2500 * photons, rel=0.02)
    assert abs(float(noise.mean())) < 4 * 50 * math.sqrt(photons / noise.numel())
    assert float((mean + noise).min()) >= (0.0 if photons < 100 else -math.inf)


def test_where_nothing_arrives_nothing_fluctuates():
    assert float(quantum_noise(torch.zeros(SHAPE), torch.zeros(SHAPE), generator()).abs().max()) < 1e-15


def test_rows_share_the_lines_noise():
    detector = Detector(readout_photons=0.0, line_photons=2.0)
    noise = readout_noise(torch.zeros(SHAPE), detector, (0.148, 0.148), per_photon=50.0, generator=generator())
    assert float(noise.std(dim=3).max()) < 1e-3
    assert float(noise[..., 0].std()) == pytest.approx(100.0, rel=0.1)


def edge_transfer(image: np.ndarray, angle_rad: float, pixel_mm: float) -> tuple[np.ndarray, np.ndarray]:
    """Modulation transfer of a slanted edge, ISO 12233: bin by distance, differentiate, transform."""
    rows, columns = np.indices(image.shape)
    centre = (np.array(image.shape) - 1) / 2
    distance = ((columns - centre[1]) * math.cos(angle_rad) + (rows - centre[0]) * math.sin(angle_rad)) * pixel_mm
    step, reach = pixel_mm / 4, 6.0
    place = np.floor((distance + reach) / step).astype(int)
    inside = (place >= 0) & (place < int(2 * reach / step))
    spread = np.bincount(place[inside], image[inside]) / np.bincount(place[inside])
    line = np.diff(spread)
    return np.fft.rfftfreq(line.size, step), np.abs(np.fft.rfft(line)) / abs(line.sum())


def test_a_slanted_edge_tells_the_transfer():
    detector, pixel_mm, angle = Detector(), 0.05, math.radians(3.0)
    rows, columns = np.indices((400, 400)) - 199.5
    edge = (columns * math.cos(angle) + rows * math.sin(angle) > 0).astype(np.float64)
    image = blurred(torch.from_numpy(edge)[None, None], detector, (pixel_mm, pixel_mm))[0, 0].numpy()
    frequency, transfer = edge_transfer(image, angle, pixel_mm)
    for at in (0.5, 1.0, 1.29, 2.0):
        found = float(np.interp(at, frequency, transfer))
        assert found == pytest.approx(float(detector.mtf(torch.tensor(at))), rel=0.03), at
    assert float(detector.mtf(torch.tensor(1.29))) == 0.5


def test_blur_keeps_an_even_field_and_commutes_with_scale():
    detector, image = Detector(), torch.rand((2, 1, 20, 30), generator=generator(), dtype=torch.float64)
    torch.testing.assert_close(blurred(torch.full((1, 1, 9, 9), 7.0), detector, PIXEL), torch.full((1, 1, 9, 9), 7.0))
    torch.testing.assert_close(blurred(3 * image, detector, PIXEL), 3 * blurred(image, detector, PIXEL))
    torch.testing.assert_close(blurred(image, detector, PIXEL)[1:], blurred(image[1:], detector, PIXEL))


def test_the_default_panel_is_like_one_that_was_measured():
    """70 kV and 1 mm of copper, 2.57 µGy: noise power 1.42e-5 mm², DQE .60, both at .5/mm (Marshall et al. 2011)."""
    detector, beam = Detector(**SILENT), spectrum(Beam(kvp=70, aluminium_mm=2.85, copper_mm=1.0))
    fluence = beam.photons * 2.57 / air_kerma_ugy(beam)
    signal = float((fluence * detector.response_kev(beam.energies_kev)).sum())
    square = float((fluence * detector.square_kev2(beam.energies_kev)).sum())
    transfer = float(detector.mtf(torch.tensor(0.5, dtype=torch.float64))) ** 2
    nnps = square / signal**2 * transfer
    dqe = transfer / (nnps * float(fluence.sum()))
    assert nnps == pytest.approx(1.42e-5, rel=0.1)
    assert dqe == pytest.approx(0.60, rel=0.1)


def test_dose_sets_the_photons():
    beam, detector = spectrum(Beam()), Detector(dose_mgy=0.1)
    at_entrance = photons_per_mm2(beam, detector, entrance_mm=1500.0, detector_mm=1500.0)
    behind = photons_per_mm2(beam, detector, entrance_mm=1500.0, detector_mm=3000.0)
    kerma = air_kerma_ugy(type(beam)(beam.energies_kev, at_entrance))
    assert kerma == pytest.approx(100.0, rel=1e-12)
    torch.testing.assert_close(behind, at_entrance / 4)


def test_thicker_and_denser_scintillators_take_up_more():
    at = torch.tensor([30.0, 60.0, 100.0], dtype=torch.float64)
    thin, usual = Detector(csi_um=150), Detector()
    assert bool((thin.absorbed_fraction(at) < usual.absorbed_fraction(at)).all())
    assert bool((Detector(packing=0.5).absorbed_fraction(at) < usual.absorbed_fraction(at)).all())
    expected = 1 - math.exp(-4.51 * 0.75 * 0.055 * 7.921)
    assert float(usual.absorbed_fraction(at)[1]) == pytest.approx(expected, rel=3e-3)
    assert float(usual.square_kev2(at)[1]) == pytest.approx(3600 * expected / 0.8, rel=3e-3)


def test_without_a_generator_nothing_is_drawn():
    mean, square, per_photon = flat(Detector())
    read = exposed(mean, square, Detector(), pixel_mm=PIXEL, per_photon=per_photon, generator=None)
    torch.testing.assert_close(read, mean)


def test_noise_is_differentiable_in_what_arrives():
    detector = Detector(mtf_half_per_mm=2.0)
    mean = torch.full((1, 1, 4, 5), 1e4, dtype=torch.float64) + torch.arange(20.0, dtype=torch.float64).view(1, 1, 4, 5)

    def read(mean, square):
        return exposed(mean, square, detector, pixel_mm=(0.3, 0.3), per_photon=40.0, generator=generator(3))

    assert torch.autograd.gradcheck(read, (mean.requires_grad_(), (40 * mean.detach()).requires_grad_()))


def test_limits_of_the_panel():
    ramp = torch.linspace(0, 10, 101)[None, None, None]
    assert float(saturated(ramp, 6.0).max()) == 6.0
    bad = with_bad_pixels(torch.ones((1, 1, 300, 300)), 0.02, 9.0, generator())
    assert float((bad == 0).double().mean()) == pytest.approx(0.01, rel=0.2)
    assert float((bad == 9).double().mean()) == pytest.approx(0.01, rel=0.2)
    assert Detector(saturation_ugy=5.0, bad_pixels=0.01).saturation_ugy == 5.0


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"dose_mgy": 0}, "detector.dose_mgy is 0; expected a number from 0.0001 to 100"),
        ({"swank": 1.5}, "detector.swank is 1.5; expected a number from 0.1 to 1"),
        ({"panel_pixel_mm": 0}, "detector.panel_pixel_mm is 0"),
    ],
)
def test_panels_that_cannot_be(values, message):
    with pytest.raises(ConfigError, match=message):
        Detector(**values)
