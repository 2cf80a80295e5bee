"""What photons go through, and where they come from and are detected."""

from __future__ import annotations

from dataclasses import dataclass, replace

import torch
from torch import Tensor

from nerp.camera import Camera
from nerp.errors import GeometryError, UsageError
from nerp.physics.attenuation import composition

MOST_MATERIALS = 64


@dataclass(frozen=True)
class Matter:
    """Densities of materials in voxels; around them is nothing.

    Args:
        densities: (M, D, H, W) g/cm³, float32, 0 or more.
        affine:    (4, 4) from voxel index to world mm, float64.
        materials: M names of `COMPOSITIONS`.
        groups:    (D, H, W) whole numbers from 0, -1 for none: structures whose density scatter is differentiated by.

    Raises:
        GeometryError: shapes that do not fit together, or densities that are negative or not finite.
        UsageError:    a name without a composition.
    """

    densities: Tensor
    affine: Tensor
    materials: tuple[str, ...]
    groups: Tensor | None = None

    def __post_init__(self) -> None:
        shape = tuple(self.densities.shape)
        if len(shape) != 4 or shape[0] != len(self.materials) or min(shape) < 1 or shape[0] > MOST_MATERIALS:
            raise GeometryError(
                f"densities have shape {shape} for {len(self.materials)} materials; expected (materials, D, H, W), and "
                f"at most {MOST_MATERIALS} materials"
            )
        if not bool((self.densities >= 0).all() and torch.isfinite(self.densities).all()):
            raise GeometryError("densities are negative or not finite; expected g/cm³ of 0 or more")
        if self.groups is not None and tuple(self.groups.shape) != shape[1:]:
            raise GeometryError(
                f"groups have shape {tuple(self.groups.shape)}; expected that of the voxels, {shape[1:]}"
            )
        for name in self.materials:
            composition(name)

    @property
    def shape(self) -> tuple[int, int, int]:
        """(D, H, W) voxels."""
        _, depth, height, width = self.densities.shape
        return depth, height, width


@dataclass(frozen=True)
class Arrangement:
    """A source and a flat detector, world mm; vectors are (3,), float64.

    Args:
        source:    position of the source; of a parallel beam, the direction of its photons.
        centre:    of the detector.
        right:     unit direction of the detector's columns.
        down:      unit direction of its rows.
        size_mm:   height and width of the detector.
        field_mm:  what the beam is collimated to, on the detector and from its centre: from and to along `down`, from
                   and to along `right`; None is all of it.
        parallel:  whether the beam is.

    Raises:
        GeometryError: a detector without area, a field that is turned over, or a source in the detector's plane.
    """

    source: Tensor
    centre: Tensor
    right: Tensor
    down: Tensor
    size_mm: tuple[float, float]
    field_mm: tuple[float, float, float, float] | None = None
    parallel: bool = False

    def __post_init__(self) -> None:
        if min(self.size_mm) <= 0:
            raise GeometryError(f"the detector is {self.size_mm} mm large; expected a height and width above 0")
        top, bottom, left, right = self.field
        if bottom < top or right < left:
            raise GeometryError(f"the field is {self.field} mm; expected top <= bottom and left <= right")
        if not float((self.inwards * torch.linalg.cross(self.right, self.down)).sum().abs()) > 0:
            raise GeometryError("the source lies in the detector's plane; expected it in front of the detector")

    @property
    def field(self) -> tuple[float, float, float, float]:
        """Top, bottom, left and right of the collimated field, mm from the detector's centre."""
        if self.field_mm is not None:
            return self.field_mm
        height, width = self.size_mm
        return -height / 2, height / 2, -width / 2, width / 2

    @property
    def inwards(self) -> Tensor:
        """(3,) direction to the detector, mm; its length means nothing."""
        return self.source if self.parallel else self.centre - self.source

    def points(self, rows: int, columns: int) -> Tensor:
        """Centres of the pixels of a raster on the detector.

        Args:
            rows, columns: of the raster.

        Returns:
            (rows, columns, 3) world mm, float64.
        """
        steps = [
            ((torch.arange(n, dtype=torch.float64, device="cpu") + 0.5) / n - 0.5) * size
            for n, size in zip((rows, columns), self.size_mm, strict=True)
        ]
        return self.centre + steps[0][:, None, None] * self.down + steps[1][None, :, None] * self.right

    def openness(self, points: Tensor) -> Tensor:
        """Photons per area with nothing in the way, relative to the foot of the perpendicular.

        Args:
            points: (..., 3) of the detector, world mm.

        Returns:
            (...) float64, 0 to 1.

        Source: inverse square law and slant.
        """
        if self.parallel:
            return torch.ones(points.shape[:-1], dtype=torch.float64, device="cpu")
        normal = torch.linalg.cross(self.right, self.down)
        distance_mm = ((self.centre - self.source) * normal).sum().abs()
        return (distance_mm / (points - self.source).norm(dim=-1)) ** 3

    def collimated(self, field_mm: tuple[float, float, float, float]) -> Arrangement:
        """The same with a field (top, bottom, left, right), mm from the detector's centre."""
        return replace(self, field_mm=field_mm)


def arrangement(camera: Camera) -> Arrangement:
    """One view of a camera as an arrangement whose field is all of the detector.

    Args:
        camera: a batch of one view of (H, W) pixels.

    Raises:
        UsageError: several views.
    """
    if len(camera) != 1:
        raise UsageError(f"scatter is asked for {len(camera)} views at once; expected one, such as camera[0]")
    double = camera.to("cpu", torch.float64)
    vectors = (double.source, double.detector_centre, double.image_right, double.image_down)
    source, centre, right, down = (part.detach()[0] for part in vectors)
    height, width = double.size_mm[0].tolist()
    return Arrangement(source, centre, right, down, (height, width))


def slab_arrangement(*, thickness_mm: float, gap_mm: float, size_mm: float, field_mm: float) -> Arrangement:
    """A parallel beam along z on a slab that lies from z = 0 upwards, and a detector below it.

    Args:
        thickness_mm: of the slab, which the beam enters from above.
        gap_mm:       of air between the slab and the detector.
        size_mm:      of the square detector.
        field_mm:     of the square field; 0 is a pencil beam.
    """
    unit = torch.eye(3, dtype=torch.float64, device="cpu")
    half = field_mm / 2
    if thickness_mm <= 0 or gap_mm < 0:
        raise GeometryError(f"a slab of {thickness_mm} mm and a gap of {gap_mm} mm; expected > 0 and >= 0")
    centre = -gap_mm * unit[2]
    return Arrangement(-unit[2], centre, unit[0], unit[1], (size_mm, size_mm), (-half, half, -half, half), True)
