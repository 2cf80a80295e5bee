"""One static HTML page about a training run or a folder of pairs; it needs no network and no script."""

from __future__ import annotations

from pathlib import Path

from nerp.data.pairs import DATASET
from nerp.errors import DataError
from nerp.files import write_text
from nerp.runs import RunFolder

REPORT = "report.html"


def write_report(folder: str | Path) -> Path:
    """Write FOLDER/report.html, whole or not at all.

    Args:
        folder: RUN, as `nerp train` or the training of a segmenter leaves it, or PAIRS. Results of
            evaluations lying in it as `evaluation*.json` or `scores.json` are shown too.

    Returns:
        Where the page lies. Every image is within it.

    Raises:
        DataError: the folder is neither, or what it holds is damaged.
    """
    folder = Path(folder)
    if (folder / DATASET).is_file():
        from nerp.report.of_pairs import pairs_page as make
    elif RunFolder(folder).config.is_file():
        from nerp.report.of_run import run_page as make
        from nerp.report.of_segmenter import is_segmenters, segmenter_page

        make = segmenter_page if is_segmenters(RunFolder(folder)) else make
    else:
        raise DataError(f"{folder} is no run and no folder of pairs: expected config.yaml or {DATASET} in it")
    path = folder / REPORT
    write_text(path, make(folder))
    return path
