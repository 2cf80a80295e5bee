"""What the records of a set of pairs say of it as a whole: counts, areas of the masks, names of their labels."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import Any

from nerp.data.records import MaskRecord, PairRecord


def facts_of(records: Sequence[PairRecord]) -> dict[str, Any]:
    """`counts`, `quality`, `masks`, `label_names` and, where told, `shown_findings` of a set, for its `dataset.json`.

    Args:
        records: of its pairs, at least one; all of the same masks.
    """
    fractions = [record.mask_fraction or 0.0 for record in records]
    outside = [record.mask_outside_fraction or 0.0 for record in records]
    return {
        "counts": {"pairs": len(records), "cts": len({record.ct_sha256 for record in records})},
        "quality": {
            "mask_fraction_mean": sum(sorted(fractions)) / len(fractions),
            "empty_masks": sum(fraction == 0 for fraction in fractions),
            "mask_outside_fraction_most": max(outside),
        },
        "masks": [_mask_facts(list(masks)) for masks in zip(*(record.masks for record in records), strict=True)],
        "label_names": {role: _named_labels(records, role) for role in ("mask", "obscuring")},
        **({"shown_findings": _finding_facts(records)} if any(record.shown_findings for record in records) else {}),
    }


def _finding_facts(records: Sequence[PairRecord]) -> dict[str, dict[str, int]]:
    """Of each finding, in how many pairs' CTs it is, and on how many of their films it is visible."""
    found: dict[str, dict[str, int]] = {}
    for one in (one for record in records for one in record.shown_findings):
        counts = found.setdefault(str(one["name"]), {"pairs": 0, "visible": 0})
        counts["pairs"] += 1
        counts["visible"] += bool(one["visible"])
    return dict(sorted(found.items()))


def _mask_facts(masks: list[MaskRecord]) -> dict[str, Any]:
    """What is said of one mask of all pairs."""
    fractions, crossed = [mask.fraction for mask in masks], [mask.any_fraction or 0.0 for mask in masks]
    return {
        "name": masks[0].name,
        "rules": dict(sorted(Counter(f"{mask.rule['name']} ({mask.rule_reason})" for mask in masks).items())),
        "fraction_mean": sum(sorted(fractions)) / len(fractions),
        "any_fraction_mean": sum(sorted(crossed)) / len(crossed),
        "empty": sum(fraction == 0 for fraction in fractions),
        "outside_fraction_most": max(mask.outside_fraction or 0.0 for mask in masks),
    }


def _named_labels(records: Sequence[PairRecord], role: str) -> dict[str, str]:
    """The names of all labels that play a role in any mask; of different ones for one value, all."""
    found: dict[str, set[str]] = {}
    for record in records:
        for mask in record.masks:
            for label in mask.labels if role == "mask" else mask.obscuring_labels:
                found.setdefault(str(label), set()).add(record.label_names.get(str(label), ""))
    ordered = sorted(found.items(), key=lambda item: int(item[0]))
    return {label: " / ".join(sorted(names - {""})) for label, names in ordered}
