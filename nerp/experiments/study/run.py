"""A study from its settings to its table."""

from __future__ import annotations

from functools import cache
from pathlib import Path
from typing import Any

from nerp.config import save_settings
from nerp.errors import UsageError
from nerp.evaluation.segmentation import Scored
from nerp.experiments.study.cells import Cell, cells_of, kept_scores, make_cell
from nerp.experiments.study.fidelity import Look, Looks, looks_of
from nerp.experiments.study.fidelity_table import fidelity_of
from nerp.experiments.study.pairs import StudyPairs, check_radiographs
from nerp.experiments.study.sets import make_set
from nerp.experiments.study.settings import StudyConfig
from nerp.experiments.study.table import table_of
from nerp.files import check_folder, json_bytes, locked, write_bytes
from nerp.training.loop import Bars


def run_study(config: StudyConfig, *, progress: Bars | None = None) -> dict[str, Any]:
    """Make the cells that are missing and the table of all that are there; killed and called again, it goes on.

    OUT/sets, OUT/runs and OUT/phantoms are made when a row needs them; OUT/cells/PART/ROW-SEED.json keeps a cell,
    OUT/cells/fidelity/SET-EXTRACTOR.json a look at a set, and both may be brought from another machine; OUT/table.json
    the result.

    Args:
        config:   the folders, sets, runs and rows.
        progress: called as progress(task, done, total).

    Returns:
        See `table_of`; and, of a study that asks for it, `fidelity`, see `fidelity_of`.

    Raises:
        UsageError: no folder to write, or a cell that is none.
        CheckpointError: the folder keeps cells of other settings.
        DataError, ConfigError, TrainingError, VolumeError, EvaluationError: of sets, runs, trainings and looks.
    """
    if config.out is None:
        raise UsageError("no folder to write; give --out FOLDER")
    show: Bars = progress or (lambda task, done, total: None)
    check_folder(config.out)
    if config.radiographs and config.split:
        check_radiographs(config)
    sets = cache(lambda name: make_set(config, name, progress=show))
    pairs, looks = StudyPairs(config, sets), Looks(config, sets)
    cells, seen = _asked(config)
    with locked(config.out):
        save_settings(config, Path(config.out) / "config.yaml")
        for cell in [cell for cell in cells if kept_scores(config, cell) is None]:
            make_cell(config, cell, pairs, progress=show)
        for look in [look for look in seen if looks.kept(look) is None]:
            looks.make(look, progress=show)
        result = _table(config, looks)
        write_bytes(Path(config.out) / "table.json", json_bytes(result))
    return result


def _asked(config: StudyConfig) -> tuple[list[Cell], list[Look]]:
    """The cells and looks that `only` names, or all.

    Raises:
        UsageError: it names one that is none.
    """
    cells, looks = cells_of(config), looks_of(config)
    asked = [text.strip() for text in config.only.split(",") if text.strip()]
    labels = [*(cell.label for cell in cells), *(look.label for look in looks)]
    unknown = [text for text in asked if text not in labels]
    if unknown:
        form = "ROW:SEED or SET:EXTRACTOR" if looks else "ROW:SEED"
        raise UsageError(f"no cell is called {unknown[0]!r}; expected {form}, such as {', '.join(labels[:1])}")
    wanted = asked or labels
    return [one for one in cells if one.label in wanted], [one for one in looks if one.label in wanted]


def _table(config: StudyConfig, looks: Looks) -> dict[str, Any]:
    """Of all that is there, whichever cells were asked for."""
    result = table_of(config, _all_kept(config))
    if not config.fidelity:
        return result
    kept = {look: scores for look in looks_of(config) if (scores := looks.kept(look)) is not None}
    fidelity = fidelity_of(config, kept)
    warnings = [*result["warnings"], *fidelity.pop("warnings")]
    return result | {"fidelity": fidelity, "warnings": warnings}


def _all_kept(config: StudyConfig) -> dict[str, dict[int, Scored]]:
    """The scores that are kept of every row, by seed."""
    found: dict[str, dict[int, Scored]] = {name: {} for name in config.table}
    for cell in cells_of(config):
        scored = kept_scores(config, cell)
        if scored is not None:
            found[cell.row][cell.seed] = scored
    return found
