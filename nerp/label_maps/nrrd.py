"""Segmentations of 3D Slicer: `.seg.nrrd` with names, values and layers in the header; other NRRD and MetaImage."""

from __future__ import annotations

import logging
import re
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from nerp.errors import VolumeError
from nerp.formats import RAS_FROM_LPS, itk_reader, read_grid
from nerp.label_maps.layers import free_values, from_layers
from nerp.label_maps.stored import StoredMaps, Structure, check_voxels, one_line, pack
from nerp.volume import check_label_values

log = logging.getLogger(__name__)

MOST_SEGMENTS = 10_000


@dataclass(frozen=True)
class Segment:
    """A segment as the header of a `.seg.nrrd` describes it.

    Args:
        name:  of the structure.
        value: in the voxels of its layer.
        layer: of the file, from 0.
    """

    name: str
    value: int
    layer: int


def read_itk_labels(path: Path, *, max_voxels: int) -> StoredMaps:
    """Label maps of a NRRD or MetaImage file, with the names that its header tells.

    A value that two segments have in different layers stays with the first; the other gets a new one, and a
    warning says so.

    Args:
        path:       of the file.
        max_voxels: a header that promises more is refused before its data is touched.

    Raises:
        VolumeError: as `read_grid`, a header that contradicts itself, or layers that cannot be told apart.
    """
    header = itk_reader(path)
    n_layers, segments = header.GetNumberOfComponents(), segments_of(path, header)
    _check_segments(path, segments, n_layers)
    if n_layers == 1 and (header.GetDimension() <= 3 or set(header.GetSize()[3:]) == {1}):
        values, affine = read_grid(path, max_voxels=max_voxels)
        return StoredMaps([values], affine, _names(segments, {segment: segment.value for segment in segments}))
    layers, affine = _read_layers(path, header, max_voxels)
    if not segments:
        maps = from_layers(path, lambda number: layers[..., number], layers.shape[3], max_voxels=max_voxels)
        return StoredMaps(maps, affine)
    values_of = _values(path, segments)
    structures = _structures(path, layers, segments, values_of)
    maps = pack(path, structures, layers.shape[:3], max_voxels=max_voxels)
    return StoredMaps(maps, affine, _names(segments, values_of))


def segments_of(path: Path, header: Any) -> list[Segment]:
    """The segments that a header describes, in its order; those of files before Slicer 4.11 one a layer.

    Args:
        path:   as messages name it.
        header: as of `itk_reader`.

    Raises:
        VolumeError: a value or layer that is no whole number.
    """
    keys = [key for key in header.GetMetaDataKeys() if key.startswith("Segment") and key.isascii()]
    fields = {key: header.GetMetaData(key) for key in keys}
    numbers = {int(match[1]) for key in fields if (match := re.match(r"Segment(\d{1,6})_", key))}
    if len(numbers) > MOST_SEGMENTS:
        raise VolumeError(f"{path}: its header names {len(numbers)} segments, the limit is {MOST_SEGMENTS}")
    is_layered, found = header.GetNumberOfComponents() > 1, []
    for number in sorted(numbers):
        name = fields.get(f"Segment{number}_Name", fields.get(f"Segment{number}_ID", f"segment {number}"))
        has_value = f"Segment{number}_LabelValue" in fields
        layer = _whole(path, fields, f"Segment{number}_Layer", number if is_layered and not has_value else 0)
        value = _whole(path, fields, f"Segment{number}_LabelValue", 1 if is_layered else number + 1)
        found.append(Segment(name.strip(), value, layer))
    return found


def _whole(path: Path, fields: Mapping[str, str], key: str, default: int) -> int:
    text = fields.get(key, str(default)).strip()
    if not re.fullmatch(r"\d{1,8}", text, re.ASCII):
        raise VolumeError(
            f"{path}: its header has {key} {text[:40]!r}; expected a whole number: save it again in 3D Slicer"
        )
    return int(text)


def _check_segments(path: Path, segments: list[Segment], n_layers: int) -> None:
    for segment in segments:
        if segment.layer >= n_layers or segment.value == 0:
            place = f"value {segment.value}, layer {segment.layer} of {n_layers}"
            raise VolumeError(f"{path}: its header puts {segment.name!r} at {place}; save it again in 3D Slicer")
    counts = Counter((segment.value, segment.layer) for segment in segments)
    twice = [segment.name for segment in segments if counts[segment.value, segment.layer] > 1]
    if twice:
        raise VolumeError(f"{path}: its header gives one value to {', '.join(twice[:8])}; save it again in 3D Slicer")


def _read_layers(path: Path, header: Any, max_voxels: int) -> tuple[np.ndarray, np.ndarray]:
    """Values (I, J, K, layers) and the affine (4, 4) to RAS+ mm."""
    import SimpleITK as sitk

    size, n_components = header.GetSize(), header.GetNumberOfComponents()
    if len(size) not in (3, 4) or (len(size) == 4 and n_components > 1):
        raise VolumeError(
            f"{path}: is {len(size)}-D; expected three axes and layers: save it as .seg.nrrd in 3D Slicer"
        )
    check_voxels(path, (*size, n_components), max_voxels)
    try:
        image = header.Execute()
    except RuntimeError as error:
        raise VolumeError(f"{path}: cannot be read ({one_line(error)}); fetch or write it again") from error
    values = sitk.GetArrayViewFromImage(image)
    values = values.transpose(2, 1, 0, 3) if n_components > 1 else values.transpose(3, 2, 1, 0)
    lps = np.eye(4)
    lps[:3, :3] = np.reshape(image.GetDirection(), (len(size), -1))[:3, :3] * image.GetSpacing()[:3]
    lps[:3, 3] = image.GetOrigin()[:3]
    return np.array(values), RAS_FROM_LPS @ lps


def _values(path: Path, segments: list[Segment]) -> dict[Segment, int]:
    """A value of its own for each segment."""
    values: dict[Segment, int] = {}
    free = free_values({segment.value for segment in segments})
    for segment in segments:
        taken = segment.value in values.values()
        values[segment] = next(free) if taken else segment.value
        if taken:
            told = f"{segment.name!r} has the value {segment.value} of another layer's segment"
            log.warning("%s: %s; it is label %d here", path, told, values[segment])
    return values


def _structures(
    path: Path, layers: np.ndarray, segments: list[Segment], values_of: Mapping[Segment, int]
) -> Iterator[Structure]:
    for number in range(layers.shape[3]):
        check_label_values(path, layers[..., number], may_be_empty=True)
    for segment in segments:
        yield values_of[segment], layers[..., segment.layer] == segment.value
    used = set(values_of.values())
    for number in range(layers.shape[3]):
        described = {segment.value for segment in segments if segment.layer == number}
        for value in sorted(set(np.unique(layers[..., number]).tolist()) - described - {0}):
            own = int(value) if value not in used else next(free_values(used))
            used.add(own)
            log.warning(
                "%s: value %d of layer %d is no segment of the header; it is label %d", path, value, number, own
            )
            yield own, layers[..., number] == value


def _names(segments: list[Segment], values: Mapping[Segment, int]) -> dict[int, str]:
    return {values[segment]: segment.name for segment in segments}
