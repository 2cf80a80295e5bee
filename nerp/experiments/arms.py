"""What synthetic pairs add to real ones: one segmenter in several arms, with several seeds, on the same test images."""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass
from itertools import chain, combinations
from pathlib import Path
from typing import Any

import torch

from nerp.config import save_settings
from nerp.data.checking import write_skipped
from nerp.data.pixel_spacing import spacing_finder, stated_spacings
from nerp.data.structures import Outlined, find_outlined, structure_names
from nerp.errors import UsageError
from nerp.evaluation.crossed import CrossedDraws, crossed_draws
from nerp.evaluation.segmentation import Scored, SpacingOf, mean_of, score_structures
from nerp.experiments.overlap_table import apart, told, values_of
from nerp.experiments.settings import ArmsConfig
from nerp.experiments.splits import Split, check_splits
from nerp.experiments.utility import find_tests, spacing_warnings, unlabelled_files
from nerp.files import check_folder, json_bytes, sha256, write_bytes
from nerp.runs import RunFolder
from nerp.training.arms import named_arms, part_of
from nerp.training.checkpoint import check_settings
from nerp.training.loop import Progress
from nerp.training.segmentation.arms import (
    SELF_TRAINED,
    ArmPairs,
    check_segmenter_arm,
    deciding,
    load_arm_pairs,
    train_arm,
)
from nerp.training.settings import ArmConfig
from nerp.training.unlabelled_settings import UnlabelledSettings

__all__ = ["ArmsConfig", "evaluate_arms"]

Each = dict[str, Scored]
"""The scores of each structure by its name."""

ONE_SEED = "one seed: the intervals say nothing of the chance in training; give seeds=3 or more"


@dataclass(frozen=True)
class _Tests:
    """What every arm is tested on."""

    outlined: Outlined
    names: tuple[str, ...]
    spacing_mm: SpacingOf
    fingerprint: str
    clean: bool


def evaluate_arms(config: ArmsConfig, *, progress: Progress | None = None) -> dict[str, Any]:
    """Train each arm with each seed for the same number of steps, score all on the same images, and compare them.

    With `config.out`, OUT/ARM/seed-K is the run of an arm and seed, with its scores.json; OUT/scores.json the result.
    Called again, what is done is read, what was interrupted is continued.

    Args:
        config:   the folders, the arms, the seeds and the settings.
        progress: called as progress(steps done, steps planned) over all arms and seeds.

    Returns:
        JSON-ready, of kind `arms`: for each of `arms` and of `differences` ("mixed minus real"; paired by image and
        seed) for each metric a dict of value, ci95, n; `per_seed` means; `pairs` learned; `distance_unit`; `patients`
        of the test; `images_without_mask`; `warnings`; `skipped`.

    Raises:
        UsageError: arms that are none, or whose folders are not given; no test.
        DataError: a patient, a CT or a file is both learned and tested, or files that cannot be used.
        TrainingError, CheckpointError: see `train_arm`.
    """
    arms = _arms(config)
    assert config.test is not None  # of `_arms`
    names = structure_names(config.mask_name)
    found, unmatched, skipped = find_tests(config.test, names, pattern=config.masks_pattern, skip_bad=config.skip_bad)
    split = _split(config, found)
    out = None if config.out is None else RunFolder(Path(config.out))
    if out is not None:
        check_folder(out.path)
    spacing_mm = spacing_finder([image for image, _ in found], config.spacing_mm)
    tests = _Tests(found, names, spacing_mm, _fingerprint(found, config), config.clean)
    pairs = load_arm_pairs(_arm_config(config, arms[0], config.seed))
    scored = _all_scores(config, arms, pairs, tests, progress)
    result = _summary(scored, config.seed, split)
    result |= {"images_without_mask": unmatched, "skipped": [one.path.name for one in skipped]}
    result |= {"pairs": {"real": pairs.n_real, "synthetic": pairs.n_synthetic}, "steps": config.segmenter.steps}
    if out is not None:
        write_skipped(out.skipped, skipped)
        save_settings(config, out.config)
        write_bytes(out.scores, json_bytes(result))
    return result


def _arms(config: ArmsConfig) -> list[str]:
    """The arms asked for, once it is sure that folders for all are named."""
    arms = named_arms(config.arms)
    for arm in arms:
        n_films = int(config.unlabelled.is_used)
        check_segmenter_arm(arm, int(config.real is not None), int(config.synthetic is not None), n_films=n_films)
    if config.test is None:
        raise UsageError("no images to test on; give --test, a folder with images/ and masks/")
    return arms


def _split(config: ArmsConfig, tests: Outlined) -> Split:
    """Whom the tests are of, once it is sure that no folder to learn from has any of them."""
    folders = {"real folder": config.real, "synthetic folder": config.synthetic}
    names = structure_names(config.mask_name)
    learned = {
        where: [image for image, _ in find_outlined(folder, names)[0]]
        for where, folder in folders.items()
        if folder is not None
    }
    films, tested = unlabelled_files(config) if SELF_TRAINED in config.arms else {}, [image for image, _ in tests]
    return check_splits({**learned, **films}, tested, index=config.patients)


def _fingerprint(tests: Outlined, config: ArmsConfig) -> str:
    """Of the tests' names and bytes, of their spacing as stated, and of cleaning: kept scores are of these alone."""
    files = [[path.name, sha256(path)] for image, masks in tests for path in (image, *chain(*masks))]
    stated = {path.name: one for path, one in stated_spacings([image for image, _ in tests]).items()}
    return hashlib.sha256(json.dumps([files, config.spacing_mm, stated, config.clean]).encode()).hexdigest()


def _arm_config(config: ArmsConfig, arm: str, seed: int) -> ArmConfig:
    out = None if config.out is None else str(Path(config.out) / arm / f"seed-{seed}")
    shared = {name: getattr(config, name) for name in ("real", "synthetic", "mask_name", "skip_bad", "device")}
    unlabelled = config.unlabelled if SELF_TRAINED in config.arms else UnlabelledSettings()
    own: dict[str, Any] = {"arm": arm, "seed": seed, "out": out, "unlabelled": unlabelled}
    return ArmConfig(**own, precision=config.precision, segmenter=config.segmenter, **shared)


def _all_scores(
    config: ArmsConfig, arms: list[str], pairs: ArmPairs, tests: _Tests, progress: Progress | None
) -> dict[str, list[Each]]:
    """The scores of each arm, one set a seed."""
    runs = [(arm, config.seed + number) for number in range(config.seeds) for arm in arms]
    steps, scored = config.segmenter.steps, {arm: list[Each]() for arm in arms}
    for number, (arm, seed) in enumerate(runs):
        tick = part_of(progress, number * steps, len(runs) * steps)
        scored[arm].append(_scores(_arm_config(config, arm, seed), pairs, tests, tick))
        tick(steps, steps)
    return scored


def _scores(config: ArmConfig, pairs: ArmPairs, tests: _Tests, progress: Progress) -> Each:
    """The scores of one arm and seed: read where they are kept, else of a training."""
    run = None if config.out is None else RunFolder(Path(config.out))
    decide = {**deciding(config, pairs), "test": tests.fingerprint}
    if run is not None and run.scores.is_file():
        kept = json.loads(run.scores.read_bytes())
        check_settings(kept["settings"], decide, run.path)
        return {name: Scored(**one) for name, one in kept["scored"].items()}
    network = train_arm(config, pairs, progress=progress)
    predictions = None if run is None else run.predictions
    places: dict[str, Any] = {"predictions": predictions, "spacing_mm": tests.spacing_mm}
    scored = score_structures(network, tests.outlined, tests.names, **places, clean=tests.clean)
    if run is not None:
        kept_scores = {name: vars(one) for name, one in scored.items()}
        write_bytes(run.scores, json_bytes({"kind": "arm", "settings": decide, "scored": kept_scores}))
    return scored


def _summary(scored: dict[str, list[Each]], seed: int, split: Split) -> dict[str, Any]:
    """Every arm's scores, and the differences of every two; of several structures their mean's and each one's."""
    first, n_seeds = next((runs[0], len(runs)) for runs in scored.values())
    mean = {arm: [mean_of(list(run.values())) for run in runs] for arm, runs in scored.items()}
    whole = next(iter(mean.values()))[0]
    groups = None if split.groups is None else [split.groups[stem] for stem in whole.scores]
    draws = crossed_draws(n_seeds, len(whole.scores), generator=torch.Generator().manual_seed(seed), groups=groups)
    result = {"kind": "arms", **_compared(mean, draws), "distance_unit": whole.unit, "patients": split.count}
    if len(first) > 1:
        of = {name: {arm: [run[name] for run in runs] for arm, runs in scored.items()} for name in first}
        result["structures"] = {name: _compared(runs, draws) for name, runs in of.items()}
    doubts = [*split.warnings, *spacing_warnings(whole, len(whole.scores)), *([ONE_SEED] if n_seeds == 1 else [])]
    return {**result, "warnings": doubts}


def _compared(scored: dict[str, list[Scored]], draws: CrossedDraws) -> dict[str, Any]:
    values = {arm: values_of(runs) for arm, runs in scored.items()}
    couples = {f"{later} minus {earlier}": (later, earlier) for earlier, later in combinations(values, 2)}
    differences = {name: apart(values[later], values[earlier]) for name, (later, earlier) in couples.items()}
    return {
        "arms": {arm: told(of, draws) for arm, of in values.items()},
        "differences": {name: told(of, draws) for name, of in differences.items()},
    }
