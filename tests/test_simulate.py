"""Physical radiographs: closed forms behind water and bone, scatter, noise, scales, gradients."""

import math

import pytest
import torch
from plain_chest import plain_chest

from nerp.camera import Camera, chest_camera
from nerp.errors import ConfigError, UsageError
from nerp.physics.attenuation import linear_attenuation_per_cm, mass_attenuation_cm2_per_g
from nerp.physics.beam import Beam, spectrum
from nerp.physics.detector import Detector
from nerp.physics.objects import Curve, Part, PlacedObject, project_object_materials
from nerp.physics.settings import Physics
from nerp.physics.simulate import Setup, Simulator, entrance_distance_mm, simulate, source_detector_mm
from nerp.volume import Volume

BARE = Physics(scatter="none", grid="none", noise=False, table_removed=False, voxel_blur=False, extended_mm=0.0)


def double(*values) -> torch.Tensor:
    return torch.tensor(values, dtype=torch.float64)


def slab(hu: float, thickness_mm: float, dtype=torch.float64) -> Volume:
    """A slab 200 mm wide across y, in air."""
    affine = torch.diag(double(20.0, thickness_mm / 2, 20.0, 1.0))
    affine[:3, 3] = double(-190.0, -thickness_mm / 4, -190.0)
    return Volume(torch.full((1, 20, 2, 20), hu, dtype=dtype), affine, "hu")


def camera(shape=(3, 3), pixel_mm=0.5, distance_mm=1000.0) -> Camera:
    vectors = ((0.0, -distance_mm / 2, 0.0), (0.0, distance_mm / 2, 0.0), (-1.0, 0.0, 0.0), (0.0, 0.0, -1.0))
    return Camera(*(double(v) for v in vectors), shape=shape, pixel_mm=(pixel_mm, pixel_mm))


def exact(beam: Beam, material: str, areal_g_per_cm2: float) -> float:
    """The detector's signal behind a material, over the open beam's: each keV by itself."""
    photons = spectrum(beam)
    kev = photons.energies_kev
    signal = photons.photons * Detector().response_kev(kev)
    passed = torch.exp(-areal_g_per_cm2 * mass_attenuation_cm2_per_g(material, kev))
    return float((signal * passed).sum() / signal.sum())


def areal(ct: Volume, material: str) -> float:
    """g/cm² of a material on the middle ray."""
    made = Simulator(ct, Setup(physics=BARE))
    from nerp.projection.materials import project_materials

    found = project_materials(made.materials, camera())[0, :, 1, 1]
    return float(found[made.materials.materials.index(material)])


@pytest.mark.parametrize("kvp", [60, 80, 120])
def test_the_primary_is_the_integral_over_the_spectrum(kvp):
    """A slab of HU 50, which is soft tissue alone."""
    ct, beam = slab(50.0, 200.0), Beam(kvp=kvp)
    found = Simulator(ct, Setup(beam=beam, physics=BARE)).expose(camera()).primary[0, 0, 1, 1]
    assert float(found) == pytest.approx(exact(beam, "soft_tissue", areal(ct, "soft_tissue")), rel=3e-3)


def test_a_slab_of_soft_tissue_weighs_what_it_should():
    assert areal(slab(50.0, 200.0), "soft_tissue") == pytest.approx(20 * 1.06, rel=0.02)
    assert areal(slab(1550.0, 20.0), "bone") == pytest.approx(2 * 1.92, rel=0.02)


def test_hu_are_attenuation_at_their_energy():
    """Any HU attenuates (1 + HU / 1000) times as water does, at the energy that the CT is said to have."""
    water = float(linear_attenuation_per_cm("water", double(72.0)))
    for hu in (-800.0, -100.0, 0.0, 70.0, 400.0, 1200.0):
        made = Simulator(slab(hu, 100.0), Setup(physics=BARE)).materials
        masses = made.densities_g_per_cm3()[:, 0, 0, 0]
        found = sum(
            float(mass) * float(mass_attenuation_cm2_per_g(name, double(72.0)))
            for mass, name in zip(masses, made.materials, strict=True)
        )
        assert found == pytest.approx(water * (1 + hu / 1000), rel=0.01, abs=1e-4), hu


def test_beams_harden():
    """The second ten centimetres pass a larger part than the first."""
    signals = [simulate(slab(50.0, mm), camera(), physics=BARE)[0, 0, 1, 1] for mm in (1.0, 101.0, 201.0)]
    assert float(signals[2] / signals[1]) > 1.05 * float(signals[1] / signals[0])


def test_nothing_in_the_way_gives_one():
    air = slab(-1000.0, 200.0)
    for physics in (BARE, Physics(noise=False, grid="12:1-al", heel=True, table_removed=False, scatter="none")):
        found = simulate(air, camera(distance_mm=1800.0), detector=Detector(saturation_ugy=1e5), physics=physics)
        assert float(found[0, 0, 1, 1]) == pytest.approx(1.0, abs=0.01)


def test_the_panel_saturates_where_nothing_is():
    found = simulate(slab(-1000.0, 200.0), camera(), detector=Detector(saturation_ugy=20.0), physics=BARE)
    kerma = 150.0 * (400.0 / 1000.0) ** 2
    assert float(found[0, 0, 1, 1]) == pytest.approx(20.0 / kerma, rel=0.01)


def test_geometry_of_the_dose():
    ct, view = slab(0.0, 200.0), camera(distance_mm=1000.0)
    assert float(source_detector_mm(view)[0]) == 1000.0
    assert entrance_distance_mm(view, ct.affine, ct.shape) == pytest.approx(400.0)


@pytest.fixture(scope="module")
def chest() -> Volume:
    return plain_chest(spacing_mm=8.0)


@pytest.fixture(scope="module")
def view(chest) -> Camera:
    return chest_camera(chest, "pa", shape=(48, 40))


def test_scatter_is_behind_the_thick_parts_and_the_grid_takes_it(chest, view):
    made = {grid: Simulator(chest, Setup(physics=Physics(grid=grid))).expose(view) for grid in ("none", "12:1-al")}
    ratio = {grid: (one.scatter / one.primary)[0, 0] for grid, one in made.items()}
    spine, lung = (slice(20, 28), slice(18, 22)), (slice(20, 28), slice(8, 12))
    assert float(ratio["none"][spine].mean()) > 3 * float(ratio["none"][lung].mean())
    assert float((ratio["12:1-al"] / ratio["none"])[12:36, 8:32].mean()) == pytest.approx(0.13, abs=0.05)


def test_a_grid_is_used_from_a_wall_stand_s_distance_on(chest):
    made = Simulator(chest, Setup(physics=BARE))
    assert made.grid(chest_camera(chest, "pa")) is None
    usual = Simulator(chest, Setup(physics=Physics(scatter="none")))
    grid = usual.grid(chest_camera(chest, "pa"))
    assert grid is not None and grid.ratio == 12 and grid.focus_mm == pytest.approx(1800.0)
    assert usual.grid(chest_camera(chest, "ap")) is None


def test_noise_follows_its_seed_and_the_dose(chest, view):
    def noise(dose_mgy: float, seed: int) -> torch.Tensor:
        detector = Detector(dose_mgy=dose_mgy, saturation_ugy=1e6)
        made = Simulator(chest, Setup(detector=detector, physics=Physics(scatter="none")))
        return made.expose(view, generator=torch.Generator().manual_seed(seed)).signal - made.expose(view).signal

    torch.testing.assert_close(noise(0.15, 3), noise(0.15, 3), rtol=0, atol=0)
    assert float((noise(0.15, 3) - noise(0.15, 4)).abs().max()) > 0
    little, much = noise(0.15, 3), noise(15.0, 3)
    assert float(little.std() / much.std()) == pytest.approx(10.0, rel=0.1)


def test_the_table_is_taken_away(chest, view):
    values = chest.values.clone()
    values[:, :, 2:3, :] = 300.0  # a board far behind the back
    with_table = Volume(values, chest.affine, chest.unit)
    kept = simulate(with_table, view, physics=Physics(scatter="none", table_removed=False))
    removed = simulate(with_table, view, physics=Physics(scatter="none"))
    bare = simulate(chest, view, physics=Physics(scatter="none"))
    torch.testing.assert_close(removed, bare)
    assert float((kept / bare).mean()) < 0.9


def labelled(chest: Volume) -> Volume:
    lungs = (chest.values < -500) & (chest.values > -950)
    left = torch.arange(chest.shape[0])[:, None, None] < chest.shape[0] // 2
    values = torch.where(lungs, torch.where(left, 1.0, 2.0), 0.0)
    return Volume(values, chest.affine, "label")


GROUPS = {"left": (1,), "right": (2,)}


def test_one_structure_s_density_is_scaled(chest, view):
    made = Simulator(chest, Setup(physics=BARE), labels=labelled(chest), names={1: "lung_left"}, groups=GROUPS)
    assert made.groups == ("left", "right", "rest")
    plain, dense = made.expose(view).primary, made.expose(view, scales={"left": 1.3}).primary
    changed = ((dense / plain)[0, 0, 20:28] - 1).abs().amax(dim=0) > 1e-4
    assert bool(changed[25:].any()) != bool(changed[:15].any())
    same = made.expose(view, scales={"right": 1.0}).primary
    torch.testing.assert_close(same, plain)


def test_variants_are_what_single_exposures_are(chest, view):
    made = Simulator(chest, Setup(), labels=labelled(chest), groups=GROUPS)
    scales = [{}, {"left": 0.8}, {"rest": 1.1, "right": 1.2}]
    together = made.variants(view, scales)
    one_by_one = torch.cat([made.expose(view, scales=one).signal for one in scales])
    torch.testing.assert_close(together, one_by_one, rtol=1e-5, atol=1e-7)


def test_scatter_follows_the_densities(chest, view):
    """To first order in the logarithm: against a transport through the denser chest."""
    made = Simulator(chest, Setup(), labels=labelled(chest), groups=GROUPS)
    expected = made.expose(view).scatter[0, 0, 8:40, 6:34]
    scaled = made.expose(view, scales={"rest": 1.05}).scatter[0, 0, 8:40, 6:34]
    hu = torch.where(labelled(chest).values > 0, chest.values, (chest.values + 1000) * 1.05 - 1000)
    denser = Simulator(Volume(hu, chest.affine, "hu"), Setup()).expose(view).scatter[0, 0, 8:40, 6:34]
    change, true_change = float((scaled / expected).mean()), float((denser / expected).mean())
    assert change < 0.97
    assert change == pytest.approx(true_change, abs=0.03)


def wire(radius_mm: float = 4.0) -> PlacedObject:
    shape = Curve(((10.0, 60.0, -60.0), (10.0, 60.0, 130.0)), radius_mm, bent=False)
    return PlacedObject("wire", "wire", (Part("steel", (shape,)),))


def test_objects_stand_in_the_beam(chest, view):
    made = Simulator(chest, Setup(physics=BARE))
    images = project_object_materials((wire(),), view)
    plain, shown = made.expose(view).primary, made.expose(view, objects=images).primary
    hit = images.lengths_mm[:, :1] > 0
    assert float((shown / plain)[hit].max()) < 0.5
    torch.testing.assert_close(shown[~hit], plain[~hit])


def test_voxels_leave_no_blocks(chest):
    """Behind a tilted surface, a soft shadow has smaller second differences than blocks have, and the same mean."""
    view = chest_camera(chest, "pa", shape=(160, 160))
    blocks, soft = (
        simulate(chest, view, physics=Physics(scatter="none", table_removed=False, voxel_blur=blur)).log()
        for blur in (False, True)
    )
    rough = [float(one[..., 40:120, 40:120].diff(n=2, dim=3).abs().mean()) for one in (blocks, soft)]
    assert rough[1] < 0.5 * rough[0]
    assert float(soft.mean()) == pytest.approx(float(blocks.mean()), rel=0.01)


def test_gradients_reach_every_voxel():
    view = camera(shape=(2, 2), pixel_mm=30.0)
    hu = torch.linspace(-900.0, 1400.0, 8, dtype=torch.float64).view(1, 2, 2, 2).requires_grad_()
    affine = torch.diag(double(60.0, 60.0, 60.0, 1.0))
    affine[:3, 3] = -30.0

    def signal(hu):
        return simulate(Volume(hu, affine, "hu"), view, physics=BARE)

    assert torch.autograd.gradcheck(signal, (hu,), eps=1e-2, atol=1e-8)


def test_gradients_reach_the_camera():
    ct, view = slab(50.0, 200.0), camera(shape=(2, 2), pixel_mm=3.0)
    made = Simulator(ct, Setup(physics=BARE))

    def signal(source):
        moved = Camera(
            source, view.detector_centre, view.image_right, view.image_down, shape=(2, 2), pixel_mm=(3.0, 3.0)
        )
        return made.expose(moved).signal

    source = (view.source + double(7.0, 3.0, 5.0)).requires_grad_()
    assert torch.autograd.gradcheck(signal, (source,), eps=1e-4, atol=1e-7)


def test_a_lung_s_density_is_found_again_from_the_image(chest, view):
    """Five per cent more: from a noise-free radiograph, by gradient steps on one number."""
    made = Simulator(chest, Setup(physics=BARE), labels=labelled(chest), groups=GROUPS)
    seen = made.expose(view, scales={"left": 1.05}).primary.log()
    density = torch.tensor(1.0, requires_grad=True)
    step = torch.optim.LBFGS([density], lr=0.5, max_iter=20)

    def loss():
        step.zero_grad()
        error = (made.expose(view, scales={"left": density}).primary.log() - seen).square().sum()
        error.backward()
        return error

    step.step(loss)
    assert float(density.detach()) == pytest.approx(1.05, abs=1e-3)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: Physics(grid="cotton"), "physics.grid is 'cotton'; expected auto, none, or such as 12:1-al"),
        (lambda: Physics(scatter="some"), "physics.scatter is 'some'; expected one of fast, none, exact"),
        (lambda: Physics(density_spread=-1.0), "physics.density_spread is -1"),
        (lambda: Physics(effective_kev=10.0), "physics.effective_kev is 10"),
        (lambda: Detector(dose_mgy=0.0), "detector.dose_mgy is 0"),
    ],
)
def test_physics_that_cannot_be(make, message):
    with pytest.raises(ConfigError, match=message):
        make()


def test_structures_that_are_not_there(chest, view):
    made = Simulator(chest, Setup(physics=BARE))
    with pytest.raises(UsageError, match="no structure is called 'liver'; expected some of body"):
        made.expose(view, scales={"liver": 1.1})
    with pytest.raises(UsageError, match="a density is scaled by -1; expected 0 or more"):
        made.expose(view, scales={"body": -1.0})
    assert math.isfinite(float(made.expose(view).signal.sum()))
