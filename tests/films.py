"""Writes small radiographs in DICOM, so that the tests need none from outside."""

from pathlib import Path

import numpy as np
from dicom_series import write_slice

DX = "1.2.840.10008.5.1.4.1.1.1.1"
NO_SLICE = dict.fromkeys(("PixelSpacing", "ImagePositionPatient", "ImageOrientationPatient"))
NO_SLICE |= dict.fromkeys(("RescaleSlope", "RescaleIntercept"))
FILM = {"SOPClassUID": DX, "Modality": "DX", "BitsStored": 12, "HighBit": 11, "PixelRepresentation": 0}


def write_film(path: Path, values: np.ndarray, **fields) -> Path:
    """A radiograph of 12 bit: `values` (rows, columns) as stored; `fields` are DICOM keywords of its own."""
    write_slice(path, values, (0, 0, 0), series="1.2", **{**NO_SLICE, **FILM, **fields})
    return path
