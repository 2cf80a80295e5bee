"""Radiographs in DICOM come out as they are to be looked at, or are refused in one line; nothing else escapes."""

import io
import logging
import random
import re

import numpy as np
import pytest
import torch
from dicom_series import item
from PIL import Image
from pydicom import dcmread
from pydicom.encaps import encapsulate
from pydicom.sequence import Sequence
from pydicom.uid import JPEGBaseline8Bit, RLELossless

from films import write_film
from nerp.data.images import read_colour, read_grey, read_image
from nerp.data.radiographs import check_radiograph, read_radiograph
from nerp.errors import DataError

SHAPE = (48, 48)
TOP = 4095


def attenuation(rows: int = 48, columns: int = 48) -> np.ndarray:
    """A bright disc off the centre on a ramp, 0.1 to 0.9, unlike its mirror images."""
    y, x = np.mgrid[:rows, :columns] / max(rows, columns)
    return 0.1 + 0.3 * x + 0.1 * y + 0.4 * ((x - 0.3) ** 2 + (y - 0.4) ** 2 < 0.03)


STORED = np.rint(attenuation() * TOP)


@pytest.fixture
def expected(tmp_path) -> torch.Tensor:
    values = np.rint(attenuation() * 65535).astype(np.uint16)
    Image.fromarray(values).save(tmp_path / "twin.png")
    return read_radiograph(tmp_path / "twin.png", SHAPE)


def close(found, expected, tolerance: float = 0.01) -> None:
    torch.testing.assert_close(found, expected, rtol=0, atol=tolerance)


def counts(scale: float = 3.0) -> np.ndarray:
    """What a detector counts behind the attenuation: few where there is much."""
    return np.rint(TOP * np.exp(-scale * attenuation()))


RAW = {
    "linear": (counts(), {"PixelIntensityRelationship": "LIN", "PixelIntensityRelationshipSign": 1}),
    "inverted": (TOP - counts(), {"PixelIntensityRelationship": "LIN", "PixelIntensityRelationshipSign": -1}),
    "log of X-rays": (TOP - STORED, {"PixelIntensityRelationship": "LOG", "PixelIntensityRelationshipSign": 1}),
    "log of matter": (STORED, {"PixelIntensityRelationship": "LOG", "PixelIntensityRelationshipSign": -1}),
}


@pytest.mark.parametrize("kind", RAW)
@pytest.mark.parametrize("polarity", ["MONOCHROME1", "MONOCHROME2"])
def test_what_is_for_processing_becomes_attenuation(tmp_path, expected, kind, polarity):
    values, fields = RAW[kind]
    fields = {"PresentationIntentType": "FOR PROCESSING", "PhotometricInterpretation": polarity, **fields}
    close(read_radiograph(write_film(tmp_path / "a.dcm", values, **fields), SHAPE), expected)


def test_the_class_says_for_processing_too(tmp_path, expected):
    path = write_film(tmp_path / "a.dcm", counts(), SOPClassUID="1.2.840.10008.5.1.4.1.1.1.1.1", **RAW["linear"][1])
    close(read_radiograph(path, SHAPE), expected)


def test_for_processing_without_a_word_on_its_numbers_is_refused(tmp_path):
    path = write_film(tmp_path / "a.dcm", counts(), PresentationIntentType="FOR PROCESSING")
    for read in (check_radiograph, read_image):
        with pytest.raises(DataError, match="FOR PROCESSING and its PixelIntensityRelationship is 'missing'"):
            read(path)


def test_numbers_that_follow_the_x_rays_are_inverted_with_a_warning(tmp_path, expected, caplog):
    path = write_film(tmp_path / "a.dcm", counts(), **RAW["linear"][1])
    close(read_radiograph(path, SHAPE), expected)
    assert "says that bone is dark" in caplog.text
    presented = write_film(tmp_path / "b.dcm", STORED, PresentationIntentType="FOR PRESENTATION", **RAW["linear"][1])
    close(read_radiograph(presented, SHAPE), expected)


def turned_border(values: np.ndarray, filling: int) -> tuple[np.ndarray, np.ndarray]:
    """An image in a diamond of filling, and where the image is."""
    y, x = np.mgrid[:48, :48] - 23.5
    inside = abs(x) + abs(y) < 30
    return np.where(inside, values, filling), inside


@pytest.mark.parametrize(("polarity", "filling"), [("MONOCHROME1", 0), ("MONOCHROME2", 4095), ("MONOCHROME2", 0)])
def test_padding_is_black_and_out_of_the_scaling(tmp_path, polarity, filling):
    values = STORED if polarity == "MONOCHROME2" else TOP - STORED
    stored, inside = turned_border(values, filling)
    path = write_film(tmp_path / "a.dcm", stored, PhotometricInterpretation=polarity, PixelPaddingValue=filling)
    found = read_radiograph(path, SHAPE)[0].numpy()
    seen = STORED[inside]
    low, high = np.quantile(seen, [0.005, 0.995])
    assert (found[~inside] == 0).all()
    assert found[inside] == pytest.approx(((seen - low) / (high - low)).clip(0, 1), abs=1e-3)
    assert (read_grey(path)[~inside] == 0).all() and read_grey(path)[inside] == pytest.approx(seen / TOP, abs=1e-5)


def test_a_range_of_padding(tmp_path):
    stored, inside = turned_border(STORED, 4000)
    stored[0, 0] = 3990
    path = write_film(tmp_path / "a.dcm", stored, PixelPaddingValue=3980, PixelPaddingRangeLimit=4010)
    assert (read_radiograph(path, SHAPE)[0].numpy()[~inside] == 0).all()


def test_padding_does_not_bleed_when_shrunk(tmp_path):
    flat, inside = turned_border(np.where(attenuation() > 0.5, 2000, 1000), 4095)
    path = write_film(tmp_path / "a.dcm", flat, PixelPaddingValue=4095)
    found = read_radiograph(path, (24, 24))[0].numpy()
    assert found[0, 0] == 0 and found[12, 20] == 0, "what is least inside is black"
    assert 0.9 < found[10, 8] <= 1


def test_windows(tmp_path):
    fields = {"WindowCenter": [2000.0, 10.0], "WindowWidth": [1000.0, 20.0]}
    linear = ((STORED - 1999.5) / 999 + 0.5).clip(0, 1)
    functions = {
        None: linear,
        "LINEAR": linear,
        "LINEAR_EXACT": ((STORED - 2000) / 1000 + 0.5).clip(0, 1),
        "SIGMOID": 1 / (1 + np.exp(-4 * (STORED - 2000) / 1000)),
    }
    for name, shown in functions.items():
        path = write_film(tmp_path / "a.dcm", STORED, VOILUTFunction=name, **fields)
        assert read_grey(path) == pytest.approx(shown, abs=1e-6), name
        inverted = write_film(
            tmp_path / "b.dcm", STORED, VOILUTFunction=name, PhotometricInterpretation="MONOCHROME1", **fields
        )
        assert read_grey(inverted) == pytest.approx(1 - shown, abs=1e-6), name


def test_a_window_is_of_rescaled_numbers(tmp_path):
    fields = {"RescaleSlope": 0.5, "RescaleIntercept": 100.0, "WindowCenter": 1000.0, "WindowWidth": 800.0}
    path = write_film(tmp_path / "a.dcm", STORED, VOILUTFunction="LINEAR_EXACT", **fields)
    assert read_grey(path) == pytest.approx(((STORED / 2 + 100 - 1000) / 800 + 0.5).clip(0, 1), abs=1e-6)
    falling = write_film(tmp_path / "b.dcm", TOP - STORED, RescaleSlope=-1.0, RescaleIntercept=4095.0)
    assert read_grey(falling) == pytest.approx(STORED / TOP, abs=1e-6)


def table(values, bits: int, first: int = 0):
    data = np.asarray(values).astype("<u2").tobytes()
    entry = item(LUTDescriptor=[len(values), first, bits])
    entry.add_new(0x00283006, "OW", data)
    return Sequence([entry])


def test_lookup_tables(tmp_path):
    root = np.rint(np.sqrt(np.arange(4096) / TOP) * 1023)
    path = write_film(tmp_path / "a.dcm", STORED, VOILUTSequence=table(root, 10), WindowCenter=1.0, WindowWidth=2.0)
    assert read_grey(path) == pytest.approx(root[STORED.astype(int)] / 1023, abs=1e-6), "a table goes before a window"
    late = write_film(tmp_path / "b.dcm", STORED, VOILUTSequence=table(root[1000:3000], 10, first=1000))
    assert read_grey(late) == pytest.approx(root[STORED.astype(int).clip(1000, 2999)] / 1023, abs=1e-6)
    modality = write_film(tmp_path / "c.dcm", STORED, ModalityLUTSequence=table(root, 10))
    assert read_grey(modality) == pytest.approx(root[STORED.astype(int)] / 1023, abs=1e-6)
    broken = table(root[:100], 10)
    broken[0].LUTDescriptor = [200, 0, 10]
    with pytest.raises(DataError, match="VOILUTSequence promises 200 numbers of 10 bits and has 100"):
        read_grey(write_film(tmp_path / "d.dcm", STORED, VOILUTSequence=broken))


def test_the_shape_of_the_presentation(tmp_path, caplog):
    first = {"PhotometricInterpretation": "MONOCHROME1", "PresentationLUTShape": "INVERSE"}
    path = write_film(tmp_path / "a.dcm", TOP - STORED, **first)
    assert read_grey(path) == pytest.approx(STORED / TOP, abs=1e-6), "said twice, inverted once"
    assert not caplog.records
    path = write_film(tmp_path / "b.dcm", TOP - STORED, PresentationLUTShape="INVERSE")
    assert read_grey(path) == pytest.approx(STORED / TOP, abs=1e-6)
    assert "a contradiction; inverted" in caplog.text


def test_all_readers_see_the_same_film(tmp_path):
    path = write_film(tmp_path / "a", TOP - STORED, PhotometricInterpretation="MONOCHROME1")  # and no extension
    Image.fromarray(np.rint(STORED / TOP * 255).astype(np.uint8)).save(tmp_path / "twin.png")
    assert read_image(path).shape == (1, 1, 48, 48) and read_colour(path).shape == (48, 48, 3)
    for read in (read_grey, read_colour, lambda path: read_image(path).numpy()):
        assert read(path) == pytest.approx(read(tmp_path / "twin.png"), abs=0.5 / 255 + 1e-3)


def test_pixels_that_are_not_square(tmp_path, expected):
    squeezed = write_film(tmp_path / "a.dcm", STORED[::2], ImagerPixelSpacing=[0.4, 0.2])
    assert read_grey(squeezed).shape == (48, 48)
    assert (read_radiograph(squeezed, SHAPE) - expected).abs().mean() < 0.02
    assert read_grey(write_film(tmp_path / "b.dcm", STORED[:, ::2], PixelAspectRatio=[1, 2])).shape == (48, 48)
    assert read_grey(write_film(tmp_path / "c.dcm", STORED, PixelSpacing=[0.2, 0.2001])).shape == (48, 48)


def test_compressed_and_bare_films(tmp_path, expected):
    path = write_film(tmp_path / "a.dcm", STORED)
    data = dcmread(path)
    data.compress(RLELossless, generate_instance_uid=False)
    data.save_as(tmp_path / "rle.dcm")
    body = path.read_bytes()
    start = body.index(b"\x08\0\x16\0UI")
    (tmp_path / "bare").write_bytes(body[start:])
    for name in ("rle.dcm", "bare"):
        check_radiograph(tmp_path / name)
        close(read_radiograph(tmp_path / name, SHAPE), expected)


def test_jpeg_baseline(tmp_path, expected):
    grey, coded = np.rint(attenuation() * 255), io.BytesIO()
    Image.fromarray(grey.astype(np.uint8)).save(coded, "JPEG", quality=98)
    data = dcmread(write_film(tmp_path / "a.dcm", STORED))
    data.BitsAllocated, data.BitsStored, data.HighBit = 8, 8, 7
    data.file_meta.TransferSyntaxUID = JPEGBaseline8Bit
    data.PixelData = encapsulate([coded.getvalue()])
    data["PixelData"].is_undefined_length = True
    data.save_as(tmp_path / "jpeg.dcm", enforce_file_format=True)
    check_radiograph(tmp_path / "jpeg.dcm")
    close(read_radiograph(tmp_path / "jpeg.dcm", SHAPE), expected, 0.05)


def test_films_that_people_brought(real_data):
    folder = real_data.parent / "cases"
    if not folder.is_dir():
        pytest.skip(f"films not found at {folder}")
    bright = read_radiograph(folder / "dx-jpeg-lossless" / "jls.dcm", (64, 64))
    assert torch.equal(read_radiograph(folder / "dx-jpeg-lossless" / "jpll.dcm", (64, 64)), bright)
    close(read_radiograph(folder / "dx-for-processing" / "raw.dcm", (64, 64)), bright, 0.02)
    askew = read_radiograph(folder / "dx-padding-askew" / "askew.dcm", (64, 64))[0]
    assert max(askew[0, 0], askew[0, -1], askew[-1, 0], askew[-1, -1]) == 0
    assert abs(askew[16:48, 16:48].mean() - bright[0, 16:48, 16:48].mean()) < 0.05


REFUSED = {
    "a CT": ({"Modality": "CT", "SOPClassUID": "1.2.840.10008.5.1.4.1.1.2"}, "Modality is CT, no radiograph"),
    "a localizer": ({"Modality": "CT", "ImageType": ["ORIGINAL", "PRIMARY", "LOCALIZER"]}, "CT, a localizer"),
    "frames": ({"NumberOfFrames": 2, "Rows": 24}, "holds 2 frames; expected one radiograph"),
    "colours": ({"SamplesPerPixel": 3, "PhotometricInterpretation": "RGB"}, "several numbers a pixel"),
    "no polarity": ({"PhotometricInterpretation": None}, "PhotometricInterpretation is 'missing'"),
    "palette": ({"PhotometricInterpretation": "PALETTE COLOR"}, "expected MONOCHROME1 or MONOCHROME2"),
    "too large": ({"Rows": 65535, "Columns": 65535}, "promises 65535x65535 pixels; the limit is"),
    "slope": ({"RescaleSlope": 0.0}, "RescaleSlope is 0"),
    "width": ({"WindowCenter": 5.0, "WindowWidth": 0.0}, "WindowWidth is '0.0'; expected a number"),
    "function": (
        {"WindowCenter": 5.0, "WindowWidth": 9.0, "VOILUTFunction": "CUBIC"},
        "VOILUTFunction is 'CUBIC'; expected one of",
    ),
    "all padding": ({"PixelPaddingValue": 0, "PixelPaddingRangeLimit": 4095}, "every pixel is padding"),
    "needles": ({"ImagerPixelSpacing": [9.0, 0.1]}, "expected pixels nearly square"),
    "beyond its bits": ({"BitsStored": 8, "HighBit": 7}, "expected 0 to 255 by BitsStored 8"),
}


@pytest.mark.parametrize("kind", REFUSED)
def test_what_is_no_radiograph_is_refused_in_one_line(tmp_path, kind):
    fields, words = REFUSED[kind]
    path = write_film(tmp_path / "a.dcm", STORED, **fields)
    with pytest.raises(DataError, match=re.escape(words)) as caught:
        read_radiograph(path, SHAPE)
    assert "\n" not in str(caught.value) and "a.dcm" in str(caught.value)


def test_mutated_headers_raise_nothing_else(tmp_path, caplog):
    caplog.set_level(logging.ERROR)
    rich = {"WindowCenter": 2000.0, "WindowWidth": 900.0, "ImagerPixelSpacing": [0.2, 0.2], "PixelPaddingValue": 0}
    rich |= {"VOILUTSequence": table(np.arange(64), 6), "PresentationLUTShape": "IDENTITY"}
    whole = write_film(tmp_path / "whole.dcm", STORED[:8, :8], **rich, **RAW["linear"][1]).read_bytes()
    draw = random.Random(0)
    for _ in range(600):
        data = bytearray(whole)
        for _ in range(draw.choice((1, 1, 3))):
            data[draw.randrange(128, len(data))] = draw.choice((0, 1, 0xFF, draw.randrange(256)))
        path = tmp_path / "a.dcm"
        path.write_bytes(data)
        for read in (check_radiograph, lambda path: read_radiograph(path, (8, 8))):
            try:
                read(path)
            except DataError as error:
                assert "\n" not in str(error)


def test_real_films(real_data):
    dog = read_radiograph(real_data / "oddities" / "highdicom-MIT" / "dx_image.dcm", (128, 128))
    assert dog[0, -8:, 20:].mean() < 0.2 < 0.6 < dog[0, 30:40, 30:90].mean(), "air is dark, the spine is bright"
    leg = read_radiograph(real_data / "oddities" / "pydicom-data-MIT" / "RG3_J2KR.dcm", (128, 128))
    assert leg[0, 20:100, 30:40].mean() < 0.15 < 0.5 < leg[0, 20:100, 56:62].mean(), "MONOCHROME1 in JPEG 2000"
