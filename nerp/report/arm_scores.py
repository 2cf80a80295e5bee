"""Results of several arms: each score of all arms in one row, their differences in words, and charts with intervals."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import TypeAlias

from nerp.report import figures
from nerp.report.parts import Chart, Charts, Folded, Part, Section, Table, Text, present
from nerp.report.results import SavedResult, SavedScore
from nerp.report.score_cells import counted, interval, short_cell
from nerp.report.words import HIGH_IS_BAD, number, score_name, score_reading

ARMS, DIFFERENCES = "arms", "differences"
MINUS = " minus "
"""Stands between the two arms in the name of a difference."""
MOST_ROWS, MOST_CHARTS = 12, 9
"""Of all scores; where there are more, the main score's are shown, and the rest on a click."""
MEAN = "mean"
"""Key of the mean over several findings."""
SILENT = frozenset({"findings", "scores", "auroc"})
"""Keys that lead to a finding's score and tell a reader nothing beside its name."""

Key: TypeAlias = "tuple[str, ...]"
Scores: TypeAlias = "dict[str, dict[Key, SavedScore]]"
"""By the arm or the difference, and by what leads to each of its scores."""

_DIFFERENCES = (
    "Each difference is taken on the same images. Where its 95 % interval holds 0, the two arms are not told apart by "
    "these images and trainings."
)


def is_of_arms(score: SavedScore) -> bool:
    """Whether a score is one arm's or a difference of two."""
    return bool({ARMS, DIFFERENCES} & set(score.group[:-1]))


def arm_parts(result: SavedResult) -> list[Part]:
    """The scores of a result's arms, and of each structure's; nothing of a result without arms.

    Args:
        result: of an evaluation.
    """
    blocks: dict[Key, list[SavedScore]] = {}
    for score in filter(is_of_arms, result.scores):
        place = min(score.group.index(name) for name in (ARMS, DIFFERENCES) if name in score.group)
        blocks.setdefault(score.group[:place], []).append(score)
    unit = result.values.get("distance_unit")
    parts: list[Part] = []
    for lead, scores in blocks.items():
        inner = _block(scores, str(unit) if unit else "")
        title = " / ".join(part.replace("_", " ") for part in lead if part != "structures")
        parts += [Section(title, inner)] if title else inner
    return parts


def _block(scores: Sequence[SavedScore], unit: str) -> list[Part]:
    arms, apart = by_arm(scores, ARMS), by_arm(scores, DIFFERENCES)
    keys = list(dict.fromkeys(key for known in arms.values() for key in known))
    names = {key: key_name(key, unit) for key in keys}
    charts = {key: chart for key in keys if (chart := score_chart(names[key], _of(arms, key))) is not None}
    return present(
        Text(_CHARTS if charts else ""),
        *_folded(charts, "Charts of all scores", MOST_CHARTS),
        _table(names, arms),
        *_seeds(arms, names),
        *difference_sections(apart, names),
    )


_CHARTS = "Dots and 95 % intervals of the arms; small marks are single seeds."


def _folded(charts: dict[Key, Chart], title: str, most: int) -> list[Part]:
    """All charts; where they are too many the main one, and all on a click."""
    if len(charts) <= most:
        return [Charts(list(charts.values()))]
    return [Charts([charts[_main(list(charts))]]), Folded(title, [Charts(list(charts.values()))])]


def _table(names: Mapping[Key, str], arms: Scores) -> Table:
    """A row a score; how it is read stands at its end where that is known of any."""
    rows, readings = [], []
    for key, name in names.items():
        scores = _of(arms, key)
        counts = " / ".join(dict.fromkeys(counted(one) for one in scores.values()))
        rows.append((name, *(short_cell(scores.get(arm)) for arm in arms), counts))
        readings.append(next((text for one in scores.values() if (text := score_reading(one.key))), ""))
    head = ("score", *arms, "n")
    if not any(readings):
        return Table(rows, head, "Arms")
    told = [(*row, reading) for row, reading in zip(rows, readings, strict=True)]
    return Table(told, (*head, "how it is read"), "Arms")


def by_arm(scores: Iterable[SavedScore], group: str) -> Scores:
    """Each arm's or difference's scores, by what leads to them.

    Args:
        scores: of a result.
        group:  `arms` or `differences`.
    """
    found: Scores = {}
    for score in scores:
        if group in score.group:
            place = score.group.index(group) + 1
            path = (*score.group[place + 1 :], score.key)
            found.setdefault(score.group[place], {})[tuple(part for part in path if part not in SILENT) or path] = score
    return found


def _of(scores: Scores, key: Key) -> dict[str, SavedScore]:
    """One score of all that have it."""
    return {name: known[key] for name, known in scores.items() if key in known}


def key_name(key: Key, unit: str) -> str:
    """What a score of an arm is called: `HD95, mm`, `effusion`, `mean of all`.

    Args:
        key:  what leads to it within its arm.
        unit: of distances; empty where it is not told.
    """
    if key[-1] in HIGH_IS_BAD and unit:
        return f"{score_name(key[-1])}, {unit}"
    words = ("mean of all" if part == MEAN else score_name(part).replace("_", " ") for part in key)
    return " / ".join(words)


def score_chart(name: str, scores: Mapping[str, SavedScore], *, zero: bool = False) -> Chart | None:
    """The values of one score with their intervals and, as small marks, those of each seed; None where there are none.

    Args:
        name:   of the score, in words.
        scores: by what has it.
        zero:   draw a line at 0.
    """
    known = {label: one for label, one in scores.items() if one.value is not None}
    values = [float(one.value) for one in known.values() if one.value is not None]
    if not values:
        return None
    svg = figures.intervals(
        values, [one.ci95 for one in known.values()], marks=[one.per_seed for one in known.values()], zero=zero
    )
    alt = "; ".join(f"{label} {short_cell(one)}" for label, one in known.items())
    return Chart(svg, name, f"{name}: {alt}", tuple(f"{place} {label}" for place, label in enumerate(known, start=1)))


def _seeds(arms: Scores, names: Mapping[Key, str]) -> list[Part]:
    """What each seed alone would say, where there are several."""
    rows = [
        (f"{arm}, {names[key]}", *map(number, score.per_seed))
        for arm, known in arms.items()
        for key, score in known.items()
        if len(score.per_seed) > 1
    ]
    if not rows:
        return []
    most = max(map(len, rows)) - 1
    head = ("mean over the images", *(f"seed {place}" for place in range(1, most + 1)))
    return [Folded(f"Each of {most} seeds", [Table(rows, head, name="Seeds")])]


def difference_sections(apart: Scores, names: Mapping[Key, str]) -> list[Part]:
    """What differences say, in words and charts; nothing where there are none.

    Args:
        apart: the scores of each difference.
        names: of the scores that are told.
    """
    keys = [key for key in names if any(key in known for known in apart.values())]
    if not keys:
        return []
    rows = {key: [_difference(label, key, one, names[key]) for label, one in _of(apart, key).items()] for key in keys}
    head = ("difference", "score", "value", "95 % interval", "what it says")
    whole = Table([row for key in keys for row in rows[key]], head, "Differences")
    known = {key: score_chart(f"{names[key]}, difference", _of(apart, key), zero=True) for key in keys}
    charts = {key: chart for key, chart in known.items() if chart is not None}
    if len(whole.rows) <= MOST_ROWS:
        inner = present(whole, Charts(list(charts.values())))
    else:
        first = _main(keys)
        shown = Table(rows[first], head, f"Differences, {names[first]}")
        rest = Folded(f"Differences of all {len(keys)} scores", present(whole, Charts(list(charts.values()))))
        inner = present(shown, Charts([charts[first]] if first in charts else []), rest)
    return [Section("What the arms differ by", [Text(_DIFFERENCES), *inner])]


def _main(keys: Sequence[Key]) -> Key:
    """The score that says most: the mean over findings where there is one, else the first."""
    return next((key for key in keys if MEAN in key), keys[0])


def _difference(label: str, key: Key, score: SavedScore, name: str) -> tuple[str, ...]:
    if score.value is None:
        return label, name, "not computed", "", score.reason
    signed = ("+" if score.value > 0 else "") + number(score.value)
    return label, name, signed, interval(score.ci95), verdict(label, score, lower_is_better=key[-1] in HIGH_IS_BAD)


def verdict(label: str, score: SavedScore, *, lower_is_better: bool = False) -> str:
    """Which of two arms is better, in words, as far as the interval of their difference tells.

    Args:
        label:           `LATER minus EARLIER`.
        score:           of the difference.
        lower_is_better: of the score that differs.
    """
    if score.ci95 is None:
        return "no interval: nothing is told of chance"
    low, high = score.ci95
    if low <= 0 <= high:
        return "not told apart"
    later, minus, earlier = label.partition(MINUS)
    if not minus:
        return "above 0" if low > 0 else "below 0"
    return f"{later if (low > 0) != lower_is_better else earlier} is better"
