"""Files and their geometry: NIfTI, NRRD, MetaImage, DICOM."""

import locale

import nibabel as nib
import numpy as np
import pytest
import SimpleITK as sitk
from dicom_series import write_series, write_slice

from nerp.dicom import holds_series, list_series, read_series
from nerp.errors import VolumeError
from nerp.formats import read_grid, write_grid

OBLIQUE = np.array([[1.2, -0.3, 0.0, 5.0], [0.4, 0.9, 0.0, -7.0], [0.0, 0.0, -2.5, 11.0], [0.0, 0.0, 0.0, 1.0]])
OBLIQUE[:3, 1] -= OBLIQUE[:3, 0] * (OBLIQUE[:3, 0] @ OBLIQUE[:3, 1]) / (OBLIQUE[:3, 0] @ OBLIQUE[:3, 0])
FLIPPED = np.array([[0.0, -1.5, 0.0, 20.0], [0.0, 0.0, 2.0, -3.0], [-0.7, 0.0, 0.0, 9.5], [0.0, 0.0, 0.0, 1.0]])


@pytest.fixture
def hounsfield() -> np.ndarray:
    return np.random.default_rng(0).integers(-1000, 1500, (5, 6, 7)).astype(np.int16)


@pytest.mark.parametrize(
    "affine", [np.diag([1.0, 2.0, 3.0, 1.0]), OBLIQUE, FLIPPED], ids=["plain", "oblique", "flipped"]
)
@pytest.mark.parametrize("name", ["ct.nii", "ct.nii.gz", "ct.nrrd", "ct.mha"])
def test_values_and_affine_survive_writing(tmp_path, hounsfield, name, affine):
    write_grid(tmp_path / name, hounsfield, affine)
    values, found = read_grid(tmp_path / name)
    assert values.dtype == np.int16
    np.testing.assert_array_equal(values, hounsfield)
    np.testing.assert_allclose(found, affine, atol=1e-5)
    assert [entry.name for entry in tmp_path.iterdir()] == [name]


@pytest.mark.parametrize("affine", [OBLIQUE, FLIPPED], ids=["oblique", "flipped"])
def test_nibabel_and_itk_place_the_same_voxel_at_the_same_point(tmp_path, hounsfield, affine):
    write_grid(tmp_path / "a.nii.gz", hounsfield, affine)
    write_grid(tmp_path / "b.nrrd", hounsfield, affine)
    index = (4, 1, 6)
    ours = affine @ [*index, 1]
    np.testing.assert_allclose(nib.load(tmp_path / "a.nii.gz").affine @ [*index, 1], ours, atol=1e-4)
    for name in ("a.nii.gz", "b.nrrd"):
        image = sitk.ReadImage(str(tmp_path / name))
        lps = image.TransformIndexToPhysicalPoint(index)
        np.testing.assert_allclose(np.array(lps) * [-1, -1, 1], ours[:3], atol=1e-4)
        assert image[index] == hounsfield[index]


def test_a_header_and_its_raw_file_are_read(tmp_path, hounsfield):
    sitk.WriteImage(sitk.GetImageFromArray(hounsfield.T), str(tmp_path / "ct.mhd"))
    values, affine = read_grid(tmp_path / "ct.mhd")
    np.testing.assert_array_equal(values, hounsfield)
    np.testing.assert_allclose(affine, np.diag([-1.0, -1.0, 1.0, 1.0]))


@pytest.mark.parametrize("name", ["ct.nrrd", "ct.mha"])
def test_a_fourth_axis_of_one_is_left_out(tmp_path, hounsfield, name):
    image = sitk.GetImageFromArray(hounsfield.T[None], isVector=False)
    image.SetSpacing((1.0, 2.0, 3.0, 1.0))
    image.SetOrigin((4.0, 5.0, 6.0, 0.0))
    sitk.WriteImage(image, str(tmp_path / name))
    values, affine = read_grid(tmp_path / name)
    np.testing.assert_array_equal(values, hounsfield)
    np.testing.assert_allclose(affine, [[-1, 0, 0, -4], [0, -2, 0, -5], [0, 0, 3, 6], [0, 0, 0, 1]])


def test_a_sheared_affine_fits_nifti_only(tmp_path, hounsfield):
    sheared = np.array([[1.0, 0.0, 0.3, 0.0], [0.0, 1.0, 0.0, 0.0], [0.0, 0.0, 2.0, 0.0], [0.0, 0.0, 0.0, 1.0]])
    write_grid(tmp_path / "ct.nii", hounsfield, sheared)
    np.testing.assert_allclose(read_grid(tmp_path / "ct.nii")[1], sheared, atol=1e-6)
    with pytest.raises(VolumeError, match="cannot hold a sheared affine; write .nii.gz"):
        write_grid(tmp_path / "ct.nrrd", hounsfield, sheared)
    assert not (tmp_path / "ct.nrrd").exists()


def test_nifti_details(tmp_path, hounsfield):
    bare = nib.Nifti1Image(hounsfield, None)
    bare.header.set_zooms((1.0, 2.0, 3.0))
    bare.to_filename(tmp_path / "bare.nii")
    assert nib.load(tmp_path / "bare.nii").header["sform_code"] == 0
    np.testing.assert_allclose(read_grid(tmp_path / "bare.nii")[1], nib.load(tmp_path / "bare.nii").affine)

    metres = nib.Nifti2Image(hounsfield[..., None], np.diag([0.001, 0.002, 0.003, 1.0]))
    metres.header.set_xyzt_units("meter")
    metres.to_filename(tmp_path / "metres.nii.gz")
    values, affine = read_grid(tmp_path / "metres.nii.gz")
    assert values.shape == hounsfield.shape
    np.testing.assert_allclose(affine, np.diag([1.0, 2.0, 3.0, 1.0]), atol=1e-6)

    scaled = nib.Nifti1Image(hounsfield, np.eye(4))
    scaled.header.set_slope_inter(0.5, -10.0)
    scaled.to_filename(tmp_path / "scaled.nii")
    np.testing.assert_allclose(read_grid(tmp_path / "scaled.nii")[0], nib.load(tmp_path / "scaled.nii").get_fdata())


def test_the_same_volume_makes_the_same_bytes(tmp_path, hounsfield):
    for name in ("a.nii.gz", "b.nii.gz"):
        write_grid(tmp_path / name, hounsfield, OBLIQUE)
    assert (tmp_path / "a.nii.gz").read_bytes() == (tmp_path / "b.nii.gz").read_bytes()


def test_a_dicom_series_is_stacked_by_position(tmp_path, hounsfield):
    slices = hounsfield.transpose(2, 1, 0)
    folder = write_series(tmp_path / "series", slices)
    (folder / "LICENSE").write_text("not a slice")
    values, affine = read_series(folder)
    np.testing.assert_array_equal(values, hounsfield)
    expected = np.array([[-1.5, 0, 0, 20], [0, -2, 0, 30], [0, 0, 3, -40], [0, 0, 0, 1.0]])
    np.testing.assert_allclose(affine, expected, atol=1e-9)
    read = sitk.ImageSeriesReader()
    read.SetFileNames(read.GetGDCMSeriesFileNames(str(folder)))
    image = read.Execute()
    point = np.array(image.TransformIndexToPhysicalPoint((4, 1, 6))) * [-1, -1, 1]
    np.testing.assert_allclose((affine @ [4, 1, 6, 1])[:3], point, atol=1e-6)
    assert image[4, 1, 6] == values[4, 1, 6]


def test_a_tilted_gantry_stays_tilted(tmp_path, hounsfield):
    for number, plane in enumerate(hounsfield):
        position = (0.0, 1.5 * number, 3.0 * number)
        write_slice(tmp_path / f"{number}.dcm", plane + 1024, position, series="1.2.3")
    affine = read_series(tmp_path)[1]
    np.testing.assert_allclose(affine[:3, 2], [0.0, -1.5, 3.0])


def test_one_of_two_series_is_chosen(tmp_path, hounsfield):
    write_series(tmp_path, hounsfield, series="1.2.3")
    write_series(tmp_path, hounsfield[:4] + 7, series="1.2.4")
    assert {uid: len(slices) for uid, slices in list_series(tmp_path).items()} == {"1.2.3": 5, "1.2.4": 4}
    values, _ = read_series(tmp_path, series="1.2.4")
    np.testing.assert_array_equal(values, (hounsfield[:4] + 7).T)


@pytest.fixture
def kept_locale():
    """GDCM's JPEG 2000 writer leaves the process in the C locale, where text files are read as ASCII."""
    before = locale.setlocale(locale.LC_ALL)
    yield before
    locale.setlocale(locale.LC_ALL, before)


def test_compressed_slices_are_decompressed(tmp_path, kept_locale):
    hounsfield = np.random.default_rng(0).integers(-1000, 1500, (3, 40, 32)).astype(np.int16)
    plain = write_series(tmp_path / "plain", hounsfield)
    packed = tmp_path / "packed"
    packed.mkdir()
    for path in plain.iterdir():
        image = sitk.ReadImage(str(path), sitk.sitkInt16)
        writer = sitk.ImageFileWriter()
        writer.KeepOriginalImageUIDOn()
        writer.UseCompressionOn()
        writer.SetCompressor("JPEG2000")
        writer.SetFileName(str(packed / path.name))
        writer.Execute(image)
    locale.setlocale(locale.LC_ALL, kept_locale)
    values, affine = read_series(packed)
    assert locale.setlocale(locale.LC_ALL) == kept_locale
    np.testing.assert_array_equal(values, hounsfield.T)
    np.testing.assert_allclose(affine, read_series(plain)[1])


def test_only_ct_slices_make_a_series_folder(tmp_path, hounsfield):
    write_series(tmp_path / "ct", hounsfield)
    write_series(tmp_path / "seg", hounsfield, Modality="SEG")
    (tmp_path / "empty").mkdir()
    assert [holds_series(tmp_path / name) for name in ("ct", "seg", "empty")] == [True, False, False]
