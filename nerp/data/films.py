"""Radiographs that are no pictures: DICOM and the raw files of the JSRT database."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from nerp.data.stored_image import StoredImage
from nerp.dicom import is_dicom
from nerp.dicom.radiographs import check_film, read_film
from nerp.errors import DataError, VolumeError

DICOM, JSRT = (".dcm", ".dicom", ".ima"), (".img",)
JSRT_SIDE, JSRT_WHITE = 2048, 4095
JSRT_BYTES = 2 * JSRT_SIDE**2


def is_film(path: Path) -> bool:
    """Whether a file is, or ought to be, a radiograph in DICOM or a raw JSRT file, and no picture."""
    return path.is_file() and (path.suffix.lower() in DICOM + JSRT or is_dicom(path))


def is_jsrt(path: Path) -> bool:
    """Whether a film is a raw JSRT file: any number may stand at its start, so its size counts for more."""
    is_raw = path.suffix.lower() in JSRT
    return is_raw and (path.stat().st_size == JSRT_BYTES or not is_dicom(path))


def read_dicom(path: Path) -> StoredImage:
    """Read a radiograph in DICOM: see `read_film`, whose every failure is a DataError here."""
    try:
        film = read_film(path)
    except VolumeError as error:
        raise DataError(str(error)) from error
    return StoredImage(film.values, film.white, film.is_outside)


def check_dicom(path: Path) -> None:
    """Make sure, from header and length, that a file is a radiograph in DICOM and whole; else a DataError."""
    try:
        check_film(path)
    except VolumeError as error:
        raise DataError(str(error)) from error


def read_jsrt(path: Path) -> StoredImage:
    """Read a raw `.IMG` file: 2048 x 2048, big-endian, 12 bit, where 0 is white, hence inverted.

    Raises:
        DataError: another size, or numbers beyond 12 bit.
    """
    check_jsrt(path)
    stored = np.fromfile(path, dtype=">u2").reshape(JSRT_SIDE, JSRT_SIDE)
    if stored.max() > JSRT_WHITE:
        raise DataError(
            f"{path}: holds values up to {stored.max()}; expected big-endian 12-bit ones, 0 to {JSRT_WHITE}"
        )
    return StoredImage((JSRT_WHITE - stored).astype(np.float32), float(JSRT_WHITE))


def check_jsrt(path: Path) -> None:
    """Make sure that a raw file is as long as it has to be; else a DataError."""
    found = path.stat().st_size
    if found != JSRT_BYTES:
        raise DataError(f"{path}: holds {found} bytes; a JSRT .IMG file has {JSRT_BYTES}: fetch it again")
