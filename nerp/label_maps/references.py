"""Whether DICOM labels were drawn on a DICOM CT: by the frame of reference that both name."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from nerp.label_maps.dicom_kind import dicom_header, dicom_kind

TAGS = ["FrameOfReferenceUID", "ReferencedFrameOfReferenceSequence", "StructureSetROISequence"]


def check_references(labels: str | Path, ct: str | Path) -> list[str]:
    """What speaks against DICOM labels being a DICOM CT's; nothing where either is of another kind.

    Args:
        labels: a DICOM SEG or RTSTRUCT, or a folder that holds one.
        ct:     a DICOM file, or a folder of slices.

    Returns:
        One line where the labels name frames of reference, and the CT's is none of them.
    """
    own, theirs = _frames(Path(labels), ("SEG", "RTSTRUCT")), _frames(Path(ct), ("CT",))
    if not own or not theirs or own & theirs:
        return []
    return ["drawn in another frame of reference than the CT's; check that both are of one scan"]


def _frames(path: Path, kinds: tuple[str, ...]) -> set[str]:
    """Frames of reference of the first file of these kinds."""
    files = sorted(path.iterdir()) if path.is_dir() else [path]
    first = next((file for file in files if file.is_file() and dicom_kind(file) in kinds), None)
    return set() if first is None else _named(dicom_header(first, tags=TAGS))


def _named(header: Any) -> set[str]:
    regions = header.get("StructureSetROISequence") or []
    found = {str(region.get("ReferencedFrameOfReferenceUID") or "") for region in regions}
    places = [header, *(header.get("ReferencedFrameOfReferenceSequence") or [])]
    return (found | {str(place.get("FrameOfReferenceUID") or "") for place in places}) - {""}
