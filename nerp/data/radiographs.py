"""Real radiographs: one grey image in [0, 1], bone bright, at the shape asked for.

The source is brought to the target's proportions around its centre, then resized once, with antialiasing.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor
from torch.utils.data import Dataset

from nerp.data.films import DICOM, JSRT, check_dicom, check_jsrt, is_film, is_jsrt
from nerp.data.folders import find_radiographs
from nerp.data.images import PICTURES, read_stored
from nerp.data.kept_images import KeptImages
from nerp.data.whole_files import check_picture
from nerp.dicom.radiographs import resized
from nerp.display import display_image
from nerp.errors import DataError, NerpError, UsageError

FITS = ("crop", "pad")
READING = 1
"""Of how images are read; raised when the same file comes to give other values, so that none of before are used."""


def read_radiograph(path: str | Path, shape: tuple[int, int], *, fit: str = "crop") -> Tensor:
    """Read one radiograph as a display image.

    PNG, JPEG, TIFF, BMP or GIF of any depth, grey or colour, upright as their tags say; DICOM, known by its
    content, ready to be looked at (see `read_film`), padding black and out of the scaling; or a raw JSRT
    `.IMG` file. Scaled by `display_image`, as the rendered ones are, after it has its shape.

    Args:
        path:  the file; its extension says the format where it is no DICOM.
        shape: (H, W) wanted.
        fit:   `crop` cuts the longer side around the centre; `pad` fills the shorter one with 0.

    Returns:
        (1, H, W) float32 in [0, 1], antialiased.

    Raises:
        DataError: missing, damaged, unknown, not one radiograph, or of one value only.
    """
    path = Path(path)
    _check_kind(path)
    stored = read_stored(path)
    values, inside = stored.grey, None if stored.is_outside is None else ~stored.is_outside
    seen = values if inside is None else values[inside]
    if seen.min() == seen.max():
        raise DataError(f"{path}: every pixel is {seen.min():g}; expected a radiograph, the file holds no image")
    return _centred(_displayed(values, inside, *_window(values.shape, shape, fit=fit)), shape)[0]


def check_radiograph(path: str | Path) -> None:
    """Make sure that a file is a radiograph and whole, as far as its header, size and end tell; nothing is decoded.

    Args:
        path: of what `read_radiograph` would read.

    Raises:
        DataError: as `read_radiograph`, but for pixels that turn out damaged or of one value when they are read.
    """
    path = Path(path)
    _check_kind(path)
    if not is_film(path):
        check_picture(path)
    elif is_jsrt(path):
        check_jsrt(path)
    else:
        check_dicom(path)


def _check_kind(path: Path) -> None:
    if not path.is_file():
        raise DataError(f"{path}: no such file; check the path")
    ending = path.suffix.lower()
    if ending not in PICTURES and not is_film(path):
        raise DataError(f"{path}: unknown extension {ending!r}; expected {', '.join(PICTURES + DICOM + JSRT)}")


def _window(
    source: tuple[int, ...], shape: tuple[int, int], *, fit: str
) -> tuple[tuple[slice, slice], tuple[int, int]]:
    """Which part of the source is taken, and the size that it gets: `shape`, or what of it the whole source fills."""
    if fit not in FITS:
        raise UsageError(f"fit is {fit!r}; expected one of {', '.join(FITS)}")
    rows, columns = source
    proportion = shape[1] / shape[0]
    if fit == "pad":
        scale = min(shape[0] / rows, shape[1] / columns)
        return np.s_[:, :], (max(1, round(rows * scale)), max(1, round(columns * scale)))
    height = min(rows, max(1, round(columns / proportion)))
    width = min(columns, max(1, round(rows * proportion)))
    top, left = (rows - height) // 2, (columns - width) // 2
    return np.s_[top : top + height, left : left + width], (shape[0], shape[1])


def _displayed(
    values: np.ndarray, inside: np.ndarray | None, part: tuple[slice, slice], size: tuple[int, int]
) -> Tensor:
    """(1, 1, h, w) in 0..1: resized once without distortion, and scaled by what is inside alone."""
    small, share = resized(values[part], None if inside is None else inside[part], size)
    image = torch.from_numpy(small)[None, None]
    if share is None:
        return display_image(image)
    is_seen = torch.from_numpy(share >= 0.5)[None, None]
    shown = torch.zeros_like(image)
    if is_seen.any():
        shown[is_seen] = display_image(image[is_seen][None, None, None]).flatten()
    return shown


def _centred(images: Tensor, shape: tuple[int, int]) -> Tensor:
    """(B, C, H, W) of `shape`, zeros around."""
    spare_rows, spare_columns = shape[0] - images.shape[2], shape[1] - images.shape[3]
    top, left = spare_rows // 2, spare_columns // 2
    return F.pad(images, (left, spare_columns - left, top, spare_rows - top))


class RadiographDataset(Dataset):
    """Radiographs at one shape; each file is read when first asked for.

    The first `n_kept` stay in memory. The others are kept in a file of `cache_folder`, in 16 bits, that is to
    within 1/131070 of what was read, from the first time on; without a folder they are read again and again.

    Args:
        source:       a folder (see `find_radiographs`), or the paths themselves.
        shape:        (H, W).
        fit:          as for `read_radiograph`.
        n_kept:       how many stay in memory, 4 H W bytes each.
        cache_folder: keeps the rest across runs, 2 H W bytes each; a changed file is read again.

    Items are (1, H, W) float32 in [0, 1]. Several processes may read one set.
    """

    def __init__(
        self,
        source: str | Path | Sequence[str | Path],
        shape: tuple[int, int],
        *,
        fit: str = "crop",
        n_kept: int = 2048,
        cache_folder: str | Path | None = None,
    ):
        self.paths = find_radiographs(source) if isinstance(source, (str, Path)) else [Path(path) for path in source]
        self.shape, self.fit, self.n_kept = (shape[0], shape[1]), fit, n_kept
        self._images = _room(min(n_kept, len(self.paths)), self.shape)
        self._is_read = [False] * len(self._images)
        is_kept = cache_folder is not None and len(self.paths) > n_kept
        self._kept = KeptImages(self._file(Path(cache_folder)), self.shape) if cache_folder and is_kept else None

    def __len__(self) -> int:
        return len(self.paths)

    def __getitem__(self, index: int) -> Tensor:
        index = range(len(self.paths))[index]
        if index >= self.n_kept:
            return self._read(index) if self._kept is None else self._from_disk(self._kept, index)
        if not self._is_read[index]:
            self._images[index] = self._read(index)
            self._is_read[index] = True
        return self._images[index]

    def _read(self, index: int) -> Tensor:
        path = self.paths[index]
        try:
            return read_radiograph(path, self.shape, fit=self.fit)
        except NerpError:
            raise
        except Exception as error:  # whatever it is, among thousands of files it has to name the one
            raise DataError(f"{path}: cannot be read ({type(error).__name__}: {error}); fetch it again") from error

    def _from_disk(self, kept: KeptImages, index: int) -> Tensor:
        key = _identity(self.paths[index], self.shape, self.fit)
        image = kept.read(index, key)
        return kept.write(index, key, self._read(index)) if image is None else image

    def _file(self, folder: Path) -> Path:
        names = "\n".join(str(path.resolve()) for path in self.paths)
        key = hashlib.sha256(f"{self.shape} {self.fit}\n{names}".encode()).hexdigest()[:16]
        return folder / f"radiographs-{key}.bin"


def _room(count: int, shape: tuple[int, int]) -> Tensor:
    """(count, 1, H, W) float32, of which the system gives no memory before something is written."""
    try:
        return torch.empty(count, 1, *shape, dtype=torch.float32, device="cpu")
    except RuntimeError:
        n_bytes = 4 * count * shape[0] * shape[1]
        raise UsageError(
            f"{count} radiographs of {shape[0]}x{shape[1]} need {n_bytes / 2**30:.1f} GiB, more than there is; keep "
            "fewer in memory: data.cached_radiographs"
        ) from None


def _identity(path: Path, shape: tuple[int, int], fit: str) -> bytes:
    """What an image follows from: the file as it is now, the shape, and the way in which it is read."""
    try:
        facts = path.stat()
    except OSError:
        raise DataError(f"{path}: no such file; check the path") from None
    return repr((str(path.resolve()), facts.st_size, facts.st_mtime_ns, shape, fit, READING)).encode()
