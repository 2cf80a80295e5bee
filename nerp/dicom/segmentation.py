"""Masks of a radiograph as a DICOM segmentation: a segment a mask, each pixel on the pixel of the image it is of.

The same image with the same masks gives the same bytes, unique identifiers included. The standard wants a date and a
time of the content; as nobody's day is meant, they are the first there are (`NO_DATE`).
"""

from __future__ import annotations

import csv
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from importlib.resources import files as package_files
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from nerp.dicom.acquisition import SCT, coded
from nerp.dicom.encoding import encoded, unique_identifier
from nerp.errors import DataError
from nerp.files import write_bytes
from nerp.label_names import superclasses_of

if TYPE_CHECKING:
    from pydicom import Dataset

SEGMENTATION = "1.2.840.10008.5.1.4.1.1.66.4"
"""Segmentation Storage (DICOM PS3.4, B.5)."""
NO_DATE, NO_TIME = "19000101", "000000"
ANATOMY = ("91723000", SCT, "Anatomical Structure")
"""CID 7150, Segmentation Property Category; as the type, for structures that no code is known of."""
SEGMENTATION_STEP = ("113076", "DCM", "Segmentation")
SOURCE_IMAGE = ("121322", "DCM", "Source Image for Image Processing Operation")
SEGMENT_NUMBER, SEGMENT_SEQUENCE = 0x0062000B, 0x0062000A
OF_THE_IMAGE = (
    *("PatientName", "PatientID", "PatientBirthDate", "PatientSex", "StudyInstanceUID", "StudyDate", "StudyTime"),
    *("StudyID", "StudyDescription", "AccessionNumber", "ReferringPhysicianName", "Manufacturer"),
    *("ManufacturerModelName", "SoftwareVersions", "BodyPartExamined", "SpecificCharacterSet", "PatientOrientation"),
)
"""What a segmentation repeats of its image."""


@dataclass(frozen=True)
class Segment:
    """A mask with its name.

    Args:
        name:   as people call it.
        parts:  names of the labels that it is the union of, by which its code is found; none: its own name.
        pixels: (H, W) bool.
    """

    name: str
    parts: tuple[str, ...]
    pixels: np.ndarray


def write_seg(path: str | Path, segments: Sequence[Segment], *, image: str | Path, maker: str) -> None:
    """Write masks of a radiograph: Segmentation Storage, binary; a frame for each, empty ones, too.

    Args:
        path:     of the file, whole or absent.
        segments: one or more; they may overlap.
        image:    file of the radiograph that they are of, whose patient and study they share.
        maker:    the program and its version.

    Raises:
        DataError: no segment, or one of another shape than the image.
    """
    from pydicom import dcmread

    of = dcmread(image, stop_before_pixels=True)
    shape = int(of.Rows), int(of.Columns)
    wrong = [one for one in segments if one.pixels.shape != shape]
    if wrong or not segments:
        found = f"mask {wrong[0].name!r} of {wrong[0].pixels.shape}" if wrong else "no mask"
        raise DataError(f"{path}: {found} for an image of {shape} pixels; expected one or more of its shape")
    stack = np.stack([np.asarray(one.pixels, bool) for one in segments])
    write_bytes(path, encoded({**_header(of, maker), **_frames(of, len(stack)), **_segments(segments, stack)}, stack))


def _header(of: Dataset, maker: str) -> dict[str, Any]:
    """Patient, study, series, equipment and what the segmentation refers to."""
    whole = str(of.SOPInstanceUID)
    instance = {"ReferencedSOPClassUID": str(of.SOPClassUID), "ReferencedSOPInstanceUID": whole}
    series = {"SeriesInstanceUID": str(of.SeriesInstanceUID), "ReferencedInstanceSequence": [instance]}
    return {
        **{key: of.get(key) for key in OF_THE_IMAGE if key in of},
        "SOPClassUID": SEGMENTATION,
        "SOPInstanceUID": unique_identifier("segmentation", whole),
        "SeriesInstanceUID": unique_identifier("segmentation series", whole),
        "Modality": "SEG",
        "SeriesNumber": 2,
        "SeriesDescription": f"SYNTHETIC masks of {of.get('SeriesDescription', 'a radiograph')}"[:64],
        "InstanceNumber": 1,
        "ContentDate": NO_DATE,
        "ContentTime": NO_TIME,
        "DeviceSerialNumber": "0",
        "SoftwareVersions": maker[:64],
        "ImageType": ["DERIVED", "PRIMARY"],
        "LossyImageCompression": "00",
        "BurnedInAnnotation": "NO",
        "ContentLabel": "MASKS",
        "ContentDescription": "Masks by the same rays as the image",
        "ContentCreatorName": "",
        "ReferencedSeriesSequence": [series],
    }


def _frames(of: Dataset, count: int) -> dict[str, Any]:
    """Pixels and functional groups: a frame a segment."""
    organisation = unique_identifier("dimensions", str(of.SOPInstanceUID))
    index = {
        "DimensionOrganizationUID": organisation,
        "DimensionIndexPointer": SEGMENT_NUMBER,
        "FunctionalGroupPointer": SEGMENT_SEQUENCE,
        "DimensionDescriptionLabel": "Segment Number",
    }
    return {
        "SamplesPerPixel": 1,
        "PhotometricInterpretation": "MONOCHROME2",
        "NumberOfFrames": count,
        "Rows": int(of.Rows),
        "Columns": int(of.Columns),
        "BitsAllocated": 1,
        "BitsStored": 1,
        "HighBit": 0,
        "PixelRepresentation": 0,
        "DimensionOrganizationSequence": [{"DimensionOrganizationUID": organisation}],
        "DimensionIndexSequence": [index],
        "SharedFunctionalGroupsSequence": [{}],
        "PerFrameFunctionalGroupsSequence": [_frame(of, number) for number in range(1, count + 1)],
    }


def _frame(of: Dataset, number: int) -> dict[str, Any]:
    return {
        "DerivationImageSequence": [_derivation(of)],
        "FrameContentSequence": [{"DimensionIndexValues": [number]}],
        "SegmentIdentificationSequence": [{"ReferencedSegmentNumber": number}],
    }


def _derivation(of: Dataset) -> dict[str, Any]:
    source = {
        "ReferencedSOPClassUID": str(of.SOPClassUID),
        "ReferencedSOPInstanceUID": str(of.SOPInstanceUID),
        "SpatialLocationsPreserved": "YES",
        "PurposeOfReferenceCodeSequence": [coded(SOURCE_IMAGE)],
    }
    return {"SourceImageSequence": [source], "DerivationCodeSequence": [coded(SEGMENTATION_STEP)]}


def _segments(segments: Sequence[Segment], stack: np.ndarray) -> dict[str, Any]:
    described = [
        {
            "SegmentNumber": number,
            "SegmentLabel": one.name[:64],
            "SegmentAlgorithmType": "AUTOMATIC",
            "SegmentAlgorithmName": "nerp projection of labels",
            **structure_codes(one.parts or (one.name,)),
        }
        for number, one in enumerate(segments, start=1)
    ]
    overlaps = "YES" if (stack.sum(axis=0) > 1).any() else "NO"
    return {"SegmentationType": "BINARY", "SegmentsOverlap": overlaps, "SegmentSequence": described}


def structure_codes(names: Sequence[str]) -> dict[str, Any]:
    """What a structure is, in SNOMED CT: category, type and side.

    Args:
        names: of its parts; it is called what all of them belong to, and else an anatomical structure.
    """
    common = set.intersection(*(set(superclasses_of(name)) for name in names)) if names else set()
    row = next((one for one in _table() if one["superclass"] in common), None)
    if row is None:
        common_codes: Mapping[str, Any] = {"SegmentedPropertyCategoryCodeSequence": [coded(ANATOMY)]}
        return {**common_codes, "SegmentedPropertyTypeCodeSequence": [coded(ANATOMY)]}
    kind = coded((row["type"], SCT, row["type_meaning"]))
    if row["side"]:
        kind["SegmentedPropertyTypeModifierCodeSequence"] = [coded((row["side"], SCT, row["side_meaning"]))]
    category = coded((row["category"], SCT, row["category_meaning"]))
    return {"SegmentedPropertyCategoryCodeSequence": [category], "SegmentedPropertyTypeCodeSequence": [kind]}


@cache
def _table() -> tuple[dict[str, str], ...]:
    """Superclasses of structures and their codes, the narrowest first.

    Source: DICOM PS3.16, CID 7150, 7151, 244 and 645, edition 2024.
    """
    text = (package_files("nerp.dicom") / "tables" / "structures.csv").read_text(encoding="utf-8")
    return tuple(csv.DictReader(text.splitlines()))
