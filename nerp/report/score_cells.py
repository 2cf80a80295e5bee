"""Numbers of results as the cells of a table."""

from __future__ import annotations

from nerp.report.results import SavedScore
from nerp.report.words import number


def interval(ends: tuple[float, float] | None) -> str:
    """`0.9 to 0.92`; nothing of None."""
    return " to ".join(number(end) for end in ends) if ends else ""


def counted(score: SavedScore) -> str:
    """`138`, or `138, 12 positive`: what a score was taken from."""
    of = f", {score.n_positive} positive" if score.n_positive is not None else ""
    return f"{number(score.n)}{of}"


def cell(score: SavedScore | None) -> str:
    """`0.91 (0.9 to 0.92), n 138` of a score."""
    if score is None:
        return "–"
    return short_cell(score) + (f", n {counted(score)}" if score.value is not None and score.n is not None else "")


def short_cell(score: SavedScore | None) -> str:
    """`0.91 (0.9 to 0.92)` of a score; the reason where it has no value."""
    if score is None:
        return "–"
    if score.value is None:
        return f"not computed: {score.reason}" if score.reason else "not computed"
    return number(score.value) + (f" ({interval(score.ci95)})" if score.ci95 else "")
