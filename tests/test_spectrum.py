"""Radial spectra against closed forms."""

import math

import numpy as np
import pytest
import torch

from nerp.evaluation.spectrum import most_different_band, radial_spectra, ring_frequencies, spectral_distance


def noise(count, side=64, *, scale=3.0, seed=0):
    return scale * torch.randn(count, side, side, generator=torch.Generator().manual_seed(seed))


def test_white_noise_has_its_variance_at_every_frequency():
    spectra = radial_spectra(noise(200))
    assert spectra.shape == (200, 31)
    mean_power = 10 * (10 ** (spectra / 10)).mean(0).log10()
    assert torch.allclose(mean_power[1:], torch.full_like(mean_power[1:], 20 * math.log10(3.0)), atol=0.25)
    assert mean_power[0] < mean_power[1]  # the mean that is taken off


def test_a_wave_lies_in_the_ring_of_its_frequency():
    place = torch.arange(64.0)
    wave = 10 * torch.cos(2 * math.pi * (9 * place[:, None] + 12 * place) / 64)
    spectrum = radial_spectra(wave[None])[0]
    assert int(spectrum.argmax()) + 1 == 15
    assert ring_frequencies(64)[14] == 15 / 64
    assert spectrum[14] - spectrum[[5, 25]].max() > 40


def test_brightness_turning_and_mirroring_do_not_count():
    images = noise(3)
    expected = radial_spectra(images)
    for same in (images + 50.0, images.flip(1), images.transpose(1, 2)):
        assert torch.allclose(radial_spectra(same), expected, atol=0.8)
    assert torch.allclose(radial_spectra(images + 50.0), expected, atol=1e-2)
    assert torch.allclose(radial_spectra(2 * images), expected + 20 * math.log10(2), atol=0.01)


def test_blur_lowers_power_by_its_transfer_function():
    """A Gaussian of sigma pixels leaves exp(-(2 pi sigma f)^2) of the power."""
    from scipy.ndimage import gaussian_filter

    images, sigma = noise(60, 128, scale=40.0), 0.8
    blurred = torch.from_numpy(np.stack([gaussian_filter(one, sigma, mode="wrap") for one in images.numpy()]))
    difference = (radial_spectra(blurred) - radial_spectra(images)).mean(0)
    frequencies = ring_frequencies(128)
    expected = -10 / math.log(10) * (2 * math.pi * sigma * frequencies) ** 2
    inner = slice(2, 44)
    assert torch.allclose(difference[inner], expected[inner], atol=0.6)


def test_the_distance_is_the_shift_and_the_band_is_found():
    spectra = radial_spectra(noise(40))
    other = radial_spectra(noise(40, seed=1))
    assert spectral_distance(spectra, spectra + 2.0) == pytest.approx(2.0)
    assert spectral_distance(spectra, other) < 0.5
    other[:, 10:15] += 6.0
    band = most_different_band(other, spectra, ring_frequencies(64))
    assert (band.low, band.high) == (11 / 64, 15 / 64)
    assert band.decibels == pytest.approx(6.0, abs=0.4) and band.effect > 2
    assert most_different_band(spectra, other, ring_frequencies(64)).decibels == pytest.approx(-band.decibels)
