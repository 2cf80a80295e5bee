"""Superclasses of structures, such as `ribs_left`, whatever program named their parts."""

from __future__ import annotations

import csv
import re
from collections.abc import Mapping
from functools import cache
from importlib.resources import files as package_files
from itertools import product

GROUP = "group:"
"""What stands before a superclass where labels are chosen."""
EXAMPLES = 3
"""As many of a superclass's members a message names."""


@cache
def members() -> dict[frozenset[str], tuple[str, ...]]:
    """The words of each known name, in any order, and the superclasses that it belongs to.

    Source: `superclasses.csv`, a row a name with `|` between words that mean the same; its column `source` tells whose
    names they are.
    """
    text = (package_files("nerp.label_names") / "superclasses.csv").read_text(encoding="utf-8")
    found: dict[frozenset[str], tuple[str, ...]] = {}
    for row in csv.DictReader(text.splitlines()):
        for words in product(*(word.split("|") for word in row["words"].split())):
            found[frozenset(words)] = tuple(row["superclasses"].split())
    return found


@cache
def superclasses() -> tuple[str, ...]:
    """The superclasses there are, by name."""
    return tuple(sorted({name for names in members().values() for name in names}))


def superclasses_of(name: str) -> tuple[str, ...]:
    """The superclasses of a structure; none of a name that is not known.

    Capitals, blanks, hyphens, underscores, numbers and the order of words do not matter: `rib_left_4`, `Left Rib 4` and
    `RibLeft4` are one. `vertebrae_L1` is lumbar, not left.
    """
    parted = re.sub(r"(?<=[a-z])(?=[A-Z])", " ", name)
    return members().get(frozenset(re.findall(r"[a-z]+", parted.lower())), ())


def superclass_labels(names: Mapping[int, str], superclass: str) -> tuple[int, ...]:
    """The label values that belong to a superclass, ascending.

    Args:
        names:      of the label values; the background, 0, belongs to none.
        superclass: one of `superclasses()`.
    """
    return tuple(sorted(value for value, name in names.items() if value and superclass in superclasses_of(name)))


def members_told(superclass: str) -> str:
    """A few names that a superclass has, for messages."""
    known = [sorted(words) for words, names in members().items() if superclass in names]
    return ", ".join(" ".join(words) for words in known[:EXAMPLES])
