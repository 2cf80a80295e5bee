"""A score with the interval that says how much of it is owed to the images it was taken on."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class Score:
    """One number, its interval, and how many images it speaks of.

    Args:
        value: the score, in its own unit; None where it cannot be computed.
        ci95:  both ends of its 95 % interval; None where none was drawn.
        n:     images that were scored.
    """

    value: float | None
    ci95: tuple[float, float] | None
    n: int

    def to_dict(self, name: str = "value") -> dict[str, Any]:
        """JSON-ready: the value under a name of its own, such as `mean`; `ci95` as a list, or None; `n`."""
        return {name: self.value, "ci95": None if self.ci95 is None else list(self.ci95), "n": self.n}
