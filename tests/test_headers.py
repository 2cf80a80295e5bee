"""What headers promise, held against the bytes that there are: pairs, detached data, wrong names, failed downloads."""

import bz2
import errno
import gzip
import shutil
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
import SimpleITK as sitk

from nerp import formats
from nerp.errors import VolumeError
from nerp.formats import check_grid, read_grid, write_grid
from nerp.volume import check_volume, read_volume

CT = np.random.default_rng(0).integers(-1000, 1500, (6, 7, 8)).astype(np.int16)
PLACED = np.diag([1.5, 2.0, 2.5, 1.0])
NRRD = "NRRD0004\ntype: short\ndimension: 3\nsizes: 6 7 8\nspace: RAS\nspace directions: (1.5,0,0) (0,2,0) (0,0,2.5)\n"


def check_both(path: Path) -> np.ndarray:
    """The values of a file that the cheap check and the reader accept alike."""
    check_grid(path)
    values, affine = read_grid(path)
    np.testing.assert_allclose(affine, PLACED, atol=1e-6)
    return values


def detached(folder: Path, data: bytes, fields: str = "encoding: raw\n") -> Path:
    (folder / "a.raw").write_bytes(data)
    (folder / "a.nhdr").write_text(f"{NRRD}endian: little\n{fields}data file: a.raw\n")
    return folder / "a.nhdr"


@pytest.mark.parametrize("kind", [nib.Nifti1Pair, nib.Nifti2Pair])
@pytest.mark.parametrize("name", ["a.hdr", "a.img"])
def test_a_nifti_pair_is_read_by_either_name(tmp_path, kind, name):
    kind(CT, PLACED).to_filename(tmp_path / "a.img")
    np.testing.assert_array_equal(check_both(tmp_path / name), CT)


@pytest.mark.parametrize(("kept", "lost"), [("a.hdr", "a.img"), ("a.img", "a.hdr")])
def test_half_of_a_pair_is_told(tmp_path, kept, lost):
    nib.Nifti1Pair(CT, PLACED).to_filename(tmp_path / "a.img")
    (tmp_path / lost).unlink()
    with pytest.raises(VolumeError, match=f"its other half {lost} is not beside it; fetch both"):
        read_grid(tmp_path / kept)


def test_analyze_is_refused_for_its_place(tmp_path):
    nib.AnalyzeImage(CT, PLACED).to_filename(tmp_path / "a.img")
    with pytest.raises(VolumeError, match="Analyze does not say where it lies: convert it"):
        read_grid(tmp_path / "a.img")


def test_names_in_capitals_and_wrong_about_gzip_are_read_by_content(tmp_path):
    nib.Nifti1Image(CT, PLACED).to_filename(tmp_path / "a.nii")
    nib.Nifti1Image(CT, PLACED).to_filename(tmp_path / "b.nii.gz")
    shutil.copy(tmp_path / "a.nii", tmp_path / "plain.nii.gz")
    shutil.copy(tmp_path / "b.nii.gz", tmp_path / "packed.nii")
    shutil.copy(tmp_path / "b.nii.gz", tmp_path / "B.NII.GZ")
    for name in ("a.nii", "b.nii.gz", "plain.nii.gz", "packed.nii", "B.NII.GZ"):
        np.testing.assert_array_equal(check_both(tmp_path / name), CT)


@pytest.mark.parametrize(
    ("data", "fields"),
    [
        (CT.T.tobytes(), "encoding: raw\n"),
        (b"x" * 100 + CT.T.tobytes(), "encoding: raw\nbyte skip: 100\n"),
        (b"x" * 77 + CT.T.tobytes(), "encoding: raw\nbyte skip: -1\n"),
        (b"one\ntwo\n" + CT.T.tobytes(), "encoding: raw\nline skip: 2\n"),
        (gzip.compress(CT.T.tobytes()), "encoding: gzip\n"),
        (gzip.compress(b"x" * 352 + CT.T.tobytes()), "encoding: gzip\nbyte skip: -1\n"),
    ],
    ids=["raw", "byte skip", "byte skip -1", "line skip", "gzip", "gzip, byte skip -1"],
)
def test_nrrd_data_in_a_file_of_their_own_are_read(tmp_path, data, fields):
    np.testing.assert_array_equal(check_both(detached(tmp_path, data, fields)), CT)


def test_a_nifti_of_four_axes_is_read_where_one_is_single(tmp_path):
    for name, values in (("last.nii", CT[..., None]), ("first.nii", CT[None])):
        nib.Nifti1Image(values, PLACED).to_filename(tmp_path / name)
        np.testing.assert_array_equal(check_both(tmp_path / name), CT)


def pointer(path: Path) -> Path:
    path.write_text("version https://git-lfs.github.com/spec/v1\noid sha256:0123\nsize 35276032\n")
    return path


def page(path: Path) -> Path:
    path.write_bytes(b"\n<!DOCTYPE html>\n<html><title>404 Not Found</title></html>\n")
    return path


def named(path: Path, source: str) -> Path:
    write_grid(path.parent / source, CT, PLACED)
    (path.parent / source).rename(path)
    return path


def changed(path: Path, offset: int, content: bytes) -> Path:
    """A NIfTI-1 file with other bytes in its header."""
    nib.Nifti1Image(CT, PLACED).to_filename(path)
    held = bytearray(path.read_bytes())
    held[offset : offset + len(content)] = content
    path.write_bytes(held)
    return path


def nrrd(path: Path, old: str, new: str) -> Path:
    head = f"{NRRD}endian: little\nencoding: raw\n\n".replace(old, new)
    path.write_bytes(head.encode() + CT.T.tobytes())
    return path


def meta(path: Path, old: str = "", new: str = "") -> Path:
    head = (
        "ObjectType = Image\nNDims = 3\nDimSize = 6 7 8\nElementSpacing = 1 2 3\nOffset = 0 0 0\n"
        "TransformMatrix = 1 0 0 0 1 0 0 0 1\nElementType = MET_SHORT\nElementDataFile = LOCAL\n"
    )
    path.write_bytes(head.replace(old, new).encode() + CT.T.tobytes() if old else head.encode() + CT.T.tobytes())
    return path


def short(value: int) -> bytes:
    return value.to_bytes(2, "little", signed=True)


def floats(value: float) -> bytes:
    return np.float32(value).tobytes()


def bzip(path: Path) -> Path:
    path.write_bytes(f"{NRRD}endian: little\nencoding: bzip2\n\n".encode() + bz2.compress(CT.T.tobytes()))
    return path


REFUSED = {
    "git-lfs": (lambda d: pointer(d / "a.nii.gz"), "a git-lfs pointer, not the file itself: run git lfs pull"),
    "web page": (lambda d: page(d / "a.nii.gz"), "a web page, so the download failed: fetch it again"),
    "web page as NRRD": (lambda d: page(d / "a.nrrd"), "a web page, so the download failed"),
    "no bytes": (lambda d: (d / "a.mha").write_bytes(b"") and d / "a.mha" or d / "a.mha", "it holds 0 bytes"),
    "NRRD named NIfTI": (lambda d: named(d / "a.nii", "b.nrrd"), "it holds NRRD, not NIfTI: rename it to .nrrd"),
    "MHA named NIfTI": (lambda d: named(d / "a.nii", "b.mha"), "it holds MetaImage, not NIfTI: rename it to .mha"),
    "NIfTI named NRRD": (lambda d: named(d / "a.nrrd", "b.nii"), "it holds NIfTI, not NRRD: rename it to .nii"),
    "packed NIfTI named MHA": (lambda d: named(d / "a.mha", "b.nii.gz"), "it holds NIfTI, not MetaImage"),
    "FreeSurfer": (lambda d: named(d / "a.mgz", "b.nii"), "FreeSurfer's format; convert it"),
    "bzip2": (lambda d: bzip(d / "a.nrrd"), "encoding 'bzip2'; .* write it again with gzip"),
    "no such axes": (lambda d: changed(d / "a.nii", 40, short(9)), "promises 9 axes"),
    "negative count": (lambda d: changed(d / "a.nii", 44, short(-7)), "is empty .6x-7x8"),
    "unknown type": (lambda d: changed(d / "a.nii", 70, short(99)), "voxels of the unknown type 99"),
    "type and bits": (lambda d: changed(d / "a.nii", 72, short(64)), "int16 voxels of 64 bits: they disagree"),
    "no start": (lambda d: changed(d / "a.nii", 108, floats(np.nan)), "voxels start at byte nan"),
    "start in the header": (lambda d: changed(d / "a.nii", 108, floats(20)), "voxels start at byte 20"),
    "start beyond the end": (lambda d: changed(d / "a.nii", 108, floats(5000)), "promises 5672 bytes, holds 1024"),
    "infinite intercept": (
        lambda d: changed(d / "a.nii", 112, floats(1) + floats(np.inf)),
        "scaling of slope 1 and intercept inf",
    ),
    "NRRD of words": (lambda d: nrrd(d / "a.nrrd", "6 7 8", "6 7 eight"), "sizes is '6 7 eight'; expected 3 whole"),
    "NRRD of two counts": (lambda d: nrrd(d / "a.nrrd", "6 7 8", "6 7"), "sizes is '6 7'; expected 3 whole numbers"),
    "NRRD of commas": (lambda d: nrrd(d / "a.nrrd", "(1.5,0,0)", "(nan,0,0)"), "space directions hold"),
    "NRRD of many": (lambda d: nrrd(d / "a.nrrd", "6 7 8", "600 700 80"), "promises 67200000 bytes, holds 672|holds"),
    "NRRD in feet": (
        lambda d: nrrd(d / "a.nrrd", "encoding", 'space units: "ft" "ft" "ft"\nencoding'),
        "lengths are in 'ft'; expected mm",
    ),
    "data that begin late": (
        lambda d: detached(d, b"x" * 352 + CT.T.tobytes()),
        "holds 352 bytes more than promised; state how many to skip",
    ),
    "data elsewhere": (lambda d: nrrd(d / "a.nrrd", "encoding", "data file: b.raw\nencoding"), "'b.raw' is not beside"),
    "MHA spacing in words": (lambda d: meta(d / "a.mha", "1 2 3", "1,5 2 3"), "elementspacing is '1,5 2 3'; expected"),
    "MHA of colours": (
        lambda d: meta(d / "a.mha", "ElementType", "ElementNumberOfChannels = 3\nElementType"),
        "several numbers a voxel",
    ),
    "MHA cut short": (lambda d: meta(d / "a.mha", "6 7 8", "6 7 9"), "promises .* bytes, holds"),
    "folder": (lambda d: d, "is a folder; expected one file"),
}


@pytest.mark.parametrize(("make", "words"), REFUSED.values(), ids=REFUSED)
def test_what_cannot_be_read_is_refused_before_any_voxel(tmp_path, make, words):
    path = make(tmp_path)
    for read in (check_grid, read_grid):
        with pytest.raises(VolumeError, match=words) as caught:
            read(path)
        assert "\n" not in str(caught.value)


def test_a_slope_of_zero_or_nan_is_none(tmp_path):
    for slope in (0.0, np.nan):
        path = changed(tmp_path / "a.nii", 112, floats(slope) + floats(0))
        np.testing.assert_array_equal(check_both(path), CT)


def test_the_check_reads_no_voxel(tmp_path, monkeypatch):
    for name in ("a.nii", "a.nii.gz", "a.nrrd", "a.mha"):
        write_grid(tmp_path / name, CT, PLACED)
        with monkeypatch.context() as patch:
            patch.setattr(formats, "_nifti_values", lambda *args: pytest.fail("decoded"))
            patch.setattr(sitk.ImageFileReader, "Execute", lambda *args: pytest.fail("decoded"))
            check_volume(tmp_path / name)


@pytest.mark.parametrize("name", ["a.nii", "a.nii.gz", "a.nrrd"])
@pytest.mark.parametrize("share", [0.3, 0.6, 0.95])
def test_the_check_sees_what_is_cut_short(tmp_path, name, share):
    write_grid(tmp_path / name, CT, PLACED)
    content = (tmp_path / name).read_bytes()
    (tmp_path / name).write_bytes(content[: int(len(content) * share)])
    with pytest.raises(VolumeError, match="fetch|write it again"):
        check_volume(tmp_path / name)


def test_several_gzip_streams_in_a_row_are_one(tmp_path):
    nib.Nifti1Image(CT, PLACED).to_filename(tmp_path / "a.nii")
    raw = (tmp_path / "a.nii").read_bytes()
    (tmp_path / "b.nii.gz").write_bytes(gzip.compress(raw[:500]) + gzip.compress(raw[500:]) + gzip.compress(b""))
    np.testing.assert_array_equal(check_both(tmp_path / "b.nii.gz"), CT)


@pytest.mark.parametrize("name", ["a.nii", "a.nii.gz", "a.nrrd", "a.mha"])
def test_a_full_disk_is_one_line_and_leaves_nothing(tmp_path, monkeypatch, name):
    def full(path, *args, **options):
        Path(path).write_bytes(b"half")
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(formats, "_write_nifti", full)
    monkeypatch.setattr(formats, "_write_itk", full)
    with pytest.raises(VolumeError, match="cannot be written .*No space left on device") as caught:
        write_grid(tmp_path / name, CT, PLACED)
    assert "\n" not in str(caught.value) and not list(tmp_path.iterdir())


def test_a_place_that_refuses_files_is_one_line(tmp_path, monkeypatch):
    def refused(self, *args, **options):
        raise PermissionError(errno.EACCES, "Permission denied")

    monkeypatch.setattr(Path, "touch", refused)
    with pytest.raises(VolumeError, match="cannot be written .*Permission denied"):
        write_grid(tmp_path / "a.nii.gz", CT, PLACED)
    assert not list(tmp_path.iterdir())


def test_odd_files_of_other_projects_are_read_right_or_refused(real_data):
    balls = real_data / "oddities" / "pynrrd-MIT"
    if not balls.is_dir():
        pytest.skip(f"no odd files at {balls}")
    expected = read_grid(balls / "BallBinary30x30x30.nrrd")[0]
    for name in (
        ".nhdr",
        "_byteskip_minus_one.nhdr",
        "_byteskip_minus_one_nifti.nhdr",
        "_gz.nrrd",
        "_gz_lineskip.nrrd",
    ):
        np.testing.assert_array_equal(read_grid(balls / f"BallBinary30x30x30{name}")[0], expected)
    for name in ("_byteskip_minus_five.nhdr", "_nifti.nhdr", "_bz2.nrrd"):
        with pytest.raises(VolumeError, match="byte skip is -5|352 bytes more|bzip2"):
            read_grid(balls / f"BallBinary30x30x30{name}")
    chest = read_volume(real_data / "oddities" / "slicerio-MIT" / "CTChest4.nrrd")
    assert chest.spacing_mm == pytest.approx((3.05, 3.05, 10.0), abs=0.01) and chest.values.min() == -1024
