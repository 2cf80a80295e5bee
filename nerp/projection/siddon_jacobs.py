"""Radiographs as ITK's tool by Siddon and Jacobs makes them: sums of HU above a threshold, cut to whole numbers.

No exponential, no attenuation, no unit of length: a ray's length counts in ways from the source to a plane at 1000 mm.
What is particular to the tool is done here as the tool does it; the integrals are those of `siddon`.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from nerp.camera import Camera
from nerp.camera.itk import SOURCE_ISOCENTRE_MM
from nerp.errors import VolumeError
from nerp.projection.dispatch import choose_backend
from nerp.projection.integrals import as_images
from nerp.projection.itk_rounding import TILT, Entry, entry, source_mm
from nerp.volume import Volume

THRESHOLD_HU = -100.0
"""What is not above it counts for nothing; the tool's own default is 0, DRR-RATE's call has this."""
SHORTS = (-32768.0, 32767.0)
STRAIGHT_MM = 1e-6
"""A beam whose rays' parts along an axis differ by no more looks straight at a face of the grid."""
WHITE = 255.0


def siddon_jacobs(ct: Volume, camera: Camera, *, threshold_hu: float = THRESHOLD_HU, backend: str = "auto") -> Tensor:
    """What ITK's `SiddonJacobsRayCastInterpolateImageFunction` gives for each pixel, as whole numbers.

    Args:
        ct:           `(1, D, H, W)` HU.
        camera:       B views of (H, W) pixels; those of `itk_camera` are the tool's.
        threshold_hu: what is not above it counts for nothing.
        backend:      of the projection.

    Returns:
        (B, 1, H, W) whole numbers, float32. No gradient.

    Raises:
        VolumeError: the volume is not in HU.
    """
    return whole(line_sums(above(ct, threshold_hu), camera, backend=backend))


def above(ct: Volume, threshold_hu: float = THRESHOLD_HU) -> Volume:
    """How far HU are above a threshold, 0 below it.

    Args:
        ct:           `(1, D, H, W)` HU; the tool reads them as whole numbers, what is behind the point is cut off.
        threshold_hu: of the tool.

    Raises:
        VolumeError: the volume is not in HU.
    """
    if ct.unit != "hu":
        raise VolumeError(f"mode itk needs a volume in 'hu', found {ct.unit!r}; read it with read_volume")
    return Volume(ct.values.float().trunc().sub_(threshold_hu).clamp_(min=0.0), ct.affine, "hu")


@torch.no_grad()
def line_sums(volume: Volume, camera: Camera, *, backend: str = "auto") -> Tensor:
    """Sums along rays in the tool's unit, not yet cut to whole numbers.

    The tool gives the path through each voxel to the next one that the ray enters, which is off by one, and so does
    this. Where all rays cross a face of the grid alike, as those of `itk_camera` do, its rounding is followed, too.

    Args:
        volume:  `(1, D, H, W)` of `above`.
        camera:  B views of (H, W) pixels.
        backend: of the projection.

    Returns:
        (B, 1, H, W) float64. No gradient.

    Source: Siddon 1985, Med. Phys. 12(2):252-255; Jacobs et al. 1998, J. Comput. Inf. Technol. 6:89-94.
    """
    kernels = choose_backend(backend, volume.values)
    camera = camera.to(torch.float64)
    sums = []
    for view in (camera[i] for i in range(len(camera))):
        seen = _as_seen(volume, view)
        rays = kernels.cast_rays(view, seen.volume.affine, volume.shape)
        integrals = kernels.siddon_ahead(seen.volume.values, rays, skip_first=seen.skip_first)
        sums.append(as_images(integrals, view).double() * ways_per_mm(view).to(integrals.device))
    return torch.cat(sums)


def ways_per_mm(camera: Camera) -> Tensor:
    """(B, 1, H, W) of the way from the source to the plane at 1000 mm that a millimetre of each ray is, 1/mm."""
    to_detector_mm = (camera.detector_centre - camera.source).norm(dim=-1)[:, None, None]
    rays_mm = (camera.pixels() - camera.source[:, None, None]).norm(dim=-1)
    return (to_detector_mm / SOURCE_ISOCENTRE_MM / rays_mm)[:, None]


def whole(sums: Tensor) -> Tensor:
    """Sums of any shape as the tool's 16-bit whole numbers, float32: what is behind the point is cut off."""
    return sums.clamp(*SHORTS).trunc().float()


def grey_levels(images: Tensor) -> Tensor:
    """The tool's 8-bit images: each from its own lowest to its own highest value, cut to whole numbers, not rounded.

    Args:
        images: (B, C, H, W) of `whole`.

    Returns:
        (B, C, H, W) whole numbers from 0 to 255, float64. The factor is that of ITK's `RescaleIntensityImageFilter`.
    """
    images = images.double()
    low, high = (getattr(images.flatten(1), name)(dim=1).view(-1, 1, 1, 1) for name in ("amin", "amax"))
    span = torch.where(low != high, high - low, high)
    factor = torch.where(span != 0, torch.full_like(span, WHITE) / span, 0.0)  # a number by a tensor rounds twice
    return (images * factor - low * factor).clamp(0.0, WHITE).trunc()


@dataclass(frozen=True)
class _Seen:
    volume: Volume
    skip_first: bool


def _as_seen(volume: Volume, camera: Camera) -> _Seen:
    """A grid as the tool's rounding has it, where one camera looks straight at one of its faces."""
    axis, source, rises = _straight(volume, camera)
    if axis is None:
        return _Seen(volume, False)
    spacing_mm, count = _spacing_mm(volume)[axis], volume.shape[axis]
    entered = entry(source, count, spacing_mm, rises=rises)
    values = volume.values.roll(-1, dims=axis + 1) if entered.one_on else volume.values
    if entered.one_on:
        values.select(axis + 1, count - 1).zero_()
    affine = volume.affine @ _misplaced(entered, axis, volume, source, rises)
    return _Seen(Volume(values, affine, volume.unit), entered.skip_first)


def _straight(volume: Volume, camera: Camera) -> tuple[int | None, float, bool]:
    """Axis of a beam straight at a face, place of its source from the lower face, mm, and whether the index grows."""
    sizes = torch.tensor(_spacing_mm(volume), dtype=torch.float64, device="cpu")
    source, corners = (_from_face(points, volume, sizes) for points in (camera.source, _corners(camera)))
    extent_mm = sizes * torch.tensor(volume.shape, dtype=torch.float64, device="cpu")
    rays = corners - source
    for axis in range(3):
        others = [other for other in range(3) if other != axis]
        beside = bool(((source[0, others] < 0) | (source[0, others] > extent_mm[others])).any())
        before = not 0 <= float(source[0, axis]) <= float(extent_mm[axis])
        if float(rays[:, axis].amax() - rays[:, axis].amin()) <= STRAIGHT_MM and before and not beside:
            own = source_mm(volume.shape, sizes.tolist(), axis) if axis < 2 else math.nan
            found = float(source[0, axis])
            return axis, own if abs(own - found) <= STRAIGHT_MM else found, bool(rays[0, axis] > 0)
    return None, 0.0, False


def _from_face(points: Tensor, volume: Volume, sizes: Tensor) -> Tensor:
    """World points (N, 3) as mm along the index axes, from the grid's lower faces."""
    to_index = torch.linalg.inv(volume.affine)
    return (points.cpu() @ to_index[:3, :3].T + to_index[:3, 3] + 0.5) * sizes


def _corners(camera: Camera) -> Tensor:
    return camera.pixels()[0, [0, 0, -1, -1], [0, -1, 0, -1]]


def _spacing_mm(volume: Volume) -> list[float]:
    """As the file states it: the length of an axis along one direction is that one number, to the last bit."""
    columns = volume.affine[:3, :3].abs()
    straight = (columns > 0).sum(dim=0) == 1
    return torch.where(straight, columns.amax(dim=0), columns.norm(dim=0)).tolist()


def _misplaced(entered: Entry, axis: int, volume: Volume, source: float, rises: bool) -> Tensor:
    """(4, 4) from the index of the grid where the tool has it to the index of the grid where it is."""
    spacing_mm, count = _spacing_mm(volume), volume.shape[axis]
    step = (entered.high_mm - entered.low_mm) / count
    first = entered.low_mm + step / 2
    matrix = torch.eye(4, dtype=torch.float64, device="cpu")
    matrix[axis, axis], matrix[axis, 3] = step / spacing_mm[axis], first / spacing_mm[axis] - 0.5
    if axis in TILT:
        tilt = (TILT[axis] if rises else -TILT[axis]) / spacing_mm[2]
        matrix[2, axis], matrix[2, 3] = tilt * step, tilt * (first - source)
    return matrix
