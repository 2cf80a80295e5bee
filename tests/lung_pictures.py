"""Pictures of two dark, unequal lungs on a bright ground, and their masks: made here, known to a pixel."""

from pathlib import Path

import numpy as np
from PIL import Image
from scipy.ndimage import gaussian_filter

SHAPE = (96, 112)


def lungs(seed: int = 0, shape=SHAPE) -> tuple[np.ndarray, np.ndarray]:
    """Image (H, W) in 0..1 and mask (H, W) bool; the second lung is smaller and has a notch, as beside a heart."""
    generator = np.random.default_rng(seed)
    y, x = np.mgrid[: shape[0], : shape[1]] / np.reshape(shape, (2, 1, 1))
    cy, cx = generator.uniform(0.47, 0.53, 2)
    high = generator.uniform(0.28, 0.34)
    right = ((y - cy) / high) ** 2 + ((x - cx + 0.22) / 0.15) ** 2 < 1
    left = ((y - cy + 0.04) / (0.85 * high)) ** 2 + ((x - cx - 0.2) / 0.13) ** 2 < 1
    notch = ((y - cy - 0.12) / 0.16) ** 2 + ((x - cx - 0.06) / 0.13) ** 2 < 1
    mask = right | (left & ~notch)
    ground = 0.75 + 0.1 * np.cos(3 * x) * np.sin(2 * y) - 0.45 * gaussian_filter(mask.astype(float), 1.0)
    ribs = 0.04 * np.sin(40 * (y + 0.3 * np.abs(x - cx)))
    return np.clip(ground + ribs + generator.normal(0, 0.02, shape), 0, 1), mask


def write_picture(path: Path, values: np.ndarray) -> None:
    """Values in 0..1, or bool, as 8 bits."""
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray((values.astype(float) * 255).round().astype(np.uint8)).save(path)


def write_lungs(folder: Path, count: int, *, shape=SHAPE, first: int = 0) -> Path:
    """`folder/images` and `folder/masks`, files `000.png` and on."""
    for index in range(first, first + count):
        image, mask = lungs(index, shape)
        write_picture(folder / "images" / f"{index:03d}.png", image)
        write_picture(folder / "masks" / f"{index:03d}.png", mask)
    return folder
