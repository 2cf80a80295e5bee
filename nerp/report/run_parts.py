"""What the reports of all training runs show: metrics over the steps, and pictures."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from nerp.errors import DataError
from nerp.files import sha256
from nerp.report import figures
from nerp.report.parts import Chart, Charts, Gallery, Part, Picture, Section, Table, Text, present
from nerp.report.pictures import evenly
from nerp.report.results import is_number
from nerp.report.shelf import read_coloured
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


def sample_sections(run: RunFolder, what: str) -> list[Section]:
    """The latest picture of a run, and some of those before.

    Args:
        run:  its folder.
        what: the pictures' rows, in words.
    """
    paths = sample_paths(run)
    if not paths:
        return []
    last = Picture(read_coloured(paths[-1]), "the latest sample images", f"{_step(paths[-1])}: {what}.")
    chosen = [paths[i] for i in evenly(len(paths), SAMPLES_OVER_TIME)]
    earlier = [Picture(read_coloured(path), f"samples, {_step(path)}", _step(path)) for path in chosen]
    sections = [Section("Latest samples", [Gallery([last], "wide", "latest samples")])]
    if len(earlier) > 1:
        sections.append(Section("Samples over time", [Gallery(earlier, "strips", "samples over time")]))
    return sections


def sample_paths(run: RunFolder) -> list[Path]:
    """The pictures that a run left, by step."""
    return sorted(run.samples.glob("*.png"), key=lambda path: (len(path.name), path.name))


def _step(path: Path) -> str:
    """`step 100` of `step-00000100.png`."""
    name, _, number = path.stem.rpartition("-")
    return f"{name} {int(number)}" if number.isdecimal() else path.stem


def curve_sections(metrics: list[dict[str, Any]]) -> list[Section]:
    """A chart of every metric that varies, and a line on those that do not."""
    names = sorted({key for line in metrics for key, value in line.items() if is_number(value)} - {"step"})
    charts, constant = [], []
    for name in names:
        points = [(line["step"], line[name]) for line in metrics if is_number(line.get(name))]
        steps, values = zip(*points, strict=True)
        if len(set(values)) == 1:
            constant.append(f"{name} {values[0]:.4g}")
        else:
            alt = f"{name} over the steps, from {values[0]:.4g} to {values[-1]:.4g}"
            charts.append(Chart(figures.curve(steps, values), name, alt))
    message = f"Constant: {'; '.join(constant)}." if constant else ""
    return [Section("Metrics", present(Text(_CURVES), Charts(charts), Text(message)))] if names else []


_CURVES = "Over the steps: each logged value pale, the running mean dark."


def hash_section(*paths: Path) -> list[Section]:
    """The hashes of a run's files by which it is known again.

    Args:
        *paths: of the files; those that are absent are left out.
    """
    rows = [(f"SHA-256 of {path.name}", sha256(path)) for path in paths if path.is_file()]
    parts: list[Part] = [Table(rows, name="Hashes")]
    return [Section("Hashes", parts)] if rows else []
