"""Settings that check themselves: beside each default stands what is allowed, and every message names the key.

A room of the package keeps its settings in a frozen dataclass derived from `Settings`; the same dataclass serves
Python, YAML files and `key=value`. Values are plain: numbers, text, truth values, tuples of them, or none.
"""

from __future__ import annotations

import math
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field, fields, is_dataclass
from numbers import Real
from typing import Any, ClassVar

from nerp.errors import ConfigError


@dataclass(frozen=True)
class Settings:
    """Base of every room's settings: each value is checked when an instance is made.

    Raises:
        ConfigError: a value out of its range or choices; names the key, what was found and what is allowed.
    """

    SECTION: ClassVar[str] = ""
    """What stands before the key in messages, such as `camera` in `camera.yaw_deg`."""

    def __post_init__(self) -> None:
        for item in fields(self):
            value = getattr(self, item.name)
            if item.metadata and not (value is None and item.default is None):
                _check(value, self.key(item.name), item.metadata)

    @classmethod
    def key(cls, name: str) -> str:
        """The dotted key of a field."""
        return f"{cls.SECTION}.{name}" if cls.SECTION else name


def number(default: Any, low: float = -math.inf, high: float = math.inf, *, length: int | None = None) -> Any:
    """A field whose number lies in [low, high]; or, given a tuple or a length, that many such numbers.

    Args:
        default: a number, a tuple of numbers, or none where the setting may be left out.
        low:     least value allowed.
        high:    largest value allowed.
        length:  how many numbers, where the default does not tell.

    Returns:
        What `dataclasses.field` returns.
    """
    length = len(default) if isinstance(default, tuple) else length
    return field(default=default, metadata={"low": low, "high": high, **({"length": length} if length else {})})


def limits(default: tuple[float, float] | None, low: float, high: float) -> Any:
    """A field of two ascending numbers in [low, high], or none where the default is none.

    Args:
        default: (lowest, highest), or none.
        low:     least value allowed.
        high:    largest value allowed.

    Returns:
        What `dataclasses.field` returns.
    """
    return field(default=default, metadata={"low": low, "high": high, "length": 2, "ascending": True})


def choice(default: str | int, *others: str | int) -> Any:
    """A field that takes one of some names or numbers, the default first; returns what `dataclasses.field` returns.

    Args:
        default: the one taken where nothing is said.
        others:  the others allowed.
    """
    return field(default=default, metadata={"choices": (default, *others)})


def section(kind: type) -> Any:
    """A field that holds the settings of a room, by default its defaults; returns what `dataclasses.field` returns."""
    return field(default_factory=kind)


def flatten(settings: Any, prefix: str = "") -> dict[str, Any]:
    """`{"trainer.steps": 100, …}`: every leaf of a tree of dataclasses under its dotted name, tuples as lists.

    Args:
        settings: an instance of a dataclass.
        prefix:   what stands before each name.
    """
    flat: dict[str, Any] = {}
    for item in fields(settings):
        value, name = getattr(settings, item.name), f"{prefix}{item.name}"
        plain = list(value) if isinstance(value, tuple) else value
        flat.update(flatten(value, f"{name}.") if is_dataclass(value) else {name: plain})
    return flat


def dotted(values: Mapping[str, Any], prefix: str = "", *, whole: Collection[str] = ()) -> dict[str, Any]:
    """The same of nested dictionaries: every leaf under its dotted name.

    Args:
        values: by name, values and dictionaries of such.
        prefix: what stands before each name.
        whole:  names whose dictionaries are leaves.
    """
    flat: dict[str, Any] = {}
    for key, value in values.items():
        name = f"{prefix}{key}"
        is_leaf = key in whole or not isinstance(value, Mapping)
        flat.update({name: value} if is_leaf else dotted(value, f"{name}.", whole=whole))
    return flat


def _check(value: Any, key: str, allowed: Mapping[str, Any]) -> None:
    if "choices" in allowed:
        if value not in allowed["choices"]:
            raise ConfigError(f"{key} is '{value}'; expected one of {', '.join(map(str, allowed['choices']))}")
        return
    several = "length" in allowed
    if several and (not isinstance(value, tuple | list) or len(value) != allowed["length"]):
        raise ConfigError(f"{key} is {value}; expected {allowed['length']} numbers, such as {key}=[…, …]")
    for one in value if several else (value,):
        if isinstance(one, bool) or not isinstance(one, Real):
            raise ConfigError(f"{key} is {one!r}; expected {_interval(allowed['low'], allowed['high'])}")
        if not allowed["low"] <= one <= allowed["high"]:
            raise ConfigError(f"{key} is {one:g}; expected {_interval(allowed['low'], allowed['high'])}")
    if allowed.get("ascending") and value[0] > value[1]:
        raise ConfigError(f"{key} is {list(value)}; expected the lower bound first")


def _interval(low: float, high: float) -> str:
    return f"a number of at least {low:g}" if high == math.inf else f"a number from {low:g} to {high:g}"
