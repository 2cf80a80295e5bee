"""A volume's file together with the hash that stands for it in records."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from nerp.dicom import is_dicom, list_series, series_files
from nerp.files import sha256
from nerp.formats import ITK, NIFTI, extension

DETACHED = {".mhd": rb"ElementDataFile *= *([^\r\n]+)", ".nhdr": rb"(?i)data ?file *: *([^\r\n]+)"}
"""Headers whose data lies in a file that they name."""


@dataclass(frozen=True)
class SourceFile:
    """Where a CT or a label map lies, and what it is known by.

    Args:
        path:   a file, or the folder of a DICOM series or of label files.
        sha256: of its content; see `volume_sha256`.
        series: which DICOM series of the folder it is, where it holds several.
    """

    path: Path
    sha256: str
    series: str | None = None

    @classmethod
    def of(cls, path: str | Path, series: str | None = None) -> SourceFile:
        """The file at a path, read once for its hash.

        Args:
            path:   a file or a folder.
            series: of several DICOM series, as for `read_volume`.

        Raises:
            VolumeError: a folder of several DICOM series and none chosen.
        """
        return cls(Path(path), volume_sha256(path, series), series)

    @classmethod
    def matching(cls, path: str | Path, expected: str) -> SourceFile | None:
        """What has the hash at a path, if anything: the file, one of a folder's series, or the folder as a whole.

        The last was a DICOM folder's hash in former records: that of every file in it, whatever it was.

        Args:
            path:     a file or a folder.
            expected: SHA-256.
        """
        path = Path(path)
        series: list[str | None] = [*list_series(path)] if _is_gathered(path) else []
        for one in series if len(series) > 1 else [None]:
            if volume_sha256(path, one) == expected:
                return cls(path, expected, one)
        is_former = path.is_dir() and _joined(map(sha256, _all_files(path))) == expected
        return cls(path, expected) if is_former else None


def volume_sha256(path: str | Path, series: str | None = None) -> str:
    """The SHA-256 of a volume's file; of a volume in several files, that of their sorted hashes.

    Several are a DICOM series', and a header with its data. Their names take no part, so a renamed CT is
    still found, and neither does what else lies in a DICOM folder. In a folder of label files each name
    says which structure it is, so there it is that of sorted lines `name:hash`.

    Args:
        path:   a file, or a folder of a DICOM series or of label files.
        series: of several DICOM series, as for `read_volume`.

    Raises:
        VolumeError: a folder of several DICOM series and none chosen.
    """
    path = Path(path)
    files = volume_files(path, series)
    if files == [path]:
        return sha256(path)
    if path.is_dir() and all(extension(file) in NIFTI + ITK for file in files):
        return _joined(f"{file.name}:{sha256(file)}" for file in files)
    return _joined(map(sha256, files))


def volume_files(path: str | Path, series: str | None = None) -> list[Path]:
    """The files that make up a volume, and no others that lie beside them.

    Args:
        path:   a file, or a folder of a DICOM series or of label files.
        series: of several DICOM series, as for `read_volume`.

    Raises:
        VolumeError: a folder of several DICOM series and none chosen.
    """
    path = Path(path)
    if not _is_gathered(path):
        return _with_data(path)
    found = series_files(path, series)
    if found or not path.is_dir():
        return found or [path]
    files = _all_files(path)
    volumes = [file for file in files if extension(file) in NIFTI + ITK]
    return volumes or [file for file in files if is_dicom(file)] or files


def _is_gathered(path: Path) -> bool:
    return path.is_dir() or path.name.upper() == "DICOMDIR"


def _all_files(folder: Path) -> list[Path]:
    return sorted(file for file in folder.iterdir() if file.is_file() and not file.name.startswith("."))


def _joined(lines: Iterable[str]) -> str:
    return hashlib.sha256("\n".join(sorted(lines)).encode()).hexdigest()


def _with_data(path: Path) -> list[Path]:
    if extension(path) not in DETACHED:
        return [path]
    named = re.search(DETACHED[extension(path)], path.read_bytes()[:65536])
    data = path.parent / named[1].decode(errors="replace").strip() if named else path
    return [path, data] if data.is_file() and data != path else [path]
