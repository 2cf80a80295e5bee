"""Where a grid lies: what files leave open is told, what users state is taken."""

import logging
from contextlib import suppress

import nibabel as nib
import numpy as np
import pytest
import SimpleITK as sitk
import torch
from dicom_series import write_series

from nerp.errors import UsageError, VolumeError
from nerp.formats import read_grid, read_place
from nerp.headers.place import Place, stated
from nerp.volume import read_volume

CT = np.random.default_rng(0).integers(-1000, 1500, (6, 7, 8)).astype(np.int16)
PLACED = np.array([[-1.5, 0, 0, 30], [0, 2, 0, -20], [0, 0, 2.5, 11], [0, 0, 0, 1.0]])


def nifti(path, affine=PLACED, *, sform=1, qform=1, zooms=None, unit="mm"):
    image = nib.Nifti1Image(CT, affine)
    image.header.set_xyzt_units(unit)
    if zooms is not None:
        image.header.set_zooms(zooms)
    if affine is not None:
        image.set_sform(affine, sform)
        image.set_qform(affine, qform)
    image.to_filename(path)
    return path


def told(caplog) -> str:
    return "\n".join(record.message for record in caplog.records)


def test_a_placed_ct_is_read_without_a_word(tmp_path, caplog):
    read_volume(nifti(tmp_path / "a.nii.gz"))
    sitk.WriteImage(sitk.ReadImage(str(tmp_path / "a.nii.gz")), str(tmp_path / "a.nrrd"))
    read_volume(tmp_path / "a.nrrd")
    read_volume(write_series(tmp_path / "series", CT))
    assert not caplog.records


def test_a_nifti_with_neither_form_tells_what_is_assumed(tmp_path, caplog):
    path = nifti(tmp_path / "a.nii", None, zooms=(1.5, 2.0, 2.5))
    volume = read_volume(path)
    assert "place is unknown (neither sform nor qform); assumed are axes towards LAS, left and right may" in told(
        caplog
    )
    assert volume.spacing_mm == pytest.approx((1.5, 2.0, 2.5)) and "\n" not in told(caplog)
    assert read_place(path).unknown == ("orientation",)


def test_a_nifti_without_voxel_sizes_tells_of_them_too(tmp_path, caplog):
    read_volume(nifti(tmp_path / "a.nii", None))
    assert "axes towards LAS and voxels of 1 x 1 x 1 mm" in told(caplog)


@pytest.mark.parametrize("name", ["a.nii.gz", "a.nrrd", "a.mha"])
def test_an_identity_is_doubted_in_every_format(tmp_path, caplog, name):
    if name == "a.nii.gz":
        nifti(tmp_path / name, np.eye(4))
    else:
        sitk.WriteImage(sitk.GetImageFromArray(CT.T), str(tmp_path / name))
    read_volume(tmp_path / name)
    assert "state orientation, such as LPS, and spacing" in told(caplog)


def test_a_qform_alone_is_taken(tmp_path, caplog):
    volume = read_volume(nifti(tmp_path / "a.nii", sform=0))
    np.testing.assert_allclose(volume.affine.numpy(), PLACED, atol=1e-5)
    assert not caplog.records


def test_forms_that_disagree_are_told_and_the_sform_taken(tmp_path, caplog):
    image = nib.Nifti1Image(CT, PLACED)
    moved = PLACED.copy()
    moved[0, 3] += 25
    image.set_qform(moved, 1)
    image.set_sform(PLACED, 1)
    image.to_filename(tmp_path / "a.nii")
    volume = read_volume(tmp_path / "a.nii")
    assert "its sform and qform disagree by up to 25 mm; the sform is taken" in told(caplog)
    np.testing.assert_allclose(volume.affine.numpy(), PLACED, atol=1e-5)


def test_pixdim_that_disagrees_with_the_only_form_is_told(tmp_path, caplog):
    image = nib.Nifti1Image(CT, PLACED)
    image.set_qform(None, 0)
    image.set_sform(PLACED, 1)
    image.header["pixdim"][1:4] = 3.0, 3.0, 3.0
    nib.Nifti1Image(CT, None, image.header).to_filename(tmp_path / "a.nii")
    read_volume(tmp_path / "a.nii")
    assert "its pixdim says voxels of 3 x 3 x 3 mm, its sform another size; the sform is taken" in told(caplog)


def test_an_unknown_unit_is_told(tmp_path, caplog):
    path = nifti(tmp_path / "a.nii")
    content = bytearray(path.read_bytes())
    content[123] = 7
    path.write_bytes(content)
    read_volume(path)
    assert "its unit of length has the unknown code 7, mm is assumed" in told(caplog)


@pytest.mark.parametrize(
    ("fields", "unknown"),
    [
        ("", ("orientation", "voxel size")),
        ("spacings: 1.5 2 2.5\n", ("orientation",)),
        ("space: scanner-xyz\nspace directions: (1.5,0,0) (0,2,0) (0,0,2.5)\n", ("orientation",)),
        ("space: LPS\nspace directions: (1.5,0,0) (0,2,0) (0,0,2.5)\n", ()),
        ('space: LPS\nspace directions: (0.15,0,0) (0,0.2,0) (0,0,0.25)\nspace units: "cm" "cm" "cm"\n', ()),
    ],
)
def test_what_a_nrrd_leaves_open_is_known(tmp_path, fields, unknown):
    head = f"NRRD0004\ntype: short\ndimension: 3\nsizes: 6 7 8\nendian: little\nencoding: raw\n{fields}\n"
    (tmp_path / "a.nrrd").write_bytes(head.encode() + CT.T.tobytes())
    place = read_place(tmp_path / "a.nrrd")
    assert place.unknown == unknown
    assert place.spacing_mm == pytest.approx((1.0, 1.0, 1.0) if "voxel size" in unknown else (1.5, 2.0, 2.5))
    np.testing.assert_array_equal(read_grid(tmp_path / "a.nrrd")[0], CT)


def test_what_a_metaimage_leaves_open_is_known(tmp_path):
    head = "ObjectType = Image\nNDims = 3\nDimSize = 6 7 8\nElementType = MET_SHORT\n"
    (tmp_path / "a.mha").write_bytes(head.encode() + b"ElementDataFile = LOCAL\n" + CT.T.tobytes())
    place = read_place(tmp_path / "a.mha")
    assert place.unknown == ("orientation", "voxel size") and "no TransformMatrix and no ElementSpacing" in place.reason
    np.testing.assert_array_equal(read_grid(tmp_path / "a.mha")[0], CT)


@pytest.mark.parametrize("zoom", [0.0, 0.001, 70.0, np.nan])
def test_voxels_of_no_possible_size_are_refused(tmp_path, zoom):
    affine = np.diag([1.0, 2.0, zoom, 1.0])
    path = tmp_path / "a.nii"
    image = nib.Nifti1Image(CT, None)
    image.header["sform_code"] = 1
    for row, name in zip(affine, ("srow_x", "srow_y", "srow_z"), strict=False):
        image.header[name] = row
    image.to_filename(path)
    with pytest.raises(VolumeError, match="its voxels measure|affine is singular"):
        read_volume(path)


def test_a_stated_place_is_taken_in_place_of_none(tmp_path, caplog):
    path = nifti(tmp_path / "a.nii", None)
    volume = read_volume(path, orientation="LPS", spacing_mm=(0.8, 0.7, 2.5))
    expected = np.diag([-0.8, -0.7, 2.5, 1.0])
    expected[:3, 3] = 2.0, 2.1, -8.75  # centred: (n - 1) / 2 voxels off 0
    np.testing.assert_allclose(volume.affine.numpy(), expected)
    assert nib.aff2axcodes(volume.affine.numpy()) == ("L", "P", "S")
    assert not caplog.records


@pytest.mark.parametrize("orientation", ["RAS", "LPS", "PIR", "ASL", "sar"])
def test_orientation_is_read_as_nibabel_reads_it(orientation):
    place = stated(Place(PLACED), (6, 7, 8), orientation, None)
    assert nib.aff2axcodes(place.affine) == tuple(orientation.upper()) and place.orientation == orientation.upper()
    middle = np.array([2.5, 3.0, 3.5, 1.0])
    np.testing.assert_allclose(place.affine @ middle, PLACED @ middle)
    assert place.spacing_mm == pytest.approx((1.5, 2.0, 2.5))


def test_a_stated_place_that_replaces_the_files_own_is_told(tmp_path, caplog):
    caplog.set_level(logging.INFO)
    volume = read_volume(nifti(tmp_path / "a.nii"), spacing_mm=(3, 3, 3))
    assert "the stated place replaces the file's own (LAS, voxels of 1.5 x 2 x 2.5 mm)" in told(caplog)
    assert volume.spacing_mm == pytest.approx((3, 3, 3))
    torch.testing.assert_close(volume.affine[:3, :3].sign(), torch.tensor(PLACED[:3, :3]).sign())
    series = read_volume(write_series(tmp_path / "s", CT), orientation="RAS")
    assert nib.aff2axcodes(series.affine.numpy()) == ("R", "A", "S")


@pytest.mark.parametrize("orientation", ["LP", "LPX", "LLS", "LRS", "axial", ""])
def test_no_such_orientation(tmp_path, orientation):
    with pytest.raises(UsageError, match="expected three letters, one each of L/R, P/A and I/S, such as LPS"):
        read_volume(nifti(tmp_path / "a.nii"), orientation=orientation)


@pytest.mark.parametrize(
    "spacing", [(1, 1), (1, 1, 0), (1, 1, -2), (1, float("nan"), 1), "abc", (1, 1, 100), ("x", 1, 1)]
)
def test_no_such_spacing(tmp_path, spacing):
    with pytest.raises(UsageError, match="expected three distances in mm"):
        read_volume(nifti(tmp_path / "a.nii"), spacing_mm=spacing)


def test_a_chest_of_the_size_of_a_thumb_is_told(tmp_path, caplog):
    values = np.random.default_rng(0).integers(-1000, 1500, (32, 32, 32)).astype(np.int16)
    nib.Nifti1Image(values, np.diag([0.7, 0.7, 1.5, 1.0])).to_filename(tmp_path / "a.nii")
    with suppress(VolumeError):  # noise is no CT; its size is told before
        read_volume(tmp_path / "a.nii")
    assert "is 48 mm along its longest side, which no CT of a person is" in told(caplog)
