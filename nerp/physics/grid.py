"""The anti-scatter grid: lead strips that photons from the focus pass between."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from nerp.errors import UsageError
from nerp.physics.attenuation import composition, linear_attenuation_per_cm, mass_attenuation_cm2_per_g
from nerp.physics.grid_light import LEAD_K_LINES_KEV, glow_share, kept_shares
from nerp.settings import Settings, choice, number

INTERSPACES = {"aluminium": "aluminium", "fibre": "carbon_fibre"}
SPEC = re.compile(r"(\d+(?:\.\d+)?):1(?:-(al|fibre))?(?:-(\d+))?")


@dataclass(frozen=True)
class Grid(Settings):
    """Lead strips along the image's columns, with something light between them.

    Args:
        ratio:        height of the strips over the distance between them.
        lines_per_cm: strips per cm.
        lead_um:      thickness of a strip.
        interspace:   what is between them: aluminium, or fibre.
        focus_mm:     distance of the line that all strips point to; none where they are parallel.

    Raises:
        ConfigError: a grid that nobody makes.
        UsageError:  strips that leave no space between them.
    """

    SECTION: ClassVar[str] = "grid"

    ratio: float = number(12.0, 1, 30)
    lines_per_cm: float = number(40.0, 10, 100)
    lead_um: float = number(50.0, 5, 200)
    interspace: str = choice("aluminium", "fibre")
    focus_mm: float | None = number(None, 300, 10000)

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.gap_mm <= 0:
            raise UsageError(
                f"{self.lines_per_cm:g} strips per cm of {self.lead_um:g} um leave no space; use thinner or fewer ones"
            )

    @property
    def pitch_mm(self) -> float:
        """From one strip to the next, mm."""
        return 10 / self.lines_per_cm

    @property
    def gap_mm(self) -> float:
        """Between two strips, mm."""
        return self.pitch_mm - self.lead_um / 1000

    @property
    def height_mm(self) -> float:
        """Of the strips along the beam, mm."""
        return self.ratio * self.gap_mm


def grid_of(spec: str) -> Grid:
    """The grid of a short text such as `12:1`, `12:1-al`, `10:1-fibre` or `12:1-al-40`, with strips per cm last.

    Args:
        spec: ratio, 1 to 30; interspace; and strips per cm, 10 to 100; the latter two may be left out.

    Raises:
        UsageError: a text that is none of these.
    """
    match = SPEC.fullmatch(spec.strip().lower())
    if not match:
        raise UsageError(f"unknown grid '{spec}'; expected such as 12:1, 12:1-al, 10:1-fibre or 12:1-al-40")
    ratio, between, lines = match.groups()
    return Grid(
        ratio=float(ratio),
        interspace="fibre" if between == "fibre" else "aluminium",
        lines_per_cm=float(lines) if lines else Grid.lines_per_cm,
    )


@dataclass(frozen=True)
class Passage:
    """What decides how a grid lets photons pass.

    Args:
        lead:       (E,) attenuation of the strips, 1/mm: without coherent scattering, which barely turns photons.
        interspace: (E,) of what is between them, 1/mm, without what is scattered there and leaves nevertheless.
        glow:       (E,) K photons of lead that leave, for each photon that does not.
    """

    lead: Tensor
    interspace: Tensor
    glow: Tensor


def passage(grid: Grid, energies_kev: Tensor) -> Passage:
    """Coefficients of a grid.

    Args:
        grid:         strips and what is between them.
        energies_kev: (E,) keV.

    Returns:
        Of (E,) each, float64.
    """
    bare = _bare(grid, energies_kev)
    lines = torch.tensor([LEAD_K_LINES_KEV], dtype=torch.float64, device="cpu")
    strip, gap = grid.lead_um / 1000, grid.gap_mm
    in_lead = bare.lead * strip / (bare.lead * strip + bare.interspace * gap)
    glow = glow_share(energies_kev) * in_lead * _escape(grid, _bare(grid, lines))
    return Passage(bare.lead, bare.interspace, glow)


def _bare(grid: Grid, energies_kev: Tensor) -> Passage:
    between = INTERSPACES[grid.interspace]
    lead = 0.1 * linear_attenuation_per_cm("lead", energies_kev) - _part("lead", "coherent", energies_kev)
    shares = kept_shares(between, energies_kev, grid.ratio)
    parts = [_part(between, kind, energies_kev) for kind in ("coherent", "incoherent")]
    other = 0.1 * linear_attenuation_per_cm(between, energies_kev)
    for share, part in zip(shares, parts, strict=True):
        other = other - share * part
    return Passage(lead, other, torch.zeros_like(other))


def _part(material: str, kind: str, energies_kev: Tensor) -> Tensor:
    """(E,) 1/mm of one kind of attenuation."""
    density = composition(material).density_g_per_cm3
    return 0.1 * density * mass_attenuation_cm2_per_g(material, energies_kev, kind)


def _escape(grid: Grid, bare: Passage, n: int = 24) -> Tensor:
    """(1,) part of photons, made evenly along the strips in all directions, that leaves behind the grid."""
    even = (torch.arange(n, dtype=torch.float64, device="cpu") + 0.5) / n
    cosines, azimuths, heights = torch.meshgrid(even, even * torch.pi / 2, even, indexing="ij")
    slope = (1 - cosines**2).sqrt() / cosines * torch.cos(azimuths)
    left = _through(grid, bare, slope, 1 / cosines, heights * grid.height_mm)
    return 0.5 * left.mean(dim=(0, 1, 2))


def transmission(grid: Grid, slope: Tensor, obliquity: Tensor, energies_kev: Tensor) -> Tensor:
    """What part of photons a grid lets through, averaged over where they meet its strips.

    Args:
        grid:         ratio, pitch and materials.
        slope:        (...) mm aside, across the strips and away from them, per mm forwards.
        obliquity:    (...) path per mm forwards, 1 or more.
        energies_kev: (E,) keV.

    Returns:
        (..., E) float64, 0 to 1. Differentiable in `slope` (but where it is 0) and `obliquity`.

    Source: the path in lead is piecewise linear in the place of entry, with two levels and two ramps in each period;
    the mean of its exponential in closed form. What is scattered in the grid and leaves it counts as if it had not
    been, and the lead's K photons as photons of the energy that made them.
    """
    how = passage(grid, energies_kev)
    height = torch.full_like(slope, grid.height_mm, dtype=torch.float64)
    straight = _through(grid, how, slope.to(torch.float64), obliquity.to(torch.float64), height)
    return straight + how.glow * (1 - straight)


def _through(grid: Grid, how: Passage, slope: Tensor, obliquity: Tensor, height_mm: Tensor) -> Tensor:
    """(..., E) mean over the place of entry of what is neither absorbed nor turned, below a height (...)."""
    aside = (height_mm * slope.abs())[..., None].clamp_min(1e-6 * grid.pitch_mm)
    length = (height_mm * obliquity)[..., None]
    strip, gap, pitch = grid.lead_um / 1000, grid.gap_mm, grid.pitch_mm
    periods = (aside / pitch).floor()
    rest = aside - periods * pitch
    least, most = (rest - gap).clamp_min(0), rest.clamp_max(strip)
    rate = (how.lead - how.interspace) * length / aside
    low, high = torch.exp(-rate * least), torch.exp(-rate * most)
    levels = (strip - rest).abs() * high + (gap - rest).abs() * low
    ramps = 2 * (low - high) / rate
    return (levels + ramps) / pitch * torch.exp(-rate * strip * periods - how.interspace * length)
