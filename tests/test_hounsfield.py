"""What passes for Hounsfield units: CTs as they are written everywhere, and values that cannot be."""

import re
from pathlib import Path

import numpy as np
import pytest

from nerp.errors import VolumeError
from nerp.hounsfield import check_finite, check_hounsfield

PATH = Path("ct.nii.gz")


def chest(side: int = 48, noise_hu: float = 15.0, seed: int = 0) -> np.ndarray:
    """(side, side, side) whole HU: air, a body of fat and muscle with lungs, spine and ribs' bone, and noise."""
    x, y, z = np.meshgrid(*[np.linspace(-1, 1, side)] * 3, indexing="ij")
    values = np.full(x.shape, -1000.0)
    values[(x / 0.85) ** 2 + (y / 0.6) ** 2 < 1] = -100.0
    values[(x / 0.78) ** 2 + (y / 0.52) ** 2 < 1] = 45.0
    for middle in (-0.37, 0.37):
        values[((x - middle) / 0.28) ** 2 + (y / 0.4) ** 2 + (z / 0.9) ** 2 < 1] = -840.0
    values[(x / 0.1) ** 2 + ((y - 0.42) / 0.1) ** 2 < 1] = 300.0
    noise = np.random.default_rng(seed).normal(0, noise_hu, x.shape)
    return np.rint(values + noise).clip(-1024, 3071).astype(np.float32)


def outside(values: np.ndarray, filling: float) -> np.ndarray:
    """A round field of view, filled outside."""
    rows, columns = (np.linspace(-1, 1, count) for count in values.shape[:2])
    filled = values.copy()
    filled[rows[:, None] ** 2 + columns**2 > 1] = filling
    return filled


def padded(values: np.ndarray, filling: float) -> np.ndarray:
    return np.pad(values, ((1, 1), (1, 1), (0, 0)), constant_values=filling)


def windowed(values: np.ndarray, low: float, high: float) -> np.ndarray:
    """Through an 8-bit picture and back."""
    return np.round((values.clip(low, high) - low) / (high - low) * 255) / 255 * (high - low) + low


ACCEPTED = {
    "as it is": lambda v: v,
    "coarse": lambda v: v[::2, ::2, ::2],
    "filling -1024": lambda v: outside(v, -1024),
    "filling -2000": lambda v: outside(v, -2000),
    "filling -3024": lambda v: outside(v, -3024),
    "rim of -2000": lambda v: padded(v, -2000),
    "noise of a low dose": lambda v: np.maximum(v + np.random.default_rng(1).normal(0, 80, v.shape), -1024),
    "crop within the body": lambda v: v[6:-6, 10:-10, 8:-8],
    "metal": lambda v: np.where(v > 330, 30_000, v),
    "contrast": lambda v: np.where((v > 30) & (np.arange(48) > 40), v + 250, v),
    "one opaque lung": lambda v: np.where((v < -700) & (np.arange(48) > 24)[:, None, None] & (v > -960), 20, v),
    "half of it": lambda v: v[:, :, :20],
}

REFUSED = {
    "intercept twice": (lambda v: v - 1024, "intercept .often -1024. was taken twice"),
    "intercept twice, padded": (lambda v: outside(v - 1024, -3024), "was taken twice"),
    "slope of two": (lambda v: v * 2, "or the slope is wrong"),
    "unscaled": (lambda v: v + 1024, "apply the rescale .often minus 1024."),
    "unscaled in padding": (lambda v: outside(v + 1024, -1024), "apply the rescale .often minus 1024."),
    "zero outside": (lambda v: outside(v, 0), "filled with 0 HU, which is water; set what lies outside"),
    "rim of zero": (lambda v: padded(v, 0), "filled with 0 HU"),
    "last slices zero": (lambda v: np.concatenate([v, 0 * v[:, :, :3]], 2), "filled with 0 HU"),
    "rim of 3071": (lambda v: padded(v, 3071), "filled with 3071 HU, which is no air"),
    "body alone": (lambda v: np.where(v < -900, 0, v), "filled with 0 HU"),
    "slices of zero": (lambda v: np.concatenate([v[:, :, :9], 0 * v[:, :, 9:11], v[:, :, 11:]], 2), "2 slices along"),
    "fractions": (lambda v: (v.clip(-1000, 1000) + 1000) / 2000, "normalised values are no CT"),
    "thousandths": (lambda v: v / 1000, "normalised values are no CT"),
    "a picture": (lambda v: (v.clip(-1000, 1000) + 1000) / 2000 * 255, "normalised values are no CT"),
    "inverted": (lambda v: np.where(v < -900, 1000, -v), "which is no air|turn the sign"),
    "bytes swapped": (lambda v: v.astype("<i2").view(">i2").astype(np.float32), "above 600 HU|no air|taken twice"),
    "stretched": (lambda v: (v + 1024) / 4095 * 2000 - 1000, "within 150 HU of water"),
    "no tissue": (lambda v: windowed(v, -1000, 0), "values are cut off at -1000 and 0"),
    "no lungs": (lambda v: v.clip(-500, 1000), "no air|cut off"),
}

DOUBTED = {
    "shifted up": (lambda v: v[8:-8, 14:-14] + 190, "tissue lies near|darkest voxels lie near"),
    "shifted down": (lambda v: v - 95, "vary below -1100 HU"),
    "no air": (lambda v: v[:, 10:-10].clip(-700) - np.random.default_rng(0).random(v[:, 10:-10].shape), "darkest"),
    "8 bits": (lambda v: windowed(v, -1000, 1000), "only .* different values: an 8-bit picture"),
    "no bone": (lambda v: v.clip(-1024, 290), "values end at 290 HU"),
    "blanked inside": (lambda v: np.where(np.hypot(*np.ogrid[-24:24, -24:24])[..., None] < 8, 0, v), "exactly 0"),
}


@pytest.mark.parametrize("change", ACCEPTED.values(), ids=ACCEPTED)
def test_a_ct_as_scanners_write_it_passes_without_a_word(change):
    assert check_hounsfield(PATH, np.asarray(change(chest()), np.float32)) == []


@pytest.mark.parametrize(("change", "words"), REFUSED.values(), ids=REFUSED)
def test_values_that_cannot_be_hounsfield_units_are_refused_with_the_repair(change, words):
    with pytest.raises(VolumeError, match=words) as caught:
        check_hounsfield(PATH, np.asarray(change(chest()), np.float32))
    assert str(caught.value).startswith("ct.nii.gz: ") and "\n" not in str(caught.value)


@pytest.mark.parametrize(("change", "words"), DOUBTED.values(), ids=DOUBTED)
def test_what_may_be_hounsfield_units_is_doubted_aloud(change, words):
    doubts = check_hounsfield(PATH, np.asarray(change(chest()), np.float32))
    assert any(re.search(words, doubt) for doubt in doubts), doubts


def test_nan_outside_is_refused_with_its_share():
    with pytest.raises(VolumeError, match=r"NaN or infinite values .26 % of all.; replace them .air is -1000 HU."):
        check_finite(PATH, outside(chest(), np.nan))


def real_cts(folder: Path) -> list[Path]:
    return sorted(folder.glob("ct/*/ct_2mm.nii.gz")) + sorted(folder.glob("ct/*/ct-64.nrrd"))


def test_real_cts_pass_and_the_same_ones_made_wrong_do_not(real_data):
    from nerp.formats import read_grid

    paths = [*real_cts(real_data), real_data / "ct" / "slicer-ctchest4" / "CTChest4.nrrd"]
    assert len(paths) >= 9
    for path in paths:
        values = read_grid(path)[0].astype(np.float32)
        for fine in (values, values[::2, ::2, ::2], outside(values, -2000)):
            assert check_hounsfield(path, fine) == []
        for wrong in (values - 1024, values + 1024, outside(values, 0), padded(values, 0), -values, values / 1000):
            with pytest.raises(VolumeError):
                check_hounsfield(path, wrong)
