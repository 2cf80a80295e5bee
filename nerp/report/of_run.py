"""The report of a training run."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from nerp.report.examples import result_sections
from nerp.report.parts import Facts, Folded, Page, Part, Section, Table, Text, present
from nerp.report.run_parts import curve_sections, hash_section, read_metrics, sample_sections
from nerp.report.settings import ReportConfig
from nerp.report.shelf import Shelf, Shelves
from nerp.report.words import setting
from nerp.runs import RunFolder
from nerp.settings import flatten
from nerp.training.config import Config, load_config


def run_page(folder: Path, report: ReportConfig) -> Page:
    """The report of RUN.

    Args:
        folder: RUN.
        report: how much is shown.

    Raises:
        ConfigError, DataError: the configuration or the metrics cannot be read.
    """
    run = RunFolder(folder)
    config, metrics = load_config(run.config, warn=False), read_metrics(run.metrics)
    shown = f"{_SAMPLES}, and {_REAL if config.data.radiographs_dir else _PHANTOMS}"
    steps = max((line["step"] for line in metrics), default=0)
    parts: list[Part] = [
        Facts(_facts(config, metrics, steps)),
        *sample_sections(run, shown),
        *curve_sections(metrics),
        *result_sections(folder, Shelves(Shelf(), report.images), report.worst),
        Section("Settings", [Text(_SETTINGS), *_settings(config)]),
        *hash_section(run.best, run.config),
    ]
    title = f"Training of a {config.mapper.arch} mapper, {steps} of {config.trainer.steps} steps"
    return Page(title, _LEAD, present(*parts))


_LEAD = (
    "A mapper learns to turn CTs into fields whose projections pass for real chest radiographs, while staying close "
    "to the line integrals of the same CTs."
)
_SETTINGS = "What differs from the defaults."


def _facts(config: Config, metrics: list[dict[str, Any]], steps: int) -> dict[str, str]:
    height, width = config.viewer.shape
    return {
        "steps": f"{steps}",
        "views of a CT in a step": str(config.trainer.views_per_volume),
        "pixels": f"{height} × {width}",
        "samples along a ray": str(config.viewer.n_samples),
        "lines of metrics": str(len(metrics)),
    }


_SAMPLES = "learned radiographs (VRR), line integrals from the same cameras (DRR)"
_REAL = "real radiographs"
_PHANTOMS = "phantom radiographs in place of real ones, made of other phantoms"


def _settings(config: Config) -> list[Part]:
    values, defaults = flatten(config), flatten(Config())
    left_out = {"run_dir", *(name for name in values if name.endswith("_dir"))}
    shown = {name: setting(value) for name, value in values.items() if name not in left_out}
    changed = [(name, message) for name, message in shown.items() if values[name] != defaults[name]]
    return present(Table(changed, name="Changed settings"), Folded("Every setting", [Table(list(shown.items()))]))
