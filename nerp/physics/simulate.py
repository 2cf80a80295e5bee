"""From a CT to what a detector reads of it: beam, materials, scatter, grid, quanta, panel."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import torch
from torch import Tensor

from nerp.anatomy import BodyMap, without_table
from nerp.anatomy.extension import extended
from nerp.camera import Camera
from nerp.errors import UsageError
from nerp.physics.beam import Beam, Spectrum, spectrum
from nerp.physics.detector import Detector, blurred, exposed, photons_per_mm2, saturated, with_bad_pixels
from nerp.physics.dose import air_kerma_ugy
from nerp.physics.energy_bins import EnergyBins, energy_bins
from nerp.physics.field import open_field
from nerp.physics.grid import Grid
from nerp.physics.materials import material_volume
from nerp.physics.objects import ObjectImages
from nerp.physics.scatter.smoothing import sampled
from nerp.physics.scattered import Scatterer, straight_through
from nerp.physics.settings import Physics
from nerp.physics.softening import softened, voxel_shadow_px
from nerp.physics.transmission import transmission
from nerp.projection.dispatch import choose_backend
from nerp.projection.materials import project_materials
from nerp.volume import Volume

TOGETHER = 20
"""Variants that are computed at a time, so that their images stay in the cache."""
LEAST = 1e-12
"""Part of the beam that is taken to pass whatever lies in the way."""


@dataclass(frozen=True)
class Setup:
    """How radiographs are taken.

    Args:
        beam:     of the tube.
        detector: panel and dose.
        physics:  what of scatter, grid and noise is computed.
    """

    beam: Beam = field(default_factory=Beam)
    detector: Detector = field(default_factory=Detector)
    physics: Physics = field(default_factory=Physics)


@dataclass(frozen=True)
class Radiograph:
    """What a detector reads, relative to what it reads with nothing in the way.

    Args:
        signal:  (B, 1, H, W) with noise, blur and limits of the panel, flat-fielded.
        primary: (B, 1, H, W) expected of photons that met nothing, 0 to 1.
        scatter: (B, 1, H, W) expected of the others.
    """

    signal: Tensor
    primary: Tensor
    scatter: Tensor


@dataclass(frozen=True)
class _Panel:
    """What the panel is to one camera.

    Args:
        unit:       (B, 1, H, W) keV of a pixel with nothing in the way.
        pixel_mm:   between rows, between columns.
        per_photon: keV of an open beam's photon.
        most:       keV that a pixel can hold.
    """

    unit: Tensor
    pixel_mm: tuple[float, float]
    per_photon: float
    most: float


class Simulator:
    """One CT before a tube: holds what all its radiographs share.

    Args:
        ct:      `(1, D, H, W)` HU.
        setup:   beam, detector, physics.
        labels:  `(M, D, H, W)` on the CT's grid: where they have names they tell bone from contrast agent.
        names:   of the label values.
        groups:  label values of each structure whose density can be scaled; None for none.
        body:    the CT's `map_body`, where that is known.
        device:  where it is projected.
        backend: of the projection.

    Raises:
        VolumeError, GeometryError, UsageError: see `material_volume`; a beam without data.
    """

    def __init__(
        self,
        ct: Volume,
        setup: Setup | None = None,
        *,
        labels: Volume | None = None,
        names: Mapping[int, str] | None = None,
        groups: Mapping[str, Sequence[int]] | None = None,
        body: BodyMap | None = None,
        device: torch.device | str = "cpu",
        backend: str = "auto",
    ):
        self.setup = setup or Setup()
        physics = self.setup.physics
        bare = extended(without_table(ct, body) if physics.table_removed else ct, physics.extended_mm)
        told: dict[str, Any] = {}
        if labels is not None:
            told = {"labels": extended(labels.to("cpu"), physics.extended_mm), "names": names, "groups": groups}
        self.materials = material_volume(bare.to("cpu"), **told, energy_kev=physics.effective_kev).to(device)
        self.backend = choose_backend(backend, self.materials.codes).__name__.rpartition(".")[2]
        self._emitted = spectrum(self.setup.beam)
        self._known_bins: dict[tuple[Grid | None, tuple[str, ...]], EnergyBins] = {}
        self._scatterer = Scatterer(self.materials, self._emitted, self.setup.detector)

    @property
    def groups(self) -> tuple[str, ...]:
        """Names of the structures whose density can be scaled."""
        return self.materials.groups

    def expose(
        self,
        camera: Camera,
        *,
        objects: ObjectImages | None = None,
        scales: Mapping[str, float | Tensor] | None = None,
        generator: torch.Generator | None = None,
    ) -> Radiograph:
        """Take a radiograph.

        Args:
            camera:    B views of (H, W) pixels.
            objects:   what else lies in the beam, for the same views.
            scales:    factors of the density of some `groups`; 1 where nothing is said.
            generator: of the noise, on the CPU; None for the expected signal.

        Returns:
            Images (B, 1, H, W), float32 of a float32 CT. Differentiable in the CT's HU, in the camera and in the
            scales; scatter in the scales alone, and held fixed otherwise.

        Raises:
            UsageError: a group that there is not, or a negative scale.
        """
        factors = self._factors(scales)
        areal = project_materials(self.materials, camera, backend=self.backend)
        body = torch.einsum("bgmhw,g->bmhw", areal.unflatten(1, (len(self.groups), -1)), factors[0].to(areal))
        primary, per_photon = self._transmitted(self._softened(body, camera), camera, objects=objects)
        scatter = sampled(self._scattered(camera, factors), camera.shape).to(primary)
        signal = self._read(primary + scatter, per_photon, self._panel(camera), generator)
        return Radiograph(signal, primary, scatter)

    def variants(self, camera: Camera, scales: Sequence[Mapping[str, float]]) -> Tensor:
        """Expected signals of one view with several sets of densities, from one projection.

        Args:
            camera: a batch of one.
            scales: V sets of factors of the density of `groups`.

        Returns:
            (V, 1, H, W) relative to the open field, blurred, without noise.

        Raises:
            UsageError: a group that there is not, or a negative scale.
        """
        areal = self._softened(project_materials(self.materials, camera, backend=self.backend), camera)
        factors = torch.cat([self._factors(one) for one in scales])
        coarse = self._scattered(camera, factors).to(areal)
        panel, made = self._panel(camera), []
        for some, scatter in zip(factors.split(TOGETHER), coarse.split(TOGETHER), strict=True):
            primary, per_photon = self._transmitted(areal, camera, factors=some)
            made.append(self._read(primary + sampled(scatter, camera.shape), per_photon, panel))
        return torch.cat(made)

    def full_signal(self, camera: Camera) -> float:
        """Where the panel saturates, as a part of the open field's signal, of a batch of one camera of pixels in mm."""
        return self.setup.detector.saturation_ugy / self._open(camera)[1]

    def grid(self, camera: Camera) -> Grid | None:
        """The anti-scatter grid of a view, its focus in mm where the source is; None for none."""
        distance_mm = float(source_detector_mm(camera)[0].detach())
        chosen = self.setup.physics.grid_at(distance_mm)
        return chosen and replace(chosen, focus_mm=distance_mm)

    def _scattered(self, camera: Camera, factors: Tensor) -> Tensor:
        """(B V, 1, h, w) float64, on a coarse raster of the detector."""
        return self._scatterer.image(camera, self.grid(camera), self.setup.physics.scatter, factors)

    def _factors(self, scales: Mapping[str, float | Tensor] | None) -> Tensor:
        """(1, G) density factors."""
        scales = scales or {}
        if unknown := sorted(scales.keys() - set(self.groups)):
            raise UsageError(f"no structure is called {unknown[0]!r}; expected some of {', '.join(self.groups)}")
        factors = [torch.as_tensor(scales.get(name, 1.0), dtype=torch.float32, device="cpu") for name in self.groups]
        if (least := float(min(one.detach() for one in factors))) < 0:
            raise UsageError(f"a density is scaled by {least:g}; expected 0 or more")
        return torch.stack(factors)[None]

    def _softened(self, areal: Tensor, camera: Camera) -> Tensor:
        """(B, K, H, W) areal densities of voxels without edges, where that is wanted."""
        if not self.setup.physics.voxel_blur:
            return areal
        return softened(areal, voxel_shadow_px(camera, self.materials.affine, self.materials.shape))

    def _transmitted(
        self, areal: Tensor, camera: Camera, *, factors: Tensor | None = None, objects: ObjectImages | None = None
    ) -> tuple[Tensor, Tensor]:
        """(B V, 1, H, W) primary relative to the open beam behind the grid; mean square over mean of a photon, keV."""
        materials = self.materials.materials
        if objects is not None:
            areal = torch.cat([areal, objects.areal_density_g_per_cm2.to(areal)], dim=1)
            materials = (*materials, *objects.materials)
        bins = self._bins(self.grid(camera), materials)
        scales = None if factors is None else factors.to(areal)
        made = transmission(areal, bins.mu, bins.weights, scales=scales)
        return made[:, :1], made[:, 1:] / made[:, :1].clamp_min(LEAST)

    def _bins(self, grid: Grid | None, materials: tuple[str, ...]) -> EnergyBins:
        if (grid, materials) not in self._known_bins:
            self._known_bins[grid, materials] = energy_bins(self._emitted, self._response(grid), materials)
        return self._known_bins[grid, materials]

    def _response(self, grid: Grid | None) -> Tensor:
        """(2, E) signal of a photon sent towards a grid, and its mean square in keV, over the open beam's signal."""
        kev, detector = self._emitted.energies_kev, self.setup.detector
        passed = torch.ones_like(kev) if grid is None else straight_through(grid, kev)
        signal, square = passed * detector.response_kev(kev), passed * detector.square_kev2(kev)
        return torch.stack([signal, square]) / (self._emitted.photons * signal).sum()

    def _panel(self, camera: Camera) -> _Panel:
        """What the panel is to the views of a camera."""
        detector, physics = self.setup.detector, self.setup.physics
        even = open_field(camera, self.setup.beam, inverse_square=physics.inverse_square, heel=physics.heel)
        open_kev_per_mm2, kerma_ugy = self._open(camera)
        rows_mm, columns_mm = camera.pixel_mm[0].detach().tolist()
        whole = open_kev_per_mm2 * rows_mm * columns_mm
        unit = (whole * even).to(self.materials.codes)
        typical = float(self._bins(self.grid(camera), self.materials.materials).weights[1].sum())
        return _Panel(unit, (rows_mm, columns_mm), typical, whole * detector.saturation_ugy / kerma_ugy)

    def _read(
        self, expected: Tensor, per_photon: Tensor, panel: _Panel, generator: torch.Generator | None = None
    ) -> Tensor:
        """(B, 1, H, W) what the panel reads of an expected signal, over the open field's; of one view also many."""
        detector, mean = self.setup.detector, panel.unit * expected
        if generator is None:
            return saturated(blurred(mean, detector, panel.pixel_mm), panel.most) / panel.unit
        noise: dict[str, Any] = {"pixel_mm": panel.pixel_mm, "per_photon": panel.per_photon, "generator": generator}
        read = saturated(exposed(mean, mean * per_photon, detector, **noise), panel.most)
        if detector.bad_pixels:
            read = with_bad_pixels(read, detector.bad_pixels, panel.most, generator)
        return read / panel.unit

    def _open(self, camera: Camera) -> tuple[float, float]:
        """keV taken up per mm² behind the grid with nothing in the way, and air kerma before it, µGy."""
        detector = self.setup.detector
        distance_mm = float(source_detector_mm(camera)[0].detach())
        entrance_mm = entrance_distance_mm(camera, self.materials.affine, self.materials.shape)
        arriving = photons_per_mm2(self._emitted, detector, entrance_mm=entrance_mm, detector_mm=distance_mm)
        grid, kev = self.grid(camera), self._emitted.energies_kev
        passed = arriving * (1.0 if grid is None else straight_through(grid, kev))
        return float((passed * detector.response_kev(kev)).sum()), air_kerma_ugy(Spectrum(kev, arriving))


def simulate(
    ct: Volume,
    camera: Camera,
    beam: Beam | None = None,
    detector: Detector | None = None,
    *,
    physics: Physics | None = None,
    generator: torch.Generator | None = None,
) -> Tensor:
    """A physical radiograph of a CT: what a detector reads, relative to what it reads with nothing in the way.

    Args:
        ct:        `(1, D, H, W)` HU.
        camera:    B views of (H, W) pixels.
        beam:      voltage and filtration; None takes 120 kVp and 2.5 mm of aluminium.
        detector:  panel and dose; None takes a panel of caesium iodide and .15 mGy.
        physics:   scatter, grid and the rest; None takes all of it.
        generator: of the noise, on the CPU; None for the expected signal.

    Returns:
        (B, 1, H, W) about 1 where the beam met nobody, .002 to .3 behind a chest; `nerp.physics.film.film` develops it.
        Differentiable in the HU and in the camera, with the scatter held fixed.

    Raises:
        VolumeError, GeometryError, UsageError: see `Simulator`.
    """
    setup = Setup(beam or Beam(), detector or Detector(), physics or Physics())
    return Simulator(ct, setup, device=ct.values.device).expose(camera, generator=generator).signal


def source_detector_mm(camera: Camera) -> Tensor:
    """(B,) mm from each source to its detector's plane."""
    normal = torch.linalg.cross(camera.image_right, camera.image_down, dim=-1)
    return (camera.detector_centre - camera.source).mul(normal).sum(-1).abs()


def entrance_distance_mm(camera: Camera, affine: Tensor, shape: tuple[int, int, int]) -> float:
    """From the source to where the first view's central ray enters the CT's box; to its middle where it misses it.

    Args:
        camera: its first view.
        affine: (4, 4) from voxel index to world mm.
        shape:  (D, H, W) voxels.
    """
    to_index = torch.linalg.inv(affine.to("cpu", torch.float64))
    source, centre = (part[0].detach().to("cpu", torch.float64) for part in (camera.source, camera.detector_centre))
    start, ahead = to_index[:3, :3] @ source + to_index[:3, 3], to_index[:3, :3] @ (centre - source)
    ends = torch.tensor([[-0.5] * 3, [count - 0.5 for count in shape]], dtype=torch.float64, device="cpu")
    at = (ends - start) / torch.where(ahead.abs() < 1e-9, 1e-9, ahead)
    enter, leave = float(at.amin(dim=0).max()), float(at.amax(dim=0).min())
    return float((centre - source).norm()) * (enter if 0 < enter < leave else 0.9)
