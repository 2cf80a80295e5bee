"""Photon transport as nature does it: exact and slow, to judge faster ways by."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from nerp.errors import UsageError
from nerp.physics.beam import Spectrum
from nerp.physics.grid import Grid
from nerp.physics.scatter import native
from nerp.physics.scatter.setting import Arrangement, Matter
from nerp.physics.scatter.tables import photon_tables
from nerp.projection.backends.cpu import library

KINDS = ("primary", "single", "multiple")


@dataclass(frozen=True)
class Tallies:
    """What arrives at the detector, by kind and measure.

    Args:
        sums: (3, 3, h, w) float64: primary, singly and multiply scattered photons, each by counts, by energy in keV,
              and by the detector's response; of all photons sent out.
        open: (3, h, w) float64: what would arrive of each measure with nothing in the way.
    """

    sums: Tensor
    open: Tensor

    @property
    def primary(self) -> Tensor:
        """(3, h, w) primary by measure, relative to nothing in the way, 0 to 1 but for noise."""
        return self.sums[0] / self.open

    @property
    def scatter(self) -> Tensor:
        """(3, h, w) scatter by measure, relative to nothing in the way."""
        return self.sums[1:].sum(0) / self.open


@dataclass(frozen=True)
class Effort:
    """How long the referee counts.

    Args:
        n_photons:      sent out.
        seed:           of their random numbers; the same seed gives the same result with any number of threads.
        raster:         rows and columns of the tally.
        free_electrons: a mode to compare with closed forms, as `photon_tables`.
    """

    n_photons: int = 1_000_000
    seed: int = 0
    raster: tuple[int, int] = (64, 64)
    free_electrons: bool = False

    def __post_init__(self) -> None:
        if self.n_photons < 1 or min(self.raster) < 1:
            raise UsageError(f"{self.n_photons} photons on a raster of {self.raster}; expected at least 1 of each")


def transport(
    matter: Matter,
    arrangement: Arrangement,
    *,
    spectrum: Spectrum,
    effort: Effort | None = None,
    grid: Grid | None = None,
    response: Tensor | None = None,
) -> Tallies:
    """Follow photons one by one through photoelectric absorption, Compton and Rayleigh scattering, down to 5 keV.

    Args:
        matter:      (M, D, H, W) densities, g/cm³.
        arrangement: source and detector, mm.
        spectrum:    of the photons sent out.
        effort:      how many, and on which raster they are counted.
        grid:        in front of the detector: each photon counts for the part of it that is let through.
        response:    (`N_ENERGIES`,) what the detector makes of a photon of each energy of `tables.energies_kev()`;
                     by default its energy.

    Returns:
        Tallies of (3, 3, h, w). Not differentiable.

    Raises:
        UsageError: energies without data, or no compiled kernels.

    Source: Klein-Nishina with incoherent scattering functions, form factors squared; no fluorescence, no Doppler
    broadening, no polarisation.
    """
    effort = effort or Effort()
    check_kernels()
    volume = native.matter_task(matter, photon_tables(matter.materials, free_electrons=effort.free_electrons))
    table = native.response_table(response)
    beam = native.radiation_task(arrangement, spectrum, table, effort.raster)
    strips = native.strips_task(grid) if grid else None
    sums = torch.zeros(len(KINDS), 3, *effort.raster, dtype=torch.float64, device="cpu")
    tally = native.tally_task(effort.n_photons, effort.seed, sums)
    library.call("nerp_transport", volume.task, beam.task, strips.task if strips else None, tally)
    return Tallies(sums, open_signal(arrangement, spectrum, table, effort.raster) * effort.n_photons)


def check_kernels() -> None:
    """Refuse, with a UsageError, where there are no compiled kernels: photons are followed by them alone."""
    if reason := library.missing():
        raise UsageError(f"scatter needs the compiled kernels: {reason}")


def open_signal(arrangement: Arrangement, spectrum: Spectrum, response: Tensor, raster: tuple[int, int]) -> Tensor:
    """What one photon sent out brings to each pixel with nothing in the way, as if the field were unlimited.

    Args:
        arrangement: source and detector, mm.
        spectrum:    of the photons.
        response:    (`N_ENERGIES`,) of the detector.
        raster:      (rows, columns).

    Returns:
        (3, rows, columns) float64: counts, keV, response.
    """
    height, width = arrangement.size_mm
    area = height * width / (raster[0] * raster[1])
    spread = arrangement.openness(arrangement.points(*raster)) * area / field_integral(arrangement)
    return mean_measures(spectrum, response)[:, None, None] * spread


def mean_measures(spectrum: Spectrum, response: Tensor) -> Tensor:
    """(3,) counts, keV and response of a mean photon of the spectrum.

    Args:
        spectrum: energies (E,), keV, and photons (E,).
        response: (`N_ENERGIES`,) of the detector.
    """
    kev, share = spectrum.energies_kev, spectrum.photons / spectrum.photons.sum()
    return torch.stack([share.sum(), (share * kev).sum(), (share * at_energies(response, kev)).sum()])


def at_energies(table: Tensor, kev: Tensor) -> Tensor:
    """A table of energies between its steps.

    Args:
        table: (`N_ENERGIES`,) of any unit.
        kev:   (E,) energies.
    """
    at = kev / native.STEP_KEV
    step = at.long().clamp(0, len(table) - 2)
    return table[step] + (at - step) * (table[step + 1] - table[step])


def field_integral(arrangement: Arrangement, n: int = 64) -> float:
    """Openness of the field's area, mm²; of a pencil beam 1, as its photons meet one point alone.

    Args:
        arrangement: source and detector, mm.
        n:           points along each side that the integral is taken at.
    """
    top, bottom, left, right = arrangement.field
    if bottom == top or right == left:
        return 1.0
    steps = (torch.arange(n, dtype=torch.float64, device="cpu") + 0.5) / n
    down = (top + (bottom - top) * steps)[:, None, None] * arrangement.down
    across = (left + (right - left) * steps)[None, :, None] * arrangement.right
    mean = arrangement.openness(arrangement.centre + down + across).mean()
    return float(mean) * (bottom - top) * (right - left)
