"""Objects on and in a patient: exact path lengths, masses, masks, places, and records."""

import json
import math
from dataclasses import replace

import pytest
import torch
from plain_chest import CENTRE_MM, plain_chest

from nerp.anatomy import find_landmarks, map_body
from nerp.camera import Camera, chest_camera
from nerp.errors import GeometryError, UsageError
from nerp.phantom import thorax
from nerp.physics.attenuation import COMPOSITIONS, mass_attenuation_cm2_per_g
from nerp.physics.objects import (
    KINDS,
    SETTINGS,
    Curve,
    Disc,
    Part,
    PlacedObject,
    Plate,
    check_seen,
    object_masks,
    place_objects,
    project_object_materials,
    project_objects,
    random_objects,
)
from nerp.physics.objects.splines import STEP_MM, polyline
from nerp.projection import siddon
from nerp.volume import Volume, read_volume


def view(source=(20.0, -900.0, 30.0), *, shape=(90, 80), pixel_mm=(1.6, 1.5), tilt=0.15) -> Camera:
    """A camera that looks along +y, askew, at the world's middle."""
    turned = torch.tensor([[-math.cos(tilt), math.sin(tilt), 0.0]], dtype=torch.float64)
    return Camera(
        torch.tensor([source], dtype=torch.float64),
        torch.tensor([[0.0, 300.0, 0.0]], dtype=torch.float64),
        turned,
        torch.tensor([[0.0, 0.0, -1.0]], dtype=torch.float64),
        shape,
        pixel_mm,
    )


def one(*solids, holes=(), material="steel", name="thing") -> PlacedObject:
    return PlacedObject(name, "thing", (Part(material, tuple(solids), tuple(holes)),))


def lines(camera):
    """Origins, unit directions and lengths of the pixels' rays."""
    span = camera.pixels()[0] - camera.source[0]
    length = span.norm(dim=-1, keepdim=True)
    return camera.source[0], span / length, length[..., 0]


def marched(inside, camera, *, reach_mm=130.0, step_mm=0.05):
    """(H, W) length within a set of points, by counting steps about the world's middle."""
    source, directions, _ = lines(camera)
    middle = -(source * directions).sum(-1)
    total = torch.zeros(camera.shape, dtype=torch.float64)
    for at in torch.arange(-reach_mm, reach_mm, step_mm).tolist():
        total += inside(source + (middle + at)[..., None] * directions) * step_mm
    return total


BENT = Curve(((-40.0, -20.0, -30.0), (-10.0, 15.0, 10.0), (20.0, -10.0, 25.0), (45.0, 10.0, -20.0)), 3.0)
BOX = Plate((5.0, 3.0, -4.0), (1.0, 0.0, 0.0), (0.0, 0.0, 1.0), ((-8, -6), (8, -6), (8, 6), (-8, 6)), 10.0)
COIN = Disc((-6.0, 2.0, 3.0), (0.3, 1.0, -0.4), 12.0, 4.0)


def near_chain(points, chain):
    """Distance (H, W) of points to a chain of straight pieces."""
    first, along = chain[:-1], chain[1:] - chain[:-1]
    offset = points[..., None, :] - first
    share = ((offset * along).sum(-1) / (along * along).sum(-1)).clamp(0, 1)
    return (offset - share[..., None] * along).norm(dim=-1).amin(dim=-1)


def in_coin(points, disc):
    axis = torch.tensor(disc.axis, dtype=torch.float64)
    axis = axis / axis.norm()
    offset = points - torch.tensor(disc.centre, dtype=torch.float64)
    along = offset @ axis
    return (along.abs() < disc.height_mm / 2) & ((offset - along[..., None] * axis).norm(dim=-1) < disc.radius_mm)


def test_a_ball_is_crossed_along_its_chords():
    camera, centre = view(), torch.tensor([4.0, -7.0, 11.0], dtype=torch.float64)
    found = project_objects([one(Curve((tuple(centre.tolist()),), 15.0))], camera)[0, 0]
    source, directions, _ = lines(camera)
    offset = centre - source
    nearest = (offset - (directions @ offset)[..., None] * directions).norm(dim=-1)
    expected = 2 * (15.0**2 - nearest**2).clamp(min=0).sqrt()
    torch.testing.assert_close(found.double(), expected, atol=2e-5, rtol=0)


def test_a_box_is_a_voxel_to_siddon():
    """The same rays, pixel for pixel: a box as a plate, and as the one voxel of a volume."""
    camera = view()
    affine = torch.diag(torch.tensor([16.0, 10.0, 12.0, 1.0], dtype=torch.float64))
    affine[:3, 3] = torch.tensor(BOX.centre)
    expected = siddon(Volume(torch.ones(1, 1, 1, 1, dtype=torch.float64), affine), camera, backend="reference")
    found = project_objects([one(BOX)], camera)
    assert expected.max() > 9
    torch.testing.assert_close(found.double(), expected, atol=2e-5, rtol=0)


SETS = {
    "a bent wire, its pieces overlapping": ((BENT,), ()),
    "a tilted coin": ((COIN,), ()),
    "a coin and a wire, united": ((COIN, BENT), ()),
    "a tube": ((BENT,), (replace(BENT, radius_mm=2.0),)),
    "a coin with a wire's way through it": ((COIN,), (BENT,)),
}


@pytest.mark.parametrize("name", SETS)
def test_unions_and_holes_agree_with_counted_steps(name):
    solids, holes = SETS[name]
    camera = view(shape=(26, 30), pixel_mm=(4.6, 4.8))

    def within(shape, points):
        if isinstance(shape, Disc):
            return in_coin(points, shape)
        return near_chain(points, polyline(shape)) < shape.radius_mm

    def inside(points):
        filled = torch.stack([within(shape, points) for shape in solids]).any(0)
        return filled & ~torch.stack([within(shape, points) for shape in holes]).any(0) if holes else filled

    expected = marched(inside, camera, reach_mm=55.0, step_mm=0.2)
    found = project_objects([one(*solids, holes=holes)], camera)[0, 0].double()
    assert expected.max() > 3
    torch.testing.assert_close(found, expected, atol=1.0, rtol=0)
    assert (found - expected).abs().mean() < 0.02


def test_overlapping_solids_count_once_and_apart_objects_apart():
    camera = view()
    single = project_objects([one(COIN)], camera)
    torch.testing.assert_close(project_objects([one(COIN, COIN)], camera), single, atol=1e-5, rtol=0)
    both = project_objects([one(COIN), one(BENT, name="other")], camera)
    assert both.shape == (1, 2, *camera.shape)
    torch.testing.assert_close(both[:, :1], single, atol=1e-5, rtol=0)


@pytest.mark.parametrize("samples", [3, 5])
def test_a_wire_thinner_than_a_pixel_has_its_mass(samples):
    """Seen face on by a distant source: the image's sum is the wire's volume."""
    camera = view((0.0, -1e6, 0.0), shape=(60, 60), pixel_mm=(1.5, 1.5), tilt=0.0)
    wire = Curve(((-30.0, 0.0, -18.3), (31.0, 0.0, 17.7)), 0.2, bent=False)
    found = project_objects([one(wire)], camera, samples=samples)
    length = float((polyline(wire)[-1] - polyline(wire)[0]).norm())
    volume = math.pi * 0.2**2 * (length + 4 / 3 * 0.2)
    assert float(found.sum()) * 1.5**2 == pytest.approx(volume, rel=0.06 if samples == 3 else 0.03)
    assert float(found.max()) < 0.4


def test_the_mean_of_samples_is_that_of_a_finer_image():
    camera = view()
    fine = replace(camera, shape=(180, 160), pixel_mm=camera.pixel_mm / 2)
    found = project_objects([one(COIN, BENT)], camera, samples=2)
    expected = torch.nn.functional.avg_pool2d(project_objects([one(COIN, BENT)], fine), 2)
    torch.testing.assert_close(found, expected, atol=2e-5, rtol=0)


def test_moved_together_nothing_changes():
    shift = torch.tensor([13.0, -40.0, 7.0], dtype=torch.float64)
    camera = view()

    def moved(shape):
        places = "points" if isinstance(shape, Curve) else "centre"
        old = torch.tensor(getattr(shape, places), dtype=torch.float64) + shift
        return replace(shape, **{places: tuple(map(tuple, old.tolist())) if old.ndim == 2 else tuple(old.tolist())})

    before = project_objects([one(COIN, BENT, BOX)], camera)
    after = project_objects([one(*map(moved, (COIN, BENT, BOX)))], camera.moved(shift))
    torch.testing.assert_close(after, before, atol=2e-5, rtol=0)


def test_a_batch_of_two_is_two_of_one():
    first, second = view(), view((-60.0, -700.0, 10.0))
    parts = ("source", "detector_centre", "image_right", "image_down", "pixel_mm")
    both = Camera(
        **{name: torch.cat([getattr(one, name) for one in (first, second)]) for name in parts}, shape=first.shape
    )
    found = project_objects([one(COIN), one(BENT)], both)
    apart = torch.cat([project_objects([one(COIN), one(BENT)], camera) for camera in (first, second)])
    assert torch.equal(found, apart)


def test_behind_the_source_and_far_behind_the_detector_nothing_casts_a_shadow():
    camera = view()
    hidden = [one(Curve(((20.0, -960.0, 30.0),), 20.0)), one(Curve(((0.0, 400.0, 0.0),), 20.0))]
    assert float(project_objects(hidden, camera).max()) == 0.0
    pressed = one(Curve(((0.0, 303.0, 0.0),), 3.0))
    assert float(project_objects([pressed], camera).max()) == pytest.approx(6.0, abs=0.6)


def test_an_object_at_the_source_is_seen_by_every_ray():
    camera = view(shape=(8, 8))
    around = one(Curve(((20.0, -900.0, 30.0),), 25.0))
    torch.testing.assert_close(project_objects([around], camera), torch.full((1, 1, 8, 8), 25.0))


def test_shadows_are_differentiable_in_the_camera(generator):
    """Where a ray does not come upon an edge within the step."""
    camera = view(shape=(40, 40), pixel_mm=(2.0, 2.0))
    things = [one(replace(BENT, radius_mm=9.0), COIN, BOX, holes=(replace(BENT, radius_mm=4.0),))]

    def image(source):
        return project_objects(things, replace(camera, source=source)).double()

    source = camera.source.clone().requires_grad_(True)
    found = image(source)
    for axis in range(3):
        step = torch.zeros(1, 3, dtype=torch.float64)
        step[0, axis] = 0.2
        after, before = image(camera.source + step), image(camera.source - step)
        smooth = ((after - 2 * found + before).abs() < 2e-3) & (found > 1)
        weights = torch.rand(found.shape, generator=generator, dtype=torch.float64) * smooth
        (slope,) = torch.autograd.grad((found * weights).sum(), source, retain_graph=True)
        expected = ((after - before) * weights).sum() / 0.4
        assert smooth.sum() > 200 and abs(float(expected)) > 0.1
        assert float(slope[0, axis]) == pytest.approx(float(expected), rel=0.02)


def test_mass_and_attenuation_follow_from_the_lengths():
    camera = view()
    plate = PlacedObject("plate", "plate", (Part("copper", (BOX,)), Part("pvc", (COIN,), (BOX,))))
    images = project_object_materials([plate, one(BENT)], camera)
    assert images.materials == ("copper", "pvc", "steel")
    copper = project_objects([one(BOX)], camera)[:, 0]
    expected = copper / 10 * COMPOSITIONS["copper"].density_g_per_cm3
    torch.testing.assert_close(images.areal_density_g_per_cm2[:, 0], expected, atol=1e-5, rtol=1e-5)
    energies = torch.tensor([70.0], dtype=torch.float64)
    sums = [
        images.areal_density_g_per_cm2[:, number] * float(mass_attenuation_cm2_per_g(name, energies))
        for number, name in enumerate(images.materials)
    ]
    torch.testing.assert_close(images.attenuation(), sum(sums)[:, None])
    assert images.attenuation(40.0).sum() > images.attenuation().sum()
    parts = images.lengths_mm[:, 0]
    torch.testing.assert_close(parts, project_objects([one(BOX, COIN)], camera)[:, 0], atol=2e-5, rtol=0)


def test_each_object_has_its_mask():
    lengths = project_objects([one(COIN), one(Curve(((20.0, 0.0, 0.0),), 4.0))], view())
    masks = object_masks(lengths)
    assert masks.dtype == torch.bool and masks.shape == lengths.shape
    assert (masks == (lengths > 0)).all() and 0 < masks[0, 1].sum() < masks[0, 0].sum()
    assert object_masks(lengths, least_mm=5.0).sum() < masks.sum()


def test_a_curve_is_smooth_passes_its_points_and_has_sides():
    chain = polyline(BENT)
    for place in BENT.points:
        assert (chain - torch.tensor(place, dtype=torch.float64)).norm(dim=1).min() < 1e-9
    steps = chain[1:] - chain[:-1]
    assert steps.norm(dim=1).max() < STEP_MM * 1.5
    bends = torch.nn.functional.cosine_similarity(steps[1:], steps[:-1], dim=1)
    assert bends.min() > math.cos(0.4)
    beside = polyline(replace(BENT, aside_mm=2.0, turn_rad=1.0))
    torch.testing.assert_close((beside - chain).norm(dim=1), torch.full((len(chain),), 2.0, dtype=torch.float64))
    part = polyline(replace(BENT, span_mm=(10.0, 35.0)))
    assert float((part[1:] - part[:-1]).norm(dim=1).sum()) == pytest.approx(25.0)
    straight = polyline(replace(BENT, bent=False))
    assert straight.tolist() == [list(place) for place in BENT.points]


@pytest.fixture(scope="module")
def marks():
    return find_landmarks(map_body(plain_chest()))


@pytest.fixture(scope="module")
def phantom():
    return thorax(2, spacing_mm=4.0).ct


@pytest.fixture(scope="module")
def cameras(phantom):
    return {name: chest_camera(phantom, name, shape=(120, 100)) for name in ("ap", "pa", "lateral")}


@pytest.fixture(scope="module")
def marked(phantom):
    return find_landmarks(map_body(phantom))


@pytest.mark.parametrize("kind", KINDS)
def test_every_kind_is_seen_from_the_front_and_the_side(kind, marked, cameras, generator):
    camera = cameras["ap"]
    found = place_objects(marked, kind, generator, camera=camera)
    names = [thing.name for thing in found]
    assert found and len(set(names)) == len(names)
    masks = object_masks(project_objects(found, camera)).flatten(2).sum(dim=2)[0]
    assert (masks > 0).all() and (masks < 0.25 * 120 * 100).all()
    side = project_objects(found, cameras["lateral"])
    assert (object_masks(side).flatten(2).any(dim=2)).any()


@pytest.mark.parametrize("kind", KINDS)
def test_an_object_beside_the_field_casts_no_shadow(kind, marked, cameras, generator):
    placed = place_objects(marked, (kind,), generator, camera=cameras["pa"])
    aside = replace(cameras["pa"], detector_centre=cameras["pa"].detector_centre + 2000 * cameras["pa"].image_right)
    assert not project_objects(placed, aside, samples=1).any()


def test_the_same_seed_places_the_same_and_a_record_replays(marked, cameras):
    found = [place_objects(marked, list(KINDS), torch.Generator().manual_seed(seed)) for seed in (3, 3, 4)]
    assert found[0] == found[1] != found[2]
    stored = json.loads(json.dumps([thing.to_dict() for thing in found[0]]))
    again = tuple(PlacedObject.from_dict(numbers) for numbers in stored)
    assert again == found[0]
    camera = cameras["pa"]
    assert torch.equal(project_objects(again, camera), project_objects(found[0], camera))


def test_two_of_a_kind_have_two_names(marks, generator):
    found = place_objects(marks, ["chest_tube", "chest_tube"], generator)
    assert [thing.name for thing in found] == ["chest tube", "chest tube (2)"]


def tips(thing):
    """The first point of each of an object's curves, relative to the plain chest's middle, mm."""
    curves = [shape for part in thing.parts for shape in part.solids if isinstance(shape, Curve)]
    return torch.tensor([curve.points[0] for curve in curves], dtype=torch.float64) - torch.tensor(CENTRE_MM)


def test_landmarks_are_where_the_plain_chest_has_them(marks):
    x, y, z = CENTRE_MM
    assert marks.midline_mm == pytest.approx(x, abs=3)
    assert marks.skin(x, z)[1] == pytest.approx(y + 100, abs=5)
    assert marks.skin(x, z, back=True, above_mm=3.0)[1] == pytest.approx(y - 103, abs=5)
    assert marks.carina.tolist() == pytest.approx([x, y - 10, z + 22], abs=8)
    assert marks.windpipe[0].tolist() == pytest.approx([x, y - 10, z + 128], abs=8)
    assert marks.sternum[5:12, 1] == pytest.approx(y + 86, abs=7)
    assert marks.lungs_mm[0, :, 0].tolist() == pytest.approx([x + 20, x + 120], abs=6)
    assert (marks.top_mm, marks.base_mm) == pytest.approx((z + 110, z - 110), abs=8)


def test_tubes_end_where_they_should(marks):
    """Right is +x. Above the carina; right of the midline; below the left lung's base; within the chest."""
    for seed in range(6):
        found = place_objects(marks, list(KINDS), torch.Generator().manual_seed(seed))
        by_kind = {thing.kind: thing for thing in found}
        carina = torch.from_numpy(marks.carina) - torch.tensor(CENTRE_MM)
        tube = tips(by_kind["endotracheal_tube"])[0]
        assert 15 < float(tube[2] - carina[2]) < 75 and float((tube - carina)[:2].norm()) < 10
        stomach = tips(by_kind["gastric_tube"])[0]
        assert stomach[0] < -20 and stomach[2] < -110
        vein = by_kind["central_line"].parts[0].solids[0].points[-1]
        assert 10 < vein[0] - marks.midline_mm < 45 and -50 < vein[2] - marks.carina[2] < 0
        drain = tips(by_kind["chest_tube"])[0]
        assert 20 < abs(float(drain[0])) < 120 and abs(float(drain[2])) < 110
        leads = {thing.name: tips(thing)[0] for thing in found if thing.kind == "pacemaker_lead"}
        assert leads["ventricular lead"][0] < -25 and leads["ventricular lead"][1] > 20


def test_electrodes_lie_on_the_skin_and_wires_behind_it(marks, generator):
    found = place_objects(marks, ["electrodes", "sternal_wires", "buttons"], generator)
    pads = [thing.parts[0].solids[0] for thing in found if thing.kind == "electrode"]
    assert len(pads) >= 3
    for pad in pads:
        x, y, z = pad.centre
        assert y == pytest.approx(marks.skin(x, z)[1], abs=1.5)
    (wires,) = (thing for thing in found if thing.kind == "sternal_wires")
    for curve in wires.parts[0].solids:
        assert all(y < marks.skin(x, z)[1] for x, y, z in curve.points)


@pytest.mark.parametrize("setting", SETTINGS)
def test_random_sets_are_seen_and_differ(setting, marked, cameras):
    camera = cameras["pa"]
    sets = [
        random_objects(marked, torch.Generator().manual_seed(seed), camera=camera, setting=setting, at_least=2)
        for seed in range(5)
    ]
    assert len({tuple(thing.kind for thing in found) for found in sets}) > 1
    for found in sets:
        check_seen(found, project_objects(found, camera))
    assert random_objects(marked, torch.Generator().manual_seed(1), setting="standing", at_least=0) is not None


def test_a_chest_without_windpipe_or_lungs_still_has_places(generator):
    chest = plain_chest()
    chest.values[chest.values < -800] = torch.where(chest.values[chest.values < -800] == -850, 40.0, -1000.0)
    found = place_objects(chest, list(KINDS), generator)
    assert len(found) > len(KINDS)


WRONG = [
    (lambda g: place_objects(plain_chest(), "umbrella", g), "unknown kind of object 'umbrella'; expected some of elec"),
    (lambda g: random_objects(plain_chest(), g, setting="beach"), "unknown setting 'beach'; expected one of bedside"),
    (lambda g: project_objects([one(COIN)], view(), samples=0), "samples is 0; expected at least 1 ray a pixel"),
    (lambda g: one(COIN, material="cheese"), "unknown material 'cheese'"),
    (
        lambda g: check_seen([one(COIN)], torch.zeros(1, 1, 4, 5)),
        "object 'thing' lies outside the field: none of 4 x 5",
    ),
    (lambda g: one(), "a part of steel has no solids"),
    (lambda g: Curve((), 1.0), "a curve has 0 points and radius 1 mm"),
    (lambda g: Disc((0.0, 0.0, 0.0), (0.0, 0.0, 0.0), 1.0, 1.0), "expected all above 0"),
    (lambda g: replace(BOX, outline=((0, 0), (9, 0), (1, 1), (0, 9))), "expected a convex outline of at least 3"),
    (lambda g: PlacedObject.from_dict({"name": "x"}), "an object's record does not fit"),
    (
        lambda g: PlacedObject.from_dict(record(shape="cone")),
        "an object's shape is unknown; expected one of curve, disc",
    ),
    (lambda g: PlacedObject.from_dict(record(colour=1)), "an object's shape does not fit"),
]


def record(**changes):
    numbers = one(COIN).to_dict()
    numbers["parts"][0]["solids"][0].update(changes)
    return numbers


@pytest.mark.parametrize(("call", "message"), WRONG, ids=lambda value: value[:30] if isinstance(value, str) else "")
def test_what_cannot_be_is_refused_in_one_line(call, message, generator):
    with pytest.raises((UsageError, GeometryError)) as caught:
        call(generator)
    assert message in str(caught.value) and "\n" not in str(caught.value)


def test_an_object_outside_the_field_is_named(phantom, cameras, generator):
    camera = replace(cameras["pa"], shape=(20, 20), pixel_mm=(0.2, 0.2))
    with pytest.raises(UsageError, match="object 'electrode 1' lies outside the field"):
        place_objects(phantom, "electrodes", generator, camera=camera)
    found = random_objects(phantom, generator, camera=camera, at_least=3)
    assert "electrodes" not in {thing.kind for thing in found}
    check_seen(found, project_objects(found, camera))


@pytest.mark.parametrize("dtype", [torch.float64, torch.float16])
def test_nothing_depends_on_the_default_dtype(dtype, marked, cameras):
    def drawn():
        things = place_objects(marked, ["electrodes", "pacemaker"], torch.Generator().manual_seed(1))
        return things, project_objects(things, cameras["pa"], samples=2)

    (things, lengths), before = drawn(), torch.get_default_dtype()
    torch.set_default_dtype(dtype)
    try:
        again, same = drawn()
    finally:
        torch.set_default_dtype(before)
    assert again == things and torch.equal(same, lengths)


def test_objects_on_a_real_ct_lie_over_its_chest(real_data, generator):
    ct = read_volume(real_data / "ct" / "cptac-pda-C3N-00249" / "ct_2mm.nii.gz")
    camera = chest_camera(ct, "ap", shape=(155, 120))
    found = random_objects(ct, generator, camera=camera)
    images = project_object_materials(found, camera)
    check_seen(found, images.lengths_mm)
    assert 0.005 < float(object_masks(images.lengths_mm).any(dim=1).float().mean()) < 0.4
