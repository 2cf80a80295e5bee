"""COCO: PART/IMAGE/images/ID.png, and of each part its annotations: masks as run lengths, and again as polygons."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

from nerp import __version__
from nerp.factory.layouts.coco_masks import bounding_box, polygons, run_lengths
from nerp.factory.layouts.layout import Sample
from nerp.factory.settings import FactoryConfig
from nerp.files import replacing, write_bytes
from nerp.synthesis.dataset import NOTICE

ANNOTATIONS, LINES, GONE = "annotations", ".coco", ".coco.done"
KINDS = {"instances": "counts", "polygons": "polygons"}
"""Files of annotations, and what stands for a mask in them."""
UNNAMED = "mask"


class Coco:
    """annotations/instances_PART.json with run lengths, polygons_PART.json with polygons; a category for each mask.

    Workers leave lines, one a pair, of which the annotations are made when all are there.
    """

    def write(self, sample: Sample, folder: Path, shard: int) -> None:
        """Write an image, and keep what is annotated of it.

        Args:
            sample: the pair.
            folder: that becomes the set's, for one shard.
            shard:  its number.
        """
        place = f"{sample.volume.part}/{sample.image}/{sample.record.file_name}"
        write_bytes(folder / place, sample.pair.image_png)
        path = folder / LINES / f"{shard:06d}.jsonl"
        path.parent.mkdir(parents=True, exist_ok=True)
        with open(path, "ab") as file:
            file.write((json.dumps({"part": sample.volume.part, **_line(sample, place)}) + "\n").encode())

    def finish(self, rows: Sequence[dict[str, Any]], config: FactoryConfig, folder: Path) -> None:
        """Make the annotations of the lines.

        Args:
            rows:   of all pairs, see `Sample.row`.
            config: the plan's settings.
            folder: the set's.
        """
        shutil.rmtree(folder / GONE, ignore_errors=True)
        if not any((folder / LINES).glob("*.jsonl")):  # made already, by a gathering that was cut short
            shutil.rmtree(folder / LINES, ignore_errors=True)
            return
        categories = {name: number for number, name in enumerate(_mask_names(rows), start=1)}
        for part in sorted({row["part"] for row in rows}):
            for kind, key in KINDS.items():
                with replacing(folder / ANNOTATIONS / f"{kind}_{part}.json") as temporary, open(temporary, "w") as file:
                    file.writelines(_annotations(folder / LINES, part, key, categories, config))
        os.replace(folder / LINES, folder / GONE)  # at once: of a part of them the annotations would be made anew
        shutil.rmtree(folder / GONE)


def _line(sample: Sample, place: str) -> dict[str, Any]:
    record, listed = sample.record, sample.volume.listed
    height, width = sample.pair.image.shape
    image = {"file_name": place, "width": width, "height": height, "pair_id": record.id, "view": record.view}
    image |= {"patient_id": listed.patient, "ct_sha256": record.ct_sha256, "rendering": sample.image}
    image |= {} if sample.volume.fold is None else {"fold": sample.volume.fold}
    image |= {"findings": dict(listed.findings)} if listed.findings else {}
    masks = []
    for told, pixels in zip(record.masks, sample.pair.masks, strict=True):
        mask = pixels > 0
        if mask.any():
            outline = {"counts": run_lengths(mask), "polygons": polygons(mask)}
            box = {"area": int(mask.sum()), "bbox": bounding_box(mask)}
            masks.append({"name": told.name or UNNAMED, **box, **outline})
    return {"image": image, "masks": masks}


def _mask_names(rows: Sequence[dict[str, Any]]) -> list[str]:
    records = [row["record"] for row in rows if row["record"]["mask_file_name"] is not None]
    more = {one["name"] for record in records for one in record["more_masks"]}
    return sorted({record["mask_name"] or UNNAMED for record in records} | more)


def _annotations(lines: Path, part: str, key: str, categories: dict[str, int], config: FactoryConfig) -> Iterator[str]:
    """The text of a file of annotations; no more than a line of it is held at a time."""
    info = {"description": config.title, "version": f"nerp {__version__}", "use": NOTICE}
    kinds = [{"id": number, "name": name, "supercategory": "anatomy"} for name, number in categories.items()]
    licences = [{"id": 1, "name": config.licence, "url": ""}]
    head = json.dumps({"info": info, "licenses": licences, "categories": kinds})
    yield head[:-1] + ', "images": ['
    yield from _joined(
        json.dumps({"id": number, "license": 1, **line["image"]}) for number, line in _numbered(lines, part)
    )
    yield '\n], "annotations": ['
    yield from _joined(json.dumps(one) for one in _masks(lines, part, key, categories))
    yield "\n]}\n"


def _masks(lines: Path, part: str, key: str, categories: dict[str, int]) -> Iterator[dict[str, Any]]:
    of_image = ((number, mask) for number, line in _numbered(lines, part) for mask in line["masks"])
    for number, (image, mask) in enumerate(of_image, start=1):
        whose = {"id": number, "image_id": image, "category_id": categories[mask["name"]]}
        yield {**whose, "segmentation": mask[key], "area": mask["area"], "bbox": mask["bbox"], "iscrowd": 0}


def _numbered(lines: Path, part: str) -> Iterator[tuple[int, dict[str, Any]]]:
    """The lines of a part, in the order of the plan, from 1."""
    number = 0
    for path in sorted(lines.glob("*.jsonl")):
        with open(path, "rb") as file:
            for line in map(json.loads, file):
                if line["part"] == part:
                    number += 1
                    yield number, line


def _joined(texts: Iterable[str]) -> Iterator[str]:
    for number, text in enumerate(texts):
        yield f"{',' if number else ''}\n{text}"
