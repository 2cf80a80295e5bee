"""Headers and pixels of DICOM slices that cannot be: one line each, and no error but ours, whatever a header holds."""

import random
import re

import numpy as np
import pytest
from dicom_series import write_enhanced, write_series, write_slice

from nerp.dicom import check_series, read_series
from nerp.errors import VolumeError
from nerp.volume import read_volume

HU = np.random.default_rng(0).integers(-1000, 1500, (4, 7, 8)).astype(np.int16)


def of_numbers(tag: bytes, value: int) -> tuple[bytes, bytes]:
    """What begins a number of 16 bits, and the same with another value."""
    head = tag + b"US\2\0"
    return head, head + value.to_bytes(2, "little")


def replaced(path, head: bytes, whole: bytes) -> None:
    """Put `whole` in the place of as many bytes, where `head` begins."""
    content = path.read_bytes()
    assert content.count(head) == 1
    at = content.index(head)
    path.write_bytes(content[:at] + whole + content[at + len(whole) :])


SPACING, PLACE = b"\x28\0\x30\0DS\x08\0", b"\x20\0\x32\0DS\x12\0"
SLOPE, INTERCEPT = b"\x28\0\x53\x10DS\4\0", b"\x28\0\x52\x10DS\x08\0"

TEXTS = {
    "comma": (SPACING, b"2,0\\1,5 ", r"PixelSpacing is '2,0\\1,5'; expected 2 numbers from 0\.01 to 100"),
    "one of two": (SPACING, b"2.0     ", r"PixelSpacing is '2\.0'; expected 2 numbers"),
    "three of two": (SPACING, b"2\\2\\1.5 ", r"PixelSpacing is '2\\2\\1\.5'; expected 2 numbers"),
    "blank": (SPACING, b"        ", "has no PixelSpacing"),
    "a part blank": (SPACING, b"2.0\\    ", "PixelSpacing is .*; expected 2 numbers"),
    "zero spacing": (SPACING, b"0.0\\1.5 ", r"PixelSpacing is '0\.0\\1\.5'; expected 2 numbers"),
    "negative spacing": (SPACING, b"-2.\\1.5 ", "PixelSpacing is .*; expected 2 numbers"),
    "NaN": (SPACING, b"nan\\1.5 ", "PixelSpacing is .*; expected 2 numbers"),
    "infinite": (SPACING, b"inf\\1.5 ", "PixelSpacing is .*; expected 2 numbers"),
    "in metres": (SPACING, b".002\\.01", "PixelSpacing is .*; expected 2 numbers"),
    "in micrometres": (SPACING, b"700\\700 ", "PixelSpacing is .*; expected 2 numbers"),
    "words": (SPACING, b"unknown ", "PixelSpacing is 'unknown'; expected 2 numbers"),
    "place in words": (PLACE, b"somewhere, i think", "ImagePositionPatient is 'somewhere, i think'; expected 3"),
    "place too far": (PLACE, b"-20.0\\-30.0\\-4e99 ", "ImagePositionPatient is .*; expected 3 numbers from -100000"),
    "slope zero": (SLOPE, b"0.0 ", r"RescaleSlope is '0\.0'; expected a number from 1e-06"),
    "slope negative": (SLOPE, b"-1.0", "RescaleSlope is .*; expected a number"),
    "slope NaN": (SLOPE, b"nan ", "RescaleSlope is 'nan'; expected a number"),
    "intercept in words": (INTERCEPT, b"-1024 HU", "RescaleIntercept is '-1024 HU'; expected a number"),
}

WHOLE = {
    "no rows": (b"\x28\0\x10\0", 0, "Rows is '0'; expected a number from 1 to 65535"),
    "more rows": (b"\x28\0\x10\0", 9, r"slices differ in Rows"),
    "samples": (b"\x28\0\x02\0", 3, "holds several numbers a pixel"),
    "8 bits": (b"\x28\0\x00\x01", 8, "BitsAllocated 8, BitsStored 16, HighBit 15; expected"),
    "12 allocated": (b"\x28\0\x00\x01", 12, "BitsAllocated 12, BitsStored 16"),
    "more stored": (b"\x28\0\x01\x01", 17, "BitsAllocated 16, BitsStored 17"),
    "no bits": (b"\x28\0\x01\x01", 0, "BitsStored is '0'; expected a number from 1 to 64"),
    "high bit": (b"\x28\0\x02\x01", 11, "BitsStored 16, HighBit 11"),
    "sign": (b"\x28\0\x03\x01", 7, "PixelRepresentation is '7'; expected a number from 0 to 1"),
}


@pytest.mark.parametrize("case", [*TEXTS, *WHOLE])
def test_a_header_that_cannot_be_is_named_with_tag_and_file(tmp_path, case):
    folder = write_series(tmp_path / "s", HU)
    path = sorted(folder.iterdir())[0]
    if case in TEXTS:
        head, value, words = TEXTS[case]
        replaced(path, head, head + value)
    else:
        tag, number, words = WHOLE[case]
        replaced(path, *of_numbers(tag, number))
    for call in (read_series, check_series):
        with pytest.raises(VolumeError, match=words) as caught:
            call(folder)
        assert "\n" not in str(caught.value) and (path.name in str(caught.value))


FIELDS = {
    "inverted": ({"PhotometricInterpretation": "MONOCHROME1"}, "PhotometricInterpretation is 'MONOCHROME1'; expected"),
    "palette": ({"PhotometricInterpretation": "PALETTE COLOR"}, "PhotometricInterpretation is 'PALETTE COLOR'"),
    "no bits": ({"BitsAllocated": None}, "has no BitsAllocated"),
    "no sign": ({"PixelRepresentation": None}, "has no PixelRepresentation"),
    "no rows": ({"Rows": None}, r"holds no CT slices in DICOM \(only 4 damaged"),
    "no columns": ({"Columns": None}, "has no Columns"),
    "electron density": ({"RescaleType": "ED"}, "RescaleType is 'ED'; expected HU"),
    "skew": ({"ImageOrientationPatient": [1.0, 0, 0, 0.6, 0.8, 0]}, "expected two perpendicular unit vectors"),
    "no direction": ({"ImageOrientationPatient": [0.0] * 6}, "expected two perpendicular unit vectors"),
    "rows of another count": ({"Rows": 14}, "its pixels cannot be read .found 112 bytes, expected 224 for 1x14x8"),
    "too few rows": ({"Rows": 3}, "its pixels cannot be read .found 112 bytes, expected 48 for 1x3x8"),
    "frames without groups": ({"NumberOfFrames": 2}, "is a multi-frame DICOM of 2 frames without functional groups"),
}


@pytest.mark.parametrize("case", FIELDS)
def test_fields_that_make_no_ct_are_refused(tmp_path, case):
    fields, words = FIELDS[case]
    folder = write_series(tmp_path / "s", HU, **fields)
    for call in (read_series, check_series):
        with pytest.raises(VolumeError, match=words) as caught:
            call(folder)
        assert "\n" not in str(caught.value)


@pytest.mark.parametrize("share", [0.05, 0.3, 0.6, 0.9, 0.99])
def test_a_slice_cut_short_is_refused_wherever_it_lies(tmp_path, share):
    folder = write_series(tmp_path / "s", HU)
    for path in sorted(folder.iterdir()):
        whole = path.read_bytes()
        path.write_bytes(whole[: int(len(whole) * share)])
        for call in (read_series, check_series):
            with pytest.raises(VolumeError) as caught:
                call(folder)
            assert path.name in str(caught.value)
        path.write_bytes(whole)
    read_series(folder)


def test_an_empty_file_among_slices_is_refused_but_no_dropping(tmp_path):
    folder = write_series(tmp_path / "s", HU)
    (folder / "Thumbs.db").write_bytes(b"")
    (folder / "._a.dcm").write_bytes(b"\0" * 200)
    check_series(folder)
    (folder / "last.dcm").write_bytes(b"")
    with pytest.raises(VolumeError, match=r"last\.dcm: is damaged or no CT and lies among the slices"):
        check_series(folder)


@pytest.mark.parametrize(
    "fields", [{"Modality": "CX"}, {"Modality": None, "SOPClassUID": "1.2.3"}, {"series": ""}], ids=str
)
def test_the_last_slice_is_not_lost_by_what_its_header_says_of_its_kind(tmp_path, fields):
    folder = write_series(tmp_path / "s", HU)
    write_slice(folder / "last", HU[0], (-20.0, -30.0, -28.0), **{"series": "1.2.3"} | fields)
    for call in (read_series, check_series):
        with pytest.raises(VolumeError, match="last: is damaged or no CT and lies among the slices"):
            call(folder)


def test_an_enhanced_ct_of_fewer_places_or_pixels_than_frames_is_refused(tmp_path):
    places = [(0, 0, 3.0 * number) for number in range(4)]
    write_enhanced(tmp_path / "a.dcm", HU, places, NumberOfFrames=5)
    with pytest.raises(VolumeError, match="has no ImagePositionPatient; a slice without its place cannot be stacked"):
        read_volume(tmp_path / "a.dcm")
    write_enhanced(tmp_path / "b.dcm", HU, [*places[:3], places[2]])
    with pytest.raises(VolumeError, match=r"1 slices doubled, at 6\.00 mm"):
        read_volume(tmp_path / "b.dcm")
    whole = write_enhanced(tmp_path / "c.dcm", HU, places).read_bytes()
    (tmp_path / "c.dcm").write_bytes(whole[:-10])
    with pytest.raises(VolumeError, match="its pixels cannot be read .found 438 bytes, expected 448 for 4x7x8"):
        check_series(tmp_path / "c.dcm")


# Numbers and padding


def chest(border: int) -> np.ndarray:
    """Stored slices: air of -1000 and tissue of 0 HU by an intercept of 0, in a border of padding."""
    stored = np.full((3, 12, 12), border, np.int64)
    stored[:, 2:-2, 3:-1] = -1000
    stored[:, 4:-4, 4:-4] = 0
    return stored


def write_stored(folder, stored, **fields):
    folder.mkdir()
    for number, plane in enumerate(stored):
        write_slice(folder / str(number), plane, (0, 0, number), series="1", **fields)
    return folder


def test_padding_with_a_tissue_s_number_is_outside_but_tissue_stays(tmp_path):
    stored = chest(0)
    folder = write_stored(tmp_path / "s", stored, RescaleIntercept=0, PixelPaddingValue=0)
    values = read_volume(folder).values[0].numpy().T
    assert (values[:, :2] == -1024).all() and (values[:, :, :3] == -1024).all()
    assert (values[:, 4:-4, 4:-4] == 0).all() and (values[:, 2, 3:-1] == -1000).all()


def test_padding_below_air_stays_as_stored(tmp_path):
    folder = write_stored(tmp_path / "s", chest(-2000), RescaleIntercept=0, PixelPaddingValue=-2000)
    assert read_series(folder)[0].min() == -2000
    assert read_volume(folder).values.min() == -1024


def test_padding_of_the_other_sign_and_beyond_the_bits_is_found(tmp_path):
    stored = chest(0) + 1024
    stored[:, :2] = stored[:, -2:] = -2000  # 63536 where numbers are unsigned: 62512 HU if it were taken for matter
    fields = {"PixelRepresentation": 0, "BitsStored": 12, "HighBit": 11, "PixelPaddingValue": 63536}
    values = read_volume(write_stored(tmp_path / "s", stored, **fields)).values[0].numpy().T
    assert (values[:, :2] == -1024).all() and values.max() == 0


def test_a_range_of_padding_is_read(tmp_path):
    stored = chest(50)
    stored[:, 0] = 40
    fields = {"RescaleIntercept": 0, "PixelPaddingValue": 40, "PixelPaddingRangeLimit": 50}
    values = read_volume(write_stored(tmp_path / "s", stored, **fields)).values[0].numpy().T
    assert (values[:, :2] == -1024).all() and values.max() == 0


@pytest.mark.parametrize("sign", [0, 1])
def test_numbers_beyond_the_bits_that_are_said_to_be_used_are_refused(tmp_path, sign):
    stored = chest(0) + 1024
    stored[:, 5, 5] = 4096 if sign == 0 else 2048
    fields = {"PixelRepresentation": sign, "BitsStored": 12, "HighBit": 11}
    with pytest.raises(VolumeError, match=rf"by BitsStored 12 and PixelRepresentation {sign}: repair the header"):
        read_volume(write_stored(tmp_path / "s", stored, **fields))


def test_signed_numbers_read_as_unsigned_are_refused(tmp_path):
    folder = write_stored(tmp_path / "s", chest(-1000), RescaleIntercept=0, PixelRepresentation=0)
    with pytest.raises(VolumeError, match=re.escape("values run from 0 to 64536; expected HU within")):
        read_volume(folder)


# Anything at all


def mutated(content: bytes, rng: random.Random, header: int) -> bytes:
    """Bytes changed, cut off, taken out or put in, somewhere in the header."""
    data, at = bytearray(content), rng.randrange(132, header)
    way = rng.randrange(5)
    if way == 0:
        return bytes(data[: rng.randrange(len(data))])
    if way == 1:
        del data[at : at + rng.randrange(1, 20)]
    elif way == 2:
        data[at:at] = rng.randbytes(rng.randrange(1, 20))
    else:
        for _ in range(way):
            data[rng.randrange(132, header)] = rng.randrange(256)
    return bytes(data)


@pytest.mark.parametrize("kind", ["slice", "enhanced"])
def test_no_mutated_header_raises_anything_but_one_line(tmp_path, kind):
    if kind == "slice":
        given, size = write_series(tmp_path / "s", HU), HU[0].nbytes
        path = sorted(given.iterdir())[1]
    else:
        given = path = write_enhanced(tmp_path / "e.dcm", HU, [(0, 0, 3.0 * number) for number in range(4)])
        size = HU.nbytes
    content, rng, refused = path.read_bytes(), random.Random(7), 0
    for _ in range(150):
        path.write_bytes(mutated(content, rng, len(content) - size))
        try:
            read_series(given)
        except VolumeError as error:
            refused += 1
            assert "\n" not in str(error) and len(str(error)) < 600
    assert refused > 40
