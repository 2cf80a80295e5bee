"""A record as columns of one type each, for readers of tables; beside them the whole record as text.

Readers such as Hugging Face's take the types of a column from the first lines of one file and hold all files to them,
so that no column may be empty here and hold text there, nor change what it nests.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

from nerp.data.records import FOLDED

PLAIN = ("id", "patient_id", "ct_sha256", "mode", "view", "view_index", "seed")
"""Keys of every record whose values are text or whole numbers."""
NOT_KNOWN = -1
"""Of a finding, as in CheXpert; nerp reads it so."""


class Columns:
    """The columns of a set.

    Args:
        rows: of all pairs, see `Sample.row`.
    """

    def __init__(self, rows: Sequence[dict[str, Any]]):
        self.findings = sorted({name for row in rows for name in row["record"].get("findings", ())})
        self.has_folds = bool(rows) and all("fold" in row["record"] for row in rows)
        folders: dict[tuple[str, str], set[str]] = {}
        for row in rows:
            folders.setdefault((row["part"], row["image"]), set()).update(mask_files(row["record"]))
        everywhere = set.intersection(*folders.values()) if folders else set()
        self.masks = sorted(everywhere)

    def of(self, row: dict[str, Any]) -> dict[str, Any]:
        """The columns of a pair, `file_name` first; masks that other folders lack stand in the record alone."""
        record, masks = row["record"], mask_files(row["record"])
        findings = {name: _told(record.get("findings", {}).get(name)) for name in self.findings}
        return {
            "file_name": record["file_name"],
            **{name: masks.get(name) for name in self.masks},
            **{name: record[name] for name in PLAIN},
            "rendering": row["image"],
            **({"fold": record["fold"]} if self.has_folds else {}),
            **({"findings": findings} if findings else {}),
            FOLDED: json.dumps(record, allow_nan=False),
        }


def mask_files(record: dict[str, Any]) -> dict[str, str]:
    """A record's masks by the columns of their files: `mask_file_name`, or `NAME_mask_file_name` of named ones."""
    if record["mask_file_name"] is None:
        return {}
    masks = [(record["mask_name"], record["mask_file_name"])]
    masks += [(one["name"], one["file_name"]) for one in record["more_masks"]]
    return {f"{name}_mask_file_name" if name else "mask_file_name": file for name, file in masks}


def _told(value: int | None) -> int:
    return NOT_KNOWN if value is None else value
