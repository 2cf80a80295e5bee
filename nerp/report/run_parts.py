"""What the reports of all training runs show: metrics over the steps, and pictures."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import numpy as np

from nerp.errors import DataError
from nerp.report import figures, page
from nerp.runs import RunFolder

SAMPLES_OVER_TIME = 6


def read_metrics(path: Path) -> list[dict[str, Any]]:
    """The lines of a `metrics.jsonl`, by step; a torn last line is left out and a repeated step's last line counts.

    Raises:
        DataError: another line is no JSON object with a step.
    """
    if not path.is_file():
        return []
    by_step: dict[int, dict[str, Any]] = {}
    for number, text in enumerate(path.read_text(encoding="utf-8").split("\n")[:-1], start=1):
        try:
            line = json.loads(text)
            by_step[line["step"]] = line
        except (ValueError, TypeError, KeyError) as error:
            raise DataError(f"line {number} of {path} is no metrics line with a step; restore or delete it") from error
    return [by_step[step] for step in sorted(by_step)]


def sample_sections(run: RunFolder, what: str) -> list[str]:
    """The latest picture of a run, and some of those before.

    Args:
        run:  its folder.
        what: the pictures' rows, in words.
    """
    paths = sorted(run.samples.glob("*.png"), key=lambda path: (len(path.name), path.name))
    if not paths:
        return []
    caption = f"{_step(paths[-1])}: {what}."
    last = page.figure(paths[-1].read_bytes(), caption, alt="the latest sample images")
    index = np.unique(np.linspace(0, len(paths) - 1, min(SAMPLES_OVER_TIME, len(paths))).round().astype(int))
    earlier = [page.figure(paths[i].read_bytes(), _step(paths[i]), alt=f"samples, {_step(paths[i])}") for i in index]
    over_time = page.section("Samples over time", page.strips(earlier)) if len(earlier) > 1 else ""
    return [page.section("Latest samples", page.wide(last)), over_time]


def _step(path: Path) -> str:
    """`step 100` of `step-00000100.png`."""
    name, _, number = path.stem.rpartition("-")
    return f"{name} {int(number)}" if number.isdecimal() else path.stem


def curve_sections(metrics: list[dict[str, Any]]) -> list[str]:
    """A chart of every metric that varies, and a line on those that do not."""
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
    parts = [page.paragraph(_CURVES), page.charts(charts), page.paragraph(message) if message else ""]
    return [page.section("Metrics", *parts)] if names else []


_CURVES = "Over the steps: each logged value pale, the running mean dark."


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)
