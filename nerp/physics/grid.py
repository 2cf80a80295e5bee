"""The anti-scatter grid: lead strips that photons from the focus pass between."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from nerp.errors import UsageError
from nerp.physics.attenuation import linear_attenuation_per_cm
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
        spec: ratio, interspace and strips per cm; the latter two may be left out.

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


def attenuation_per_mm(grid: Grid, energies_kev: Tensor) -> tuple[Tensor, Tensor]:
    """Of lead, and of what is between the strips.

    Args:
        grid:         its interspace decides.
        energies_kev: (E,) keV.

    Returns:
        Two of (E,) 1/mm, float64.
    """
    names = ("lead", INTERSPACES[grid.interspace])
    lead, other = (0.1 * linear_attenuation_per_cm(name, energies_kev) for name in names)
    return lead, other


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
    the mean of its exponential in closed form. Scatter and fluorescence within the grid are left out.
    """
    lead, other = attenuation_per_mm(grid, energies_kev)
    aside = (grid.height_mm * slope.to(torch.float64).abs())[..., None].clamp_min(1e-6 * grid.pitch_mm)
    length = (grid.height_mm * obliquity.to(torch.float64))[..., None]
    strip, gap, pitch = grid.lead_um / 1000, grid.gap_mm, grid.pitch_mm
    periods = (aside / pitch).floor()
    rest = aside - periods * pitch
    least, most = (rest - gap).clamp_min(0), rest.clamp_max(strip)
    rate = (lead - other) * length / aside
    low, high = torch.exp(-rate * least), torch.exp(-rate * most)
    levels = (strip - rest).abs() * high + (gap - rest).abs() * low
    ramps = 2 * (low - high) / rate
    return (levels + ramps) / pitch * torch.exp(-rate * strip * periods - other * length)
