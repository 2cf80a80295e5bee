"""The bytes of a DICOM file that is written here: plain values under keywords, and pixels."""

from __future__ import annotations

import io
import uuid
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from pydicom import Dataset


def unique_identifier(kind: str, name: str) -> str:
    """A UID that follows from a name alone, below 2.25.

    Args:
        kind: what it identifies, such as `study`; the same name may serve several kinds.
        name: of the thing.

    Source: DICOM PS3.5, B.2: an UUID as one whole number; name-based UUID, RFC 9562, 5.5.
    """
    return f"2.25.{uuid.uuid5(uuid.NAMESPACE_OID, f'nerp {kind} {name}').int}"


def encoded(header: Mapping[str, Any], stored: np.ndarray) -> bytes:
    """A whole DICOM file, explicit little endian; equal arguments give equal bytes.

    Args:
        header: keywords with their values: None leaves a tag out, a list of mappings is a sequence.
        stored: (H, W) whole numbers within `BitsAllocated`: 0 to 255, or 0 to 65535; or (N, H, W) frames of bool,
            packed into bits, the lowest of each byte first, frames not aligned to bytes (PS3.5, 8.1.1).
    """
    from pydicom.dataset import FileDataset, FileMetaDataset
    from pydicom.uid import UID, ExplicitVRLittleEndian

    meta = FileMetaDataset()
    meta.TransferSyntaxUID = ExplicitVRLittleEndian
    meta.MediaStorageSOPClassUID = UID(header["SOPClassUID"])
    meta.MediaStorageSOPInstanceUID = UID(header["SOPInstanceUID"])
    meta.ImplementationClassUID = UID(unique_identifier("implementation", "nerp"))
    meta.ImplementationVersionName = "NERP"
    buffer = io.BytesIO()
    file = FileDataset(buffer, _dataset(header), file_meta=meta, preamble=b"\0" * 128)
    is_narrow = header["BitsAllocated"] <= 8
    if header["BitsAllocated"] == 1:
        data = np.packbits(stored.astype(bool).ravel(), bitorder="little").tobytes()
    else:
        data = stored.astype(np.uint8 if is_narrow else "<u2").tobytes()
    file.add_new(0x7FE00010, "OB" if is_narrow else "OW", data + b"\0" * (len(data) % 2))
    file.save_as(buffer, enforce_file_format=True)
    return buffer.getvalue()


def _dataset(header: Mapping[str, Any]) -> Dataset:
    """Keywords with their values; None leaves a tag out, lists of mappings are sequences."""
    from pydicom import Dataset

    data = Dataset()
    for keyword, value in header.items():
        if value is not None:
            setattr(data, keyword, _element(value))
    return data


def _element(value: Any) -> Any:
    if isinstance(value, float | np.floating):
        return f"{value:.9g}"
    if isinstance(value, list) and (not value or isinstance(value[0], Mapping)):
        return [_dataset(part) for part in value]
    return [_element(part) for part in value] if isinstance(value, list) else value
