"""Which CT series a path holds: found in folders, localizers and reports left out, one of them chosen."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple

import numpy as np

from nerp.dicom.frames import Frame, frames_of, is_enhanced, n_frames
from nerp.dicom.headers import CT_CLASSES, DICOM_NAMES, DicomFile, read_file, text
from nerp.errors import VolumeError

SECONDARY_CAPTURE = "1.2.840.10008.5.1.4.1.1.7"
LOCALIZER = re.compile(r"LOCALI[SZ]ER|SCOUT|TOPOGRAM|SURVIEW")
CAPTURE = re.compile(r"SCREEN|(?<![A-Z])(?:DOSE|PROT|REPORT)(?![A-Z])")
"""Words of ImageType that GE, Siemens and Philips write into pictures that are no slices."""

MODALITY = re.compile(r"[A-Z][A-Z0-9_ ]{1,15}")
"""How a Modality is written; every DICOM file but a DICOMDIR states one (DICOM PS3.3, C.7.3.1)."""

DIRECTORY = "1.2.840.10008.1.3.10"

MOST_LISTED = 12


@dataclass(frozen=True)
class Series:
    """A CT series.

    Args:
        uid:   SeriesInstanceUID.
        files: its slices, or its enhanced CTs, in order of their paths; localizers and reports are left out.
    """

    uid: str
    files: tuple[DicomFile, ...]

    def __len__(self) -> int:
        return sum(_counted(file) for file in self.files)

    @property
    def number(self) -> str:
        """SeriesNumber, or nothing."""
        return text(self.files[0].header, "SeriesNumber")

    @property
    def description(self) -> str:
        """SeriesDescription, or nothing."""
        return text(self.files[0].header, "SeriesDescription")

    def frames(self) -> list[Frame]:
        """All planes of all files.

        Raises:
            VolumeError: a header that cannot be.
        """
        return [frame for file in self.files for frame in frames_of(file)]

    def __str__(self) -> str:
        header = self.files[0].header
        name = f"{self.number} {self.description!r}" if self.description else self.number or self.uid
        size = f"{len(self)} slice{'s' * (len(self) != 1)} x {text(header, 'Rows')} x {text(header, 'Columns')}"
        kernel = text(header, "ConvolutionKernel")
        return f"{name.strip()} ({size}, {self._spacing()}{f', kernel {kernel}' if kernel else ''})"

    def _spacing(self) -> str:
        try:
            frames = self.frames()
        except VolumeError:
            return "unknown spacing"
        heights = np.sort([frame.position @ frames[0].normal for frame in frames])
        steps = f"{np.median(np.diff(heights)):.2f} x " if len(heights) > 1 else ""
        return f"{steps}{frames[0].spacing[0]:.2f} x {frames[0].spacing[1]:.2f} mm"


@dataclass
class Survey:
    """What lies at a path.

    Args:
        series:   CT series by their SeriesInstanceUID.
        left_out: files of CTs that are no slices, each with what it is.
        damaged:  files that should be DICOM and cannot be read.
        others:   files of other kinds of series, each with its SeriesInstanceUID.
    """

    series: dict[str, Series] = field(default_factory=dict)
    left_out: list[tuple[Path, str]] = field(default_factory=list)
    damaged: list[Path] = field(default_factory=list)
    others: list[tuple[Path, str]] = field(default_factory=list)


def list_series(path: str | Path) -> dict[str, Series]:
    """CT series at a path by their SeriesInstanceUID; `print(series)` tells one in a line.

    Localizers, dose reports, screen saves and other pictures that are no slices are left out, even where they
    share a series' SeriesInstanceUID.

    Args:
        path: a file, a folder, or a DICOMDIR. A folder without slices of its own is searched with all below it.

    Raises:
        VolumeError: nothing there, or a file that may not be read.
    """
    return survey(Path(path)).series


def survey(path: Path) -> Survey:
    """What lies at a path, a file, a folder or a DICOMDIR: see `list_series`."""
    if not path.exists():
        raise VolumeError(f"{path}: no such file or folder; check the path")
    if path.is_file() and path.name.upper() != "DICOMDIR":
        return _surveyed([path])
    folder = path if path.is_dir() else path.parent
    found = _surveyed(files_in(folder))
    return found if found.series else _surveyed(sorted(_below(folder)))


def files_in(folder: Path) -> list[Path]:
    """Files that lie directly in a folder, without hidden ones, in order of their names.

    Raises:
        VolumeError: a folder that may not be read.
    """
    try:
        return sorted(path for path in folder.iterdir() if path.is_file() and not path.name.startswith("."))
    except OSError as error:
        raise VolumeError(f"{folder}: cannot be read ({error.strerror}); check the folder and its rights") from error


def _below(folder: Path) -> Iterator[Path]:
    for path in folder.rglob("*"):
        if path.is_file() and not any(part.startswith(".") for part in path.relative_to(folder).parts):
            yield path


def _surveyed(paths: Iterable[Path]) -> Survey:
    found, series = Survey(), dict[str, list[DicomFile]]()
    for path in paths:
        file = read_file(path)
        if file is None or _is_damaged(file):
            if file is not None or path.suffix.lower() in DICOM_NAMES:
                found.damaged.append(path)
        elif is_ct(file):
            reason = no_slice(file)
            if reason:
                found.left_out.append((path, reason))
            else:
                series.setdefault(_key(file), []).append(file)
        else:
            found.others.append((path, _key(file)))
    found.series = {uid: Series(uid, tuple(files)) for uid, files in series.items()}
    return found


def _is_damaged(file: DicomFile) -> bool:
    """Whether a header is unreadable, says not what it is of, or is a CT's that breaks off before its size."""
    if file.storage in CT_CLASSES:
        return "Rows" not in file.header
    is_said = MODALITY.fullmatch(text(file.header, "Modality")) is not None
    return not is_said and file.storage != DIRECTORY


def _key(file: DicomFile) -> str:
    return text(file.header, "SeriesInstanceUID") or f"series {text(file.header, 'SeriesNumber')}".strip()


def is_ct(file: DicomFile) -> bool:
    """Whether a file holds an image of a CT, be it a slice or a picture of its report."""
    modality = text(file.header, "Modality")
    if modality and modality != "CT":
        return False
    return "Rows" in file.header and (modality == "CT" or file.storage in CT_CLASSES)


def no_slice(file: DicomFile) -> str:
    """What a CT's file is, where it is no slice of it; else nothing."""
    kind = text(file.header, "ImageType").upper()
    is_called_so = LOCALIZER.search(text(file.header, "SeriesDescription").upper()) and "AXIAL" not in kind
    if LOCALIZER.search(kind) or is_called_so:
        return "localizer"
    is_picture = file.storage.startswith(SECONDARY_CAPTURE) or text(file.header, "SamplesPerPixel") not in ("", "1")
    if CAPTURE.search(kind) or (is_picture and "ImagePositionPatient" not in file.header):
        return "report or screen capture"
    return ""


def choose(path: Path, found: Survey, wanted: str | int | None) -> Series:
    """The series that is meant.

    Args:
        path:   for messages.
        found:  what lies there.
        wanted: SeriesNumber, SeriesInstanceUID, or a part of the SeriesDescription that only one has; None for
                the only one. Series of one slice count only where there is no other.

    Raises:
        VolumeError: no CT, several series and none chosen, or a choice that fits none or several.
    """
    series = list(found.series.values())
    if not series and path.is_file() and not (found.left_out or found.damaged):
        file = read_file(path)
        what = text(file.header, "Modality") if file else ""
        raise VolumeError(
            f"{path}: holds no image of a CT ({what or 'unknown modality'}); expected a CT series' folder"
        )
    if not series:
        raise VolumeError(f"{path}: holds no CT slices in DICOM{_only(found)}; expected a CT series in it or below")
    if wanted is not None:
        fitting = _fitting(series, str(wanted).strip())
        if not fitting:
            raise VolumeError(f"{path}: has no series {wanted}; it holds {_listed(series)}")
        series = fitting
    elif any(len(one) > 1 for one in series):
        series = [one for one in series if len(one) > 1]
    if len(series) > 1 and all(len(one) == 1 for one in series):
        raise VolumeError(
            f"{path}: holds {len(series)} series of one slice each; expected one SeriesInstanceUID for all slices of "
            f"a CT: {_listed(series[:3])}"
        )
    if len(series) > 1:
        raise VolumeError(
            f"{path}: holds {len(series)} series; choose one with --series (series= in Python) by its number, UID or "
            f"description: {_listed(series)}"
        )
    return series[0]


def _fitting(series: list[Series], wanted: str) -> list[Series]:
    word = wanted.casefold()
    tests = (
        lambda one: one.uid == wanted,
        lambda one: wanted.isdecimal() and one.number.isdecimal() and int(one.number) == int(wanted),
        lambda one: one.description.casefold() == word,
        lambda one: bool(word) and not wanted.isdecimal() and word in one.description.casefold(),
    )
    return next((fitting for test in tests if (fitting := [one for one in series if test(one)])), [])


def _listed(series: list[Series]) -> str:
    more = f"; and {len(series) - MOST_LISTED} more" if len(series) > MOST_LISTED else ""
    return "; ".join(str(one) for one in series[:MOST_LISTED]) + more


def _only(found: Survey) -> str:
    told = [f"{count} {reason}" for reason, count in Counter(reason for _, reason in found.left_out).items()]
    if found.damaged:
        told.append(f"{len(found.damaged)} damaged ({found.damaged[0].name})")
    return f" (only {', '.join(told)})" if told else ""


def passed_over(found: Survey, chosen: Series) -> str:
    """What is left out beside a chosen series, in words; nothing where it is all there is.

    Args:
        found:  what lies there.
        chosen: one of its series.
    """
    files = [*found.left_out]
    for one in found.series.values():
        if len(one) == 1 and one is not chosen:
            files.append((one.files[0].path, "series of one slice"))
    told = []
    for reason, count in Counter(reason for _, reason in files).items():
        names = [path.name for path, other in files if other == reason]
        told.append(f"{count} {reason} ({', '.join(names[:3])}{', ...' if count > 3 else ''})")
    return ", ".join(told)


def _counted(file: DicomFile) -> int:
    try:
        return n_frames(file)
    except VolumeError:
        return 1


def holds_series(folder: Path) -> bool:
    """Whether CT slices, or an enhanced CT, lie directly in a folder; stops at the first.

    A folder of localizers and reports holds none.
    """
    return any(True for _ in _slices(folder))


def _slices(folder: Path) -> Iterator[DicomFile]:
    for path in files_in(folder):
        file = read_file(path)
        if file is not None and is_ct(file) and not no_slice(file):
            yield file


class FoundCT(NamedTuple):
    """A CT in a folder, as far as a glance tells.

    Args:
        path:     the folder of its slices, or its file.
        n_slices: counted no further than 2 in a folder.
        uid:      SeriesInstanceUID of its first slice.
    """

    path: Path
    n_slices: int
    uid: str


def find_series(folder: Path) -> list[FoundCT]:
    """CTs directly in a folder: the folder itself, or enhanced CTs file by file.

    No more than two headers are read of a folder of slices.

    Args:
        folder: not searched below.
    """
    seen = list[DicomFile]()
    for file in _slices(folder):
        seen.append(file)
        if len(seen) > 1 and not is_enhanced(seen[0]):
            return [FoundCT(folder, 2, _key(seen[0]))]
    uids = Counter(_key(file) for file in seen)
    alone = [file for file in seen if is_enhanced(file) and uids[_key(file)] == 1]
    if len(alone) == len(seen):
        return [FoundCT(file.path, _counted(file), _key(file)) for file in alone]
    return [FoundCT(folder, len(seen), _key(seen[0]))]
