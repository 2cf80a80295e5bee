"""Results that evaluations left as JSON: found, read, and taken apart into scores, warnings and the rest."""

from __future__ import annotations

import json
import math
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from nerp.errors import DataError
from nerp.report.words import KINDS, TYPICAL, without_folders

PATTERNS = ("evaluation*.json", "scores.json")
"""Names of results that lie beside what was scored."""
VALUES = ("value", "mean")
DEEPEST = 5
"""How far into a result scores are looked for."""
APART = ("warnings", "skipped", "kind", "extractors", "primary")
"""Keys that a result's section shows elsewhere than among its settings and counts."""


@dataclass(frozen=True)
class SavedScore:
    """One number of a result.

    Args:
        group:  keys that lead to it, such as `floor`.
        key:    its own.
        value:  None where it could not be computed.
        ci95:   both ends of its interval, where it has one.
        n:      images it speaks of, where it is told.
        reason: why there is no value, where it is told.
        items:  its value for each image or pair, where it is told.
        per_seed:   its value for each training's seed, where it is told.
        n_positive: images of `n` that have a finding, where it is told.
    """

    group: tuple[str, ...]
    key: str
    value: float | None
    ci95: tuple[float, float] | None = None
    n: int | None = None
    reason: str = ""
    items: dict[str, float] = field(default_factory=dict)
    per_seed: tuple[float, ...] = ()
    n_positive: int | None = None


@dataclass(frozen=True)
class SavedResult:
    """What one evaluation left.

    Args:
        name:   of its file, without what all files share.
        kind:   such as `fidelity`; empty where it is not told and cannot be known.
        values: the JSON object.
        folder: where it lies, if in one.
    """

    name: str
    kind: str
    values: dict[str, Any]
    folder: Path | None = None

    @property
    def title(self) -> str:
        """A heading: the kind, and the file's name where it says more."""
        kind = KINDS[self.kind][0] if self.kind in KINDS else "Scores"
        return kind if self.name in ("", self.kind) else f"{kind}: {self.name}"

    @property
    def scores(self) -> list[SavedScore]:
        """Every number that is a score."""
        return list(_scores(self.values, ()))

    @property
    def warnings(self) -> list[str]:
        """Its warnings, in words."""
        return _texts(self.values.get("warnings"))

    @property
    def skipped(self) -> list[str]:
        """What was left out, by name."""
        return _texts(self.values.get("skipped"))


def read_results(folder: Path) -> list[SavedResult]:
    """The results that lie in a folder as `evaluation*.json` or `scores.json`.

    Raises:
        DataError: one of them is no JSON object.
    """
    return [read_result(path) for pattern in PATTERNS for path in sorted(folder.glob(pattern))]


def read_result(path: Path, name: str | None = None) -> SavedResult:
    """One result.

    Args:
        path: of the JSON file.
        name: in words; None takes the file's.

    Raises:
        DataError: it is no JSON object.
    """
    try:
        values = json.loads(path.read_bytes())
    except ValueError as error:
        raise DataError(f"{path} is no JSON ({error}); write the evaluation again or remove it") from error
    if not isinstance(values, dict):
        raise DataError(f"{path} holds no scores: expected an object such as {{'dice': {{'mean': 0.9}}}}")
    return SavedResult(_name(path) if name is None else name, _kind(values), _without_folders(values), path.parent)


def _without_folders(value: Any) -> Any:
    """A JSON value whose texts tell no folder."""
    if isinstance(value, dict):
        return {without_folders(key): _without_folders(one) for key, one in value.items()}
    if isinstance(value, list):
        return [_without_folders(one) for one in value]
    return without_folders(value) if isinstance(value, str) else value


def is_result(path: Path) -> bool:
    """Whether a JSON file holds what an evaluation leaves: its kind, or at least one score."""
    try:
        result = read_result(path)
    except (DataError, OSError):
        return False
    return result.kind in KINDS or bool(result.scores)


def _name(path: Path) -> str:
    """`lungs` of `evaluation_lungs.json`."""
    return path.stem.removeprefix("scores").removeprefix("evaluation").strip("-_ ").replace("_", " ")


def _kind(values: dict[str, Any]) -> str:
    told = values.get("kind")
    if isinstance(told, str):
        return told
    fitting = [kind for kind, keys in TYPICAL.items() if any(is_score(values.get(key)) for key in keys)]
    return fitting[0] if len(fitting) == 1 else ""


def is_score(value: object) -> bool:
    """Whether a JSON value is a score: an object with a number, or none, as its value or mean."""
    if not isinstance(value, dict):
        return False
    found = [value[name] for name in VALUES if name in value]
    return bool(found) and (found[0] is None or is_number(found[0]))


def is_number(value: object) -> bool:
    """Whether a JSON value is a finite number."""
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)


def items_of(value: object) -> dict[str, float]:
    """Numbers by name of what stands under a key such as `per_image`; empty for anything else."""
    if not isinstance(value, dict):
        return {}
    return {str(name): float(one) for name, one in value.items() if is_number(one)}


def _scores(values: dict[str, Any], group: tuple[str, ...]) -> Iterator[SavedScore]:
    for key, value in values.items():
        if is_score(value):
            yield _score(group, key, value)
        if isinstance(value, dict) and len(group) < DEEPEST and not key.startswith("per_") and key != "settings":
            yield from _scores(value, (*group, key))


def _score(group: tuple[str, ...], key: str, values: dict[str, Any]) -> SavedScore:
    value = next(values[name] for name in VALUES if name in values)
    n, n_positive, seeds = (values.get(name) for name in ("n", "n_positive", "per_seed"))
    items = next((items_of(one) for name, one in values.items() if name.startswith("per_")), {})
    return SavedScore(
        group,
        key,
        None if value is None else float(value),
        _ends(values.get("ci95")),
        n if isinstance(n, int) else None,
        str(values.get("reason", "")),
        items,
        tuple(map(float, filter(is_number, seeds))) if isinstance(seeds, list) else (),
        n_positive if isinstance(n_positive, int) else None,
    )


def _ends(value: Any) -> tuple[float, float] | None:
    whole = isinstance(value, list) and len(value) == 2 and all(map(is_number, value))
    return (float(value[0]), float(value[1])) if whole else None


def _texts(value: object) -> list[str]:
    if isinstance(value, str):
        return [value]
    if isinstance(value, dict):
        return [f"{name}: {text}" for name, text in value.items()]
    return [str(one) for one in value] if isinstance(value, list) else []
