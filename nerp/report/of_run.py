"""The report of a training run."""

from __future__ import annotations

import json
import math
from pathlib import Path

import numpy as np

from nerp.config import Config, load_config
from nerp.errors import DataError
from nerp.report import figures, page
from nerp.report.scores import score_sections
from nerp.settings import flatten

SAMPLES_OVER_TIME = 6


def run_page(folder: Path) -> str:
    """The HTML report of RUN.

    Raises:
        ConfigError, DataError: the configuration or the metrics cannot be read.
    """
    config, metrics = load_config(folder / "config.yaml", warn=False), read_metrics(folder / "metrics.jsonl")
    steps = max((line["step"] for line in metrics), default=0)
    title = f"Training of a {config.mapper.arch} mapper, {steps} of {config.trainer.steps} steps"
    return page.page(
        title,
        _LEAD,
        [
            page.facts(_facts(config, metrics, steps)),
            *_sample_sections(folder, config),
            page.section("Metrics", *_curves(metrics)),
            *score_sections(folder),
            page.section("Settings", page.paragraph(_SETTINGS), *_settings(config)),
        ],
    )


_LEAD = (
    "A mapper learns to turn CTs into fields whose projections pass for real chest radiographs, while staying close "
    "to the line integrals of the same CTs."
)
_SETTINGS = "What differs from the defaults."


def read_metrics(path: Path) -> list[dict]:
    """The lines of a `metrics.jsonl`, by step; a torn last line is left out and a repeated step's last line counts.

    Raises:
        DataError: another line is no JSON object with a step.
    """
    if not path.is_file():
        return []
    by_step: dict[int, dict] = {}
    for number, text in enumerate(path.read_text(encoding="utf-8").split("\n")[:-1], start=1):
        try:
            line = json.loads(text)
            by_step[line["step"]] = line
        except (ValueError, TypeError, KeyError) as error:
            raise DataError(f"line {number} of {path} is no metrics line with a step; restore or delete it") from error
    return [by_step[step] for step in sorted(by_step)]


def _facts(config: Config, metrics: list[dict], steps: int) -> dict[str, str]:
    height, width = config.viewer.shape
    return {
        "steps": f"{steps}",
        "views of a CT in a step": str(config.trainer.views_per_volume),
        "pixels": f"{height} × {width}",
        "samples along a ray": str(config.viewer.n_samples),
        "lines of metrics": str(len(metrics)),
    }


def _sample_sections(folder: Path, config: Config) -> list[str]:
    paths = sorted((folder / "samples").glob("*.png"), key=lambda path: (len(path.name), path.name))
    if not paths:
        return []
    caption = f"{_step(paths[-1])}: {_SAMPLES}, and {_REAL if config.data.radiographs_dir else _STAND_INS}."
    last = page.figure(paths[-1].read_bytes(), caption, alt="the latest sample images")
    index = np.unique(np.linspace(0, len(paths) - 1, min(SAMPLES_OVER_TIME, len(paths))).round().astype(int))
    earlier = [page.figure(paths[i].read_bytes(), _step(paths[i]), alt=f"samples, {_step(paths[i])}") for i in index]
    over_time = page.section("Samples over time", page.strips(earlier)) if len(earlier) > 1 else ""
    return [page.section("Latest samples", page.wide(last)), over_time]


_SAMPLES = "learned radiographs (VRR), line integrals from the same cameras (DRR)"
_REAL = "real radiographs"
_STAND_INS = "stand-ins for real radiographs, made of other phantoms"


def _step(path: Path) -> str:
    """`step 100` of `step-00000100.png`."""
    name, _, number = path.stem.rpartition("-")
    return f"{name} {int(number)}" if number.isdecimal() else path.stem


def _curves(metrics: list[dict]) -> list[str]:
    names = sorted({key for line in metrics for key, value in line.items() if _is_number(value)} - {"step"})
    charts, constant = [], []
    for name in names:
        points = [(line["step"], line[name]) for line in metrics if _is_number(line.get(name))]
        steps, values = zip(*points, strict=True)
        if len(set(values)) == 1:
            constant.append(f"{name} {values[0]:.4g}")
        else:
            charts.append(page.figure(figures.curve(name, steps, values), alt=f"{name} over the steps"))
    message = f"Constant: {'; '.join(constant)}." if constant else ""
    return [page.paragraph(_CURVES), page.charts(charts), page.paragraph(message) if message else ""] if names else []


_CURVES = "Over the steps: each logged value pale, the running mean dark."


def _is_number(value) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)


def _settings(config: Config) -> list[str]:
    values, defaults = flatten(config), flatten(Config())
    left_out = {"run_dir", *(name for name in values if name.endswith("_dir"))}
    shown = {name: str(value) for name, value in values.items() if name not in left_out}
    changed = [(name, message) for name, message in shown.items() if values[name] != defaults[name]]
    return [page.table(changed), page.folded("Every setting", page.table(list(shown.items())))]
