"""Label maps of many kinds: what they hold, what their structures are called, and where they lie."""

import logging

import nibabel as nib
import numpy as np
import pytest
import SimpleITK as sitk
import torch
from nibabel.nifti1 import Nifti1Extension

from nerp.errors import NerpError, VolumeError
from nerp.label_maps import check_label_map, read_label_map, read_labels
from nerp.volume import Volume

SHAPE = (6, 5, 4)
AFFINE = np.array([[-2.0, 0, 0, 30], [0, 2, 0, -20], [0, 0, 3, 7], [0, 0, 0, 1]])


def ct(shape=SHAPE, affine=AFFINE) -> Volume:
    return Volume(torch.zeros(1, *shape), torch.from_numpy(np.array(affine)), "hu")


def box(*corner, size=2, shape=SHAPE) -> np.ndarray:
    mask = np.zeros(shape, np.uint8)
    mask[tuple(slice(start, start + size) for start in corner)] = 1
    return mask


def nifti(path, values, affine=AFFINE, table: str = ""):
    path.parent.mkdir(parents=True, exist_ok=True)
    image = nib.Nifti1Image(values, affine)
    if table:
        image.header.extensions.append(Nifti1Extension(0, table.encode()))
    image.to_filename(path)
    return path


def structures(folder, **masks):
    for name, mask in masks.items():
        nifti(folder / f"{name}.nii.gz", mask)
    return folder


def seg_nrrd(path, layers: list[np.ndarray], segments: list[dict]):
    """A segmentation as 3D Slicer writes it, in LPS."""
    values = np.stack([layer.T for layer in layers], axis=-1)
    image = sitk.GetImageFromArray(values[..., 0] if len(layers) == 1 else values, isVector=len(layers) > 1)
    lps = np.diag([-1.0, -1, 1, 1]) @ AFFINE
    spacing = np.linalg.norm(lps[:3, :3], axis=0)
    image.SetSpacing(spacing.tolist())
    image.SetDirection((lps[:3, :3] / spacing).ravel().tolist())
    image.SetOrigin(lps[:3, 3].tolist())
    for number, segment in enumerate(segments):
        for key, text in segment.items():
            image.SetMetaData(f"Segment{number}_{key}", str(text))
    sitk.WriteImage(image, str(path))
    return path


def where(found, value: int) -> np.ndarray:
    """Where a value is, which stands in one map alone."""
    holding = [one.numpy() == value for one in found.volume.values if (one == value).any()]
    assert len(holding) == 1
    return holding[0]


def test_a_folder_of_structures_is_numbered_by_name_and_overlaps_are_kept(tmp_path):
    masks = {"lung_left": box(0, 0, 0), "heart": box(1, 1, 1), "trachea": box(4, 0, 0), "rib_left_1": box(0, 0, 0) * 0}
    folder = structures(tmp_path / "s", **masks)
    (folder / "statistics.json").write_text("{}")
    (folder / "preview.png").write_bytes(b"x")
    (folder / ".hidden.nii.gz").write_bytes(b"x")
    found = read_label_map(folder, like=ct())
    assert found.names == {1: "heart", 2: "lung_left", 3: "rib_left_1", 4: "trachea"}
    assert found.volume.values.shape == (2, *SHAPE) and not (found.volume.values == 3).any()
    for value, name in ((1, "heart"), (2, "lung_left"), (4, "trachea")):
        np.testing.assert_array_equal(where(found, value), masks[name] > 0)
    check_label_map(folder)


def test_structures_that_do_not_overlap_share_one_map_on_the_cts_grid(tmp_path):
    folder = structures(tmp_path / "case" / "segmentations", a=box(0, 0, 0) * 255, b=box(4, 0, 0))
    fine = np.array(AFFINE) @ np.diag([0.5, 0.5, 0.5, 1])
    fine[:3, 3] = AFFINE[:3, 3] - AFFINE[:3, :3] @ np.full(3, 0.25)
    found = read_label_map(tmp_path / "case", like=ct(tuple(2 * n for n in SHAPE), fine))
    assert found.volume.values.shape == (1, 12, 10, 8) and read_label_map(folder).names == found.names
    expected = box(0, 0, 0, size=4, shape=(12, 10, 8)) + 2 * box(8, 0, 0, size=4, shape=(12, 10, 8))
    np.testing.assert_array_equal(found.volume.values[0].numpy(), expected)


def test_one_file_in_a_folder_is_a_label_map_if_it_holds_several_labels(tmp_path):
    nifti(tmp_path / "a" / "all.nii", box(0, 0, 0) + 6 * box(3, 1, 1))
    assert read_labels(tmp_path / "a").values.unique().tolist() == [0, 1, 6]
    assert read_label_map(structures(tmp_path / "b", lung=box(0, 0, 0) * 7)).names == {1: "lung"}


TABLE = (
    '<?xml version="1.0"?><CaretExtension><VolumeInformation Index="0"><LabelTable><Label Key="0">none</Label>'
    '<Label Key="3"><![CDATA[lung_left]]></Label><Label Key="5">heart</Label></LabelTable></VolumeInformation>'
    "</CaretExtension>"
)


@pytest.mark.parametrize("name", ["ml.nii", "ml.nii.gz"])
def test_names_stand_in_the_headers_extension(tmp_path, name):
    path = nifti(tmp_path / name, box(0, 0, 0) * 3 + box(3, 1, 1) * 5, table=TABLE)
    assert read_label_map(path, like=ct()).names == {3: "lung_left", 5: "heart"}


@pytest.mark.parametrize("table", ["<LabelTable", "LabelTable <!DOCTYPE x>", "<a>LabelTable</a>", "other"])
def test_other_extensions_tell_no_names(tmp_path, table):
    assert read_label_map(nifti(tmp_path / "a.nii", box(0, 0, 0), table=table)).names == {}


SEGMENTS = [
    {"Name": "left lung", "LabelValue": 1, "Layer": 0, "Extent": "0 5 0 4 0 3"},
    {"Name": "heart", "LabelValue": 7, "Layer": 0},
]


def test_a_segmentation_of_slicer_tells_names_and_values(tmp_path):
    path = seg_nrrd(tmp_path / "a.seg.nrrd", [box(0, 0, 0) + 7 * box(3, 1, 1)], SEGMENTS)
    found = read_label_map(path, like=ct())
    assert found.names == {1: "left lung", 7: "heart"}
    np.testing.assert_array_equal(where(found, 7), box(3, 1, 1) > 0)
    check_label_map(path)


def test_overlapping_layers_of_slicer_are_taken_apart(tmp_path, caplog):
    layers = [box(0, 0, 0) + 7 * box(3, 1, 1), box(1, 1, 1)]
    path = seg_nrrd(tmp_path / "a.seg.nrrd", layers, [*SEGMENTS, {"Name": "nodule", "LabelValue": 1, "Layer": 1}])
    found = read_label_map(path, like=ct())
    assert found.names == {1: "left lung", 7: "heart", 8: "nodule"} and len(found.volume.values) == 2
    for value, mask in ((1, box(0, 0, 0)), (7, box(3, 1, 1)), (8, box(1, 1, 1))):
        np.testing.assert_array_equal(where(found, value), mask > 0)
    assert "'nodule' has the value 1 of another layer's segment; it is label 8 here" in caplog.text


def test_layers_of_old_segmentations_are_a_segment_each(tmp_path):
    path = seg_nrrd(tmp_path / "a.seg.nrrd", [box(0, 0, 0), box(1, 1, 1)], [{"Name": "a"}, {"Name": "b"}])
    found = read_label_map(path, like=ct())
    assert sorted(found.names.values()) == ["a", "b"]
    value = next(value for value, name in found.names.items() if name == "b")
    np.testing.assert_array_equal(where(found, value), box(1, 1, 1) > 0)


def test_what_no_segment_describes_is_kept_and_told(tmp_path, caplog):
    path = seg_nrrd(tmp_path / "a.seg.nrrd", [box(0, 0, 0), 3 * box(1, 1, 1)], SEGMENTS[:1])
    np.testing.assert_array_equal(where(read_label_map(path), 3), box(1, 1, 1) > 0)
    assert "value 3 of layer 1 is no segment" in caplog.text


@pytest.mark.parametrize(
    ("segments", "message"),
    [
        ([{"Name": "a", "LabelValue": "x"}], "Segment0_LabelValue 'x'; expected a whole number"),
        ([{"Name": "a", "LabelValue": 1, "Layer": 3}], "layer 3 of 1"),
        ([{"Name": "a", "LabelValue": 1}, {"Name": "b", "LabelValue": 1}], "gives one value to a, b"),
    ],
)
def test_headers_that_contradict_themselves_are_refused(tmp_path, segments, message):
    with pytest.raises(VolumeError, match=message):
        read_label_map(seg_nrrd(tmp_path / "a.seg.nrrd", [box(0, 0, 0)], segments))


def test_layers_of_zeros_and_ones_are_a_label_each(tmp_path, caplog):
    path = nifti(tmp_path / "a.nii.gz", np.stack([box(0, 0, 0), box(1, 1, 1)], axis=-1))
    found = read_label_map(path, like=ct())
    np.testing.assert_array_equal(where(found, 2), box(1, 1, 1) > 0)
    assert "has 2 layers of 0 and 1; layer 0 is taken for label 1" in caplog.text
    check_label_map(path)


def test_one_hot_layers_begin_with_the_background(tmp_path, caplog):
    own = box(0, 0, 0) + 2 * box(3, 1, 1)
    path = nifti(tmp_path / "a.nii.gz", np.stack([own == value for value in range(3)], axis=-1).astype(np.uint8))
    np.testing.assert_array_equal(read_labels(path, like=ct()).values[0].numpy(), own)
    assert "layer 0 is taken for the background" in caplog.text


def test_layers_of_other_values_keep_them(tmp_path):
    path = nifti(tmp_path / "a.nii.gz", np.stack([4 * box(0, 0, 0), 9 * box(1, 1, 1)], axis=-1))
    assert read_labels(path).values.unique().tolist() == [0, 4, 9]


def test_large_values_and_many_maps_are_exact(tmp_path):
    values = np.stack([(2**24 - 1) * box(0, 0, 0).astype(np.int32), 300 * box(1, 1, 1).astype(np.int32)], axis=-1)
    found = read_label_map(nifti(tmp_path / "a.nii", values))
    assert found.volume.values.amax(dim=(1, 2, 3)).tolist() == [2**24 - 1, 300]


def shifted(*offset_mm) -> np.ndarray:
    affine = np.array(AFFINE)
    affine[:3, 3] += offset_mm
    return affine


@pytest.mark.parametrize("offset_mm", [(0.001, -0.001, 0.001), (0.15, 0, 0), (0, 0, 0.19)])
def test_rounded_affines_are_the_cts(tmp_path, offset_mm):
    path = nifti(tmp_path / "a.nii", box(1, 2, 1), shifted(*offset_mm))
    found = read_label_map(path, like=ct())
    np.testing.assert_array_equal(found.volume.values[0].numpy(), box(1, 2, 1))
    assert found.outside == {}


def test_half_a_voxel_beside_is_told(tmp_path, caplog):
    read_label_map(nifti(tmp_path / "a.nii", box(1, 2, 1), shifted(0.8, 0, 0)), like=ct())
    assert "lies 0.4 voxels beside the CT's grid" in caplog.text


@pytest.mark.parametrize(
    "affine",
    [np.eye(4), shifted(4, 0, 0), np.diag([-1.0, 1, 1, 1]) @ AFFINE @ np.diag([1.0, 1, 1, 1]) + 0, 1.2 * AFFINE],
    ids=["identity", "shifted", "mirrored", "scaled"],
)
def test_the_cts_shape_elsewhere_is_refused_until_it_is_said_to_be_the_cts(tmp_path, affine):
    affine = np.array(affine)
    affine[3] = 0, 0, 0, 1
    like = ct(affine=np.diag([3.0, 3, 3, 1]))
    path = nifti(tmp_path / "a.nii", box(1, 2, 1), np.eye(4) if (affine == np.eye(4)).all() else affine)
    near = like if (affine == np.eye(4)).all() else ct()
    with pytest.raises(VolumeError, match="--labels-on-ct-grid") as caught:
        read_labels(path, like=near)
    assert "\n" not in str(caught.value)
    found = read_labels(path, like=near, on_ct_grid=True)
    np.testing.assert_array_equal(found.values[0].numpy(), box(1, 2, 1))
    assert torch.equal(found.affine, near.affine)


def test_flipped_axes_over_one_box_are_another_orientation(tmp_path, caplog):
    flip = np.diag([-1.0, 1, 1, 1])
    flip[0, 3] = SHAPE[0] - 1
    path = nifti(tmp_path / "a.nii", box(1, 2, 1)[::-1].copy(), AFFINE @ flip)
    np.testing.assert_array_equal(read_labels(path, like=ct()).values[0].numpy(), box(1, 2, 1))
    assert not caplog.records


def test_the_cts_grid_needs_the_cts_shape(tmp_path):
    path = nifti(tmp_path / "a.nii", box(1, 2, 1))
    with pytest.raises(VolumeError, match="has 6x5x4 voxels, the CT 6x5x5"):
        read_labels(path, like=ct((6, 5, 5)), on_ct_grid=True)
    with pytest.raises(VolumeError, match="needs the CT"):
        read_labels(path, on_ct_grid=True)


def test_the_share_outside_the_ct_is_counted(tmp_path):
    path = nifti(tmp_path / "a.nii", box(0, 0, 0) + 2 * box(4, 0, 0))
    found = read_label_map(path, like=ct((5, 5, 4)))
    assert found.outside == {2: 0.5}


BAD = {
    "no labels": (lambda d: (d / "x.txt").write_text("x") and d, "holds no labels; expected one binary file"),
    "unknown": (lambda d: (d / "x.stl").write_text("solid") and d / "x.stl", "unknown extension '.stl'; .*convert it"),
    "missing": (lambda d: d / "none.nii", "no such file or folder"),
    "several labels": (
        lambda d: structures(d, a=box(0, 0, 0), b=box(0, 0, 0) + 2 * box(3, 1, 1)),
        "b.nii.gz: holds several labels",
    ),
    "two grids": (
        lambda d: nifti(structures(d, a=box(0, 0, 0)) / "b.nii.gz", box(0, 0, 0), shifted(1, 0, 0)).parent,
        "b.nii.gz: lies on another grid than a.nii.gz",
    ),
    "twice": (lambda d: nifti(structures(d, a=box(0, 0, 0)) / "a.nii", box(0, 0, 0)).parent, "two files of .* 'a'"),
    "all empty": (lambda d: structures(d, a=0 * box(0, 0, 0), b=0 * box(0, 0, 0)), "holds no label"),
    "probabilities": (lambda d: nifti(d / "a.nii", np.full((*SHAPE, 2), 0.5, np.float32)), "not whole numbers"),
    "shared values": (
        lambda d: nifti(d / "a.nii", np.stack([2 * box(0, 0, 0), 2 * box(1, 1, 1)], axis=-1)),
        "layer 1 of 2 holds the value 2 of an earlier one",
    ),
    "cut": (lambda d: (d / "a.nii.gz").write_bytes(b"\x1f\x8b") and d / "a.nii.gz", "cannot be read as NIfTI"),
}


@pytest.mark.parametrize("kind", BAD)
def test_what_is_no_label_map_is_refused_in_one_line(tmp_path, kind):
    make, message = BAD[kind]
    with pytest.raises(NerpError, match=message) as caught:
        read_label_map(make(tmp_path), like=ct())
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("kind", ["no labels", "unknown", "missing", "cut"])
def test_the_quick_check_needs_no_voxels(tmp_path, kind):
    make, message = BAD[kind]
    with pytest.raises(VolumeError, match=message):
        check_label_map(make(tmp_path))
    with pytest.raises(VolumeError, match="promises 120 voxels"):
        check_label_map(structures(tmp_path / "s", a=box(0, 0, 0)), max_voxels=100)


def test_too_many_maps_are_refused(tmp_path):
    folder = structures(tmp_path / "s", a=box(0, 0, 0), b=box(1, 1, 1), c=box(1, 1, 1))
    with pytest.raises(VolumeError, match=r"promises 360 voxels \(6x5x4x3\), the limit is 250"):
        read_label_map(folder, max_voxels=250)


def test_real_structures_are_those_of_their_files(real_data, caplog):
    folder = real_data / "oddities" / "totalsegmentator-Apache2" / "example_seg_fast"
    with caplog.at_level(logging.WARNING):
        found = read_label_map(folder)
    assert len(found.names) == 117 and found.names[1] == "adrenal_gland_left" and not caplog.records
    own = {name: value for value, name in found.names.items()}["colon"]
    stored = np.asarray(nib.load(folder / "colon.nii.gz").dataobj)
    np.testing.assert_array_equal(where(found, own), stored > 0)


def test_real_layers_of_slicer_overlap(real_data):
    folder = real_data / "oddities" / "slicerio-MIT"
    found = read_label_map(folder / "SegmentationOverlapping.seg.nrrd")
    single = read_label_map(folder / "Segmentation.seg.nrrd")
    assert len(found.volume.values) == 2 and set(single.names.items()) <= set(found.names.items())
    assert torch.equal(found.volume.values[0], single.volume.values[0])


def test_labels_that_tell_no_place_are_told_when_they_are_carried_onto_a_ct(tmp_path, caplog):
    path = tmp_path / "bare.nii"
    image = nib.Nifti1Image(np.ones((9, 9, 9), np.int16), None)
    image.header.set_sform(None, 0)
    image.header.set_qform(None, 0)
    image.to_filename(path)
    grid = Volume(torch.zeros(1, 4, 4, 4), torch.eye(4, dtype=torch.float64), "hu")
    read_label_map(path, like=grid)
    assert "the labels' place is unknown (neither sform nor qform); state it in their file" in caplog.text
    caplog.clear()
    read_label_map(path)
    assert not caplog.text
