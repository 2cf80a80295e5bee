"""Films: what the processing keeps, what it shows, and where the letter stands."""

import math

import pytest
import torch

from nerp.errors import ConfigError
from nerp.physics.film import Film, collimator, contrast_by_scale, curve, film
from nerp.physics.marker import drawn

PIXEL = (1.5, 1.5)
NEUTRAL = {"latitude": 1.0, "detail": 1.0, "compression": 1.0}


def chest(seed: int = 0) -> torch.Tensor:
    """(2, 1, 96, 80) signals: dark lungs, vessels in one, a heart, noise, open beam at the border."""
    rows, columns = torch.meshgrid(torch.linspace(-1, 1, 96), torch.linspace(-1, 1, 80), indexing="ij")
    path = 5.0 - 2.5 * ((columns.abs() - 0.45) ** 2 / 0.08 + rows**2 / 0.5 < 1).float()
    path = path + 0.15 * torch.sin(30 * columns + 7 * rows)
    path = torch.where(columns.abs() > 0.93, 0.0, path)
    noise = torch.randn((2, 1, 96, 80), generator=torch.Generator().manual_seed(seed))
    return torch.exp(-path - 0.01 * noise)


def test_a_film_is_grey_dark_where_much_arrives_and_bright_where_little():
    shown = film(chest(), Film(), PIXEL)
    assert shown.shape == (2, 1, 96, 80) and 0 <= float(shown.min()) < float(shown.max()) <= 1
    lung, heart, outside = shown[0, 0, 48, 18], shown[0, 0, 48, 40], shown[0, 0, 48, 0]
    assert float(outside) < 0.02 < float(lung) < float(heart) - 0.3


def test_without_gains_contrast_stays_as_it_is():
    density = -torch.log(chest())
    torch.testing.assert_close(contrast_by_scale(density, Film(**NEUTRAL), PIXEL), density, rtol=1e-5, atol=1e-5)


def test_detail_is_amplified_and_regions_are_flattened():
    rows, columns = torch.meshgrid(torch.arange(128.0), torch.arange(128.0), indexing="ij")
    vessels = 0.02 * torch.sin(columns * 2 * math.pi / 8)
    regions = 2.0 * (rows > 64).float()
    density = (vessels + regions)[None, None].double()
    shown = contrast_by_scale(density, Film(latitude=0.5, detail=3.0, faint=0.5, region_mm=30.0), PIXEL)
    fine = (shown - shown.mean(dim=3, keepdim=True))[0, 0, 20, 40:88].std() / vessels[20, 40:88].std()
    coarse = (shown[0, 0, 100:].mean() - shown[0, 0, :28].mean()) / 2.0
    assert float(fine) == pytest.approx(3.0, rel=0.1)
    assert float(coarse) < 0.75


def test_strong_details_gain_less_than_faint_ones():
    columns = torch.arange(64.0, dtype=torch.float64).repeat(64, 1)[None, None]
    wave = torch.sin(columns * 2 * math.pi / 4)
    settings = Film(faint=0.05, compression=0.5, detail=2.0)
    gains = [contrast_by_scale(size * wave, settings, PIXEL).std() / (size * wave).std() for size in (0.01, 1.0)]
    assert float(gains[0]) == pytest.approx(2.0, rel=0.1)
    assert float(gains[1]) < 0.5 * float(gains[0])


def test_no_image_depends_on_its_batch():
    signal = chest()
    torch.testing.assert_close(film(signal, Film(), PIXEL)[1:], film(signal[1:], Film(), PIXEL), rtol=0, atol=0)


def test_dose_changes_nothing_but_noise():
    """A film is of the signal relative to the open field; a factor shifts the window and is gone."""
    signal = chest()
    settings = Film(open_signal=0.5)
    scaled = film(signal * 0.9, Film(open_signal=0.45), PIXEL)
    torch.testing.assert_close(scaled, film(signal, settings, PIXEL), rtol=0, atol=1e-4)


def test_open_beam_does_not_set_the_window():
    signal = chest()
    wider = torch.nn.functional.pad(signal, (16, 16), value=1.0)
    inside = film(wider, Film(**NEUTRAL), PIXEL)[..., 16:-16]
    torch.testing.assert_close(inside, film(signal, Film(**NEUTRAL), PIXEL), rtol=0, atol=1e-3)


def test_an_image_of_nothing_is_finite():
    for value in (0.0, 1.0, 0.3):
        assert bool(torch.isfinite(film(torch.full((1, 1, 20, 20), value), Film(), PIXEL)).all())


def test_the_curve_rises_from_black_to_white():
    grey = torch.linspace(-0.2, 1.2, 141)[None, None, None]
    for settings in (Film(), Film(gamma=2.0, sigmoid=1.0)):
        shown = curve(grey, settings)
        assert float(shown[..., 0]) < 1e-2 and float(shown[..., -1]) == pytest.approx(1.0, abs=1e-6)
        assert bool((shown.diff() >= -1e-7).all())


def test_levels_are_where_the_window_ends():
    settings = Film(**NEUTRAL, gamma=1.0, sigmoid=0.0, window=(0.1, 0.9), levels=(0.2, 0.7))
    shown = film(chest()[:1, :, :, 10:70], settings, PIXEL).flatten().sort().values
    found = [float(shown[int(q * (len(shown) - 1))]) for q in (0.1, 0.9)]
    assert found == pytest.approx([0.2, 0.7], abs=0.01)


def test_the_collimator_darkens_the_border_alone():
    blades = collimator((20, 30), 4.5, PIXEL)
    assert float(blades[10, 15]) == 1 and float(blades[0, 15]) == 0 and float(blades[10, 2]) == 0
    assert float(blades.sum()) == pytest.approx((20 - 6) * (30 - 6), abs=1e-9)
    dark = film(chest(), Film(border_mm=9.0), PIXEL)
    assert float(dark[:, :, :5].max()) == 0.0


@pytest.mark.parametrize(("letter", "column"), [("R", 0), ("L", 1)])
def test_the_letter_stands_at_its_side(letter, column):
    covered = drawn(letter, (200, 220), PIXEL)[0, 0]
    rows, columns = torch.nonzero(covered > 0.5, as_tuple=True)
    assert (float(columns.double().mean()) > 110) == bool(column)
    assert float(rows.min()) > 5 and float(rows.max()) * PIXEL[0] < 30
    shown = film(chest(), Film(marker=letter), PIXEL)
    unmarked = film(chest(), Film(), PIXEL)
    at = drawn(letter, (96, 80), PIXEL)[0, 0] == 1
    assert float(shown[0, 0][at].min()) == 1.0
    away = drawn(letter, (96, 80), PIXEL)[0, 0] == 0
    torch.testing.assert_close(shown[0, 0][away], unmarked[0, 0][away])


def test_films_are_differentiable():
    density = -torch.log(chest()[:1, :, :12, :14].double()).requires_grad_()
    assert torch.autograd.gradcheck(lambda d: film(torch.exp(-d), Film(faint=0.02), PIXEL), (density,))


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"window": (0.9, 0.1)}, "film.window is .*; expected the lower bound first"),
        ({"marker": "X"}, "film.marker is 'X'; expected one of none, R, L"),
        ({"latitude": 0}, "film.latitude is 0"),
    ],
)
def test_films_that_cannot_be(values, message):
    with pytest.raises(ConfigError, match=message):
        Film(**values)
