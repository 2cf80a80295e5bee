"""Measures that labels tell: closed forms, the phantom's known truth, and reasons where labels do not tell them."""

import json
import math
from dataclasses import replace

import numpy as np
import pytest
import torch

from nerp.anatomy.carina import bronchial_angle
from nerp.anatomy.measures import axial_ratio, lung_volumes, measure_volume, spine_curve, voxels_of
from nerp.camera import Camera, chest_camera
from nerp.label_names import superclass_labels
from nerp.phantom import LABELS, thorax
from nerp.phantom.canvas import leaning
from nerp.phantom.chest import Chest
from nerp.phantom.patient import draw_patient
from nerp.projection import MaskRule
from nerp.projection.measures import cardiothoracic_ratio, isocentre_area_mm2, measure, measure_film
from nerp.volume import Volume

NAMES = {1: "lung_right", 2: "lung_left", 3: "heart", 4: "vertebrae", 5: "trachea"}
RADII = {1: (50.0, 60.0, 90.0), 2: (40.0, 60.0, 80.0), 3: (60.0, 45.0, 50.0)}
PLACES = {1: (70.0, 0.0, 0.0), 2: (-70.0, 0.0, 0.0), 3: (-10.0, 0.0, 0.0)}


def grid(half_mm=(140.0, 80.0, 110.0), spacing_mm=2.0, turn=None):
    """World x, y, z of a grid's voxels, and its affine; `turn` mixes its axes without moving the world."""
    order = turn or (0, 1, 2)
    counts = [round(2 * half_mm[axis] / spacing_mm) for axis in order]
    affine = torch.zeros(4, 4, dtype=torch.float64)
    for index, axis in enumerate(order):
        sign = -1.0 if turn and axis == 2 else 1.0
        affine[axis, index] = sign * spacing_mm
        affine[axis, 3] = -sign * (counts[index] - 1) / 2 * spacing_mm
    affine[3, 3] = 1.0
    index = torch.stack(torch.meshgrid(*(torch.arange(n).double() for n in counts), indexing="ij"), dim=-1)
    return (index @ affine[:3, :3].T + affine[:3, 3]).unbind(-1), affine


def ellipsoids(values=(1, 2, 3), **places):
    """Lungs and heart of ellipsoids, which do not touch; a heart between them lies over them in no voxel."""
    xyz, affine = grid(**places)
    labels = torch.zeros(xyz[0].shape)
    for value in values:
        inside = sum(((a - b) / r) ** 2 for a, b, r in zip(xyz, PLACES[value], RADII[value], strict=True)) < 1
        labels[inside & (labels == 0)] = value
    return Volume(labels[None], affine, "label")


@pytest.mark.parametrize("turn", [None, (2, 0, 1), (1, 2, 0)])
def test_lung_volumes_are_ellipsoids(turn):
    found = lung_volumes(ellipsoids((1, 2), turn=turn), NAMES)
    right, left = (4 / 3 * math.pi * math.prod(RADII[value]) / 1000 for value in (1, 2))
    assert found["lung_volume_right_ml"].value == pytest.approx(right, rel=0.005)
    assert found["lung_volume_left_ml"].value == pytest.approx(left, rel=0.005)
    assert found["lung_volume_ml"].value == pytest.approx(left + right, rel=0.005)


def overlapping(turn=None):
    """Heart and lungs whole, in two maps."""
    heart, lungs = ellipsoids((3,), turn=turn), ellipsoids((1, 2), turn=turn)
    return Volume(torch.cat([heart.values, lungs.values]), heart.affine, "label")


@pytest.mark.parametrize("turn", [None, (2, 0, 1)])
def test_ratio_of_the_ct_is_that_of_the_widths(turn):
    assert axial_ratio(overlapping(turn), NAMES).value == pytest.approx(120.0 / (120.0 + 110.0), abs=0.015)


def test_free_air_and_fluid_belong_to_the_chest():
    labels = ellipsoids()
    edge = labels.values.clone()
    x = grid()[0][0]
    edge[0][(labels.values[0] == 1) & (x > 90)] = 9
    collapsed = Volume(edge, labels.affine, "label")
    assert axial_ratio(collapsed, {**NAMES, 9: "pneumothorax"}).value == axial_ratio(labels, NAMES).value
    assert axial_ratio(collapsed, {**NAMES, 9: "fat"}).value > axial_ratio(labels, NAMES).value


def spine(sideways, *, low=-150.0, high=150.0, lean=0.0):
    (x, y, z), affine = grid((60.0, 30.0, 155.0))
    middle = sideways(z) + lean * z
    return Volume((((x - middle) ** 2 + y**2 < 15**2) & (z > low) & (z < high))[None].float() * 4, affine, "label")


def test_spine_of_a_wave_has_its_angle_and_amplitude():
    amplitude, wave_mm = 8.0, 300.0
    angle, deviation = spine_curve(spine(lambda z: amplitude * torch.cos(2 * math.pi * z / wave_mm)), (4,))
    steepest = math.degrees(math.atan(2 * math.pi * amplitude / wave_mm))
    assert angle.value == pytest.approx(2 * steepest, rel=0.06)
    assert deviation.value == pytest.approx(2 * amplitude, rel=0.06)


def test_spine_that_leans_is_straight():
    angle, deviation = spine_curve(spine(lambda z: 0 * z, lean=0.12), (4,))
    assert angle.value < 1.0 and deviation.value < 1.5


def test_short_and_missing_spines_say_so():
    short, _ = spine_curve(spine(lambda z: 0 * z, low=0.0, high=80.0), (4,))
    assert short.value is None and short.reason == "less than 100 mm of spine is labelled"
    assert spine_curve(ellipsoids(), (4,))[1].reason == "no label is of the spine"


def bifurcation(right_deg, left_deg, *, reach_mm=60.0, spacing_mm=1.0, turn=None):
    """A straight windpipe that divides into two straight tubes of 6 mm radius."""
    xyz, affine = grid((60.0, 20.0, 60.0), spacing_mm, turn)
    places = torch.stack(xyz, dim=-1)
    inside = (places[..., :2].norm(dim=-1) < 8) & (places[..., 2] > 0)
    for sign, degrees in ((1, right_deg), (-1, left_deg)):
        way = torch.tensor([sign * math.sin(math.radians(degrees)), 0.0, -math.cos(math.radians(degrees))]).double()
        along = (places @ way).clamp(0, reach_mm)
        inside |= (places - along[..., None] * way).norm(dim=-1) < 6
    return Volume(inside[None].float() * 5, affine, "label")


@pytest.mark.parametrize(("right", "left"), [(25, 45), (30, 30), (40, 50)])
@pytest.mark.parametrize("turn", [None, (2, 0, 1)])
def test_carina_angle_is_the_tubes(right, left, turn):
    labels = bifurcation(right, left, turn=turn)
    angle, reason = bronchial_angle(labels, voxels_of(labels, (5,)))
    assert angle == pytest.approx(right + left, abs=2.5) and reason == ""


def test_carina_without_bronchi_is_not_guessed():
    labels = bifurcation(30, 30, reach_mm=0.0)
    assert bronchial_angle(labels, voxels_of(labels, (5,))) == (
        None,
        "the labels do not show where the windpipe divides",
    )
    short = bifurcation(30, 30, reach_mm=20.0)
    angle, reason = bronchial_angle(short, voxels_of(short, (5,)))
    assert angle is None and reason.startswith("the main bronchi are labelled over")
    assert bronchial_angle(short, voxels_of(short, (1,)))[1] == "no label is of the airways"


def camera(shape=(300, 300), pixel_mm=1.2, source_mm=1000.0, beyond_mm=200.0):
    """PA: the source behind, the detector before the isocentre in the origin."""
    place = [[0.0, -source_mm, 0.0]], [[0.0, beyond_mm, 0.0]], [[-1.0, 0.0, 0.0]], [[0.0, 0.0, -1.0]]
    vectors = (torch.tensor(one, dtype=torch.float64) for one in place)
    isocentre = torch.zeros(1, 3, dtype=torch.float64)
    return Camera(*vectors, shape=shape, pixel_mm=(pixel_mm, pixel_mm), isocentre=isocentre)


def test_ratio_of_rectangles():
    heart, chest = torch.zeros(50, 100, dtype=torch.bool), torch.zeros(50, 100, dtype=torch.bool)
    heart[20:25, 30:45], heart[30:40, 40:60] = True, True
    chest[10:20, 10:40], chest[10:20, 60:80], chest[25:45, 5:30], chest[25:45, 70:90] = (True,) * 4
    assert cardiothoracic_ratio(heart, chest) == pytest.approx(30 / 85)


def test_ratio_on_a_film_from_afar_is_that_of_the_widths():
    found = measure_film(overlapping(), NAMES, camera(source_mm=1e5, beyond_mm=0.0, shape=(200, 200), pixel_mm=1.5))
    assert found["cardiothoracic_ratio"].value == pytest.approx(120 / 230, abs=0.015)


def test_a_heart_nearer_to_the_source_is_larger_on_the_film():
    """Both flat, the heart 100 mm nearer to the source than the chest: wider by (D + 50) / (D - 50)."""
    (x, y, z), affine = grid()
    labels = torch.zeros(x.shape)
    labels[(x.abs() < 110) & ((y - 50).abs() < 2) & (z.abs() < 50)] = 1
    labels[(x < 0) & (labels == 1)] = 2
    labels[(x.abs() < 50) & ((y + 50).abs() < 2) & (z.abs() < 50)] = 3
    found = measure_film(Volume(labels[None], affine, "label"), NAMES, camera(shape=(600, 600), pixel_mm=0.6))
    assert found["cardiothoracic_ratio"].value == pytest.approx(100 / 220 * 1050 / 950, rel=0.01)


def test_lung_area_is_in_the_isocentres_plane_whatever_the_detector():
    labels = ellipsoids((1, 2))
    area = math.pi * RADII[1][0] * RADII[1][2]
    for beyond_mm in (0.0, 200.0, 500.0):
        one = camera(beyond_mm=beyond_mm, pixel_mm=0.75 * (1 + beyond_mm / 1e5), source_mm=1e5, shape=(400, 400))
        assert measure_film(labels, NAMES, one)["lung_area_right_mm2"].value == pytest.approx(area, rel=0.02)
    near = camera(source_mm=1000.0, beyond_mm=200.0)
    assert isocentre_area_mm2(near) == pytest.approx(1.2**2 / 1.2**2)
    assert isocentre_area_mm2(replace(near, isocentre=None)) is None


def test_every_measure_or_its_reason_is_flat_json():
    found = measure(ellipsoids(), NAMES, camera())
    assert json.loads(json.dumps(found)) == found
    assert found["spine_angle_deg"] is None and found["carina_angle_deg"] is None
    told = dict(part.split(": ", 1) for part in found["not_measured"].split("; "))
    assert told == {
        "spine_angle_deg": "no label is of the spine",
        "spine_deviation_mm": "no label is of the spine",
        "carina_angle_deg": "no label is of the airways",
    }
    assert measure(ellipsoids(()), NAMES, camera()).keys() == found.keys()
    assert all(value is None for key, value in measure(ellipsoids(()), {}, camera()).items() if key != "not_measured")


@pytest.mark.parametrize(
    ("labels", "names", "view", "key", "reason"),
    [
        (ellipsoids((1, 2)), NAMES, camera(), "cardiothoracic_ratio", "no label is of the heart"),
        (ellipsoids((1, 3)), NAMES, camera(), "cardiothoracic_ratio", "no label is a left lung"),
        (ellipsoids((1, 3)), NAMES, camera(), "cardiothoracic_ratio_3d", "no label is a left lung"),
        (ellipsoids(), {**NAMES, 1: "lung", 2: "lung"}, camera(), "lung_area_left_mm2", "no label is a left lung"),
        (
            ellipsoids(half_mm=(140.0, 80.0, 80.0)),
            NAMES,
            camera(),
            "lung_volume_right_ml",
            "the CT cuts the right lung off",
        ),
        (ellipsoids(half_mm=(140.0, 80.0, 80.0)), NAMES, camera(), "cardiothoracic_ratio", "the CT cuts the lungs off"),
        (ellipsoids(), NAMES, camera(shape=(300, 160)), "cardiothoracic_ratio", "the film cuts the chest off"),
        (ellipsoids(), NAMES, camera(shape=(160, 300)), "lung_area_right_mm2", "the film cuts the lung off"),
    ],
)
def test_what_labels_do_not_tell_has_a_reason(labels, names, view, key, reason):
    found = measure(labels, names, view)
    assert found[key] is None and f"{key}: {reason}" in found["not_measured"]


def test_a_lateral_film_has_no_cardiothoracic_ratio():
    labels = ellipsoids()
    lateral = chest_camera(Volume(labels.values, labels.affine, "label"), "lateral")
    told = measure_film(labels, NAMES, lateral)["cardiothoracic_ratio"]
    assert told.value is None and told.reason == "the view is lateral; expected pa or ap"


@pytest.fixture(scope="module", params=[(), ("large_heart",), ("pneumothorax", "effusion")], ids=str)
def phantom(request):
    return request.param, thorax(5, spacing_mm=5.0, findings=request.param)


def test_phantoms_measure_as_adults_do(phantom):
    findings, made = phantom
    found = measure(made.labels, LABELS, chest_camera(made.ct))
    assert found["not_measured"] == ""
    assert (0.36 < found["cardiothoracic_ratio"] < 0.5) != ("large_heart" in findings)
    assert found["cardiothoracic_ratio"] == pytest.approx(found["cardiothoracic_ratio_3d"], abs=0.04)
    assert found["lung_area_mm2"] <= found["lung_area_left_mm2"] + found["lung_area_right_mm2"] + 1e-6
    assert 80 < found["carina_angle_deg"] < 105


@pytest.mark.parametrize("seed", [5, 9])
def test_phantoms_spine_bends_as_drawn(seed):
    """The spine's own bend, leaned, turned and scaled with the patient: known at every height."""
    patient = draw_patient(seed)
    chest, heights = Chest(patient), torch.linspace(-200, 150, 60)
    own = torch.stack([chest.spine_x(heights), chest.spine_y(heights), heights], dim=1) * torch.tensor(patient.scale)
    x, _, z = (own @ leaning(patient.yaw_rad, patient.lean).T).double().numpy().T
    line = np.interp(z, z[[0, -1]], x[[0, -1]])
    _, deviation = spine_curve(thorax(seed, spacing_mm=4.0).labels, superclass_labels(LABELS, "spine"))
    assert deviation.value == pytest.approx(np.abs(x - line).max(), abs=1.5)


def test_lung_fields_of_a_rule_are_smaller_than_shadows():
    made = thorax(5, spacing_mm=5.0)
    view = chest_camera(made.ct, shape=128)
    shadow = measure_film(made.labels, LABELS, view)
    field = measure_film(made.labels, LABELS, view, lung_rule=MaskRule("visible"))
    for side in ("", "_left", "_right"):
        assert 0.4 < field[f"lung_area{side}_mm2"].value / shadow[f"lung_area{side}_mm2"].value < 0.95
    assert measure_volume(made.labels, LABELS).keys() & field.keys() == set()
