"""Which CTs and radiographs a training takes, and the mapper's grid."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from nerp.errors import ConfigError
from nerp.settings import Settings, limits, number


@dataclass(frozen=True)
class GridSettings(Settings):
    """The mapper's grid and window: what is between a CT and the mapper.

    Args:
        size:       voxels, a multiple of 16, along the longest side of the isotropic grid.
        spacing_mm: fixes the grid's spacing, mm, instead of its size.
        window_hu:  HU carried to 0 and to 1.
        extend_mm:  how far the CT's lowest and highest slices are taken to go on, so that neck and abdomen do not end
                    within the film; 0 for none.
    """

    SECTION: ClassVar[str] = "data"

    size: int = number(128, 16, 1024)
    spacing_mm: float | None = number(None, 0.1, 50.0)
    window_hu: tuple[float, float] = limits((-1000.0, 1500.0), -32768.0, 32768.0)
    extend_mm: float = number(0.0, 0.0, 1000.0)

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.window_hu[0] >= self.window_hu[1]:
            raise ConfigError(f"data.window_hu is {list(self.window_hu)}; expected two HU, the lower first")
        if self.size % 16:
            raise ConfigError(f"data.size is {self.size}; expected a multiple of 16, such as 128")


@dataclass(frozen=True)
class DataSettings(GridSettings):
    """What a training is made from.

    Args:
        ct_dir:          folder of CTs; none: phantoms are made in run_dir/data.
        ct_pattern:      names of the files, or of the DICOM folders, to take from it and below.
        phantoms:        that are made in run_dir/data and added to the CTs of ct_dir, to learn from alike.
        radiographs_dir: folder of real radiographs, or a public set, such as `shenzhen:FOLDER`; none:
                         phantom radiographs are made in run_dir/data.
        cached_volumes:  CTs kept in memory on the mapper's grid.
        skip_bad:        go on without the files that cannot be used, and list them in the run's skipped.csv.
        cached_radiographs: radiographs kept in memory; the others are kept in a file, in 16 bits, of cache_dir or
                         else of run_dir/cache.
        cache_dir:       folder that keeps resampled CTs across runs; none: read the files again.
    """

    ct_dir: str | None = None
    ct_pattern: str = "*"
    phantoms: int = number(0, 0, 10_000)
    radiographs_dir: str | None = None
    cached_volumes: int = number(16, 1, 100_000)
    skip_bad: bool = False
    cached_radiographs: int = number(2048, 0, 100_000_000)
    cache_dir: str | None = None
