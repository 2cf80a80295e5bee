"""Radiographs without masks, as a segmenter's training needs them: all in memory, at one size."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from torch import Tensor

from nerp.data.checking import check_inputs
from nerp.data.folders import find_radiographs
from nerp.data.radiographs import check_radiograph
from nerp.training.digest import digest
from nerp.training.images import load_images


@dataclass(frozen=True)
class Films:
    """Radiographs without masks.

    Args:
        images: (N, 1, side, side) uint8, 0 to 255.
        names:  of their files.
    """

    images: Tensor
    names: tuple[str, ...]

    @property
    def sha256(self) -> str:
        """The hash of all images' pixels."""
        return digest(self.images)


def find_films(folders: Sequence[str], *, skip_bad: bool = False) -> list[Path]:
    """The radiographs of some folders, each looked at.

    Args:
        folders:  see `find_radiographs`; a file that lies in two of them counts once.
        skip_bad: leave out what cannot be read, with a warning.

    Returns:
        The good files, in order.

    Raises:
        DataError: no such folder, no radiographs, or some that cannot be read.
    """
    found = {path.resolve(): path for folder in folders for path in find_radiographs(folder)}
    return check_inputs(found.values(), check_radiograph, what="unlabelled radiographs", skip_bad=skip_bad)[0]


def load_films(folders: Sequence[str], side: int, *, skip_bad: bool = False) -> Films:
    """All radiographs of some folders, read as a segmenter's other images are.

    Args:
        folders:  see `find_films`.
        side:     pixels; every image becomes a square of it.
        skip_bad: leave out what cannot be read, with a warning.

    Raises:
        DataError: see `find_films`.
    """
    paths = find_films(folders, skip_bad=skip_bad)
    return Films(load_images(paths, side), tuple(path.name for path in paths))
