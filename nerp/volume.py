"""Volumes and fields on a grid with an affine, and the way from HU to attenuation."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from nerp.errors import GeometryError, VolumeError

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

    def __post_init__(self):
        if self.values.ndim != 4:
            found = tuple(self.values.shape)
            raise GeometryError(f"volume values have shape {found}; expected (C, D, H, W): add the missing axis")
        if self.unit not in UNITS:
            raise GeometryError(f"volume unit is {self.unit!r}; expected one of {', '.join(UNITS)}")
        object.__setattr__(self, "affine", as_affine(self.affine))

    @property
    def shape(self) -> tuple[int, int, int]:
        """Voxel counts (D, H, W)."""
        return tuple(self.values.shape[1:])

    @property
    def spacing_mm(self) -> tuple[float, float, float]:
        """Distance between voxel centres along each index axis, mm."""
        return tuple(self.affine[:3, :3].norm(dim=0).tolist())

    def to(self, *args, **kwargs) -> Volume:
        """The same volume with its values moved or cast as by `Tensor.to`; the affine stays float64 on the CPU."""
        return Volume(self.values.to(*args, **kwargs), self.affine, self.unit)


@dataclass(frozen=True)
class Fields:
    """What the mapper makes of a CT: matter that shines, opacity that dims.

    Args:
        matter:  (B, D, H, W) emission, unitless, 0 to 1.
        opacity: (B, D, H, W) extinction, 1/mm, >= 0.
        affine:  (4, 4) float64, from voxel index (d, h, w) to world RAS+ mm; shared by the batch.
    """

    matter: Tensor
    opacity: Tensor
    affine: Tensor

    def __post_init__(self):
        if self.matter.ndim != 4 or self.matter.shape != self.opacity.shape:
            found = f"matter {tuple(self.matter.shape)}, opacity {tuple(self.opacity.shape)}"
            raise GeometryError(f"fields have shapes {found}; expected two equal (B, D, H, W)")
        object.__setattr__(self, "affine", as_affine(self.affine))

    @property
    def shape(self) -> tuple[int, int, int]:
        """Voxel counts (D, H, W)."""
        return tuple(self.matter.shape[1:])


def as_affine(affine) -> Tensor:
    """A (4, 4) float64 CPU tensor of `affine`, refused when it is not an invertible affine."""
    affine = torch.as_tensor(affine, dtype=torch.float64).cpu()
    if affine.shape != (4, 4):
        raise GeometryError(f"affine has shape {tuple(affine.shape)}; expected (4, 4)")
    if not torch.isfinite(affine).all() or affine[:3, :3].det().abs() < 1e-9:
        raise GeometryError("affine is singular or not finite; expected three independent voxel axes in mm")
    return affine


WATER_PER_MM = 0.0192
"""Linear attenuation of water, 1/mm, at about 70 keV (NIST XCOM: 0.193 /cm at 70 keV)."""


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
    values = (volume.values.clamp(min=-1000.0) / 1000.0 + 1.0) * WATER_PER_MM
    return Volume(values, volume.affine, "1/mm")
