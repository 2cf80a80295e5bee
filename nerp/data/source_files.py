"""A volume's file together with the hash that stands for it in records."""

from __future__ import annotations

import hashlib
import re
from dataclasses import dataclass
from pathlib import Path

from nerp.files import sha256
from nerp.formats import extension


@dataclass(frozen=True)
class SourceFile:
    """Where a CT or a label map lies, and what it is known by.

    Args:
        path:   a file, or the folder of a DICOM series.
        sha256: of its content; see `volume_sha256`.
    """

    path: Path
    sha256: str

    @classmethod
    def of(cls, path: str | Path) -> SourceFile:
        """The file at a path, read once for its hash."""
        return cls(Path(path), volume_sha256(path))


def volume_sha256(path: str | Path) -> str:
    """The SHA-256 of a volume's file; of a volume in several files, that of their sorted hashes.

    Several are a DICOM folder's, and a `.mhd` header with its data. Their names take no part, so a
    renamed CT is still found.
    """
    path = Path(path)
    parts = _parts(path)
    if parts == [path]:
        return sha256(path)
    return hashlib.sha256("\n".join(sorted(map(sha256, parts))).encode()).hexdigest()


def _parts(path: Path) -> list[Path]:
    if path.is_dir():
        return [file for file in path.iterdir() if file.is_file() and not file.name.startswith(".")]
    if extension(path) != ".mhd":
        return [path]
    named = re.search(rb"ElementDataFile *= *([^\r\n]+)", path.read_bytes()[:65536])
    data = path.parent / named[1].decode(errors="replace").strip() if named else path
    return [path, data] if data.is_file() and data != path else [path]
