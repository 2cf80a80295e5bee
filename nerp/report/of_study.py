"""The report of a study: its rows with intervals, what they differ by, the hardest images, and its sets of pairs."""

from __future__ import annotations

from pathlib import Path

from nerp.errors import DataError
from nerp.report.kinds import settings_of
from nerp.report.parts import Facts, Folded, Notes, Page, Part, Section, Table, Text, present
from nerp.report.results import SavedResult, read_result
from nerp.report.run_parts import curve_sections, hash_section, read_metrics, sample_sections
from nerp.report.settings import ReportConfig
from nerp.report.study_fidelity import fidelity_sections
from nerp.report.study_images import hardest_sections
from nerp.report.study_rows import contrast_sections, fraction_sections, row_sections, worst_sections
from nerp.report.words import settings_shown
from nerp.runs import RunFolder

TABLE = "table.json"
"""What a study finds, in its folder."""

_LEAD = (
    "One network learns from each row's images, for as many steps, and all rows are scored on the same images, of "
    "people from whom nothing was learned. Intervals draw trainings and images together."
)
_LEAD_OF_SETS = "How close sets of generated radiographs are to real ones: the same CTs, the same cameras."
_SAMPLES = "learned radiographs (VRR), line integrals from the same cameras (DRR), and real radiographs"


def study_page(folder: Path, config: ReportConfig) -> Page:
    """The report of STUDY.

    Args:
        folder: as `nerp study` leaves it.
        config: how much is shown.

    Raises:
        DataError: it has no table yet, or what it holds is damaged.
    """
    if not (folder / TABLE).is_file():
        raise DataError(f"{folder} is of a study that has no {TABLE} yet; run nerp study until a cell is there")
    result, settings = read_result(folder / TABLE, ""), settings_of(RunFolder(folder))
    parts: list[Part] = [
        Facts(_facts(result)),
        Notes(result.warnings),
        *row_sections(result),
        *fraction_sections(result),
        *contrast_sections(result),
        *worst_sections(result),
        *hardest_sections(folder, result, settings, config.worst),
        *fidelity_sections(folder, result, settings, config.pairs),
        *_runs(folder),
        Section(
            "Settings", [Folded("Every setting", [Table(list(settings_shown(settings).items()), name="Settings")])]
        ),
        *hash_section(folder / TABLE, RunFolder(folder).config),
    ]
    return Page(f"Study {folder.resolve().name}", _LEAD if result.values["arms"] else _LEAD_OF_SETS, present(*parts))


def _facts(result: SavedResult) -> dict[str, str]:
    rows, fidelity = result.values["arms"], result.values.get("fidelity", {})
    dice = [one["dice"] for one in rows.values()]
    counts = {
        "rows": len(rows),
        "trainings": sum(len(one["per_seed"]) for one in dice),
        "images tested": max((one["n"] for one in dice), default=0),
        "sets held to real radiographs": len(fidelity.get("alignment", {})),
        "extractors": len(fidelity.get("extractors", {})),
    }
    told = {name: str(count) for name, count in counts.items() if count}
    return told | ({"part of the split": str(result.values.get("part"))} if rows else {})


def _runs(folder: Path) -> list[Section]:
    """The generators that were trained for sets: their latest pictures and their metrics."""
    parts: list[Part] = []
    for path in sorted((folder / "runs").glob("*")):
        run = RunFolder(path)
        if run.config.is_file():
            inner = [*sample_sections(run, _SAMPLES)[:1], *curve_sections(read_metrics(run.metrics))]
            shown = [part for section in inner for part in section.parts]
            parts += [Folded(f"Run {path.name}", shown)] if shown else []
    return [Section("Generators", [Text("What learned radiographs come of."), *parts])] if parts else []
