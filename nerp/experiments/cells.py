"""The cells of a comparison of classifiers, arm by seed by fold: trained, or read where they were kept."""

from __future__ import annotations

import csv
import hashlib
import io
import json
import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from nerp.devices import WHOLE
from nerp.errors import DataError
from nerp.experiments.settings import ClassificationConfig
from nerp.files import json_bytes, write_bytes, write_text
from nerp.runs import RunFolder
from nerp.training.arms import part_of, uses
from nerp.training.checkpoint import check_settings
from nerp.training.classification.run import Learned, deciding, probabilities, train_classifier
from nerp.training.classification.settings import CellConfig
from nerp.training.digest import digest
from nerp.training.loop import Progress


@dataclass(frozen=True)
class Comparison:
    """What all cells share.

    Args:
        config:   the arms, seeds and settings.
        findings: names.
        images:   (N, 1, side, side) uint8 of each role: `real`, `synthetic`, `test`.
        labels:   (N, K) float32 of each role: 1, 0, NaN where it is not known.
        files:    of the tested images.
        strata:   (N,) folds of the tested images, or None where a folder is tested.
    """

    config: ClassificationConfig
    findings: tuple[str, ...]
    images: dict[str, Tensor]
    labels: dict[str, Tensor]
    files: tuple[Path, ...]
    strata: np.ndarray | None

    @property
    def tested(self) -> str:
        """The role of the tested images."""
        return next(role for role in ("test", "real", "synthetic") if role in self.images)

    def folds_of(self, arm: str) -> list[int | None]:
        """The folds for which an arm is trained anew; one of no number where it does not learn what is in folds."""
        if self.strata is None or not uses(arm, self.tested):
            return [None]
        return np.unique(self.strata).tolist()

    def cell(self, arm: str, seed: int, fold: int | None) -> CellConfig:
        """The settings of one training.

        Args:
            arm:  one of `ARMS`.
            seed: of the training.
            fold: that is left out, or None.
        """
        out = None
        if self.config.out is not None:
            out = str(Path(self.config.out, arm, f"seed-{seed}", *([] if fold is None else [f"fold-{fold}"])))
        shared: dict[str, Any] = {name: getattr(self.config, name) for name in ("device", "precision", "classifier")}
        return CellConfig(arm=arm, seed=seed, fold=fold, out=out, **shared)

    def learned(self, fold: int | None) -> Learned:
        """What is learned from where a fold, if any, is left out."""
        kept = {role: self._kept(role, fold) for role in ("real", "synthetic") if role in self.images}
        images, labels = (
            torch.cat([of[role][rows] for role, rows in kept.items()]) for of in (self.images, self.labels)
        )
        return Learned(self.findings, images, labels, len(kept["real"]) if "real" in kept else 0)

    def _kept(self, role: str, fold: int | None) -> Tensor:
        if fold is None or role != self.tested or self.strata is None:
            return torch.arange(len(self.images[role]), **WHOLE)
        return torch.from_numpy(np.flatnonzero(self.strata != fold))

    def rows(self, fold: int | None) -> np.ndarray:
        """(M,) int64 indices of the tested images of a fold, or of all."""
        if fold is None or self.strata is None:
            return np.arange(len(self.files))
        return np.flatnonzero(self.strata == fold)


def predictions_of(
    comparison: Comparison, arms: Sequence[str], progress: Progress | None
) -> tuple[dict[str, np.ndarray], dict[str, Any]]:
    """What every arm says of every tested image.

    Args:
        comparison: images and settings.
        arms:       names.
        progress:   over all steps of all cells.

    Returns:
        (S, N, K) probabilities of each arm, seeds by images by findings; and how they were trained.

    Raises:
        TrainingError, CheckpointError: see `train_classifier`.
    """
    config = comparison.config
    cells = [(arm, number, fold) for number in range(config.seeds) for arm in arms for fold in comparison.folds_of(arm)]
    shape, steps = (config.seeds, len(comparison.files), len(comparison.findings)), config.classifier.steps
    predicted = {arm: np.full(shape, np.nan) for arm in arms}
    for at, (arm, number, fold) in enumerate(cells):
        tick = part_of(progress, at * steps, len(cells) * steps)
        cell, rows = comparison.cell(arm, config.seed + number, fold), comparison.rows(fold)
        predicted[arm][number, rows] = cell_predictions(cell, comparison, rows, tick)
        tick(steps, steps)
    return predicted, {
        "network": config.classifier.network,
        "side": config.classifier.side,
        "steps": steps,
        "batch_size": config.classifier.batch_size,
        "trainings": len(cells),
        "threads": torch.get_num_threads(),
    }


def cell_predictions(cell: CellConfig, comparison: Comparison, rows: np.ndarray, progress: Progress) -> np.ndarray:
    """(M, K) probabilities of one cell: read where they are kept, else of a training.

    Args:
        cell:       its settings.
        comparison: images.
        rows:       (M,) indices of the tested images.
        progress:   of its steps.

    Raises:
        CheckpointError: the cell was trained with other settings.
        DataError:       its kept predictions are damaged.
    """
    learned, tested = comparison.learned(cell.fold), comparison.images[comparison.tested][torch.from_numpy(rows)]
    names = _relative([comparison.files[row] for row in rows])
    decide = {
        **deciding(cell, learned),
        "test": hashlib.sha256("\n".join([digest(tested), *names]).encode()).hexdigest(),
    }
    run = None if cell.out is None else RunFolder(Path(cell.out))
    if run is not None and run.scores.is_file():
        check_settings(json.loads(run.scores.read_bytes())["settings"], decide, run.path)
        return _read(run.probabilities, names, learned.findings)
    found = probabilities(train_classifier(cell, learned, progress=progress), tested)
    if run is not None:
        write_text(run.probabilities, _csv(names, learned.findings, found))
        write_bytes(run.scores, json_bytes({"kind": "cell", "settings": decide}))
    return found


def _relative(files: Sequence[Path]) -> list[str]:
    """Names below the folder that all files share."""
    shared = os.path.commonpath([file.resolve().parent for file in files])
    return [file.resolve().relative_to(shared).as_posix() for file in files]


def _csv(names: list[str], findings: tuple[str, ...], values: np.ndarray) -> str:
    """Every bit of each probability, as the shortest text that gives it back."""
    text = io.StringIO()
    rows = csv.writer(text, lineterminator="\n")
    rows.writerow(["file", *findings])
    rows.writerows([name, *map(repr, one)] for name, one in zip(names, values.tolist(), strict=True))
    return text.getvalue()


def _read(path: Path, names: list[str], findings: tuple[str, ...]) -> np.ndarray:
    """The probabilities of a file that `_csv` made.

    Raises:
        DataError: it is of other images or findings, or damaged.
    """
    try:
        head, *rows = csv.reader(path.read_text(encoding="utf-8").splitlines())
        values = np.array([[float(cell) for cell in row[1:]] for row in rows]).reshape(len(names), len(findings))
        whole = head == ["file", *findings] and [row[0] for row in rows] == names and bool(np.isfinite(values).all())
    except (OSError, ValueError, IndexError):
        whole = False
    if not whole:
        raise DataError(f"{path} holds other predictions than its training left; remove {path.parent} to train again")
    return values
