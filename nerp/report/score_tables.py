"""Saved results as sections of a page: scores with intervals, warnings in words, what was left out, how it was done."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from nerp.report.arm_scores import arm_parts, is_of_arms
from nerp.report.parts import Folded, Notes, Part, Section, Table, Text, present
from nerp.report.result_charts import result_charts
from nerp.report.results import APART, SavedResult, SavedScore, is_number, is_score
from nerp.report.score_cells import counted, interval
from nerp.report.words import GROUPED, KINDS, number, score_name, score_reading

MOST_ROWS = 30
"""Of a list within a result; the rest is counted."""
HEAD = ("score", "value", "95 % interval", "n", "how it is read")
FLOOR = "floor"
"""Group of the scores that two halves of the real images have against each other."""
LONG = 200
"""Letters of a value that a table shows."""


def result_section(result: SavedResult, extra: Sequence[Part] = ()) -> Section:
    """A result as a section.

    Args:
        result: of an evaluation.
        extra:  pictures and charts of it.
    """
    lead = KINDS[result.kind][1] if result.kind in KINDS else ""
    skipped = [(name,) for name in result.skipped[:MOST_ROWS]]
    rows, primary = plain_rows(result.values), result.values.get("primary")
    advice = f" Go by {score_name(primary)} first." if isinstance(primary, str) else ""
    n_skipped = f"Left out: {len(result.skipped)}"
    parts = present(
        Text(lead + advice),
        Notes(result.warnings),
        *arm_parts(result),
        score_table(result),
        *result_charts(result),
        *extra,
        *_lists(result.values),
        *([Folded(n_skipped, [Table(skipped)])] if skipped else []),
        *([Folded("How it was done", [Table(rows, name=f"How it was done: {result.title}")])] if rows else []),
    )
    return Section(result.title, parts)


def score_table(result: SavedResult) -> Table:
    """The scores of a result but those of arms; where it has a floor, each beside what real images have against real
    ones."""
    scores = [one for one in shown_scores(result) if not is_of_arms(one)]
    floors = {(one.group[:-1], one.key): one for one in scores if one.group[-1:] == (FLOOR,)}
    named = f"Scores: {result.title}"
    if not floors:
        return Table([score_row(one) for one in scores], HEAD, named)
    rows = []
    for one in scores:
        if one.group[-1:] != (FLOOR,):
            floor = floors.get((one.group, one.key))
            *row, reading = score_row(one)
            rows.append((*row, "" if floor is None else number(floor.value), reading))
    return Table(rows, (*HEAD[:-1], "real against real", HEAD[-1]), named)


def shown_scores(result: SavedResult) -> list[SavedScore]:
    """The scores of a result, each once: those of its only extractor stand at the top, too."""
    return [one for one in result.scores if not _is_repeated(one, result)]


def _is_repeated(score: SavedScore, result: SavedResult) -> bool:
    """Whether a score of the only extractor stands at the top, too."""
    extractors = result.values.get("extractors")
    return score.group[:1] == ("extractors",) and isinstance(extractors, dict) and len(extractors) == 1


def score_row(score: SavedScore) -> tuple[str, ...]:
    """Name, value, interval, count and reading of a score, as text."""
    known = GROUPED.get((score.group[-1], score.key)) if score.group else None
    name, reading = known or (" / ".join((*map(_words, score.group), score_name(score.key))), score_reading(score.key))
    value = number(score.value) if score.value is not None else "not computed"
    if score.value is None and score.reason:
        reading = score.reason
    return name, value, interval(score.ci95), counted(score), reading


def plain_rows(values: dict[str, Any], prefix: str = "") -> list[tuple[str, str]]:
    """Settings, counts and names of a result, by dotted key; scores and lists of things are left out.

    Args:
        values: the JSON object.
        prefix: what stands before each key.
    """
    rows = []
    for key, value in values.items():
        if (key in APART and not prefix) or key.startswith("per_") or is_score(value) or value is None:
            continue
        if isinstance(value, dict):
            rows += [(f"{prefix}{key}", text)] if (text := _short(value)) else plain_rows(value, f"{prefix}{key}.")
        elif text := _plain(value):
            rows.append((f"{prefix}{key}", text))
    return rows


def _short(values: dict[str, Any]) -> str:
    """`name inception, sha256 ab` of a small object of single values; empty for others."""
    if not values or len(values) > 8 or any(isinstance(one, dict | list) for one in values.values()):
        return ""
    return _plain(", ".join(f"{key} {number(one)}" for key, one in values.items() if one is not None))


def _plain(value: object) -> str:
    if isinstance(value, list):
        simple = all(isinstance(one, str | int | float) for one in value) and len(value) <= 12
        return ", ".join(map(number, value)) if simple else ""
    text = number(value)
    return text if len(text) <= LONG else f"{text[:LONG]}…"


def _lists(values: dict[str, Any]) -> list[Part]:
    """Lists of objects that a result holds, such as neighbours or rejected pairs, folded."""
    found: list[Part] = []
    for key, rows in values.items():
        if not isinstance(rows, list) or not rows or not all(isinstance(one, dict) for one in rows):
            continue
        head = tuple(dict.fromkeys(name for one in rows[:MOST_ROWS] for name in one))[:8]
        cells = [tuple(_cell(one.get(name)) for name in head) for one in rows[:MOST_ROWS]]
        more = "" if len(rows) <= MOST_ROWS else f", the first {MOST_ROWS}"
        found.append(Folded(f"{_words(key)}: {len(rows)}{more}", [Table(cells, tuple(map(_words, head)), name=key)]))
    return found


def _cell(value: object) -> str:
    if isinstance(value, list):
        return "; ".join(_cell(one) for one in value)
    if isinstance(value, dict):
        return _short(value)
    return number(value) if is_number(value) or value is None else str(value)[:LONG]


def _words(key: str) -> str:
    """A key as people write it."""
    return key.replace("_", " ")
