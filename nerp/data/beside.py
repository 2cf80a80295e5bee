"""What lies beside an image and speaks of it: its line in the `metadata.jsonl` of a set."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from nerp.data.folders import RECORDS
from nerp.errors import DataError


def records_beside(files: Sequence[Path]) -> dict[Path, dict[str, Any]]:
    """The record of each image that has one; any set's, as long as a line names its image by `file_name`.

    Args:
        files: images; records are looked for in their folder and in the one above it.

    Raises:
        DataError: a line of the records is no JSON.
    """
    wanted = {path.resolve(): path for path in files}
    found: dict[Path, dict[str, Any]] = {}
    for folder in dict.fromkeys(folder for path in wanted for folder in (path.parent, path.parent.parent)):
        for record in _lines(folder / RECORDS):
            image = (folder / str(record.get("file_name", ""))).resolve()
            if image in wanted:
                found[wanted[image]] = record
    return found


def _lines(path: Path) -> list[dict[str, Any]]:
    """The objects of a file of JSON lines; a torn last line, never committed, is left out."""
    if not path.is_file():
        return []
    try:
        values = [json.loads(line) for line in path.read_bytes().split(b"\n")[:-1] if line.strip()]
    except ValueError as error:
        raise DataError(f"{path} has a line that is no JSON ({error}); restore the file or delete that line") from error
    return [value for value in values if isinstance(value, dict)]
