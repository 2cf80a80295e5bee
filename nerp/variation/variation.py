"""What chance decides of a CT itself, and the CT and labels that come of it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import torch

from nerp.devices import WHOLE
from nerp.errors import DataError
from nerp.label_maps import LabelMap
from nerp.variation.chest import lungs_of, measure_chest
from nerp.variation.deformation import Deformation, deform, draw_deformation
from nerp.variation.insertion import insert_findings
from nerp.variation.settings import INSERTABLE, DeformationSettings, InsertSettings
from nerp.volume import Volume


@dataclass(frozen=True)
class Variation:
    """How a CT differs from its file: a few numbers.

    Args:
        deformation: of the body, or None.
        findings:    that are inserted, names of `INSERTABLE`.
        seed:        of the findings.
    """

    deformation: Deformation | None = None
    findings: tuple[str, ...] = ()
    seed: int = 0

    @property
    def any(self) -> bool:
        """Whether anything differs."""
        return self.deformation is not None or bool(self.findings)

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> Variation:
        """What a record holds; nothing of an empty one.

        Raises:
            DataError: it is damaged.
        """
        try:
            moved = values.get("deformation")
            names = tuple(str(one["kind"]) for one in values.get("findings", ()))
            made = cls(None if moved is None else Deformation.from_dict(moved), names, int(values.get("seed", 0)))
        except (AttributeError, KeyError, TypeError, ValueError) as error:
            raise DataError(f"a record's variation is damaged ({error}); restore the records") from error
        if not set(names) <= set(INSERTABLE):
            raise DataError(f"a record's variation holds {', '.join(names)}; this nerp knows {', '.join(INSERTABLE)}")
        return made


@dataclass(frozen=True)
class Varied:
    """A CT as it is projected.

    Args:
        ct:     `(1, D, H, W)` HU.
        labels: on the same grid, or None.
        record: what says how it came about; empty where nothing was varied.
        before: `(1, D, H, W)` HU, the CT on the same grid without the findings that were inserted; None without any.
    """

    ct: Volume
    labels: LabelMap | None
    record: dict[str, Any] = field(default_factory=dict)
    before: Volume | None = None


def draw_variation(deformation: DeformationSettings, insert: InsertSettings, generator: torch.Generator) -> Variation:
    """A variation by chance; what is drawn of the one depends not on the other.

    Args:
        deformation: how far body and breath may differ.
        insert:      which findings.
        generator:   decides.
    """
    seed = int(torch.randint(2**31, (), generator=generator, **WHOLE))
    chances = torch.rand(len(INSERTABLE), generator=generator, dtype=torch.float64, device="cpu").tolist()
    moved = draw_deformation(deformation, generator)
    names = insert.names
    if insert.findings == "random":
        names = tuple(name for name, chance in zip(INSERTABLE, chances, strict=True) if chance < insert.chance)
    return Variation(moved if deformation.any else None, names, seed if names else 0)


def vary(
    ct: Volume, labels: LabelMap | None, variation: Variation, *, lungs: Sequence[int], values: Mapping[str, int]
) -> Varied:
    """A CT and its labels varied: the body first, then the findings in it.

    Args:
        ct:        `(1, D, H, W)` HU.
        labels:    on the same grid.
        variation: how.
        lungs:     label values of the lungs.
        values:    label value of each finding.

    Raises:
        DataError:     there are no labels of lungs.
        GeometryError: the deformation would fold tissue.
    """
    if not variation.any:
        return Varied(ct, labels)
    if labels is None or not lungs:
        raise DataError("a CT is varied by its lungs, but no labels tell them; give --labels that hold lungs")
    volume: Volume | None = labels.volume
    record: dict[str, Any] = {"lungs": [int(value) for value in lungs], "seed": variation.seed}
    if variation.deformation is not None:
        chest = measure_chest(lungs_of(labels.volume, tuple(lungs)))
        ct, volume, facts = deform(ct, volume, variation.deformation, chest)
        record["deformation"] = {**variation.deformation.to_dict(), **facts}
    names, before = dict(labels.names), None
    if variation.findings and volume is not None:
        chosen = {name: values[name] for name in variation.findings}
        before = ct
        ct, volume, findings = insert_findings(ct, volume, lungs=lungs, values=chosen, seed=variation.seed)
        record["findings"] = findings
        names |= {value: name for name, value in chosen.items()}
    return Varied(ct, LabelMap(volume or labels.volume, names, labels.outside), record, before)


def finding_values(names: Mapping[int, str], values: Sequence[int]) -> dict[str, int]:
    """A label value for every finding: that of the same name, or a free one above all others.

    Args:
        names:  of the label values.
        values: that there are.
    """
    known = {name: value for value, name in names.items()}
    highest = max((*values, *names, 0))
    return {name: known.get(name, highest + 1 + number) for number, name in enumerate(INSERTABLE)}
