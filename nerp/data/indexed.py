"""Tables that speak of images by their files' names: CSV with a header, read and looked up."""

from __future__ import annotations

import csv
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TypeVar

from nerp.errors import DataError

FILE_COLUMNS = (
    *("file", "file_name", "filename", "image", "image_index", "path", "image_path", "name"),
    *("imagename", "image_name", "volumename", "volume_name", "id"),
)

Told = TypeVar("Told")


def read_columns(path: str | Path, expected: str) -> tuple[list[str], list[list[str]]]:
    """The titles of a CSV, as they stand, and its rows.

    Args:
        path:     of the CSV.
        expected: its columns, for messages, such as `file,patient_id`.

    Raises:
        DataError: missing, or no CSV.
    """
    try:
        with open(path, newline="", encoding="utf-8-sig") as stream:
            rows = list(csv.reader(stream))
    except FileNotFoundError:
        raise DataError(f"no index at {path}: expected a CSV with columns {expected}; check the path") from None
    except (UnicodeDecodeError, csv.Error) as error:
        raise DataError(f"{path} is no CSV ({error}); expected columns {expected}") from error
    return (rows[0] if rows else []), rows[1:]


def plain_name(title: str) -> str:
    """`image_index` of `Image Index`: lower case, with an underscore for whatever is no letter or digit."""
    return re.sub(r"[\W_]+", "_", title.strip().lower()).strip("_")


def column_of(titles: Sequence[str], names: Sequence[str]) -> int | None:
    """Where the first of some names stands among plain titles; None where none does.

    Args:
        titles: of the columns, plain.
        names:  in order of preference.
    """
    return next((titles.index(name) for name in names if name in titles), None)


def told_of(path: Path, listed: Mapping[str, Told]) -> Told | None:
    """What a table tells of an image: by the longest end of its path that is listed, or by its stem.

    Args:
        path:   of the image.
        listed: by names of files.
    """
    ends = ("/".join(path.parts[-depth:]) for depth in range(len(path.parts), 0, -1))
    return next((listed[name] for name in (str(path), *ends, path.stem) if name in listed), None)
