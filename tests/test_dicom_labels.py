"""DICOM segmentations and structure sets: voxels where the file says, names as it says."""

from dataclasses import replace

import numpy as np
import pydicom
import pytest
import torch
from dicom_series import write_slice
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.sequence import Sequence
from pydicom.uid import ExplicitVRLittleEndian, generate_uid

from nerp.errors import DataError, VolumeError
from nerp.label_maps import check_label_map, check_references, read_label_map
from nerp.label_maps.rtstruct import fill
from nerp.synthesis.scans import check_scan, open_scan, ready
from nerp.synthesis.settings import InputSettings, MaskSettings, PairSettings
from nerp.volume import Volume, read_volume

ROWS, COLUMNS, STEP_MM = 5, 7, 2.5
AFFINE = np.array([[-0.7, 0, 0, -10], [0, -0.8, 0, -20], [0, 0, STEP_MM, 30], [0, 0, 0, 1]])
"""Of an axial stack with its first voxel at (10, 20, 30) mm of DICOM's LPS."""


def dataset(**values) -> Dataset:
    made = Dataset()
    for key, value in values.items():
        setattr(made, key, Sequence(value) if key.endswith("Sequence") else value)
    return made


def saved(path, header: Dataset):
    header.file_meta = FileMetaDataset()
    header.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    header.file_meta.MediaStorageSOPClassUID = header.SOPClassUID = "1.2.840.10008.5.1.4.1.1.66.4"
    header.file_meta.MediaStorageSOPInstanceUID = header.SOPInstanceUID = generate_uid()
    path.parent.mkdir(parents=True, exist_ok=True)
    header.save_as(path, enforce_file_format=True)
    return path


def write_seg(path, frames, *, kind="BINARY", names=("lung left", "heart"), between=STEP_MM, **more):
    """A DICOM SEG of frames `(segment, z mm, (rows, columns))`."""
    measures = dataset(PixelSpacing=[0.8, 0.7], SliceThickness=STEP_MM)
    if between:
        measures.SpacingBetweenSlices = between
    planes = np.stack([frame for _, _, frame in frames]).astype(np.uint8)
    packed = np.packbits(planes.ravel(), bitorder="little") if kind == "BINARY" else planes
    header = dataset(
        Modality="SEG",
        SegmentationType=kind,
        Rows=ROWS,
        Columns=COLUMNS,
        NumberOfFrames=len(frames),
        SamplesPerPixel=1,
        PhotometricInterpretation="MONOCHROME2",
        BitsAllocated=1 if kind == "BINARY" else 8,
        BitsStored=1 if kind == "BINARY" else 8,
        HighBit=0 if kind == "BINARY" else 7,
        PixelRepresentation=0,
        SegmentSequence=[dataset(SegmentNumber=n, SegmentLabel=name) for n, name in enumerate(names, start=1)],
        SharedFunctionalGroupsSequence=[
            dataset(
                PlaneOrientationSequence=[dataset(ImageOrientationPatient=[1, 0, 0, 0, 1, 0])],
                PixelMeasuresSequence=[measures],
            )
        ],
        PerFrameFunctionalGroupsSequence=[
            dataset(
                PlanePositionSequence=[dataset(ImagePositionPatient=[10, 20, z])],
                SegmentIdentificationSequence=[dataset(ReferencedSegmentNumber=segment)],
            )
            for segment, z, _ in frames
        ],
    )
    for key, value in more.items():
        setattr(header, key, value)
    data = packed.tobytes()
    header.PixelData = data + b"\0" * (len(data) % 2)
    return saved(path, header)


def plane(*rows_columns) -> np.ndarray:
    made = np.zeros((ROWS, COLUMNS), np.uint8)
    for row, column in rows_columns:
        made[row, column] = 1
    return made


def ct(n_slices=4) -> Volume:
    return Volume(torch.zeros(1, COLUMNS, ROWS, n_slices), torch.from_numpy(AFFINE), "hu")


def places(found, value) -> set[tuple[int, ...]]:
    """Voxels (column, row, slice) of a value."""
    return {tuple(index) for one in found.volume.values for index in (one == value).nonzero().tolist()}


def test_frames_lie_where_they_say_and_missing_ones_are_empty(tmp_path):
    frames = [(1, 35.0, plane((1, 2))), (1, 30.0, plane((0, 6), (4, 0)))]
    path = write_seg(tmp_path / "seg.dcm", frames)
    alone = read_label_map(path)
    assert alone.volume.values.shape == (1, COLUMNS, ROWS, 3) and alone.names == {1: "lung left", 2: "heart"}
    np.testing.assert_allclose(alone.volume.affine.numpy(), AFFINE, atol=1e-9)
    found = read_label_map(path, like=ct())
    assert places(found, 1) == places(alone, 1) == {(6, 0, 0), (0, 4, 0), (2, 1, 2)}
    check_label_map(path)


def test_overlapping_segments_lie_in_maps_of_their_own(tmp_path):
    frames = [(1, 30.0, plane((1, 2), (1, 3))), (2, 30.0, plane((1, 3))), (2, 32.5, plane((0, 0)))]
    found = read_label_map(write_seg(tmp_path / "seg.dcm", frames), like=ct())
    assert len(found.volume.values) == 2
    assert places(found, 1) == {(2, 1, 0), (3, 1, 0)} and places(found, 2) == {(3, 1, 0), (0, 0, 1)}


def test_fractions_count_from_one_half(tmp_path, caplog):
    frames = [(1, 30.0, plane((0, 0)) * 127 + plane((1, 1)) * 128 + plane((2, 2)) * 255)]
    path = write_seg(tmp_path / "seg.dcm", frames, kind="FRACTIONAL", MaximumFractionalValue=255)
    assert places(read_label_map(path, like=ct()), 1) == {(1, 1, 0), (2, 2, 0)}
    assert "a voxel counts where a segment's share is at least 0.5" in caplog.text


def test_label_maps_hold_segment_numbers_and_their_padding_is_background(tmp_path):
    frames = [(0, 30.0, plane((0, 0)) * 2 + plane((1, 1)) * 5), (0, 32.5, plane((2, 3)))]
    path = write_seg(tmp_path / "seg.dcm", frames, kind="LABELMAP", PixelPaddingValue=5)
    found = read_label_map(path, like=ct())
    assert places(found, 2) == {(0, 0, 0)} and places(found, 1) == {(3, 2, 1)} and not places(found, 5)


def test_the_cts_distance_counts_where_the_file_states_none(tmp_path):
    frames = [(1, 30.0, plane((0, 0))), (1, 35.0, plane((0, 0)))]
    path = write_seg(tmp_path / "seg.dcm", frames, between=None)
    assert places(read_label_map(path, like=ct()), 1) == {(0, 0, 0), (0, 0, 2)}
    assert read_label_map(path).volume.spacing_mm[2] == 5.0


def test_a_folder_with_one_segmentation_is_that(tmp_path):
    path = write_seg(tmp_path / "case" / "1-1", [(1, 30.0, plane((0, 0)))])
    (path.parent / "notes.txt").write_text("x")
    assert places(read_label_map(path.parent, like=ct()), 1) == {(0, 0, 0)}
    check_label_map(path.parent)
    write_seg(tmp_path / "case" / "1-2", [(1, 30.0, plane((0, 0)))])
    with pytest.raises(VolumeError, match=r"holds 2 DICOM label files \(1-1, 1-2\); give one"):
        read_label_map(path.parent, like=ct())


ONE = [(1, 30.0, plane((0, 0))), (1, 32.5, plane((0, 0)))]
BAD = {
    "uneven": (lambda p: write_seg(p, [*ONE, (1, 33.9, plane((0, 0)))]), r"uneven distances \(1.4, 2.5 mm\)"),
    "frames": (lambda p: write_seg(p, ONE, NumberOfFrames=3), "promises 3 frames and describes 2"),
    "no place": (
        lambda p: write_seg(p, ONE, SharedFunctionalGroupsSequence=Sequence([])),
        "has no PlaneOrientationSequence; .*convert it",
    ),
    "no rows": (lambda p: write_seg(p, ONE, Rows=None), "DICOM SEG lacks what it needs"),
    "kind": (lambda p: write_seg(p, ONE, SegmentationType="SURFACE"), "of type 'SURFACE'; expected BINARY"),
    "huge": (lambda p: write_seg(p, [*ONE, (1, 2500030.0, plane((0, 0)))]), "promises 35000035 voxels"),
    "a CT": (lambda p: write_seg(p, ONE, Modality="CT"), "modality 'CT', no labels; expected"),
}


@pytest.mark.parametrize("kind", BAD)
def test_segmentations_that_cannot_be_read_are_refused_in_one_line(tmp_path, kind):
    make, message = BAD[kind]
    with pytest.raises(VolumeError, match=message) as caught:
        read_label_map(make(tmp_path / "seg.dcm"), max_voxels=10**6)
    assert "\n" not in str(caught.value)


def test_cut_pixels_are_refused(tmp_path):
    path = write_seg(tmp_path / "seg.dcm", ONE)
    header = pydicom.dcmread(path)
    header.PixelData = header.PixelData[:6]
    header.save_as(path)
    with pytest.raises(VolumeError, match="pixels end in frame 1"):
        read_label_map(path)


def square(low, high, z) -> list[float]:
    """A contour about columns and rows `low` to `high` of the CT, in LPS mm."""
    corners = [(low, low), (low, high), (high, high), (high, low)]
    return [part for i, j in corners for part in (10 + 0.7 * i, 20 + 0.8 * j, z)]


def write_rtstruct(path, regions, *, frames=("1.2.3",), **more):
    """A structure set of regions `name: [contour, ...]`, numbered from 1."""
    contours = {
        name: [
            dataset(ContourGeometricType="CLOSED_PLANAR", NumberOfContourPoints=len(data) // 3, ContourData=data)
            for data in lines
        ]
        for name, lines in regions.items()
    }
    first = more.pop("first", 1)
    header = dataset(
        Modality="RTSTRUCT",
        ReferencedFrameOfReferenceSequence=[dataset(FrameOfReferenceUID=uid) for uid in frames],
        StructureSetROISequence=[
            dataset(ROINumber=n, ROIName=name, ReferencedFrameOfReferenceUID="1.2.3")
            for n, name in enumerate(regions, start=first)
        ],
        ROIContourSequence=[
            dataset(ReferencedROINumber=n, ContourSequence=lines)
            for n, lines in enumerate(contours.values(), start=first)
        ],
        **more,
    )
    return saved(path, header)


def test_contours_are_filled_and_inner_ones_are_holes(tmp_path):
    regions = {"lung left": [square(-0.5, 4.4, 30), square(1.5, 2.5, 30)], "heart": [square(1.5, 2.5, 32.5)]}
    path = write_rtstruct(tmp_path / "rt.dcm", regions)
    found = read_label_map(path, like=ct())
    assert found.names == {1: "lung left", 2: "heart"}
    assert places(found, 1) == {(i, j, 0) for i in range(5) for j in range(5)} - {(2, 2, 0)}
    assert places(found, 2) == {(2, 2, 1)}
    check_label_map(path)


def test_regions_that_overlap_lie_in_maps_of_their_own(tmp_path, caplog):
    regions = {"a": [square(0.5, 2.5, 30)], "b": [square(1.5, 3.5, 30)], "point": []}
    found = read_label_map(write_rtstruct(tmp_path / "rt.dcm", regions), like=ct())
    assert len(found.volume.values) == 2 and places(found, 1) & places(found, 2) == {(2, 2, 0)}
    assert "no closed contour for point" in caplog.text


def test_contours_fill_the_slices_nearest_to_them(tmp_path, caplog):
    regions = {"a": [square(0.5, 1.5, 30), square(0.5, 1.5, 37.5)]}
    found = read_label_map(write_rtstruct(tmp_path / "rt.dcm", regions), like=ct())
    assert places(found, 1) == {(1, 1, z) for z in range(4)}
    assert "contours of 'a' lie 3 slices of the CT apart" in caplog.text


def test_a_sagittal_cts_slices_take_contours_too(tmp_path):
    turned = Volume(torch.zeros(1, 4, COLUMNS, ROWS), torch.from_numpy(AFFINE[:, [2, 0, 1, 3]]), "hu")
    found = read_label_map(write_rtstruct(tmp_path / "rt.dcm", {"a": [square(1.5, 2.5, 32.5)]}), like=turned)
    assert places(found, 1) == {(1, 2, 2)}


def test_a_filled_circle_has_its_area():
    angles = np.linspace(0, 2 * np.pi, 400, endpoint=False)
    outline = 100 + 60.3 * np.stack([np.cos(angles), np.sin(angles)], axis=1)
    assert abs(fill([outline], (200, 200)).sum() / (np.pi * 60.3**2) - 1) < 2e-3
    assert not fill([outline + 500], (200, 200)).any() and fill([outline * 20 - 1900], (200, 200)).all()


def test_structure_sets_without_reference_or_numbered_from_zero_are_told(tmp_path, caplog):
    path = write_rtstruct(tmp_path / "rt.dcm", {"a": [square(1.5, 2.5, 30)]}, frames=(), first=0)
    found = read_label_map(path, like=ct())
    assert found.names == {1: "a"} and places(found, 1) == {(2, 2, 0)}
    assert "does not say which images it belongs to" in caplog.text and "from 0" in caplog.text


def test_contours_outside_the_ct_are_told_and_those_about_it_are_not(tmp_path, caplog):
    read_label_map(write_rtstruct(tmp_path / "a.dcm", {"a": [square(-50, 60, 30), square(-50, 60, 32.5)]}), like=ct())
    assert not caplog.records
    read_label_map(write_rtstruct(tmp_path / "b.dcm", {"a": [square(1, 3, 30), square(1, 3, 60)]}), like=ct())
    assert "1 of 2 contours lie outside the CT" in caplog.text


def checked(ct, labels, settings):
    """Open a CT with its labels and tell what is doubtful."""
    scan = open_scan(ct, labels, settings)
    check_scan(scan, ready(scan, settings, None)[0], settings.inputs)


@pytest.mark.parametrize(("frame", "n_findings"), [("1.2.3", 0), ("1.2.4", 1), ("", 0)])
def test_labels_of_another_frame_of_reference_are_told(tmp_path, frame, n_findings):
    folder = tmp_path / "ct"
    saved(folder / "1.dcm", dataset(Modality="CT", FrameOfReferenceUID=frame))
    labels = write_rtstruct(tmp_path / "rt" / "rt.dcm", {"a": [square(1, 3, 30)]})
    assert len(check_references(labels, folder)) == len(check_references(labels.parent, folder)) == n_findings
    seg = write_seg(tmp_path / "seg.dcm", ONE, FrameOfReferenceUID="1.2.3")
    assert len(check_references(seg, folder)) == n_findings
    assert check_references(folder, folder) == []


def test_labels_of_another_frame_of_reference_are_warned_of_and_refused_if_strict(tmp_path, caplog):
    folder = tmp_path / "ct"
    folder.mkdir()
    frame = {"PixelSpacing": [0.8, 0.7], "FrameOfReferenceUID": "1.2.3"}
    for n in range(4):
        soft = np.pad(np.full((6, 6), 1064), 1)
        write_slice(folder / f"{n}.dcm", soft, (10, 20, 30 + STEP_MM * n), series="1.5", **frame)
    labels = write_rtstruct(tmp_path / "rt.dcm", {"liver": [square(1, 3, 32.5)]}, frames=("1.2.4",))
    regions = pydicom.dcmread(labels)
    regions.StructureSetROISequence[0].ReferencedFrameOfReferenceUID = "1.2.4"
    regions.save_as(labels)
    settings = PairSettings(mode="drr", mask=MaskSettings(labels=(1,)))
    checked(folder, labels, settings)
    assert "rt.dcm: drawn in another frame of reference than the CT's" in caplog.text
    with pytest.raises(DataError, match="drawn in another frame of reference"):
        checked(folder, labels, replace(settings, inputs=InputSettings(strict=True)))


OBLIQUE = [10, 20, 30, 12, 20, 33, 12, 22, 33]
BAD_CONTOURS = {
    "no CT": ({"a": [square(0, 2, 30)]}, None, "contours without voxels; give its CT"),
    "oblique": ({"a": [OBLIQUE]}, ct(), "not parallel to the CT's slices"),
    "none": ({"a": []}, ct(), "no region of the RTSTRUCT has a closed contour"),
    "half a point": ({"a": [square(0, 2, 30)[:-1]]}, ct(), "contour of 11 numbers"),
    "elsewhere": ({"a": [square(50, 60, 30)]}, ct(), "holds no label"),
}


@pytest.mark.parametrize("kind", BAD_CONTOURS)
def test_contours_that_cannot_be_filled_are_refused_in_one_line(tmp_path, kind):
    regions, like, message = BAD_CONTOURS[kind]
    with pytest.raises(VolumeError, match=message) as caught:
        read_label_map(write_rtstruct(tmp_path / "rt.dcm", regions), like=like)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("name", "reference"),
    [
        ("liver.dcm", "liver_seg.nrrd"),
        ("sparse-labelmap-noppv.dcm", "sparse_labelmap_noppv_seg.nrrd"),
        ("23x38x3/seg/label.seg", "23x38x3/nrrd/label.nrrd"),
        ("24x38x3/seg/label.seg", "24x38x3/nrrd/label.nrrd"),
    ],
)
def test_real_segmentations_equal_their_references(real_data, name, reference):
    folder = real_data / "oddities" / "dcmqi-BSD3"
    found, expected = (read_label_map(folder / path).volume for path in (name, reference))
    assert torch.equal(found.values, expected.values)
    torch.testing.assert_close(found.affine, expected.affine, atol=1e-3, rtol=0)


def test_real_overlapping_segments_equal_their_references(real_data):
    folder = real_data / "oddities" / "dcmqi-BSD3"
    found = read_label_map(folder / "partial_overlaps.dcm")
    for number in (1, 2, 3):
        expected = read_label_map(folder / f"partial_overlaps-{number}.nrrd").volume.values
        for value in expected.unique().tolist()[1:]:
            holding = [one == value for one in found.volume.values if (one == value).any()]
            assert len(holding) == 1 and torch.equal(holding[0], expected[0] == value)


def test_real_contours_have_their_area(real_data):
    folder = real_data / "oddities" / "rt-utils-MIT" / "mock_data"
    like = read_volume(folder)
    found = read_label_map(folder / "non_existent_reference_rt.dcm", like=like)
    header = pydicom.dcmread(folder / "non_existent_reference_rt.dcm")
    for roi in header.ROIContourSequence:
        points = [np.reshape(np.float64(one.ContourData), (-1, 3)) for one in roi.ContourSequence]
        x, y = next(part for part in points if part[0, 2] == 65)[:, :2].T
        area_mm2 = abs(np.dot(x, np.roll(y, 1)) - np.dot(y, np.roll(x, 1))) / 2
        plane = (found.volume.values == int(roi.ReferencedROINumber)).any(dim=0)[..., 1]
        assert abs(float(plane.sum()) * 0.488281**2 / area_mm2 - 1) < 0.02
