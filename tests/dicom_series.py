"""Writes small DICOM series, so that the tests need none from outside."""

from pathlib import Path

import numpy as np
from pydicom.dataset import FileDataset, FileMetaDataset
from pydicom.uid import CTImageStorage, ExplicitVRLittleEndian, generate_uid

NAME = "Doe^Jane"
AXIAL = (1.0, 0.0, 0.0, 0.0, 1.0, 0.0)


def write_slice(path: Path, values: np.ndarray, position, *, series: str, **fields) -> None:
    """One slice: `values` (rows, columns) as stored; `fields` are DICOM keywords that replace the defaults."""
    meta = FileMetaDataset()
    meta.TransferSyntaxUID = ExplicitVRLittleEndian
    meta.MediaStorageSOPClassUID = CTImageStorage
    meta.MediaStorageSOPInstanceUID = generate_uid()
    header = FileDataset(str(path), {}, file_meta=meta, preamble=b"\0" * 128)
    values = values.astype(np.int16)
    defaults = {
        "SOPClassUID": CTImageStorage,
        "SOPInstanceUID": meta.MediaStorageSOPInstanceUID,
        "Modality": "CT",
        "PatientName": NAME,
        "PatientID": "secret-7",
        "PatientBirthDate": "19700101",
        "SeriesInstanceUID": series,
        "Rows": values.shape[0],
        "Columns": values.shape[1],
        "SamplesPerPixel": 1,
        "PhotometricInterpretation": "MONOCHROME2",
        "BitsAllocated": 16,
        "BitsStored": 16,
        "HighBit": 15,
        "PixelRepresentation": 1,
        "PixelSpacing": [2.0, 1.5],
        "ImageOrientationPatient": list(AXIAL),
        "ImagePositionPatient": [float(part) for part in position],
        "RescaleSlope": 1.0,
        "RescaleIntercept": -1024.0,
    }
    for keyword, value in {**defaults, **fields}.items():
        if value is not None:
            setattr(header, keyword, value)
    header.PixelData = values.tobytes()
    header.save_as(path, enforce_file_format=True)


def write_series(folder: Path, hounsfield: np.ndarray, heights_mm=None, *, series: str = "1.2.3", **fields) -> Path:
    """A series of `hounsfield` (slices, rows, columns), 3 mm apart or at `heights_mm`, file names unordered."""
    folder.mkdir(parents=True, exist_ok=True)
    heights_mm = [-40.0 + 3.0 * number for number in range(len(hounsfield))] if heights_mm is None else heights_mm
    for number, (plane, height) in enumerate(zip(hounsfield, heights_mm, strict=True)):
        name = f"{(number * 7) % 101:03d}-{series[-1]}.dcm"
        write_slice(folder / name, plane + 1024, (-20.0, -30.0, height), series=series, **fields)
    return folder
