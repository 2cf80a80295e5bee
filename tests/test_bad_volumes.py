"""Bad input, one row each: what is wrong, and the words that say so. Nothing may be left behind."""

import gzip
import re
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
import SimpleITK as sitk
import torch
from dicom_series import write_series, write_slice
from PIL import Image

from films import write_film
from nerp.data.ct import find_cts
from nerp.data.images import read_binary
from nerp.data.radiographs import find_radiographs, read_radiograph
from nerp.errors import DataError, VolumeError
from nerp.label_maps import read_labels
from nerp.volume import Volume, read_volume, write_volume

CT = np.random.default_rng(0).integers(-1000, 1500, (6, 7, 8)).astype(np.int16)
EYE = torch.eye(4, dtype=torch.float64)
SHEARED = torch.tensor([[1, 0.5, 0, 0], [0, 1, 0, 0], [0, 0, 1, 0], [0, 0, 0, 1]], dtype=torch.float64)


def nifti(path: Path, values=CT, affine=None) -> Path:
    values = np.asarray(values)
    affine = np.eye(4) if affine is None else affine
    nib.Nifti1Image(values, affine, dtype=values.dtype).to_filename(path)
    return path


def itk(path: Path, image) -> Path:
    sitk.WriteImage(image, str(path), useCompression=True)
    return path


def cut(path: Path, share: float = 0.6) -> Path:
    content = path.read_bytes()
    path.write_bytes(content[: int(len(content) * share)])
    return path


def text(path: Path) -> Path:
    path.write_text("this is no image\n" * 50)
    return path


def damaged_in_the_middle(path: Path) -> Path:
    """A whole gzip stream whose data is not what its checksum says."""
    raw = gzip.decompress(nifti(path).read_bytes())
    packed = bytearray(gzip.compress(raw, compresslevel=0))
    packed[-20] ^= 1
    path.write_bytes(packed)
    return path


def promising(path: Path, side: int = 4000) -> Path:
    header = nib.Nifti1Header()
    header.set_data_shape((side, side, side))
    header.set_data_dtype(np.int16)
    header["vox_offset"], header["magic"] = 352, b"n+1"
    path.write_bytes(header.binaryblock + b"\0" * 64)
    return path


def promising_nrrd(path: Path) -> Path:
    path.write_text("NRRD0004\ntype: short\ndimension: 3\nsizes: 4000 4000 4000\nendian: little\nencoding: raw\n\n")
    return path


def orphan(folder: Path) -> Path:
    itk(folder / "a.mhd", sitk.GetImageFromArray(CT))
    for raw in folder.glob("*raw"):
        raw.unlink()
    return folder / "a.mhd"


def singular(path: Path) -> Path:
    image = nib.Nifti1Image(CT, None)
    image.header["sform_code"] = 1
    image.header["srow_x"], image.header["srow_y"], image.header["srow_z"] = [1, 0, 0, 0], [1, 0, 0, 0], [0, 0, 1, 0]
    image.to_filename(path)
    return path


def two_series(folder: Path) -> Path:
    write_series(folder, CT, series="1.2.3")
    return write_series(folder, CT[:4], series="1.2.4")


def with_stray(folder: Path, **fields) -> Path:
    write_series(folder, CT)
    write_slice(folder / "stray.dcm", CT[0] + 1024, (-20.0, -30.0, 90.0), series="1.2.3", **fields)
    return folder


def with_half_a_slice(folder: Path) -> Path:
    cut(sorted(write_series(folder, CT).iterdir())[0], 0.9)
    return folder


def label_file(path: Path, values) -> Path:
    return nifti(path, np.broadcast_to(np.asarray(values), CT.shape).copy())


def here() -> Volume:
    return Volume(torch.from_numpy(CT.astype(np.float32))[None], EYE, "hu")


def far_labels(folder: Path):
    affine = np.eye(4)
    affine[:3, 3] = 500.0
    return read_labels(nifti(folder / "l.nii.gz", (CT > 0).astype(np.uint8), affine), here())


def volume(values, unit: str = "hu", affine=EYE) -> Volume:
    return Volume(torch.as_tensor(values, dtype=torch.float32), affine, unit)


def picture(path: Path, values) -> Path:
    Image.fromarray(np.asarray(values, dtype=np.uint8)).save(path)
    return path


def pattern(side: int = 40) -> np.ndarray:
    return np.random.default_rng(1).integers(0, 255, (side, side))


def raw_film(path: Path, count: int, kind: str) -> Path:
    np.full(count, 1000, dtype=kind).tofile(path)
    return path


def film(path: Path, **fields) -> Path:
    return write_film(path, np.arange(12).reshape(3, 4), **fields)


def nan_ct():
    values = CT.astype(np.float32)
    values[1, 2, 3] = np.nan
    return values


def infinite_ct():
    values = CT.astype(np.float32)
    values[1, 2, 3] = np.inf
    return values


RGB = np.zeros(CT.shape, dtype=[("R", "u1"), ("G", "u1"), ("B", "u1")])
HEIGHTS = [0.0, 3.0, 6.0, 15.0, 18.0, 21.0]
TURNED = [0.0, 1.0, 0.0, 0.0, 0.0, 1.0]

VOLUMES = {
    "missing file": (lambda d: read_volume(d / "none.nii.gz"), "no such file or folder"),
    "unknown extension": (lambda d: read_volume(text(d / "ct.txt")), "unknown extension '.txt'; expected .nii"),
    "one DICOM slice": (lambda d: read_volume(text(d / "1.dcm")), "give the folder that holds its series"),
    "text as NIfTI": (lambda d: read_volume(text(d / "a.nii")), "cannot be read as NIfTI"),
    "text as gzip": (lambda d: read_volume(text(d / "a.nii.gz")), "cannot be read as NIfTI"),
    "truncated nii.gz": (lambda d: read_volume(cut(nifti(d / "a.nii.gz"))), "cannot be read as NIfTI"),
    "truncated nii": (lambda d: read_volume(cut(nifti(d / "a.nii"))), "cannot be read as NIfTI"),
    "wrong checksum": (lambda d: read_volume(damaged_in_the_middle(d / "a.nii.gz")), "cannot be read as NIfTI"),
    "truncated NRRD": (lambda d: read_volume(cut(itk(d / "a.nrrd", sitk.GetImageFromArray(CT)))), "cannot be read"),
    "truncated MHA": (lambda d: read_volume(cut(itk(d / "a.mha", sitk.GetImageFromArray(CT)))), "cannot be read"),
    "text as NRRD": (lambda d: read_volume(text(d / "a.nrrd")), "cannot be read"),
    "header without data": (lambda d: read_volume(orphan(d)), "cannot be read"),
    "4-D NIfTI": (lambda d: read_volume(nifti(d / "a.nii", CT[..., None].repeat(2, 3))), r"is 4-D \(6x7x8x2\)"),
    "4-D NRRD": (
        lambda d: read_volume(itk(d / "a.nrrd", sitk.JoinSeries([sitk.GetImageFromArray(CT)] * 2))),
        r"is 4-D \(8x7x6x2\); expected one 3-D volume",
    ),
    "2-D NIfTI": (lambda d: read_volume(nifti(d / "a.nii", CT[0])), "is 2-D"),
    "RGB NIfTI": (lambda d: read_volume(nifti(d / "a.nii", RGB)), "expected one real number each"),
    "complex NIfTI": (lambda d: read_volume(nifti(d / "a.nii", CT.astype(np.complex64))), "expected one real number"),
    "RGB MHA": (
        lambda d: read_volume(itk(d / "a.mha", sitk.GetImageFromArray(np.zeros((4, 5, 6, 3), np.uint8), True))),
        "several numbers a voxel",
    ),
    "no voxels": (lambda d: read_volume(nifti(d / "a.nii", CT[:, :0])), "is empty"),
    "constant": (lambda d: read_volume(nifti(d / "a.nii", np.full(CT.shape, -1000, np.int16))), "every voxel is -1000"),
    "NaN": (lambda d: read_volume(nifti(d / "a.nii", nan_ct())), "holds NaN or infinite values"),
    "infinity": (lambda d: read_volume(nifti(d / "a.nii", infinite_ct())), "holds NaN or infinite values"),
    "unscaled": (lambda d: read_volume(nifti(d / "a.nii", CT + 1000)), r"apply the rescale \(often minus 1024\)"),
    "unscaled, padded": (
        lambda d: read_volume(nifti(d / "a.nii", np.where(CT < -900, -2000, CT + 1000).astype(np.int16))),
        "apply the rescale",
    ),
    "normalised": (
        lambda d: read_volume(nifti(d / "a.nii", (CT / 2500).astype(np.float32))),
        "expected HU with air near -1000 and tissue near 0",
    ),
    "all air": (lambda d: read_volume(nifti(d / "a.nii", CT // 100 - 1000)), "expected HU with air near -1000"),
    "no HU at all": (lambda d: read_volume(nifti(d / "a.nii", CT.astype(np.float32) * 1e3)), "this cannot be a CT"),
    "large header": (
        lambda d: read_volume(promising(d / "a.nii")),
        "promises 64000000000 voxels .4000x4000x4000., the",
    ),
    "large NRRD": (lambda d: read_volume(promising_nrrd(d / "a.nrrd")), "promises 64000000000 voxels"),
    "stated limit": (lambda d: read_volume(nifti(d / "a.nii"), max_voxels=300), "promises 336 voxels .*limit is 300"),
    "singular affine": (lambda d: read_volume(singular(d / "a.nii")), "affine is singular"),
    "series of a file": (lambda d: read_volume(nifti(d / "a.nii"), series="1.2"), "series are chosen in DICOM folders"),
    "empty folder": (lambda d: read_volume(d), "holds no CT slices in DICOM"),
    "folder of MR": (lambda d: read_volume(write_series(d / "s", CT, Modality="MR")), "holds no CT slices"),
    "missing slices": (
        lambda d: read_volume(write_series(d / "s", CT, HEIGHTS)),
        r"2 slices missing, at 9\.00, 12\.00 mm",
    ),
    "doubled slice": (
        lambda d: read_volume(write_series(d / "s", CT, [0.0, 3.0, 6.0, 6.0, 9.0, 12.0])),
        r"1 slices doubled, at 6\.00 mm",
    ),
    "uneven slices": (
        lambda d: read_volume(write_series(d / "s", CT, [0.0, 3.0, 6.0, 10.0, 13.0, 16.0])),
        r"unevenly spaced, 3 mm \(4 times\), 4 mm \(1 times\)",
    ),
    "two series": (
        lambda d: read_volume(two_series(d / "s")),
        r"holds 2 series; choose one with --series .*: 1\.2\.3 \(6 slices x 7 x 8, 3\.00 x 2\.00 x 1\.50 mm\); 1\.2\.4",
    ),
    "unknown series": (
        lambda d: read_volume(two_series(d / "s"), series="9"),
        r"has no series 9; it holds 1\.2\.3 \(6 slices x",
    ),
    "one slice": (lambda d: read_volume(write_series(d / "s", CT[:1])), "holds 1 slice; expected at least 2"),
    "mixed directions": (
        lambda d: read_volume(with_stray(d / "s", ImageOrientationPatient=TURNED)),
        "slices differ in ImageOrientationPatient",
    ),
    "mixed spacing": (
        lambda d: read_volume(with_stray(d / "s", PixelSpacing=[1.0, 1.0])),
        "slices differ in PixelSpacing",
    ),
    "slice without place": (
        lambda d: read_volume(with_stray(d / "s", ImagePositionPatient=None)),
        "has no ImagePositionPatient",
    ),
    "multi-frame": (lambda d: read_volume(with_stray(d / "s", NumberOfFrames=2)), "is a multi-frame DICOM"),
    "half a slice": (lambda d: read_volume(with_half_a_slice(d / "s")), "its pixels cannot be read"),
    "large series": (lambda d: read_volume(write_series(d / "s", CT), max_voxels=10), "promises 336 voxels .8x7x6."),
    "DICOM without rescale": (
        lambda d: read_volume(write_series(d / "s", CT, RescaleIntercept=None, RescaleSlope=None)),
        "apply the rescale",
    ),
    "labels elsewhere": (
        far_labels,
        r"no label lies inside the CT \(labels span x 500\.\.506 .*, CT x -0\.\.6 y -0\.\.6 z -0\.\.8 mm\)",
    ),
    "fractional labels": (lambda d: read_labels(label_file(d / "a.nii", 0.5)), "labels are not whole numbers"),
    "a CT as labels": (lambda d: read_labels(nifti(d / "a.nii")), "labels run from -9.* expected 0 to 16777215"),
    "no labels": (lambda d: read_labels(label_file(d / "a.nii", np.uint8(0))), "holds no label"),
    "NaN labels": (lambda d: read_labels(nifti(d / "a.nii", nan_ct())), "holds NaN"),
    "missing labels": (lambda d: read_labels(d / "none.nrrd"), "no such file"),
    "write unknown": (lambda d: write_volume(d / "a.dcm", here()), "unknown extension '.dcm'; expected one of .nii"),
    "write nowhere": (lambda d: write_volume(d / "no" / "a.nii", here()), "its folder does not exist; make"),
    "write NaN": (lambda d: write_volume(d / "a.nii", volume(nan_ct()[None])), "holds NaN"),
    "write channels": (
        lambda d: write_volume(d / "a.nii", volume(torch.ones(2, 3, 3, 3))),
        "has 2 channels; expected 1",
    ),
    "write half labels": (
        lambda d: write_volume(d / "a.nii", volume(torch.full((1, 3, 3, 3), 0.5), "label")),
        "not whole numbers",
    ),
    "write shear": (lambda d: write_volume(d / "a.mha", volume(CT[None], affine=SHEARED)), "cannot hold a sheared"),
}

IMAGES = {
    "missing radiograph": (lambda d: read_radiograph(d / "a.png", (8, 8)), "no such file"),
    "unknown picture": (
        lambda d: read_radiograph(text(d / "a.txt"), (8, 8)),
        "unknown extension '.txt'; expected .png",
    ),
    "text as PNG": (lambda d: read_radiograph(text(d / "a.png"), (8, 8)), "cannot be read as an image"),
    "truncated PNG": (lambda d: read_radiograph(cut(picture(d / "a.png", pattern())), (8, 8)), "cannot be read as an"),
    "flat picture": (lambda d: read_radiograph(picture(d / "a.png", np.full((9, 9), 7)), (8, 8)), "every pixel is 7"),
    "short .IMG": (lambda d: read_radiograph(raw_film(d / "a.IMG", 100, ">u2"), (8, 8)), "holds 200 bytes; a JSRT"),
    "little-endian .IMG": (
        lambda d: read_radiograph(raw_film(d / "a.IMG", 2048**2, "<u2"), (8, 8)),
        "holds values up to 59395; expected big-endian 12-bit",
    ),
    "text as DICOM": (lambda d: read_radiograph(text(d / "a.dcm"), (8, 8)), "cannot be read as a DICOM image"),
    "truncated DICOM": (
        lambda d: read_radiograph(cut(film(d / "a.dcm"), 0.98), (8, 8)),
        "pixels cannot be read .found",
    ),
    "film of frames": (
        lambda d: read_radiograph(film(d / "a.dcm", NumberOfFrames=2, Rows=1, Columns=6), (8, 8)),
        "holds 2 frames",
    ),
    "grey mask": (lambda d: read_binary(picture(d / "a.png", pattern())), "neither dark nor bright"),
    "no radiographs": (lambda d: find_radiographs(d), "no image in"),
    "no folder": (lambda d: find_radiographs(d / "none"), "no folder at"),
    "no CTs": (lambda d: find_cts(d), r"holds no CT matching '\*'"),
    "no CT folder": (lambda d: find_cts(d / "none"), "no such folder"),
}
ROWS = [(VolumeError, name, *row) for name, row in VOLUMES.items()]
ROWS += [(DataError, name, *row) for name, row in IMAGES.items()]


@pytest.mark.parametrize(("error", "call", "words"), [(row[0], *row[2:]) for row in ROWS], ids=[row[1] for row in ROWS])
def test_bad_input_is_named_in_one_line_and_leaves_nothing(tmp_path, error, call, words):
    with pytest.raises(error) as caught:
        call(tmp_path)
    message = str(caught.value)
    assert re.search(words, message), message
    assert "\n" not in message
    if "write_volume" in call.__code__.co_names:
        assert not list(tmp_path.iterdir())
    assert not [path for path in tmp_path.rglob("*") if ".partial." in path.name]


def test_the_table_holds_many_distinct_inputs():
    assert len({row[1] for row in ROWS}) == len(ROWS) >= 25


def test_a_header_is_judged_before_its_data(tmp_path):
    """The file holds 64 bytes of the 128 GB that it promises; reading any of it would fail otherwise."""
    assert promising(tmp_path / "a.nii").stat().st_size < 1000
    with pytest.raises(VolumeError, match="promises"):
        read_volume(tmp_path / "a.nii")


def test_a_failed_write_keeps_the_old_file(tmp_path, monkeypatch):
    write_volume(tmp_path / "a.nii.gz", here())
    before = (tmp_path / "a.nii.gz").read_bytes()

    def full_disk(image, path):
        Path(path).write_bytes(b"half")
        raise OSError("No space left on device")

    monkeypatch.setattr(nib.Nifti1Image, "to_filename", full_disk)
    with pytest.raises(VolumeError, match="cannot be written .No space left"):
        write_volume(tmp_path / "a.nii.gz", here())
    assert (tmp_path / "a.nii.gz").read_bytes() == before
    assert [path.name for path in tmp_path.iterdir()] == ["a.nii.gz"]
