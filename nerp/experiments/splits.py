"""No patient is both learned and tested: checked before anything is learned, as far as patients can be known."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from nerp.data.images import read_grey
from nerp.data.patients import patients_of
from nerp.errors import DataError


@dataclass(frozen=True)
class Split:
    """What is known of the patients of what is learned and tested.

    Args:
        groups:   {stem: patient} of the tested images, each unknown one alone; None where no patient is known.
        warnings: sentences on what could not be checked.
    """

    groups: dict[str, str] | None
    warnings: list[str]

    @property
    def count(self) -> int | None:
        """How many patients are tested; None where none is known."""
        return None if self.groups is None else len(set(self.groups.values()))


def check_split(
    learned: Sequence[Path], tested: Sequence[Path], *, index: str | Path | None = None, where: str = "training folder"
) -> Split:
    """Make sure that no patient, no CT and no file is both learned and tested.

    Args:
        learned: images to learn from; none where weights are given, whose patients are not known.
        tested:  images to test on.
        index:   CSV of files and patients, `file,patient_id`; else records and names of known sets tell.
        where:   the learned images are, for messages.

    Raises:
        DataError: a patient, a CT or a file is on both sides; the first is named. Or an index that lists no image.
    """
    _refuse_common_files(learned, tested, where)
    ours, theirs = (patients_of(files, index=index) or {} for files in (learned, tested))
    if index is not None and not (ours or theirs):
        raise DataError(f"{index} lists none of the images; expected their names in its column of files")
    common = sorted(set(ours.values()) & set(theirs.values()))
    if common:
        first = common[0]
        names = [next(Path(path).name for path, one in side.items() if one == first) for side in (ours, theirs)]
        raise DataError(
            f"{len(common)} of the test's patients are in the {where}, too: {first[:40]} ({names[0]} there, {names[1]} "
            "in the test); expected no patient in both: take the images of one side away"
        )
    groups = {path.stem: theirs.get(str(path), f"image {path.stem}") for path in tested} if theirs else None
    return Split(groups, _doubts(len(learned) - len(ours), len(tested) - len(theirs), len(learned), len(tested), where))


def _refuse_common_files(learned: Sequence[Path], tested: Sequence[Path], where: str) -> None:
    common = {path.resolve() for path in learned} & {path.resolve() for path in tested}
    if common:
        raise DataError(
            f"{len(common)} of the test's files are in the {where}, too: {min(common).name}; expected images that were "
            "not learned: take them away from one side"
        )


def refuse_common_pixels(learned: Sequence[Path], tested: Sequence[Path], *, where: str) -> None:
    """Make sure that no image of the test is learned from under another name: to 8 bits, its pixels are compared.

    Args:
        learned: images to learn from.
        tested:  images to test on.
        where:   the learned images are, for the message.

    Raises:
        DataError: an image is on both sides; the first is named.
    """
    ours = {_pixels(path): path for path in learned}
    common = [(path, ours[key]) for path in tested if (key := _pixels(path)) in ours]
    if common:
        tests, learns = common[0]
        raise DataError(
            f"{len(common)} of the test's images are in the {where}, too: {learns.name} has the pixels of "
            f"{tests.name}; expected images that are not tested: take them away from one side"
        )


def _pixels(path: Path) -> bytes:
    grey = np.rint(255 * read_grey(path)).astype(np.uint8)
    return hashlib.sha256(repr(grey.shape).encode() + grey.tobytes()).digest()


def _doubts(no_learned: int, no_tested: int, n_learned: int, n_tested: int, where: str) -> list[str]:
    """A sentence where some image's patient is unknown."""
    parts = [(no_learned, n_learned, f"the {where}"), (no_tested, n_tested, "the test")]
    unknown = [f"{count} of {total} images of {of}" for count, total, of in parts if count]
    if not unknown:
        return []
    alone = " and intervals take each such test image for a patient of its own" if no_tested else ""
    return [
        f"the patients of {' and of '.join(unknown)} are not known: whether one is both learned and tested was not "
        f"checked for these{',' if alone else ''}{alone}; give an index of them (--patients FILE: file,patient_id)"
    ]
