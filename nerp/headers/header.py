"""The promise of a file, whatever its format."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from nerp.headers.place import Place

RAW, GZIP, ZLIB, TEXT = "raw", "gzip", "zlib", "text"


@dataclass(frozen=True)
class Header:
    """What a file says of itself.

    Args:
        format:      `NIfTI`, `NRRD` or `MetaImage`.
        shape:       counts along each axis, singletons and components included.
        voxel_bytes: of one number, decompressed.
        voxel_kind:  numpy's letter of the type: `i`, `u`, `f`, or another for what is no real number.
        data:        the file that holds the voxels; None where several do.
        offset:      bytes before the first voxel, after decompression; None where the voxels end the file.
        packing:     how the voxels are stored: `RAW`, `GZIP`, `ZLIB` or `TEXT`.
        place:       as far as the header alone tells it; the affine is to be taken from the reader where None.
        unknown:     what the header leaves open of orientation and voxel size.
        reason:      how that shows.
        mm_per_unit: mm in the header's unit of length.
        start:       bytes before the packed voxels, where they follow a header in the same file.
    """

    format: str
    shape: tuple[int, ...]
    voxel_bytes: int
    voxel_kind: str
    data: Path | None
    offset: int | None
    packing: str
    place: Place | None = None
    unknown: tuple[str, ...] = ()
    reason: str = ""
    mm_per_unit: float = 1.0
    start: int = 0
