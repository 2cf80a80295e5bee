"""Pictures of every kind come upright, of the right polarity and depth, or are refused; cut files are found unread."""

import numpy as np
import pytest
from picture_files import write_deep_png, write_tiff
from PIL import Image

from nerp.data.images import read_binary, read_colour, read_grey, read_image
from nerp.data.radiographs import check_radiograph, read_radiograph
from nerp.errors import DataError

RAMP = np.arange(48, dtype=np.uint8).reshape(6, 8) * 5
DEEP = RAMP.astype(np.uint16) * 257
STORED_AS = {
    1: RAMP,
    2: RAMP[:, ::-1],
    3: RAMP[::-1, ::-1],
    4: RAMP[::-1],
    5: RAMP.T,
    6: np.rot90(RAMP),
    7: RAMP[::-1, ::-1].T,
    8: np.rot90(RAMP, -1),
}
"""How the ramp lies in a file of each EXIF orientation, which says how it is to be turned to be upright."""


def save(path, values, **options):
    Image.fromarray(np.ascontiguousarray(values)).save(path, **options)
    return path


def turned(path, values, orientation: int):
    exif = Image.Exif()
    exif[274] = orientation
    return save(path, values, exif=exif)


@pytest.mark.parametrize("orientation", STORED_AS)
def test_pictures_and_masks_are_upright(tmp_path, orientation):
    values = np.ascontiguousarray(STORED_AS[orientation])
    deep = values.astype(np.uint16) * 257
    files = [
        turned(tmp_path / "a.png", values, orientation),
        turned(tmp_path / "b.png", deep, orientation),
        turned(tmp_path / "a.tif", values, orientation),
        turned(tmp_path / "c.png", np.repeat(values[..., None], 3, axis=2), orientation),
        write_tiff(tmp_path / "b.tif", values, photometric=1, orientation=orientation),
        write_tiff(tmp_path / "c.tif", deep, photometric=1, orientation=orientation),
        write_tiff(tmp_path / "d.tif", deep, photometric=1, orientation=orientation, order=">"),
        write_tiff(tmp_path / "e.tif", 65535 - deep, photometric=0, orientation=orientation),
        write_tiff(tmp_path / "f.tif", np.repeat(values[..., None], 3, 2), photometric=2, orientation=orientation),
    ]
    for path in files:
        assert read_grey(path) == pytest.approx(RAMP / 255, abs=1e-6), path.name
        assert read_image(path)[0, 0].numpy() == pytest.approx(RAMP / 255, abs=1e-6), path.name
    assert read_grey(turned(tmp_path / "a.jpg", values, orientation)) == pytest.approx(RAMP / 255, abs=0.1)
    mask = turned(tmp_path / "mask.png", (values > 100).astype(np.uint8), orientation)
    assert np.array_equal(read_binary(mask), RAMP > 100)
    large = np.kron(values, np.ones((8, 8), np.uint8))
    film = read_radiograph(turned(tmp_path / "film.png", large, orientation), (48, 64))
    assert film[0, 0, 0] < 0.1 and film[0, -1, -1] > 0.9 and film[0, 0, -1] < film[0, -1, 0]


def test_white_may_be_zero(tmp_path):
    for name, values in (("a.tif", 255 - RAMP), ("b.tif", 65535 - DEEP), ("c.tif", 4095 - RAMP.astype(np.uint16) * 16)):
        path = write_tiff(tmp_path / name, values, photometric=0)
        assert read_grey(path) == pytest.approx(RAMP / 255, abs=0.005), name
    film = read_radiograph(tmp_path / "b.tif", (6, 8))
    assert film[0, 0, 0] == 0 and film[0, -1, -1] == 1


def test_colours_of_16_bits_keep_them(tmp_path):
    twelve = np.rint(RAMP / 255 * 4095).astype(np.uint16)
    for channels, kind in ((3, 2), (4, 6)):
        for values in (DEEP, twelve):
            colours = np.repeat(values[..., None], channels, axis=2)
            colours[..., 3:] = 65535
            path = write_deep_png(tmp_path / "a.png", colours, kind)
            assert read_grey(path) == pytest.approx(RAMP / 255, abs=2e-4)
            assert read_colour(path).shape == (6, 8, 3)
    path = write_tiff(tmp_path / "a.tif", np.repeat(twelve[..., None], 3, axis=2), photometric=2)
    assert read_grey(path) == pytest.approx(RAMP / 255, abs=2e-4)


def test_palettes_prints_and_bits(tmp_path):
    grey = Image.fromarray(RAMP)
    grey.convert("P").save(tmp_path / "p.png")
    grey.convert("RGB").convert("CMYK").save(tmp_path / "cmyk.tif")
    grey.convert("LA").save(tmp_path / "la.png")
    for name in ("p.png", "cmyk.tif", "la.png"):
        assert read_grey(tmp_path / name) == pytest.approx(RAMP / 255, abs=0.01), name
    for name in ("bits.png", "bits.tif", "bits.bmp"):
        Image.fromarray(RAMP > 100).save(tmp_path / name)
        assert np.array_equal(read_binary(tmp_path / name), RAMP > 100), name
        assert read_grey(tmp_path / name).max() == 1


def test_fractions(tmp_path):
    for scale in (1.0, 255.0, 4095.0):
        path = save(tmp_path / "a.tif", (RAMP / 255 * scale * 1.06).astype(np.float32))
        assert read_grey(path) == pytest.approx(RAMP / 255 * 1.06, abs=0.01), scale
    path = save(tmp_path / "mask.tif", (RAMP > 100).astype(np.float32))
    assert np.array_equal(read_binary(path), RAMP > 100) and read_grey(path).max() == 1
    signed = save(tmp_path / "signed.tif", (RAMP - 50.0).astype(np.float32))
    with pytest.raises(DataError, match="holds values down to -50; expected none below 0"):
        read_grey(signed)
    assert read_radiograph(signed, (6, 8)).max() == 1, "where each image is scaled by itself, any range will do"


def nan(path):
    values = RAMP.astype(np.float32)
    values[2, 2] = np.nan
    return save(path / "a.tif", values)


def pages(path):
    several = [Image.fromarray(RAMP + shift) for shift in (0, 9)]
    several[0].save(path / "a.tif", save_all=True, append_images=several[1:])
    return path / "a.tif"


def animation(path):
    several = [Image.fromarray(RAMP + shift) for shift in (0, 9)]
    several[0].save(path / "a.gif", save_all=True, append_images=several[1:])
    return path / "a.gif"


def ghost(path):
    return save(path / "a.png", np.dstack([np.zeros_like(RAMP), RAMP]))


def large(path):
    Image.new("1", (6000, 20000)).save(path / "a.png")
    return path / "a.png"


REFUSED = {
    "NaN": (nan, "holds NaN or infinite values"),
    "pages": (pages, "holds 2 pictures; expected one"),
    "animation": (animation, "holds 2 pictures; expected one"),
    "only transparency": (ghost, "its picture is in its transparency alone"),
    "deep transparency": (
        lambda path: write_deep_png(path / "a.png", np.dstack([DEEP, DEEP]), 4),
        "holds 16 bits with transparency",
    ),
    "large": (large, "promises 20000x6000 pixels; the limit is"),
}


@pytest.mark.parametrize("kind", REFUSED)
def test_what_is_not_one_picture_is_refused_in_one_line(tmp_path, kind):
    make, words = REFUSED[kind]
    path = make(tmp_path)
    for read in (read_grey, read_binary, lambda path: read_radiograph(path, (6, 8))):
        with pytest.raises(DataError, match=words) as caught:
            read(path)
        assert "\n" not in str(caught.value) and path.name in str(caught.value)


def test_a_small_copy_in_a_tiff_is_no_second_picture(tmp_path):
    small = Image.fromarray(RAMP[::2, ::2])
    small.encoderinfo = {"tiffinfo": {254: 1}}
    Image.fromarray(RAMP).save(tmp_path / "a.tif", save_all=True, append_images=[small])
    assert read_grey(tmp_path / "a.tif") == pytest.approx(RAMP / 255, abs=1e-6)


@pytest.mark.parametrize("ending", ["png", "jpg", "gif", "bmp", "tif", "dcm", "img"])
@pytest.mark.parametrize("share", [0.5, 0.98])
def test_a_file_that_is_cut_short_is_found_without_reading_it(tmp_path, ending, share):
    from films import write_film

    path, noise = tmp_path / f"a.{ending}", np.random.default_rng(0).integers(0, 255, (200, 180)).astype(np.uint8)
    if ending == "dcm":
        write_film(path, noise)
    elif ending == "img":
        np.zeros(2048 * 2048, ">u2").tofile(path)
    else:
        Image.fromarray(noise).save(path)
    check_radiograph(path)
    path.write_bytes(path.read_bytes()[: int(share * path.stat().st_size)])
    with pytest.raises(
        DataError, match=r"cut short|found \d+ bytes|holds \d+ bytes|cannot be read as an image"
    ) as caught:
        check_radiograph(path)
    assert "\n" not in str(caught.value) and path.name in str(caught.value)


def test_a_thumbnail_in_a_cut_jpeg_is_not_its_end(tmp_path):
    path = save(tmp_path / "a.jpg", np.kron(RAMP, np.ones((40, 40), np.uint8)))
    whole = path.read_bytes()
    held = b"\xff\xe1" + (2 + 6 + 4).to_bytes(2, "big") + b"thumb\0\xff\xd8\xff\xd9"
    path.write_bytes(whole[:2] + held + whole[2:])
    check_radiograph(path)
    path.write_bytes(path.read_bytes()[:-40])
    with pytest.raises(DataError, match="its file is cut short"):
        check_radiograph(path)


def test_damaged_pictures_raise_nothing_else(tmp_path):
    draw = np.random.default_rng(0)
    for ending in ("png", "jpg", "gif", "bmp", "tif"):
        path = tmp_path / f"a.{ending}"
        whole = np.frombuffer(save(path, np.kron(RAMP, np.ones((4, 4), np.uint8))).read_bytes(), np.uint8)
        for _ in range(60):
            data = whole.copy()
            data[draw.integers(0, len(data), 3)] = draw.integers(0, 256, 3)
            path.write_bytes(data.tobytes())
            for read in (check_radiograph, read_colour):
                try:
                    read(path)
                except DataError as error:
                    assert "\n" not in str(error)
