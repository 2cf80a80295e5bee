"""The CTs of a plan: found in folders or listed in tables, each with its labels, its patient and its findings."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path

from nerp.data.ct_rate import CTRateVolume, read_ct_rate_table
from nerp.data.findings import Row, finding_name, read_table
from nerp.data.indexed import FILE_COLUMNS, column_of, plain_name, read_columns, told_of
from nerp.data.patients import PATIENT_COLUMNS, read_index
from nerp.errors import ConfigError, DataError
from nerp.factory.settings import SourceSettings, files_of
from nerp.factory.tables import read_source_table
from nerp.formats import extension
from nerp.synthesis.matching import find_volumes, match

CT_COLUMNS = ("ct", *FILE_COLUMNS)
LABEL_COLUMNS = ("labels", "label", "mask", "segmentation")


@dataclass(frozen=True)
class Listed:
    """One CT of a plan.

    Args:
        source:   whose it is.
        name:     of its file below the source's folder.
        ct:       where it lies.
        labels:   where its labels lie; none: images without masks.
        patient:  whom it is of, as the set may tell it.
        findings: what a table tells of it.
        ct_rate:  what CT-RATE's tables tell of it, where it is of it.
        fault:    why nothing can be made of it, where that is known already.
        shown:    what the set may call it: its file's name without ending, or a hash.
    """

    source: str
    name: str
    ct: Path
    labels: Path | None
    patient: str
    findings: Row = field(default_factory=dict)
    ct_rate: CTRateVolume | None = None
    fault: str = ""
    shown: str = ""


def list_volumes(sources: Mapping[str, SourceSettings]) -> list[Listed]:
    """All CTs, in order of source and name.

    Raises:
        DataError: an empty source, files that are listed and not there, labels that fit no CT, or two CTs of one name.
    """
    return [one for name, source in sources.items() for one in _shown(source, _listed(name, source))]


def _shown(source: SourceSettings, found: list[Listed]) -> list[Listed]:
    """CTs with what the set may call them; tables that tell of none of them are refused."""
    for paths in source.carried.values():
        table = read_source_table(paths)
        if not any(table.of(one.ct) for one in found):
            told = " and ".join(paths)
            raise DataError(f"{told} tells of none of the CTs of {source.ct}; expected their files' names in a column")
    is_kept = source.names == "kept"
    return [replace(one, shown=_stem(one.name) if is_kept else _hashed(one.source, one.name)) for one in found]


def _listed(name: str, source: SourceSettings) -> list[Listed]:
    if source.metadata is not None:
        return _of_ct_rate(name, source)
    ct = Path(str(source.ct))
    is_table = ct.suffix.lower() == ".csv"
    rows = _of_table(ct) if is_table else _of_folder(ct, source)
    told = {} if source.patients is None else read_index(source.patients)
    findings = {} if source.findings is None else read_table(source.findings).rows
    root = ct.parent if is_table or ct.is_file() else ct
    found = []
    for path, labels, patient in rows:
        below = path.relative_to(root).as_posix() if root in path.parents else path.name
        stated = patient or told_of(path, told) or _by_pattern(below, source.patient_pattern)
        whose = stated if stated and source.names == "kept" else _hashed(name, stated or below)
        fault = "" if labels is not None or source.labels is None else f"has no labels in {source.labels}"
        found.append(Listed(name, below, path, labels, whose, told_of(path, findings) or {}, fault=fault))
    return sorted(found, key=lambda one: one.name)


def _of_ct_rate(name: str, source: SourceSettings) -> list[Listed]:
    """The volumes of CT-RATE, of which the published tables tell."""
    tables = [files_of(text) for text in (source.metadata, source.findings, source.reports)]
    found = read_ct_rate_table(str(source.ct), tables[0], labels=tables[1], reports=tables[2])
    labels = {} if source.labels is None else dict(match(str(source.ct), source.labels, source.labels_pattern))
    return [
        Listed(
            name,
            one.path.relative_to(str(source.ct)).as_posix(),
            one.path,
            labels.get(one.path),
            one.patient if source.names == "kept" else _hashed(name, one.patient),
            {finding_name(title): value for title, value in one.labels.items()},
            one,
        )
        for one in found
    ]


def _of_folder(ct: Path, source: SourceSettings) -> list[tuple[Path, Path | None, str | None]]:
    if source.labels is None:
        return [(path, None, None) for path in find_volumes(ct)]
    bare: list[Path] = []
    pairs = match(ct, source.labels, source.labels_pattern, unlabelled=bare)
    return [*((path, labels, None) for path, labels in pairs), *((path, None, None) for path in bare)]


def _of_table(table: Path) -> list[tuple[Path, Path | None, str | None]]:
    """The rows of a CSV; paths start at its folder."""
    given, rows = read_columns(table, "ct,labels,patient_id")
    titles = [plain_name(title) for title in given]
    ct, labels, patient = (column_of(titles, names) for names in (CT_COLUMNS, LABEL_COLUMNS, PATIENT_COLUMNS))
    if ct is None:
        raise DataError(f"{table} has columns {', '.join(titles) or 'none'}; expected ct, labels, patient_id")
    cells = [
        [row[at].strip() if at is not None and at < len(row) else "" for at in (ct, labels, patient)] for row in rows
    ]
    found = [(table.parent / a, table.parent / b if b else None, c or None) for a, b, c in cells if a]
    missing = [str(path) for a, b, _ in found for path in (a, b) if path is not None and not path.exists()]
    if missing:
        more = f" and {len(missing) - 3} more" if len(missing) > 3 else ""
        raise DataError(
            f"{table} lists {len(missing)} files that are not there: {', '.join(missing[:3])}{more}; correct it"
        )
    if not found:
        raise DataError(f"{table} lists no CT; expected a row each: ct,labels,patient_id")
    return found


def _by_pattern(name: str, pattern: str | None) -> str | None:
    if pattern is None:
        return None
    try:
        found = re.search(pattern, name)
    except re.error as error:
        raise ConfigError(f"patient_pattern is {pattern!r} ({error}); expected a regular expression") from error
    if found is None or not found.groups() or not found[1]:
        raise DataError(
            f"patient_pattern {pattern!r} finds no patient in {name!r}; give it a group that does: ([^/]+)/"
        )
    return found[1]


def _stem(name: str) -> str:
    """A file's name without folder and ending, in letters, digits, dots, - and _ alone."""
    path = Path(name)
    return re.sub(r"[^A-Za-z0-9._-]", "_", path.name[: len(path.name) - len(extension(path))] or path.name)


def _hashed(source: str, patient: str) -> str:
    """A name that tells nothing of the patient, and is the same in every set of the same source."""
    return hashlib.sha256(f"{source}:{patient}".encode()).hexdigest()[:12]
