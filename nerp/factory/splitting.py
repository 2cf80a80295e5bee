"""Which part, and which fold, each patient is of: whole patients, findings spread evenly, by a seed."""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence

from nerp.errors import DataError
from nerp.factory.settings import WHOLE, SplitSettings
from nerp.factory.sources import Listed

NONE = ""
"""The kind of a patient who has none of the findings."""


def parts_of(volumes: Sequence[Listed], split: SplitSettings) -> dict[str, str]:
    """The part of each patient.

    Args:
        volumes: all of a plan.
        split:   parts, and findings to be spread.

    Raises:
        DataError: fewer patients than parts, or a finding that no source tells.
    """
    if not split.parts:
        return {one.patient: WHOLE for one in volumes}
    return _dealt(_kinds(volumes, split), split.parts, seed=f"{split.seed}:part")


def folds_of(volumes: Sequence[Listed], split: SplitSettings) -> dict[str, int]:
    """The fold of each patient, from 0; nothing where none are wanted; errors as `parts_of`.

    Args:
        volumes: all of a plan.
        split:   how many folds, and findings to be spread.
    """
    if not split.folds:
        return {}
    shares = {str(number): 1 / split.folds for number in range(split.folds)}
    dealt = _dealt(_kinds(volumes, split), shares, seed=f"{split.seed}:fold")
    return {patient: int(fold) for patient, fold in dealt.items()}


def _kinds(volumes: Sequence[Listed], split: SplitSettings) -> dict[str, str]:
    """Each patient's rarest finding in any CT."""
    told = {name for one in volumes for name in one.findings}
    unknown = [name for name in split.stratify if name not in told]
    if unknown:
        raise DataError(f"split.stratify names {unknown[0]}; expected findings that a source tells: {_listed(told)}")
    has: dict[str, set[str]] = {one.patient: set() for one in volumes}
    for one in volumes:
        has[one.patient] |= {name for name in split.stratify or told if one.findings.get(name) == 1}
    counts = Counter(name for names in has.values() for name in names)
    return {whose: min(names, key=lambda name: (counts[name], name), default=NONE) for whose, names in has.items()}


def _listed(names: Iterable[str]) -> str:
    return ", ".join(sorted(names)) or "none does (sources.NAME.findings)"


def _dealt(kinds: Mapping[str, str], shares: Mapping[str, float], *, seed: str) -> dict[str, str]:
    """Patients in an order by hash, kind by kind; each goes where most is lacking of its kind, then of all."""
    if len(kinds) < len(shares):
        raise DataError(f"{len(kinds)} patients for {len(shares)} parts or folds; expected at least one each")
    placed: dict[str, str] = {}
    whole, seen = Counter[str](), 0
    for kind in sorted(set(kinds.values()), key=lambda name: (name == NONE, name)):
        own = Counter[str]()
        members = sorted((one for one, its in kinds.items() if its == kind), key=lambda one: _order(seed, one))
        for number, patient in enumerate(members, start=1):
            seen += 1
            lacks = {
                name: (round(share * number - own[name], 9), round(share * seen - whole[name], 9))
                for name, share in shares.items()
            }
            chosen = max(shares, key=lambda name: (sum(lacks[name]), lacks[name]))
            placed[patient] = chosen
            own[chosen], whole[chosen] = own[chosen] + 1, whole[chosen] + 1
    return placed


def _order(seed: str, patient: str) -> str:
    return hashlib.sha256(f"{seed}:{patient}".encode()).hexdigest()
