"""What the runs of several arms left beside their scores: single images that each arm finds hard, and the settings."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from nerp.report.examples import examples
from nerp.report.kinds import is_arms_folder, settings_of
from nerp.report.of_learner import tests_of
from nerp.report.parts import Part, Section, Table, Text
from nerp.report.results import SavedResult, read_result
from nerp.report.run_parts import hash_section
from nerp.report.shelf import Shelves
from nerp.report.words import settings_shown
from nerp.runs import RunFolder

SEED_FOLDERS = "seed-*"
"""The runs of an arm in its folder."""

_EXAMPLES = "Of each arm's first seed: the images that it outlines worst, and some of those that it outlines best."


def arm_sections(folder: Path, worst: int) -> list[Section]:
    """The worst and best images of each arm with both masks, where its runs and the test's images are still there.

    Args:
        folder: of the experiment, OUT/ARM/seed-K in it.
        worst:  how many of each are shown; 0 for none.

    Raises:
        DataError: a run's scores are damaged.
    """
    run = RunFolder(folder)
    if not worst or not run.config.is_file() or not is_arms_folder(run):
        return []
    arms = read_result(run.scores).values["arms"]
    first = {arm: next(iter(sorted((folder / arm).glob(f"{SEED_FOLDERS}/{run.scores.name}"))), None) for arm in arms}
    parts: list[Part] = []
    for arm, path in first.items():
        if path is not None:
            predictions = RunFolder(path.parent).predictions
            shelves = Shelves(tests_of(settings_of(run), predictions))
            inner = examples(_by_image(read_result(path)), shelves, worst)
            parts += [Section(f"Arm {arm}", inner)] if inner else []
    return [Section("Single images", [Text(_EXAMPLES), *parts])] if parts else []


def _by_image(result: SavedResult) -> SavedResult:
    """An arm's scores of the first structure, one entry an image."""
    scored = result.values.get("scored")
    first: Any = next(iter(scored.values()), {}) if isinstance(scored, dict) else {}
    images = first.get("scores") if isinstance(first, dict) else None
    return SavedResult(result.name, "", {"per_image": images if isinstance(images, dict) else {}})


def settings_section(folder: Path) -> list[Section]:
    """The settings that an experiment's result was saved with, without folders; nothing where none are there.

    Args:
        folder: of the experiment.

    Raises:
        DataError: they cannot be read.
    """
    run = RunFolder(folder)
    if not run.config.is_file():
        return []
    rows = list(settings_shown(settings_of(run)).items())
    return [Section("Settings", [Table(rows, name="Settings")]), *hash_section(run.config)]
