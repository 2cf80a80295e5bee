"""What a DICOM file is, by its header alone."""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from nerp.errors import NerpError, VolumeError
from nerp.label_maps.stored import CONVERT, one_line

TAGS = ["Modality", "SOPClassUID"]
BEGINNINGS = tuple(
    int(group).to_bytes(2, "little") + int(element).to_bytes(2, "little")
    for group, elements in (
        (0x0002, (0x0000, 0x0001, 0x0002, 0x0010)),
        (0x0008, (0x0000, 0x0001, 0x0005, 0x0008, 0x0012, 0x0016)),
    )
    for element in elements
)
"""First elements of data sets that were written without their preamble."""


def dicom_kind(path: Path) -> str | None:
    """The modality of a DICOM file, such as `SEG`, `RTSTRUCT` or `CT`; None of any other file."""
    try:
        with understood(path, "file"):
            return str(dicom_header(path, tags=TAGS).get("Modality") or "") if _looks_like_dicom(path) else None
    except VolumeError:
        return None


@contextmanager
def understood(path: Path, what: str) -> Iterator[None]:
    """Whatever goes wrong with a header within, told in one line: its elements are parsed when they are asked for.

    Args:
        path: of the file.
        what: it is, such as `SEG`.
    """
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", UserWarning)  # anonymised archives are full of harmless invalid fields
            yield
    except (NerpError, MemoryError):
        raise
    except Exception as error:  # pydicom raises whatever its parsers meet
        raise VolumeError(f"{path}: DICOM {what} lacks what it needs ({one_line(error)}); {CONVERT}") from error


def _looks_like_dicom(path: Path) -> bool:
    """Whether a file begins as DICOM does, be it without preamble: with an element of group 2 or 8."""
    try:
        with path.open("rb") as file:
            start = file.read(132)
    except OSError:
        return False
    return start[128:] == b"DICM" or (start[:4] in BEGINNINGS and len(start) == 132)


def dicom_header(path: Path, *, tags: list[str] | None = None, pixels: bool = False) -> Any:
    """A DICOM file's data set.

    Args:
        path:   of the file.
        tags:   keywords to read; None reads all.
        pixels: whether to read them, too.

    Raises:
        VolumeError: damaged.
    """
    import pydicom

    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", UserWarning)  # anonymised archives are full of harmless invalid fields
            return pydicom.dcmread(path, stop_before_pixels=not pixels, specific_tags=tags, force=True)
    except Exception as error:  # pydicom raises whatever its parsers meet
        raise VolumeError(f"{path}: cannot be read as DICOM ({one_line(error)}); fetch the file again") from error
