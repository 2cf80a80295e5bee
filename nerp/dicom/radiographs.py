"""Radiographs in DICOM as they are to be looked at: bone bright, padding told from the image, pixels square."""

from __future__ import annotations

import logging
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F

from nerp.dicom.frames import n_frames
from nerp.dicom.headers import CT_CLASSES, OVERLAY_BIT, DicomFile, number, numbers, read_file, text
from nerp.dicom.pixels import Layout, check_pixels, check_range, from_border, layout_of, padding, read_stored_frames
from nerp.dicom.voi import Shown, shown_values
from nerp.errors import VolumeError

MAX_PIXELS = 10**8
"""Pixels that a radiograph may promise before it is refused."""

NO_RADIOGRAPHS = frozenset(
    ("CT", "MR", "PT", "NM", "US", "IVUS", "OPT", "OP", "ES", "SM", "GM", "ECG", "HD", "REG", "SEG")
    + ("SR", "PR", "KO", "DOC", "RTDOSE", "RTPLAN", "RTSTRUCT", "RTRECORD")
)
"""Modalities of what is no projection by X-rays (DICOM PS3.3, C.7.3.1.1.1)."""

RAW_CLASSES = tuple(f"1.2.840.10008.5.1.4.1.1.1.{kind}.1" for kind in (1, 2, 3))
"""Digital X-Ray, Mammography and Intra-Oral Image Storage - For Processing (DICOM PS3.4, B.5)."""

SPACINGS = ("ImagerPixelSpacing", "PixelSpacing", "NominalScannedPixelSpacing", "PixelAspectRatio")
SQUARE = 0.01
"""Relative difference up to which pixels count as square."""


@dataclass(frozen=True)
class Film:
    """A radiograph.

    Args:
        values:     (rows, columns) float32, 0 black to `white`, bone bright, square pixels.
        white:      the value that is shown white.
        is_outside: (rows, columns) bool, True where there is padding and no image; None if nowhere.
    """

    values: np.ndarray
    white: float
    is_outside: np.ndarray | None


def check_film(path: Path) -> None:
    """Make sure that a file is a radiograph and whole, as far as its header and its length tell; fast.

    Raises:
        VolumeError: as `read_film`, but for pixels that turn out damaged when they are decompressed.
    """
    file = _file(path)
    _is_raw(file)
    _aspect(file)
    check_pixels(file)


def read_film(path: Path) -> Film:
    """Read a radiograph as it is to be looked at.

    Stored values go through the modality LUT or rescale and the first VOI LUT or window; MONOCHROME1 is
    inverted. Of a radiograph FOR PROCESSING the logarithm is taken and inverted as PixelIntensityRelationship and its
    sign tell. Padding that reaches in from the border, and whole rows and columns at the edges that hold
    nothing but the corner's value, are no image. Without a window white is the largest number of so many
    bits as are stored, or where that is 16 of as many as are used: see `depth_white`.

    Raises:
        VolumeError: no DICOM, no radiograph, several frames or colours, damaged, or FOR PROCESSING without
            a word on how its numbers follow from the X-rays.
    """
    file = _file(path)
    layout = layout_of(file)
    stored = _without_overlays(file, layout, read_stored_frames(file)[0])
    found = padding(file, stored)
    is_outside = None if found is None else from_border(found)
    inside = stored if is_outside is None else stored[~is_outside]
    if not inside.size:
        raise VolumeError(f"{path}: every pixel is padding; expected a radiograph, the file holds no image")
    check_range(file, inside if found is None else stored[~found])
    shown = _from_counts(file, layout, stored) if _is_raw(file) else shown_values(file, layout, stored, inside)
    return _squared(file, _cut(stored, shown, is_outside))


def _file(path: Path) -> DicomFile:
    file = read_file(path)
    if file is None or not len(file.header):
        raise VolumeError(f"{path}: cannot be read as a DICOM image (its header is none); fetch the file again")
    modality = text(file.header, "Modality").upper()
    if modality in NO_RADIOGRAPHS or file.storage in CT_CLASSES:
        kind = "a localizer" if "LOCALIZER" in text(file.header, "ImageType").upper() else "no radiograph"
        raise VolumeError(f"{path}: Modality is {modality or 'CT'}, {kind}; expected a radiograph such as CR or DX")
    if n_frames(file) > 1:
        raise VolumeError(f"{path}: holds {n_frames(file)} frames; expected one radiograph: save the one that is meant")
    layout = layout_of(file)
    kind = text(file.header, "PhotometricInterpretation")
    if kind not in ("MONOCHROME1", "MONOCHROME2"):
        raise VolumeError(
            f"{path}: PhotometricInterpretation is {kind or 'missing'!r}; expected MONOCHROME1 or MONOCHROME2, which "
            "say whether bone is bright: repair the header or convert the image"
        )
    if layout.rows * layout.columns > MAX_PIXELS:
        raise VolumeError(f"{path}: promises {layout.rows}x{layout.columns} pixels; the limit is {MAX_PIXELS}")
    return file


def _is_raw(file: DicomFile) -> bool:
    """Whether the numbers are those of the detector, which no one has made ready to be looked at."""
    intent = text(file.header, "PresentationIntentType").upper()
    if intent == "FOR PRESENTATION":
        return False
    relation, sign = _relation(file)
    if intent == "FOR PROCESSING" or file.storage in RAW_CLASSES:
        if relation not in ("LIN", "LOG", "DISP") or sign is None:
            raise VolumeError(
                f"{file.path}: is FOR PROCESSING and its PixelIntensityRelationship is {relation or 'missing'!r}, sign "
                f"{sign}; expected LIN or LOG, and 1 or -1: give the image FOR PRESENTATION"
            )
        return True
    shows_intensity = sign == (-1 if text(file.header, "PhotometricInterpretation") == "MONOCHROME1" else 1)
    if relation not in ("LIN", "LOG") or not shows_intensity:
        return False
    log = logging.getLogger(__name__)
    log.warning("%s: its PixelIntensityRelationship says that bone is dark and nothing else; it is inverted", file.path)
    return True


def _relation(file: DicomFile) -> tuple[str, int | None]:
    sign = number(file, file.header, "PixelIntensityRelationshipSign", -1, 1)
    return text(file.header, "PixelIntensityRelationship").upper(), int(sign) if sign else None


def _from_counts(file: DicomFile, layout: Layout, stored: np.ndarray) -> Shown:
    """Attenuation from what the detector counted: -log of numbers linear in the X-rays, up to a constant."""
    relation, sign = _relation(file)
    top = float(2**layout.stored - 1)
    values = stored.astype(np.float64) + (2.0 ** (layout.stored - 1) if layout.is_signed else 0.0)
    growing = values if sign == 1 else top - values
    if relation == "LIN":
        return Shown(np.log(top) - np.log(growing.clip(1.0, top)), float(np.log(top)))
    return Shown(top - growing, top)


def _without_overlays(file: DicomFile, layout: Layout, stored: np.ndarray) -> np.ndarray:
    """Old files keep drawings in the bits above the image's, and say so."""
    has_drawings = text(file.header, OVERLAY_BIT) not in ("", "0") and not layout.is_signed
    return stored & np.array(2**layout.stored - 1, stored.dtype) if has_drawings else stored


def _cut(stored: np.ndarray, shown: Shown, is_outside: np.ndarray | None) -> Film:
    """Without rows and columns at the edges that hold nothing but the corner's value or padding.

    Judged before any window, which would make a border of the air beside the patient.
    """
    is_image = stored != stored[0, 0]
    if is_outside is not None:
        is_image &= ~is_outside
    rows, columns = np.flatnonzero(is_image.any(1)), np.flatnonzero(is_image.any(0))
    kept = (slice(rows[0], rows[-1] + 1), slice(columns[0], columns[-1] + 1)) if len(rows) else np.s_[:, :]
    values = np.ascontiguousarray(shown.values[kept], np.float32)
    outside = None if is_outside is None else is_outside[kept]
    if outside is None or not outside.any():
        return Film(values, shown.white, None)
    values[outside] = 0.0
    return Film(values, shown.white, outside)


def _aspect(file: DicomFile) -> float:
    """Distance between rows by that between columns."""
    for tag in SPACINGS:
        spacing = numbers(file, file.header, tag, 2, 1e-4, 1e4)
        if spacing is not None:
            ratio = float(spacing[0] / spacing[1])
            if not 0.25 <= ratio <= 4:
                raise VolumeError(f"{file.path}: {tag} is '{text(file.header, tag)}'; expected pixels nearly square")
            return ratio
    return 1.0


def film_spacing(path: Path) -> tuple[tuple[float, float], tuple[int, int]] | None:
    """How large the pixels of a radiograph are, as its header states, in the plane of the detector.

    ImagerPixelSpacing counts before PixelSpacing, which may be corrected for some magnification.

    Returns:
        mm between rows and between columns, and the (rows, columns) of the file; None where nothing is stated.

    Raises:
        VolumeError: no radiograph, or a spacing that is none.
    """
    file = _file(path)
    layout = layout_of(file)
    for tag in SPACINGS[:3]:
        spacing = numbers(file, file.header, tag, 2, 1e-4, 1e4)
        if spacing is not None:
            return (float(spacing[0]), float(spacing[1])), (layout.rows, layout.columns)
    return None


def _squared(file: DicomFile, film: Film) -> Film:
    ratio = _aspect(file)
    if abs(ratio - 1) <= SQUARE:
        return film
    rows, columns = film.values.shape
    size = (round(rows * ratio), columns) if ratio > 1 else (rows, max(1, round(columns / ratio)))
    inside = None if film.is_outside is None else ~film.is_outside
    values, share = resized(film.values, inside, size)
    return Film(values, film.white, None if share is None else share < 0.5)


def resized(
    values: np.ndarray, inside: np.ndarray | None, size: tuple[int, int]
) -> tuple[np.ndarray, np.ndarray | None]:
    """Resize an image, antialiased, of which a part may be no image: what lies outside does not bleed in.

    Args:
        values: (rows, columns) float32.
        inside: (rows, columns) bool, or None where all is image.
        size:   (rows, columns) wanted.

    Returns:
        Values of that size, 0 where nothing is inside; and which share of each pixel is inside, or None.
    """

    def scaled(image: np.ndarray) -> np.ndarray:
        plane = torch.from_numpy(np.ascontiguousarray(image, np.float32))[None, None]
        return F.interpolate(plane, size=size, mode="bilinear", antialias=True)[0, 0].numpy()

    if inside is None:
        return scaled(values), None
    share = scaled(inside)
    return np.where(share < 0.5, 0.0, scaled(values * inside) / np.maximum(share, 0.5)).astype(np.float32), share
