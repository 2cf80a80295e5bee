"""Scatter in a fraction of a second: few photons on a coarse grid, each made to count."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

import torch
from torch import Tensor

from nerp.camera import Camera
from nerp.errors import UsageError
from nerp.physics.attenuation import mass_attenuation_cm2_per_g
from nerp.physics.beam import Spectrum
from nerp.physics.grid import Grid
from nerp.physics.scatter import native
from nerp.physics.scatter.coarse import coarsened
from nerp.physics.scatter.referee import check_kernels, mean_measures
from nerp.physics.scatter.setting import Arrangement, Matter, arrangement
from nerp.physics.scatter.smoothing import best_sigma, sampled, smoothed
from nerp.physics.scatter.tables import photon_tables
from nerp.projection.backends.cpu import library

FEWEST_PIXELS, MOST_PIXELS = 16, 64
"""Rows or columns of the raster."""
PART_OF_GAP, LEAST_MM, PART_OF_FIELD = (0.36, 0.5), (18.0, 26.0), (0.06, 0.08)
"""Widths (sigma) of the Gaussians that counts of single and of multiple scatter are smoothed by: wider the farther
matter is from the detector, no less than what balances noise and detail of real CTs, no wider than a part of the
detector's size."""
NARROWEST_PIXELS, WIDEST_PIXELS = 0.8, 4.0
"""Of these widths, pixels of the raster."""
TRIED_WIDTHS = (0.7, 1.0, 1.4, 2.0, 2.8)
"""Multiples of these widths, of which two halves of the photons tell the best: wide behind a slab, narrow behind a
heart."""
REFERENCE_KEV = 60.0
LEAST = torch.finfo(torch.float64).tiny
LIKELY_WATER_MM = 60.0
"""What photons that count have passed, for choosing energies; results do not depend on it, their noise does."""


@dataclass(frozen=True)
class FastEffort:
    """What the fast transport spends.

    Args:
        n_photons: sent out, in two halves; the error falls with their square root.
        seed:      of their random numbers; the same seed gives the same result with any number of threads.
        voxel_mm:  of the coarse grid.
        raster_mm: of the pixels that scatter is counted in, before it is smoothed.

    Raises:
        UsageError: no photons, or sizes that are not above 0.
    """

    n_photons: int = 150_000
    seed: int = 0
    voxel_mm: float = 8.0
    raster_mm: float = 9.0

    def __post_init__(self) -> None:
        if self.n_photons < 1 or not self.voxel_mm > 0 or not self.raster_mm > 0:
            raise UsageError(
                f"{self.n_photons} photons, voxels of {self.voxel_mm} mm and pixels of {self.raster_mm} mm; "
                "expected at least 1, and sizes above 0"
            )


@dataclass(frozen=True)
class Scatter:
    """Scatter at the detector, relative to what arrives at the same place with nothing in the way.

    Args:
        single:      (3, h, w) float64: photons scattered once, by counts, energy and response, on a coarse raster.
        multiple:    (3, h, w) those scattered more often.
        derivatives: (K, h, w) of the logarithm of the response with respect to that of each group's density.
    """

    single: Tensor
    multiple: Tensor
    derivatives: Tensor

    def total(self, measure: str = "response") -> Tensor:
        """All scatter on the coarse raster, (H, W), unitless, by `counts`, `energy` or `response`."""
        return (self.single + self.multiple)[native.MEASURES.index(measure)]

    def at_pixels(self, shape: tuple[int, int], measure: str = "response") -> Tensor:
        """Scatter at the pixels of a detector that covers what the raster covers.

        Args:
            shape:   (H, W) pixels.
            measure: `counts`, `energy` or `response`.

        Returns:
            (1, 1, H, W) float64, 0 or more.
        """
        return sampled(self.total(measure)[None, None], shape)

    def scaled(self, factors: Tensor) -> Tensor:
        """Response of scatter where groups are denser or thinner, to first order in the logarithm.

        Args:
            factors: (N, K) of each group's density, about 1.

        Returns:
            (N, 1, h, w) float64. Differentiable in the factors.

        Source: score function, S(s) = S(1) exp(J (s - 1)).
        """
        change = torch.einsum("nk,khw->nhw", factors.to(self.derivatives) - 1, self.derivatives)
        return (self.total() * torch.exp(change))[:, None]


def fast_scatter(
    matter: Matter,
    view: Camera | Arrangement,
    *,
    spectrum: Spectrum,
    grid: Grid | None = None,
    response: Tensor | None = None,
    effort: FastEffort | None = None,
) -> Scatter:
    """Scatter of one view, within some per cent and a fraction of a second.

    Args:
        matter:   (M, D, H, W) densities, g/cm³, and groups where derivatives are wanted.
        view:     a camera of one view, whose beam covers its detector, or an arrangement, mm.
        spectrum: of the beam.
        grid:     in front of the detector: scatter behind it, still relative to nothing in the way, grid included.
        response: (`N_ENERGIES`,) what the detector makes of a photon of each energy of `tables.energies_kev()`;
                  by default its energy.
        effort:   how many photons, and how coarse.

    Returns:
        Scatter on a coarse raster. Not differentiable; `Scatter.derivatives` stand in.

    Raises:
        UsageError: several views, energies without data, or no compiled kernels.

    Source: Monte Carlo with forced meetings, exponential transform, expected-value scores and directions drawn by
    two densities (Lux & Koblinger 1991); the same cross-sections as `transport`.
    """
    effort = effort or FastEffort()
    check_kernels()
    place = arrangement(view) if isinstance(view, Camera) else view
    thin = coarsened(matter, effort.voxel_mm)
    raster = raster_shape(place.size_mm, effort.raster_mm)
    table = native.response_table(response)
    beam = _beam(place, spectrum, table, raster)
    n_each = (effort.n_photons + 1) // 2
    halves = [_follow(thin, beam, grid, n_each, seed) for seed in (2 * effort.seed, 2 * effort.seed + 1)]
    field = place.openness(place.points(*raster)) * n_each / _photon_area(place, raster)
    clear = mean_measures(spectrum, table)[:, None, None] * field
    images, changes = torch.stack([sums for sums, _ in halves]) / clear, (halves[0][1] + halves[1][1]) / (2 * clear[2])
    wanted = _sigmas(thin, place, raster)
    sigmas = [_best_of_tried(images[:, kind], wanted[kind]) for kind in (0, 1)]
    single, multiple = (smoothed(images[:, kind], sigmas[kind]).mean(0).clamp_min(0) for kind in (0, 1))
    derivatives = smoothed(changes[None], sigmas[1])[0]
    return Scatter(single, multiple, derivatives / (single + multiple)[2].clamp_min(LEAST))


def _best_of_tried(halves: Tensor, sigma: float) -> float:
    """The multiple of a width that smooths two halves (2, C, h, w) of the photons best."""
    return best_sigma(halves[0], halves[1], [factor * sigma for factor in TRIED_WIDTHS])


def raster_shape(size_mm: tuple[float, float], pixel_mm: float) -> tuple[int, int]:
    """Rows and columns that scatter is counted in: neither so few that its shape is lost nor more than needed.

    Args:
        size_mm:  height and width of the detector.
        pixel_mm: wanted size of a pixel.
    """
    rows, columns = (min(max(round(size / pixel_mm), FEWEST_PIXELS), MOST_PIXELS) for size in size_mm)
    return rows, columns


def _sigmas(matter: Matter, place: Arrangement, raster: tuple[int, int]) -> list[float]:
    """Pixels that single and multiple scatter are smoothed by."""
    height, width = place.size_mm
    pixel_mm = (height * width / (raster[0] * raster[1])) ** 0.5
    gap_mm, size_mm = gap_of(matter, place), (height * width) ** 0.5
    wanted = [
        min(max(by_gap * gap_mm, least_mm), by_size * size_mm)
        for by_gap, least_mm, by_size in zip(PART_OF_GAP, LEAST_MM, PART_OF_FIELD, strict=True)
    ]
    return [min(max(width / pixel_mm, NARROWEST_PIXELS), WIDEST_PIXELS) for width in wanted]


def gap_of(matter: Matter, place: Arrangement) -> float:
    """Distance of a box of matter from the detector's plane, mm; 0 where it reaches it.

    Args:
        matter: (M, D, H, W) voxels.
        place:  of the detector.
    """
    ends = [torch.tensor([-0.5, size - 0.5], dtype=torch.float64, device="cpu") for size in matter.shape]
    corners = torch.cartesian_prod(*ends) @ matter.affine[:3, :3].T + matter.affine[:3, 3]
    normal = torch.linalg.cross(place.right, place.down)
    heights = (place.centre - corners) @ (normal * torch.sign((normal * place.inwards).sum()))
    return max(float(heights.min()), 0.0)


def _photon_area(place: Arrangement, raster: tuple[int, int]) -> float:
    """Area of the field in pixels of the raster."""
    top, bottom, left, right = place.field
    (height, width), (rows, columns) = place.size_mm, raster
    return max((bottom - top) * (right - left) * rows * columns / (height * width), 1e-300)


def _beam(place: Arrangement, spectrum: Spectrum, table: Tensor, raster: tuple[int, int]) -> native.Kept:
    """Energies drawn as often as they are likely to reach the detector, and weighed back."""
    kev, photons = (part.detach().to("cpu", torch.float64) for part in (spectrum.energies_kev, spectrum.photons))
    native.check_energies(kev)
    share = photons / photons.sum()
    depth = 0.1 * LIKELY_WATER_MM * mass_attenuation_cm2_per_g("water", kev, "photo")
    drawn = share * kev * torch.exp(-depth)
    drawn = drawn / drawn.sum()
    return native.radiation_task_of(place, kev, drawn, share / drawn.clamp_min(1e-300), table, raster)


@lru_cache(maxsize=1)
def _relative_attenuation() -> Tensor:
    """(`N_ENERGIES`,) of water, to its own at the reference energy."""
    total = photon_tables(("water",)).total[0]
    return (total / total[round(REFERENCE_KEV / native.STEP_KEV)]).contiguous()


def _follow(matter: Matter, beam: native.Kept, grid: Grid | None, n_photons: int, seed: int) -> tuple[Tensor, Tensor]:
    """(2, 3, h, w) sums of single and multiple scatter, and (K, h, w) of derivatives."""
    volume = native.matter_task(matter, photon_tables(matter.materials), with_blocks=False)
    strips = native.strips_task(grid) if grid else None
    rows, columns = beam.task.rows, beam.task.columns
    n_groups = 0 if matter.groups is None else int(matter.groups.max()) + 1
    sums = torch.zeros(2, 3, rows, columns, dtype=torch.float64, device="cpu")
    derivatives = torch.zeros(n_groups, rows, columns, dtype=torch.float64, device="cpu")
    tally = native.tally_task(n_photons, seed, sums)
    relative = _relative_attenuation()
    tally.reference_kev, tally.relative = REFERENCE_KEV, library.doubles(relative, len(relative))
    groups = None if matter.groups is None else matter.groups.to("cpu", torch.int32).contiguous()
    if groups is not None and n_groups:
        tally.n_groups, tally.groups = n_groups, library.ints(groups, *matter.shape)
        tally.derivatives = library.doubles(derivatives, n_groups, rows, columns)
    library.call("nerp_fast_scatter", volume.task, beam.task, strips.task if strips else None, tally)
    return sums, derivatives
