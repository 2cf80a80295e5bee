"""No patient is both learned and tested: checked before anything is learned, as far as patients can be known."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
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
        DataError: a patient, a CT, a file or an image is on both sides; the first is named. Or an index that lists
            no image.
    """
    return check_splits({where: learned}, tested, index=index)


def check_splits(
    learned: Mapping[str, Sequence[Path]], tested: Sequence[Path], *, index: str | Path | None = None
) -> Split:
    """Make sure of several folders at once that nobody of them is tested; what could not be checked is said once.

    An image of the test is known under any name by its pixels, as 8 bits.

    Args:
        learned: where images to learn from are, for messages, and these images.
        tested:  images to test on.
        index:   CSV of files and patients, `file,patient_id`; else records and names of known sets tell.

    Raises:
        DataError: as `check_split`.
    """
    for where, files in learned.items():
        _refuse_common_files(files, tested, where)
    ours = {where: patients_of(files, index=index) or {} for where, files in learned.items()}
    theirs = patients_of(tested, index=index) or {}
    if index is not None and not (any(ours.values()) or theirs):
        raise DataError(f"{index} lists none of the images; expected their names in its column of files")
    for where, known in ours.items():
        _refuse_common_patients(known, theirs, where)
    _refuse_common_pixels(learned, tested)
    groups = {path.stem: theirs.get(str(path), f"image {path.stem}") for path in tested} if theirs else None
    sides = [(len(files) - len(ours[where]), len(files), f"the {where}") for where, files in learned.items()]
    return Split(groups, _doubts([*sides, (len(tested) - len(theirs), len(tested), "the test")]))


def _refuse_common_patients(ours: Mapping[str, str], theirs: Mapping[str, str], where: str) -> None:
    common = sorted(set(ours.values()) & set(theirs.values()))
    if common:
        first = common[0]
        names = [next(Path(path).name for path, one in side.items() if one == first) for side in (ours, theirs)]
        raise DataError(
            f"{len(common)} of the test's patients are in the {where}, too: {first[:40]} ({names[0]} there, {names[1]} "
            "in the test); expected no patient in both: take the images of one side away"
        )


def _refuse_common_files(learned: Sequence[Path], tested: Sequence[Path], where: str) -> None:
    common = {path.resolve() for path in learned} & {path.resolve() for path in tested}
    if common:
        raise DataError(
            f"{len(common)} of the test's files are in the {where}, too: {min(common).name}; expected images that were "
            "not learned: take them away from one side"
        )


def _refuse_common_pixels(learned: Mapping[str, Sequence[Path]], tested: Sequence[Path]) -> None:
    theirs = {_pixels(path): path for path in tested} if any(learned.values()) else {}
    for where, files in learned.items():
        common = [(path, theirs[key]) for path in files if (key := _pixels(path)) in theirs]
        if common:
            learns, tests = common[0]
            raise DataError(
                f"{len(common)} images in the {where} are of the test, too: {learns.name} has the pixels of "
                f"{tests.name}; expected images that are not tested: take them away from one side"
            )


def _pixels(path: Path) -> bytes:
    grey = np.rint(255 * read_grey(path)).astype(np.uint8)
    return hashlib.sha256(repr(grey.shape).encode() + grey.tobytes()).digest()


def _doubts(sides: Sequence[tuple[int, int, str]]) -> list[str]:
    """A sentence where some image's patient is unknown: how many of how many, and of what, the test last."""
    unknown = [f"{count} of {total} images of {of}" for count, total, of in sides if count]
    if not unknown:
        return []
    alone = " and intervals take each such test image for a patient of its own" if sides[-1][0] else ""
    return [
        f"the patients of {' and of '.join(unknown)} are not known: whether one is both learned and tested was not "
        f"checked for these{',' if alone else ''}{alone}; give an index of them (--patients FILE: file,patient_id)"
    ]
