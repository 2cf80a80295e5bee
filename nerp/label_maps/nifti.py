"""NIfTI label maps: the names in the header's extension, and files of several layers."""

from __future__ import annotations

import warnings
import zlib
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import numpy as np

from nerp.errors import VolumeError
from nerp.formats import read_grid
from nerp.headers.nifti import nifti_fields, nifti_place
from nerp.label_maps.layers import from_layers
from nerp.label_maps.stored import CONVERT, StoredMaps, check_voxels, one_line

N_EXTENSION_BYTES = 2**22
"""Longer extensions hold no table of names."""


def read_nifti_labels(path: Path, *, max_voxels: int) -> StoredMaps:
    """A NIfTI file's label maps, with the names that its header tells.

    Args:
        path:       of the file; a fourth axis counts layers.
        max_voxels: a header that promises more is refused before its data is touched.

    Raises:
        VolumeError: as `read_grid`, or layers that cannot be told apart.
    """
    shape, names = nifti_header(path)
    if len(shape) <= 3 or set(shape[3:]) == {1}:
        values, affine = read_grid(path, max_voxels=max_voxels)
        return StoredMaps([values], affine, names)
    check_voxels(path, shape, max_voxels)
    image = _opened(path)
    layers = np.asarray(_voxels(path, image)).reshape(*shape[:3], -1)
    place, _ = nifti_place(path, nifti_fields(path), shape)
    maps = from_layers(path, lambda number: layers[..., number], layers.shape[3], max_voxels=max_voxels)
    return StoredMaps(maps, place.affine, names)


def nifti_header(path: Path) -> tuple[tuple[int, ...], dict[int, str]]:
    """Counts along all axes, and the names of label values, without the voxels.

    Raises:
        VolumeError: not NIfTI.
    """
    image = _opened(path)
    texts = [extension.get_content() for extension in image.header.extensions]
    texts = [text.encode() if isinstance(text, str) else text for text in texts]
    tables = [_names(text) for text in texts if isinstance(text, bytes) and len(text) <= N_EXTENSION_BYTES]
    return tuple(map(int, image.shape)), next((names for names in tables if names), {})


def _opened(path: Path) -> Any:
    import nibabel

    damaged = (nibabel.filebasedimages.ImageFileError, nibabel.spatialimages.HeaderDataError, OSError, EOFError)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", UserWarning)  # extensions of odd lengths
            return nibabel.load(path)
    except (*damaged, ValueError, zlib.error) as error:
        raise VolumeError(f"{path}: cannot be read as NIfTI ({one_line(error)}); fetch or write it again") from error


def _voxels(path: Path, image: Any) -> np.ndarray:
    if image.get_data_dtype().kind not in "iuf":
        raise VolumeError(f"{path}: holds {image.get_data_dtype()} voxels; expected one label each: {CONVERT}")
    try:
        proxy = image.dataobj
        return proxy.get_unscaled() if (proxy.slope, proxy.inter) == (1, 0) else image.get_fdata(dtype=np.float32)
    except (OSError, EOFError, ValueError, OverflowError, zlib.error) as error:
        raise VolumeError(f"{path}: cannot be read as NIfTI ({one_line(error)}); fetch or write it again") from error


def _names(content: bytes) -> dict[int, str]:
    """Names of a `LabelTable` as Connectome Workbench and TotalSegmentator write it; none of anything else."""
    text = content.strip(b"\0 \r\n\t")
    if b"LabelTable" not in text or b"<!DOCTYPE" in text or b"<!ENTITY" in text:
        return {}
    try:
        labels = list(ElementTree.fromstring(text).iter("Label"))
    except ElementTree.ParseError:
        return {}
    keys = [(label.get("Key", ""), (label.text or "").strip()) for label in labels]
    return {int(key): name for key, name in keys if key.isdecimal() and len(key) <= 8 and int(key) > 0 and name}
