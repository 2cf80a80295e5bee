"""Images that results name, found by their names: those of pairs, of folders, and of a segmenter's tests."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np

from nerp.data.folders import find_pairs, find_radiographs
from nerp.data.images import read_binary, read_colour, read_grey
from nerp.data.pairs import read_pair
from nerp.data.records import PairRecord
from nerp.errors import NerpError
from nerp.report.parts import Outline, Picture

PEOPLE, NETWORK = "mask", "prediction"


@dataclass(frozen=True)
class Found:
    """An image with its masks.

    Args:
        image:    (H, W) uint8.
        outlines: of its shape.
    """

    image: np.ndarray
    outlines: tuple[Outline, ...] = ()

    def picture(self, alt: str, caption: str, *, is_bad: bool = False) -> Picture:
        """As a part of a page.

        Args:
            alt:     what it shows, for those who cannot see it.
            caption: below it.
            is_bad:  marked as a bad example.
        """
        return Picture(self.image, alt, caption, self.outlines, is_bad)


class Shelf:
    """Images by name; each is read only when it is asked for."""

    def __init__(self) -> None:
        self._readers: dict[str, Callable[[], Found]] = {}

    def add_records(self, folder: Path, records: Iterable[PairRecord]) -> Shelf:
        """The pairs of a set, by their ids.

        Args:
            folder:  PAIRS.
            records: of its pairs.
        """
        for record in records:
            self.add(record.id, partial(found_pair, folder, record))
        return self

    def add_images(self, folder: str | Path) -> Shelf:
        """The radiographs of a folder or of a public set; errors as `find_radiographs`."""
        for path in find_radiographs(folder):
            self.add(path.name, partial(found_image, path))
        return self

    def add_tests(self, folder: str | Path, predictions: Path, *, pattern: str | None, mask: str | None) -> Shelf:
        """Images with people's masks and a network's; errors as `find_pairs`.

        Args:
            folder:      of images and masks, or a public set.
            predictions: folder of predicted masks, named as the images.
            pattern:     how a mask is called.
            mask:        which mask, where there are several.
        """
        for image, masks in find_pairs(folder, pattern=pattern, mask=mask)[0]:
            predicted = predictions / f"{image.stem}.png"
            self.add(image.name, partial(found_tested, image, masks, predicted))
        return self

    def get(self, name: str) -> Found | None:
        """The image of a name, with or without its ending; None where there is none or it cannot be read."""
        key = Path(name).name
        reader = self._readers.get(key) or self._readers.get(Path(key).stem)
        if reader is None:
            return None
        try:
            return reader()
        except NerpError:
            return None

    def add(self, name: str, reader: Callable[[], Found]) -> None:
        """One image; the first of a name stays.

        Args:
            name:   with or without an ending.
            reader: that reads it.
        """
        for key in (name, Path(name).stem):
            self._readers.setdefault(key, reader)


class Shelves:
    """Where images that results name are looked for.

    Args:
        own:    those that the page is about.
        folders: of further ones, such as the real ones that were compared with.
    """

    def __init__(self, own: Shelf, folders: Iterable[str] = ()):
        self.own, self.others = own, Shelf()
        for folder in folders:
            self.others.add_images(folder)

    def get(self, name: str) -> Found | None:
        """An image by its name, the page's own first."""
        return self.own.get(name) or self.others.get(name)

    def get_other(self, name: str) -> Found | None:
        """An image by its name, one of the page's own last."""
        return self.others.get(name) or self.own.get(name)


def found_pair(folder: Path, record: PairRecord) -> Found:
    """A pair's image with all its masks.

    Args:
        folder: PAIRS.
        record: of the pair.

    Raises:
        DataError: see `read_pair`.
    """
    outlines = []
    for colour, mask in enumerate(record.masks):
        image, inside = read_pair(folder, record, mask.name)
        outlines.append(Outline(inside, colour, mask.name))
    return Found(image, tuple(outlines))


def found_image(path: Path) -> Found:
    """An image file without masks; errors as `read_colour`."""
    return Found(read_coloured(path))


def read_shown(path: Path) -> np.ndarray:
    """An image file as (H, W) uint8; errors as `read_grey`."""
    return np.rint(255 * read_grey(path)).astype(np.uint8)


def read_coloured(path: Path) -> np.ndarray:
    """A picture file as (H, W) or, where it has colours, (H, W, 3) uint8; errors as `read_colour`."""
    image = np.rint(255 * read_colour(path)).astype(np.uint8)
    return image[..., 0] if (image == image[..., :1]).all() else image


def found_tested(image: Path, masks: tuple[Path, ...], predicted: Path | None = None) -> Found:
    """An image with the mask that people drew, and the one that a network did.

    Args:
        image:     a file.
        masks:     files whose union is the mask.
        predicted: file of the network's; left out where it is absent.

    Raises:
        DataError: see `read_grey`, `read_binary`.
    """
    inside = np.logical_or.reduce([read_binary(path) for path in masks])
    outlines = [Outline(inside, 0, PEOPLE if predicted else "")]
    if predicted is not None and predicted.is_file():
        outlines.append(Outline(read_binary(predicted), 1, NETWORK))
    shown = read_shown(image)
    return Found(shown, tuple(one for one in outlines if one.inside.shape == shown.shape))
