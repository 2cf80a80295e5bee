"""Two sets of images that are set against each other: their files, and whom they are of."""

from __future__ import annotations

from collections.abc import Callable, Hashable
from dataclasses import dataclass, replace
from pathlib import Path

from nerp.data.checking import check_inputs
from nerp.data.folders import find_radiographs
from nerp.data.patients import Patients, find_patients, read_index
from nerp.data.radiographs import check_radiograph
from nerp.errors import EvaluationError

ALONE = "image "
"""How the label of an image begins of which no patient is known."""


@dataclass(frozen=True)
class ImageSet:
    """Images of one kind.

    Args:
        files:    that can be read.
        patients: whom they are of.
        skipped:  names of files that were left out.
    """

    files: list[Path]
    patients: Patients
    skipped: list[str]

    @property
    def groups(self) -> list[Hashable]:
        """One label an image: its patient or CT. An image of which none is told has its own name's, without its ending
        or folder, so that one that is stored twice stays together."""
        pairs = zip(self.patients.labels, self.files, strict=True)
        return [f"{ALONE}{file.stem}" if label.startswith(ALONE) else label for label, file in pairs]

    @property
    def counted(self) -> dict[str, object]:
        """JSON-ready: how many images and patients, and what told them."""
        return {"images": len(self.files), "patients": self.patients.count, "patients_by": self.patients.by}

    def chosen(self, rows: list[int]) -> ImageSet:
        """The set of some of its images."""
        labels = tuple(self.patients.labels[row] for row in rows)
        return replace(self, files=[self.files[row] for row in rows], patients=replace(self.patients, labels=labels))


def read_set(
    source: str | None,
    *,
    what: str,
    index: str | None = None,
    skip_bad: bool = False,
    progress: Callable[[int, int], None] | None = None,
) -> ImageSet:
    """The images of a folder or public set that can be read.

    Args:
        source:   see `find_radiographs`.
        what:     they are, for messages: `generated`, `real`.
        index:    CSV of files and patients; see `read_index`.
        skip_bad: go on without images that cannot be read.
        progress: called as progress(images looked at, images in all).

    Raises:
        DataError: a folder that is missing or empty, or a file that is no image.
        EvaluationError: no folder named, or fewer than two images.
    """
    if source is None:
        raise EvaluationError(f"no folder of {what} images is named; expected one")
    found = find_radiographs(source)
    files, bad = check_inputs(found, check_radiograph, what="images", skip_bad=skip_bad, progress=progress)
    if len(files) < 2:
        raise EvaluationError(f"{source} has 1 {what} image; expected 2 or more: one image is no set")
    patients = find_patients(files, index=read_index(index) if index else None)
    return ImageSet(files, patients, [one.path.name for one in bad])
