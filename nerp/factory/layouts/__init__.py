"""How a set lies on disk: what each layout writes of a pair, and of the whole set."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from nerp.factory.layouts.coco import Coco
from nerp.factory.layouts.dicom import Dicom
from nerp.factory.layouts.drr_rate import DrrRate
from nerp.factory.layouts.imagefolder import ImageFolder
from nerp.factory.layouts.layout import Layout, Sample
from nerp.factory.layouts.webdataset import WebDataset

LAYOUTS: dict[str, Layout] = {
    "imagefolder": ImageFolder(),
    "webdataset": WebDataset(),
    "coco": Coco(),
    "drr-rate": DrrRate(),
    "dicom": Dicom(),
}

__all__ = ["LAYOUTS", "Layout", "Sample", "home_of"]


def home_of(layout: str, layouts: Sequence[str], folder: Path) -> Path:
    """Where a layout lies: the set's folder itself, or where there are several a folder of its name.

    Args:
        layout:  whose home.
        layouts: all of the set.
        folder:  the set's.
    """
    return folder if len(layouts) == 1 else folder / layout
