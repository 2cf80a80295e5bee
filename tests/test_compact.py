"""CTs and labels as they are stored: half the memory, another order in it, and the same bits in every result."""

import builtins
import json
import sys

import nibabel as nib
import numpy as np
import pytest
import torch

from nerp.anatomy import rib_cage
from nerp.camera import chest_camera
from nerp.errors import VolumeError
from nerp.formats import in_c_order
from nerp.label_maps import label_counts, present_labels, read_label_map, where_labelled
from nerp.projection import MaskRule, Structure, project_labels, project_masks, siddon, siddon_of_ct
from nerp.synthesis import replay
from nerp.synthesis.scans import is_compact
from nerp.synthesis.settings import DeformationSettings, PairSettings
from nerp.volume import Volume, attenuation, read_volume

SHAPE = (31, 26, 19)


def grids(seed=0):
    """A trunk in air with noise, labels in it, and an affine of odd spacing, flipped."""
    rng = np.random.default_rng(seed)
    where = np.stack(np.meshgrid(*(np.linspace(-1, 1, size) for size in SHAPE), indexing="ij"))
    hu = np.where((where[:2] ** 2).sum(0) < 0.6, 40, -1000) + rng.integers(-30, 30, SHAPE)
    labels = np.where((where**2).sum(0) < 0.3, rng.integers(1, 5, SHAPE), 0)
    hu[:3] = -2048  # outside the field of view
    return hu.astype(np.int16), labels.astype(np.uint8), np.diag([-11.0, 12.5, 17.0, 1.0])


@pytest.fixture
def files(tmp_path):
    hu, labels, affine = grids()
    nib.Nifti1Image(hu, affine).to_filename(tmp_path / "ct.nii.gz")
    nib.Nifti1Image(labels, affine).to_filename(tmp_path / "labels.nii.gz")
    return tmp_path / "ct.nii.gz", tmp_path / "labels.nii.gz"


def read(files, compact):
    ct = read_volume(files[0], compact=compact)
    return ct, read_label_map(files[1], ct, compact=compact).volume


def c_ordered(volume):
    return Volume(volume.values.contiguous(), volume.affine, volume.unit)


def test_whole_numbers_stay_as_the_file_has_them(files):
    (ct, labels), (kept, kept_labels) = read(files, False), read(files, True)
    assert (kept.values.dtype, kept_labels.values.dtype) == (torch.int16, torch.uint8)
    assert not kept.values.is_contiguous() and kept.values.permute(0, 3, 2, 1).is_contiguous()
    assert torch.equal(kept.values.float(), ct.values) and torch.equal(kept_labels.values.float(), labels.values)
    assert (ct.values[0, :3] == -1024).all() and ct.values.dtype == torch.float32 and ct.values.is_contiguous()


@pytest.mark.parametrize("view", ["pa", "lateral", "oblique"])
def test_line_integrals_and_label_lengths_are_the_same_bits(files, view):
    (ct, labels), (kept, kept_labels) = read(files, False), read(files, True)
    camera = chest_camera(ct, view=view, shape=(23, 27))
    expected = siddon(attenuation(ct), camera)
    for one in (kept, c_ordered(kept), ct):
        assert torch.equal(siddon_of_ct(one, camera), expected)
    assert torch.allclose(siddon_of_ct(kept, camera, backend="reference"), expected, rtol=1e-5, atol=1e-5)
    lengths = project_labels(labels, camera, [1, 2, 4])
    for one in (kept_labels, c_ordered(kept_labels)):
        assert torch.equal(project_labels(one, camera, [1, 2, 4]), lengths)
    assert expected.max() > 0 and lengths.max() > 0
    with pytest.raises(VolumeError, match="needs a volume in 'hu'"):
        siddon_of_ct(attenuation(ct), camera)


def test_what_cannot_stay_is_read_as_ever(tmp_path):
    hu, labels, affine = grids()
    scaled = nib.Nifti1Image(np.maximum(hu, -1024) + 1024.0, affine)
    scaled.header.set_data_dtype(np.int16)
    scaled.header.set_slope_inter(1.0, -1024.0)
    scaled.to_filename(tmp_path / "scaled.nii.gz")
    nib.Nifti1Image(hu.astype(">i2"), affine).to_filename(tmp_path / "swapped.nii.gz")
    nib.Nifti1Image(labels.astype(np.int16) * 100, affine).to_filename(tmp_path / "large.nii.gz")
    assert read_volume(tmp_path / "scaled.nii.gz", compact=True).values.dtype == torch.float32
    swapped = read_volume(tmp_path / "swapped.nii.gz", compact=True)
    assert torch.equal(swapped.values, read_volume(tmp_path / "swapped.nii.gz").values.to(torch.int16))
    assert read_label_map(tmp_path / "large.nii.gz", compact=True).volume.values.dtype == torch.float32


def test_labels_are_counted_and_found_in_every_type(files):
    (_, labels), (_, kept) = read(files, False), read(files, True)
    values, counts = np.unique(labels.values.numpy(), return_counts=True)
    expected = {int(value): int(count) for value, count in zip(values, counts, strict=True)}
    far = Volume(torch.where(labels.values == 4, 100_000.0, labels.values), labels.affine, "label")
    assert label_counts(labels) == label_counts(kept) == label_counts(c_ordered(kept)) == expected
    assert label_counts(far) == {**{key: expected[key] for key in (0, 1, 2, 3)}, 100_000: expected[4]}
    assert present_labels(kept) == {1, 2, 3, 4}
    for values in ([1], [2, 4], list(range(1, 12))):
        there = np.isin(labels.values[0].numpy(), values)
        for one in (labels, kept):
            assert (where_labelled(one, values) == there).all()


def test_any_order_in_memory_becomes_one():
    hu, _, _ = grids()
    for order in ((0, 1, 2), (2, 1, 0), (1, 2, 0)):
        turned = np.asfortranarray(hu.transpose(order))
        for kind in (np.int16, np.float32):
            made = in_c_order(turned, kind)
            assert made.flags.c_contiguous and made.dtype == kind and (made == turned).all()
            assert not np.may_share_memory(made, turned)


def test_a_thinner_volume_lies_where_it_lay(files):
    ct, _ = read(files, False)
    thin = ct.thinned(25.0)
    assert thin.shape == (15, 13, 19)  # 11, 12.5 and 17 mm
    index = torch.tensor([3, 5, 7])
    fine = torch.linalg.inv(ct.affine) @ torch.cat([thin.to_world(index), torch.ones(1, dtype=torch.float64)])
    place = fine[:3].round().long()
    assert torch.allclose(fine[:3], place.double(), atol=1e-9)
    assert thin.values[0, 3, 5, 7] == ct.values[0][tuple(place.tolist())]
    assert ct.thinned(0.0) is ct and ct.thinned(11.0) is ct
    assert ct.thinned(1e6).shape == (1, 1, 1)


def test_lungs_are_told_on_a_grid_of_their_own():
    """A mask by the rule's coarser grid is the mask of every voxel but for its rim; other masks see every voxel."""
    side = 96
    index = torch.stack(torch.meshgrid(*[torch.linspace(-1, 1, side)] * 3, indexing="ij"))
    values = torch.zeros(1, side, side, side)
    for number, middle in ((1, -0.5), (2, 0.5)):
        lung = ((index[0] - middle) / 0.35) ** 2 + (index[1] / 0.6) ** 2 + (index[2] / 0.8) ** 2 < 1
        values[0][lung] = number
    values[0, 48, 48, 48] = 3
    labels = Volume(values, torch.diag(torch.tensor([3.2, 3.2, 3.2, 1.0], dtype=torch.float64)), "label")
    camera = chest_camera(labels, shape=(64, 64))
    both = []
    for grid_mm in (0.0, 6.4):
        seen = Structure((1, 2), MaskRule("visible", {"grid_mm": grid_mm}))
        masks, _ = project_masks([seen, Structure((3,), MaskRule("any"))], labels, camera)
        both.append(masks)
    fine, coarse = (one[0, 0] for one in both)
    assert 2 * (fine & coarse).sum() / (fine.sum() + coarse.sum()) > 0.96
    assert both[0][0, 1].any() and torch.equal(both[0][0, 1], both[1][0, 1])


def test_the_cage_is_the_hull_of_the_slices_so_far():
    rng = np.random.default_rng(3)
    lung = torch.from_numpy(rng.random((7, 20, 24)) < 0.01)
    affine = torch.diag(torch.tensor([-2.0, 1.5, 1.0, 1.0], dtype=torch.float64))[[2, 1, 0, 3]]
    cage = rib_cage(lung, affine)
    turns = 2 * np.pi * np.arange(24) / 24
    rows, columns = np.meshgrid(np.arange(20) * 1.5, np.arange(24) * 1.0, indexing="ij")
    reach = rows[..., None] * np.cos(turns) + columns[..., None] * np.sin(turns)
    outline = np.full(24, -np.inf)
    for plane, its in zip(lung.numpy(), cage.numpy(), strict=True):  # the first axis runs downward
        outline = np.maximum(outline, reach[plane].max(axis=0, initial=-np.inf))
        assert (
            its[(reach <= outline - 1e-3).all(axis=-1)].all() and not its[(reach > outline + 1e-3).any(axis=-1)].any()
        )
        assert its[plane].all()
    assert not rib_cage(torch.zeros_like(lung), affine).any()


def test_only_plain_line_integrals_ask_for_no_more():
    assert is_compact(PairSettings())
    assert not is_compact(PairSettings(mode="physics"))
    assert not is_compact(PairSettings(deformation=DeformationSettings(amplitude_mm=5.0)))


@pytest.mark.parametrize("has_isal", [True, False])
def test_a_damaged_gzip_is_told_whoever_unpacks_it(files, monkeypatch, has_isal):
    if has_isal:
        pytest.importorskip("isal", reason="isal, of the extra fast, is not installed")
    else:
        for name in [name for name in sys.modules if name.partition(".")[0] == "isal"]:
            monkeypatch.delitem(sys.modules, name)
        taken = builtins.__import__
        monkeypatch.setattr(
            builtins, "__import__", lambda name, *rest: taken("none." + name if name == "isal" else name, *rest)
        )
    expected = read_volume(files[0]).values
    whole = files[0].read_bytes()
    for damaged in (whole[: len(whole) // 2], whole[:-8] + bytes(8), whole[:2000] + bytes(200) + whole[2200:]):
        files[0].write_bytes(damaged)
        with pytest.raises(VolumeError, match=r"ct\.nii\.gz.*(cannot be read|bytes|promises)"):
            read_volume(files[0], compact=True)
    files[0].write_bytes(whole)
    assert torch.equal(read_volume(files[0]).values, expected)


def test_a_stated_place_and_rescaling_stand_for_what_a_file_does_not_tell(files, tmp_path, nerp):
    """Numbers from 0 up and voxels of 1 mm, read as told; the record keeps it, and the image is the same."""
    ct = read_volume(files[0])
    bare = nib.Nifti1Image((ct.values[0].numpy() + 1030).astype(np.uint16), np.eye(4))
    bare.to_filename(tmp_path / "bare.nii.gz")
    rows = ct.affine[:3].reshape(-1).tolist()
    stated = ["inputs.rescale=[1,-1030]", f"inputs.affine={rows}".replace(" ", "")]
    for name, more in (("ct", []), ("bare", stated)):
        source = files[0] if name == "ct" else tmp_path / "bare.nii.gz"
        code, _, err = nerp("render", source, "-o", tmp_path / name, "shape=[16,16]", *more)
        assert code == 0, err
    first, second = (json.loads((tmp_path / name / "record.json").read_text()) for name in ("ct", "bare"))
    assert first["image_sha256"] == second["image_sha256"]
    assert second["ct_reading"] == {"affine": rows, "rescale": [1.0, -1030.0]}
    again = replay(tmp_path / "bare" / "record.json", 0, ct=tmp_path / "bare.nii.gz", out=tmp_path / "again")
    assert again["identical"]
