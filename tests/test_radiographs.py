"""Radiographs of every kind become the same sort of image; masks follow their geometry."""

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from PIL import Image

from films import write_film
from nerp.data.films import JSRT_WHITE
from nerp.data.images import read_mask
from nerp.data.radiographs import RadiographDataset, find_radiographs, read_radiograph
from nerp.errors import UsageError

SHAPE = (32, 32)


def film(rows: int = 64, columns: int = 64) -> np.ndarray:
    """A bright disc off the centre on a dark ramp, 0 to 1."""
    y, x = np.mgrid[:rows, :columns] / max(rows, columns)
    return 0.25 * x + 0.05 * y + 0.7 * ((x - 0.3) ** 2 + (y - 0.4) ** 2 < 0.02)


def save(path, values, scale: int = 255, kind=np.uint8):
    Image.fromarray((values * scale).astype(kind)).save(path)
    return path


def close(found, expected, tolerance: float = 0.02) -> None:
    torch.testing.assert_close(found, expected, rtol=0, atol=tolerance)


@pytest.fixture
def expected(tmp_path) -> torch.Tensor:
    return read_radiograph(save(tmp_path / "plain.png", film()), SHAPE)


def test_an_image_is_what_is_promised(expected):
    assert expected.shape == (1, *SHAPE) and expected.dtype == torch.float32
    assert 0 <= expected.min() < 0.01 and 0.99 < expected.max() <= 1
    disc = expected[0, 10:15, 7:12]
    assert disc.mean() > 0.9 and expected[0, 20:, :8].mean() < 0.2


def test_bit_depth_colour_and_format_do_not_matter(tmp_path, expected):
    close(read_radiograph(save(tmp_path / "a16.png", film(), 40000, np.uint16), SHAPE), expected)
    close(read_radiograph(save(tmp_path / "a.tiff", film(), 40000, np.uint16), SHAPE), expected)
    Image.open(tmp_path / "plain.png").convert("RGB").save(tmp_path / "rgb.png")
    Image.open(tmp_path / "plain.png").convert("RGBA").save(tmp_path / "rgba.png")
    Image.open(tmp_path / "plain.png").convert("P").save(tmp_path / "palette.gif")
    Image.open(tmp_path / "plain.png").save(tmp_path / "a.jpg", quality=98)
    for name in ("rgb.png", "rgba.png", "palette.gif", "a.jpg"):
        close(read_radiograph(tmp_path / name, SHAPE), expected, 0.08 if name == "a.jpg" else 0.02)


@pytest.mark.parametrize("polarity", ["MONOCHROME1", "MONOCHROME2"])
def test_dicom_films_of_both_polarities(tmp_path, expected, polarity):
    values = film() if polarity == "MONOCHROME2" else 1 - film()
    path = write_film(tmp_path / "film.dcm", values * 4095, PhotometricInterpretation=polarity)
    close(read_radiograph(path, SHAPE), expected)


def test_a_dicom_window_is_applied(tmp_path):
    path = write_film(tmp_path / "a.dcm", film() * 4095, WindowCenter=600.0, WindowWidth=400.0)
    found = read_radiograph(path, (64, 64))
    expected = np.clip((film() * 4095 - 400) / 400, 0, 1)
    close(found, read_radiograph(save(tmp_path / "a.png", expected, 60000, np.uint16), (64, 64)))
    assert (found == 0).float().mean() > 0.2 and (found == 1).float().mean() > 0.05


def test_a_flat_border_of_a_dicom_film_is_cut(tmp_path, expected):
    framed = np.pad(film() * 0.8 + 0.1, ((10, 20), (15, 15)))
    close(read_radiograph(write_film(tmp_path / "a.dcm", framed * 4095), SHAPE), expected)


def test_a_jsrt_film_is_inverted(tmp_path):
    rows = np.linspace(0, 1, 2048)[:, None] * np.ones((1, 2048))
    (JSRT_WHITE * rows).astype(">u2").tofile(tmp_path / "JPCLN001.IMG")
    found = read_radiograph(tmp_path / "JPCLN001.IMG", (64, 64))
    assert found[0, 0].min() > 0.98 and found[0, -1].max() < 0.02
    assert (found[0, :-1] >= found[0, 1:]).all()


def test_each_image_is_scaled_by_itself_and_letters_do_not_set_the_contrast(tmp_path, expected):
    lettered = film() * 0.4
    lettered[:3, :3] = 1.0
    found = read_radiograph(save(tmp_path / "a.png", lettered, 60000, np.uint16), SHAPE)
    close(found[:, 4:], expected[:, 4:])


def test_shrinking_is_antialiased(tmp_path):
    stripes = np.zeros((256, 256))
    stripes[:, ::2] = 1
    found = read_radiograph(save(tmp_path / "a.png", stripes), SHAPE)
    close(found[..., 4:-4], torch.full_like(found[..., 4:-4], 0.5), 0.05)


@pytest.mark.parametrize(("rows", "columns"), [(64, 96), (96, 64)])
def test_proportions_are_kept(tmp_path, rows, columns):
    """A disc stays round: its bounding box stays square, whether cropped or padded."""
    y, x = np.mgrid[:rows, :columns]
    disc = ((y - rows / 2) ** 2 + (x - columns / 2) ** 2) < 20**2
    path = save(tmp_path / "disc.png", disc)
    for fit, side in (("crop", 40 / 64 * 48), ("pad", 40 / 96 * 48)):
        found = read_radiograph(path, (48, 48), fit=fit) > 0.5
        height, width = found[0].any(1).sum(), found[0].any(0).sum()
        assert abs(height - width) <= 1 and abs(float(height) - side) <= 2
    wide = read_radiograph(path, (24, 48))
    assert wide.shape == (1, 24, 48)
    with pytest.raises(UsageError, match="fit is 'stretch'; expected one of crop, pad"):
        read_radiograph(path, SHAPE, fit="stretch")


def test_a_set_reads_each_file_once(tmp_path):
    (tmp_path / "images").mkdir()
    for number in range(3):
        save(tmp_path / "images" / f"{number}.png", np.roll(film(), 5 * number, 1))
    (tmp_path / "index.csv").write_text("file\n")
    images = RadiographDataset(tmp_path, SHAPE)
    assert len(images) == 3 and [path.name for path in find_radiographs(tmp_path)] == ["0.png", "1.png", "2.png"]
    first = images[1]
    (tmp_path / "images" / "1.png").unlink()
    assert torch.equal(images[1], first) and not torch.equal(images[0], first)
    assert len(RadiographDataset([tmp_path / "images" / "2.png"], SHAPE, fit="pad")) == 1


def test_real_films_and_masks(real_data):
    images = RadiographDataset(real_data / "cxr-nih", (128, 128))
    assert len(images) == 1000
    sample = torch.stack([images[index] for index in range(0, 1000, 100)])
    assert sample.min() == 0 and sample.max() == 1
    assert sample.mean((1, 2, 3)).min() > 0.2, "radiographs, not black frames"
    mask_paths = sorted((real_data / "cxr-shenzhen" / "masks").iterdir())[:10]
    for path in mask_paths:
        image = read_radiograph(real_data / "cxr-shenzhen" / "images" / path.name, (128, 128))
        lungs = F.interpolate(read_mask(path), (128, 128)).bool()[0]
        assert 0.1 < lungs.float().mean() < 0.6
        assert image[lungs].mean() < image[~lungs].mean() + 0.1
