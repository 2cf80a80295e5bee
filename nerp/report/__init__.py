"""One static HTML page about a training run or a folder of pairs; it needs no network and no script."""

from __future__ import annotations

from pathlib import Path

from nerp.data.pairs import DATASET
from nerp.errors import DataError
from nerp.files import write_text

REPORT = "report.html"


def write_report(folder: str | Path) -> Path:
    """Write FOLDER/report.html, whole or not at all.

    Args:
        folder: RUN, as `nerp train` leaves it, or PAIRS, as `nerp synthesize` does. Results of
            evaluations lying in it as `evaluation*.json` or `scores.json` are shown too.

    Returns:
        Where the page lies. Every image is within it.

    Raises:
        DataError: the folder is neither, or what it holds is damaged.
    """
    folder = Path(folder)
    if (folder / DATASET).is_file():
        from nerp.report.of_pairs import pairs_page as make
    elif (folder / "config.yaml").is_file():
        from nerp.report.of_run import run_page as make
    else:
        raise DataError(f"{folder} is no run and no folder of pairs: expected config.yaml or {DATASET} in it")
    path = folder / REPORT
    write_text(path, make(folder))
    return path
