"""The exact transport of photons: closed forms, an independent code's tables, and what it refuses."""

import math

import numpy as np
import pytest
import torch
from scipy import stats

from nerp.errors import GeometryError, UsageError
from nerp.physics.atoms import KEV_ANGSTROM, form_squared, incoherent_function, transfers
from nerp.physics.attenuation import linear_attenuation_per_cm, mass_attenuation_cm2_per_g
from nerp.physics.beam import Beam, mono, spectrum
from nerp.physics.scatter import Arrangement, Effort, Matter, arrangement, native, slab_arrangement, transport
from nerp.physics.scatter.tables import N_ENERGIES, THOMSON_CM2_PER_G, photon_tables
from nerp.projection.backends.cpu import library

pytestmark = pytest.mark.skipif(library.missing() is not None, reason=str(library.missing()))

DOUBLE = {"dtype": torch.float64, "device": "cpu"}

FIELDS_CM = (10, 15, 20, 25, 30, 40)
TABLE = {
    "60 keV, 5 cm": ((1.012, 1.729, 2.393, 2.940, 3.365, 3.899), (0.894, 1.501, 2.052, 2.500, 2.844, 3.273)),
    "120 kVp, 5 cm": ((0.978, 1.681, 2.339, 2.889, 3.321, 3.875), (0.815, 1.380, 1.900, 2.328, 2.663, 3.090)),
    "120 kVp, 20 cm": ((0.311, 0.584, 0.909, 1.262, 1.618, 2.282), (0.260, 0.482, 0.746, 1.029, 1.315, 1.842)),
}
"""Scatter over primary by counts and by energy behind 20 cm of water: PENELOPE 2018 through pyPenred 1.15.2."""


def box(*size_mm, material="water", density=0.9982, voxels=(1, 1, 1)):
    """A block on z = 0, about the axis."""
    steps = [size / n for size, n in zip(size_mm, voxels, strict=True)]
    affine = torch.diag(torch.tensor([*steps, 1.0], **DOUBLE))
    affine[:2, 3] = torch.tensor([(step - size) / 2 for step, size in zip(steps[:2], size_mm[:2], strict=True)])
    affine[2, 3] = steps[2] / 2
    return Matter(torch.full((1, *voxels), density, dtype=torch.float32, device="cpu"), affine, (material,))


def cone(sid_mm=1000.0, size_mm=300.0, **options):
    eye = torch.eye(3, **DOUBLE)
    return Arrangement(sid_mm * eye[2], -20 * eye[2], eye[0], eye[1], (size_mm, size_mm), **options)


def field_sums(tallies, size_mm):
    """(2,) scatter by counts and energy in the square fields of a pencil beam's raster."""
    scatter = tallies.sums[1:, :2].sum(0)
    edges = (torch.arange(scatter.shape[-1] + 1, **DOUBLE) / scatter.shape[-1] - 0.5) * size_mm
    found = []
    for field in FIELDS_CM:
        half = torch.tensor(field * 5.0, **DOUBLE)
        inside = (torch.minimum(edges[1:], half) - torch.maximum(edges[:-1], -half)).clamp_min(0) / edges.diff()
        found.append((scatter * inside[:, None] * inside).sum((1, 2)))
    return torch.stack(found, 1)


@pytest.mark.slow
@pytest.mark.parametrize("case", TABLE)
def test_scatter_over_primary_is_that_of_an_independent_code(case):
    emitted = mono(60.0) if "keV" in case else spectrum(Beam())
    gap_mm = 200 if case.endswith("20 cm") else 50
    place = slab_arrangement(thickness_mm=200, gap_mm=gap_mm, size_mm=404, field_mm=0)
    effort = Effort(15_000_000, seed=1, raster=(101, 101))
    tallies = transport(box(400, 400, 200), place, spectrum=emitted, effort=effort)
    kev, photons = emitted.energies_kev, emitted.photons
    left = photons * torch.exp(-linear_attenuation_per_cm("water", kev) * 20)
    primary = torch.stack([left.sum() / photons.sum(), (left * kev).sum() / photons.sum()]) * effort.n_photons
    ratio = field_sums(tallies, 404) / primary[:, None]
    assert torch.allclose(ratio, torch.tensor(TABLE[case], **DOUBLE), rtol=0.03, atol=0)


def test_primary_of_a_slab_is_the_closed_form():
    emitted = spectrum(Beam())
    place = slab_arrangement(thickness_mm=100, gap_mm=50, size_mm=100, field_mm=100)
    tallies = transport(box(200, 200, 100), place, spectrum=emitted, effort=Effort(400_000, raster=(1, 1)))
    kev, photons = emitted.energies_kev, emitted.photons
    left = photons * torch.exp(-linear_attenuation_per_cm("water", kev) * 10)
    expected = [float((left * w).sum() / (photons * w).sum()) for w in (torch.ones_like(kev), kev)]
    assert tallies.primary[:2, 0, 0].tolist() == pytest.approx(expected, rel=4 / math.sqrt(400_000 * expected[0]))


def test_nothing_in_the_way_leaves_the_open_beam():
    thin = Matter(torch.zeros(1, 4, 4, 4, dtype=torch.float32, device="cpu"), torch.eye(4, **DOUBLE), ("water",))
    tallies = transport(thin, cone(300.0), spectrum=mono(60.0), effort=Effort(500_000, raster=(5, 5)))
    assert float(tallies.sums[1:].sum()) == 0
    assert torch.allclose(tallies.primary, torch.ones_like(tallies.primary), atol=5 / math.sqrt(500_000 / 25))


def drawn(matter, kind, kev, *, free=False, n=200_000):
    """Cosines of the scattering angle of one material."""
    task = native.matter_task(matter, photon_tables(matter.materials, free_electrons=free))
    cosines = torch.zeros(n, **DOUBLE)
    tally = native.tally_task(n, 7, torch.zeros(1, **DOUBLE))
    library.call("nerp_scatter_angles", task.task, 0, int(kind == "coherent"), kev, tally, library.doubles(cosines, n))
    return cosines.numpy()


def density(kind, material, kev, cosines):
    """Of cosines, to any scale."""
    x = np.sqrt((1 - cosines) / 2) * kev / KEV_ANGSTROM
    if kind == "coherent":
        return np.interp(x, transfers(), form_squared(material)) * (1 + cosines**2)
    kept = 1 / (1 + kev / 510.99895 * (1 - cosines))
    factor = kept**2 * (kept + 1 / kept - 1 + cosines**2)
    return factor if kind == "free" else factor * np.interp(x, transfers(), incoherent_function(material))


@pytest.mark.parametrize("kev", [20.0, 60.0, 140.0])
@pytest.mark.parametrize("kind", ["free", "incoherent", "coherent"])
def test_angles_are_those_of_the_cross_sections(kind, kev):
    found = drawn(box(10, 10, 10), kind, kev, free=kind == "free")
    edges = 1 - 2 * np.linspace(0, 1, 41)[::-1] ** 2  # even in the sine of half the angle
    fine = np.linspace(edges[:-1], edges[1:], 201)
    expected = np.trapezoid(density(kind, "water", kev, fine), fine, axis=0)
    counts = np.histogram(found, edges)[0]
    assert stats.chisquare(counts, expected / expected.sum() * counts.sum()).pvalue > 0.01


def test_single_scatter_of_a_thin_target_falls_where_klein_and_nishina_say():
    kev, thick_mm, gap_mm, n = 100.0, 1.0, 100.0, 4_000_000
    place = slab_arrangement(thickness_mm=thick_mm, gap_mm=gap_mm, size_mm=400, field_mm=0)
    effort = Effort(n, seed=3, raster=(40, 40), free_electrons=True)
    tallies = transport(box(400, 400, thick_mm), place, spectrum=mono(kev), effort=effort)
    middle = torch.tensor([0, 0, thick_mm / 2], **DOUBLE)
    rays = place.points(400, 400) - middle
    distance = rays.norm(dim=-1)
    cosines = (-rays[..., 2] / distance).numpy()
    per_sr = THOMSON_CM2_PER_G * 0.5 * density("free", "water", kev, cosines) * 0.5551
    solid = torch.from_numpy(cosines) / distance**2
    expected = n * 0.9982 * thick_mm / 10 * torch.from_numpy(per_sr) * solid
    expected = expected.reshape(40, 10, 40, 10).sum((1, 3))
    found = tallies.sums[1, 0]
    assert float(found.sum() / expected.sum()) == pytest.approx(1, rel=0.02)
    shape = expected / expected.sum() * found.sum()
    seen = shape > 8
    assert stats.chi2.sf(float(((found - shape) ** 2 / shape)[seen].sum()), int(seen.sum()) - 1) > 1e-3


def test_the_result_does_not_depend_on_the_number_of_threads():
    before = torch.get_num_threads()
    sums = []
    for threads in (1, 3):
        torch.set_num_threads(threads)
        sums.append(transport(box(100, 100, 100), cone(), spectrum=mono(50.0), effort=Effort(20_000)).sums)
    torch.set_num_threads(before)
    assert torch.equal(*sums)


def test_the_place_in_the_world_does_not_matter():
    turn = torch.tensor([[0.0, 0, 1], [1, 0, 0], [0, 1, 0]], **DOUBLE)
    matter, place = box(120, 100, 80, voxels=(6, 5, 4)), cone()
    moved = torch.eye(4, **DOUBLE)
    moved[:3, :3], moved[:3, 3] = turn, torch.tensor([5.0, -70, 33], **DOUBLE)
    points = [turn @ point + moved[:3, 3] for point in (place.source, place.centre)]
    again = Arrangement(*points, turn @ place.right, turn @ place.down, place.size_mm)
    there = Matter(matter.densities, moved @ matter.affine, matter.materials)
    results = [
        transport(m, p, spectrum=mono(60.0), effort=Effort(60_000, raster=(1, 1))).sums
        for m, p in ((matter, place), (there, again))
    ]
    here, far = (sums[:, 0, 0, 0] for sums in results)
    assert bool(((here - far).abs() < 4 * torch.sqrt(here + far)).all())


def test_voxels_may_be_cut_as_one_likes():
    whole, cut = box(200, 200, 100), box(200, 200, 100, voxels=(20, 13, 9))
    effort = Effort(100_000, raster=(1, 1))
    a, b = (transport(matter, cone(), spectrum=mono(60.0), effort=effort).sums[:, 0, 0, 0] for matter in (whole, cut))
    assert bool(((a - b).abs() < 4 * torch.sqrt(a + b)).all())


def test_the_parts_add_up_to_the_whole():
    tables = photon_tables(("bone", "water"))
    kev = torch.tensor([60.0], **DOUBLE)
    at = 120
    assert float(tables.total[0, at]) == pytest.approx(0.1 * float(mass_attenuation_cm2_per_g("bone", kev)), rel=2e-3)
    assert bool((tables.coherent + tables.incoherent <= tables.total).all())
    norm = THOMSON_CM2_PER_G * 0.1 * tables.incoherent_norm[1, at] * 0.5551
    assert float(norm) == pytest.approx(float(tables.incoherent[1, at]), rel=5e-3)


def test_what_is_refused():
    with pytest.raises(UsageError, match=r"scatter is asked for at 300 to 300 keV; expected 5 to 192 keV"):
        transport(box(10, 10, 10), cone(), spectrum=mono(300.0))
    with pytest.raises(UsageError, match=r"the response has 3 energies; expected 401, one each 0.5 keV"):
        transport(box(10, 10, 10), cone(), spectrum=mono(60.0), response=torch.ones(3, **DOUBLE))
    with pytest.raises(UsageError, match="0 photons on a raster"):
        Effort(n_photons=0)
    with pytest.raises(GeometryError, match="densities are negative or not finite"):
        box(10, 10, 10, density=-1.0)
    with pytest.raises(GeometryError, match=r"densities have shape \(1, 1, 1, 1\) for 2 materials"):
        Matter(torch.ones(1, 1, 1, 1, dtype=torch.float32, device="cpu"), torch.eye(4, **DOUBLE), ("water", "bone"))
    with pytest.raises(UsageError, match="unknown material 'cheese'"):
        box(10, 10, 10, material="cheese")
    with pytest.raises(GeometryError, match="the source lies in the detector's plane"):
        cone(-20.0)
    with pytest.raises(GeometryError, match="the detector is"):
        cone(size_mm=0.0)
    with pytest.raises(GeometryError, match="expected top <= bottom"):
        cone(field_mm=(5.0, -5.0, -5.0, 5.0))


def test_without_compiled_kernels_it_says_so(monkeypatch):
    monkeypatch.setattr(library, "missing", lambda: "not built")
    with pytest.raises(UsageError, match="scatter needs the compiled kernels: not built"):
        transport(box(10, 10, 10), cone(), spectrum=mono(60.0))


def test_one_view_at_a_time(small_camera):
    assert arrangement(small_camera[0]).size_mm == pytest.approx(tuple(small_camera.size_mm[0].tolist()))
    with pytest.raises(UsageError, match="scatter is asked for 2 views at once"):
        arrangement(small_camera)


@pytest.fixture
def small_camera():
    from nerp.camera import Camera

    two = torch.tensor([[0.0, 0, 1000], [0, 10, 1000]], **DOUBLE)
    across, along = (torch.tensor([row] * 2, **DOUBLE) for row in ([1.0, 0, 0], [0.0, 1, 0]))
    return Camera(two, two * 0, across, along, (30, 20), torch.tensor([[10.0, 12.0]] * 2, **DOUBLE))


def test_response_counts_photons_as_told():
    response = torch.full((N_ENERGIES,), 2.5, **DOUBLE)
    tallies = transport(box(50, 50, 50), cone(), spectrum=mono(60.0), effort=Effort(20_000), response=response)
    assert torch.allclose(tallies.sums[:, 2], 2.5 * tallies.sums[:, 0])
    assert torch.allclose(tallies.scatter[2], tallies.scatter[0])
