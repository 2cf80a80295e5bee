"""Volumes and fields on a grid with an affine: read, write, and the way from HU to attenuation."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from nerp.errors import GeometryError, VolumeError
from nerp.formats import ITK, MAX_VOXELS, NIFTI, extension, read_grid, write_grid

UNITS = ("hu", "1/mm", "label")


@dataclass(frozen=True)
class Volume:
    """Values on a regular grid, with the affine that places it in the patient.

    Args:
        values: (C, D, H, W) floating point; HU, 1/mm, or integer-valued labels.
        affine: (4, 4) float64, from voxel index (d, h, w) to world RAS+ mm.
        unit:   `hu`, `1/mm` or `label`.

    Raises:
        GeometryError: wrong shape, unit, or an affine that cannot be inverted.
    """

    values: Tensor
    affine: Tensor
    unit: str = "1/mm"

    def __post_init__(self) -> None:
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
        ends = [torch.tensor([-0.5, count - 0.5], dtype=torch.float64) for count in self.shape]
        return self.to_world(torch.cartesian_prod(*ends))

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
    affine = torch.as_tensor(affine, dtype=torch.float64).cpu()
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
    values = (volume.values.clamp(min=AIR_HU) / 1000.0 + 1.0) * WATER_PER_MM
    return Volume(values, volume.affine, "1/mm")


PADDING_HU = -1024.0
"""What stands for padding: the least value that scanners write; all that uses HU takes it for air."""

PADDING_BELOW_HU = -1100.0
"""No matter has less; below it lie only the scanners' fillings (-2000, -2048, -3024)."""

MAX_LABEL = 2**24
"""Labels at and above it are not exact in float32."""


def read_volume(path: str | Path, *, series: str | int | None = None, max_voxels: int = MAX_VOXELS) -> Volume:
    """Read a CT in Hounsfield units; its affine keeps flips, obliques and offsets.

    Args:
        path:       `.nii`, `.nii.gz`, `.nrrd`, `.mha`, `.mhd`, a folder of a DICOM series or of folders of them, a
                    DICOMDIR, or an enhanced CT in one DICOM file.
        series:     SeriesNumber, SeriesInstanceUID or a part of the SeriesDescription, where there are several.
        max_voxels: a header that promises more is refused before its data is read.

    Returns:
        `(1, D, H, W)` float32 HU on the file's own axes. Values below -1100 HU, which scanners fill in
        outside their field of view, become -1024; all others stay as stored (resampled CTs reach
        -1030 or 3080 HU).

    Raises:
        VolumeError: not readable as one 3-D CT: missing, damaged, 4-D, empty, constant, NaN or
            infinite, not HU, incomplete or ambiguous DICOM, too large. Each in one line.
    """
    path = Path(path)
    stored, affine = _read(path, series=series, max_voxels=max_voxels)
    values = np.ascontiguousarray(stored, dtype=np.float32)
    _check_finite(path, values)
    _check_hounsfield(path, values)
    if np.may_share_memory(values, stored):
        values = values.copy()
    values[values < PADDING_BELOW_HU] = PADDING_HU
    return Volume(torch.from_numpy(values)[None], _placed(path, affine), "hu")


def read_labels(path: str | Path, like: Volume | None = None, *, max_voxels: int = MAX_VOXELS) -> Volume:
    """Read a label map, carried onto a CT's grid when one is given.

    Args:
        path:       as for `read_volume`, files only; whole numbers >= 0, where 0 is background.
        like:       the volume whose grid is requested; each of its voxels takes the nearest label through
                    both affines, 0 outside the label map.
        max_voxels: as for `read_volume`.

    Returns:
        `(1, D, H, W)` float32 holding whole numbers, unit `label`.

    Raises:
        VolumeError: not readable, not whole numbers, no label at all, or none inside `like`.
    """
    path = Path(path)
    stored, stored_affine = read_grid(path, max_voxels=max_voxels)
    _check_labels(path, stored)
    affine = _placed(path, stored_affine)
    if like is None or (like.shape == stored.shape and torch.allclose(like.affine, affine, atol=1e-4)):
        own = np.ascontiguousarray(stored, dtype=np.float32)
        return Volume(torch.from_numpy(own)[None], affine, "label")
    values = _nearest(stored, torch.linalg.inv(affine) @ like.affine, like.shape)
    if not values.any():
        labels = Volume(torch.zeros(1, 1, 1, 1).expand(1, *stored.shape), affine, "label")
        spans = f"labels span {_extent(labels)}, CT {_extent(like)} mm"
        raise VolumeError(f"{path}: no label lies inside the CT ({spans}); check the pair")
    return Volume(torch.from_numpy(values)[None], like.affine, "label")


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
    _check_finite(path, values)
    if volume.unit == "label":
        _check_labels(path, values)
    write_grid(path, values.astype(_stored_type(values, volume.unit)), volume.affine.numpy())


def _read(path: Path, *, series: str | int | None, max_voxels: int) -> tuple[np.ndarray, np.ndarray]:
    if path.is_dir() or (path.is_file() and _may_be_dicom(path)):
        from nerp.dicom import read_series

        return read_series(path, series=series, max_voxels=max_voxels)
    if series is not None:
        raise VolumeError(f"{path}: series= was given, but this is one file; series are chosen in DICOM folders")
    return read_grid(path, max_voxels=max_voxels)


def _may_be_dicom(path: Path) -> bool:
    from nerp.dicom import is_dicom

    return path.name.upper() == "DICOMDIR" or (extension(path) not in NIFTI + ITK and is_dicom(path))


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


def _check_finite(path: Path, values: np.ndarray) -> None:
    if not (np.isfinite(values.min()) and np.isfinite(values.max())):  # both carry NaN; no mask of the whole volume
        raise VolumeError(f"{path}: holds NaN or infinite values; replace them (air is -1000 HU) and try again")


def _check_hounsfield(path: Path, values: np.ndarray) -> None:
    least, most = float(values.min()), float(values.max())
    if least == most:
        raise VolumeError(f"{path}: every voxel is {least:g}; expected a CT, the file holds no image")
    air = least if least >= PADDING_BELOW_HU else float(values[values >= PADDING_BELOW_HU].min(initial=most))
    found = f"{path}: values run from {least:g} to {most:g}"
    if least < -32768 or most > 32767:
        raise VolumeError(f"{found}; expected HU within -32768 to 32767: this cannot be a CT")
    if air >= 0 and most > 255:
        raise VolumeError(f"{found}; expected HU with air near -1000: apply the rescale (often minus 1024) first")
    if air > -200 or most < -500:
        raise VolumeError(f"{found}; expected HU with air near -1000 and tissue near 0: normalised values are no CT")


def _check_labels(path: Path, values: np.ndarray) -> None:
    _check_finite(path, values)
    if values.dtype.kind == "f" and not all((part == np.rint(part)).all() for part in values):
        raise VolumeError(f"{path}: labels are not whole numbers; expected 0, 1, 2, ...: is this an image?")
    if values.min() < 0 or values.max() >= MAX_LABEL:
        raise VolumeError(
            f"{path}: labels run from {values.min():g} to {values.max():g}; expected 0 to {MAX_LABEL - 1}"
        )
    if values.max() == 0:
        raise VolumeError(f"{path}: holds no label, every voxel is 0; expected at least one structure")


def _nearest(stored: np.ndarray, index_from_index: Tensor, shape: tuple[int, int, int]) -> np.ndarray:
    """Nearest values of `stored` on a grid of `shape`, slab by slab so that no index volume is built."""
    matrix = index_from_index.numpy()
    rows, columns = np.arange(shape[1])[:, None], np.arange(shape[2])[None, :]
    plane = [row[1] * rows + row[2] * columns + row[3] + 0.5 for row in matrix[:3]]
    values = np.zeros(shape, np.float32)
    for slab in range(shape[0]):
        index = [np.floor(part + row[0] * slab).astype(np.int64) for part, row in zip(plane, matrix, strict=False)]
        inside = np.logical_and.reduce([(i >= 0) & (i < n) for i, n in zip(index, stored.shape, strict=True)])
        values[slab][inside] = stored[tuple(i[inside] for i in index)]
    return values


def _extent(volume: Volume) -> str:
    world = volume.corners_mm()
    ranges = zip(world.amin(0).tolist(), world.amax(0).tolist(), strict=True)
    return " ".join(f"{name} {low:.0f}..{high:.0f}" for name, (low, high) in zip("xyz", ranges, strict=True))
