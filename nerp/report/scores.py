"""Scores that an evaluation left beside what it scored, as tables of a report."""

from __future__ import annotations

import json
from pathlib import Path

from nerp.errors import DataError
from nerp.report import page


def score_sections(folder: Path) -> list[str]:
    """One section for each `evaluation*.json` and `scores.json` of a folder, with mean or value, interval and count."""
    return [_section(path) for pattern in ("evaluation*.json", "scores.json") for path in sorted(folder.glob(pattern))]


def _section(path: Path) -> str:
    try:
        scores = json.loads(path.read_bytes())
    except ValueError as error:
        raise DataError(f"{path} is no JSON ({error}); write the evaluation again or remove it") from error
    if not isinstance(scores, dict):
        raise DataError(f"{path} holds no scores: expected an object such as {{'dice': {{'mean': 0.9}}}}")
    rows = [_row(name, value) for name, value in scores.items() if _is_score(value)]
    rest = [(name, _plain(value)) for name, value in scores.items() if not _is_score(value) and name != "per_image"]
    name = path.stem.removeprefix("scores").removeprefix("evaluation").strip("-_ ").replace("_", " ")
    return page.section(
        f"Scores: {name}" if name else "Scores",
        page.table(rows, ("score", "value", "95 % interval", "n")),
        page.table([row for row in rest if row[1]]),
    )


def _is_score(value: object) -> bool:
    return isinstance(value, dict) and ("mean" in value or "value" in value)


def _row(name: str, score: dict) -> tuple[str, ...]:
    interval = score.get("ci95")
    ends = " to ".join(_number(end) for end in interval) if interval else ""
    return name, _number(score.get("mean", score.get("value"))), ends, _number(score.get("n"))


def _number(value: object) -> str:
    if value is None:
        return ""
    return f"{value:.4g}" if isinstance(value, float) else str(value)


def _plain(value: object) -> str:
    if isinstance(value, dict):
        return ", ".join(f"{key} {_number(item)}" for key, item in value.items() if not isinstance(item, dict | list))
    return "" if isinstance(value, list) else _number(value)
