"""Which labels belong to which CT, and which file a record means: by name once, by hash for ever."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from nerp.data.ct import find_cts
from nerp.data.source_files import SourceFile
from nerp.errors import DataError
from nerp.formats import extension


@dataclass(frozen=True)
class Case:
    """One CT and its labels as they lie on disk.

    Args:
        ct:     the CT's file.
        labels: its label map's file.
    """

    ct: SourceFile
    labels: SourceFile


def find_volumes(path: str | Path, what: str = "CT") -> list[Path]:
    """The volumes at a path: the file itself, or a folder's files and DICOM series, sub-folders included.

    Args:
        path: a file or a folder.
        what: `CT` or `labels`, for messages.

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

    Args:
        ct:     a file or a folder.
        labels: likewise.

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
    message = (
        f"{len(cts)} CT{'s have' if len(cts) > 1 else ' has'} no labels of the same name in {labels}: {_some(cts)}"
    )
    spare = f" (labels without a CT: {_some(left_over)})" if left_over else ""
    return f"{message}{spare}; give each CT's labels the CT's file name"


def _some(names: list[str], n: int = 8) -> str:
    more = f" and {len(names) - n} more" if len(names) > n else ""
    return ", ".join(names[:n]) + more


def cases(ct: str | Path, labels: str | Path) -> list[Case]:
    """The matched CTs and labels with their hashes, in the order of the CTs' hashes.

    Args:
        ct:     a file or a folder.
        labels: likewise.

    Raises:
        DataError: as `match`, or the same CT twice.
    """
    found = [Case(SourceFile.of(one), SourceFile.of(other)) for one, other in match(ct, labels)]
    found.sort(key=lambda case: case.ct.sha256)
    for case, following in zip(found, found[1:], strict=False):
        if case.ct.sha256[:12] == following.ct.sha256[:12]:
            raise DataError(f"{case.ct.path} and {following.ct.path} are the same CT; remove one of them")
    return found


def find_by_hash(path: str | Path, expected: str, what: str) -> SourceFile:
    """The CT or labels at or in `path` whose hash a record names.

    Args:
        path:     a file, or a folder to search.
        expected: SHA-256.
        what:     `CT` or `labels`, for messages.

    Raises:
        DataError: none has it; the hash and how many were looked at are told.
    """
    looked_at = find_volumes(path, what)
    folders = {candidate.parent for candidate in looked_at if what == "labels" and Path(path).is_dir()}
    for candidate in dict.fromkeys([*looked_at, Path(path), *sorted(folders)]):
        found = SourceFile.matching(candidate, expected)
        if found is not None:
            return found
    n = len(looked_at)
    raise DataError(
        f"no {what} of SHA-256 {expected[:12]}… among the {n} file{'s' * (n != 1)} looked at; "
        f"give the {what} that the pair was made from, its file or a folder to search"
    )
