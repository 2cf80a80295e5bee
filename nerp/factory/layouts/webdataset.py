"""Tars that WebDataset streams: PART/IMAGE-SHARD.tar, a sample of ID.png, ID.mask.png and ID.json each."""

from __future__ import annotations

import io
import json
import tarfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from nerp.factory.layouts.layout import Sample
from nerp.factory.settings import FactoryConfig


class WebDataset:
    """Samples of a key and endings: `png` the image, `mask.png` or `NAME.mask.png` its masks, `json` its record."""

    def write(self, sample: Sample, folder: Path, shard: int) -> None:
        """Add a pair to its shard's tar.

        Args:
            sample: the pair.
            folder: that becomes the set's, for one shard.
            shard:  its number.
        """
        path = folder / sample.volume.part / f"{sample.image}-{shard:06d}.tar"
        path.parent.mkdir(parents=True, exist_ok=True)
        with tarfile.open(path, "a", format=tarfile.USTAR_FORMAT) as tar:
            for ending, data in _members(sample):
                entry = tarfile.TarInfo(f"{sample.record.id}.{ending}")  # no date, no owner: the same bytes everywhere
                entry.size, entry.mode = len(data), 0o644
                tar.addfile(entry, io.BytesIO(data))

    def finish(self, rows: Sequence[dict[str, Any]], config: FactoryConfig, folder: Path) -> None:
        """Nothing: each tar tells all of its samples.

        Args:
            rows:   of all pairs, see `Sample.row`.
            config: the plan's settings.
            folder: the set's.
        """


def _members(sample: Sample) -> list[tuple[str, bytes]]:
    masks = [f"{mask.name}.mask.png" if mask.name else "mask.png" for mask in sample.record.masks]
    record = json.dumps(sample.row()["record"], allow_nan=False).encode()
    images = zip(("png", *masks), (sample.pair.image_png, *sample.pair.mask_pngs), strict=True)
    return [*images, ("json", record)]
