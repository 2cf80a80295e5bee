"""A study from its settings to its table."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

from nerp.config import save_settings
from nerp.errors import UsageError
from nerp.evaluation.segmentation import Scored
from nerp.experiments.study.cells import cells_of, kept_scores, make_cell
from nerp.experiments.study.pairs import StudyPairs, check_radiographs
from nerp.experiments.study.sets import make_set
from nerp.experiments.study.settings import StudyConfig
from nerp.experiments.study.table import table_of
from nerp.files import check_folder, json_bytes, locked, write_bytes
from nerp.training.loop import Bars


def run_study(config: StudyConfig, *, progress: Bars | None = None) -> dict[str, Any]:
    """Make the cells that are missing and the table of all that are there; killed and called again, it goes on.

    OUT/sets, OUT/runs and OUT/phantoms are made when a row needs them; OUT/cells/PART/ROW-SEED.json keeps a cell, and
    may be brought from another machine; OUT/table.json the result.

    Args:
        config:   the folders, sets, runs and rows.
        progress: called as progress(task, done, total).

    Returns:
        See `table_of`.

    Raises:
        UsageError: no folder to write, or a cell that is none.
        CheckpointError: the folder keeps cells of other settings.
        DataError, ConfigError, TrainingError, VolumeError: of sets, runs and trainings.
    """
    if config.out is None:
        raise UsageError("no folder to write; give --out FOLDER")
    show: Bars = progress or (lambda task, done, total: None)
    check_folder(config.out)
    if config.radiographs:
        check_radiographs(config)
    pairs = StudyPairs(config, lambda name: make_set(config, name, progress=show))
    with locked(config.out):
        save_settings(config, Path(config.out) / "config.yaml")
        missing = [cell for cell in cells_of(config) if kept_scores(config, cell) is None]
        for cell in missing:
            make_cell(config, cell, pairs, progress=show)
        result = table_of(config, _all_kept(config))
        write_bytes(Path(config.out) / "table.json", json_bytes(result))
    return result


def _all_kept(config: StudyConfig) -> dict[str, dict[int, Scored]]:
    """The scores that are kept of every row, by seed, whichever cells were asked for."""
    found: dict[str, dict[int, Scored]] = {name: {} for name in config.table}
    for cell in cells_of(replace(config, only="")):
        scored = kept_scores(config, cell)
        if scored is not None:
            found[cell.row][cell.seed] = scored
    return found
