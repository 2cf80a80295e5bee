"""DICOM: PART/IMAGE/images/ID.dcm, Digital X-Ray, and masks/ID.dcm, a segmentation of it; what is told in index.csv."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from nerp.dicom.segmentation import Segment, write_seg
from nerp.factory.layouts.columns import PLAIN
from nerp.factory.layouts.layout import Sample
from nerp.factory.settings import FactoryConfig
from nerp.factory.tables import csv_text
from nerp.files import write_text
from nerp.synthesis.single import write_dicom

INDEX = "index.csv"
UNNAMED = "mask"


class Dicom:
    """Radiographs to be shown, 12 bit, and binary segmentations, a segment a mask; identifiers follow from hashes."""

    def write(self, sample: Sample, folder: Path, shard: int) -> None:
        """Write an image, and its masks where it has any.

        Args:
            sample: the pair.
            folder: that becomes the set's, for one shard.
            shard:  its number.
        """
        home, record = folder / sample.volume.part / sample.image, sample.record
        settings = sample.config.image_settings[sample.image].set_settings()
        image = home / "images" / f"{record.id}.dcm"
        write_dicom(image, sample.pair, record, settings, patient=sample.volume.listed.patient)
        segments = [
            Segment(mask.name or UNNAMED, _parts(mask.labels, record.label_names), pixels > 0)
            for mask, pixels in zip(record.masks, sample.pair.masks, strict=True)
        ]
        if segments:
            write_seg(home / "masks" / image.name, segments, image=image, maker=f"nerp {record.nerp}")

    def finish(self, rows: Sequence[dict[str, Any]], config: FactoryConfig, folder: Path) -> None:
        """Write the index, a line an image.

        Args:
            rows:   of all pairs, see `Sample.row`.
            config: the plan's settings.
            folder: the set's.
        """
        findings = sorted({name for row in rows for name in row["record"].get("findings", ())})
        folds = ["fold"] if config.split.folds else []
        titles = ["file", "masks", "part", "rendering", *PLAIN, *folds, *findings]
        write_text(folder / INDEX, csv_text(titles, [_line(row, folds, findings) for row in rows]))


def _parts(labels: Sequence[int], names: dict[str, str]) -> tuple[str, ...]:
    """The labels' names, where all are known."""
    known = tuple(names.get(str(label), "") for label in labels)
    return known if all(known) else ()


def _line(row: dict[str, Any], folds: list[str], findings: list[str]) -> list[Any]:
    record, home = row["record"], f"{row['part']}/{row['image']}"
    masks = "" if record["mask_file_name"] is None else f"{home}/masks/{record['id']}.dcm"
    told = record.get("findings", {})
    return [
        *(f"{home}/images/{record['id']}.dcm", masks, row["part"], row["image"]),
        *(record[name] for name in (*PLAIN, *folds)),
        *(told.get(name) for name in findings),
    ]
