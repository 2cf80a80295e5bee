"""From settings to data: folders of CTs and radiographs, or phantoms where none are given."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from nerp.camera import ViewSettings
from nerp.data.checking import Bad, check_inputs
from nerp.data.ct import CTDataset, find_cts
from nerp.data.folders import find_radiographs
from nerp.data.radiographs import RadiographDataset, check_radiograph
from nerp.data.settings import DataSettings
from nerp.phantom import write_phantoms
from nerp.phantom.settings import PhantomSettings
from nerp.training.adversarial.parts import Sources
from nerp.training.adversarial.training_volumes import TrainingVolumes
from nerp.training.loop import Progress
from nerp.training.phantom_radiographs import is_phantom, make_radiographs
from nerp.volume import Volume, check_volume


@dataclass(frozen=True)
class GridVolumes:
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
        grid: dict[str, Any] = {"size": size, "spacing_mm": data.spacing_mm, "extend_mm": data.extend_mm}
        return CTDataset([self.paths[index]], **grid, cache_folder=data.cache_dir)[0]


def prepare(
    data: DataSettings, phantom: PhantomSettings, *, folder: Path, shape: tuple[int, int], progress: Progress
) -> None:
    """Make the phantoms and their radiographs that a run lacks, those that are not there yet.

    Args:
        data:     where it names no folder, phantoms are made; of those beside its CTs, so many as it says.
        phantom:  how many and how fine.
        folder:   receives ct/, labels/ and radiographs/.
        shape:    (H, W) of a training's images; the radiographs have twice as many rows and columns.
        progress: called as progress(done, total); not at all where nothing is lacking.
    """
    n_volumes = phantom.count if data.ct_dir is None else data.phantoms
    total = n_volumes + phantom.radiographs * (data.radiographs_dir is None)
    seed, spacing_mm = phantom.seed, phantom.spacing_mm

    def count(done: int, _: int) -> None:
        progress(done, total)

    def count_after_volumes(done: int, _: int) -> None:
        progress(n_volumes + done, total)

    if n_volumes:
        write_phantoms(folder, count=n_volumes, seed=seed, spacing_mm=spacing_mm, progress=count)
    if data.radiographs_dir is None:
        make_radiographs(
            folder / "radiographs",
            count=phantom.radiographs,
            seed=seed,
            spacing_mm=spacing_mm,
            shape=(2 * shape[0], 2 * shape[1]),
            progress=count_after_volumes,
        )


def open_sources(
    data: DataSettings, view: ViewSettings, *, shape: tuple[int, int], made: Path, cache: Path | None = None
) -> tuple[Sources, list[Bad]]:
    """The data of a run, and what of it cannot be used; files are checked now and read when first used.

    Args:
        data:  its folders and the mapper's grid.
        view:  the cameras.
        shape: (H, W) of every image.
        made:  where `prepare` made what the data's settings do not name.
        cache: keeps the radiographs that do not stay in memory, where the data's settings name no folder for it.

    Raises:
        DataError: a folder is missing or holds nothing of use, or files are bad and may not be skipped.
    """
    paths = find_cts(data.ct_dir or made / "ct", pattern=data.ct_pattern)
    if data.ct_dir and data.phantoms:
        paths = [*paths, *find_cts(made / "ct")]
    paths, bad_cts = check_inputs(paths, check_volume, what="CTs", skip_bad=data.skip_bad)
    volumes = TrainingVolumes(
        GridVolumes(paths, data), view, shape=shape, window_hu=data.window_hu, n_kept=data.cached_volumes
    )
    source = data.radiographs_dir or made / "radiographs"
    files, bad = check_inputs(find_radiographs(source), check_radiograph, what="radiographs", skip_bad=data.skip_bad)
    kept = data.cache_dir or cache
    radiographs = RadiographDataset(files, shape, n_kept=data.cached_radiographs, cache_folder=kept)
    kind = "phantom" if is_phantom(Path(source)) else "real"
    return Sources(volumes, radiographs, view, kind), [*bad_cts, *bad]
