"""Pictures on disk: listed, read and encoded. Every depth keeps its scale, none saturates."""

from __future__ import annotations

import io
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from nerp.errors import DataError

PICTURES = (".png", ".jpg", ".jpeg", ".bmp", ".tif", ".tiff", ".gif")
LUMINANCE = np.array([0.299, 0.587, 0.114], np.float32)


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


def read_stored(path: str | Path) -> tuple[np.ndarray, float]:
    """A picture as its file holds it, and what white is in it.

    Returns:
        (H, W) grey or (H, W, 3) colour, float32; and 255, 65535, or for whole numbers beyond and for fractions the
        largest value, at least 1. Transparency is dropped.

    Raises:
        DataError: the file is missing, or is no picture.
    """
    from PIL import Image

    try:
        with Image.open(path) as image:
            if image.mode.startswith(("I", "F")):
                values = np.array(image, np.float32)
                return values, _white(values, is_whole=image.mode[0] == "I")
            is_grey = image.mode in ("1", "L", "LA")
            return np.array(image.convert("L" if is_grey else "RGB"), np.float32), 255.0
    except (OSError, ValueError, SyntaxError, Image.DecompressionBombError) as error:
        reason = " ".join(str(error).split())
        raise DataError(f"{path} cannot be read as an image ({reason}); fetch or write it again") from error


def _white(values: np.ndarray, *, is_whole: bool) -> float:
    most = float(values.max(initial=1.0))
    return 65535.0 if is_whole and most <= 65535.0 else most


def read_colour(path: str | Path) -> np.ndarray:
    """A picture as (H, W, 3) float32 in 0..1 of its file's full range. Errors as `read_stored`."""
    values, white = read_stored(path)
    values = (values / white).clip(0.0, 1.0)
    return np.repeat(values[..., None], 3, axis=2) if values.ndim == 2 else values


def read_grey(path: str | Path) -> np.ndarray:
    """A picture as (H, W) float32 in 0..1 of its file's full range, colours by luminance. Errors as `read_stored`."""
    values, white = read_stored(path)
    return (luminance(values) / white).clip(0.0, 1.0)


def luminance(values: np.ndarray) -> np.ndarray:
    """(H, W) of grey (H, W) or of colours (H, W, 3); grey pixels stored in colour stay exactly what they are."""
    if values.ndim == 2:
        return values
    is_grey = (values == values[..., :1]).all(-1)
    return np.where(is_grey, values[..., 0], values @ LUMINANCE)


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
    """A picture as (1, 1, H, W) float32 in 0..1; beyond 8 bit its brightest pixel is 1, since 12 bits in 16 are dark.

    Errors as `read_stored`.
    """
    values, white = read_stored(path)
    values = luminance(values) / (white if white == 255.0 else max(float(values.max()), 1e-6))
    return torch.from_numpy(values.clip(0.0, 1.0))[None, None]


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
    """The PNG file of (H, W) bool, as 0 and 255, or of (H, W) or (H, W, 3) uint8; equal pixels give equal bytes."""
    from PIL import Image

    pixels = image.astype(np.uint8) * 255 if image.dtype == bool else image
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, format="PNG")
    return buffer.getvalue()
