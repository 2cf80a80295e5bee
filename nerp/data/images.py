"""Reading pictures and their masks for training and scores: every depth on one scale, nothing saturated."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from nerp.errors import DataError

SUFFIXES = (".png", ".jpg", ".jpeg", ".tif", ".tiff", ".bmp")


def list_images(folder: str | Path) -> list[Path]:
    """The picture files directly in `folder`, by name.

    Raises:
        DataError: the folder does not exist or holds no picture.
    """
    folder = Path(folder)
    if not folder.is_dir():
        raise DataError(f"no folder at {folder}: expected a folder of images; check the path")
    files = sorted(path for path in folder.iterdir() if path.suffix.lower() in SUFFIXES and path.name[0] != ".")
    if not files:
        raise DataError(f"no image in {folder}: expected files ending in {', '.join(SUFFIXES)}")
    return files


def read_grey(path: str | Path) -> np.ndarray:
    """A picture as (H, W) float32 in 0..1, colours by their luminance. Errors as `read_colour`."""
    image = read_colour(path)
    return image[..., 0] if _is_grey(image) else image @ np.array([0.299, 0.587, 0.114], np.float32)


def read_colour(path: str | Path) -> np.ndarray:
    """A picture as (H, W, 3) float32 in 0..1 of its file's full range: 255, or 65535 for 16 bit.

    Raises:
        DataError: the file is missing, or is no picture.
    """
    from PIL import Image

    try:
        with Image.open(path) as image:
            deep = image.mode.startswith("I")
            pixels = np.asarray(image if deep else image.convert("RGB"), np.float32)
    except (OSError, SyntaxError) as error:
        raise DataError(
            f"{path} cannot be read as an image ({error}); expected a PNG, JPEG, TIFF or BMP file"
        ) from error
    if deep:
        return np.repeat(pixels[..., None] / 65535.0, 3, axis=2)
    return pixels / 255.0


def _is_grey(image: np.ndarray) -> bool:
    return bool((image[..., 0] == image[..., 1]).all() and (image[..., 0] == image[..., 2]).all())


def find_pairs(folder: str | Path) -> tuple[list[tuple[Path, Path]], list[str]]:
    """Images and their masks, matched by file stem.

    Args:
        folder: has images/ and masks/. Where it holds metadata.jsonl, only the images that `file_name` lists count.

    Returns:
        The (image, mask) paths by name, and the stems of images that have no mask.

    Raises:
        DataError: a folder is missing or empty, or a listed image is missing.
    """
    folder = Path(folder)
    images = _listed(folder) or list_images(folder / "images")
    masks = {path.stem: path for path in list_images(folder / "masks")}
    pairs = [(image, masks[image.stem]) for image in images if image.stem in masks]
    return pairs, [image.stem for image in images if image.stem not in masks]


def _listed(folder: Path) -> list[Path]:
    records = folder / "metadata.jsonl"
    if not records.is_file():
        return []
    try:
        names = [json.loads(line)["file_name"] for line in records.read_text().splitlines() if line.strip()]
    except (ValueError, KeyError, TypeError) as error:
        raise DataError(f"{records} has a line without a `file_name` ({error}); synthesize the pairs again") from error
    missing = [name for name in names if not (folder / name).is_file()]
    if missing:
        raise DataError(
            f"{records} lists {missing[0]} and {len(missing) - 1} more that do not exist; complete the pairs"
        )
    return sorted(folder / name for name in names)


def read_image(path: str | Path) -> Tensor:
    """A picture as (1, 1, H, W) float32 in 0..1."""
    return torch.from_numpy(read_grey(path))[None, None]


def read_mask(path: str | Path) -> Tensor:
    """A mask file as (1, 1, H, W) float32, 0 or 1: inside is above half of the file's largest value, so that 0/1,
    0/255 and 16-bit masks all serve."""
    values = torch.from_numpy(read_grey(path))[None, None]
    return (values > values.max() / 2).float()
