"""The report of a segmenter's run."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import yaml

from nerp.errors import DataError
from nerp.report import page
from nerp.report.run_parts import curve_sections, read_metrics, sample_sections
from nerp.report.scores import score_sections
from nerp.runs import RunFolder

_LEAD = "A U-Net learns from labelled pairs to outline a structure in radiographs."
_SAMPLES = "training images, their masks, and what the network sees"
_PATHS = ("train", "test", "out", "weights")


def is_segmenters(run: RunFolder) -> bool:
    """Whether a run folder's settings are a segmenter's."""
    return "segmenter" in _settings(run)


def segmenter_page(folder: Path) -> str:
    """The HTML report of a segmenter's run; no path of its settings is shown.

    Raises:
        DataError: the settings or the metrics cannot be read.
    """
    run = RunFolder(folder)
    settings, metrics = _settings(run), read_metrics(run.metrics)
    steps = max((line["step"] for line in metrics), default=0)
    pace = settings["segmenter"]
    facts = {"steps": str(steps), "pixels": f"{pace['side']} × {pace['side']}", "pairs a step": str(pace["batch_size"])}
    rows = [(key, str(value)) for key, value in settings.items() if key not in (*_PATHS, "segmenter")]
    rows += [(f"segmenter.{key}", str(value)) for key, value in pace.items()]
    return page.page(
        f"Training of a segmenter, {steps} steps",
        _LEAD,
        [
            page.facts(facts),
            *sample_sections(run, _SAMPLES),
            *curve_sections(metrics),
            *score_sections(folder),
            page.section("Settings", page.table(rows)),
        ],
    )


def _settings(run: RunFolder) -> dict[str, Any]:
    try:
        settings = yaml.safe_load(run.config.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        raise DataError(f"{run.config} cannot be read ({' '.join(str(error).split())}); train again") from error
    return settings if isinstance(settings, dict) else {}
