"""The report of a run of what learns from images that people or CTs labelled: a segmenter, a classifier."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Any

from nerp.errors import NerpError
from nerp.report.examples import result_sections
from nerp.report.kinds import CLASSIFIER, SEGMENTER, kind_of, settings_of
from nerp.report.parts import Facts, Page, Part, Section, Table, present
from nerp.report.run_parts import curve_sections, hash_section, read_metrics, sample_sections
from nerp.report.settings import ReportConfig
from nerp.report.shelf import Shelf, Shelves
from nerp.report.words import settings_shown
from nerp.runs import RunFolder

_ABOUT = {
    SEGMENTER: (
        "A U-Net learns from labelled pairs to outline a structure in radiographs.",
        "training images, their masks, and what the network sees",
    ),
    CLASSIFIER: ("A network learns which findings a radiograph shows.", "training images, as the network sees them"),
}
"""What each learns, and what its pictures show."""

_log = logging.getLogger(__name__)


def learner_page(folder: Path, report: ReportConfig) -> Page:
    """The report of a segmenter's or a classifier's run; files of its settings are shown by name alone.

    Args:
        folder: the run.
        report: how much is shown.

    Raises:
        DataError: the settings or the metrics cannot be read.
    """
    run = RunFolder(folder)
    settings, metrics, kind = settings_of(run), read_metrics(run.metrics), kind_of(run)
    steps = max((line["step"] for line in metrics), default=0)
    pace = settings[kind]
    facts = {
        "steps": str(steps),
        "pixels": f"{pace['side']} × {pace['side']}",
        "images a step": str(pace["batch_size"]),
    }
    lead, samples = _ABOUT[kind]
    parts: list[Part] = [
        Facts(facts),
        *result_sections(folder, Shelves(tests_of(settings, run.predictions), report.images), report.worst),
        *sample_sections(run, samples),
        *curve_sections(metrics),
        Section("Settings", [Table(list(settings_shown(settings).items()), name="Settings")]),
        *hash_section(run.segmenter if kind == SEGMENTER else run.classifier, run.config),
    ]
    return Page(f"Training of a {kind}, {steps} steps", lead, present(*parts))


def tests_of(settings: dict[str, Any], predictions: Path) -> Shelf:
    """The images that were scored, where they still lie where the settings say, with both masks; of several
    structures the first.

    Args:
        settings:    name the test's folder and its masks.
        predictions: folder of the network's masks.
    """
    shelf, folder, mask = Shelf(), settings.get("test"), settings.get("mask_name")
    if not isinstance(folder, str):
        return shelf
    first = mask.split(",")[0].strip() if isinstance(mask, str) else None
    inner = predictions / first if first is not None and (predictions / first).is_dir() else predictions
    try:
        return shelf.add_tests(folder, inner, pattern=settings.get("masks_pattern"), mask=first)
    except NerpError as error:
        _log.warning("the images of the scores are not shown: %s", error)
        return shelf
