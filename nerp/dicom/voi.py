"""From stored numbers to what a screen shows: rescale or lookup table, then the first VOI table or window.

Source: DICOM PS3.3, C.11.1 (modality LUT), C.11.2 (VOI LUT), C.7.6.3.1.2 (photometric interpretation).
"""

from __future__ import annotations

import logging
from dataclasses import dataclass

import numpy as np

from nerp.dicom.headers import DicomFile, number, numbers, quiet, text
from nerp.dicom.pixels import Layout
from nerp.display import depth_white
from nerp.errors import VolumeError

FUNCTIONS = ("LINEAR", "LINEAR_EXACT", "SIGMOID")


@dataclass(frozen=True)
class Shown:
    """Values as a screen shows them.

    Args:
        values: (rows, columns) float64, unitless, 0 black to `white`.
        white:  the value that is shown white.
    """

    values: np.ndarray
    white: float


def shown_values(file: DicomFile, layout: Layout, stored: np.ndarray, inside: np.ndarray) -> Shown:
    """What a screen is to show of a radiograph that is made to be looked at.

    Args:
        file:   whose header says how.
        layout: of its numbers.
        stored: (rows, columns) as stored.
        inside: (N,) those of them that are no padding.

    Raises:
        VolumeError: a table or window that cannot be.
    """
    slope, intercept = _rescale(file)
    table = _table(file, layout, "ModalityLUTSequence")
    values = stored.astype(np.float64) * slope + intercept if table is None else _looked_up(stored, table)
    voi = _table(file, layout, "VOILUTSequence")
    window = _window(file) if voi is None else None
    if voi is not None:
        shown = Shown(_looked_up(values, voi), _white_of(voi))
    elif window is not None:
        shown = Shown(_windowed(values, *window), 1.0)
    elif table is not None:
        shown = Shown(values, _white_of(table))
    else:
        shown = _as_stored(layout, stored, inside, is_falling=slope < 0)
    return Shown(shown.white - shown.values, shown.white) if _is_inverted(file) else shown


def _is_inverted(file: DicomFile) -> bool:
    is_first = text(file.header, "PhotometricInterpretation") == "MONOCHROME1"
    shape = text(file.header, "PresentationLUTShape").upper()
    if shape in ("IDENTITY", "INVERSE") and is_first != (shape == "INVERSE"):
        kind = "MONOCHROME1" if is_first else "MONOCHROME2"
        log = logging.getLogger(__name__)
        log.warning("%s: is %s and its PresentationLUTShape %s, a contradiction; inverted", file.path, kind, shape)
    return is_first or shape == "INVERSE"


def _as_stored(layout: Layout, stored: np.ndarray, inside: np.ndarray, *, is_falling: bool) -> Shown:
    """Without table or window: from 0, or the least below it, to the largest number of so many bits."""
    least = min(0, int(inside.min()))
    known = layout.stored < 16 and not layout.is_signed
    white = 2.0**layout.stored - 1 if known else depth_white(float(inside.max()) - least)
    values = stored.astype(np.float64) - least
    return Shown(white - values if is_falling else values, white)


def _rescale(file: DicomFile) -> tuple[float, float]:
    slope = number(file, file.header, "RescaleSlope", -1e6, 1e6)
    intercept = number(file, file.header, "RescaleIntercept", -1e9, 1e9)
    if slope == 0:
        raise VolumeError(f"{file.path}: RescaleSlope is 0; expected another number: repair the header")
    return 1.0 if slope is None else slope, intercept or 0.0


def _window(file: DicomFile) -> tuple[float, float, str] | None:
    """Centre, width and function of the first window."""
    centre = _first(file, "WindowCenter", -1e9, 1e9)
    width = _first(file, "WindowWidth", 1e-6, 1e9)
    function = text(file.header, "VOILUTFunction").upper() or FUNCTIONS[0]
    if function not in FUNCTIONS:
        raise VolumeError(f"{file.path}: VOILUTFunction is {function!r}; expected one of {', '.join(FUNCTIONS)}")
    return None if centre is None or width is None else (centre, width, function)


def _first(file: DicomFile, keyword: str, low: float, high: float) -> float | None:
    """The first of the numbers that a tag holds."""
    try:
        with quiet():
            value = file.header.get(keyword)
            count = 1 if isinstance(value, str) else len(value)
    except Exception:  # one number, none, or what pydicom cannot convert, which `numbers` refuses
        count = 1
    found = numbers(file, file.header, keyword, max(count, 1), low, high)
    return None if found is None else float(found[0])


def _windowed(values: np.ndarray, centre: float, width: float, function: str) -> np.ndarray:
    """Values in 0..1.

    Source: DICOM PS3.3, C.11.2.1.2 and C.11.2.1.3.
    """
    if function == "SIGMOID":
        return 1.0 / (1.0 + np.exp((-4.0 * (values - centre) / width).clip(-700, 700)))
    if function == "LINEAR_EXACT":
        return ((values - centre) / width + 0.5).clip(0.0, 1.0)
    return ((values - (centre - 0.5)) / max(width - 1.0, 1e-6) + 0.5).clip(0.0, 1.0)


@dataclass(frozen=True)
class _Table:
    values: np.ndarray
    first: int
    bits: int


def _table(file: DicomFile, layout: Layout, keyword: str) -> _Table | None:
    """The first lookup table of a sequence, or None where there is none."""
    try:
        with quiet():
            if keyword not in file.header or not len(file.header[keyword].value):
                return None
            item = file.header[keyword].value[0]
            count, first, bits = (int(part) for part in item.LUTDescriptor)
            data = item["LUTData"].value
            table = _entries(data, count or 65536, bits, is_little=layout.is_little)
    except Exception as error:  # pydicom has its own error for each way in which a sequence can be damaged
        raise VolumeError(f"{file.path}: its {keyword} cannot be read; fetch the file again") from error
    if len(table) != (count or 65536) or not 1 <= bits <= 16:
        raise VolumeError(
            f"{file.path}: its {keyword} promises {count or 65536} numbers of {bits} bits and has {len(table)}; "
            "fetch the file again"
        )
    return _Table(table, first - 65536 if layout.is_signed and first > 32767 else first, bits)


def _entries(data: object, count: int, bits: int, *, is_little: bool) -> np.ndarray:
    if not isinstance(data, bytes):
        return np.atleast_1d(np.asarray(data, np.float64)) % 65536
    if bits <= 8 and len(data) in (count, count + count % 2):
        return np.frombuffer(data, np.uint8)[:count].astype(np.float64)
    return np.frombuffer(data, "<u2" if is_little else ">u2").astype(np.float64)


def _looked_up(values: np.ndarray, table: _Table) -> np.ndarray:
    places = np.rint(values).astype(np.int64) - table.first
    return table.values[places.clip(0, len(table.values) - 1)]


def _white_of(table: _Table) -> float:
    """White of a table's bits; of as many as it uses where it says 16, or more than it says."""
    most = float(table.values.max())
    return 2.0**table.bits - 1 if table.bits < 16 and most < 2**table.bits else depth_white(most)
