"""The report of a segmenter's run."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Any

import yaml

from nerp.errors import DataError, NerpError
from nerp.report.examples import result_sections
from nerp.report.parts import Facts, Page, Part, Section, Table, present
from nerp.report.run_parts import curve_sections, hash_section, read_metrics, sample_sections
from nerp.report.settings import ReportConfig
from nerp.report.shelf import Shelf, Shelves
from nerp.report.words import settings_shown
from nerp.runs import RunFolder

_LEAD = "A U-Net learns from labelled pairs to outline a structure in radiographs."
_SAMPLES = "training images, their masks, and what the network sees"

_log = logging.getLogger(__name__)


def is_segmenters(run: RunFolder) -> bool:
    """Whether a run folder's settings are a segmenter's."""
    return "segmenter" in settings_of(run)


def segmenter_page(folder: Path, report: ReportConfig) -> Page:
    """The report of a segmenter's run; files of its settings are shown by name alone.

    Args:
        folder: the run.
        report: how much is shown.

    Raises:
        DataError: the settings or the metrics cannot be read.
    """
    run = RunFolder(folder)
    settings, metrics = settings_of(run), read_metrics(run.metrics)
    steps = max((line["step"] for line in metrics), default=0)
    pace = settings["segmenter"]
    facts = {"steps": str(steps), "pixels": f"{pace['side']} × {pace['side']}", "pairs a step": str(pace["batch_size"])}
    parts: list[Part] = [
        Facts(facts),
        *result_sections(folder, Shelves(tests_of(settings, run.predictions), report.images), report.worst),
        *sample_sections(run, _SAMPLES),
        *curve_sections(metrics),
        Section("Settings", [Table(list(settings_shown(settings).items()), name="Settings")]),
        *hash_section(run.segmenter, run.config),
    ]
    return Page(f"Training of a segmenter, {steps} steps", _LEAD, present(*parts))


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
