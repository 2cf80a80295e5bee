"""Damaged files of every format that is read: each is read, or refused in one line, soon and with little memory.

Every file is small and whole at first; then bytes of its header are flipped or overwritten, numbers in text are
replaced by what breaks parsers, and its end is cut off. The seed is fixed, so that a failure can be made again.
"""

import json
import re
import resource
import signal
import sys
import time
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
import SimpleITK as sitk
from dicom_series import write_series, write_slice
from pair_records import pair_record
from PIL import Image

from nerp import read_labels
from nerp.config import read_settings
from nerp.data.images import read_binary
from nerp.data.pairs import read_records
from nerp.data.radiographs import read_radiograph
from nerp.errors import NerpError
from nerp.formats import check_grid
from nerp.label_names import read_label_names
from nerp.synthesis.config import SynthesisConfig
from nerp.volume import read_volume

MUTATIONS = 26
SECONDS_EACH = 5
HEADER_BYTES = 640
NASTY_TEXT = [b"0", b"-1", b"nan", b"inf", b"1e308", b"1,5", b"", b"1 2 3", b"999999999999999999999", b"x", b"\xff\xfe"]
NASTY_BYTES = [
    *(b"\0\0", b"\xff\xff", b"\xff\x7f", b"\x00\x80", b"\0\0\0\0", b"\xff\xff\xff\x7f", b"\0\0\0\x80"),
    *(np.float32(value).tobytes() for value in (np.nan, np.inf, -1, 1e38, 0.5)),
]
CT = np.random.default_rng(0).integers(-1000, 1500, (16, 16, 16)).astype(np.int16)
PLACED = np.diag([1.5, 2.0, 2.5, 1.0])
PICTURE = np.random.default_rng(1).integers(0, 255, (24, 20)).astype(np.uint8)


def grid(name: str, kind=nib.Nifti1Image) -> Callable[[Path], Path]:
    """Writes a CT in the format that the name says."""

    def make(folder: Path) -> Path:
        path = folder / name
        if ".nii" in name or name.endswith(".img"):
            kind(CT, PLACED).to_filename(path)
        else:
            sitk.WriteImage(sitk.GetImageFromArray(CT.T), str(path), useCompression=name.startswith("packed"))
        return path

    return make


def text(name: str, content: str) -> Callable[[Path], Path]:
    def make(folder: Path) -> Path:
        (folder / name).write_text(content)
        return folder / name

    return make


def series(folder: Path) -> Path:
    return write_series(folder / "series", CT[:3])


def frames(folder: Path) -> Path:
    """One slice that says it is several: all that this format and the one of one slice share is read."""
    stacked = CT[:3].reshape(-1, 16)
    write_slice(folder / "frames.dcm", stacked, (0, 0, 0), series="1.2", NumberOfFrames=3, Rows=16)
    return folder


def film(folder: Path) -> Path:
    write_slice(folder / "film.dcm", PICTURE, (0, 0, 0), series="1.2", Modality="DX", WindowCenter=90, WindowWidth=200)
    return folder / "film.dcm"


def picture(name: str) -> Callable[[Path], Path]:
    def make(folder: Path) -> Path:
        Image.fromarray(PICTURE).save(folder / name)
        return folder / name

    return make


def jsrt(folder: Path) -> Path:
    path = folder / "a.IMG"
    np.arange(2048 * 2048, dtype=np.uint16).clip(0, 4095).astype(">u2").tofile(path)
    return path


def labels(folder: Path) -> Path:
    nib.Nifti1Image((CT > 0).astype(np.uint8), PLACED).to_filename(folder / "labels.nii.gz")
    return folder / "labels.nii.gz"


def mask(folder: Path) -> Path:
    Image.fromarray((PICTURE > 100).astype(np.uint8) * 255).save(folder / "mask.png")
    return folder / "mask.png"


def films(path: Path) -> object:
    return read_radiograph(path, (16, 16))


TABLE = "value,name\n10,lung_right\n11,lung_left\n51,heart\n"
RECORD = json.dumps(asdict(pair_record("a0"))) + "\n"
SETTINGS = "ct: cts\nviews: 3\nshape: [64, 48]\nseed: 7\ncamera:\n  source_detector_mm: 1800.0\n"

READERS: dict[str, tuple[Callable[[Path], Path], Callable[[Path], object]]] = {
    "NIfTI-1": (grid("a.nii"), read_volume),
    "NIfTI-1 packed": (grid("a.nii.gz"), read_volume),
    "NIfTI-1 pair": (grid("a.img", nib.Nifti1Pair), read_volume),
    "NIfTI-2": (grid("a.nii", nib.Nifti2Image), read_volume),
    "NRRD": (grid("a.nrrd"), read_volume),
    "NRRD packed": (grid("packed.nrrd"), read_volume),
    "NRRD header": (grid("a.nhdr"), read_volume),
    "MetaImage": (grid("a.mha"), read_volume),
    "MetaImage packed": (grid("packed.mha"), read_volume),
    "MetaImage header": (grid("a.mhd"), read_volume),
    "NIfTI checked": (grid("a.nii.gz"), check_grid),
    "NRRD checked": (grid("a.nrrd"), check_grid),
    "MetaImage checked": (grid("a.mha"), check_grid),
    "label map": (labels, read_labels),
    "DICOM series": (series, read_volume),
    "DICOM frames": (frames, read_volume),
    "DICOM film": (film, films),
    "PNG": (picture("a.png"), films),
    "JPEG": (picture("a.jpg"), films),
    "TIFF": (picture("a.tif"), films),
    "BMP": (picture("a.bmp"), films),
    "JSRT": (jsrt, films),
    "mask": (mask, read_binary),
    "label names, commas": (text("a.csv", TABLE), read_label_names),
    "label names, tabs": (text("a.tsv", TABLE.replace(",", "\t")), read_label_names),
    "label names, JSON": (text("a.json", json.dumps({"labels": {"lung": 10, "heart": 51}})), read_label_names),
    "records": (text("metadata.jsonl", RECORD * 2), read_records),
    "settings": (text("a.yaml", SETTINGS), lambda path: read_settings(SynthesisConfig, path)),
}


def overwritten(content: bytes, at: int, new: bytes) -> bytes:
    return content[:at] + new + content[at + len(new) :]


def mutated(content: bytes, rng: np.random.Generator) -> bytes:
    """The content with one thing wrong."""
    header = min(len(content), HEADER_BYTES)
    kind = rng.integers(6)
    if kind == 0:
        return content[: rng.integers(len(content))]
    if kind == 1:
        return overwritten(content, int(rng.integers(header)), rng.bytes(int(rng.integers(1, 40))))
    numbers = list(re.finditer(rb"-?\d+(?:\.\d+)?", content[:HEADER_BYTES]))
    if kind in (2, 3) and numbers:
        number = numbers[rng.integers(len(numbers))]
        nasty = NASTY_TEXT[rng.integers(len(NASTY_TEXT))]
        return content[: number.start()] + nasty + content[number.end() :]
    if kind in (2, 3, 4):
        at = int(rng.integers(header)) // 2 * 2
        return overwritten(content, at, NASTY_BYTES[rng.integers(len(NASTY_BYTES))])
    at = int(rng.integers(header))
    return overwritten(content, at, bytes([content[at] ^ (1 << int(rng.integers(8)))]))


def stopped(*_: object) -> None:
    raise TimeoutError(f"longer than {SECONDS_EACH} s")


def outcome(read: Callable[[Path], object], path: Path) -> str:
    """Nothing where a file is read or refused in one line; otherwise what came instead."""
    signal.signal(signal.SIGALRM, stopped)
    signal.alarm(SECONDS_EACH)
    try:
        read(path)
    except NerpError as error:
        return f"several lines: {error!r}" if "\n" in str(error) else ""
    except BaseException as error:  # whatever a reader lets escape is what this test is for
        return f"{type(error).__name__}: {error}"
    finally:
        signal.alarm(0)
    return ""


def files_of(path: Path) -> list[Path]:
    """All that belongs to an input: a file, its other half, the slices of a folder."""
    return sorted(entry for entry in (path if path.is_dir() else path.parent).iterdir() if entry.is_file())


@pytest.mark.skipif(not hasattr(signal, "SIGALRM"), reason="this system has no alarm, which stops what hangs")
@pytest.mark.parametrize("name", READERS)
def test_damaged_files_are_read_or_refused_in_one_line(tmp_path, name, record_property):
    make, read = READERS[name]
    path = make(tmp_path)
    whole = {file: file.read_bytes() for file in files_of(path)}
    assert outcome(read, path) == "", "the whole file is read"
    rng = np.random.default_rng(list(name.encode()))
    started, before = time.monotonic(), resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    failures = []
    for number in range(8 if name == "JSRT" else MUTATIONS):
        file = sorted(whole)[rng.integers(len(whole))]
        file.write_bytes(mutated(whole[file], rng))
        if message := outcome(read, path):
            failures.append(f"mutation {number} of {file.name}: {message[:200]}")
        file.write_bytes(whole[file])
    record_property("seconds", time.monotonic() - started)
    assert not failures, "\n".join(failures)
    kilobytes = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before
    assert kilobytes * (1 if sys.platform != "darwin" else 1 / 1024) < 2**20, "a damaged header takes no memory"


def test_the_mutations_are_many_and_of_every_format():
    assert sum(8 if name == "JSRT" else MUTATIONS for name in READERS) >= 500
