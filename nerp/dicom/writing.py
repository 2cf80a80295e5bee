"""Synthetic radiographs as DICOM: Digital X-Ray Image Storage, with nothing of a patient and all that is known.

The same image with the same origin gives the same bytes, unique identifiers included.
"""

from __future__ import annotations

import logging
from dataclasses import dataclass, replace
from hashlib import sha256
from pathlib import Path
from typing import Any

import numpy as np

from nerp.dicom.acquisition import Acquisition, exposure, panel, positioning
from nerp.dicom.encoding import encoded, unique_identifier
from nerp.errors import DataError, UsageError
from nerp.files import write_bytes

FOR_PRESENTATION = "1.2.840.10008.5.1.4.1.1.1.1"
FOR_PROCESSING = "1.2.840.10008.5.1.4.1.1.1.1.1"
"""Digital X-Ray Image Storage (DICOM PS3.4, B.5)."""

BITS = (8, 10, 12, 14, 16)
POLARITIES = {"MONOCHROME2": "IDENTITY", "MONOCHROME1": "INVERSE"}
"""Whether the largest number is white or black, and the PresentationLUTShape that goes with it."""

FULL_SIGNAL = 1.25
"""Signal, in open fields, that the largest number of a radiograph FOR PROCESSING stands for."""

LARGEST_SATURATED = 1e-3
"""Part of a signal that may lie beyond that without a warning."""

ROUNDING = 1e-4
"""How far beyond 0 to 1 an image may reach by rounding alone."""

EMPTY = (
    "PatientName",
    "PatientBirthDate",
    "PatientSex",
    "StudyDate",
    "StudyTime",
    "AccessionNumber",
    "ReferringPhysicianName",
    "AcquisitionContextSequence",
)
"""What has to be there and is not known, or is nobody's."""


@dataclass(frozen=True)
class Origin:
    """What a radiograph was made of; its identifiers follow from this and from nothing else.

    Args:
        subject: stands for the CT, such as the hash of its file: radiographs of one CT are one patient's and study's.
        record:  stands for the image, such as the hash of its record.
        maker:   the program and its version, such as `nerp 0.1.0`.
        note:    how it was made, in a sentence.
        patient: stands for the patient, where several CTs may be one's; empty: each CT is a patient's of its own.

    Raises:
        UsageError: an empty subject, record or maker: images would share identifiers.
    """

    subject: str
    record: str
    maker: str
    note: str = ""
    patient: str = ""

    def __post_init__(self) -> None:
        for name in ("subject", "record", "maker"):
            if not getattr(self, name).strip():
                raise UsageError(f"{name} of a radiograph's origin is empty; expected what tells it from all others")


def write_dx(
    path: str | Path,
    image: np.ndarray,
    *,
    acquisition: Acquisition,
    origin: Origin,
    bits: int = 12,
    polarity: str = "MONOCHROME2",
) -> None:
    """Write a radiograph that is made to be looked at: Digital X-Ray Image Storage - For Presentation.

    Args:
        path:        of the file, whole or absent.
        image:       (H, W) as shown, 0 black to 1 white, bone bright.
        acquisition: how it was taken.
        origin:      what it was made of.
        bits:        8, 10, 12, 14 or 16; the window is the whole of them.
        polarity:    `MONOCHROME2`, or `MONOCHROME1`, whose numbers are inverted.

    Raises:
        UsageError: other bits or another polarity.
        DataError:  no image of two sides, values that are not finite or beyond 0 to 1.
    """
    _check_choice(bits, polarity)
    values = _plane(image)
    if values.min() < -ROUNDING or values.max() > 1 + ROUNDING:
        found = f"from {values.min():g} to {values.max():g}"
        raise DataError(f"a radiograph to be shown has values {found}; expected 0 to 1: develop it first")
    is_inverted = polarity == "MONOCHROME1"
    shown = values.clip(0.0, 1.0)
    stored = np.rint((1 - shown if is_inverted else shown) * (2**bits - 1))
    specific = {
        "PresentationIntentType": "FOR PRESENTATION",
        "PixelIntensityRelationship": "LOG",
        "PixelIntensityRelationshipSign": 1 if is_inverted else -1,
        "WindowCenter": 2 ** (bits - 1),
        "WindowWidth": 2**bits,
    }
    header = {**_header(FOR_PRESENTATION, acquisition, origin), **_layout(stored.shape, bits, polarity), **specific}
    write_bytes(path, encoded(header, stored))


def write_raw_dx(
    path: str | Path, signal: np.ndarray, *, acquisition: Acquisition, origin: Origin, bits: int = 14
) -> None:
    """Write what the detector read: Digital X-Ray Image Storage - For Processing, linear in the X-rays.

    Args:
        path:        of the file, whole or absent.
        signal:      (H, W), at least 0, relative to the open field; beyond `FULL_SIGNAL` it is saturated.
        acquisition: how it was taken.
        origin:      what it was made of.
        bits:        8, 10, 12, 14 or 16.

    Raises:
        UsageError: other bits.
        DataError:  no image of two sides, values that are not finite or below 0.
    """
    _check_choice(bits, "MONOCHROME1")
    values = _plane(signal)
    if values.min() < 0:
        raise DataError(f"a detector's signal goes down to {values.min():g}; expected at least 0: clamp it first")
    saturated = float((values > FULL_SIGNAL).mean())
    if saturated > LARGEST_SATURATED:
        told = "%s: %.1f %% of the signal is beyond %g of the open field, and saturated"
        logging.getLogger(__name__).warning(told, path, 100 * saturated, FULL_SIGNAL)
    stored = np.rint((values / FULL_SIGNAL).clip(0.0, 1.0) * (2**bits - 1))
    specific = {
        "PresentationIntentType": "FOR PROCESSING",
        "PixelIntensityRelationship": "LIN",
        "PixelIntensityRelationshipSign": 1,
    }
    layout = _layout(stored.shape, bits, "MONOCHROME1")
    header = _header(FOR_PROCESSING, acquisition, replace(origin, note=f"{origin.note} {_scale(bits)}".strip()))
    write_bytes(path, encoded({**header, **layout, **specific}, stored))


def _check_choice(bits: int, polarity: str) -> None:
    if bits not in BITS:
        raise UsageError(f"a radiograph of {bits} bits; expected one of {', '.join(map(str, BITS))}")
    if polarity not in POLARITIES:
        raise UsageError(f"polarity is {polarity!r}; expected one of {', '.join(POLARITIES)}")


def _plane(image: np.ndarray) -> np.ndarray:
    values = np.asarray(image, np.float64)
    if values.ndim != 2 or not values.size or max(values.shape) > 65535:
        raise DataError(f"a radiograph has shape {values.shape}; expected (H, W), 65535 at most")
    if not np.isfinite(values).all():
        raise DataError("a radiograph holds values that are not finite; expected numbers: make it again")
    return values


def _scale(bits: int) -> str:
    return f"The open field is {round((2**bits - 1) / FULL_SIGNAL)}."


def _header(storage: str, taken: Acquisition, origin: Origin) -> dict[str, Any]:
    """All modules but those of the pixels."""
    whole = f"{storage} {origin.subject} {origin.record}"
    return {
        "SOPClassUID": storage,
        "SOPInstanceUID": unique_identifier("image", whole),
        "StudyInstanceUID": unique_identifier("study", origin.subject),
        "SeriesInstanceUID": unique_identifier("series", whole),
        **dict.fromkeys(EMPTY, ""),
        **_description(taken, origin),
        **positioning(taken),
        **exposure(taken),
        **panel(taken),
    }


def _description(taken: Acquisition, origin: Origin) -> dict[str, Any]:
    made = f"SYNTHETIC. Simulated from CT by {origin.maker}; no patient was exposed. {origin.note}"
    subject = sha256(f"nerp patient {origin.subject}".encode()).hexdigest()[:16]
    patient = sha256(f"nerp patient {origin.patient or origin.subject}".encode()).hexdigest()[:16]
    return {
        "SpecificCharacterSet": "ISO_IR 192",
        "Modality": "DX",
        "PatientID": f"SYNTHETIC-{patient}",
        "StudyID": subject,
        "StudyDescription": "SYNTHETIC chest radiographs",
        "SeriesDescription": f"SYNTHETIC chest {taken.view}",
        "SeriesNumber": 1,
        "InstanceNumber": 1,
        "AcquisitionNumber": 1,
        "Manufacturer": "nerp",
        "ManufacturerModelName": "simulated",
        "SoftwareVersions": origin.maker[:64],
        "ImageType": ["DERIVED", "PRIMARY"],
        "DerivationDescription": made.strip()[:1024],
        "ImageComments": "SYNTHETIC",
        "BurnedInAnnotation": "NO",
        "LossyImageCompression": "00",
    }


def _layout(shape: tuple[int, ...], bits: int, polarity: str) -> dict[str, Any]:
    return {
        "SamplesPerPixel": 1,
        "PhotometricInterpretation": polarity,
        "PresentationLUTShape": POLARITIES[polarity],
        "Rows": shape[0],
        "Columns": shape[1],
        "BitsAllocated": 8 if bits == 8 else 16,
        "BitsStored": bits,
        "HighBit": bits - 1,
        "PixelRepresentation": 0,
        "RescaleIntercept": 0,
        "RescaleSlope": 1,
        "RescaleType": "US",
    }
