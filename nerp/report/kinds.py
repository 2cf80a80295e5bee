"""What a folder's settings are of, by the settings alone: a training of which network, arms, or a study."""

from __future__ import annotations

import json
from typing import Any

import yaml

from nerp.errors import DataError
from nerp.runs import RunFolder

MAPPER, SEGMENTER, CLASSIFIER, ARMS, STUDY = "mapper", "segmenter", "classifier", "arms", "study"
WORDS = {
    MAPPER: "training of a mapper",
    SEGMENTER: "training of a segmenter",
    CLASSIFIER: "training of a classifier",
    ARMS: "trainings of several arms",
    STUDY: "study",
}
"""Each kind, as a reader is told it."""


def kind_of(run: RunFolder) -> str:
    """`mapper`, `segmenter`, `classifier`, `arms` or `study`; empty where a folder has no settings.

    Raises:
        DataError: the settings cannot be read.
    """
    if not run.config.is_file():
        return ""
    settings = settings_of(run)
    if {"rows", "sets", "contrasts"} <= settings.keys():
        return STUDY
    if "arms" in settings or is_arms_folder(run):
        return ARMS
    return next((name for name in (SEGMENTER, CLASSIFIER) if name in settings), MAPPER)


def is_arms_folder(run: RunFolder) -> bool:
    """Whether a folder is one of several arms: its result tells scores of each."""
    if not run.scores.is_file():
        return False
    try:
        return isinstance(json.loads(run.scores.read_bytes()).get("arms"), dict)
    except (ValueError, AttributeError):
        return False


def settings_of(run: RunFolder) -> dict[str, Any]:
    """What a run's config.yaml holds.

    Raises:
        DataError: it cannot be read.
    """
    try:
        settings = yaml.safe_load(run.config.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        raise DataError(f"{run.config} cannot be read ({' '.join(str(error).split())}); train again") from error
    return settings if isinstance(settings, dict) else {}
