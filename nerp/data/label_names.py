"""Names of label values, and the choice of labels by value or by name."""

from __future__ import annotations

import csv
from fnmatch import fnmatchcase
from pathlib import Path

from nerp.errors import DataError, UsageError

VALUE_COLUMNS = ("id", "value", "label")
NAME_COLUMNS = ("structure", "name")


def read_label_names(path: str | Path) -> dict[int, str]:
    """The name of each label value, from a CSV with a column of values and one of names.

    Args:
        path: CSV whose header has one of `id, value, label` and one of `structure, name`.

    Raises:
        DataError: the file is missing, or lacks such columns, or a value is no integer.
    """
    path = Path(path)
    if not path.is_file():
        raise DataError(f"no label names at {path}; expected a CSV with the columns id,structure")
    with path.open(newline="", encoding="utf-8-sig") as file:
        rows = list(csv.DictReader(file))
    header = list(rows[0]) if rows else []
    value = next((column for column in VALUE_COLUMNS if column in header), None)
    name = next((column for column in NAME_COLUMNS if column in header), None)
    if value is None or name is None:
        raise DataError(f"{path.name} has the columns {', '.join(header) or 'none'}; expected id,structure")
    try:
        return {int(row[value]): row[name] for row in rows}
    except (TypeError, ValueError):
        raise DataError(f"{path.name} has a label value that is no integer; check its column {value}") from None


def select_labels(text: str, names: dict[int, str]) -> tuple[int, ...]:
    """The label values that a list such as `10,11` or `lung_*,trachea` selects, ascending.

    Args:
        text:  values, names, or patterns of names, separated by commas.
        names: the name of each value; needed for names.

    Raises:
        UsageError: a part that is neither a value nor fits a name.
    """
    chosen: set[int] = set()
    for part in (part.strip() for part in text.split(",")):
        fitting = {value for value, name in names.items() if fnmatchcase(name, part)}
        if not part.isdigit() and not fitting:
            known = "give --label-names for names" if not names else f"names are {', '.join(sorted(names.values()))}"
            raise UsageError(f"mask {part!r} is no label; expected values such as 10,11,12 ({known})")
        chosen |= {int(part)} if part.isdigit() else fitting
    return tuple(sorted(chosen))
