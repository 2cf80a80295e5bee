"""How a segmenter learns from radiographs without masks."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from nerp.settings import Settings, limits, number


@dataclass(frozen=True)
class UnlabelledSettings(Settings):
    """Learning from radiographs without masks: the network outlines lungs by itself, and learns from the sure ones.

    Args:
        folders:   of radiographs, or public sets; none: nothing is learned from them.
        rounds:    of outlining and learning, after the training on pairs; 0 as without folders.
        steps:     of each round; none: half as many as on pairs alone.
        views:     over which an outline is averaged: moved, mirrored, of other grey values.
        agreement: least mean Dice of the single views' masks with the mean's, for a radiograph to be used.
        area:      of both lungs, as a part of the image, for one to be used.
        balance:   least area of the smaller lung by the larger's.
        sureness:  exponent of a pixel's weight |2 p - 1|: 0 weighs all alike.
        ema_decay: of the averaged network that outlines.
    """

    SECTION: ClassVar[str] = "unlabelled"

    folders: tuple[str, ...] = ()
    rounds: int = number(1, 0, 20)
    steps: int | None = number(None, 1)
    views: int = number(6, 2, 64)
    agreement: float = number(0.95, 0.0, 1.0)
    area: tuple[float, float] = limits((0.1, 0.6), 0.0, 1.0)
    balance: float = number(0.4, 0.0, 1.0)
    sureness: float = number(1.0, 0.0, 10.0)
    ema_decay: float = number(0.98, 0.0, 0.9999)

    @property
    def is_used(self) -> bool:
        """Whether there is anything to learn from."""
        return bool(self.folders) and self.rounds > 0
