"""The labels that a record names, found by their hash."""

from __future__ import annotations

import json
from collections.abc import Callable
from functools import lru_cache
from pathlib import Path
from typing import Any

from nerp.data.records import PairRecord
from nerp.errors import DataError
from nerp.label_maps import LabelMap
from nerp.synthesis.inputs import open_ct, open_labels
from nerp.synthesis.matching import find_by_hash
from nerp.synthesis.rerendering import recorded_variation
from nerp.synthesis.settings import InputSettings


def labels_finder(ct: str | Path, labels: str | Path) -> Callable[[PairRecord], LabelMap]:
    """A function that finds and reads the labels that a record names; those of the last few CTs are kept.

    Args:
        ct:     where the CTs lie: a file, or a folder that is searched for hashes.
        labels: likewise the labels.

    Returns:
        A function that raises DataError where a record has no labels, or none of its hash is found.
    """

    @lru_cache(maxsize=2)
    def read(ct_sha256: str, labels_sha256: str, reading: str, on_ct_grid: bool, variation: str) -> LabelMap:
        source = find_by_hash(ct, ct_sha256, "CT")
        stated: dict[str, Any] = {"series": source.series, "labels_on_ct_grid": on_ct_grid, "max_voxels": 2**40}
        inputs = InputSettings.of_reading(json.loads(reading), **stated)
        volume = open_ct(source.path, inputs)
        opened = open_labels(find_by_hash(labels, labels_sha256, "labels").path, volume, inputs)
        return recorded_variation(volume, opened, json.loads(variation)).labels or opened

    def find(record: PairRecord) -> LabelMap:
        if record.labels_sha256 is None:
            raise DataError(f"record {record.id} has no labels; give a set of pairs with masks")
        return read(
            record.ct_sha256,
            record.labels_sha256,
            json.dumps(record.ct_reading, sort_keys=True),
            record.labels_on_ct_grid,
            json.dumps(record.variation),
        )

    return find
