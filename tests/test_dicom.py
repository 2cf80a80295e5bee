"""CTs in DICOM: read whatever their form, the right series, the right geometry, or one line that says why not."""

import logging
import re

import numpy as np
import pytest
import SimpleITK as sitk
from dicom_series import without_meta, write_enhanced, write_series, write_slice
from pydicom import dcmread
from pydicom.uid import (
    DeflatedExplicitVRLittleEndian,
    ExplicitVRBigEndian,
    ExplicitVRLittleEndian,
    ImplicitVRLittleEndian,
    RLELossless,
    SecondaryCaptureImageStorage,
)

from nerp.data.ct import CTDataset, find_cts
from nerp.data.source_files import SourceFile, volume_files, volume_sha256
from nerp.dicom import check_series, is_dicom, list_series, read_series, series_files
from nerp.errors import VolumeError
from nerp.synthesis.matching import find_by_hash
from nerp.volume import read_volume

HU = np.random.default_rng(0).integers(-1000, 1500, (6, 7, 8)).astype(np.int16)
UNCOMPRESSED = [
    ImplicitVRLittleEndian,
    ExplicitVRLittleEndian,
    ExplicitVRBigEndian,
    DeflatedExplicitVRLittleEndian,
]


def along_z(n: int, step: float = 3.0) -> list[tuple[float, float, float]]:
    return [(-20.0, -30.0, -40.0 + step * number) for number in range(n)]


def remarks(caplog) -> list[str]:
    return [record.getMessage() for record in caplog.records if record.name.startswith("nerp")]


# How files are written


@pytest.mark.parametrize("syntax", UNCOMPRESSED, ids=lambda syntax: syntax.name)
def test_every_uncompressed_syntax_gives_the_same_ct(tmp_path, syntax):
    folder = write_series(tmp_path / "s", HU, syntax=syntax)
    values, affine = read_series(folder)
    np.testing.assert_array_equal(values, HU.T)
    np.testing.assert_allclose(affine[:3, 3], [20, 30, -40])
    check_series(folder)


@pytest.mark.parametrize("syntax", [ImplicitVRLittleEndian, ExplicitVRLittleEndian, ExplicitVRBigEndian])
def test_slices_without_preamble_and_meta_group_are_read(tmp_path, syntax):
    folder = write_series(tmp_path / "s", HU, syntax=syntax)
    for path in folder.iterdir():
        without_meta(path)
        assert is_dicom(path)
    np.testing.assert_array_equal(read_series(folder)[0], HU.T)


@pytest.mark.parametrize("syntax", [ImplicitVRLittleEndian, ExplicitVRLittleEndian, ExplicitVRBigEndian])
def test_a_preamble_without_meta_group_is_read(tmp_path, syntax):
    folder = write_series(tmp_path / "s", HU, syntax=syntax)
    for path in folder.iterdir():
        without_meta(path, keep=132)
    np.testing.assert_array_equal(read_series(folder)[0], HU.T)


def test_a_meta_group_without_syntax_or_with_a_wrong_byte_order_is_read(tmp_path):
    folder = write_series(tmp_path / "s", HU, syntax=ExplicitVRBigEndian)
    other = write_series(tmp_path / "o", HU)
    for path in folder.iterdir():
        wrong = ExplicitVRBigEndian.encode() + b"\0", ExplicitVRLittleEndian.encode() + b"\0"
        path.write_bytes(path.read_bytes().replace(*wrong, 1))
    for path in other.iterdir():
        tag = b"\2\0\x10\0UI\x14\0" + ExplicitVRLittleEndian.encode() + b"\0"
        content = path.read_bytes()
        assert tag in content
        length = int.from_bytes(content[140:144], "little") - len(tag)
        path.write_bytes(content[:140] + length.to_bytes(4, "little") + content[144:].replace(tag, b"", 1))
    np.testing.assert_array_equal(read_series(folder)[0], HU.T)
    np.testing.assert_array_equal(read_series(other)[0], HU.T)


@pytest.mark.parametrize("syntax", UNCOMPRESSED[:3], ids=lambda syntax: syntax.name)
def test_a_meta_group_without_preamble_is_read(tmp_path, syntax):
    folder = write_series(tmp_path / "s", HU, syntax=syntax)
    for path in folder.iterdir():
        path.write_bytes(path.read_bytes()[132:])
    np.testing.assert_array_equal(read_series(folder)[0], HU.T)


@pytest.mark.parametrize("name", ["{}", "{}.ima", "IM{}.0001.2.3", "{}.txt"])
def test_names_take_no_part(tmp_path, name):
    folder = write_series(tmp_path / "s", HU)
    for number, path in enumerate(sorted(folder.iterdir())):
        path.rename(folder / name.format(number))
    np.testing.assert_array_equal(read_series(folder)[0], HU.T)


def test_run_length_encoding_is_read(tmp_path):
    planes = np.random.default_rng(1).integers(-1000, 1500, (3, 40, 50))
    folder = write_series(tmp_path / "s", planes)
    for path in folder.iterdir():
        slice_ = dcmread(path)
        slice_.compress(RLELossless, generate_instance_uid=False)
        slice_.save_as(path)
    np.testing.assert_array_equal(read_series(folder)[0], planes.T)
    check_series(folder)


def test_a_compressed_enhanced_ct_is_read(tmp_path):
    planes = np.random.default_rng(1).integers(-1000, 1500, (3, 40, 50))
    path = write_enhanced(tmp_path / "1", planes, along_z(3))
    whole = dcmread(path)
    whole.compress(RLELossless, generate_instance_uid=False)
    whole.save_as(path)
    np.testing.assert_array_equal(read_series(path)[0], planes.T)
    content = path.read_bytes()
    path.write_bytes(content[: len(content) // 2])
    for call in (read_series, check_series):
        with pytest.raises(VolumeError, match="its pixels cannot be read .compressed data is cut short"):
            call(path)


def test_an_enhanced_ct_is_read_by_the_place_and_scale_of_each_frame(tmp_path):
    order = [3, 0, 5, 1, 4, 2]
    scales = [(1.0, -1024.0), (0.5, -1024.0), (0.25, 10.0), (1.0, 0.0), (1.0, -1000.0), (0.5, 0.0)]
    path = write_enhanced(tmp_path / "e" / "1", HU[order], [along_z(6)[i] for i in order], scales=scales)
    for given in (path, path.parent):
        values, affine = read_series(given)
        np.testing.assert_array_equal(values, HU.T)
        np.testing.assert_allclose(affine, [[-1.5, 0, 0, 20], [0, -2, 0, 30], [0, 0, 3, -40], [0, 0, 0, 1]])
        assert read_volume(given).shape == (8, 7, 6)
    check_series(path)


def test_enhanced_cts_of_one_frame_each_are_a_series(tmp_path):
    for number, position in enumerate(along_z(6)):
        write_enhanced(tmp_path / "s" / f"{number}.dcm", HU[number : number + 1], [position])
    np.testing.assert_array_equal(read_series(tmp_path / "s")[0], HU.T)
    assert find_cts(tmp_path) == [tmp_path / "s"]
    with pytest.raises(VolumeError, match=r"one DICOM slice is not a volume; give the folder .*: .*/s$"):
        read_volume(tmp_path / "s" / "0.dcm")


def test_a_slice_given_as_a_ct_names_its_folder(tmp_path):
    folder = write_series(tmp_path / "s", HU)
    path = sorted(folder.iterdir())[0]
    with pytest.raises(VolumeError, match=rf"one DICOM slice is not a volume; give the folder.*: {folder}$"):
        read_volume(path)
    bare = without_meta(path.rename(path.with_suffix("")))
    with pytest.raises(VolumeError, match="one DICOM slice is not a volume"):
        read_volume(bare)


def test_no_image_is_no_ct(tmp_path):
    write_slice(
        tmp_path / "sr.dcm", HU[0], (0, 0, 0), series="1", Modality="SR", SOPClassUID="1.2.840.10008.5.1.4.1.1.88.11"
    )
    with pytest.raises(VolumeError, match=r"holds no image of a CT \(SR\)"):
        read_volume(tmp_path / "sr.dcm")
    folder = write_series(tmp_path / "s", HU)
    path = sorted(folder.iterdir())[2]
    slice_ = dcmread(path)
    del slice_.PixelData
    slice_.save_as(path)
    for call in (read_volume, check_series):
        with pytest.raises(VolumeError, match=rf"{path.name}: has no PixelData"):
            call(folder)


# Which series


def with_extra(folder, **fields):
    write_series(folder, HU, ImageType=["ORIGINAL", "PRIMARY", "AXIAL"], SeriesNumber=3)
    extra = {"series": "1.2.99", "ImageType": ["ORIGINAL", "PRIMARY", "LOCALIZER"]} | fields
    write_slice(folder / "extra", np.zeros((9, 5)), (0, 0, 0), **extra)
    return folder


@pytest.mark.parametrize(
    ("fields", "words"),
    [
        ({}, "left out 1 localizer"),
        ({"series": "1.2.3"}, "left out 1 localizer (extra)"),
        ({"ImageType": None, "SeriesDescription": "Topogram 0.6 T20f"}, "left out 1 localizer"),
        ({"ImageType": ["DERIVED", "SECONDARY", "OTHER", "CT_SOM5 PROT"]}, "left out 1 report or screen capture"),
        ({"ImageType": ["ORIGINAL", "PRIMARY", "SCREEN SAVE"], "series": "1.2.3"}, "left out 1 report or screen"),
        ({"ImageType": ["DERIVED", "SECONDARY", "DOSE_INFO"]}, "left out 1 report or screen"),
        (
            {"SOPClassUID": SecondaryCaptureImageStorage, "ImageType": None, "ImagePositionPatient": None},
            "left out 1 report or screen capture",
        ),
        ({"ImageType": None}, "left out 1 series of one slice"),
    ],
)
def test_what_is_no_slice_is_left_out_in_one_line(tmp_path, caplog, fields, words):
    folder = with_extra(tmp_path / "s", **fields)
    np.testing.assert_array_equal(read_series(folder)[0], HU.T)
    assert len(remarks(caplog)) == 1 and words in remarks(caplog)[0]
    assert find_cts(tmp_path) == [folder]
    assert folder / "extra" not in series_files(folder)


def test_localizers_alone_are_no_ct(tmp_path):
    write_series(tmp_path / "scout", HU[:2], ImageType=["ORIGINAL", "PRIMARY", "LOCALIZER"])
    write_series(tmp_path / "ct", HU)
    assert find_cts(tmp_path) == [tmp_path / "ct"]
    with pytest.raises(VolumeError, match=r"holds no CT slices in DICOM \(only 2 localizer\)"):
        read_series(tmp_path / "scout")


def two_kernels(folder):
    write_series(
        folder, HU, series="1.2.3", SeriesNumber=3, SeriesDescription="Thorax 1.0 B31f", ConvolutionKernel="B31f"
    )
    return write_series(
        folder,
        HU[:4] + 7,
        series="1.2.4",
        SeriesNumber=4,
        SeriesDescription="Thorax 1.0 B70f",
        ConvolutionKernel="B70f",
    )


@pytest.mark.parametrize("series", ["4", 4, "04", "1.2.4", "b70F", "thorax 1.0 b70f"])
def test_a_series_is_chosen_by_number_uid_or_description(tmp_path, series):
    folder = two_kernels(tmp_path / "s")
    values, _ = read_series(folder, series=series)
    np.testing.assert_array_equal(values, (HU[:4] + 7).T)
    assert read_volume(folder, series=series).shape == (8, 7, 4)


def test_several_series_are_listed_with_what_tells_them_apart(tmp_path):
    folder = two_kernels(tmp_path / "s")
    listed = "3 'Thorax 1.0 B31f' (6 slices x 7 x 8, 3.00 x 2.00 x 1.50 mm, kernel B31f); 4 'Thorax 1.0 B70f' (4 slices"
    with pytest.raises(VolumeError, match=re.escape(listed)) as caught:
        read_series(folder)
    assert "holds 2 series; choose one with --series" in str(caught.value)
    assert "\n" not in str(caught.value)
    with pytest.raises(VolumeError, match="holds 2 series"):
        read_series(folder, series="thorax")
    with pytest.raises(VolumeError, match="has no series 1; it holds 3"):  # a number is no part of 'Thorax 1.0'
        read_series(folder, series="1")
    with pytest.raises(VolumeError, match="has no series B99; it holds 3 'Thorax"):
        read_series(folder, series="B99")
    assert [str(one).split(" (")[0] for one in list_series(folder).values()] == [
        "3 'Thorax 1.0 B31f'",
        "4 'Thorax 1.0 B70f'",
    ]


def test_slices_that_each_claim_a_series_are_refused(tmp_path):
    for number, plane in enumerate(HU):
        write_slice(tmp_path / str(number), plane, (0, 0, number), series=f"1.2.{number}")
    with pytest.raises(VolumeError, match="holds 6 series of one slice each; expected one SeriesInstanceUID"):
        read_series(tmp_path)


def test_series_below_a_folder_are_found(tmp_path):
    study = tmp_path / "patient" / "study"
    write_series(study / "ct", HU)
    write_series(study / "scout", HU[:2], series="1.2.5", ImageType=["ORIGINAL", "PRIMARY", "LOCALIZER"])
    for given in (study, tmp_path):
        np.testing.assert_array_equal(read_series(given)[0], HU.T)
    write_series(tmp_path / "patient" / "later" / "ct", HU + 1, series="1.2.7")
    assert len(find_cts(tmp_path)) == 2
    with pytest.raises(VolumeError, match="holds 2 series"):
        read_series(tmp_path)
    np.testing.assert_array_equal(read_series(tmp_path, series="1.2.7")[0], (HU + 1).T)


def test_a_dicomdir_stands_for_what_lies_beside_and_below_it(tmp_path):
    write_series(tmp_path / "DICOM" / "PA0" / "SE0", HU[:3])
    for path in write_series(tmp_path / "x", HU).iterdir():
        if not (tmp_path / "DICOM" / "PA0" / "SE0" / path.name).exists():
            (tmp_path / "DICOM" / "PA0" / "SE1").mkdir(exist_ok=True)
            path.rename(tmp_path / "DICOM" / "PA0" / "SE1" / path.name)
    for path in (tmp_path / "x").iterdir():
        path.unlink()
    write_slice(tmp_path / "DICOMDIR", HU[0], (0, 0, 0), series="", Modality=None, SOPClassUID="1.2.840.10008.1.3.10")
    for given in (tmp_path / "DICOMDIR", tmp_path):
        np.testing.assert_array_equal(read_series(given)[0], HU.T)
        assert read_volume(given).shape == (8, 7, 6)
    assert volume_sha256(tmp_path / "DICOMDIR") == volume_sha256(tmp_path)


def test_enhanced_cts_are_found_file_by_file(tmp_path):
    for name in ("a", "b.dcm"):
        write_enhanced(tmp_path / "in" / name, HU, along_z(6), series=f"1.2.{ord(name[0])}")
    write_series(tmp_path / "in" / "slices", HU)
    found = [path.relative_to(tmp_path / "in").as_posix() for path in find_cts(tmp_path)]
    assert found == ["a", "b.dcm", "slices"]


def test_a_series_of_one_slice_is_left_out_beside_others(tmp_path, caplog):
    write_series(tmp_path / "ct", HU)
    write_series(tmp_path / "one", HU[:1], series="1.2.8")
    assert find_cts(tmp_path) == [tmp_path / "ct"]
    assert "left out 1 DICOM series of one slice" in remarks(caplog)[0]
    assert find_cts(tmp_path / "one") == [tmp_path / "one"]


def test_a_series_spread_over_folders_is_told_of(tmp_path, caplog):
    for number, plane in enumerate(HU):
        home = tmp_path / ("a" if number < 3 else "b")
        home.mkdir(exist_ok=True)
        write_slice(home / str(number), plane + 1024, along_z(6)[number], series="1.2.3")
    assert find_cts(tmp_path) == [tmp_path / "a", tmp_path / "b"]
    assert remarks(caplog) == [f"{tmp_path}/a and {tmp_path}/b hold the same series; each is taken for a CT of its own"]
    np.testing.assert_array_equal(read_series(tmp_path)[0], HU.T)


def test_no_more_than_two_headers_are_read_of_a_folder_of_slices(tmp_path, monkeypatch):
    import pydicom

    write_series(tmp_path / "ct", HU)
    read, real = [], pydicom.dcmread
    monkeypatch.setattr(pydicom, "dcmread", lambda *a, **k: read.append(a) or real(*a, **k))
    assert find_cts(tmp_path) == [tmp_path / "ct"]
    assert len(read) <= 2


# Geometry


def oblique_series(folder, orientation, step, *, n=6, **fields):
    folder.mkdir()
    for number, plane in enumerate(HU[:n]):
        position = np.array([5.0, -7.0, 11.0]) + number * np.array(step)
        write_slice(
            folder / f"{(number * 5) % 7}.dcm",
            plane + 1024,
            position,
            series="1.2",
            ImageOrientationPatient=orientation,
            **fields,
        )
    return folder


TURNS = {
    "coronal": ([1, 0, 0, 0, 0, -1], [0, 2.5, 0]),
    "sagittal": ([0, 1, 0, 0, 0, -1], [-2.5, 0, 0]),
    "oblique": ([0.8, 0.6, 0, 0, 0, -1], [-1.5, 2.0, 0]),
    "tilted": ([1, 0, 0, 0, 1, 0], [0, 0.6, 3.0]),
}


@pytest.mark.parametrize("turn", TURNS)
def test_every_voxel_lies_where_its_slice_says(tmp_path, turn):
    orientation, step = TURNS[turn]
    folder = oblique_series(tmp_path / "s", [float(part) for part in orientation], step)
    values, affine = read_series(folder)
    rightwards, downwards = np.array(orientation[:3]), np.array(orientation[3:])
    for number in range(6):
        start = np.array([5.0, -7.0, 11.0]) + number * np.array(step)
        lps = start + 3 * 1.5 * rightwards + 2 * 2.0 * downwards
        index = np.linalg.inv(affine) @ [-lps[0], -lps[1], lps[2], 1]
        place = np.rint(index[:3]).astype(int)
        np.testing.assert_allclose(index[:3], place, atol=1e-6)
        assert values[tuple(place)] == HU[number, 2, 3]


def ramp(heights) -> np.ndarray:
    """Slices whose HU is ten times their height, so that linear interpolation is exact."""
    return np.stack([np.full((7, 8), round(10 * height)) for height in heights]).astype(np.int16)


STRETCHES = {
    "two": ([*range(0, 24, 3), *range(24, 55, 6)], 3.0, r"3 mm \(8 times\) and 6 mm \(5 times\)"),
    "no multiple": ([0, 3.5, 7, 10.5, 14, 19, 24, 29], 29 / 8, r"3\.5 mm \(4 times\) and 5 mm \(3 times\)"),
    "three": ([0, 2, 4, 6, 10, 14, 18, 26, 34, 42], 2.0, r"2 mm \(3 times\) and 4 mm \(3 times\) and 8 mm \(3 times\)"),
    "thin between thick": ([0, 6, 12, 18, 21, 24, 27, 33, 39, 45], 3.0, r"3 mm \(3 times\) and 6 mm \(6 times\)"),
    "nearly one": ([*range(0, 100, 5), *(95 + 5.4 * n for n in range(1, 11))], 149 / 30, "5 mm .19 times. and 5.4 mm"),
    "transition": ([0, 2, 4, 6, 9, 13, 17, 21], 21 / 10, r"2 mm \(3 times\) and 3 mm \(1 times\) and 4 mm"),
}


@pytest.mark.parametrize("stretch", STRETCHES)
def test_slices_of_a_few_distances_are_interpolated_to_the_smallest(tmp_path, caplog, stretch):
    heights, spacing, words = STRETCHES[stretch]
    folder = write_series(tmp_path / "s", ramp(heights), heights)
    values, affine = read_series(folder)
    assert affine[2, 2] == pytest.approx(spacing)
    found = affine[2, 3] + affine[2, 2] * np.arange(values.shape[2])
    assert found[0] == heights[0] and found[-1] == pytest.approx(heights[-1])
    np.testing.assert_allclose(values, np.broadcast_to(10 * found, values.shape), atol=1e-2)
    assert len(remarks(caplog)) == 1 and re.search(words, remarks(caplog)[0])
    check_series(folder)


def test_a_slice_that_lies_on_the_new_grid_keeps_its_values(tmp_path):
    heights = [0, 3, 6, 9, 15, 21, 27]
    planes = np.random.default_rng(1).integers(-1000, 1000, (7, 7, 8))
    values, _ = read_series(write_series(tmp_path / "s", planes, heights))
    for plane, height in zip(planes, heights, strict=True):
        np.testing.assert_array_equal(values[:, :, height // 3], plane.T)


MISSING = {
    "one": ([0, 3, 6, 12, 15, 18], r"1 slices missing, at 9\.00 mm"),
    "two apart": ([0, 3, 6, 12, 15, 18, 24, 27, 30], r"2 slices missing, at 9\.00, 21\.00 mm"),
    "a stretch": ([0, 3, 6, 9, 24, 27, 30], r"4 slices missing, at 12\.00, 15\.00, 18\.00, 21\.00 mm"),
    "two in a row of gaps": ([0, 3, 6, 9, 15, 21, 24, 27, 30], r"2 slices missing, at 12\.00, 18\.00 mm"),
    "at a change": ([0, 3, 6, 9, 21, 27, 33, 39], "missing"),
}


@pytest.mark.parametrize("case", MISSING)
def test_missing_slices_are_refused(tmp_path, case):
    heights, words = MISSING[case]
    folder = write_series(tmp_path / "s", ramp(heights), heights)
    for call in (read_series, check_series):
        with pytest.raises(VolumeError, match=words):
            call(folder)


def test_numbers_in_a_row_prove_a_short_stretch(tmp_path):
    heights = [0, 3, 6, 9, 12, 18, 24]
    folder = tmp_path / "s"
    folder.mkdir()
    for number, height in enumerate(heights):
        write_slice(folder / str(number), ramp([height])[0] + 1024, (0, 0, height), series="1", InstanceNumber=number)
    assert read_series(folder)[0].shape == (8, 7, 9)


def test_copies_of_slices_are_refused(tmp_path):
    folder = write_series(tmp_path / "s", HU)
    slice_ = dcmread(sorted(folder.iterdir())[1])
    slice_.SOPInstanceUID = "1.2.3.4"
    slice_.save_as(folder / "copy.dcm")
    with pytest.raises(VolumeError, match="1 slices doubled, at"):
        read_series(folder)


def test_two_phases_in_one_series_are_refused_as_such(tmp_path):
    write_series(tmp_path / "s", HU[:3], [0, 3, 6])
    write_series(tmp_path / "s" / "x", HU[3:], [0, 3, 6])
    for path in (tmp_path / "s" / "x").iterdir():
        path.rename(tmp_path / "s" / f"2-{path.name}")
    with pytest.raises(
        VolumeError, match=r"holds 6 slices at 3 positions, 3 slices doubled, at 0\.00, 3\.00, 6\.00 mm"
    ):
        read_series(tmp_path / "s")


def test_each_slice_has_its_own_rescale_and_that_is_told(tmp_path, caplog):
    folder = tmp_path / "s"
    folder.mkdir()
    for number, plane in enumerate(HU):
        write_slice(
            folder / str(number), plane + 1000 + number, (0, 0, number), series="1", RescaleIntercept=-1000 - number
        )
    np.testing.assert_array_equal(read_series(folder)[0], HU.T)
    assert "slices differ in their rescale (slope and intercept 1 and -1005" in remarks(caplog)[0]
    write_slice(folder / "6", HU[0], (0, 0, 6), series="1", RescaleIntercept=None)
    with pytest.raises(VolumeError, match="6 has no RescaleIntercept and others have"):
        read_series(folder)


# Identity


def test_what_lies_beside_a_series_takes_no_part_in_its_hash(tmp_path):
    folder = write_series(tmp_path / "s", HU)
    clean = volume_sha256(folder)
    for name in ("Thumbs.db", ".DS_Store", "desktop.ini"):
        (folder / name).write_bytes(b"x" * 300)
    write_slice(folder / "dose", HU[0], (0, 0, 0), series="1.2.8", ImageType=["DERIVED", "SECONDARY", "SCREEN SAVE"])
    assert volume_sha256(folder) == clean
    for path in sorted(folder.glob("*.dcm")):
        path.rename(path.with_suffix(""))
    assert volume_sha256(folder) == clean
    path = sorted(volume_files(folder))[0]
    path.write_bytes(path.read_bytes()[:-2] + b"\7\7")
    assert volume_sha256(folder) != clean


def former_sha256(folder) -> str:
    """As the hash of a DICOM folder was: that of every file in it that is not hidden."""
    from hashlib import sha256

    hashes = [sha256(path.read_bytes()).hexdigest() for path in folder.iterdir() if not path.name.startswith(".")]
    return sha256("\n".join(sorted(hashes)).encode()).hexdigest()


def test_a_clean_folder_keeps_its_hash_and_former_hashes_are_found(tmp_path):
    folder = write_series(tmp_path / "in" / "s", HU)
    clean = volume_sha256(folder)
    assert clean == former_sha256(folder)
    (folder / "LICENSE").write_text("of the data")
    former = former_sha256(folder)
    assert former != clean == volume_sha256(folder)
    assert find_by_hash(tmp_path / "in", former, "CT") == SourceFile(folder, former)
    assert find_by_hash(folder, clean, "CT") == SourceFile(folder, clean)
    assert SourceFile.matching(folder, "0" * 64) is None


def test_one_of_several_series_is_known_by_its_own_slices(tmp_path):
    alone = write_series(tmp_path / "alone", HU, series="1.2.4")
    folder = write_series(tmp_path / "s", HU[:4])
    for path in alone.iterdir():
        (folder / path.name).write_bytes(path.read_bytes())
    assert SourceFile.of(folder, "1.2.4").sha256 == volume_sha256(alone)
    assert SourceFile.matching(folder, volume_sha256(alone)) == SourceFile(folder, volume_sha256(alone), "1.2.4")
    with pytest.raises(VolumeError, match="holds 2 series"):
        volume_sha256(folder)


def test_label_files_of_a_folder_are_known_by_their_names_too(tmp_path):
    for name, content in (("lung_left", b"1"), ("lung_right", b"2")):
        (tmp_path / f"{name}.nii.gz").write_bytes(content)
    before = volume_sha256(tmp_path)
    (tmp_path / "Thumbs.db").write_bytes(b"x")
    assert volume_sha256(tmp_path) == before
    (tmp_path / "lung_left.nii.gz").write_bytes(b"2")
    (tmp_path / "lung_right.nii.gz").write_bytes(b"1")
    assert volume_sha256(tmp_path) != before
    assert find_by_hash(tmp_path, volume_sha256(tmp_path), "labels").path == tmp_path


def test_a_cached_grid_outlives_what_falls_beside_its_slices(tmp_path, monkeypatch):
    folder = write_series(tmp_path / "s", HU)
    CTDataset([folder], size=16, cache_folder=tmp_path / "cache")[0]
    (folder / "Thumbs.db").write_bytes(b"x")
    CTDataset([folder], size=16, cache_folder=tmp_path / "cache")[0]
    assert len(list((tmp_path / "cache").iterdir())) == 1


# Real files

LOSSLESS = [
    "BigEndianExplicit",
    "DeflatedExplicit",
    "JPEG2000LosslessOnly",
    "JPEGLSLossless",
    "JPEGProcess14SV1",
    "JPEGProcess14T",
    "LittleEndianExplicit",
    "LittleEndianImplicit",
    "RLELossless",
]
LOSSY_HU = {
    "JPEG2000Transfer": 5,
    "JPEGLSLossy": 1,
    "JPEGProcess1T": 65,
    "JPEGProcess2_4": 36,
    "JPEGProcess6_8": 36,
    "JPEGProcess10_12": 36,
}
"""The greatest difference from the original, HU, that each lossy form was written with."""


def pair_of(folder, path):
    """A slice and its copy 5 mm above, in the same transfer syntax: the least that makes a volume."""
    folder.mkdir()
    first = dcmread(path)
    second = dcmread(path)
    x, y, z = (float(part) for part in first.ImagePositionPatient)
    second.ImagePositionPatient = [x, y, z + 5]
    first.save_as(folder / "1")
    second.save_as(folder / "2")
    return folder


@pytest.fixture
def cornerstone(real_data):
    folder = real_data / "oddities" / "cornerstone3D-MIT"
    if not folder.is_dir():
        pytest.skip(f"no folder at {folder}")
    return folder


@pytest.mark.parametrize("name", [*LOSSLESS, *LOSSY_HU])
def test_every_transfer_syntax_gives_the_same_slice(tmp_path, cornerstone, name, capfd, caplog):
    base = read_series(pair_of(tmp_path / "base", cornerstone / "CTImage.dcm"))[0]
    (path,) = cornerstone.glob(f"CTImage.dcm_{name}*")
    folder = pair_of(tmp_path / "s", path)
    check_series(folder)
    values = read_series(folder)[0]
    assert values.shape == (512, 512, 2) and base.min() == -3024 and base.max() == 1378
    assert not capfd.readouterr().err
    assert ("2 of 2 files were compressed with loss" in str(remarks(caplog))) == (name in LOSSY_HU)
    difference = np.abs(values - base)[base > -2000]
    assert difference.max() <= LOSSY_HU.get(name, 0)


def test_a_real_series_equals_its_nrrd(real_data):
    folder = real_data / "oddities" / "cip-ct64-dicom"
    if not folder.is_dir():
        pytest.skip(f"no folder at {folder}")
    values, affine = read_series(folder)
    other = read_volume(real_data / "ct" / "cip-64" / "ct-64.nrrd")
    np.testing.assert_array_equal(values, other.values[0].numpy())
    np.testing.assert_allclose(affine, other.affine.numpy(), atol=1e-3)


def test_a_real_coronal_stack_is_not_ordered_by_z(real_data):
    folder = real_data / "oddities" / "acrin-flt-breast-013-coronalMPR-CCBY3"
    if not folder.is_dir():
        pytest.skip(f"no folder at {folder}")
    reader = sitk.ImageSeriesReader()
    reader.SetFileNames(reader.GetGDCMSeriesFileNames(str(folder)))
    image = reader.Execute()
    values, affine = read_series(folder)
    for index in ((0, 0, 0), (100, 300, 39), (511, 0, 20)):
        world = np.array(image.TransformIndexToPhysicalPoint(index)) * [-1, -1, 1]
        place = np.rint(np.linalg.inv(affine) @ [*world, 1])[:3].astype(int)
        assert values[tuple(place)] == image[index]


def test_a_real_enhanced_ct_is_read_with_the_scale_of_its_groups(real_data, caplog):
    path = real_data / "oddities" / "pydicom-data-MIT" / "eCT_Supplemental.dcm"
    if not path.is_file():
        pytest.skip(f"no file at {path}")
    volume = read_volume(path)
    assert volume.shape == (512, 512, 2) and (volume.values.min(), volume.values.max()) == (-1024, 172)
    assert volume.spacing_mm == pytest.approx((0.388672, 0.388672, 10))
    assert "a map made of CTs, whose values may be no HU" in remarks(caplog)[0]


logging.getLogger("pydicom").setLevel(logging.ERROR)
