"""Tables of a set: CSV text, and rows that sources tell of their CTs."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from nerp.data.indexed import FILE_COLUMNS, column_of, plain_name, read_columns, told_of
from nerp.errors import DataError


def csv_text(titles: Sequence[str], lines: Iterable[Sequence[Any]]) -> str:
    """A CSV with a header.

    Args:
        titles: of the columns.
        lines:  the rows.
    """
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(titles)
    writer.writerows(lines)
    return text.getvalue()


@dataclass(frozen=True)
class SourceTable:
    """What a CSV tells of a source's CTs, its cells as they stand.

    Args:
        titles: of its columns, without that of the files.
        rows:   cells by names of files.
    """

    titles: tuple[str, ...]
    rows: dict[str, tuple[str, ...]]

    def of(self, ct: Path) -> tuple[str, ...] | None:
        """The row of a CT; None where it has none."""
        return told_of(ct, self.rows) or self.rows.get(ct.name.split(".")[0])


def read_source_table(paths: Sequence[str | Path]) -> SourceTable:
    """One table of several CSV files, each with a column of files, such as `VolumeName`, and any others.

    Raises:
        DataError: missing, no CSV, or no column of files.
    """
    tables = [_read(path) for path in paths]
    titles = tuple(dict.fromkeys(title for table in tables for title in table.titles))
    rows = {
        name: tuple(dict(zip(table.titles, cells, strict=True)).get(title, "") for title in titles)
        for table in tables
        for name, cells in table.rows.items()
    }
    return SourceTable(titles, rows)


def _read(path: str | Path) -> SourceTable:
    titles, rows = read_columns(path, "VolumeName,…")
    at = column_of([plain_name(title) for title in titles], FILE_COLUMNS)
    if at is None:
        raise DataError(f"{path} has columns {', '.join(titles) or 'none'}; expected one of files, such as VolumeName")
    filled = [row + [""] * (len(titles) - len(row)) for row in rows]
    others = [column for column in range(len(titles)) if column != at]
    told = {row[at].strip(): tuple(row[column] for column in others) for row in filled if row[at].strip()}
    return SourceTable(tuple(titles[column] for column in others), told)
