"""Pairs that a small network learns at once: dark ellipses on a bright, noisy ground, and their masks."""

from pathlib import Path

import numpy as np
from PIL import Image


def write_pairs(folder: Path, count: int, *, shape=(40, 60), seed=0) -> Path:
    """`folder/images` and `folder/masks`, files `00.png` and on."""
    generator = np.random.default_rng(seed)
    y, x = np.mgrid[: shape[0], : shape[1]] / np.reshape(shape, (2, 1, 1))
    for kind in ("images", "masks"):
        (folder / kind).mkdir(parents=True, exist_ok=True)
    for index in range(count):
        cy, cx = generator.uniform(0.4, 0.6, 2)
        ry, rx = generator.uniform(0.2, 0.3, 2)
        mask = ((y - cy) / ry) ** 2 + ((x - cx) / rx) ** 2 < 1
        image = np.clip(0.7 - 0.4 * mask + generator.normal(0, 0.05, mask.shape), 0, 1)
        Image.fromarray((image * 255).astype(np.uint8)).save(folder / "images" / f"{index:02d}.png")
        Image.fromarray((mask * 255).astype(np.uint8)).save(folder / "masks" / f"{index:02d}.png")
    return folder
