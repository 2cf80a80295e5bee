"""Folders of pairs as `nerp synthesize` writes them, which Hugging Face's `imagefolder` loads: PART/IMAGE/…"""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from nerp.config.reading import as_yaml
from nerp.data.pair_writer import canonical_order
from nerp.data.pairs import DATASET, RECORDS, SETTINGS
from nerp.data.records import PairRecord
from nerp.factory.layouts.columns import Columns
from nerp.factory.layouts.croissant import CROISSANT, croissant
from nerp.factory.layouts.layout import Sample
from nerp.factory.settings import FactoryConfig
from nerp.files import json_bytes, write_bytes, write_text
from nerp.synthesis.dataset import generator_for, set_facts, whole_settings
from nerp.synthesis.settings import restated


class ImageFolder:
    """PART/IMAGE/{images,masks}/ID.png with metadata.jsonl, dataset.json and settings.yaml: each a folder of pairs.

    A line of metadata.jsonl holds plain columns and the whole record as text; croissant.json describes them.
    """

    def write(self, sample: Sample, folder: Path, shard: int) -> None:
        """Write a pair's files.

        Args:
            sample: the pair.
            folder: that becomes the set's, for one shard.
            shard:  its number.
        """
        home = folder / sample.volume.part / sample.image
        for name, data in sample.files:
            write_bytes(home / name, data)

    def finish(self, rows: Sequence[dict[str, Any]], config: FactoryConfig, folder: Path) -> None:
        """Write the records, and what each folder is.

        Args:
            rows:   of all pairs, see `Sample.row`.
            config: the plan's settings.
            folder: the set's.
        """
        columns = Columns(rows)
        for part, image in sorted({(row["part"], row["image"]) for row in rows}):
            home, settings = folder / part / image, config.image_settings[image].set_settings()
            told = [row for row in rows if (row["part"], row["image"]) == (part, image)]
            both = [(PairRecord.from_dict(one["record"], where=f"a pair of {part}"), one) for one in told]
            both.sort(key=lambda pair: canonical_order(pair[0]))
            write_bytes(home / RECORDS, b"".join(_line(columns.of(one)) for _, one in both))
            write_text(home / SETTINGS, as_yaml(restated(settings)))
            whole = whole_settings(settings, generator_for(settings.mode, config.image_settings[image].run))
            facts = set_facts([record for record, _ in both], settings)
            write_bytes(home / DATASET, json_bytes({"settings": whole, "complete": True, **facts}))
        write_bytes(folder / CROISSANT, json_bytes(croissant(rows, columns, config, folder)))


def _line(values: dict[str, Any]) -> bytes:
    return (json.dumps(values, allow_nan=False) + "\n").encode()
