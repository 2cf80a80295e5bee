"""Which labels belong to which CT, and which file a record means: by name once, by hash for ever."""

from __future__ import annotations

import hashlib
import re
from dataclasses import dataclass
from pathlib import Path

from nerp.data.ct import find_cts
from nerp.errors import DataError
from nerp.files import sha256
from nerp.formats import extension


@dataclass(frozen=True)
class Case:
    """One CT and its labels as they lie on disk, with the hashes that stand for them in records."""

    ct: Path
    labels: Path
    ct_sha256: str
    labels_sha256: str


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


def find_volumes(path: str | Path, what: str = "CT") -> list[Path]:
    """The volumes at a path: the file itself, or a folder's files and DICOM series, sub-folders included.

    Raises:
        DataError: nothing there, or a folder without volumes.
    """
    path = Path(path)
    if path.is_file():
        return [path]
    if not path.is_dir():
        raise DataError(f"no {what} at {path}: expected a file or a folder of them")
    return find_cts(path)


def match(ct: str | Path, labels: str | Path) -> list[tuple[Path, Path]]:
    """Each CT with its labels: a file with a file, else by equal names below both folders, whatever the format.

    Raises:
        DataError: something is missing, two files share a name, or CTs have no labels (they are listed).
    """
    ct, labels = Path(ct), Path(labels)
    cts, label_files = find_volumes(ct), find_volumes(labels, "labels")
    if ct.resolve() == labels.resolve():
        raise DataError(f"CT and labels are both {ct}; give the labels as their own file or folder")
    if len(cts) == 1 and label_files == [labels]:
        return [(cts[0], labels)]
    cts_by_name, labels_by_name = _by_name(cts, ct, "CT"), _by_name(label_files, labels, "label")
    unmatched = sorted(cts_by_name.keys() - labels_by_name.keys())
    if unmatched:
        raise DataError(_unmatched(unmatched, sorted(labels_by_name.keys() - cts_by_name.keys()), labels))
    return [(path, labels_by_name[name]) for name, path in cts_by_name.items()]


def _by_name(paths: list[Path], root: Path, what: str) -> dict[str, Path]:
    """Each volume under its path below `root`, without the extension."""
    named: dict[str, Path] = {}
    for path in paths:
        name = str(path.relative_to(root)) if root in path.parents else path.name
        name = name if path.is_dir() else name[: len(name) - len(extension(path))]
        if name in named:
            raise DataError(f"two {what} files are both named {name!r}: {named[name].name} and {path.name}; keep one")
        named[name] = path
    return named


def _unmatched(cts: list[str], left_over: list[str], labels) -> str:
    told = f"{len(cts)} CT{'s have' if len(cts) > 1 else ' has'} no labels of the same name in {labels}: {_some(cts)}"
    spare = f" (labels without a CT: {_some(left_over)})" if left_over else ""
    return f"{told}{spare}; give each CT's labels the CT's file name"


def _some(names: list[str], n: int = 8) -> str:
    more = f" and {len(names) - n} more" if len(names) > n else ""
    return ", ".join(names[:n]) + more


def cases(ct: str | Path, labels: str | Path) -> list[Case]:
    """The matched CTs and labels with their hashes, in the order of the CTs' hashes.

    Raises:
        DataError: as `match`, or the same CT twice.
    """
    found = [Case(*pair, *map(volume_sha256, pair)) for pair in match(ct, labels)]
    found.sort(key=lambda case: case.ct_sha256)
    for one, other in zip(found, found[1:], strict=False):
        if one.ct_sha256[:12] == other.ct_sha256[:12]:
            raise DataError(f"{one.ct} and {other.ct} are the same CT; remove one of them")
    return found


def find_by_hash(path: str | Path, expected: str, what: str) -> Path:
    """The CT or labels at or in `path` whose hash a record names.

    Raises:
        DataError: none has it; the hash and how many were looked at are told.
    """
    looked_at = find_volumes(path, what)
    for candidate in looked_at:
        if volume_sha256(candidate) == expected:
            return candidate
    n = len(looked_at)
    raise DataError(
        f"no {what} of SHA-256 {expected[:12]}… among the {n} file{'s' * (n != 1)} looked at; "
        f"give the {what} that the pair was made from, its file or a folder to search"
    )
