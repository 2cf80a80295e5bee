"""What a physical radiograph is made by, beside the beam, the detector and the film."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from nerp.errors import ConfigError, UsageError
from nerp.physics.grid import Grid, grid_of
from nerp.settings import Settings, choice, number

BEDSIDE_MM = 1400.0
"""Distances from source to detector below which no grid is used where none is chosen: a bedside film."""


@dataclass(frozen=True)
class Physics(Settings):
    """Which parts of the physics are computed, and how.

    Args:
        scatter:        `fast`, `exact` (minutes), or `none`.
        grid:           anti-scatter grid such as `12:1-al` or `10:1-fibre`; `none`; `auto` takes `12:1-al`, and none
                        at a bedside distance.
        noise:          whether quanta and reading fluctuate.
        inverse_square: whether the beam falls off with distance and slant, before the flat field is divided out.
        heel:           whether the anode's side is darker, likewise.
        table_removed:  whether all outside the body becomes air first, the CT's table with it.
        extended_mm:    how far the CT's lowest and highest slices are taken to go on, instead of black bars where a CT
                        ends within the frame; 0 for none.
        voxel_blur:     whether shadows of voxels are as soft as the CT's own resolution, instead of blocks.
        density_spread: standard deviation of the logarithm of each structure's density, drawn anew for each pair.
        effective_kev:  energy at which the CT's HU are taken to hold.

    Raises:
        ConfigError: a value that cannot be.
    """

    SECTION: ClassVar[str] = "physics"

    scatter: str = choice("fast", "none", "exact")
    grid: str = "auto"
    noise: bool = True
    inverse_square: bool = True
    heel: bool = False
    table_removed: bool = True
    extended_mm: float = number(80.0, 0, 1000)
    voxel_blur: bool = True
    density_spread: float = number(0.0, 0, 0.5)
    effective_kev: float = number(72.0, 40, 120)

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.grid not in ("auto", "none"):
            try:
                grid_of(self.grid)
            except UsageError as error:
                raise ConfigError(f"physics.grid is '{self.grid}'; expected auto, none, or such as 12:1-al") from error

    def grid_at(self, source_detector_mm: float) -> Grid | None:
        """The grid used at a distance from source to detector, mm; None for none."""
        if self.grid == "none" or (self.grid == "auto" and source_detector_mm < BEDSIDE_MM):
            return None
        return grid_of("12:1-al" if self.grid == "auto" else self.grid)
