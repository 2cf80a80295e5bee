"""Real radiographs: one grey image in [0, 1], bone bright, at the shape asked for.

The source is brought to the target's proportions around its centre, then resized once, with antialiasing.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor
from torch.utils.data import Dataset

from nerp.data.folders import find_radiographs
from nerp.data.images import PICTURES, luminance, read_stored
from nerp.display import display_image
from nerp.errors import DataError, UsageError

DICOM, JSRT = (".dcm", ".dicom"), (".img",)
JSRT_SIDE, JSRT_WHITE = 2048, 4095

FITS = ("crop", "pad")


def read_radiograph(path: str | Path, shape: tuple[int, int], *, fit: str = "crop") -> Tensor:
    """Read one radiograph as a display image.

    PNG, JPEG, TIFF or BMP of 8 or 16 bit, grey or colour; DICOM with its lookup table or first VOI
    window, MONOCHROME1 inverted and flat borders cut; or a raw JSRT `.IMG` file (2048 x 2048, big-endian,
    12 bit, where 0 is white, hence inverted). Scaled by `display_image`, as the rendered ones are, after
    it has its shape.

    Args:
        path:  the file; its extension says the format.
        shape: (H, W) wanted.
        fit:   `crop` cuts the longer side around the centre; `pad` fills the shorter one with 0.

    Returns:
        (1, H, W) float32 in [0, 1], antialiased.

    Raises:
        DataError: missing, damaged, unknown, not one grey image, or of one value only.
    """
    path = Path(path)
    values = torch.from_numpy(_read_grey(path))
    if values.min() == values.max():
        raise DataError(f"{path}: every pixel is {values.min():g}; expected a radiograph, the file holds no image")
    resized = _resized(values, shape, fit=fit)
    return _centred(display_image(resized), shape)[0]


def _read_grey(path: Path) -> np.ndarray:
    """(H, W) float32 in the file's own scale, bone bright."""
    if not path.is_file():
        raise DataError(f"{path}: no such file; check the path")
    ending = path.suffix.lower()
    if ending in PICTURES:
        return luminance(read_stored(path)[0])
    if ending in DICOM:
        return _read_dicom(path)
    if ending in JSRT:
        return _read_jsrt(path)
    raise DataError(f"{path}: unknown extension {ending!r}; expected {', '.join(PICTURES + DICOM + JSRT)}")


def _read_dicom(path: Path) -> np.ndarray:
    import pydicom
    from pydicom.pixels import apply_modality_lut, apply_voi_lut

    try:
        header = pydicom.dcmread(path)
        stored = header.pixel_array
        if stored.ndim != 2:
            raise DataError(f"{path}: holds pixels of shape {stored.shape}; expected one grey image (rows, columns)")
        values = apply_voi_lut(apply_modality_lut(stored, header), header).astype(np.float32)
    except (pydicom.errors.InvalidDicomError, AttributeError, ValueError, RuntimeError, EOFError) as error:
        reason = (str(error).strip() or type(error).__name__).splitlines()[0]
        raise DataError(f"{path}: cannot be read as a DICOM image ({reason}); fetch the file again") from error
    if header.PhotometricInterpretation == "MONOCHROME1":
        values = values.max() - values
    return np.ascontiguousarray(values[_inside_border(stored)])


def _inside_border(stored: np.ndarray) -> tuple[slice, slice]:
    """All but the rows and columns at the edges that hold nothing but the corner's value: shutter and filling.

    Judged before any window, which would make a border of the air beside the patient.
    """
    is_image = stored != stored[0, 0]
    rows, columns = np.flatnonzero(is_image.any(1)), np.flatnonzero(is_image.any(0))
    if not len(rows):
        return slice(None), slice(None)
    return slice(rows[0], rows[-1] + 1), slice(columns[0], columns[-1] + 1)


def _read_jsrt(path: Path) -> np.ndarray:
    expected = JSRT_SIDE * JSRT_SIDE * 2
    if path.stat().st_size != expected:
        raise DataError(f"{path}: holds {path.stat().st_size} bytes; a JSRT .IMG file has {expected}: fetch it again")
    stored = np.fromfile(path, dtype=">u2").reshape(JSRT_SIDE, JSRT_SIDE)
    if stored.max() > JSRT_WHITE:
        raise DataError(
            f"{path}: holds values up to {stored.max()}; expected big-endian 12-bit ones, 0 to {JSRT_WHITE}"
        )
    return (JSRT_WHITE - stored).astype(np.float32)


def _resized(values: Tensor, shape: tuple[int, int], *, fit: str) -> Tensor:
    """(1, 1, h, w), resized once without distortion: all of `shape`, or what of it the whole source fills."""
    if fit not in FITS:
        raise UsageError(f"fit is {fit!r}; expected one of {', '.join(FITS)}")
    rows, columns = values.shape
    proportion = shape[1] / shape[0]
    if fit == "crop":
        size = tuple(shape)
        height, width = min(rows, round(columns / proportion)), min(columns, round(rows * proportion))
        top, left = (rows - height) // 2, (columns - width) // 2
        values = values[top : top + height, left : left + width]
    else:
        scale = min(shape[0] / rows, shape[1] / columns)
        size = (max(1, round(rows * scale)), max(1, round(columns * scale)))
    return F.interpolate(values[None, None], size=size, mode="bilinear", antialias=True)


def _centred(images: Tensor, shape: tuple[int, int]) -> Tensor:
    """(B, C, H, W) of `shape`, zeros around."""
    spare_rows, spare_columns = shape[0] - images.shape[2], shape[1] - images.shape[3]
    top, left = spare_rows // 2, spare_columns // 2
    return F.pad(images, (left, spare_columns - left, top, spare_rows - top))


class RadiographDataset(Dataset):
    """Radiographs at one shape; each file is read once, when first asked for, and then remembered.

    Args:
        source: a folder (see `find_radiographs`), or the paths themselves.
        shape:  (H, W).
        fit:    as for `read_radiograph`.

    Items are (1, H, W) float32 in [0, 1].
    """

    def __init__(self, source: str | Path | Sequence[str | Path], shape: tuple[int, int], *, fit: str = "crop"):
        self.paths = find_radiographs(source) if isinstance(source, (str, Path)) else [Path(path) for path in source]
        self.shape, self.fit = (shape[0], shape[1]), fit
        self._images: dict[int, Tensor] = {}

    def __len__(self) -> int:
        return len(self.paths)

    def __getitem__(self, index: int) -> Tensor:
        path = self.paths[index]
        if index not in self._images:
            self._images[index] = read_radiograph(path, self.shape, fit=self.fit)
        return self._images[index]


def check_radiograph(path: str | Path) -> None:
    """Stub until the readers' own check."""
    if not Path(path).is_file():
        raise DataError(f"{path}: no such file; check the path")
