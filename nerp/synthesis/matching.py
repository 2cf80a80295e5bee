"""Which labels belong to which CT, and which file a record means: by name once, by hash for ever."""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import TypeAlias

from nerp.data.ct import find_cts
from nerp.data.source_files import SourceFile
from nerp.errors import DataError
from nerp.formats import ITK, NIFTI, extension
from nerp.label_maps import label_files
from nerp.synthesis.label_keys import below, ct_keys, expanded, is_named_as_labels, label_keys, listed

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Case:
    """One CT and its labels as they lie on disk.

    Args:
        ct:     the CT's file.
        labels: its label map's file; None where it has none, and its images no masks.
    """

    ct: SourceFile
    labels: SourceFile | None


def find_volumes(path: str | Path, what: str = "CT") -> list[Path]:
    """The volumes at a path: the file itself, or a folder's files and DICOM series, sub-folders included.

    Args:
        path: a file or a folder.
        what: `CT` or `labels`; a folder of one file a structure is one label map.

    Raises:
        DataError: nothing there, or a folder without volumes.
    """
    path = Path(path)
    if path.is_file():
        return [path]
    if not path.is_dir():
        raise DataError(f"no {what} at {path}: expected a file or a folder of them")
    if what == "CT":
        return find_cts(path)
    found = label_files(path)
    if not found:
        raise DataError(f"{path}: holds no labels; expected label maps, DICOM SEG or folders of one file a structure")
    return found


def match(
    ct: str | Path, labels: str | Path, pattern: str | None = None, *, unlabelled: list[Path] | None = None
) -> list[tuple[Path, Path]]:
    """Each CT with its labels: a file with a file, else by their names below both folders, whatever the format.

    Names are equal, or equal but for what is known to be added: `_0000` of nnU-Net after the CT's; `_mask`,
    `_seg`, `_label`, `_segmentation` and the like after the labels'; or a case's folder holds both, or is named as the
    other's file. Where CTs and labels share a folder, labels are what is named as labels, such as
    `seg.nii.gz` or `segmentations/`.

    Args:
        ct:         a file or a folder.
        labels:     likewise; may be the CTs' folder.
        pattern:    where the labels of a CT lie below `labels`, such as `{name}_mask.nii.gz` or
                    `{folder}/seg.nii.gz`; None goes by the names.
        unlabelled: a list that takes the CTs without labels, as long as others have some; None refuses them.

    Raises:
        DataError: something is missing, two files fit one CT, or CTs have no labels (they are listed).
        UsageError: a pattern that cannot be.
    """
    ct, labels = Path(ct), Path(labels)
    is_shared = ct.resolve() == labels.resolve()
    if is_shared and ct.is_file():
        raise DataError(f"CT and labels are both {ct}; give the labels as their own file or folder")
    cts = find_volumes(ct)
    if pattern is not None:
        found = _by_pattern(cts, ct, labels, pattern)
    else:
        label_sources = find_volumes(labels, "labels")
        cts, label_sources = _told_apart(cts, ct, label_sources, labels, is_shared)
        if len(cts) == 1 and (label_sources == [labels] or _is_sole_dicom(cts, ct, label_sources)):
            return [(cts[0], label_sources[0])]
        found = _by_names(cts, ct, label_sources, labels)
    return _checked(found, ct, labels, unlabelled)


Found: TypeAlias = "dict[Path, list[Path]]"
"""Each CT, and what fits it."""


def _told_apart(
    cts: list[Path], ct: Path, label_sources: list[Path], labels: Path, is_shared: bool
) -> tuple[list[Path], list[Path]]:
    """CTs without what are labels, and labels without what are CTs."""
    if is_shared:
        label_sources = [path for path in label_sources if is_named_as_labels(path) or _is_dicom_file(path)]
        if not label_sources:
            raise DataError(
                f"CT and labels are both {ct}, and nothing in it is named as labels, such as seg.nii.gz or "
                "case_mask.nii.gz; give the labels as their own file or folder, or a pattern for them"
            )
    taken = {path.resolve() for path in label_sources}
    own = [path for path in cts if path.resolve() not in taken and not taken & {one.resolve() for one in path.parents}]
    named = [path for path in own if not is_shared and is_named_as_labels(path)]
    others = [path for path in own if path not in named]
    if named and others:
        log.warning("%s: %d files are named as labels and no CTs, first %s", ct, len(named), named[0].name)
        own = others
    if not own:
        raise DataError(f"{ct}: holds labels alone; give the folder of the CTs")
    return own, label_sources


def _is_sole_dicom(cts: list[Path], ct: Path, label_sources: list[Path]) -> bool:
    """One CT that was itself given, and one DICOM file of labels, whose name tells nothing."""
    return cts == [ct] and len(label_sources) == 1 and _is_dicom_file(label_sources[0])


def _is_dicom_file(path: Path) -> bool:
    """Of what `label_files` finds: a DICOM SEG or RTSTRUCT, which its header tells from a CT."""
    return path.is_file() and extension(path) not in (*NIFTI, *ITK)


def _by_names(cts: list[Path], ct: Path, label_sources: list[Path], labels: Path) -> Found:
    """What fits each CT by the surest name that fits anything."""
    _by_name(cts, ct, "CT")
    _by_name(label_sources, labels, "label")
    ct_homes, label_homes = (Counter(path.parent for path in paths) for paths in (cts, label_sources))
    known: list[dict[str, list[Path]]] = [{}, {}, {}]
    for path in label_sources:
        for level, keys in zip(known, label_keys(path, labels, label_homes[path.parent] == 1), strict=True):
            for key in keys:
                level.setdefault(key, []).append(path)
    found: Found = {}
    for path in cts:
        wanted = list(ct_keys(path, ct, ct_homes[path.parent] == 1))
        fitting = (level[key] for level in known for key in wanted if key in level)
        found[path] = next(fitting, [])
    return found


def _by_pattern(cts: list[Path], ct: Path, labels: Path, pattern: str) -> Found:
    """What fits each CT by a pattern; what is another's labels is no CT."""
    if not labels.is_dir():
        raise DataError(f"{labels} is no folder; a pattern says where labels lie in one")
    found: Found = {}
    for path in cts:
        places = [place for text in expanded(pattern, path, ct) for place in sorted(labels.glob(text))]
        found[path] = list(dict.fromkeys(places))
    taken = {place.resolve() for places in found.values() for place in places}
    inside = {path for path in cts if taken & {path.resolve(), *(one.resolve() for one in path.parents)}}
    found = {path: places for path, places in found.items() if path not in inside}
    if not found:
        raise DataError(f"{ct}: all that it holds are labels by the pattern {pattern!r}; expected CTs, too")
    return found


def _checked(found: Found, ct: Path, labels: Path, unlabelled: list[Path] | None) -> list[tuple[Path, Path]]:
    """One label map for each CT, each of one CT alone."""
    for path, places in found.items():
        if len(places) > 1:
            both = listed([str(below(place, labels)) for place in places])
            raise DataError(f"{path}: {len(places)} label maps fit it ({both}); keep one, or say which by a pattern")
    bare = [path for path, places in found.items() if not places]
    unmatched = [str(below(path, ct)) for path in bare]
    pairs = [(path, places[0]) for path, places in found.items() if places]
    if bare and (unlabelled is None or not pairs):
        used = {place for _, place in pairs}
        spare = [path for path in find_volumes(labels, "labels") if path not in used and path not in found]
        raise DataError(_unmatched(sorted(unmatched), sorted(str(below(path, labels)) for path in spare), labels))
    if unlabelled is not None:
        unlabelled += bare
    owners: dict[Path, Path] = {}
    for path, place in pairs:
        if place in owners:
            both = f"{below(owners[place], ct)} and {below(path, ct)}"
            raise DataError(f"{place}: two CTs fit these labels ({both}); keep one, or say which by a pattern")
        owners[place] = path
    return pairs


def _by_name(paths: list[Path], root: Path, what: str) -> None:
    """Refuse two volumes that differ in their endings alone."""
    named: dict[str, Path] = {}
    for path in paths:
        name = str(below(path, root))
        if name in named:
            raise DataError(f"two {what} files are both named {name!r}: {named[name].name} and {path.name}; keep one")
        named[name] = path


def _unmatched(cts: list[str], left_over: list[str], labels: Path) -> str:
    message = (
        f"{len(cts)} CT{'s have' if len(cts) > 1 else ' has'} no labels of the same name in {labels}: {listed(cts)}"
    )
    spare = f" (labels without a CT: {listed(left_over)})" if left_over else ""
    return (
        f"{message}{spare}; give each CT's labels the CT's file name, say how they are called (--labels-pattern "
        "'{name}_mask.nii.gz'), or go on without them (--skip-bad)"
    )


def cases(ct: str | Path, labels: str | Path, pattern: str | None = None, *, series: str | None = None) -> list[Case]:
    """The matched CTs and labels with their hashes, in the order of the CTs' hashes.

    Args:
        ct:      a file or a folder.
        labels:  likewise.
        pattern: as for `match`.
        series:  of DICOM folders that hold several.

    Raises:
        DataError: as `match`, or the same CT twice.
    """
    return hashed(match(ct, labels, pattern), series=series)


def hashed(pairs: Iterable[tuple[Path, Path]], *, series: str | None = None) -> list[Case]:
    """CTs and labels with their hashes, in the order of the CTs' hashes.

    Args:
        pairs:  from `match`.
        series: of DICOM folders that hold several.

    Raises:
        DataError: the same CT twice.
    """
    found = [Case(SourceFile.of(one, series), SourceFile.of(other)) for one, other in pairs]
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
