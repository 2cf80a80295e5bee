"""Tables of label names as other programs write them: label descriptions, colour tables, JSON, CSV and TSV."""

from __future__ import annotations

import csv
import json
import re
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any, TypeAlias

from nerp.errors import DataError

VALUE_COLUMNS = (
    *("value", "label", "id", "index", "label_value", "label_id", "label_index", "labelvalue", "labelid", "number"),
    *("class_id", "class_index", "roi_number", "key"),
)
NAME_COLUMNS = (
    *("name", "structure", "label_name", "labelname", "structure_name", "class_name", "roi_name", "segment_name"),
    *("segmentlabel", "segment", "organ", "region", "class", "roi", "description", "segmentdescription", "label"),
)
DELIMITERS = "\t;,|"
MOST_BYTES = 2**24
"""A larger file is no table of names."""

SNAP = re.compile(r'\s*(\d+)(?:\s+[\d.]+){4}(?:\s+\d+){2}\s+"(.*)"\s*')
"""A line of ITK-SNAP: index, red, green, blue, opacity, two flags of visibility, the name in quotes."""
COLOURS = re.compile(r"\s*(\d+)\s+(\S.*?)(?:\s+\d+){3,4}\s*")
"""A line of a colour table of 3D Slicer: value, name, red, green, blue, and mostly opacity."""
PLAIN = re.compile(r"\s*(\d+)[\s:=]+([^\d\s\t;,|][^\t;,|]*)")
"""A value and its name, with nothing but blanks, a colon or an equals sign between them."""

Entry: TypeAlias = tuple[int, str, str]
"""Number of the line or entry, the value's text, the name."""


def read_label_names(path: str | Path) -> dict[int, str]:
    """Label value -> name, from a table of names.

    Args:
        path: a label description of ITK-SNAP; a colour table of 3D Slicer; JSON as of nnU-Net (`labels` of
            `dataset.json`), of TotalSegmentator (`{"1": "spleen"}`) or of dcmqi; a table parted by commas,
            semicolons or tabs, with a header that names the columns of values and of names (such as `value`,
            `label`, `id`, `index`; `name`, `structure`, `label_name`), or without one where one of two columns
            holds whole numbers.

    Raises:
        DataError: no such file, none of these tables, or a value that is not a whole number or stands twice.
    """
    path = Path(path)
    text = _text(path)
    if path.suffix.lower() == ".json" or text.lstrip()[:1] in ("{", "["):
        return _named(path, _json_entries(path, text))
    lines = [(n, line) for n, line in enumerate(text.splitlines(), start=1) if line.strip()]
    lines = [(n, line) for n, line in lines if not line.lstrip().startswith(("#", "//"))]
    for form in (SNAP, COLOURS, PLAIN):
        found = [(n, form.fullmatch(line)) for n, line in lines]
        if lines and all(match for _, match in found):
            return _named(path, [(n, match[1], match[2]) for n, match in found if match])
    return _named(path, _column_entries(path, lines))


def _text(path: Path) -> str:
    try:
        with path.open("rb") as file:
            data = file.read(MOST_BYTES + 1)
    except OSError as error:
        raise DataError(f"{path} cannot be read as a table of label names: {error}") from error
    if data[:2] in (b"\xff\xfe", b"\xfe\xff"):
        return data.decode("utf-16", errors="replace")
    if b"\0" in data or len(data) > MOST_BYTES:
        raise DataError(f"{path} cannot be read as a table of label names: it is no text; give a CSV of value,name")
    try:
        return data.decode("utf-8-sig")
    except UnicodeDecodeError:
        return data.decode("latin-1")


def _named(path: Path, entries: Iterable[Entry]) -> dict[int, str]:
    names: dict[int, str] = {}
    for number, text, name in entries:
        value = whole_number(text)
        if value is None or value in names:
            raise DataError(f"line {number} of {path} has the label value {text!r}; expected whole numbers, each once")
        names[value] = name.strip()
    return names


def whole_number(text: Any) -> int | None:
    """The whole number >= 0 that a text such as `10` or `10.0` stands for; None for anything else."""
    text = str(text).strip()
    if not re.fullmatch(r"\d{1,9}(?:\.0*)?", text, re.ASCII):
        return None
    return int(text.split(".")[0])


def _json_entries(path: Path, text: str) -> list[Entry]:
    try:
        content = json.loads(text, object_pairs_hook=_once_each)
    except (ValueError, RecursionError) as error:
        raise DataError(f"{path} cannot be read as a table of label names: {error}") from error
    content = _table_of(content)
    rows = _flat(content) if isinstance(content, list) else None
    if rows and all(isinstance(row, dict) for row in rows):
        return _json_rows(path, rows)
    if isinstance(content, dict) and content:
        return _json_pairs(path, content)
    raise DataError(f'{path} holds no label names; expected JSON such as {{"1": "lung_left"}}')


def _once_each(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    names = [name for name, _ in pairs]
    twice = next((name for name in names if names.count(name) > 1), None) if len(set(names)) < len(names) else None
    if twice is not None:
        raise ValueError(f"{twice!r} stands twice")
    return dict(pairs)


def _table_of(content: Any) -> Any:
    """What lies under `labels` or `segmentAttributes`, or under the only key of all."""
    for key in ("labels", "segmentAttributes"):
        if isinstance(content, dict) and isinstance(content.get(key), dict | list):
            return content[key]
    only = next(iter(content.values())) if isinstance(content, dict) and len(content) == 1 else None
    return only if isinstance(only, dict | list) and only else content


def _flat(rows: list[Any]) -> list[Any]:
    return [part for row in rows for part in (row if isinstance(row, list) else [row])]


def _json_rows(path: Path, rows: list[dict]) -> list[Entry]:
    header = list(dict.fromkeys(str(key) for row in rows for key in row))
    cells = [(n, ["" if row.get(key) is None else str(row[key]) for key in header]) for n, row in enumerate(rows, 1)]
    return _by_columns(path, header, cells)


def _json_pairs(path: Path, content: dict[str, Any]) -> list[Entry]:
    for name, value in content.items():
        if isinstance(value, list):
            raise DataError(
                f"{path} gives {name!r} several values (a region); expected one value a name: list its parts"
            )
        if isinstance(value, dict | bool | None):
            raise DataError(f'{path} tells of {name!r} more than a value; expected JSON such as {{"1": "lung_left"}}')
    items = list(enumerate(content.items(), start=1))
    if all(whole_number(key) is not None for _, (key, _) in items):
        return [(n, key, str(name)) for n, (key, name) in items]
    return [(n, str(value), name) for n, (name, value) in items]


def _column_entries(path: Path, lines: Sequence[tuple[int, str]]) -> list[Entry]:
    if not lines:
        raise DataError(_no_columns(path, []))
    delimiter = max(DELIMITERS, key=lines[0][1].count)
    try:
        rows = list(csv.reader((line for _, line in lines), delimiter=delimiter, skipinitialspace=True))
    except csv.Error as error:
        raise DataError(f"{path} cannot be read as a table of label names: {error}") from error
    numbers = [n for n, _ in lines] if len(rows) == len(lines) else list(range(1, len(rows) + 1))
    cells = list(zip(numbers, [[cell.strip() for cell in row] for row in rows], strict=True))
    without_header = _without_header(cells)
    return without_header if without_header is not None else _by_columns(path, cells[0][1], cells[1:])


def _without_header(rows: Sequence[tuple[int, list[str]]]) -> list[Entry] | None:
    """Entries of a table whose first line is one already; None where it is a header."""
    first = rows[0][1]
    if len(first) < 2:
        return None
    are_numbers = [whole_number(cell) is not None for cell in first[:2]]
    if are_numbers[0] == are_numbers[1]:
        return None
    value, name = (0, 1) if are_numbers[0] else (1, 0)
    return [(n, _cell(row, value), _cell(row, name)) for n, row in rows]


def _by_columns(path: Path, header: Sequence[str], rows: Sequence[tuple[int, list[str]]]) -> list[Entry]:
    known = [re.sub(r"[\s_.-]+", "_", key.strip().lower()) for key in header]
    values = [known.index(key) for key in VALUE_COLUMNS if key in known]
    whole = [at for at in values if all(whole_number(_cell(row, at)) is not None for _, row in rows)]
    value = next(iter(whole or values), None)
    name = next((known.index(key) for key in NAME_COLUMNS if key in known and known.index(key) != value), None)
    if value is None or name is None or not rows:
        raise DataError(_no_columns(path, [key for key in header if key]))
    return [(n, _cell(row, value), _cell(row, name)) for n, row in rows]


def _cell(row: Sequence[str], at: int) -> str:
    return row[at] if at < len(row) else ""


def _no_columns(path: Path, header: Sequence[str]) -> str:
    found = ", ".join(header)[:100] or "no row"
    columns = f"{' or '.join(VALUE_COLUMNS[:4])}, and {' or '.join(NAME_COLUMNS[:3])}"
    return f"{path} has {found}; expected a column {columns}, such as value,name in line 1"
