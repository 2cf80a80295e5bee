"""From settings to data: folders of CTs and radiographs, or stand-ins where none are given."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from nerp.config import Config
from nerp.data.ct import CTDataset, find_cts
from nerp.data.radiographs import RadiographDataset
from nerp.data.settings import DataSettings
from nerp.phantom import write_phantoms
from nerp.training.patients import Patients
from nerp.training.stand_in import STAND_IN_NOTE, make_radiographs
from nerp.training.trainer import Sources
from nerp.volume import Volume


@dataclass(frozen=True)
class GridVolumes(Sequence):
    """HU volumes on the mapper's grid, read when asked for and not remembered.

    Args:
        paths:    CT files or DICOM folders.
        settings: size or spacing of the grid; a folder that keeps resampled grids across runs.
    """

    paths: list[Path]
    settings: DataSettings

    def __len__(self) -> int:
        return len(self.paths)

    def __getitem__(self, index: int) -> Volume:
        data = self.settings
        size = data.size if data.spacing_mm is None else None
        grid = {"size": size, "spacing_mm": data.spacing_mm, "cache_folder": data.cache_dir}
        return CTDataset([self.paths[index]], **grid)[0]


def prepare(config: Config, advance: Callable[[], None]) -> None:
    """Make the phantoms and stand-ins that `config` lacks, under its run folder; `advance` is called at each."""
    folder, settings = Path(config.run_dir) / "data", config.phantom
    common = {"seed": settings.seed, "spacing_mm": settings.spacing_mm}
    if config.data.ct_dir is None:
        write_phantoms(folder, count=settings.count, **common, progress=lambda done, count: advance())
    if config.data.radiographs_dir is None:
        rows, columns = config.viewer.shape
        shape = (2 * rows, 2 * columns)
        make_radiographs(folder / "radiographs", count=settings.radiographs, shape=shape, advance=advance, **common)


def n_to_prepare(config: Config) -> int:
    """How many things `prepare` makes."""
    return config.phantom.count * (config.data.ct_dir is None) + config.phantom.radiographs * (
        config.data.radiographs_dir is None
    )


def open_sources(config: Config) -> Sources:
    """The data that `config` names; files are read when first used.

    Raises:
        DataError: a folder is missing or holds nothing of use.
    """
    data, made = config.data, Path(config.run_dir) / "data"
    shape, window_hu = tuple(config.viewer.shape), tuple(data.window_hu)
    paths = find_cts(data.ct_dir or made / "ct", pattern=data.ct_pattern)
    volumes = GridVolumes(paths, data)
    patients = Patients(volumes, config.camera, shape=shape, window_hu=window_hu, kept=data.cached_volumes)
    folder = Path(data.radiographs_dir or made / "radiographs")
    radiographs = RadiographDataset(folder, shape)
    name = "stand-in" if (folder / STAND_IN_NOTE).is_file() else "real"
    return Sources(patients, radiographs, config.camera, name)
