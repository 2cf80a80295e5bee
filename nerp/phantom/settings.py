"""The phantoms that a training makes where it is given no data."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from nerp.settings import Settings, number

SPACING_LIMITS_MM = (0.5, 10.0)
"""Voxel spacings that a phantom can be made at, mm; coarser ones lose its walls."""


@dataclass(frozen=True)
class PhantomSettings(Settings):
    """Phantoms in place of CTs and of radiographs.

    Args:
        count:       phantoms that play the CTs where data.ct_dir is none.
        seed:        of the first.
        spacing_mm:  between voxel centres, mm.
        radiographs: other phantoms that play the radiographs where data.radiographs_dir is none.
    """

    SECTION: ClassVar[str] = "phantom"

    count: int = number(8, 1, 10_000)
    seed: int = number(0, 0)
    spacing_mm: float = number(4.0, *SPACING_LIMITS_MM)
    radiographs: int = number(24, 1, 100_000)
