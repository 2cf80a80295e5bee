"""The report of an experiment: a folder, of images or of other folders, in which evaluations left their results."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from nerp.report.arm_runs import SEED_FOLDERS, arm_sections, settings_section
from nerp.report.arm_scores import ARMS, is_of_arms
from nerp.report.compared import compared
from nerp.report.examples import examples
from nerp.report.parts import Facts, Folded, Gallery, Page, Part, Section, Text, present
from nerp.report.pictures import evenly
from nerp.report.results import PATTERNS, SavedResult, is_result, read_result
from nerp.report.run_parts import curve_sections, read_metrics
from nerp.report.score_tables import result_section
from nerp.report.settings import ReportConfig
from nerp.report.shelf import Shelf, Shelves
from nerp.report.sides import Readers, images_of
from nerp.runs import RunFolder

_LEAD = "What several evaluations found, side by side, and each by itself."
_LEAD_OF_ONE = "What one evaluation found."


def experiment_page(folder: Path, config: ReportConfig) -> Page | None:
    """The report of a folder of results; None where it holds none.

    Args:
        folder: with results as JSON, in it or in its folders.
        config: how much is shown.

    Raises:
        DataError: a result is damaged.
    """
    results = find_results(folder)
    if not results:
        return None
    readers = images_of(folder) if (folder / "images").is_dir() else []
    shelves = Shelves(_shelf(readers), config.images)
    named = {name: replace(one, name=name) for name, one in results.items()}
    parts: list[Part] = [
        Facts(_facts(list(results.values()))),
        *_gallery(readers, config.pairs),
        *compared(results),
        *(result_section(one, examples(one, shelves, config.worst)) for one in named.values()),
        *arm_sections(folder, config.worst),
        *_curves(folder),
        *settings_section(folder),
    ]
    what = "Images" if readers else "Experiment"
    return Page(f"{what} {folder.resolve().name}", _LEAD if len(results) > 1 else _LEAD_OF_ONE, present(*parts))


def _facts(results: Sequence[SavedResult]) -> dict[str, str]:
    """Counts of several results; of a single one of several arms, those of its arms."""
    if len(results) > 1:
        n_warnings = sum(len(one.warnings) for one in results)
        return {
            "results": str(len(results)),
            "kinds": str(len({one.kind for one in results})),
            "warnings": str(n_warnings),
        }
    scores = [one for one in results[0].scores if is_of_arms(one) and one.group[0] == ARMS]
    if not scores:
        return {}
    trainings = max(len(one.per_seed) for one in scores)
    counts = {"arms": len({one.group[1] for one in scores}), "trainings of each": trainings or None}
    counts |= {"test images": max((one.n or 0 for one in scores), default=0)}
    return {name: str(count) for name, count in counts.items() if count}


def _shelf(readers: Readers) -> Shelf:
    shelf = Shelf()
    for name, read in readers:
        shelf.add(name, read)
    return shelf


def _gallery(readers: Readers, most: int) -> list[Section]:
    """Some of the folder's own images, evenly spread."""
    chosen = [readers[i] for i in evenly(len(readers), most)]
    pictures = [read().picture(f"radiograph {name}", name) for name, read in chosen]
    text = f"{len(chosen)} of {len(readers)}, evenly spread over the folder."
    return [Section("Images", [Text(text), Gallery(pictures, name="images")])] if pictures else []


def find_results(folder: Path) -> dict[str, SavedResult]:
    """The results of a folder and of its folders, by names that tell them apart.

    Raises:
        DataError: a file called as a result is none.
    """
    found: dict[str, SavedResult] = {}
    for path in sorted(folder.glob("*.json")):
        if is_result(path):
            result = read_result(path)
            name = result.name or result.kind
            found[path.stem if name in found else name or path.stem] = result
    for pattern in PATTERNS:
        for path in sorted(folder.glob(f"*/{pattern}")):
            result = read_result(path)
            found[f"{path.parent.name}: {result.name}" if result.name else path.parent.name] = result
    return found


def _curves(folder: Path) -> list[Section]:
    """The metrics of runs that lie in the folder, or in the folders of its arms."""
    paths = sorted([*folder.iterdir(), *folder.glob(f"*/{SEED_FOLDERS}")])
    runs = [RunFolder(path) for path in paths if path.is_dir()]
    parts: list[Part] = []
    for run in runs:
        sections = curve_sections(read_metrics(run.metrics)) if run.config.is_file() else []
        name = run.path.relative_to(folder).as_posix()
        parts += [Folded(f"Metrics of {name}", section.parts) for section in sections]
    return [Section("Trainings", parts)] if parts else []
