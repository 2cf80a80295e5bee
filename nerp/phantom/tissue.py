"""What makes tissue look like tissue: noise that belongs to the patient, and a CT's own grain."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import ceil

import torch
from torch import Tensor

from nerp.devices import SINGLE
from nerp.phantom.canvas import Canvas
from nerp.phantom.labels import LABEL_OF
from nerp.phantom.patient import stream

GRAIN_HU = {
    "lung_right": 22.0,
    "lung_left": 22.0,
    "fat": 9.0,
    "breast": 12.0,
    "mediastinum": 16.0,
    "abdomen": 24.0,
    "vertebrae": 55.0,
    "sternum": 40.0,
    "consolidation": 30.0,
    "stomach": 14.0,
    "skin": 8.0,
}
USUAL_GRAIN_HU = 10.0


def lattice_noise(
    shape: Sequence[int], spacing_mm: Sequence[float], pitch_mm: float, generator: torch.Generator
) -> Tensor:
    """Smooth noise (about unit variance) that lies still in the world whatever the spacing.

    Args:
        shape:     of the grid.
        spacing_mm: between its voxels, along each axis.
        pitch_mm:  distance of the random numbers between which it is interpolated.
        generator: its source.

    Returns:
        (D, H, W), unitless.
    """
    size = [ceil(n * s / pitch_mm) + 3 for n, s in zip(shape, spacing_mm, strict=True)]
    noise = torch.randn(size, generator=generator, **SINGLE) * 1.8
    for axis, (count, side) in enumerate(zip(shape, spacing_mm, strict=True)):
        where = (torch.arange(count, **SINGLE) + 0.5) * side / pitch_mm + 0.25
        low = where.long()
        fraction = (where - low).view([-1 if k == axis else 1 for k in range(3)])
        fraction = fraction * fraction * (3 - 2 * fraction)
        noise = torch.lerp(noise.index_select(axis, low), noise.index_select(axis, low + 1), fraction)
    return noise


@dataclass(frozen=True)
class Noise:
    """Unit noise on a grid.

    Args:
        fine:   (D, H, W) of a few millimetres.
        coarse: (D, H, W) of some centimetres.
    """

    fine: Tensor
    coarse: Tensor

    @staticmethod
    def on(canvas: Canvas, seed: int) -> Noise:
        """The noise of one patient on a grid.

        Args:
            canvas: gives the grid.
            seed:   of the patient.
        """
        return Noise.laid(canvas.shape, [canvas.affine[0, 0].item()] * 3, seed)

    @staticmethod
    def laid(shape: Sequence[int], spacing_mm: Sequence[float], seed: int) -> Noise:
        """Noise on a grid whose voxels need not be cubes.

        Args:
            shape:      of the grid.
            spacing_mm: between its voxels, along each axis.
            seed:       of the patient.
        """
        fine = lattice_noise(shape, spacing_mm, 5.0, stream(seed, "fine"))
        return Noise(fine, lattice_noise(shape, spacing_mm, 22.0, stream(seed, "coarse")))


def add_texture(canvas: Canvas, fine: Tensor, generator: torch.Generator) -> None:
    """Add each tissue's own unevenness and the scanner's noise, in HU.

    Args:
        canvas:    painted on.
        fine:      (D, H, W) unit noise of a few millimetres.
        generator: of the scanner's noise, which belongs to the grid.
    """
    grain = torch.full((256,), USUAL_GRAIN_HU, **SINGLE)
    grain[0] = 0.0
    for name, hu in GRAIN_HU.items():
        grain[LABEL_OF[name]] = hu
    for name in ("trachea", "stomach_gas", "colon_gas", "pneumothorax"):
        grain[LABEL_OF[name]] = 2.0
    canvas.hu += grain[canvas.labels.int()] * fine
    canvas.hu += 8.0 * torch.randn(canvas.shape, generator=generator, **SINGLE) * (canvas.labels > 0)
    canvas.hu.clamp_(-1000.0, 3000.0)
