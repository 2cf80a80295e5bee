"""What label values are called: the choice of labels by value or by name, and what the names tell of lungs."""

from __future__ import annotations

import re
from collections.abc import Mapping
from difflib import get_close_matches
from fnmatch import fnmatchcase

from nerp.errors import UsageError
from nerp.label_names.superclasses import GROUP, members_told, superclass_labels, superclasses

OBSCURING_WORDS = (
    *("heart", "atri", "ventric", "aort", "vena_cava", "pulmonary_artery", "mediastin", "pericard", "brachiocephalic"),
    *("subclavian", "carotid", "esophagus", "oesophagus", "trachea", "thymus", "vertebra", "spine", "disc"),
    *("liver", "spleen", "stomach", "kidney", "gallbladder", "pancreas", "adrenal", "bowel", "colon", "duodenum"),
    *("diaphragm", "abdomen"),
)
"""Parts of the names of structures behind or before which readers do not see lung."""

LUNG_WORDS = frozenset({"lung", "lungs"})
LOBES = frozenset({"rul", "rml", "rll", "lul", "lll", "lingula"})
"""Names that stand for a lobe of a lung, or for a part of one."""
LEVELS = frozenset({"upper", "middle", "lower", "superior", "inferior"})
SIDES = frozenset({"left", "right", "l", "r", "lt", "rt"})
PLACE_WORDS = (
    LEVELS | SIDES | {"lobe", "lobes", "both", "bilateral", "whole", "total", "all", "entire", "field", "fields"}
)
FILLING_WORDS = frozenset({"of", "the", "and", "mask", "parenchyma", "structure", "organ", "segmentation", "roi"})
"""Words that leave a lung a lung; any other, as in `lung nodule`, makes it something else."""

WITHIN_WORDS = frozenset(
    {
        *("vessel", "vessels", "arteries", "veins", "bronchi", "bronchioles", "airways", "fissure", "fissures"),
        *("nodule", "nodules", "lesion", "lesions", "tumor", "tumour", "consolidation", "opacity", "emphysema"),
        *("pneumothorax", "bulla", "bullae"),
    }
)
"""Words of what lies within lungs, and belongs to them where it is masked together with them."""

N_NAMED = 8
"""As many names stand in a message."""
MOST_DIGITS = 9
"""Label values have fewer: they stay below 2^24."""


def select_labels(text: str, names: Mapping[int, str]) -> tuple[int, ...]:
    """The label values that a list such as `10,11` or `lung_*,trachea` selects, ascending.

    Capitals and small letters are the same, and so are blanks, hyphens and underscores. Background, the
    value 0, is selected by no name.

    Args:
        text:  values, names, patterns of names, or superclasses such as `group:ribs_left`, separated by commas.
        names: the name of each value; needed for names.

    Raises:
        UsageError: a part that is neither a value nor fits a name; names like it are told. A superclass that is not
            known, or none of whose members is among the names.
    """
    chosen: set[int] = set()
    for part in (part.strip() for part in text.split(",")):
        if part.lower().startswith(GROUP):
            chosen |= _of_superclass(part, names)
            continue
        fitting = {value for value, name in names.items() if value and _fits(name, part)}
        is_value = part.isdecimal() and len(part) <= MOST_DIGITS
        if not is_value and not fitting:
            raise UsageError(f"mask {part!r} is no label; expected values such as 10,11,12 ({_known(part, names)})")
        chosen |= {int(part)} if is_value else fitting
    return tuple(sorted(chosen))


def _of_superclass(part: str, names: Mapping[int, str]) -> set[int]:
    """The label values of `group:NAME`."""
    superclass = _joined(part[len(GROUP) :])
    if superclass not in superclasses():
        close = get_close_matches(superclass, superclasses(), n=N_NAMED, cutoff=0.5) or superclasses()
        raise UsageError(f"mask {part!r} is no superclass; expected {GROUP} before one of {', '.join(close)}")
    found = set(superclass_labels(names, superclass))
    if not found:
        raise UsageError(
            f"mask {part!r}: none of its members is among the labels; expected such as {members_told(superclass)} "
            f"({_known(superclass, names)})"
        )
    return found


def _fits(name: str, pattern: str) -> bool:
    name, pattern = name.strip().lower(), pattern.lower()
    if fnmatchcase(name, pattern) or fnmatchcase(_joined(name), re.sub(r"\s+", "_", pattern)):
        return True
    return not set("*?[") & set(pattern) and _joined(name) == _joined(pattern)


def _joined(name: str) -> str:
    return re.sub(r"[\s_-]+", "_", name.strip().lower())


def _known(part: str, names: Mapping[int, str]) -> str:
    """What a message says of the names there are: those like the wrong one, else the first of them."""
    if not names:
        return "give --label-names for names"
    by_form = {_joined(name): name for name in names.values() if name}
    close = get_close_matches(_joined(part).strip("*?"), by_form, n=N_NAMED, cutoff=0.5)
    if close:
        return f"names like it are {', '.join(by_form[form] for form in close)}"
    known = sorted(by_form.values())
    more = f" and {len(known) - N_NAMED} more" if len(known) > N_NAMED else ""
    return f"names are {', '.join(known[:N_NAMED])}{more}"


def is_lung(name: str) -> bool:
    """Whether a name means the lungs, a lung, or a lobe of one, and nothing in, on or about a lung.

    `lung_upper_lobe_left`, `Right Lung`, `LeftLung`, `left upper lobe` and `RUL` do; `lung_vessels`,
    `lung nodule` and `trachea` do not.
    """
    parted = re.sub(r"(?<=[a-z])(?=[A-Z])", " ", name)
    words = set(re.findall(r"[a-z]+", parted.lower()))
    if not words or words - LUNG_WORDS - LOBES - PLACE_WORDS - FILLING_WORDS:
        return False
    is_lobe = bool(words & {"lobe", "lobes"} and words & LEVELS and words & SIDES)
    return bool(words & LUNG_WORDS or words & LOBES or is_lobe)


def obscuring_labels(names: Mapping[int, str]) -> list[int]:
    """The labels whose names tell of heart, great vessels, spine or abdominal organs."""
    return [label for label, name in names.items() if any(word in _joined(name) for word in OBSCURING_WORDS)]


def is_within_lung(name: str) -> bool:
    """Whether a name tells of vessels, airways or findings that lungs hold: no lung alone, but a part beside one."""
    return bool(WITHIN_WORDS & set(_joined(name).split("_"))) and not any(
        word in name.lower() for word in OBSCURING_WORDS
    )


def within_lung_labels(names: Mapping[int, str]) -> list[int]:
    """The labels whose names tell of what lungs hold; see `is_within_lung`."""
    return [label for label, name in names.items() if label and is_within_lung(name) and not is_lung(name)]


def lung_labels(names: Mapping[int, str]) -> list[int]:
    """The labels whose names tell of lung; see `is_lung`."""
    return [label for label, name in names.items() if label and is_lung(name)]
