"""Fast scatter: against the exact transport, an independent code's tables, and itself."""

import pytest
import torch

from benchmark.slab import Slab, measure
from nerp.camera import chest_camera
from nerp.errors import UsageError
from nerp.phantom import thorax
from nerp.physics.beam import Beam, mono, spectrum
from nerp.physics.materials import material_volume
from nerp.physics.scatter import Arrangement, Effort, FastEffort, Matter, arrangement, fast_scatter, transport
from nerp.physics.scatter.coarse import coarsened
from nerp.physics.scatter.fast import raster_shape
from nerp.physics.scatter.smoothing import best_sigma, sampled, smoothed
from nerp.projection.backends.cpu import library

pytestmark = pytest.mark.skipif(library.missing() is not None, reason=str(library.missing()))

DOUBLE = {"dtype": torch.float64, "device": "cpu"}
SINGLE = {"dtype": torch.float32, "device": "cpu"}

TABLE = [
    (60.0, 50.0, {100: (1.012, 0.894), 200: (2.393, 2.052), 300: (3.365, 2.844), 400: (3.899, 3.273)}),
    (None, 50.0, {100: (0.978, 0.815), 200: (2.339, 1.900), 300: (3.321, 2.663), 400: (3.875, 3.090)}),
    (None, 200.0, {100: (0.311, 0.260), 200: (0.909, 0.746), 300: (1.618, 1.315), 400: (2.282, 1.842)}),
]
"""Scatter over primary by counts and energy, by field, mm: PENELOPE 2018 through pyPenred 1.15.2."""


@pytest.fixture(scope="module")
def chest():
    """A phantom of soft tissue, lungs and bone in a cone beam, with lungs, other tissue and bone as groups."""
    ct = thorax(0, spacing_mm=6.0)
    volume = material_volume(ct.ct)
    densities = volume.densities_g_per_cm3().float()
    groups = torch.where(densities.sum(0) < 0.6, 0, 1)
    groups[densities.sum(0) < 0.05] = -1
    return Matter(densities, volume.affine, volume.materials, groups), chest_camera(ct.ct, shape=(60, 50))


@pytest.mark.parametrize("kev, gap_mm, fields", TABLE)
def test_scatter_over_primary_is_that_of_an_independent_code(kev, gap_mm, fields):
    for field, expected in fields.items():
        slab = Slab(200.0, float(field), gap_mm, kev, 120.0, 2.5, 0.0, None, False, None, 0, None, True)
        found = measure(slab)["spr"]
        assert (found["counts"], found["energy"]) == pytest.approx(expected, rel=0.05)


REGIONS = {
    "right lung": (-75, 0, 0.634, 0.169),
    "left lung": (75, 0, 0.639, 0.169),
    "spine": (0, 0, 18.0, 0.0044),
    "below the lungs": (75, -155, 3.74, 0.0128),
    "apex": (75, 100, 1.02, 0.077),
}
"""Middles of 3 cm of a chest of voxels, mm, scatter over primary there and transmission: PENELOPE 2018 through pyPenred
1.15.2, 60 keV, detector of 36 cm at 180 cm. Its beam is a cone that the detector's corners lie on the rim of."""


def voxel_chest(size_mm=5.0):
    """An ellipse with two lungs and a spine of a third soft tissue and two thirds cortical bone."""
    counts = [round(side / size_mm) for side in (360, 400, 240)]
    places = [(torch.arange(n, **DOUBLE) + 0.5) * size_mm - n * size_mm / 2 for n in counts]
    x, y, z = torch.meshgrid(*places, indexing="ij")
    soft, bone = torch.zeros(2, *counts, **DOUBLE)
    soft[(x / 170) ** 2 + (z / 110) ** 2 < 1] = 1.06
    for side in (-75, 75):
        soft[((x - side) / 55) ** 2 + (z / 80) ** 2 + (y / 130) ** 2 < 1] = 0.26
    spine = (x / 18) ** 2 + ((z + 75) / 20) ** 2 < 1
    soft[spine], bone[spine] = 1.4 * 0.347, 1.4 * 0.653
    affine = torch.diag(torch.tensor([size_mm] * 3 + [1], **DOUBLE))
    affine[:3, 3] = torch.tensor([part[0] for part in places], **DOUBLE) + torch.tensor([0, 0, 120], **DOUBLE)
    return Matter(torch.stack([soft, bone]).float(), affine, ("soft_tissue", "bone"))


def test_regions_of_a_chest_have_the_scatter_of_an_independent_code():
    eye = torch.eye(3, **DOUBLE)
    place = Arrangement(1750 * eye[2], -50 * eye[2], eye[0], eye[1], (360.0, 360.0), (-255.0, 255.0, -255.0, 255.0))
    image = fast_scatter(voxel_chest(), place, spectrum=mono(60.0)).at_pixels((90, 90), "counts")[0, 0]
    at = (torch.arange(90, **DOUBLE) + 0.5) * 4 - 180
    for x, y, expected, transmission in REGIONS.values():
        inside = ((at - y).abs() < 16)[:, None] & ((at - x).abs() < 16)
        assert float(image[inside].mean()) / transmission == pytest.approx(expected, rel=0.1)


def test_a_chest_has_the_scatter_of_the_exact_transport(chest):
    matter, camera = chest
    place, beam = arrangement(camera), spectrum(Beam())
    raster = raster_shape(place.size_mm, FastEffort().raster_mm)
    exact = transport(matter, place, spectrum=beam, effort=Effort(600_000, raster=raster))
    found, wanted = fast_scatter(matter, camera, spectrum=beam).total("energy"), smoothed_energy(exact)
    assert float(((found - wanted) ** 2).sum() / (wanted**2).sum()) < 0.01
    assert float(found.mean() / wanted.mean()) == pytest.approx(1, abs=0.02)


def smoothed_energy(tallies):
    """Less noise, and smooth as the fast scatter is."""
    return smoothed(tallies.scatter[1][None, None], 2.2)[0, 0]


def test_the_result_does_not_depend_on_the_number_of_threads(chest):
    before, results = torch.get_num_threads(), []
    for threads in (1, 3):
        torch.set_num_threads(threads)
        results.append(fast_scatter(*chest, spectrum=mono(60.0), effort=FastEffort(3000)))
    torch.set_num_threads(before)
    assert torch.equal(results[0].single, results[1].single)
    assert torch.equal(results[0].multiple, results[1].multiple)
    assert torch.equal(results[0].derivatives, results[1].derivatives)


def test_another_seed_changes_noise_alone(chest):
    totals = [
        fast_scatter(*chest, spectrum=mono(60.0), effort=FastEffort(40_000, seed=seed)).total() for seed in (0, 1)
    ]
    assert not torch.equal(*totals)
    assert float(totals[0].sum() / totals[1].sum()) == pytest.approx(1, abs=0.03)


def test_derivatives_are_those_of_denser_and_thinner_structures(chest):
    matter, camera = chest
    effort = FastEffort(100_000)
    base = fast_scatter(matter, camera, spectrum=mono(60.0), effort=effort)
    for group in (0, 1):
        sides = []
        for factor in (0.85, 1.15):
            scale = torch.where(matter.groups == group, factor, 1.0)
            denser = Matter(matter.densities * scale, matter.affine, matter.materials)
            sides.append(fast_scatter(denser, camera, spectrum=mono(60.0), effort=effort).total())
        difference = float((sides[1].sum() - sides[0].sum()) / 0.3 / base.total().sum())
        mean = float((base.derivatives[group] * base.total()).sum() / base.total().sum())
        assert mean == pytest.approx(difference, abs=0.12)


def test_variants_follow_the_derivatives(chest):
    scatter = fast_scatter(*chest, spectrum=mono(60.0), effort=FastEffort(20_000))
    factors = torch.tensor([[1.0, 1.0], [1.1, 0.9]], **DOUBLE, requires_grad=True)
    images = scatter.scaled(factors)
    assert torch.allclose(images[0, 0], scatter.total())
    change = 0.1 * (scatter.derivatives[0] - scatter.derivatives[1])
    assert torch.allclose(images[1, 0], scatter.total() * torch.exp(change))
    images.sum().backward()
    assert torch.isfinite(factors.grad).all()


def test_nothing_scatters_nothing():
    eye = torch.eye(3, **DOUBLE)
    place = Arrangement(1000 * eye[2], -500 * eye[2], eye[0], eye[1], (300.0, 300.0))
    empty = Matter(torch.zeros(1, 5, 5, 5, **SINGLE), torch.eye(4, **DOUBLE), ("water",))
    scatter = fast_scatter(empty, place, spectrum=mono(60.0), effort=FastEffort(500))
    assert float(scatter.at_pixels((30, 30)).abs().max()) == 0


def test_a_view_from_aside_turns_with_the_patient():
    eye = torch.eye(3, **DOUBLE)
    across = torch.tensor([[0.0, 1, 0], [0, 0, 1], [1, 0, 0]], **DOUBLE)
    affine = torch.diag(torch.tensor([5.0, 6, 7, 1], **DOUBLE))
    affine[:3, 3] = torch.tensor([-50.0, -60, -70], **DOUBLE)
    matter = Matter(torch.full((1, 20, 20, 20), 1.0, **SINGLE), affine, ("water",))
    turned = affine.clone()
    turned[:3] = across @ affine[:3]
    totals = []
    for turn, grid in ((eye, affine), (across, turned)):
        place = Arrangement(turn @ (900 * eye[2]), turn @ (-120 * eye[2]), turn @ eye[0], turn @ eye[1], (200.0, 300.0))
        there = Matter(matter.densities, grid, ("water",))
        totals.append(fast_scatter(there, place, spectrum=mono(60.0), effort=FastEffort(20_000)).total())
    assert float(totals[0].mean() / totals[1].mean()) == pytest.approx(1, abs=0.03)
    assert float((totals[0] / totals[1] - 1).abs().mean()) < 0.1


@pytest.mark.parametrize("shape", [(12, 9, 12), (30, 7, 16)])
def test_a_coarse_grid_is_as_heavy_and_at_the_same_place(shape):
    torch.manual_seed(0)
    affine = torch.eye(4, **DOUBLE)
    affine[:3, :3] = torch.tensor([[-2.0, 0, 0.1], [0, 3, 0], [0, 0.2, 2.5]], **DOUBLE)
    fine = Matter(torch.rand(2, *shape, **SINGLE) + 0.1, affine, ("water", "bone"))
    coarse = coarsened(fine, 8.0)
    heavy = [
        float(part.densities.double().sum()) * float(torch.linalg.det(part.affine).abs()) for part in (fine, coarse)
    ]
    assert heavy[1] == pytest.approx(heavy[0], rel=1e-5)
    off_mm = torch.linalg.norm(centre_of_mass(fine) - centre_of_mass(coarse))
    assert float(off_mm) < (0.1 if shape == (12, 9, 12) else 1.0)


def centre_of_mass(matter):
    weight = matter.densities.double().sum(0)
    index = torch.stack(torch.meshgrid(*(torch.arange(n, **DOUBLE) for n in matter.shape), indexing="ij"), -1)
    mean = (index * weight[..., None]).sum((0, 1, 2)) / weight.sum()
    return matter.affine[:3, :3] @ mean + matter.affine[:3, 3]


def test_air_around_a_body_is_cut_off():
    densities = torch.full((1, 40, 40, 40), 0.0012, **SINGLE)
    densities[0, 10:30, 12:20, 8:16] = 1.0
    coarse = coarsened(Matter(densities, torch.eye(4, **DOUBLE), ("water",)), 2.0)
    assert coarse.shape == (10, 4, 4)


def test_smoothing_keeps_straight_slopes_and_sampling_too():
    row, column = torch.arange(20, **DOUBLE)[:, None], torch.arange(24, **DOUBLE)
    plane = (20 + 2 * row + 3 * column)[None, None]
    assert torch.allclose(smoothed(plane, 2.5), plane)
    fine = sampled(plane, (40, 48))[0, 0]
    assert torch.allclose(fine.diff(dim=0), torch.ones(39, 48, **DOUBLE))
    assert fine.mean() == pytest.approx(float(plane.mean()))


@pytest.mark.parametrize("seed", range(3))
def test_two_halves_tell_how_much_smoothing_an_image_bears(seed):
    across = torch.arange(40, **DOUBLE)
    slope, waves = across.expand(1, 40, 40) / 40, torch.sin(across / 1.5).expand(1, 40, 40)
    noise = 0.3 * torch.randn(2, 1, 40, 40, generator=torch.Generator().manual_seed(seed), **DOUBLE)
    tried = [0.7, 1.4, 2.8, 4.0]
    for truth, in_reach in ((slope, [2.8, 4.0]), (waves, [0.7, 1.4])):
        halves = truth + noise
        chosen = best_sigma(halves[0], halves[1], tried)
        errors = {sigma: float((smoothed(halves, sigma).mean(0) - truth).square().mean()) for sigma in tried}
        assert chosen in in_reach
        assert errors[chosen] <= 1.2 * min(errors.values())


def test_what_is_refused(chest):
    matter, camera = chest
    with pytest.raises(UsageError, match="0 photons, voxels of 8.0 mm"):
        FastEffort(n_photons=0)
    with pytest.raises(UsageError, match="scatter is asked for at 3 to 3 keV"):
        fast_scatter(matter, camera, spectrum=mono(3.0))
    with pytest.raises(UsageError, match="--water-mm and --field-mm are to be above 0"):
        Slab(-1.0, 1.0, 1.0, 60.0, 120.0, 2.5, 0.0, None, False, None, 0, None, True)


def test_the_raster_follows_the_detector():
    assert raster_shape((430.0, 350.0), 9.0) == (48, 39)
    assert raster_shape((50.0, 5000.0), 9.0) == (16, 64)
