"""Scatter of a slab of water: the geometry that tables of scatter-to-primary ratios are made for."""

import math
import time
from dataclasses import dataclass

import torch

from nerp.errors import UsageError
from nerp.physics.attenuation import composition, linear_attenuation_per_cm
from nerp.physics.beam import Beam, Spectrum, mono, spectrum
from nerp.physics.grid import grid_of, transmission
from nerp.physics.scatter import Effort, FastEffort, Matter, fast_scatter, slab_arrangement, transport

SIDE_MM = 400.0
VOXEL_MM = 4.0
EXACT_PHOTONS = 6_000_000
MEASURES = ("counts", "energy")


@dataclass(frozen=True)
class Slab:
    """What the options of `eval/scatter.py` say."""

    water_mm: float
    field_mm: float
    gap_mm: float
    kev: float | None
    kvp: float
    al_mm: float
    cu_mm: float
    grid: str | None
    exact: bool
    photons: int | None
    seed: int
    threads: int | None
    json: bool

    def __post_init__(self) -> None:
        if not (self.water_mm > 0 and self.field_mm > 0 and self.gap_mm >= 0):
            raise UsageError("--water-mm and --field-mm are to be above 0, --gap-mm 0 or more")
        if not all(map(math.isfinite, (self.water_mm, self.field_mm, self.gap_mm))):
            raise UsageError("--water-mm, --field-mm and --gap-mm are to be finite")

    @property
    def spectrum(self) -> Spectrum:
        """Of the beam that enters the slab."""
        return mono(self.kev) if self.kev is not None else spectrum(Beam(self.kvp, self.al_mm, self.cu_mm))


def measure(slab: Slab) -> dict:
    """Primary transmission and scatter-to-primary ratios at the centre of the field."""
    if slab.threads:
        torch.set_num_threads(slab.threads)
    grid = grid_of(slab.grid) if slab.grid else None
    scatter_of = exact_scatter if slab.exact else quick_scatter
    scatter_of(slab, None, warm=True)
    start = time.perf_counter()
    scatter = scatter_of(slab, None)
    seconds = time.perf_counter() - start
    primary = primary_of(slab, None)
    result = {"primary": primary[0], "primary_energy": primary[1]}
    if grid:
        behind, passed = scatter_of(slab, grid), primary_of(slab, grid)
        result["grid"] = {
            "tp": passed[0] / primary[0],
            "ts": behind[0] / scatter[0],
            "tp_energy": passed[1] / primary[1],
            "ts_energy": behind[1] / scatter[1],
        }
        scatter, primary = behind, passed
    result["spr"] = {name: scatter[i] / primary[i] for i, name in enumerate(MEASURES)}
    return result | {"seconds": seconds, "exact": slab.exact, "json": slab.json}


def primary_of(slab: Slab, grid) -> list[float]:
    """Primary by counts and by energy at the centre, relative to nothing in the way: a closed form."""
    kev, photons = slab.spectrum.energies_kev, slab.spectrum.photons
    left = photons * torch.exp(-linear_attenuation_per_cm("water", kev) * slab.water_mm / 10)
    if grid:
        straight = torch.zeros(1, dtype=torch.float64, device="cpu")
        left = left * transmission(grid, straight, straight + 1, kev)[0]
    return [float((left * weight).sum() / (photons * weight).sum()) for weight in (torch.ones_like(kev), kev)]


def water(thickness_mm: float) -> Matter:
    """A slab from z = 0 upwards, in voxels of about 4 mm."""
    n_across, n_deep = round(SIDE_MM / VOXEL_MM), max(1, round(thickness_mm / VOXEL_MM))
    steps = torch.tensor([SIDE_MM / n_across] * 2 + [thickness_mm / n_deep, 1], dtype=torch.float64, device="cpu")
    affine = torch.diag(steps)
    affine[:2, 3] = (steps[:2] - SIDE_MM) / 2
    affine[2, 3] = steps[2] / 2
    density = composition("water").density_g_per_cm3
    voxels = torch.full((1, n_across, n_across, n_deep), density, dtype=torch.float32, device="cpu")
    return Matter(voxels, affine, ("water",))


def quick_scatter(slab: Slab, grid, *, warm: bool = False) -> list[float]:
    """By the fast way, at its default effort: the field is what the detector covers."""
    size = slab.field_mm
    place = slab_arrangement(thickness_mm=slab.water_mm, gap_mm=slab.gap_mm, size_mm=size, field_mm=size)
    effort = FastEffort(seed=slab.seed) if slab.photons is None else FastEffort(slab.photons, slab.seed)
    effort = FastEffort(10) if warm else effort
    found = fast_scatter(water(slab.water_mm), place, spectrum=slab.spectrum, grid=grid, effort=effort)
    return [float(found.at_pixels((101, 101), measure)[0, 0, 50, 50]) for measure in MEASURES]


def exact_scatter(slab: Slab, grid, *, warm: bool = False) -> list[float]:
    """By single photons of a pencil beam: by reciprocity, all that falls into the field is what its centre gets."""
    size = slab.field_mm
    place = slab_arrangement(thickness_mm=slab.water_mm, gap_mm=slab.gap_mm, size_mm=size, field_mm=0)
    n_photons = 10 if warm else slab.photons or EXACT_PHOTONS
    effort = Effort(n_photons, slab.seed, raster=(1, 1))
    tallies = transport(water(slab.water_mm), place, spectrum=slab.spectrum, effort=effort, grid=grid)
    kev, photons = slab.spectrum.energies_kev, slab.spectrum.photons
    sent = n_photons * torch.stack([torch.ones_like(kev.sum()), (kev * photons).sum() / photons.sum()])
    return (tallies.sums[1:, :2, 0, 0].sum(0) / sent).tolist()
