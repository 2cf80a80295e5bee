"""Results of one kind side by side: their scores in one table, in charts, and what forbids to compare them."""

from __future__ import annotations

from collections.abc import Mapping

from nerp.report import figures
from nerp.report.parts import Chart, Charts, Notes, Part, Section, Table, present
from nerp.report.results import SavedResult, SavedScore
from nerp.report.score_cells import cell
from nerp.report.score_tables import shown_scores
from nerp.report.words import KINDS, score_name, score_reading

MUST_AGREE = {
    "extractor.sha256": "the extractors differ: their scores have different scales",
    "extractor.resize": "the images were resized in different ways",
    "n_fake": "the counts of generated images differ: FID's bias, and precision and recall, depend on them",
    "n_real": "the counts of real images differ: FID's bias, and precision and recall, depend on them",
    "distance_unit": "distances are in different units",
}
"""What of two results must be equal for their scores to be compared, and what to say where it is not."""


def compared(results: Mapping[str, SavedResult]) -> list[Section]:
    """A section for each kind of which there are two results or more.

    Args:
        results: by the name that a reader knows them by.
    """
    kinds = dict.fromkeys(one.kind for one in results.values())
    sections = []
    for kind in kinds:
        alike = {name: one for name, one in results.items() if one.kind == kind}
        if len(alike) > 1:
            title = f"{KINDS[kind][0] if kind in KINDS else 'Scores'}, side by side"
            sections.append(Section(title, _parts(alike)))
    return sections


def _parts(results: Mapping[str, SavedResult]) -> list[Part]:
    scores = {name: {(*one.group, one.key): one for one in shown_scores(result)} for name, result in results.items()}
    keys = list(dict.fromkeys(key for known in scores.values() for key in known))
    rows = [_row(key, [known.get(key) for known in scores.values()]) for key in keys]
    head = ("score", *results, "how it is read")
    notes = [f"Not to be compared as they stand: {reason}." for reason in disagreements(results)]
    return present(Notes(notes), Table(rows, head, name="Scores side by side"), Charts(_charts(scores)))


def _row(key: tuple[str, ...], scores: list[SavedScore | None]) -> tuple[str, ...]:
    name = " / ".join((*(part.replace("_", " ") for part in key[:-1]), score_name(key[-1])))
    return (name, *map(cell, scores), score_reading(key[-1]))


def _charts(scores: Mapping[str, Mapping[tuple[str, ...], SavedScore]]) -> list[Chart]:
    """A chart of each score that two results or more have a number of."""
    charts = []
    for key in dict.fromkeys(key for known in scores.values() for key in known if len(key) == 1):
        there = {name: known[key] for name, known in scores.items() if key in known and known[key].value is not None}
        values = [float(one.value) for one in there.values() if one.value is not None]
        if len(values) > 1:
            svg = figures.intervals(values, [one.ci95 for one in there.values()])
            alt = "; ".join(f"{name} {cell(one)}" for name, one in there.items())
            legend = tuple(f"{place} {name}" for place, name in enumerate(there, start=1))
            charts.append(Chart(svg, score_name(key[-1]), f"{score_name(key[-1])}: {alt}", legend))
    return charts


def disagreements(results: Mapping[str, SavedResult]) -> list[str]:
    """Why scores of these results must not be compared as they stand, in words; none where nothing forbids it."""
    found = []
    for key, reason in MUST_AGREE.items():
        values = {str(_at(one.values, key)) for one in results.values() if _at(one.values, key) is not None}
        if len(values) > 1:
            found.append(f"{reason} ({', '.join(sorted(value[:12] for value in values))})")
    return found + _other_networks(results)


def _other_networks(results: Mapping[str, SavedResult]) -> list[str]:
    """Networks of one name that are not the same, where results have several."""
    tables = [found for one in results.values() if isinstance(found := one.values.get("extractors"), dict)]
    found = []
    for name in sorted({name for table in tables for name in table}):
        for key in ("extractor.sha256", "extractor.resize"):
            values = {str(_at(table[name], key)) for table in tables if name in table}
            if len(values) > 1:
                found.append(f"{name}: {MUST_AGREE[key]} ({', '.join(sorted(value[:12] for value in values))})")
    return found


def _at(values: object, key: str) -> object:
    """What lies under a dotted key; None where nothing does."""
    for part in key.split("."):
        values = values.get(part) if isinstance(values, dict) else None
    return values
