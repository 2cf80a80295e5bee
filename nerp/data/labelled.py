"""The images of a folder that some table tells findings of."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from nerp.data.checking import Bad, check_inputs
from nerp.data.findings import Row, find_tables, findings_of, read_table
from nerp.data.folders import find_radiographs
from nerp.data.radiographs import check_radiograph
from nerp.errors import DataError


@dataclass(frozen=True)
class Telling:
    """Where findings are told.

    Args:
        tables: CSV files; of a folder that none of them lists its own count.
        asked:  findings to read, though no vocabulary has them.
        empty:  what an empty cell says: None, not known; or 0.
        ct:     folder of the CTs that tables list.
    """

    tables: tuple[Path, ...] = ()
    asked: tuple[str, ...] = ()
    empty: int | None = None
    ct: Path | None = None


@dataclass(frozen=True)
class Labelled:
    """Images and their findings.

    Args:
        files:    of the images.
        rows:     what is told of each.
        unlisted: images of the folder that no table lists; they are left out.
        skipped:  files that cannot be used.
    """

    files: tuple[Path, ...]
    rows: tuple[Row, ...]
    unlisted: int = 0
    skipped: list[Bad] = field(default_factory=list)

    @property
    def names(self) -> set[str]:
        """Findings that are known of any image."""
        return {name for row in self.rows for name, value in row.items() if value is not None}


def find_labelled(source: str | Path, telling: Telling, *, skip_bad: bool = False) -> Labelled:
    """The images of a folder, or of a public set, with their findings.

    Args:
        source:   see `find_radiographs`.
        telling:  the tables.
        skip_bad: leave out what cannot be read, with a warning.

    Raises:
        DataError: no image, files that cannot be read, no table, or a table that lists none of the images.
    """
    files = find_radiographs(source)
    rows = _rows(files, telling.tables, telling)
    if not any(row is not None for row in rows):
        rows = _rows(files, find_tables(source, telling.asked), telling)
    told = {file: row for file, row in zip(files, rows, strict=True) if row is not None}
    if not told:
        raise DataError(
            f"no table tells the findings of the {len(files)} images in {source}; expected a CSV in that folder, or by "
            "--labels, of columns file,effusion,... with 0 and 1, or file,findings with names and | between"
        )
    good, bad = check_inputs(list(told), check_radiograph, what="radiographs", skip_bad=skip_bad)
    return Labelled(tuple(good), tuple(told[file] for file in good), len(files) - len(told), bad)


def _rows(files: Sequence[Path], tables: Sequence[Path], telling: Telling) -> list[Row | None]:
    read = [read_table(path, telling.asked, empty=telling.empty) for path in tables]
    return findings_of(files, read, ct=telling.ct)
