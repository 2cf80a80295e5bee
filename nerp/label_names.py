"""Names of label values, the choice of labels by value or by name, and what the names tell of lungs."""

from __future__ import annotations

import csv
from collections.abc import Mapping
from fnmatch import fnmatchcase
from pathlib import Path

from nerp.errors import DataError, UsageError

VALUE_COLUMNS = ("value", "label", "id", "index")
NAME_COLUMNS = ("name", "structure")
OBSCURING_WORDS = (
    *("heart", "atri", "ventric", "aort", "vena_cava", "pulmonary_artery", "mediastin", "pericard", "brachiocephalic"),
    *("subclavian", "carotid", "esophagus", "oesophagus", "trachea", "thymus", "vertebra", "spine", "disc"),
    *("liver", "spleen", "stomach", "kidney", "gallbladder", "pancreas", "adrenal", "bowel", "colon", "duodenum"),
    *("diaphragm", "abdomen"),
)
"""Parts of the names of structures behind or before which readers do not see lung."""


def read_label_names(path: str | Path) -> dict[int, str]:
    """Label value -> name, from a CSV with a header.

    Args:
        path: a comma-separated file; the values stand in the first of its columns `value`, `label`,
            `id`, `index`, the names in `name` or `structure`; other columns are passed over.

    Raises:
        DataError: no such file, no such columns, or a value that is not a whole number or stands twice.
    """
    path = Path(path)
    try:
        with open(path, newline="", encoding="utf-8-sig") as file:
            rows = list(csv.DictReader(file))
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise DataError(f"{path} cannot be read as a table of label names: {error}") from error
    value, name = (_column(path, rows, columns) for columns in (VALUE_COLUMNS, NAME_COLUMNS))
    names: dict[int, str] = {}
    for number, row in enumerate(rows, start=2):
        text = (row[value] or "").strip()
        if not text.isdecimal() or int(text) in names:
            raise DataError(f"line {number} of {path} has the label value {text!r}; expected whole numbers, each once")
        names[int(text)] = (row[name] or "").strip()
    return names


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
        if not part.isdecimal() and not fitting:
            known = "give --label-names for names" if not names else f"names are {', '.join(sorted(names.values()))}"
            raise UsageError(f"mask {part!r} is no label; expected values such as 10,11,12 ({known})")
        chosen |= {int(part)} if part.isdecimal() else fitting
    return tuple(sorted(chosen))


def _column(path: Path, rows: list[dict], columns: tuple[str, ...]) -> str:
    header = [] if not rows else [key for key in rows[0] if key]
    found = next((key for expected in columns for key in header if key.strip().lower() == expected), None)
    if found is None:
        message = ", ".join(header) or "no row"
        raise DataError(f"{path} has {message}; expected a column {' or '.join(columns)}, such as value,name in line 1")
    return found


def obscuring_labels(names: Mapping[int, str]) -> list[int]:
    """The labels whose names tell of heart, great vessels, spine or abdominal organs."""
    return [label for label, name in names.items() if any(word in name.lower() for word in OBSCURING_WORDS)]


def lung_labels(names: Mapping[int, str]) -> list[int]:
    """The labels whose names tell of lung."""
    return [label for label, name in names.items() if "lung" in name.lower().replace("_", " ").split()]
