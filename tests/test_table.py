"""The body alone: table, mattress and blankets go, the body stays as it is."""

import pytest
import torch
from plain_chest import places, plain_chest

from nerp.anatomy import body_voxels, map_body, without_table
from nerp.errors import VolumeError
from nerp.phantom import thorax
from nerp.volume import Volume, attenuation, read_volume


def changed(ct, mask, hu):
    """The CT with some voxels of other HU."""
    values = ct.values.clone()
    values[0][mask & (values[0] < -300)] = hu
    return Volume(values, ct.affine, "hu")


def shell(gap_mm, *, thick_mm=6.0, sag_mm=120.0):
    """A curved plate behind the plain chest, at least `gap_mm` from it; and the foam between."""
    (x, y, _), _ = places()
    top = -100.0 - gap_mm + x**2 / (2 * sag_mm * 6)
    plate = (y <= top) & (y > top - thick_mm) & (x.abs() < 180)
    foam = (y > top) & (y < -100.0 + x**2 / 400) & (x.abs() < 170)
    return plate, foam


@pytest.mark.parametrize("gap_mm", [4.0, 20.0])
def test_a_table_and_its_mattress_go(gap_mm):
    chest = plain_chest()
    plate, foam = shell(gap_mm)
    planted = changed(changed(chest, plate, 300.0), foam, -920.0)
    assert (planted.values != chest.values).sum() > 10000
    found = without_table(planted)
    body = chest.values > -300
    assert torch.equal(found.values[body], chest.values[body])
    left = ((found.values > -300) & ~body).sum() * 4.0**3 / 1000
    assert left <= (0.0 if gap_mm > 4 else 40.0), f"{left} ml of the table are left"
    beyond = ((found.values > -950) & (chest.values == -1000)).sum() * 4.0**3 / 1000
    assert beyond < 160.0, f"{beyond} ml of the mattress are left"


def test_a_table_that_touches_leaves_a_thin_stub_where_it_touches():
    chest = plain_chest()
    plate, _ = shell(0.0)
    found = without_table(changed(chest, plate, 300.0))
    (x, y, _), _ = places()
    left = (found.values[0] > -300) & (chest.values[0] <= -300)
    assert torch.equal(found.values[chest.values > -300], chest.values[chest.values > -300])
    assert 0 < left.sum() < 0.25 * (plate & (chest.values[0] <= -300)).sum()
    assert x[left].abs().max() < 110 and y[left].min() > -112


def test_blankets_and_lines_go():
    chest = plain_chest()
    (x, y, _), _ = places()
    cloth = ((x / 165) ** 2 + (y / 118) ** 2 - 1).abs() < 0.03
    found = without_table(changed(chest, cloth, -200.0))
    assert ((found.values > -900) & (chest.values <= -900)).sum() == 0


def test_the_lungs_keep_their_air_and_the_result_is_the_same_again():
    once = without_table(plain_chest())
    assert torch.equal(once.values, plain_chest().values)
    assert torch.equal(without_table(once).values, once.values)


def test_an_arm_beside_the_trunk_stays_and_a_bottle_goes():
    chest = plain_chest()
    (x, y, z), _ = places()
    arm = ((x + 180) ** 2 + y**2 < 18**2) & (z.abs() < 120)
    bone = ((x + 180) ** 2 + y**2 < 8**2) & (z.abs() < 120)
    bottle = ((x - 180) ** 2 + y**2 < 18**2) & (z.abs() < 120)
    dressed = changed(changed(changed(chest, bone, 500.0), arm, 40.0), bottle, 0.0)
    found = without_table(dressed).values[0]
    assert torch.equal(found[arm], dressed.values[0][arm])
    assert (found[bottle] == -1000).all()


@pytest.mark.parametrize("axis", ["left", "right"])
def test_a_lung_that_the_field_cuts_open_keeps_its_values(axis):
    """The field ends within the lung of one side: its air meets the edge."""
    chest = plain_chest()
    (x, _, _), _ = places()
    columns = torch.nonzero((x[:, 0, 0] > -80) if axis == "left" else (x[:, 0, 0] < 80))[:, 0]
    first = int(columns[0])
    affine = chest.affine.clone()
    affine[:3, 3] = chest.to_world(torch.tensor([first, 0, 0]))
    values = chest.values[:, columns]
    plate, _ = shell(20.0)
    cut = changed(Volume(values, affine, "hu"), plate[columns], 300.0)
    found = without_table(cut)
    assert torch.equal(found.values, values)


@pytest.mark.parametrize("padding_hu", [-2000.0, -1024.0, 0.0])
def test_padding_outside_a_circle_becomes_air(padding_hu, generator):
    """A circular field of view that cuts the chest's sides; around it what scanners write there."""
    chest = plain_chest((320.0, 320.0, 400.0))
    (x, y, _), _ = places((320.0, 320.0, 400.0))
    noise = torch.randn(chest.values.shape, generator=generator) * 8
    outside = x**2 + y**2 > 135.0**2
    values = chest.values + noise
    values[0][outside] = padding_hu
    found = without_table(Volume(values, chest.affine, "hu"))
    body = (chest.values[0] > -300) & ~outside
    lungs = chest.values[0] == -850
    assert torch.equal(found.values[0][body], values[0][body])
    assert torch.equal(found.values[0][lungs & ~outside], values[0][lungs & ~outside])
    far = x**2 + y**2 > 143.0**2
    assert (found.values[0][far] == -1000).all()
    assert map_body(Volume(values, chest.affine, "hu")).scanned.mean() == pytest.approx(
        3.1416 * 135**2 / 320**2, rel=0.05
    )


def test_axes_may_run_any_way():
    chest = plain_chest()
    plate, foam = shell(8.0)
    planted = changed(changed(chest, plate, 300.0), foam, -920.0)
    expected = without_table(planted)
    turn = torch.zeros(4, 4, dtype=torch.float64)
    n_z = planted.shape[2]
    turn[2, 0], turn[2, 3] = -1, n_z - 1
    turn[0, 1] = turn[1, 2] = turn[3, 3] = 1
    values = planted.values.permute(0, 3, 1, 2).flip(1)
    found = without_table(Volume(values, planted.affine @ turn, "hu"))
    assert torch.equal(found.values, expected.values.permute(0, 3, 1, 2).flip(1))


def test_attenuation_is_taken_as_well():
    chest = plain_chest()
    plate, _ = shell(12.0)
    planted = changed(chest, plate, 300.0)
    found = without_table(attenuation(planted))
    assert found.unit == "1/mm"
    torch.testing.assert_close(found.values, attenuation(without_table(planted)).values)


def test_what_is_no_ct_is_refused():
    labels = Volume(torch.ones(1, 8, 8, 8), torch.eye(4), "label")
    with pytest.raises(VolumeError, match="'hu' or '1/mm', found 'label'"):
        without_table(labels)
    with pytest.raises(VolumeError, match="no tissue above -300 HU"):
        without_table(Volume(torch.full((1, 8, 8, 8), -1000.0), torch.eye(4), "hu"))


@pytest.mark.parametrize("spacing_mm", [2.5, 4.0, 8.0])
def test_a_phantom_loses_nothing(spacing_mm):
    ct = thorax(1, spacing_mm=spacing_mm).ct
    found = without_table(ct)
    body = ct.values > -300
    assert torch.equal(found.values[body], ct.values[body])
    assert ((found.values - ct.values).abs() > 100).float().mean() < 2e-3


REAL = {
    "4dlung-113_HM10395": 150,
    "cptac-pda-C3N-00249": 500,
    "lidc-idri-0314": 600,
    "lungpetctdx-A0002": 250,
    "nsclc-radiogenomics-R01-001": 350,
}
"""Millilitres denser than -300 HU that are table at the least, as seen in the slices."""


@pytest.mark.parametrize("name", REAL)
def test_tables_of_real_cts_go(real_data, name):
    folder = real_data / "ct" / name
    ct = read_volume(folder / "ct_2mm.nii.gz")
    lungs = read_labels_mask(folder / "lung_mask_auto_2mm.nii.gz")
    kept = body_voxels(ct)
    assert kept[lungs].float().mean() > 0.9995
    gone = ((ct.values[0] > -300) & ~kept).sum() * 8 / 1000
    body = ((ct.values[0] > -300) & kept).sum() * 8 / 1000
    assert REAL[name] < gone < 1000 and body > 5000


def read_labels_mask(path):
    from nerp.label_maps import read_labels

    return read_labels(path).values[0] > 0
