"""DRR-RATE's own tree: PART/VIEW/PATIENT/SCAN/NAME.png, masks in a like tree, and CT-RATE's tables by images.

Source: Hossain, Pham et al. 2024, *DRR-RATE: A Large Scale Synthetic Chest X-ray Dataset*; its folders as published,
`{split}/AP/{split_id}/{split_id_x}/{name}`, and the names of CT-RATE's tables.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from nerp.data.ct_rate import CTRateName
from nerp.errors import DataError
from nerp.factory.layouts.layout import Sample
from nerp.factory.settings import FactoryConfig
from nerp.factory.tables import SourceTable, csv_text, read_source_table
from nerp.files import write_bytes, write_text

MASKS, UNNAMED = "masks", "mask"
IMAGE_NAME = "ImageName"
TABLE_FILES = {
    "labels": "multi_abnormality_labels/{part}_predicted_labels.csv",
    "metadata": "metadata/{part}_metadata.csv",
    "reports": "radiology_text_reports/{part}_reports.csv",
}
"""Where the tables of a source lie in the set."""


class DrrRate:
    """Images by part, view, patient and scan; a table has the rows of the images that are there, its titles kept."""

    def write(self, sample: Sample, folder: Path, shard: int) -> None:
        """Write an image, and its masks into `masks/NAME`.

        Args:
            sample: the pair.
            folder: that becomes the set's, for one shard.
            shard:  its number.
        """
        row = sample.row()
        place = f"{place_of(row, sample.config)}.png"
        write_bytes(folder / place, sample.pair.image_png)
        for mask, data in zip(sample.record.masks, sample.pair.mask_pngs, strict=True):
            write_bytes(folder / MASKS / (mask.name or UNNAMED) / place, data)

    def finish(self, rows: Sequence[dict[str, Any]], config: FactoryConfig, folder: Path) -> None:
        """Write the tables, each with the rows of the images that are there.

        Args:
            rows:   of all pairs, see `Sample.row`.
            config: the plan's settings.
            folder: the set's.
        """
        for kind, name in TABLE_FILES.items():
            tables = {
                source: read_source_table(one.carried[kind])
                for source, one in config.source_settings.items()
                if kind in one.carried
            }
            for part in sorted({row["part"] for row in rows}):
                own = [row for row in rows if row["part"] == part]
                text = _carried(own, tables, config)
                if text is None and kind == "labels":
                    text = _of_findings(own, config)
                if text is not None:
                    write_text(folder / name.format(part=part), text)


def place_of(row: dict[str, Any], config: FactoryConfig) -> str:
    """Where a pair's image lies in the set, without ending.

    CT-RATE's names stay as they are: `train_1_a_1` lies in `train_1/train_1_a`. Others get folders of the same kind,
    of part, patient and name.

    Args:
        row:    of the pair, see `Sample.row`.
        config: the plan's settings.
    """
    shown, record = row["shown"], row["record"]
    try:
        name = CTRateName.of(shown)
        patient, scan = name.patient, f"{name.patient}_{name.scan}"
    except DataError:
        patient = f"{row['part']}_{record['patient_id']}"
        scan = f"{patient}_{shown}"
        shown = scan
    views = config.image_settings[row["image"]].views
    number = f"_{record['view_index']:03d}" if views > 1 else ""
    return f"{row['part']}/{view_folder(row['image'], config)}/{patient}/{scan}/{shown}{number}"


def view_folder(image: str, config: FactoryConfig) -> str:
    """`AP` of an image whose view is that and no other image's; else the image's own name.

    Args:
        image:  of the plan.
        config: the plan's settings.
    """
    views = {name: one.camera.view for name, one in config.image_settings.items()}
    return views[image].upper() if list(views.values()).count(views[image]) == 1 else image


def _carried(rows: Sequence[dict[str, Any]], tables: dict[str, SourceTable], config: FactoryConfig) -> str | None:
    """A table of the images whose CTs it tells of; None where none of its sources has one."""
    if not tables:
        return None
    titles = list(dict.fromkeys(title for table in tables.values() for title in table.titles))
    lines = []
    for row in rows:
        table = tables.get(row["source"])
        told = None if table is None else table.of(Path(row["ct"]))
        if table is not None and told is not None:
            cells = dict(zip(table.titles, told, strict=True))
            lines.append([_image_name(row, config), *(cells.get(title, "") for title in titles)])
    return csv_text([IMAGE_NAME, *titles], lines)


def _of_findings(rows: Sequence[dict[str, Any]], config: FactoryConfig) -> str | None:
    names = sorted({name for row in rows for name in row["record"].get("findings", ())})
    if not names:
        return None
    lines = [
        [_image_name(row, config), *(row["record"].get("findings", {}).get(name) for name in names)] for row in rows
    ]
    return csv_text([IMAGE_NAME, *names], lines)


def _image_name(row: dict[str, Any], config: FactoryConfig) -> str:
    """The file's name; where there are several views of a CT, after the folder of its view."""
    place = place_of(row, config)
    name = f"{place.rsplit('/', 1)[1]}.png"
    return f"{place.split('/')[1]}/{name}" if len(config.images) > 1 else name
