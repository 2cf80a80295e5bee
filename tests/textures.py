"""Images of nothing: smooth random fields with grain, each different from every other, for scores of whole sets."""

from pathlib import Path

import numpy as np
from PIL import Image
from scipy.ndimage import gaussian_filter


def texture(source, *, side=96, grain=4.0, smooth=6.0):
    """(side, side) uint8: forms of some pixels' size, and white grain of so many grey levels."""
    forms = gaussian_filter(source.normal(size=(side, side)), smooth, mode="wrap")
    pixels = 128 + 35 * forms / forms.std() + source.normal(0, grain, forms.shape)
    return pixels.clip(0, 255).round().astype(np.uint8)


def write_textures(folder: Path, count: int, *, seed=0, name="{0:08d}_000.png", change=None, **kind) -> Path:
    """Files of one patient each, in the names of the NIH's set; `change` is done to each image before it is saved."""
    folder.mkdir(parents=True, exist_ok=True)
    source = np.random.default_rng(seed)
    for index in range(count):
        pixels = texture(source, **kind)
        Image.fromarray(pixels if change is None else change(pixels)).save(folder / name.format(1000 * seed + index))
    return folder
