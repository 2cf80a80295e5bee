"""Many files looked at before long work: all that is wrong is told at once, or left out and listed."""

from __future__ import annotations

import csv
import io
import logging
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path

from nerp.data.folders import Pairs
from nerp.data.radiographs import check_radiograph
from nerp.errors import DataError, NerpError
from nerp.files import write_text

LISTED = 10
"""Faults that one message tells."""

_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Bad:
    """A file that cannot be used.

    Args:
        path:   of the file or folder.
        reason: in one line; names the path.
    """

    path: Path
    reason: str


def check_inputs(
    paths: Iterable[str | Path],
    check: Callable[[Path], object],
    *,
    what: str,
    skip_bad: bool = False,
    progress: Callable[[int, int], None] | None = None,
) -> tuple[list[Path], list[Bad]]:
    """Look at every file; refuse them all at once, or leave the bad ones out.

    Args:
        paths:    of files or folders.
        check:    raises a NerpError for a path that cannot be used; should be cheap.
        what:     the files are, for messages: `radiographs`, `CTs`.
        skip_bad: leave bad files out, with one warning, instead of refusing.
        progress: called as progress(files checked, files in all).

    Returns:
        The good paths in their order, and the bad ones.

    Raises:
        DataError: some are bad and may not be skipped, or all are.
        NerpError: the only file there is is bad: its own error.
    """
    listed = [Path(path) for path in paths]
    good: list[Path] = []
    bad: list[Bad] = []
    for number, path in enumerate(listed, start=1):
        try:
            check(path)
            good.append(path)
        except NerpError as error:
            if len(listed) == 1:
                raise
            bad.append(Bad(path, str(error)))
        if progress is not None:
            progress(number, len(listed))
    settle(bad, len(listed), what=what, skip_bad=skip_bad)
    return good, bad


def check_pairs(pairs: Pairs, *, skip_bad: bool = False) -> tuple[Pairs, list[Bad]]:
    """Look at the files of pairs before long work; bad ones are refused together, or left out.

    Args:
        pairs:    from `find_pairs`.
        skip_bad: leave them out, with a warning.

    Returns:
        The good pairs, and the bad files.

    Raises:
        DataError: see `check_inputs`.
    """
    files = [file for image, masks in pairs for file in (image, *masks)]
    good, bad = check_inputs(files, check_radiograph, what="images and masks", skip_bad=skip_bad)
    whole = set(good)
    return [pair for pair in pairs if whole.issuperset((pair[0], *pair[1]))], bad


def settle(bad: list[Bad], count: int, *, what: str, skip_bad: bool) -> None:
    """Warn of bad files that are left out, or refuse.

    Args:
        bad:      files.
        count:    of all files.
        what:     they are, for messages.
        skip_bad: whether they may be left out.

    Raises:
        DataError: some are bad and may not be skipped, or all are.
    """
    if not bad:
        return
    told = f"{len(bad)} of {count} {what} cannot be used: {listing([one.reason for one in bad])}"
    if not skip_bad or len(bad) == count:
        raise DataError(f"{told}; repair or remove them, or go on without them (--skip-bad, or skip_bad=true)")
    _log.warning("skipped: %s", told)


def listing(reasons: list[str]) -> str:
    """The first faults in one line, and how many more there are."""
    more = f"; and {len(reasons) - LISTED} more" if len(reasons) > LISTED else ""
    return "; ".join(reasons[:LISTED]) + more


def write_skipped(path: Path, bad: list[Bad]) -> None:
    """Keep a list of what was left out, as CSV; without any the file goes.

    Args:
        path: of the CSV.
        bad:  files.
    """
    if not bad:
        path.unlink(missing_ok=True)
        return
    text = io.StringIO()
    rows = csv.writer(text, lineterminator="\n")
    rows.writerow(["path", "reason"])
    rows.writerows([str(one.path), one.reason] for one in bad)
    write_text(path, text.getvalue())
