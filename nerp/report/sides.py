"""What is compared: folders of images, pairs or runs, each with some of its images and all of its results."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TypeAlias

from nerp.data.folders import find_pairs, find_radiographs
from nerp.data.pairs import DATASET, RECORDS, read_dataset, read_records
from nerp.errors import DataError, NerpError
from nerp.files import sha256
from nerp.report.kinds import MAPPER, WORDS, kind_of, settings_of
from nerp.report.of_pairs import check_whole, count, lead
from nerp.report.parts import Picture
from nerp.report.pictures import evenly
from nerp.report.results import SavedResult, read_results
from nerp.report.run_parts import sample_paths
from nerp.report.settings import ReportConfig
from nerp.report.shelf import Found, Shelf, Shelves, found_image, found_pair, found_tested
from nerp.report.words import settings_shown
from nerp.runs import RunFolder
from nerp.settings import flatten

Readers: TypeAlias = "Sequence[tuple[str, Callable[[], Found]]]"
"""Names of images, and what reads each."""


@dataclass(frozen=True)
class Side:
    """One of the folders that are compared.

    Args:
        name:     that a reader knows it by.
        folder:   where it lies.
        facts:    what it is, in words.
        settings: that made it, by dotted key, where they are told.
        readers:  of its images, by name.
        results:  that lie in it.
        is_run:   whether it is a training's.
    """

    name: str
    folder: Path
    facts: dict[str, str]
    settings: dict[str, str]
    readers: Readers
    results: Sequence[SavedResult]
    is_run: bool = False

    def pictures(self, most: int) -> list[Picture]:
        """Some of its images, evenly spread; a run's latest sample.

        Args:
            most: pictures.

        Raises:
            DataError: an image cannot be read.
        """
        chosen = [self.readers[i] for i in evenly(len(self.readers), most)]
        if self.is_run:
            chosen = list(self.readers[-1:])
        return [read().picture(f"{name} of {self.name}", name) for name, read in chosen]

    def shelves(self, config: ReportConfig, sides: Sequence[Side], result: SavedResult) -> Shelves:
        """Where the images are that one of its results names.

        Args:
            config: names further folders.
            sides:  all that are compared: one that the result calls its real images is looked in, too.
            result: of its own.
        """
        own = Shelf()
        for name, read in self.readers:
            own.add(name, read)
        shelves, named = Shelves(own, config.images), result.values.get("folders")
        real = named.get("real") if isinstance(named, dict) else None
        for name, read in (one for side in sides if side.folder.resolve().name == real for one in side.readers):
            shelves.others.add(name, read)
        return shelves


def open_sides(folders: Sequence[Path]) -> list[Side]:
    """What each folder is, by what it holds.

    Raises:
        DataError: a folder holds neither images nor results, or is damaged.
    """
    return [_side(name, folder) for name, folder in zip(names_of(folders), folders, strict=True)]


def names_of(folders: Sequence[Path]) -> list[str]:
    """The shortest ends of the folders' paths that tell them apart.

    Args:
        folders: that are compared.
    """
    parts = [folder.resolve().parts for folder in folders]
    for length in range(1, max(map(len, parts)) + 1):
        names = ["/".join(one[-length:]) for one in parts]
        if len(set(names)) == len(names):
            return names
    return [f"{one[-1]} ({place})" for place, one in enumerate(parts, start=1)]


def _side(name: str, folder: Path) -> Side:
    results = read_results(folder)
    if (folder / DATASET).is_file():
        return _of_pairs(name, folder, results)
    if RunFolder(folder).config.is_file():
        return _of_run(name, folder, results)
    try:
        readers = images_of(folder)
    except DataError:
        if not results:
            raise
        readers = []
    facts = {"what": "images", "images": str(len(readers)), **(_pixels(readers[0][1]()) if readers else {})}
    return Side(name, folder, facts, {}, readers, results)


def _pixels(first: Found) -> dict[str, str]:
    height, width = first.image.shape[:2]
    return {"pixels": f"{height} × {width} (the first)"}


def _of_pairs(name: str, folder: Path, results: list[SavedResult]) -> Side:
    dataset, records = read_dataset(folder), read_records(folder / RECORDS)
    check_whole(folder, dataset["settings"])
    height, width = records[0].camera["shape"] if records else (0, 0)
    fractions = [record.mask_fraction or 0.0 for record in records]
    facts = {
        "what": lead(dataset["settings"], dataset),
        "images": str(len(records)),
        "pixels": f"{height} × {width}",
        "from": count(len({record.ct_sha256 for record in records}), "CT"),
        "mask, mean fraction of the image": f"{sum(fractions) / max(1, len(fractions)):.1%}",
        f"SHA-256 of {RECORDS}": sha256(folder / RECORDS)[:16],
    }
    readers = [(record.id, partial(found_pair, folder, record)) for record in records]
    return Side(name, folder, facts, settings_shown(dataset["settings"]), readers, results)


def _of_run(name: str, folder: Path, results: list[SavedResult]) -> Side:
    from nerp.training.config import load_config

    run = RunFolder(folder)
    kind = kind_of(run)
    shown = settings_shown(flatten(load_config(run.config, warn=False)) if kind == MAPPER else settings_of(run))
    facts = {"what": WORDS[kind], "SHA-256 of config.yaml": sha256(run.config)[:16]}
    readers = [(path.stem, partial(found_image, path)) for path in sample_paths(run)]
    return Side(name, folder, facts, shown, readers, results, is_run=True)


def images_of(folder: Path) -> list[tuple[str, Callable[[], Found]]]:
    """Readers of a folder's images, by name, with their masks where it has some; errors as `find_radiographs`."""
    try:
        pairs = find_pairs(folder)[0] if (folder / "masks").is_dir() else []
    except NerpError:
        pairs = []
    if pairs:
        return [(image.stem, partial(found_tested, image, masks)) for image, masks in pairs]
    return [(path.stem, partial(found_image, path)) for path in find_radiographs(folder)]
