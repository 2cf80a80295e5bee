"""Cross-validation that never has one patient, or one CT, on both sides."""

from __future__ import annotations

from collections.abc import Hashable, Sequence

import torch

from nerp.devices import WHOLE
from nerp.errors import EvaluationError


def grouped_folds(
    groups: Sequence[Hashable], labels: Sequence[int], *, n_folds: int, generator: torch.Generator
) -> list[int]:
    """The fold of each image: groups stay whole, and each kind of group is spread evenly.

    Args:
        groups:    one label an image, of what must stay together.
        labels:    one class an image; groups of the same classes are of one kind.
        n_folds:   how many, at least 2.
        generator: source of the order.

    Returns:
        0 to n_folds - 1, one an image.

    Raises:
        EvaluationError: a class with fewer groups than folds, so that some fold would lack it.
    """
    classes: dict[Hashable, set[int]] = {}
    for group, label in zip(groups, labels, strict=True):
        classes.setdefault(group, set()).add(label)
    for label in sorted(set(labels)):
        count = sum(label in has for has in classes.values())
        if count < n_folds:
            raise EvaluationError(
                f"class {label} has {count} patients, or CTs, for {n_folds} folds; expected one a fold or more: give "
                "more images, or fewer folds (n_folds)"
            )
    kinds: dict[tuple[int, ...], list[Hashable]] = {}
    for group, has in classes.items():
        kinds.setdefault(tuple(sorted(has)), []).append(group)
    order = [members[index] for _, members in sorted(kinds.items()) for index in _shuffled(len(members), generator)]
    fold_of = {group: place % n_folds for place, group in enumerate(order)}
    return [fold_of[group] for group in groups]


def _shuffled(count: int, generator: torch.Generator) -> list[int]:
    return torch.randperm(count, generator=generator, **WHOLE).tolist()
