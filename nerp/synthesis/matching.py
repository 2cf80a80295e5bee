"""Which labels belong to which CT, and which file a record means: by name once, by hash for ever."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from pathlib import Path

from nerp.errors import DataError

VOLUME_SUFFIXES = (".nii.gz", ".nii", ".nrrd", ".mha", ".mhd", ".nhdr")


@dataclass(frozen=True)
class Case:
    """One CT and its labels as they lie on disk, with the hashes that stand for them in records."""

    ct: Path
    labels: Path
    ct_sha256: str
    labels_sha256: str


def sha256(path: str | Path) -> str:
    """The SHA-256 of a file, as `sha256sum` prints it; of a DICOM folder, that of its files' sorted hashes.

    File names take no part, so a renamed CT is still found.
    """
    path = Path(path)
    if path.is_dir():
        digests = sorted(sha256(file) for file in path.iterdir() if file.is_file() and not file.name.startswith("."))
        return hashlib.sha256("\n".join(digests).encode()).hexdigest()
    digest = hashlib.sha256()
    with open(path, "rb") as file:
        while block := file.read(1 << 20):
            digest.update(block)
    return digest.hexdigest()


def volume_name(path: Path) -> str | None:
    """A file's name without its volume suffix, a folder's name; None for a file that is no volume."""
    if path.is_dir():
        return path.name
    suffix = next((suffix for suffix in VOLUME_SUFFIXES if path.name.lower().endswith(suffix)), None)
    return path.name[: -len(suffix)] if suffix else None


def find_volumes(path: str | Path, what: str = "CT") -> list[Path]:
    """The volumes at a path: the file itself, a DICOM series' folder, or a folder's volumes by name.

    Raises:
        DataError: nothing there, or a folder without volumes.
    """
    path = Path(path)
    if path.is_file():
        return [path]
    if not path.is_dir():
        raise DataError(f"no {what} at {path}: expected a file or a folder of {', '.join(VOLUME_SUFFIXES)} files")
    entries = sorted(entry for entry in path.iterdir() if not entry.name.startswith("."))
    volumes = [entry for entry in entries if volume_name(entry) and (entry.is_file() or _is_series(entry))]
    if volumes:
        return volumes
    if _is_series(path):
        return [path]
    raise DataError(f"{path} holds no {what}: expected {', '.join(VOLUME_SUFFIXES)} files or DICOM series' folders")


def _is_series(folder: Path) -> bool:
    """Whether a folder holds DICOM files, told by the mark that stands 128 bytes into each."""
    files = (entry for entry in sorted(folder.iterdir()) if entry.is_file() and not entry.name.startswith("."))
    return any(_is_dicom(file) for file in files)


def _is_dicom(path: Path) -> bool:
    with open(path, "rb") as file:
        return file.read(132)[128:] == b"DICM"


def match(ct: str | Path, labels: str | Path) -> list[tuple[Path, Path]]:
    """Each CT with its labels: a file with a file, else by equal names up to the volume suffix.

    Raises:
        DataError: something is missing, two files share a name, or CTs have no labels (they are listed).
    """
    cts, label_files = find_volumes(ct), find_volumes(labels, "labels")
    if Path(ct).resolve() == Path(labels).resolve():
        raise DataError(f"CT and labels are both {ct}; give the labels as their own file or folder")
    if len(cts) == 1 and Path(labels) in label_files:
        return [(cts[0], Path(labels))]
    by_name = _by_name(label_files, "labels")
    unmatched = [name for name in _by_name(cts, "CT") if name not in by_name]
    if unmatched:
        raise DataError(_unmatched(unmatched, sorted(by_name.keys() - {volume_name(path) for path in cts}), labels))
    return [(path, by_name[volume_name(path)]) for path in cts]


def _by_name(paths: list[Path], what: str) -> dict[str, Path]:
    named: dict[str, Path] = {}
    for path in paths:
        name = volume_name(path) or path.name
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
    found = [Case(path, label_path, sha256(path), sha256(label_path)) for path, label_path in match(ct, labels)]
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
        if sha256(candidate) == expected:
            return candidate
    n = len(looked_at)
    raise DataError(
        f"the pair's {what} has SHA-256 {expected[:12]}…, and none of the {n} file{'s' * (n != 1)} looked at has it; "
        f"point to the {what} that the pair was made from"
    )
