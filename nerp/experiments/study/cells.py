"""The cells of a study's table, row by seed: trained and scored, or read from the file that keeps each."""

from __future__ import annotations

import json
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from nerp.data.images import read_mask
from nerp.data.structures import Outlined
from nerp.evaluation.overlap import overlap
from nerp.evaluation.segmentation import Scored, score
from nerp.experiments.study.machine import machine
from nerp.experiments.study.pairs import StudyPairs, real_part
from nerp.experiments.study.sets import recipe_of
from nerp.experiments.study.settings import MEAN_MASK, Row, StudyConfig
from nerp.files import json_bytes, write_bytes
from nerp.networks.segmenter import resize
from nerp.settings import flatten
from nerp.training.checkpoint import check_settings
from nerp.training.loop import Bars
from nerp.training.segmentation.arms import SELF_TRAINED, ArmPairs, deciding, train_arm
from nerp.training.settings import ArmConfig, ArmSettings


@dataclass(frozen=True)
class Cell:
    """One training of one row.

    Args:
        row:  its name.
        seed: of the training.
    """

    row: str
    seed: int

    @property
    def label(self) -> str:
        """`physics:0`, as `only` names it."""
        return f"{self.row}:{self.seed}"

    def file(self, config: StudyConfig) -> Path:
        """Where its scores are kept."""
        return Path(str(config.out)) / "cells" / config.part / f"{self.row}-{self.seed}.json"


def cells_of(config: StudyConfig) -> list[Cell]:
    """All cells; first seeds first, so that a table is whole early."""
    every = [(number, name) for name, row in config.table.items() for number in range(seeds_of(row, config))]
    return [Cell(name, config.seed + number) for number, name in sorted(every, key=lambda one: one[0])]


def seeds_of(row: Row, config: StudyConfig) -> int:
    """How many trainings a row has; one where nothing is learned.

    Args:
        row:    of the table.
        config: the study.
    """
    return 1 if row.arm == MEAN_MASK else row.seeds or config.seeds


def kept_scores(config: StudyConfig, cell: Cell) -> Scored | None:
    """The scores of a cell that is kept; None where it is not.

    Args:
        config: the study.
        cell:   which.

    Raises:
        CheckpointError: it was made with other settings, or scored on other images; they are named.
        DataError: see `real_part`.
    """
    kept = cell.file(config)
    if not kept.is_file():
        return None
    found = json.loads(kept.read_bytes())
    check_settings(found["asked"], _asked(config, cell), kept)
    return Scored(**found["scored"])


def make_cell(config: StudyConfig, cell: Cell, pairs: StudyPairs, *, progress: Bars) -> None:
    """Train and score a cell, and keep its scores with all that decided them.

    Args:
        config:   the study.
        cell:     which.
        pairs:    what rows learn from.
        progress: called as progress(task, done, total).

    Raises:
        TrainingError, CheckpointError, DataError: see `train_arm`, `StudyPairs`.
    """
    row, tests = config.table[cell.row], real_part(config, config.part)
    learned, decided = pairs.of(row), dict[str, Any]()
    if row.arm == MEAN_MASK:
        scored = _mean_mask(learned, tests)
    else:
        scored, decided = _trained(config, cell, learned, tests, progress)
    result = {"kind": "cell", "cell": cell.label, "asked": _asked(config, cell), "decided": decided}
    write_bytes(cell.file(config), json_bytes({**result, "made_on": machine(), "scored": vars(scored)}))


def _asked(config: StudyConfig, cell: Cell) -> dict[str, Any]:
    """Dotted keys and JSON values of all that a study says of a cell: no path, so that it may be brought elsewhere."""
    row = config.table[cell.row]
    asked = {
        **flatten(row, "row."),
        "seed": cell.seed,
        "tested": [one.name for one, _ in real_part(config, config.part)],
    }
    del asked["row.seeds"], asked["row.steps"]
    if row.arm != MEAN_MASK:
        asked |= {
            **flatten(_segmenter(config, row), "segmenter."),
            "precision": config.precision,
            "clean": config.clean,
        }
    if row.learns_real:
        asked["learned"] = [one.name for one, _ in real_part(config, "train")]
    for name in row.sets:
        asked |= {f"sets.{name}.{key}": value for key, value in recipe_of(config, name).items()}
    if row.arm == SELF_TRAINED:
        asked |= flatten(replace(config.unlabelled, folders=()), "unlabelled.")
    return json.loads(json.dumps(asked))


def _segmenter(config: StudyConfig, row: Row) -> ArmSettings:
    """The network, and the steps of a row."""
    return config.segmenter if row.steps is None else replace(config.segmenter, steps=row.steps)


def _trained(
    config: StudyConfig, cell: Cell, learned: ArmPairs, tests: Outlined, progress: Bars
) -> tuple[Scored, dict[str, Any]]:
    row, folder = config.table[cell.row], Path(str(config.out)) / "trainings" / cell.row / f"seed-{cell.seed}"
    arm = ArmConfig(
        arm=row.arm,
        seed=cell.seed,
        out=str(folder),
        device=config.device,
        precision=config.precision,
        segmenter=_segmenter(config, row),
        unlabelled=config.unlabelled,
    )
    network = train_arm(arm, learned, progress=lambda done, total: progress(cell.label, done, total))
    predictions = folder / f"predictions-{config.part}"
    pairs = [(image, masks[0]) for image, masks in tests]
    scored = score(network, pairs, predictions=predictions, clean=config.clean)
    return scored, deciding(arm, learned)


def _mean_mask(learned: ArmPairs, tests: Outlined) -> Scored:
    """The scores of the mean of the learned masks, whatever the image."""
    mean = learned.masks.float().mean(0, keepdim=True)
    scores, empty = {}, 0
    for image, masks in tests:
        target = read_mask(masks[0])[0, 0].numpy()
        scores[image.stem] = overlap((resize(mean, target.shape) > 0.5)[0, 0].numpy(), target)
        empty += int(not target.any())
    return Scored(scores, {"predicted": 0, "target": empty}, "px", len(scores))
