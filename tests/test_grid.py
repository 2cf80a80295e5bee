"""Anti-scatter grids: closed forms, explicit strips, and an independent code's figures."""

import math

import pytest
import torch

from benchmark.slab import Slab, measure
from nerp.errors import ConfigError, UsageError
from nerp.physics.beam import mono
from nerp.physics.grid import Grid, Passage, _through, grid_of, passage, transmission
from nerp.physics.grid_light import glow_share, kept_shares
from nerp.physics.scatter import Arrangement, Effort, Matter, transport
from nerp.projection.backends.cpu import library

DOUBLE = {"dtype": torch.float64, "device": "cpu"}
compiled = pytest.mark.skipif(library.missing() is not None, reason=str(library.missing()))

BEHIND = {"12:1-al": (0.690, 0.094), "10:1-al": (0.711, 0.124), "12:1-fibre": (0.777, 0.108)}
"""Primary and scatter through explicit strips: PENELOPE 2018 through pyPenred 1.15.2, 20 cm of water, 120 kVp with
3.5 mm Al, field of 30 cm, gap of 4 cm."""


def one(value):
    return torch.tensor([value], **DOUBLE)


@compiled
@pytest.mark.parametrize("spec", BEHIND)
def test_primary_and_scatter_through_it_are_those_of_an_independent_code(spec):
    common = {"exact": False, "photons": 60_000, "seed": 0, "threads": None, "json": True}
    slab = Slab(200.0, 300.0, 40.0, None, 120.0, 3.5, 0.0, spec, **common)
    found = measure(slab)["grid"]
    assert (found["tp"], found["ts"]) == pytest.approx(BEHIND[spec], abs=0.02)


def test_along_the_strips_lead_stops_its_share():
    grid, kev = Grid(lead_um=50.0, lines_per_cm=40.0), one(60.0)
    how = passage(grid, kev)
    expected = 0.8 * math.exp(-float(how.interspace) * grid.height_mm)
    assert float(transmission(grid, one(0.0), one(1.0), kev)) == pytest.approx(expected, rel=1e-3)


@pytest.mark.parametrize("slope", [0.02, 0.08, 0.3, 1.7])
def test_the_mean_over_places_of_entry_is_that_of_many_places(slope):
    grid = Grid(ratio=8.0)
    how = Passage(one(0.9), one(0.05), one(0.0))
    obliquity = math.hypot(1, slope)
    n, m = 400, 4000
    entry = (torch.arange(n, **DOUBLE) + 0.5) / n * grid.pitch_mm
    along = (torch.arange(m, **DOUBLE) + 0.5) / m * grid.height_mm
    in_lead = ((entry[:, None] + slope * along) % grid.pitch_mm < grid.lead_um / 1000).double().mean(1)
    length = grid.height_mm * obliquity
    brute = torch.exp(-length * (0.9 * in_lead + 0.05 * (1 - in_lead))).mean()
    found = _through(grid, how, one(slope), one(obliquity), one(grid.height_mm))
    assert float(found) == pytest.approx(float(brute), rel=5e-3)


def test_it_stops_more_the_farther_a_photon_is_off_its_strips():
    slopes = torch.linspace(0, 1, 30, **DOUBLE)
    through = transmission(Grid(), slopes, torch.hypot(slopes, torch.ones_like(slopes)), torch.tensor([40.0], **DOUBLE))
    assert bool((through.diff(dim=0) < 0).all())
    assert bool((through >= 0).all() and (through <= 1).all())


def test_transmission_is_differentiable():
    slope = torch.tensor([0.03, 0.2], **DOUBLE, requires_grad=True)
    obliquity = torch.tensor([1.1, 1.3], **DOUBLE, requires_grad=True)
    kev = torch.tensor([50.0, 100.0], **DOUBLE)
    assert torch.autograd.gradcheck(lambda s, o: transmission(Grid(ratio=6.0), s, o, kev), (slope, obliquity))


def test_a_higher_grid_keeps_less_of_what_is_scattered_in_it():
    kev = torch.tensor([30.0, 60.0, 100.0], **DOUBLE)
    for low, high in zip(kept_shares("aluminium", kev, 4), kept_shares("aluminium", kev, 16), strict=True):
        assert bool((high < low).all() and (high > 0).all() and (low < 1).all())
    assert glow_share(torch.tensor([60.0, 88.0], **DOUBLE)).tolist() == [0, 0]
    assert 0.5 < float(glow_share(one(90.0))) < 0.8


@compiled
@pytest.mark.parametrize("focus_mm", [None, 800.0])
def test_the_compiled_grid_is_this_one(focus_mm):
    """Primary of a point source through nothing but a grid; focused at the source, it passes everywhere alike."""
    eye = torch.eye(3, **DOUBLE)
    place = Arrangement(800 * eye[2], 0 * eye[2], eye[0], eye[1], (100.0, 600.0), parallel=False)
    empty = Matter(torch.zeros(1, 1, 1, 1, dtype=torch.float32, device="cpu"), torch.eye(4, **DOUBLE), ("water",))
    grid = Grid(ratio=5.0, focus_mm=focus_mm)
    raster = (1, 15)
    found = transport(empty, place, spectrum=mono(100.0), effort=Effort(300_000, raster=raster), grid=grid).primary[
        0, 0
    ]
    fine = place.points(40, 600) - place.source
    slope = fine[..., 0] / 800
    off = torch.zeros_like(slope) if focus_mm else slope
    each = transmission(grid, off, fine.norm(dim=-1) / 800, one(100.0))[..., 0] * place.openness(fine + place.source)
    whole = place.openness(fine + place.source)
    expected = each.reshape(40, 15, 40).mean((0, 2)) / whole.reshape(40, 15, 40).mean((0, 2))
    assert torch.allclose(found, expected, atol=0.03)


def test_a_short_text_says_which():
    assert grid_of("12:1") == Grid()
    assert grid_of("12:1-al") == Grid(interspace="aluminium")
    assert grid_of("10:1-Fibre-60") == Grid(ratio=10.0, interspace="fibre", lines_per_cm=60.0)
    with pytest.raises(UsageError, match=r"unknown grid 'fine'; expected such as 12:1, 12:1-al"):
        grid_of("fine")


def test_grids_that_nobody_makes_are_refused():
    with pytest.raises(ConfigError, match=r"grid.ratio is 0; expected a number from 1 to 30"):
        Grid(ratio=0)
    with pytest.raises(ConfigError, match="grid.focus_mm is 10; expected"):
        Grid(focus_mm=10.0)
    with pytest.raises(ConfigError, match="grid.interspace is 'air'; expected one of aluminium, fibre"):
        Grid(interspace="air")
    with pytest.raises(UsageError, match="100 strips per cm of 200 um leave no space"):
        Grid(lines_per_cm=100.0, lead_um=200.0)
