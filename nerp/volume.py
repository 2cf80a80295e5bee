"""Volumes and fields on a grid with an affine: read, write, and the way from HU to attenuation."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from nerp.arguments import tensor_of
from nerp.errors import GeometryError, VolumeError
from nerp.formats import ITK, MAX_VOXELS, NIFTI, check_grid, extension, in_c_order, read_placed, write_grid
from nerp.headers.place import Place, check_spacing, extent_doubt, stated
from nerp.hounsfield import PADDING_BELOW_HU, check_finite, check_hounsfield

_log = logging.getLogger(__name__)

UNITS = ("hu", "1/mm", "label")
COMPACT = {"hu": torch.int16, "label": torch.uint8}
"""Types in which values may be kept as a file stores them."""


@dataclass(frozen=True)
class Volume:
    """Values on a regular grid, with the affine that places it in the patient.

    Args:
        values: (C, D, H, W) tensor or array; HU, 1/mm, or integer-valued labels. Floating point, but that tensors of
                int16 HU and of uint8 labels stay so: see `read_volume`, which says who takes them.
        affine: (4, 4) float64, from voxel index (d, h, w) to world RAS+ mm.
        unit:   `hu`, `1/mm` or `label`.

    Raises:
        GeometryError: wrong shape, unit, or an affine that cannot be inverted.
    """

    values: Tensor
    affine: Tensor
    unit: str = "1/mm"

    def __post_init__(self) -> None:
        if not (isinstance(self.values, Tensor) and self.values.dtype == COMPACT.get(self.unit)):
            object.__setattr__(self, "values", tensor_of("volume values", self.values))
        if self.values.ndim != 4:
            found = tuple(self.values.shape)
            raise GeometryError(f"volume values have shape {found}; expected (C, D, H, W): add the missing axis")
        if self.unit not in UNITS:
            raise GeometryError(f"volume unit is {self.unit!r}; expected one of {', '.join(UNITS)}")
        object.__setattr__(self, "affine", as_affine(self.affine))

    @property
    def shape(self) -> tuple[int, int, int]:
        """Voxel counts (D, H, W)."""
        depth, height, width = self.values.shape[1:]
        return depth, height, width

    @property
    def spacing_mm(self) -> tuple[float, float, float]:
        """Distance between voxel centres along each index axis, mm."""
        first, second, third = self.affine[:3, :3].norm(dim=0).tolist()
        return first, second, third

    def to_world(self, index: Tensor) -> Tensor:
        """(…, 3) world mm of voxel indices (…, 3); float64, differentiable in the index."""
        return index.to(self.affine) @ self.affine[:3, :3].T + self.affine[:3, 3]

    def corners_mm(self) -> Tensor:
        """(8, 3) float64 world mm of the grid's corners, half a voxel outside the outer voxel centres."""
        ends = [torch.tensor([-0.5, count - 0.5], dtype=torch.float64, device="cpu") for count in self.shape]
        return self.to_world(torch.cartesian_prod(*ends))

    def thinned(self, working_mm: float) -> Volume:
        """Every n-th voxel along each axis, `(C, d, h, w)`: about `working_mm` apart, and no finer than they are."""
        steps = [max(1, round(working_mm / side)) for side in self.spacing_mm] if working_mm > 0 else [1, 1, 1]
        if steps == [1, 1, 1]:
            return self
        d, h, w = first = [min(step // 2, count - 1) for step, count in zip(steps, self.shape, strict=True)]
        affine = self.affine.clone()
        affine[:3, :3] *= torch.tensor(steps, dtype=torch.float64, device="cpu")
        affine[:3, 3] = self.to_world(torch.tensor(first, dtype=torch.float64, device="cpu"))
        values = self.values[:, d :: steps[0], h :: steps[1], w :: steps[2]]
        return Volume(values.contiguous(), affine, self.unit)

    def to(self, *args: Any, **kwargs: Any) -> Volume:
        """The same volume with its values (C, D, H, W) moved or cast; the affine stays float64 on the CPU.

        Args:
            *args, **kwargs: as `Tensor.to` takes them: a device, a type, or both.
        """
        return Volume(self.values.to(*args, **kwargs), self.affine, self.unit)


@dataclass(frozen=True)
class Fields:
    """What the mapper makes of a CT: emission of matter, attenuation by opacity.

    Args:
        matter:  (B, D, H, W) emission, unitless, 0 to 1.
        opacity: (B, D, H, W) extinction, 1/mm, >= 0.
        affine:  (4, 4) float64, from voxel index (d, h, w) to world RAS+ mm; shared by the batch.
    """

    matter: Tensor
    opacity: Tensor
    affine: Tensor

    def __post_init__(self) -> None:
        for name in ("matter", "opacity"):
            object.__setattr__(self, name, tensor_of(name, getattr(self, name)))
        if self.matter.ndim != 4 or self.matter.shape != self.opacity.shape:
            found = f"matter {tuple(self.matter.shape)}, opacity {tuple(self.opacity.shape)}"
            raise GeometryError(f"fields have shapes {found}; expected two equal (B, D, H, W)")
        object.__setattr__(self, "affine", as_affine(self.affine))

    @property
    def shape(self) -> tuple[int, int, int]:
        """Voxel counts (D, H, W)."""
        depth, height, width = self.matter.shape[1:]
        return depth, height, width


def as_affine(affine: Tensor | np.ndarray | Sequence[Sequence[float]]) -> Tensor:
    """A (4, 4) float64 CPU tensor of an affine from voxel index to mm.

    Raises:
        GeometryError: another shape, not finite, or not invertible.
    """
    affine = tensor_of("affine", affine).detach().to("cpu", torch.float64)
    if affine.shape != (4, 4):
        raise GeometryError(f"affine has shape {tuple(affine.shape)}; expected (4, 4)")
    if not torch.isfinite(affine).all() or affine[:3, :3].det().abs() < 1e-9:
        raise GeometryError("affine is singular or not finite; expected three independent voxel axes in mm")
    return affine


WATER_PER_MM = 0.0192
"""Linear attenuation of water, 1/mm, at about 70 keV (NIST XCOM: 0.193 /cm at 70 keV)."""


AIR_HU = -1000.0
"""Air, by the definition of the Hounsfield unit."""


def attenuation(volume: Volume) -> Volume:
    """Linear attenuation of a CT from its HU: mu = mu_water (1 + HU / 1000), never negative.

    Args:
        volume: `(C, D, H, W)` in HU.

    Returns:
        The same grid in 1/mm. Differentiable in the values above -1000 HU.

    Raises:
        VolumeError: the volume is not in HU.

    Source: the definition of the Hounsfield unit; water at 70 keV from NIST XCOM.
    """
    if volume.unit != "hu":
        raise VolumeError(f"attenuation() needs a volume in 'hu', found {volume.unit!r}; read it with read_volume")
    hu = volume.values if volume.values.is_floating_point() else volume.values.float()
    values = (hu.clamp(min=AIR_HU) / 1000.0 + 1.0) * WATER_PER_MM
    return Volume(values, volume.affine, "1/mm")


PADDING_HU = -1024.0
"""What stands for padding: the least value that scanners write; all that uses HU takes it for air."""

MAX_LABEL = 2**24
"""Labels at and above it are not exact in float32."""


def read_volume(
    path: str | Path,
    *,
    series: str | int | None = None,
    max_voxels: int = MAX_VOXELS,
    orientation: str | None = None,
    spacing_mm: Sequence[float] | None = None,
    affine: Sequence[float] | None = None,
    rescale: tuple[float, float] | None = None,
    compact: bool = False,
) -> Volume:
    """Read a CT in Hounsfield units; its affine keeps flips, obliques and offsets.

    Args:
        path:        `.nii`, `.nii.gz`, `.hdr` with `.img`, `.nrrd`, `.nhdr`, `.mha`, `.mhd`, a folder of a DICOM
                     series or of folders of them, a DICOMDIR, or an enhanced CT in one DICOM file.
        series:      SeriesNumber, SeriesInstanceUID or a part of the SeriesDescription, where there are several.
        max_voxels:  a header that promises more is refused before its data is read.
        orientation: replaces the file's directions: three letters such as `LPS`, each the direction in which
                     the index of that axis grows, as nibabel's `aff2axcodes` gives them.
        spacing_mm:  replaces the file's voxel sizes: distances along the three index axes, mm.
        affine:      replaces the file's whole place: the upper three rows, one after another, of the matrix from voxel
                     index to RAS+ mm.
        rescale:     slope and intercept that make HU of the numbers as the file gives them.
        compact:     keep int16 as int16, in the file's own order in memory: for `siddon_of_ct`, and all that finds a
                     body or compares values; what calculates with HU needs floating point.

    Returns:
        `(1, D, H, W)` float32 HU, or int16, on the file's own axes. Values below -1100 HU, which scanners fill in
        outside their field of view, become -1024; all others stay as stored (resampled CTs reach
        -1030 or 3080 HU).

    Raises:
        VolumeError: not readable as one 3-D CT: missing, damaged, 4-D, empty, constant, NaN or
            infinite, not HU, incomplete or ambiguous DICOM, too large. Each in one line.
        UsageError: no such orientation or spacing.

    What a file leaves open of its place, and values that are doubtful but may be HU, are warned of in
    one line each. With a stated orientation or spacing the grid keeps its centre where that is known.
    """
    path = Path(path)
    stored, own = _read(path, series=series, max_voxels=max_voxels)
    if rescale is not None:
        stored = rescaled(stored, rescale)
    if affine is not None:
        place = replace(own, affine=np.vstack([np.reshape(affine, (3, 4)), [0, 0, 0, 1]]), unknown=(), remarks=())
    else:
        place = _told(path, own, stored.shape, orientation, spacing_mm)
    return volume_of(path, stored, place, compact=compact)


def rescaled(stored: np.ndarray, told: tuple[float, float]) -> np.ndarray:
    """HU of numbers as a file gives them: int16 where whole numbers of 16 bits become such, else float32.

    Args:
        stored: (D, H, W).
        told:   slope and intercept.
    """
    slope, intercept = told
    if slope == 1 and float(intercept).is_integer() and stored.dtype.kind in "iu" and stored.dtype.itemsize <= 2:
        values = stored.astype(np.int32) + int(intercept)
        if values.min() >= -32768 and values.max() <= 32767:
            return values.astype(np.int16)
    return (stored.astype(np.float32) * np.float32(slope) + np.float32(intercept)).astype(np.float32, copy=False)


def volume_of(path: Path, stored: np.ndarray, place: Place, *, compact: bool = False) -> Volume:
    """A CT of numbers that were read: what surely is no HU is refused, padding made air, doubts warned of.

    Args:
        path:    as messages name it.
        stored:  (D, H, W) HU of any type.
        place:   of the grid.
        compact: keep int16 as int16.

    Returns:
        `(1, D, H, W)` float32 HU, or int16.

    Raises:
        VolumeError: NaN or infinite, not HU, or a place that cannot be.
    """
    values = _kept(stored) if compact else in_c_order(stored, np.float32)
    quick = values if values.flags.c_contiguous else values.T  # as it lies in memory
    check_finite(path, quick)
    for doubt in check_hounsfield(path, quick):
        _log.warning("%s: %s", path, doubt)
    if quick.min() < PADDING_BELOW_HU:
        quick[quick < PADDING_BELOW_HU] = PADDING_HU
    return Volume(torch.from_numpy(values)[None], _placed(path, place.affine), "hu")


def check_volume(path: str | Path, *, series: str | int | None = None, max_voxels: int = MAX_VOXELS) -> None:
    """Prove a CT as far as its headers allow, before long work that will need it: no voxel is decoded.

    Args:
        path:       as for `read_volume`.
        series:     as for `read_volume`.
        max_voxels: as for `read_volume`.

    Raises:
        VolumeError: as `read_volume` would, where headers and sizes of files tell it.
    """
    path = Path(path)
    if _is_dicom(path):
        from nerp.dicom import check_series

        check_series(path, series=series)
        return
    _check_is_no_series(path, series)
    check_grid(path, max_voxels=max_voxels)


def write_volume(path: str | Path, volume: Volume) -> None:
    """Write a one-channel volume with its affine; the file appears whole or not at all.

    Whole-numbered HU are stored as int16, other HU and 1/mm as float32, labels as the smallest
    unsigned integer. The header says nothing else: no name, date or other trace of a patient.

    Args:
        path:   `.nii`, `.nii.gz`, `.nrrd` or `.mha`, in an existing folder.
        volume: `(1, D, H, W)`.

    Raises:
        VolumeError: several channels, values not finite, an unknown extension, or an unwritable place.
    """
    path = Path(path)
    if volume.values.shape[0] != 1:
        raise VolumeError(f"{path}: volume has {volume.values.shape[0]} channels; expected 1: write one file each")
    values = volume.values[0].detach().cpu().numpy()
    check_finite(path, values)
    if volume.unit == "label":
        check_label_values(path, values)
    write_grid(path, values.astype(_stored_type(values, volume.unit)), volume.affine.numpy())


def _read(path: Path, *, series: str | int | None, max_voxels: int) -> tuple[np.ndarray, Place]:
    if _is_dicom(path):
        from nerp.dicom import read_series

        values, affine = read_series(path, series=series, max_voxels=max_voxels)
        return values, Place(affine)
    _check_is_no_series(path, series)
    return read_placed(path, max_voxels=max_voxels)


def _check_is_no_series(path: Path, series: str | int | None) -> None:
    if series is not None:
        raise VolumeError(f"{path}: series= was given, but this is one file; series are chosen in DICOM folders")


def _kept(stored: np.ndarray) -> np.ndarray:
    """Whole HU as they are stored and lie in memory, where they fit; else as float32."""
    if stored.dtype.kind != "i" or stored.dtype.itemsize != 2:
        return in_c_order(stored, np.float32)
    is_own = (
        stored.dtype.isnative and stored.flags.writeable and (stored.flags.f_contiguous or stored.flags.c_contiguous)
    )
    return stored if is_own else in_c_order(stored, np.int16)


def _told(
    path: Path, own: Place, shape: Sequence[int], orientation: str | None, spacing_mm: Sequence[float] | None
) -> Place:
    """The place of a CT, as stated or as in its file; doubts are warned of."""
    place = stated(own, shape, orientation, spacing_mm)
    if place is not own and not own.unknown:
        size = " x ".join(f"{part:.4g}" for part in own.spacing_mm)
        _log.warning("%s: the stated place replaces the file's own (%s, voxels of %s mm)", path, own.orientation, size)
    for doubt in [*place.doubts(), *extent_doubt(place, shape)]:
        _log.warning("%s: %s", path, doubt)
    _placed(path, place.affine)
    check_spacing(path, place)
    return place


def _is_dicom(path: Path) -> bool:
    """Whether a path is a folder of DICOM, a DICOMDIR, or a DICOM file by its content."""
    from nerp.dicom import is_dicom

    if path.is_dir():
        return True
    named = path.name.upper() == "DICOMDIR"
    return path.is_file() and (named or (extension(path) not in NIFTI + ITK and is_dicom(path)))


def _stored_type(values: np.ndarray, unit: str) -> type | np.dtype:
    if unit == "label":
        return np.min_scalar_type(int(values.max()))
    is_whole = unit == "hu" and bool((values == np.rint(values)).all())
    return np.int16 if is_whole and values.min() >= -32768 and values.max() <= 32767 else np.float32


def _placed(path: Path, affine: np.ndarray) -> Tensor:
    try:
        return as_affine(affine)
    except GeometryError as error:
        raise VolumeError(f"{path}: {error}") from error


def check_label_values(path: Path, values: np.ndarray, *, may_be_empty: bool = False) -> None:
    """Refuse values that are no labels.

    Args:
        path:         as the message names it.
        values:       any shape; expected whole numbers from 0 to 2^24 - 1.
        may_be_empty: whether all may be 0.

    Raises:
        VolumeError: NaN, fractions, values out of range, or no label.
    """
    check_finite(path, values)
    if values.dtype.kind == "f" and not all((part == np.rint(part)).all() for part in values):
        raise VolumeError(f"{path}: labels are not whole numbers; expected 0, 1, 2, ...: is this an image?")
    if values.min() < 0 or values.max() >= MAX_LABEL:
        raise VolumeError(
            f"{path}: labels run from {values.min():g} to {values.max():g}; expected 0 to {MAX_LABEL - 1}"
        )
    if values.max() == 0 and not may_be_empty:
        raise VolumeError(f"{path}: holds no label, every voxel is 0; expected at least one structure")
