"""Scatter of a CT's views, behind a grid, as the detector takes it up."""

from __future__ import annotations

from functools import lru_cache
from typing import Any

import torch
from torch import Tensor

from nerp.camera import Camera
from nerp.physics.beam import Spectrum
from nerp.physics.detector import Detector
from nerp.physics.grid import Grid
from nerp.physics.grid import transmission as grid_transmission
from nerp.physics.scatter.fast import fast_scatter
from nerp.physics.scatter.referee import Effort, transport
from nerp.physics.scatter.setting import Matter, arrangement
from nerp.physics.scatter.tables import energies_kev
from nerp.projection.blocks import blocks_of
from nerp.projection.materials import MaterialVolume

BLOCK_MM = 4.0
"""Blocks of voxels that scatter is computed from; the fast way makes them coarser still."""
EXACT_PHOTONS = 20_000_000
RASTER = (8, 8)
"""Of an image without scatter."""


class Scatterer:
    """Scatter of every view of one CT.

    Args:
        materials: of the CT.
        emitted:   photons of the beam.
        detector:  its response.
    """

    def __init__(self, materials: MaterialVolume, emitted: Spectrum, detector: Detector):
        self._matter = blocked(materials)
        self._emitted = emitted
        self._response = detector.response_kev(energies_kev().clamp_min(1.0))
        self._signal = emitted.photons * detector.response_kev(emitted.energies_kev)

    def image(self, camera: Camera, grid: Grid | None, kind: str, factors: Tensor) -> Tensor:
        """Scatter of each view.

        Args:
            camera:  B views of (H, W) pixels.
            grid:    in front of the detector.
            kind:    `fast`, `exact` or `none`.
            factors: (V, G) of the density of each group.

        Returns:
            (B V, 1, h, w) float64 on the CPU, on a coarse raster of the detector, relative to what arrives behind the
            grid with nothing in the way. Not differentiable in the CT or the camera; in `factors`, to first order in
            the logarithm.

        Raises:
            UsageError: no compiled kernels.
        """
        n_views = len(camera) * len(factors)
        if kind == "none":
            return torch.zeros((n_views, 1, *RASTER), dtype=torch.float64, device="cpu")
        views = [camera[number] for number in range(len(camera))]
        found = [self._exact(view, grid) if kind == "exact" else self._fast(view, grid, factors) for view in views]
        coarse = torch.cat([one.expand(len(factors), -1, -1, -1) for one in found])
        return coarse / primary_passed(self._signal, self._emitted, grid)

    def _fast(self, view: Camera, grid: Grid | None, factors: Tensor) -> Tensor:
        """(V, 1, h, w)."""
        made = fast_scatter(self._matter, view, spectrum=self._emitted, grid=grid, response=self._response)
        return made.scaled(factors) if self._matter.groups is not None else made.total()[None, None]

    def _exact(self, view: Camera, grid: Grid | None) -> Tensor:
        """(1, 1, h, w)."""
        effort = Effort(n_photons=EXACT_PHOTONS)
        options: dict[str, Any] = {"spectrum": self._emitted, "grid": grid, "response": self._response}
        return transport(self._matter, arrangement(view), effort=effort, **options).scatter[2][None, None]


def blocked(materials: MaterialVolume) -> Matter:
    """A CT in blocks of voxels that are small enough for scatter, of the same mass.

    Args:
        materials: (D, H, W) voxels.

    Returns:
        Matter on a coarser grid, with the groups where there are several.
    """
    blocks = blocks_of(materials.to("cpu"), BLOCK_MM)
    return Matter(blocks.densities.float(), blocks.affine.to(torch.float64), materials.materials, blocks.groups)


def primary_passed(signal: Tensor, emitted: Spectrum, grid: Grid | None) -> float:
    """The part of the open beam's signal that a grid lets through, 0 to 1.

    Args:
        signal:  (E,) of the open beam, by energy.
        emitted: whose energies these are.
        grid:    None lets all through.
    """
    if grid is None:
        return 1.0
    return float((signal * straight_through(grid, emitted.energies_kev)).sum() / signal.sum())


def straight_through(grid: Grid, energies: Tensor) -> Tensor:
    """(E,) part of photons along the strips that a grid lets through, 0 to 1; energies (E,) keV.

    Args:
        grid:     of strips that point to the source.
        energies: of the photons.
    """
    return _straight_through(grid, tuple(energies.tolist()))


@lru_cache(maxsize=64)
def _straight_through(grid: Grid, energies_kev: tuple[float, ...]) -> Tensor:
    """(E,) float64: asked for several times by each view."""
    ahead = torch.zeros(1, dtype=torch.float64, device="cpu")
    return grid_transmission(grid, ahead, ahead + 1, torch.tensor(energies_kev, dtype=torch.float64, device="cpu"))[0]
