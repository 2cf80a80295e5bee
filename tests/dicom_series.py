"""Writes small DICOM series, so that the tests need none from outside."""

from pathlib import Path

import numpy as np
from pydicom.dataset import Dataset, FileDataset, FileMetaDataset
from pydicom.sequence import Sequence
from pydicom.uid import CTImageStorage, EnhancedCTImageStorage, ExplicitVRLittleEndian, generate_uid

NAME = "Doe^Jane"
AXIAL = (1.0, 0.0, 0.0, 0.0, 1.0, 0.0)


def write_slice(path: Path, values: np.ndarray, position, *, series: str, syntax=ExplicitVRLittleEndian, **fields):
    """One slice: `values` (rows, columns) as stored; `fields` are DICOM keywords that replace the defaults."""
    meta = FileMetaDataset()
    meta.TransferSyntaxUID = syntax
    meta.MediaStorageSOPClassUID = CTImageStorage
    meta.MediaStorageSOPInstanceUID = generate_uid()
    order = {"is_implicit_VR": syntax.is_implicit_VR, "is_little_endian": syntax.is_little_endian}
    header = FileDataset(str(path), {}, file_meta=meta, preamble=b"\0" * 128, **order)
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
    header.PixelData = values.astype(values.dtype if syntax.is_little_endian else ">i2").tobytes()
    header["PixelData"].VR = "OW"
    header.save_as(path, enforce_file_format=True)


def item(**fields) -> Dataset:
    """A part of a header that holds the given DICOM keywords."""
    data = Dataset()
    for keyword, value in fields.items():
        setattr(data, keyword, value)
    return data


def write_enhanced(path: Path, hounsfield: np.ndarray, positions, *, scales=None, series: str = "1.2.9", **fields):
    """An enhanced CT of `hounsfield` (frames, rows, columns); `scales` are each frame's own (slope, intercept)."""
    path.parent.mkdir(parents=True, exist_ok=True)
    scales = scales or [(1.0, -1024.0)] * len(hounsfield)
    frames = [
        item(
            PlanePositionSequence=Sequence([item(ImagePositionPatient=[float(part) for part in position])]),
            PixelValueTransformationSequence=Sequence(
                [item(RescaleSlope=slope, RescaleIntercept=intercept, RescaleType="HU")]
            ),
        )
        for position, (slope, intercept) in zip(positions, scales, strict=True)
    ]
    shared = item(
        PixelMeasuresSequence=Sequence([item(PixelSpacing=[2.0, 1.5])]),
        PlaneOrientationSequence=Sequence([item(ImageOrientationPatient=list(AXIAL))]),
    )
    stored = np.stack([(plane - b) / a for plane, (a, b) in zip(hounsfield, scales, strict=True)])
    outer = dict.fromkeys(("PixelSpacing", "ImagePositionPatient", "ImageOrientationPatient"))
    outer |= dict.fromkeys(("RescaleSlope", "RescaleIntercept"))
    groups = {
        "SharedFunctionalGroupsSequence": Sequence([shared]),
        "PerFrameFunctionalGroupsSequence": Sequence(frames),
    }
    counts = {"Rows": stored.shape[1], "Columns": stored.shape[2], "NumberOfFrames": len(stored)}
    given = {"SOPClassUID": EnhancedCTImageStorage, **outer, **groups, **counts, **fields}
    write_slice(path, stored.reshape(-1, stored.shape[2]), (0, 0, 0), series=series, **given)
    return path


def without_meta(path: Path, keep: int = 0) -> Path:
    """Cut a slice's preamble and meta group away, or all but the first `keep` bytes of them."""
    content = path.read_bytes()
    start = 144 + int.from_bytes(content[140:144], "little")
    path.write_bytes(content[:keep] + content[start:])
    return path


def write_series(folder: Path, hounsfield: np.ndarray, heights_mm=None, *, series: str = "1.2.3", **fields) -> Path:
    """A series of `hounsfield` (slices, rows, columns), 3 mm apart or at `heights_mm`, file names unordered."""
    folder.mkdir(parents=True, exist_ok=True)
    heights_mm = [-40.0 + 3.0 * number for number in range(len(hounsfield))] if heights_mm is None else heights_mm
    for number, (plane, height) in enumerate(zip(hounsfield, heights_mm, strict=True)):
        name = f"{(number * 7) % 101:03d}-{series[-1]}.dcm"
        write_slice(folder / name, plane + 1024, (-20.0, -30.0, height), series=series, **fields)
    return folder
