"""What the masks of one CT show: labels chosen by name or value, and for each the rule that fits it."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass

import numpy as np
import torch

from nerp.errors import DataError, UsageError
from nerp.label_maps import label_counts, present_labels
from nerp.label_names import is_within_lung, lung_labels, within_lung_labels
from nerp.projection import MaskRule, Structure
from nerp.synthesis.settings import MaskSettings
from nerp.volume import Volume

LUNG_BELOW_HU = -400.0
"""Aerated lung and airways lie below it."""
LUNG_FRACTION = 0.5
"""Part of a label that is aerated where it is taken for lung: of lobes .96 to .98 was measured, of organs below .1."""
MOST_GROUPS = 31
"""Structures whose density varies by itself; of more labels the largest."""
LEAST_LUNG_ML = 120.0
"""Less is a trachea (25 to 60 ml), a bubble of bowel gas or a lesion, and not taken for a lobe (200 ml and more)."""


@dataclass(frozen=True)
class MaskPlan:
    """The masks of one CT, resolved.

    Args:
        structures: what each mask shows.
        reasons:    why each has its rule: `stated`, `lungs by name`, `no lungs by HU`, ...
        obscuring:  label values that obscure lung under rule `visible`.
        absent:     chosen label values that no voxel has, of each structure.
        joined:     label values that belong to a lung where they touch one, under rule `visible`.
    """

    structures: tuple[Structure, ...]
    reasons: tuple[str, ...]
    obscuring: tuple[int, ...]
    absent: tuple[tuple[int, ...], ...]
    joined: tuple[int, ...] = ()

    def remarks(self) -> list[str]:
        """One line a mask on its rule, for people."""
        return [
            f"mask{f' {one.name}' if one.name else ''}: rule {one.rule.name} ({reason})"
            for one, reason in zip(self.structures, self.reasons, strict=True)
        ]


def plan_masks(settings: MaskSettings, ct: Volume, labels: Volume, names: Mapping[int, str]) -> MaskPlan:
    """Resolve what the masks of one CT show.

    Without a stated rule, lungs and parts of them get `visible`, everything else `any`. What is lung is told by the
    labels' names; of labels without names by the CT: at least half of the label below -400 HU and 120 ml of it.

    Args:
        settings: labels by value or name, and the rule where one is stated.
        ct:       `(1, D, H, W)` HU.
        labels:   `(M, D, H, W)`, on the same grid.
        names:    of the label values, as far as they are known; `settings.label_names` comes first.

    Raises:
        UsageError: nothing is chosen, a name that is not known, or `visible` stated for what is no lung.
        DataError:  none of the chosen values is in the labels, unless empty masks are allowed.
    """
    names = {**names, **settings.label_names}
    chosen = settings.chosen(names)
    there = present_labels(labels)
    lungs = _lungs_of(ct, labels, names, there)
    present = {name: tuple(label for label in values if label in there) for name, values in chosen.items()}
    stated = [_rule_of(settings, name, values or chosen[name], names, lungs) for name, values in present.items()]
    structures = tuple(
        Structure(values, rule, _all_lungs(values, lungs) if rule.name == "visible" else (), name)
        for (name, values), (rule, _) in zip(chosen.items(), stated, strict=True)
    )
    absent = tuple(tuple(label for label in values if label not in there) for values in chosen.values())
    is_visible = any(one.rule.name == "visible" for one in structures)
    obscuring = tuple(settings.obscuring_labels(names)) if is_visible else ()
    joined = tuple(sorted(there & set(within_lung_labels(names)))) if is_visible else ()
    return MaskPlan(structures, tuple(reason for _, reason in stated), obscuring, absent, joined)


def _rule_of(
    settings: MaskSettings, name: str, labels: tuple[int, ...], names: Mapping[int, str], lungs: Collection[int]
) -> tuple[MaskRule, str]:
    """The rule of a mask, and why it has it."""
    by = "name" if all(names.get(label) for label in labels) else "HU"
    others = sorted(label for label in labels if label not in lungs)
    are_lungs = len(others) < len(labels) and all(is_within_lung(names.get(label, "")) for label in others)
    if settings.rule is None:
        which = f": {', '.join(map(str, others))}" if not are_lungs and len(others) < len(labels) else ""
        reason = f"{'' if are_lungs else 'no '}lungs by {by}{which}"
        return MaskRule("visible", settings.numbers) if are_lungs else MaskRule("any"), reason
    if settings.rule.name == "visible" and not are_lungs and not settings.force:
        which = ", ".join(names.get(label) or str(label) for label in labels)
        raise UsageError(
            f"mask rule 'visible' draws what a reader sees of lungs, and {name or 'the mask'} ({which}) is no lung "
            f"by {by}; give --rule any, or --force to draw it all the same"
        )
    return settings.rule, "stated"


def _all_lungs(labels: tuple[int, ...], lungs: Collection[int]) -> tuple[int, ...]:
    """All lungs where `labels` hold a part of them alone; nothing where they hold all, or none."""
    own, every = set(labels), set(lungs)
    return tuple(sorted(every | own)) if own & every and every - own else ()


def lung_values(ct: Volume, labels: Volume, names: Mapping[int, str]) -> set[int]:
    """Label values that are lung: by their names, and those without a name by their HU.

    Args:
        ct:     `(1, D, H, W)` HU.
        labels: `(M, D, H, W)`, on the same grid.
        names:  of the label values, as far as they are known.
    """
    return _lungs_of(ct, labels, names, present_labels(labels))


def _lungs_of(ct: Volume, labels: Volume, names: Mapping[int, str], there: Collection[int]) -> set[int]:
    """`lung_values`, of labels that are known to be there."""
    unnamed = {label for label in there if not names.get(label)}
    return set(lung_labels(names)) | (_aerated(ct, labels) & unnamed if unnamed else set())


def _aerated(ct: Volume, labels: Volume) -> set[int]:
    """Label values of large, aerated structures."""
    voxel_ml = float(np.prod(ct.spacing_mm)) / 1000.0
    found: set[int] = set()
    for one in labels.values.cpu().split(1):
        whole = Volume(one, labels.affine, "label")
        voxels = label_counts(whole)
        aerated = label_counts(Volume(torch.where(ct.values.cpu() < LUNG_BELOW_HU, one, 0), labels.affine, "label"))
        found |= {
            value
            for value, count in voxels.items()
            if value > 0 and aerated.get(value, 0) >= LUNG_FRACTION * count and count * voxel_ml >= LEAST_LUNG_ML
        }
    return found


def structure_groups(labels: Volume, names: Mapping[int, str]) -> dict[str, tuple[int, ...]]:
    """The label values of each structure whose density varies by itself: each label's own, under its name.

    Args:
        labels: `(M, D, H, W)`.
        names:  of the label values.
    """
    largest = sorted((-count, value) for value, count in label_counts(labels).items() if value > 0)
    groups: dict[str, tuple[int, ...]] = {}
    for value in sorted(value for _, value in largest[:MOST_GROUPS]):
        name = names.get(value, f"label {value}")
        groups[name] = (*groups.get(name, ()), value)
    return groups


def check_present(plan: MaskPlan, labels: Volume, names: Mapping[int, str]) -> None:
    """Refuse labels that hold nothing of any mask.

    Args:
        plan:   of the masks.
        labels: `(M, D, H, W)`.
        names:  of the label values, for the message.

    Raises:
        DataError: what is there is told.
    """
    if any(set(one.labels) - set(absent) for one, absent in zip(plan.structures, plan.absent, strict=True)):
        return
    wanted = [names.get(label) or str(label) for one in plan.structures for label in one.labels]
    there = sorted(present_labels(labels))
    shown = ", ".join(names.get(value) or str(value) for value in there[:20])
    more = f" and {len(there) - 20} more" if len(there) > 20 else ""
    raise DataError(
        f"the labels hold {shown or 'nothing'}{more} and none of the mask's {', '.join(wanted)}; choose --mask among "
        "them, or allow empty masks (--allow-empty)"
    )
