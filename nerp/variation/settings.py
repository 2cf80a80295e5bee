"""How far a CT may be varied before it is projected."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from nerp.errors import UsageError
from nerp.phantom import FINDINGS
from nerp.settings import Settings, number

INSERTABLE = FINDINGS[:4]
"""Findings that can be drawn into a CT; a large heart cannot."""


@dataclass(frozen=True)
class DeformationSettings(Settings):
    """How body and breath differ from the CT's; nothing by default.

    Args:
        amplitude_mm: the diaphragm's dome is moved up or down by at most so much.
        scale_spread: standard deviation of the logarithm of the body's size along each axis.
        irregular_mm: standard deviation of six smooth displacements, each some 7 cm wide.
        views_each:   views in a row that share a deformation, and the findings inserted.
    """

    SECTION: ClassVar[str] = "deformation"

    amplitude_mm: float = number(0.0, 0, 60)
    scale_spread: float = number(0.0, 0, 0.2)
    irregular_mm: float = number(0.0, 0, 10)
    views_each: int = number(4, 1)

    @property
    def any(self) -> bool:
        """Whether a CT may be deformed."""
        return bool(self.amplitude_mm or self.scale_spread or self.irregular_mm)


@dataclass(frozen=True)
class InsertSettings(Settings):
    """Which findings are drawn into the lungs of a CT; none by default.

    Args:
        findings: `none`, `random`, or names such as `effusion,nodule`, which every varied CT gets.
        chance:   of each finding, where they are random.

    Raises:
        UsageError: an unknown finding.
    """

    SECTION: ClassVar[str] = "insert"

    findings: str = "none"
    chance: float = number(0.3, 0, 1)

    def __post_init__(self) -> None:
        super().__post_init__()
        for name in self.names:
            if name not in INSERTABLE:
                raise UsageError(
                    f"insert.findings holds {name!r}; expected none, random or any of {', '.join(INSERTABLE)}"
                )

    @property
    def names(self) -> tuple[str, ...]:
        """The findings that are stated by name, in the order of `INSERTABLE` where they are known."""
        if self.findings in ("none", "random"):
            return ()
        stated = [part.strip() for part in self.findings.split(",")]
        return (*(name for name in INSERTABLE if name in stated), *(one for one in stated if one not in INSERTABLE))

    @property
    def any(self) -> bool:
        """Whether a CT may get findings."""
        return self.findings != "none"
