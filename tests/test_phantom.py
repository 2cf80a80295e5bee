"""The phantom: closed forms of its shapes, plausible anatomy, findings, and folders that resume."""

import csv
import math

import pytest
import torch
from scipy import ndimage

from nerp.errors import DataError, UsageError
from nerp.label_maps import read_labels
from nerp.phantom import FINDINGS, LABEL_OF, LABELS, LUNG_LABELS, OBSCURING_LABELS, thorax, write_phantoms
from nerp.phantom.bones import SIDES, rib_path
from nerp.phantom.canvas import Canvas, leaning
from nerp.phantom.chest import Chest
from nerp.phantom.findings import draw_findings
from nerp.phantom.patient import draw_patient
from nerp.phantom.shapes import Profile, Tubes, ellipsoid, smooth_union, tube
from nerp.phantom.thorax import describe
from nerp.phantom.vessels import Growth, grow
from nerp.volume import read_volume

COARSE_MM = 6.0
MAN, WOMAN = 0, 3


@pytest.fixture(scope="module")
def man():
    return thorax(MAN, spacing_mm=3.0)


@pytest.fixture(scope="module")
def man_at_4_mm():
    return thorax(MAN, spacing_mm=4.0)


@pytest.fixture(scope="module")
def woman():
    return thorax(WOMAN, spacing_mm=COARSE_MM)


@pytest.fixture(scope="module")
def sick():
    """One phantom a finding, and the healthy one, all of the same person."""
    made = {name: thorax(MAN, spacing_mm=COARSE_MM, findings=(name,)) for name in FINDINGS}
    return {**made, "none": thorax(MAN, spacing_mm=COARSE_MM)}


def mask(phantom, *names):
    """(D, H, W) bool: voxels of any of these labels."""
    wanted = torch.tensor([LABEL_OF[name] for name in names], dtype=torch.float32)
    return torch.isin(phantom.labels.values[0], wanted)


def centre_mm(phantom, *names):
    """(3,) world mm: middle of these labels."""
    where = mask(phantom, *names).nonzero().double().mean(0)
    return phantom.labels.affine[:3, :3] @ where + phantom.labels.affine[:3, 3]


def litres(phantom, labels):
    voxels = torch.isin(phantom.labels.values, torch.tensor(labels, dtype=torch.float32)).sum().item()
    return voxels * math.prod(phantom.labels.spacing_mm) / 1e6


def width_mm(phantom, inside):
    """Extent along the patient's right-left axis."""
    (occupied,) = inside.any(2).any(1).nonzero(as_tuple=True)
    return float(occupied[-1] - occupied[0] + 1) * phantom.labels.spacing_mm[0]


def rows_of(path):
    return list(csv.DictReader(path.read_text(encoding="utf-8").splitlines()))


def blank(spacing_mm, half_mm=30.0):
    corner = [half_mm] * 3
    return Canvas([-c for c in corner], corner, spacing_mm=spacing_mm, scale=(1.0, 1.0, 1.0), posture=leaning(0.0, 0.0))


def painted_mm3(canvas):
    return ((canvas.hu + 1000.0) / 1000.0).sum().item() * canvas.voxel_mm**3


# --- shapes -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("spacing_mm", [1.0, 2.0, 3.0])
def test_painted_ball_holds_its_volume(spacing_mm):
    canvas = blank(spacing_mm)
    canvas.paint("heart", 0.0, ellipsoid(canvas.points, (0.3, -0.2, 0.1), (20.0, 20.0, 20.0)))
    assert painted_mm3(canvas) == pytest.approx(4 / 3 * math.pi * 20**3, rel=0.01)


@pytest.mark.parametrize("radius_mm", [0.4, 0.7, 1.1, 4.0])
def test_thin_vessels_keep_their_amount_on_a_coarse_grid(radius_mm):
    canvas = blank(2.0)
    pipe = tube([(-45.0, 2.3, 1.1), (45.0, -3.0, 4.0)], radius_mm, 12)
    box, distance = canvas.sweep(pipe.thinned(canvas.voxel_mm))
    canvas.paint(None, 0.0, distance, box)
    length = math.hypot(60.0, 5.3 * 60 / 90, 2.9 * 60 / 90)
    assert painted_mm3(canvas) == pytest.approx(math.pi * radius_mm**2 * length, rel=0.12)


def test_sweep_equals_the_distance_to_the_nearest_tube():
    canvas = blank(3.0)
    pipes = tube([(-20.0, 0.0, 0.0), (0.0, 15.0, 5.0), (20.0, 0.0, -10.0)], (3.0, 6.0, 4.0), 9)
    box, distance = canvas.sweep(pipes)
    points = torch.stack([axis.expand(distance.shape) for axis in canvas.at(box)], -1).reshape(-1, 3)
    exact = pipes.nearest(points).view(distance.shape)
    near = exact < 0.5 * canvas.voxel_mm
    torch.testing.assert_close(distance[near], exact[near], atol=1e-3, rtol=0)
    assert (distance[~near] > 0).all()


def test_elliptic_tube_has_its_two_radii():
    flat = Tubes(
        torch.tensor([[0.0, 0.0, -50.0]]),
        torch.tensor([[0.0, 0.0, 50.0]]),
        torch.tensor([[6.0, 6.0]]),
        0.5,
        torch.tensor([[1.0, 0.0, 0.0]]),
    )
    edges = torch.tensor([[3.0, 0.0, 0.0], [-3.0, 0.0, 9.0], [0.0, 6.0, 0.0], [0.0, -6.0, -7.0]])
    assert flat.nearest(edges).abs().max() < 1e-5


def test_profile_meets_its_knots_and_never_overshoots():
    profile = Profile((-10.0, 0.0, 7.0, 30.0), (1.0, 4.0, 4.0, 2.0))
    knots = torch.tensor([-10.0, 0.0, 7.0, 30.0, -99.0, 99.0])
    torch.testing.assert_close(profile(knots), torch.tensor([1.0, 4.0, 4.0, 2.0, 1.0, 2.0]), atol=0.01, rtol=0)
    assert profile(torch.linspace(-10, 30, 500)).max() <= 4.0


def test_smooth_union_only_adds():
    first, second = torch.linspace(-5, 5, 41), torch.linspace(5, -5, 41)
    united = smooth_union(first, second, 3.0)
    assert (united <= torch.minimum(first, second)).all()
    torch.testing.assert_close(united[0], first[0])


def test_trees_reach_every_target_and_taper(generator):
    targets = torch.rand(30, 3, generator=generator) * 60.0
    tree = grow(Growth((0.0, 0.0, 0.0), (1.0, 0.0, 0.0), 6.0, 30), targets, generator)
    gaps = torch.cdist(targets, tree.end).amin(1)
    assert gaps.max() < 0.1
    assert tree.radii_mm.max() == pytest.approx(6.0)
    assert (tree.radii_mm[:, 1] <= tree.radii_mm[:, 0]).all()


# --- anatomy ----------------------------------------------------------------------------------------------------------


def test_labels_are_many_named_and_present(man):
    present = {LABELS[int(value)] for value in man.labels.values.unique() if value > 0}
    sometimes = {"breast", "colon_gas", *FINDINGS[:4]}
    assert present | sometimes == set(LABELS.values())
    assert len(present) >= 15
    assert set(LUNG_LABELS) | set(OBSCURING_LABELS) <= set(LABELS)
    assert not set(LUNG_LABELS) & set(OBSCURING_LABELS)


@pytest.mark.parametrize(
    ("name", "low_hu", "high_hu"),
    [
        ("lung_right", -900, -800),
        ("lung_left", -900, -800),
        ("trachea", -1000, -550),
        ("fat", -150, -50),
        ("muscle", 10, 80),
        ("heart", 20, 70),
        ("aorta", 15, 70),
        ("liver", 30, 80),
        ("stomach_gas", -1000, -700),
        ("pulmonary_arteries", -350, 60),
        ("vertebrae", 120, 400),
        ("discs", 20, 200),
        ("rib_left_6", 300, 900),
        ("clavicle_right", 300, 900),
        ("humerus_left", 250, 800),
        ("sternum", 50, 400),
        ("costal_cartilage", 40, 150),
    ],
)
def test_each_tissue_has_its_density(man, name, low_hu, high_hu):
    assert low_hu < man.ct.values[0][mask(man, name)].mean() < high_hu


def test_lung_is_denser_below_and_behind(man):
    hu, lung = man.ct.values[0], mask(man, "lung_right")
    _, back, high = (axis.float() for axis in torch.meshgrid(*(torch.arange(n) for n in lung.shape), indexing="ij"))
    low_half, back_half = high < high[lung].median(), back < back[lung].median()
    median = lambda part: hu[lung & part].median()  # noqa: E731
    assert median(low_half & back_half) > median(~low_half & ~back_half) + 20


def test_ct_is_whole_hu_on_the_labels_grid(man):
    assert man.ct.unit == "hu" and man.labels.unit == "label"
    assert torch.equal(man.ct.values, man.ct.values.round())
    assert man.ct.values.min() == -1000 and man.ct.values.max() < 3000
    assert torch.equal(man.ct.affine, man.labels.affine)
    torch.testing.assert_close(torch.tensor(man.ct.spacing_mm), torch.tensor([3.0] * 3))


@pytest.mark.parametrize("name", ["man", "woman"])
def test_left_is_left_and_up_is_up(name, request):
    phantom = request.getfixturevalue(name)
    spine = centre_mm(phantom, "vertebrae")
    assert centre_mm(phantom, "heart")[0] < spine[0] - 5
    assert centre_mm(phantom, "liver")[0] > spine[0] + 20
    for left in ("stomach_gas", "spleen", "lung_left", "clavicle_left", "humerus_left", "scapula_left", "rib_left_6"):
        assert centre_mm(phantom, left)[0] < spine[0] - 20
    assert centre_mm(phantom, "sternum")[1] > centre_mm(phantom, "heart")[1] > spine[1]
    assert centre_mm(phantom, "clavicle_right")[2] > centre_mm(phantom, "heart")[2] > centre_mm(phantom, "liver")[2]


def test_right_dome_of_the_diaphragm_stands_higher():
    chest = Chest(draw_patient(MAN))
    height = chest.diaphragm(torch.tensor([60.0, -62.0, 134.0]), torch.zeros(3))
    assert height[0] - height[1] == pytest.approx(chest.patient.dome_gap_mm, abs=2.0)
    assert height[2] < height[0] - 35


@pytest.mark.parametrize("seed", [MAN, 1, WOMAN, 4])
def test_lungs_hold_an_adult_breath(seed):
    assert 3.0 < litres(thorax(seed, spacing_mm=9.0), LUNG_LABELS) < 6.5


def test_only_women_have_breasts(man, woman):
    assert man.findings["sex"] == "M" and not mask(man, "breast").any()
    assert woman.findings["sex"] == "F" and litres(woman, [LABEL_OF["breast"]]) > 0.2


def test_twelve_pairs_of_ribs_are_separate_pieces(man):
    heights = {}
    for side in SIDES:
        for index in range(1, 13):
            rib = mask(man, f"rib_{side}_{index}")
            pieces, count = ndimage.label(rib.numpy(), structure=torch.ones(3, 3, 3).numpy())
            largest = max((pieces == k + 1).sum() for k in range(count))
            assert largest > 0.9 * rib.sum().item(), f"rib_{side}_{index}"
            heights[side, index] = centre_mm(man, f"rib_{side}_{index}")[2]
    for side in SIDES:
        steps = [heights[side, k] - heights[side, k + 1] for k in range(1, 12)]
        assert min(steps) > 5 and max(steps) < 45


@pytest.mark.parametrize("index", range(1, 9))
def test_ribs_slope_down_outwards_and_go_round_to_the_front(index):
    path, outward = rib_path(Chest(draw_patient(MAN)), 1.0, index, torch.linspace(0.06, 0.7, 50))
    outmost = path[:, 0].argmax()
    assert path[0, 2] > path[outmost, 2] + 10 and path[outmost, 2] > path[-1, 2] + 5
    assert path[-1, 1] - path[0, 1] > 60 and path[outmost, 0] - path[-1, 0] > 5
    assert (outward[:, 0] >= -1e-6).all()
    torch.testing.assert_close(outward.norm(dim=1), torch.ones(50))


# --- the same patient, again ------------------------------------------------------------------------------------------


def test_same_seed_same_bytes_whatever_the_threads_and_no_global_randomness():
    state, threads = torch.get_rng_state(), torch.get_num_threads()
    first = thorax(7, spacing_mm=8.0, findings=FINDINGS)
    torch.set_num_threads(2 if threads == 1 else 1)
    try:
        second = thorax(7, spacing_mm=8.0, findings=FINDINGS)
    finally:
        torch.set_num_threads(threads)
    assert torch.equal(first.ct.values, second.ct.values) and torch.equal(first.labels.values, second.labels.values)
    assert first.findings == second.findings
    assert torch.equal(state, torch.get_rng_state())
    assert describe(8)["scale_x"] != first.findings["scale_x"]


@pytest.mark.parametrize(
    "names",
    [("lung_right",), ("lung_left",), ("heart",), ("liver",), ("muscle",), ("vertebrae",), ("aorta",), ("stomach",)],
)
def test_another_spacing_shows_the_same_patient(man, man_at_4_mm, names):
    labels = [LABEL_OF[name] for name in names]
    assert litres(man_at_4_mm, labels) == pytest.approx(litres(man, labels), rel=0.05)
    torch.testing.assert_close(centre_mm(man_at_4_mm, *names), centre_mm(man, *names), atol=1.5, rtol=0)


def test_seeds_vary_what_they_should():
    people = [describe(seed) for seed in range(60)]
    assert {person["sex"] for person in people} == {"F", "M"}
    assert {person["arms_raised"] for person in people} == {True, False}
    for key, spread in (("scale_x", 0.1), ("fat_mm", 8.0), ("heart", 0.08), ("inspiration", 0.3), ("yaw_rad", 0.08)):
        values = [person[key] for person in people]
        assert max(values) - min(values) > spread, key


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"seed": -1}, "seed is -1; expected an integer of 0 or more"),
        ({"seed": 0, "spacing_mm": 0.1}, "spacing is 0.1 mm; expected 0.5 to 10 mm"),
        ({"seed": 0, "findings": ("efusion",)}, "unknown finding 'efusion'; expected any of effusion, nodule"),
    ],
)
def test_impossible_requests_are_refused(arguments, message):
    with pytest.raises(UsageError, match=message):
        thorax(arguments.pop("seed"), **arguments)


# --- findings ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", FINDINGS[:4])
def test_findings_carry_their_label_only_when_asked(sick, name):
    assert mask(sick[name], name).sum() >= 3
    assert not mask(sick["none"], *FINDINGS[:4]).any()
    assert sick[name].findings[name] is True and sick["none"].findings[name] is False


def test_large_heart_widens_the_cardiothoracic_ratio(sick):
    def ratio(phantom):
        lungs = torch.isin(phantom.labels.values[0], torch.tensor(LUNG_LABELS, dtype=torch.float32))
        return width_mm(phantom, mask(phantom, "heart")) / width_mm(phantom, lungs)

    assert 0.35 < ratio(sick["none"]) < 0.5 < ratio(sick["large_heart"]) < 0.75
    assert mask(sick["large_heart"], "vertebrae").sum() == mask(sick["none"], "vertebrae").sum()


def test_pneumothorax_is_air_without_vessels(sick):
    free = ndimage.binary_erosion(mask(sick["pneumothorax"], "pneumothorax").numpy())
    assert sick["pneumothorax"].ct.values[0][torch.from_numpy(free)].max() < -900
    side = sick["pneumothorax"].findings["pneumothorax_side"]
    assert (centre_mm(sick["pneumothorax"], "pneumothorax")[0] > 0) == (side == "right")
    assert centre_mm(sick["pneumothorax"], "pneumothorax")[2] > centre_mm(sick["none"], f"lung_{side}")[2]
    shrunk = mask(sick["pneumothorax"], f"lung_{side}").sum() / mask(sick["none"], f"lung_{side}").sum()
    assert 0.4 < shrunk < 0.95


def test_effusion_lies_at_the_bottom_and_climbs_the_wall(sick):
    phantom = sick["effusion"]
    side = phantom.findings["effusion_side"]
    assert centre_mm(phantom, "effusion")[2] < centre_mm(sick["none"], f"lung_{side}")[2] - 50
    fluid = mask(phantom, "effusion")
    assert 0 < phantom.ct.values[0][fluid].quantile(0.75) < 30
    tops = torch.where(fluid, torch.arange(fluid.shape[2]), -1).amax(2).amax(1)
    (occupied,) = (tops >= 0).nonzero(as_tuple=True)
    outer = occupied[-3:] if side == "right" else occupied[:3]
    assert tops[outer].max() > tops[occupied].float().mean()


def test_nodules_and_clouds_replace_lung(sick):
    healthy = sick["none"].ct.values[0]
    for name, gain_hu in (("nodule", 500.0), ("consolidation", 250.0)):
        where = mask(sick[name], name)
        assert (sick[name].ct.values[0][where].mean() - healthy[where].mean()) > gain_hu


# --- folders ----------------------------------------------------------------------------------------------------------


def test_folder_holds_volumes_names_and_findings(tmp_path):
    seen = []
    options = {"count": 2, "seed": 7, "spacing_mm": 9.0, "findings": ["effusion", "nodule"]}
    write_phantoms(tmp_path / "set", **options, progress=lambda done, count: seen.append((done, count)))
    assert seen == [(1, 2), (2, 2)]
    files = sorted(path.relative_to(tmp_path / "set").as_posix() for path in (tmp_path / "set").rglob("*.*"))
    volumes = [f"{part}/phantom_000{k}.nii.gz" for part in ("ct", "labels") for k in (0, 1)]
    assert files == sorted([*volumes, "findings.csv", "labels.csv"])
    ct = read_volume(tmp_path / "set/ct/phantom_0001.nii.gz")
    labels = read_labels(tmp_path / "set/labels/phantom_0001.nii.gz", ct)
    again = thorax(8, spacing_mm=9.0, findings=("nodule", "effusion"))
    assert torch.equal(ct.values, again.ct.values) and torch.equal(labels.values, again.labels.values)
    rows = rows_of(tmp_path / "set/findings.csv")
    assert [row["seed"] for row in rows] == ["7", "8"] and rows[0]["file"] == "phantom_0000.nii.gz"
    assert [rows[0][name] for name in FINDINGS] == ["1", "1", "0", "0", "0"]
    names = {int(row["value"]): row["name"] for row in rows_of(tmp_path / "set/labels.csv")}
    assert names == LABELS


def test_folder_resumes_without_redoing_and_refuses_other_settings(tmp_path):
    options = {"count": 2, "seed": 0, "spacing_mm": 10.0, "findings": "none"}
    write_phantoms(tmp_path, **options)
    kept, lost = tmp_path / "ct/phantom_0000.nii.gz", tmp_path / "labels/phantom_0001.nii.gz"
    before, table = lost.read_bytes(), (tmp_path / "findings.csv").read_bytes()
    age = kept.stat().st_mtime_ns
    lost.unlink()
    write_phantoms(tmp_path, **options)
    assert kept.stat().st_mtime_ns == age and lost.read_bytes() == before
    assert (tmp_path / "findings.csv").read_bytes() == table
    for change, found in (
        ({"seed": 1}, "seed '0', asked for '1'"),
        ({"findings": "nodule"}, "nodule '0', asked for '1'"),
    ):
        with pytest.raises(DataError, match=found + "; write into another folder"):
            write_phantoms(tmp_path, **{**options, **change})
    with pytest.raises(UsageError, match="count is 0; expected at least 1 phantom"):
        write_phantoms(tmp_path, count=0, seed=0)


def test_random_findings_follow_from_the_seed(tmp_path):
    drawn = [draw_findings(seed) for seed in range(40)]
    assert () in drawn and {name for names in drawn for name in names} == set(FINDINGS)
    seed = next(k for k, names in enumerate(drawn) if len(names) > 1)
    write_phantoms(tmp_path, count=1, seed=seed, spacing_mm=10.0, findings="random")
    row = rows_of(tmp_path / "findings.csv")[0]
    assert tuple(name for name in FINDINGS if row[name] == "1") == drawn[seed]
