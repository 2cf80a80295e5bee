"""Whether an image shows a signal: against simulated observers, closed forms, and what must not matter."""

import math

import pytest
import torch

from nerp.projection.detectability import KEENEST, LEVELS, VIEWED_MM, detectability, eye_filter

PIXEL_MM = (1.5, 1.5)
SIDE = 96


def disc(diameter_px, side=SIDE):
    axis = torch.arange(side, dtype=torch.float64) - (side - 1) / 2
    return torch.hypot(axis[:, None], axis[None]) <= diameter_px / 2


def grain(sigma, seed=0, coarse_px=0.0, side=SIDE):
    """White noise of a standard deviation, or noise as coarse as a Gaussian."""
    noise = torch.randn(side, side, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)
    if coarse_px:
        f = torch.fft.fftfreq(side, dtype=torch.float64)
        blur = torch.exp(-2 * (math.pi * coarse_px) ** 2 * (f[:, None] ** 2 + f[None] ** 2))
        noise = torch.fft.ifft2(torch.fft.fft2(noise) * blur).real
    return sigma * noise / noise.std()


def seen(signal, background, mask, body=None):
    body = torch.ones_like(mask) if body is None else body
    return detectability(signal, background, mask, body=body, pixel_mm=PIXEL_MM)


def observer(signal, fields):
    """Mean of what a template gives with the signal, by the spread of what it gives on fields without one."""
    eye = eye_filter(signal, PIXEL_MM)
    template = torch.fft.irfft2(torch.fft.rfft2(signal) * eye**2, s=signal.shape)
    given = torch.stack([(template * field).sum() for field in fields])
    return float((template * signal).sum() / given.std())


@pytest.mark.parametrize("coarse_px", [0.0, 1.0, 2.0])
@pytest.mark.parametrize("diameter_px", [5, 14])
def test_ratio_is_that_of_an_observer_of_many_films(coarse_px, diameter_px):
    mask = disc(diameter_px)
    signal = 0.1 * mask.double()
    expected = observer(signal, [grain(0.1, seed, coarse_px) + grain(1 / LEVELS, 5000 + seed) for seed in range(300)])
    found = [seen(signal, grain(0.1, 1000 + seed, coarse_px), mask).visibility for seed in range(6)]
    assert sum(found) / len(found) == pytest.approx(expected, rel=0.15)


def test_a_slab_on_a_blank_film_is_seen_against_a_grey_step():
    """Without texture the only noise is white, of a grey step: a sum over frequencies."""
    mask = disc(11, side=65)
    signal = 0.02 * mask.double()
    found = seen(signal, torch.full((65, 65), 0.5, dtype=torch.float64), mask)
    f = torch.fft.fftfreq(65, PIXEL_MM[0], dtype=torch.float64) * VIEWED_MM * math.tan(math.pi / 180)
    f = torch.hypot(f[:, None], f[None])
    eye = f**1.3 * torch.exp(-1.3 / 2 * (f / 4.0) ** 2)
    power = (torch.fft.fft2(signal).abs() ** 2) / 65**2
    assert found.visibility == pytest.approx(
        float((power * eye**2).sum() / (power * eye**4).sum().sqrt()) * LEVELS, rel=1e-3
    )
    assert found.contrast == pytest.approx(0.02)


def test_visibility_goes_with_contrast_and_against_grain():
    mask, noise = disc(12), grain(0.2)
    one = seen(0.1 * mask.double(), noise, mask)
    assert seen(0.2 * mask.double(), noise, mask).visibility == pytest.approx(2 * one.visibility, rel=0.01)
    assert seen(0.1 * mask.double(), 2 * noise, mask).visibility == pytest.approx(one.visibility / 2, rel=0.01)
    dark = seen(-0.1 * mask.double(), noise, mask)
    assert dark.visibility == pytest.approx(one.visibility) and dark.contrast == pytest.approx(-one.contrast)


def test_visibility_grows_with_size():
    found = [seen(0.1 * disc(d).double(), grain(0.2, side=SIDE), disc(d)).visibility for d in (3, 6, 12, 24)]
    assert found == sorted(found)


def test_slow_shades_do_not_hide():
    mask, noise = disc(12), grain(0.1)
    axis = torch.linspace(-1, 1, SIDE, dtype=torch.float64)
    shade = 0.4 * axis[:, None] - 0.3 * axis[None] ** 2 + 0.2 * axis[:, None] * axis[None]
    signal = 0.1 * mask.double()
    assert seen(signal, noise + shade, mask).visibility == pytest.approx(seen(signal, noise, mask).visibility, rel=1e-4)


def test_ribs_as_wide_as_the_signal_hide_it_more_than_broad_shades():
    mask = disc(10)
    signal, rows = 0.1 * mask.double(), torch.arange(SIDE, dtype=torch.float64)[:, None]
    narrow, broad = (0.1 * torch.sin(2 * math.pi * rows / period) * torch.ones(1, SIDE) for period in (12.0, 60.0))
    found = [seen(signal, grain(0.01) + ribs, mask).visibility for ribs in (narrow, broad, 0.0)]
    assert found[0] < 0.5 * found[1] and found[1] < found[2]


def test_a_blurred_shift_of_the_whole_film_is_no_signal():
    mask, noise = disc(12), grain(0.1)
    signal = 0.1 * mask.double()
    shifted = seen(signal + 0.3, noise, mask)
    assert shifted.visibility == pytest.approx(seen(signal, noise, mask).visibility)
    assert shifted.contrast == pytest.approx(0.1)


def test_open_beam_is_no_texture():
    mask, noise = disc(12), grain(0.1)
    body = torch.ones_like(mask)
    body[:, :30] = False
    signal = 0.1 * mask.double()
    near, far = (seen(signal, torch.where(body, noise, value), mask, body) for value in (0.0, -5.0))
    assert near == far


def test_nothing_is_seen_of_nothing():
    mask, noise = disc(12), grain(0.1)
    assert seen(0.0 * noise, noise, mask).visibility == 0.0
    assert seen(noise, noise, torch.zeros_like(mask)) is None
    assert seen(noise, noise, mask, body=torch.zeros_like(mask)) is None


def test_the_eye_sees_four_cycles_per_degree_best():
    eye = eye_filter(torch.zeros(4096, 8, dtype=torch.float64), (0.05, 0.05))[:, 0]
    degrees = torch.fft.fftfreq(4096, 0.05, dtype=torch.float64) * VIEWED_MM * math.tan(math.pi / 180)
    assert float(degrees[eye.argmax()].abs()) == pytest.approx(KEENEST, rel=0.05) and eye[0] == 0
