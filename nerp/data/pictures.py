"""PNG, JPEG, TIFF, BMP and GIF: one picture, turned as its tags say, at the depth that it has."""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from nerp.data.stored_image import StoredImage
from nerp.display import depth_white
from nerp.errors import DataError, VolumeError
from nerp.formats import read_deep_colours

if TYPE_CHECKING:
    from PIL.Image import Image

PICTURES = (".png", ".jpg", ".jpeg", ".bmp", ".tif", ".tiff", ".gif")
MAX_PIXELS = 10**8
"""Pixels that a picture may promise before it is refused."""

BITS, COMPRESSION, PHOTOMETRIC, ORIENTATION, KIND_OF_PAGE = 258, 259, 262, 274, 254
"""Tags of TIFF 6.0."""
WHITE_IS_ZERO = 0

SIGNIFICANT = b"sBIT"
"""Chunk of a PNG that tells how many bits of a number hold anything (PNG specification, 11.3.2.3)."""

OVERSHOOT = 1.02
"""Fractions may exceed white by so much where a picture was resized."""


@contextmanager
def opened(path: str | Path) -> Iterator[Image]:
    """The one picture of a file, its pixels not yet read.

    Raises:
        DataError: missing, no picture, several pictures, or too large; also for what goes wrong while it is open.
    """
    from PIL import Image

    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # remarks on large or odd files, which are judged here
            with (
                Path(path).open("rb") as stream,
                Image.open(stream) as image,
            ):  # no path: mapped TIFFs are turned wrongly
                _check_size(path, image)
                _choose_page(path, image)
                yield image
    except DataError:
        raise
    except Exception as error:  # each of Pillow's plugins has its own errors for damaged files
        reason = " ".join(str(error).split(" <_io")[0].split()) or type(error).__name__
        raise DataError(f"{path} cannot be read as an image ({reason}); fetch or write it again") from error


def read_picture(path: str | Path) -> StoredImage:
    """Read a picture in its own scale, upright as EXIF or TIFF tags say, WhiteIsZero inverted.

    White is 255 for 8 bits, that of the smallest usual depth that holds all values for more (see
    `depth_white`) unless a PNG says that all its 16 bits are significant, 1 for fractions up to 1. Transparency is
    dropped.

    Raises:
        DataError: missing, no picture, several pictures, too large, no numbers, or all in its transparency.
    """
    with opened(path) as image:
        bits, kind = _depth(image), image.mode
        is_inverted = _tag(image, PHOTOMETRIC) == WHITE_IS_ZERO and kind not in ("1", "L")  # Pillow inverts those
        orientation = int(_tag(image, ORIENTATION) or 1)
        is_grey = "LA" in _packing(image)
        image.load()  # before its size is asked for: loading turns TIFFs
        if bits == 16 and kind in ("LA", "RGB", "RGBA"):
            stored = _deep_colours(path, image, orientation, is_grey=is_grey)
        elif kind.startswith(("I", "F")):
            stored = _deep_grey(np.array(image).astype(np.float32), bits)
            if image.format == "PNG" and _uses_all(path):
                stored = StoredImage(stored.values, 65535.0)
        else:
            stored = StoredImage(np.array(image.convert("L" if kind in ("1", "L", "LA") else "RGB"), np.float32), 255.0)
        _check_values(path, image, stored.values)
        turned = _upright(stored.values, int(image.getexif().get(ORIENTATION, 1)))
    return StoredImage(stored.white - turned if is_inverted else turned, stored.white)


def _check_size(path: str | Path, image: Image) -> None:
    columns, rows = image.size
    if rows * columns > MAX_PIXELS:
        raise DataError(f"{path}: promises {rows}x{columns} pixels; the limit is {MAX_PIXELS}: make it smaller")


def _choose_page(path: str | Path, image: Image) -> None:
    """Turn to the one page of a file; small copies in TIFF and what a camera adds to a JPEG are no further ones."""
    count = getattr(image, "n_frames", 1)
    if count == 1 or image.format == "MPO":
        return
    pages = list(range(count))
    if image.format == "TIFF":
        pages = [page for page in pages if not _is_copy(image, page)]
    if len(pages) != 1:
        raise DataError(f"{path}: holds {count} pictures; expected one: save the one that is meant by itself")
    image.seek(pages[0])


def _is_copy(image: Image, page: int) -> bool:
    image.seek(page)
    return bool(int(_tag(image, KIND_OF_PAGE) or 0) & 1)


def _tag(image: Image, tag: int) -> int | None:
    """A TIFF's tag, its first value; None in other formats."""
    value = getattr(image, "tag_v2", {}).get(tag)
    return value[0] if isinstance(value, tuple) else value


def _depth(image: Image) -> int:
    """Bits of a number as the file says, as far as Pillow tells; 8 where it says nothing."""
    if image.format == "TIFF":
        return int(_tag(image, BITS) or 1)
    return 16 if image.format == "PNG" and "16B" in _packing(image) else 8


def _packing(image: Image) -> str:
    """How the file packs its numbers, in Pillow's words, such as `RGB;16B`."""
    return " ".join(str(tile[3]) for tile in getattr(image, "tile", []))


def _deep_colours(path: str | Path, image: Image, orientation: int, *, is_grey: bool) -> StoredImage:
    """Colours of 16 bits, of which Pillow keeps 8."""
    if is_grey or (image.format == "TIFF" and orientation != 1):
        raise DataError(f"{path}: holds 16 bits with transparency or turned colours; save it in grey of 16 bits")
    try:
        colours = read_deep_colours(Path(path)).astype(np.float32)[..., :3]
    except VolumeError as error:
        raise DataError(str(error)) from error
    return StoredImage(colours, depth_white(float(colours.max(initial=0.0))))


def _deep_grey(values: np.ndarray, bits: int) -> StoredImage:
    if values.size == 0 or not np.isfinite(values).all():
        return StoredImage(values, 1.0)
    most = float(values.max())
    if 8 < bits < 16:
        return StoredImage(values, 2.0**bits - 1)
    if (values == np.rint(values)).all():
        return StoredImage(values, 1.0 if bits == 32 and 0 < most <= 1 else depth_white(most))
    return StoredImage(values, max(1.0, most) if most < 2 else max(most, depth_white(most / OVERSHOOT)))


def _uses_all(path: str | Path) -> bool:
    """Whether a PNG says that all 16 bits of its numbers are significant."""
    with Path(path).open("rb") as file:
        file.seek(8)
        while len(head := file.read(8)) == 8 and head[4:] not in (b"IDAT", b"IEND"):
            length = int.from_bytes(head[:4], "big")
            if head[4:] == SIGNIFICANT:
                return file.read(1) == bytes([16])
            file.seek(length + 4, 1)
    return False


def _check_values(path: str | Path, image: Image, values: np.ndarray) -> None:
    if not np.isfinite(values).all():
        raise DataError(f"{path}: holds NaN or infinite values; expected a number in each pixel: write it again")
    if "A" in image.getbands() and values.size and (values == values.flat[0]).all():
        least, most = image.getchannel("A").getextrema()
        if least != most:
            raise DataError(f"{path}: its picture is in its transparency alone; save it without transparency")


def _upright(values: np.ndarray, orientation: int) -> np.ndarray:
    """Rows and columns as they are to be seen. Source: EXIF 2.3, tag 274 Orientation."""
    if orientation in (5, 6, 7, 8):
        values = values.swapaxes(0, 1)
    if orientation in (2, 3, 6, 7):
        values = values[:, ::-1]
    if orientation in (3, 4, 7, 8):
        values = values[::-1]
    return np.ascontiguousarray(values)
