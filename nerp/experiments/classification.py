"""What synthetic images add to real ones for telling findings: classifiers in several arms, on the same images."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from nerp.config import save_settings
from nerp.data.checking import Bad, write_skipped
from nerp.data.findings import NOTHING_FOUND, finding_name, label_matrix
from nerp.data.labelled import Labelled, Telling, find_labelled
from nerp.data.patients import find_patients, read_index
from nerp.errors import UsageError
from nerp.experiments.arms import ONE_SEED
from nerp.experiments.cells import Comparison, predictions_of
from nerp.experiments.classification_scores import KnownFindings, check_scored, classification_scores
from nerp.experiments.finding_folds import finding_folds
from nerp.experiments.settings import ClassificationConfig
from nerp.experiments.splits import check_splits
from nerp.files import check_folder, json_bytes, write_bytes
from nerp.runs import RunFolder
from nerp.training.arms import ARMS, check_arm, named_arms
from nerp.training.images import load_images
from nerp.training.loop import Progress

__all__ = ["ClassificationConfig", "evaluate_classification"]

NOBODY_KNOWN = (
    "the patients of {} of {} images are not known: each is taken for a patient of its own, so that one may be on both "
    "sides of a fold; give an index of them (--patients FILE: file,patient_id)"
)


def evaluate_classification(config: ClassificationConfig, *, progress: Progress | None = None) -> dict[str, Any]:
    """Train each arm with each seed for the same number of steps, and score all on the same images, finding by finding.

    With `config.out`, OUT/ARM/seed-K, or OUT/ARM/seed-K/fold-K, is the run of a training, with its predictions.csv;
    OUT/scores.json the result. Called again, what is done is read, what was interrupted is continued.

    In cross-validation an image is scored by the network that did not learn it or its patient, and compared with images
    of its own fold. An arm that does not learn from the folder in folds is trained once for all of them.

    Args:
        config:   the folders, the findings, the arms, the seeds and the settings.
        progress: called as progress(steps done, steps planned) over all trainings.

    Returns:
        JSON-ready, of kind `classification`: what `classification_scores` returns; `findings`; `images`, how many are
        learned and tested; `learned_positive`; `patients` of the test; `training`; `warnings`; `skipped`.

    Raises:
        UsageError: arms that are none, or whose folders are not given; both or neither of a test and folds; a finding
            that a folder does not tell.
        DataError: a patient, a CT or a file is both learned and tested, files that cannot be used, or no finding with
            patients enough.
        TrainingError, CheckpointError: see `train_classifier`.
    """
    arms, study = _arms(config), _study(config)
    tested = study.tested
    check_scored(tested, config.least)
    run = None if config.out is None else RunFolder(Path(config.out))
    if run is not None:
        check_folder(run.path)
    comparison = Comparison(config, study.names, study.images(), study.tensors(), study.files, tested.strata)
    predicted, training = predictions_of(comparison, arms, progress)
    options = {"seed": config.seed, "least": config.least, "n_resamples": config.n_resamples}
    scores = classification_scores(predicted, tested, **options)
    doubts = [*study.warnings, *_doubts(study), *scores["warnings"]]
    result = {"kind": "classification", **scores, **_facts(study), "training": training}
    result |= {"warnings": list(dict.fromkeys(doubts))}
    if run is not None:
        write_skipped(run.skipped, study.skipped)
        save_settings(config, run.config)
        write_bytes(run.scores, json_bytes(result))
    return result


@dataclass(frozen=True)
class _Study:
    """All images by their role, `real`, `synthetic`, `test`, with their findings, and whom those tested are of."""

    config: ClassificationConfig
    found: dict[str, Labelled]
    names: tuple[str, ...]
    labels: dict[str, np.ndarray]
    groups: tuple[str, ...]
    warnings: list[str]

    @property
    def files(self) -> tuple[Path, ...]:
        """The tested images."""
        return self.found[_tested(self.config)].files

    @property
    def skipped(self) -> list[Bad]:
        """What cannot be used, of all folders."""
        return [bad for one in self.found.values() for bad in one.skipped]

    @property
    def learned(self) -> dict[str, dict[str, int]]:
        """Positive images of each finding in each folder that is learned from."""
        counts = {role: (values == 1).sum(0).tolist() for role, values in self.labels.items() if role != "test"}
        return {role: dict(zip(self.names, of, strict=True)) for role, of in counts.items()}

    @cached_property
    def tested(self) -> KnownFindings:
        """What is known of the tested images."""
        config, labels = self.config, self.labels[_tested(self.config)]
        strata = None if config.folds is None else finding_folds(labels, self.groups, config.folds, seed=config.seed)
        return KnownFindings(self.names, labels, self.groups, strata)

    def images(self) -> dict[str, Tensor]:
        """(N, 1, side, side) uint8 of each role."""
        return {role: load_images(one.files, self.config.classifier.side) for role, one in self.found.items()}

    def tensors(self) -> dict[str, Tensor]:
        """(N, K) float32 of each role: 1, 0, NaN where it is not known."""
        return {role: torch.from_numpy(values) for role, values in self.labels.items()}


def _study(config: ClassificationConfig) -> _Study:
    found = _found(config)
    names = _findings(config, found)
    labels = {role: label_matrix(one.rows, names) for role, one in found.items()}
    return _Study(config, found, names, labels, *_patients(config, found))


def _facts(study: _Study) -> dict[str, Any]:
    """Counts of what is learned and tested."""
    return {
        "findings": list(study.names),
        "images": {role: len(one.files) for role, one in study.found.items()},
        "learned_positive": study.learned,
        "patients": len(set(study.groups)),
        "folds": study.config.folds,
        "skipped": [bad.path.name for bad in study.skipped],
    }


def _arms(config: ClassificationConfig) -> list[str]:
    """The arms, once it is sure that folders for all are named, and one thing to test on."""
    if (config.test is None) == (config.folds is None):
        raise UsageError("give either --test, a folder of other patients, or --folds, such as 5, not both or neither")
    n_real, n_synthetic = int(config.real is not None), int(config.synthetic is not None)
    if config.arms is None:
        there = {"real": n_real, "synthetic": n_synthetic}
        allowed = [arm for arm in ARMS if there.get(arm, n_real and n_synthetic)]
        if not allowed:
            raise UsageError("no images to learn from; give --real, --synthetic or both")
        return allowed
    arms = named_arms(config.arms)
    for arm in arms:
        check_arm(arm, n_real, n_synthetic, what="images")
    return arms


def _tested(config: ClassificationConfig) -> str:
    """The role of the images that are tested."""
    if config.test is not None:
        return "test"
    return "synthetic" if config.real is None else "real"


def _asked(config: ClassificationConfig) -> tuple[str, ...]:
    parts = [finding_name(part) for part in (config.findings or "").split(",") if part.strip()]
    return tuple(dict.fromkeys(parts))


def _found(config: ClassificationConfig) -> dict[str, Labelled]:
    """The images of each folder that is named, by its role."""
    tables = tuple(Path(part.strip()) for part in (config.labels or "").split(",") if part.strip())
    empty = 0 if config.empty == "negative" else None
    telling = Telling(tables, _asked(config), empty, None if config.ct is None else Path(config.ct))
    folders = {"real": config.real, "synthetic": config.synthetic, "test": config.test}
    named = {role: folder for role, folder in folders.items() if folder is not None}
    return {role: find_labelled(folder, telling, skip_bad=config.skip_bad) for role, folder in named.items()}


def _findings(config: ClassificationConfig, found: dict[str, Labelled]) -> tuple[str, ...]:
    """Those asked for, or those that every folder tells."""
    asked, told = _asked(config), {role: one.names for role, one in found.items()}
    for role, names in told.items():
        lacking = [name for name in asked if name not in names]
        if lacking:
            raise UsageError(f"the {role} images' tables tell nothing of {lacking[0]}; they tell {_listed(names)}")
    common = set.intersection(*told.values()) - {NOTHING_FOUND}
    if not asked and not common:
        lists = "; ".join(f"{role}: {_listed(names)}" for role, names in told.items())
        raise UsageError(f"no finding is told of all folders ({lists}); name columns alike in their tables")
    return asked or tuple(sorted(common))


def _listed(names: set[str]) -> str:
    return ", ".join(sorted(names)) or "none"


def _patients(config: ClassificationConfig, found: dict[str, Labelled]) -> tuple[tuple[str, ...], list[str]]:
    """Whom each tested image is of, once it is sure that no other folder has any of them; and what is doubtful."""
    role = _tested(config)
    files = found[role].files
    learned = {f"{other} folder": one.files for other, one in found.items() if other != role}
    warnings = list(check_splits(learned, files, index=config.patients).warnings) if learned else []
    patients = find_patients(files, index=read_index(config.patients) if config.patients else None)
    if config.folds is not None and patients.unknown:
        warnings.append(NOBODY_KNOWN.format(patients.unknown, len(files)))
    return patients.labels, warnings


def _doubts(study: _Study) -> list[str]:
    """Sentences on images without findings, findings without images, and a single seed."""
    unlisted = [
        f"{one.unlisted} images of the {role} folder are in no table of findings and were left out"
        for role, one in study.found.items()
        if one.unlisted
    ]
    least = study.config.least
    few = {role: [f"{name} ({n})" for name, n in of.items() if n < least] for role, of in study.learned.items()}
    rare = [f"the {role} images have few positives to learn from: {', '.join(of)}" for role, of in few.items() if of]
    return [*unlisted, *rare, *([ONE_SEED] if study.config.seeds == 1 else [])]
