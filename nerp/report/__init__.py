"""One HTML page about a training run, pairs, an experiment, or several folders side by side; it needs no network."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from nerp.data.pairs import DATASET
from nerp.errors import DataError, UsageError
from nerp.files import check_file, write_text
from nerp.report.settings import ReportConfig
from nerp.runs import RunFolder

if TYPE_CHECKING:
    from nerp.report.parts import Page
    from nerp.report.views import Progress

__all__ = ["REPORT", "ReportConfig", "write_report"]

REPORT = "report.html"


def write_report(what: str | Path | ReportConfig, *, progress: Progress | None = None) -> Path:
    """Write a page, whole or not at all.

    Args:
        what:     a folder, whose page is FOLDER/report.html, or all that a report can be told. A folder is RUN, as
            `nerp train` or the training of a segmenter or classifier leaves it, STUDY, PAIRS, or one of saved results.
            Results lying in a folder as `evaluation*.json` or `scores.json` are shown with it. Several folders, of
            images too, are compared.
        progress: called as progress(views done, views in all) while views are rendered again.

    Returns:
        Where the page lies. Everything it shows is within it.

    Raises:
        DataError:  a folder is none of these, or what it holds is damaged.
        UsageError: no folder, or several and no file to write.
    """
    config = what if isinstance(what, ReportConfig) else ReportConfig(folders=(str(what),))
    folders = [Path(folder) for folder in config.folders]
    path = _place(folders, config)
    check_file(path)
    from nerp.report.page import render

    if len(folders) > 1:
        from nerp.report.of_comparison import comparison_page

        page = comparison_page(folders, config)
    else:
        page = _page(folders[0], config, progress)
    write_text(path, render(page))
    return path


def _place(folders: list[Path], config: ReportConfig) -> Path:
    if not folders:
        raise UsageError("no folder to report on; give a run, pairs, results, or several folders to compare")
    missing = [str(folder) for folder in folders if not folder.is_dir()]
    if missing:
        raise DataError(f"no folder at {missing[0]}: expected a run, pairs, images or saved results; check the path")
    if config.out is not None:
        return Path(config.out)
    if len(folders) > 1:
        raise UsageError(f"{len(folders)} folders are compared, and no file to write is given; add --out compare.html")
    return folders[0] / REPORT


def _page(folder: Path, config: ReportConfig, progress: Progress | None) -> Page:
    run = RunFolder(folder)
    if (folder / DATASET).is_file():
        from nerp.report.of_pairs import pairs_page

        return pairs_page(folder, config, progress)
    from nerp.report import kinds

    kind = kinds.kind_of(run)
    if kind == kinds.MAPPER:
        from nerp.report.of_run import run_page

        return run_page(folder, config)
    if kind in (kinds.SEGMENTER, kinds.CLASSIFIER):
        from nerp.report.of_learner import learner_page

        return learner_page(folder, config)
    if kind == kinds.STUDY:
        from nerp.report.of_study import study_page

        return study_page(folder, config)
    from nerp.report.of_experiment import experiment_page

    page = experiment_page(folder, config)
    if page is None:
        raise DataError(
            f"{folder} is no run and no folder of pairs, and holds no saved results: expected config.yaml, {DATASET}, "
            "or results that nerp evaluate --save wrote, in it"
        )
    return page
