"""CTs for the mapper: found in folders, resampled once to one upright isotropic grid, windowed.

The grid's axes run inferior to superior, posterior to anterior, left to right, along the world's own
axes; whatever the file's orientation, the same patient gives the same grid.
"""

from __future__ import annotations

import hashlib
import logging
import math
from collections.abc import Sequence
from pathlib import Path

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.utils.data import Dataset

from nerp.anatomy.extension import extended
from nerp.data.source_files import volume_files
from nerp.dicom import FoundCT, find_series
from nerp.errors import DataError, GeometryError, UsageError
from nerp.files import replacing
from nerp.formats import ITK, NIFTI, extension
from nerp.volume import AIR_HU, Volume, read_volume

SIDE_MULTIPLE = 16
"""The mapper halves its grid four times."""

WORLD_AXIS = (2, 1, 0)
"""World axis (x, y, z) along which each index axis (d, h, w) of the mapper's grid grows."""


def mapper_grid(ct: Volume, *, size: int | None = None, spacing_mm: float | None = None) -> Volume:
    """Resample a CT, once, to the mapper's grid: upright, isotropic, sides multiples of 16, air around.

    Each voxel is the mean of trilinear samples spread evenly over it, more than one to every voxel of
    the CT along each axis when shrinking, so that it averages instead of skipping (a box filter in
    world space). Where grids coincide the values are the CT's own.

    Args:
        ct:         (1, D, H, W) HU, any affine.
        size:       voxels along the longest side, a multiple of 16; sets the spacing.
        spacing_mm: distance between voxels, mm. Exactly one of the two is given.

    Returns:
        (1, D', H', W') HU on index axes (superior, anterior, right); -1000 outside the CT's faces.
        Not differentiable.

    Raises:
        UsageError: none or both of size and spacing, or a value that cannot be.
        GeometryError: a volume that is not one channel of HU.
    """
    if ct.unit != "hu" or ct.values.shape[0] != 1:
        raise GeometryError(f"mapper_grid() needs one channel of HU; found {ct.values.shape[0]} of {ct.unit!r}")
    corners = ct.corners_mm()
    low, high = corners.amin(0), corners.amax(0)
    spacing_mm = _spacing(size, spacing_mm, float((high - low).max()))
    counts = [max(1, math.ceil(extent / spacing_mm - 1e-6)) for extent in (high - low)[list(WORLD_AXIS)].tolist()]
    shape = [math.ceil(count / SIDE_MULTIPLE) * SIDE_MULTIPLE for count in counts]
    affine = torch.zeros(4, 4, dtype=torch.float64, device="cpu")
    affine[3, 3] = 1.0
    for axis, (world, count, side) in enumerate(zip(WORLD_AXIS, counts, shape, strict=True)):
        affine[world, axis] = spacing_mm
        affine[world, 3] = low[world] + (0.5 - (side - count) // 2) * spacing_mm
    return Volume(_resample(ct, affine, shape), affine, "hu")


def _spacing(size: int | None, spacing_mm: float | None, longest_mm: float) -> float:
    if (size is None) == (spacing_mm is None):
        raise UsageError(f"mapper's grid got size={size} and spacing_mm={spacing_mm}; expected exactly one of them")
    if spacing_mm is not None:
        if not spacing_mm > 0:
            raise UsageError(f"mapper's grid got spacing_mm={spacing_mm}; expected a distance above 0")
        return float(spacing_mm)
    if size is None or size < SIDE_MULTIPLE or size % SIDE_MULTIPLE:
        raise UsageError(f"mapper's grid got size={size}; expected a multiple of {SIDE_MULTIPLE}, such as 128")
    return longest_mm / size


@torch.no_grad()
def _resample(ct: Volume, affine: Tensor, shape: list[int]) -> Tensor:
    """Box-averaged values of `ct` on a grid, one slab at a time: memory stays at one slab's samples."""
    index_from_index = torch.linalg.inv(ct.affine) @ affine
    strides = index_from_index[:3, :3].abs().amax(0).tolist()
    # a quarter more than one to a voxel: at nearly one, samples and voxels beat against each other
    samples = [1 if stride < 1 + 1e-3 else math.ceil(1.25 * stride) for stride in strides]
    counts = torch.tensor(ct.shape, dtype=torch.float64, device="cpu")
    # grid_sample wants (w, h, d), with -1 and 1 at the outer faces
    matrix = (index_from_index[:3] * 2 / counts[:, None]).flip(0)
    matrix[:, 3] += (1 / counts - 1).flip(0)
    fine = [_fine_index(n, k) for n, k in zip(shape, samples, strict=True)]
    plane = fine[1][:, None, None] * matrix[:, 1] + fine[2][:, None] * matrix[:, 2] + matrix[:, 3]
    values = torch.empty(1, *shape, device=ct.values.device, dtype=torch.float32)
    for slab, depths in enumerate(fine[0].split(samples[0])):
        where = (plane + depths[:, None, None, None] * matrix[:, 0]).to(ct.values)
        found = F.grid_sample(ct.values[None], where[None], padding_mode="border", align_corners=False)[0, 0]
        found = found.where(where.abs().amax(-1) <= 1 + 1e-6, AIR_HU)
        values[0, slab] = F.avg_pool2d(found.mean(0)[None], samples[1:])[0]
    return values


def _fine_index(count: int, samples: int) -> Tensor:
    """Positions of `samples` even points within each of `count` voxels, in voxels."""
    return (torch.arange(count * samples, dtype=torch.float64, device="cpu") + 0.5) / samples - 0.5


def window(ct_values_hu: Tensor, window_hu: tuple[float, float]) -> Tensor:
    """HU to [0, 1] between the window's two ends, clipped beyond. Differentiable inside the window.

    Args:
        ct_values_hu: any shape, HU.
        window_hu:    (low, high) HU, low < high.

    Raises:
        UsageError: the window's ends are not in order.
    """
    low, high = window_hu
    if not low < high:
        raise UsageError(f"window is {low:g} to {high:g} HU; expected the lower end first")
    return ((ct_values_hu - low) / (high - low)).clamp(0.0, 1.0)


def find_cts(folder: str | Path, *, pattern: str = "*") -> list[Path]:
    """CT files and DICOM series folders below a folder, in order of their paths.

    Nothing is opened but one or two headers a DICOM folder, so label maps are told from CTs by `pattern`
    alone: keep them in another folder, or name what is wanted, as in `pattern="ct*"`. Folders of localizers and reports
    are no CTs; those of a single slice are left out, with a warning, where there is anything else. A
    folder of several series is one path: reading it asks which is meant.

    Args:
        folder:  searched with all its sub-folders; hidden files are passed over.
        pattern: a glob that the file's name, or the DICOM folder's name, must match.

    Raises:
        DataError: no such folder, or nothing in it fits.
    """
    folder = Path(folder)
    if not folder.is_dir():
        raise DataError(f"{folder}: no such folder; give one that holds CTs")
    matching = [path for path in sorted(folder.rglob(pattern)) if not path.name.startswith(".")]
    files = [path for path in matching if path.is_file() and extension(path) in NIFTI + ITK]
    series = _dicom_cts(folder, {folder, *matching})
    if files or any(one.n_slices > 1 for one in series):
        series = _without_single(folder, series)
    if not files and not series:
        expected = f"{', '.join(NIFTI + ITK)} files or DICOM series"
        raise DataError(f"{folder}: holds no CT matching {pattern!r}; expected {expected} in it or below")
    return sorted([*files, *(one.path for one in series)])


def _dicom_cts(folder: Path, wanted: set[Path]) -> list[FoundCT]:
    """Series folders and enhanced CTs of a tree among the wanted paths; one that is spread over folders is told of."""
    inner = sorted(path for path in folder.rglob("*") if path.is_dir() and not path.name.startswith("."))
    found = [one for home in (folder, *inner) for one in find_series(home) if one.path in wanted]
    places: dict[str, list[Path]] = {}
    for one in found:
        places.setdefault(one.uid, []).append(one.path)
    for paths in places.values():
        if len(paths) > 1:
            log = logging.getLogger(__name__)
            log.warning("%s and %s hold the same series; each is taken for a CT of its own", paths[0], paths[1])
    return found


def _without_single(folder: Path, series: list[FoundCT]) -> list[FoundCT]:
    """Series of more than one slice; the others are told of."""
    single = [one.path for one in series if one.n_slices == 1]
    if single:
        log = logging.getLogger(__name__)
        log.warning("%s: left out %d DICOM series of one slice, first %s", folder, len(single), single[0])
    return [one for one in series if one.n_slices > 1]


class CTDataset(Dataset):
    """CTs of a folder on the mapper's grid; each file is read and resampled once and then remembered.

    Args:
        source:       a folder (searched by `find_cts`), or the paths themselves.
        size, spacing_mm: as for `mapper_grid`.
        extend_mm:    how far the first and the last slices are repeated beyond the CT.
        cache_folder: keeps resampled grids across runs; a changed CT or size makes a new entry.

    Items are `Volume`s, (1, D, H, W) HU on the mapper's grid. A file that is no CT raises its `VolumeError` when it
    is first asked for.
    """

    def __init__(
        self,
        source: str | Path | Sequence[str | Path],
        *,
        size: int | None = None,
        spacing_mm: float | None = None,
        extend_mm: float = 0.0,
        cache_folder: str | Path | None = None,
    ):
        self.paths = find_cts(source) if isinstance(source, (str, Path)) else [Path(path) for path in source]
        self.size, self.spacing_mm, self.extend_mm = size, spacing_mm, extend_mm
        self.cache_folder = None if cache_folder is None else Path(cache_folder)
        self._grids: dict[int, Volume] = {}

    def __len__(self) -> int:
        return len(self.paths)

    def __getitem__(self, index: int) -> Volume:
        if index not in self._grids:
            self._grids[index] = self._load(self.paths[index])
        return self._grids[index]

    def _load(self, path: Path) -> Volume:
        entry = None if self.cache_folder is None else self._entry(self.cache_folder, path)
        if entry is not None and entry.is_file():
            return _read_entry(entry)
        longer = extended(read_volume(path), self.extend_mm)
        ct = mapper_grid(longer, size=self.size, spacing_mm=self.spacing_mm)
        if entry is not None:
            _write_entry(entry, ct)
        return ct

    def _entry(self, cache_folder: Path, path: Path) -> Path:
        files = volume_files(path)
        facts = [(str(file.resolve()), file.stat().st_size, file.stat().st_mtime_ns) for file in files]
        more = (self.extend_mm,) if self.extend_mm else ()
        key = hashlib.sha256(repr((facts, self.size, self.spacing_mm, *more)).encode()).hexdigest()[:32]
        return cache_folder / f"{key}.safetensors"


def _write_entry(entry: Path, ct: Volume) -> None:
    from safetensors.torch import save_file

    with replacing(entry) as unfinished:
        save_file({"values": ct.values.contiguous(), "affine": ct.affine.contiguous()}, unfinished)


def _read_entry(entry: Path) -> Volume:
    from safetensors import SafetensorError
    from safetensors.torch import load_file

    try:
        stored = load_file(entry)
    except SafetensorError as error:
        raise DataError(f"{entry}: a damaged cache entry; delete the file and start again") from error
    return Volume(stored["values"], stored["affine"], "hu")
