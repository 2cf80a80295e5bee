"""What one image is made from: a CT and its labels, opened as they are stated, with whatever is doubtful told."""

from __future__ import annotations

import logging
import re
from collections.abc import Iterable
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from nerp.data.checking import Bad, settle
from nerp.data.records import PairRecord
from nerp.data.source_files import SourceFile
from nerp.errors import DataError, NerpError
from nerp.label_maps import LabelMap, check_label_map, read_label_map
from nerp.projection import MaskRule, Structure
from nerp.synthesis.matching import Case, hashed, match
from nerp.synthesis.settings import READINGS, InputSettings
from nerp.synthesis.structures import MaskPlan
from nerp.volume import Volume, check_volume, read_volume


@dataclass(frozen=True)
class Skipped:
    """A CT that is left out of a set.

    Args:
        sha256: of the CT's file, by which its owner finds it; the set names no file.
        reason: without paths.
    """

    sha256: str | None
    reason: str

    @classmethod
    def of(cls, ct: Path, reason: str) -> Skipped:
        """What is told of a CT.

        Args:
            ct:     its file or folder.
            reason: why it is left out; paths in it are left out.
        """
        try:
            known: str | None = SourceFile.of(ct).sha256
        except (OSError, NerpError):  # gone, or a folder of several series
            known = None
        return cls(known, _PATH.sub("", reason).strip())

    def to_dict(self) -> dict[str, str | None]:
        """As JSON values."""
        return asdict(self)


SMALL_FRACTION = 0.05
"""Masks that cover less than this of the rays that meet their labels are told of."""

_PATH = re.compile(r"\S*/\S*?(?=[:,;\s]|$):?")
_log = logging.getLogger(__name__)


def open_ct(path: str | Path, inputs: InputSettings, *, compact: bool = False) -> Volume:
    """A CT as `inputs` state it; errors as `read_volume`.

    Args:
        path:    a file or the folder of a DICOM series.
        inputs:  series, orientation, spacing, and the limit of voxels.
        compact: keep whole HU as they are stored.
    """
    stated: dict[str, Any] = {name: getattr(inputs, name) for name in READINGS}
    return read_volume(path, series=inputs.series, max_voxels=inputs.max_voxels, compact=compact, **stated)


def open_labels(path: str | Path, ct: Volume, inputs: InputSettings, *, compact: bool = False) -> LabelMap:
    """The labels of a CT, on its grid; errors as `read_label_map`.

    Args:
        path:    a file, or the folder of a label map.
        ct:      whose grid is taken.
        inputs:  whether to lay them on it as they are, and the limit of voxels.
        compact: keep small labels as bytes.
    """
    on_grid = inputs.labels_on_ct_grid
    return read_label_map(path, ct, on_ct_grid=on_grid, max_voxels=inputs.max_voxels, compact=compact)


def usable_cases(ct: str | Path, labels: str | Path, inputs: InputSettings) -> tuple[list[Case], list[Skipped]]:
    """The CTs and their labels that pass the cheap checks, and those that are skipped.

    Args:
        ct:     a file or a folder.
        labels: likewise.
        inputs: how they are matched and read, and whether bad ones are skipped.

    Raises:
        DataError: nothing matches, or some are bad and may not be skipped: all are listed.
    """
    bare: list[Path] = []
    found = match(ct, labels, inputs.labels_pattern, unlabelled=bare)
    bad = [Bad(path, f"{path}: has no labels in {labels}") for path in bare]
    good: list[tuple[Path, Path]] = []
    for one, its_labels in found:
        try:
            check_volume(one, series=inputs.series, max_voxels=inputs.max_voxels)
            check_label_map(its_labels, max_voxels=inputs.max_voxels)
            good.append((one, its_labels))
        except NerpError as error:
            if len(found) + len(bare) == 1:
                raise
            bad.append(Bad(one, str(error)))
    if len(bad) == len(bare) and not inputs.skip_bad:
        match(ct, labels, inputs.labels_pattern)  # tells which labels are left over, too
    settle(bad, len(found) + len(bare), what="CTs and labels", skip_bad=inputs.skip_bad)
    return hashed(good, series=inputs.series), [Skipped.of(one.path, one.reason) for one in bad]


def plan_of(record: PairRecord) -> MaskPlan:
    """What the masks of a recorded pair show, as the record states it.

    Raises:
        DataError: the record is damaged.
    """
    try:
        structures = tuple(
            Structure(tuple(one.labels), MaskRule.from_dict(one.rule), tuple(one.lung_labels), one.name)
            for one in record.masks
        )
        obscuring, joined = (
            tuple(sorted({label for one in record.masks for label in getattr(one, name)}))
            for name in ("obscuring_labels", "joined_labels")
        )
    except (KeyError, TypeError, ValueError) as error:
        raise DataError(f"record {record.id} is damaged ({error}); restore the records") from error
    reasons = tuple(one.rule_reason for one in record.masks)
    return MaskPlan(structures, reasons, obscuring, tuple(() for _ in structures), joined)


def with_reading(record: PairRecord, inputs: InputSettings) -> PairRecord:
    """A record with what was stated of its CT and labels.

    Args:
        record: of a pair.
        inputs: by which both were read.
    """
    on_grid = inputs.labels_on_ct_grid and record.labels_sha256 is not None
    return replace(record, ct_reading=inputs.ct_reading(), labels_on_ct_grid=on_grid)


def small_masks(records: Iterable[PairRecord]) -> list[str]:
    """One line for each mask that is empty, or nearly so beside the rays that meet its labels, in any record."""
    counts: dict[str, list[int]] = {}
    for mask in (mask for record in records for mask in record.masks):
        count = counts.setdefault(mask.name, [0, 0, 0])
        crossed = mask.any_fraction or 0.0
        count[0] += 1
        count[1] += mask.fraction == 0
        count[2] += 0 < mask.fraction < SMALL_FRACTION * crossed
    return [_small(name, *count) for name, count in counts.items() if count[1] or count[2]]


def _small(name: str, n: int, empty: int, small: int) -> str:
    which = f"mask {name}" if name else "mask"
    parts = [f"{empty} empty"] if empty else []
    parts += [f"{small} under {SMALL_FRACTION:.0%} of the rays that meet their labels"] if small else []
    return f"{which}: of {n} views {', '.join(parts)}; look at them, or take another rule (--rule any)"
