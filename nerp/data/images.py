"""Images on disk: listed, read and encoded. Every container and depth comes to one scale, none saturates."""

from __future__ import annotations

import io
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from nerp.data.films import is_film, is_jsrt, read_dicom, read_jsrt
from nerp.data.pictures import PICTURES, SIGNIFICANT, read_picture
from nerp.data.stored_image import StoredImage
from nerp.errors import DataError

BELOW_BLACK = 0.01
"""By how much of white a resized picture may undershoot 0."""


def list_images(folder: str | Path, endings: Sequence[str] = PICTURES) -> list[Path]:
    """The files directly in `folder` with one of the endings, by name; hidden ones are passed over.

    Args:
        folder:  of images.
        endings: that count, in lower case.

    Raises:
        DataError: the folder does not exist or holds no such file.
    """
    folder = Path(folder)
    if not folder.is_dir():
        raise DataError(f"no folder at {folder}: expected a folder of images; check the path")
    files = sorted(path for path in folder.iterdir() if path.suffix.lower() in endings and path.name[0] != ".")
    if not files:
        raise DataError(f"no image in {folder}: expected files ending in {', '.join(endings)}")
    return files


def read_stored(path: str | Path) -> StoredImage:
    """An image as its file holds it: a picture, a radiograph in DICOM (known by its content), or a raw JSRT file.

    The one reader of images, for training, fidelity, segmentation and reports alike.

    Raises:
        DataError: missing, damaged, of an unknown kind, or not one image.
    """
    path = Path(path)
    if is_film(path):
        return read_jsrt(path) if is_jsrt(path) else read_dicom(path)
    return read_picture(path)


def read_colour(path: str | Path) -> np.ndarray:
    """An image as (H, W, 3) float32 in 0..1, where 1 is its file's white. Errors as `read_grey`."""
    values = _from_black_to_white(path, read_stored(path))
    return np.repeat(values[..., None], 3, axis=2) if values.ndim == 2 else values


def read_grey(path: str | Path) -> np.ndarray:
    """An image as (H, W) float32 in 0..1, where 1 is its file's white; colours by luminance.

    White is that of the depth: 255 for 8 bits, and beyond that of the fewest usual bits that hold the
    brightest pixel, so that 12 bits in 16 are as bright as their 8-bit twin (see `depth_white`).

    Raises:
        DataError: as `read_stored`, or values below 0, whose black is unknown.
    """
    stored = read_stored(path)
    return _from_black_to_white(path, StoredImage(stored.grey, stored.white, stored.is_outside))


def _from_black_to_white(path: str | Path, stored: StoredImage) -> np.ndarray:
    least = float(stored.values.min(initial=0.0))
    if least < -BELOW_BLACK * stored.white:
        raise DataError(f"{path}: holds values down to {least:g}; expected none below 0, which is black: shift them")
    return (stored.values / stored.white).clip(0.0, 1.0)


def read_binary(path: str | Path) -> np.ndarray:
    """A mask file as (H, W) bool: the brighter of its two values is inside, so 0/1, 0/255 and 16 bit all serve.

    Raises:
        DataError: no picture, or more than two values, such as a map of several labels.
    """
    values = read_grey(path)
    least, most = float(values.min()), float(values.max())
    if least == most:
        return values > 0
    between = (values > least + 0.1 * (most - least)) & (values < most - 0.1 * (most - least))
    if between.mean() > 0.05:  # compressed and resized masks have some at their edges
        fraction = f"{between.mean():.0%}"
        raise DataError(f"{path}: {fraction} of its pixels are neither dark nor bright; expected a mask of two values")
    return values > (least + most) / 2


def read_image(path: str | Path) -> Tensor:
    """An image as (1, 1, H, W) float32 in 0..1; otherwise as `read_grey`."""
    return torch.from_numpy(read_grey(path))[None, None]


def read_mask(paths: str | Path | Sequence[str | Path]) -> Tensor:
    """A mask file, or the union of several, as (1, 1, H, W) float32, 0 or 1.

    Raises:
        DataError: as `read_binary`, or parts of different sizes.
    """
    parts = [paths] if isinstance(paths, str | Path) else list(paths)
    masks = [read_binary(part) for part in parts]
    if len({mask.shape for mask in masks}) > 1:
        sizes = ", ".join(f"{mask.shape[0]}x{mask.shape[1]}" for mask in masks)
        raise DataError(f"{parts[0]} and the mask's other parts have {sizes} pixels; expected equal sizes")
    return torch.from_numpy(np.logical_or.reduce(masks)).float()[None, None]


def png_bytes(image: np.ndarray) -> bytes:
    """The PNG file of (H, W) bool, as 0 and 255, of (H, W) or (H, W, 3) uint8, or of (H, W) uint16, white at 65535.

    Equal pixels give equal bytes. Of 16 bits the file says that all are significant, so that a dark one is read dark.
    """
    from PIL import Image
    from PIL.PngImagePlugin import PngInfo

    pixels, told = image.astype(np.uint8) * 255 if image.dtype == bool else image, PngInfo()
    if pixels.dtype == np.uint16:
        told.add(SIGNIFICANT, bytes([16]))
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, format="PNG", pnginfo=told)
    return buffer.getvalue()
