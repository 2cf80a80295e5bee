"""Which pairs a step learns from, where there are several sets of them, and how far along its part of the run it is.

Every step has as many pairs, whatever the sets' sizes, so that runs on different sets learn from equally many.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from nerp.devices import WHOLE
from nerp.randomness import stream


@dataclass(frozen=True)
class Curriculum:
    """Parts of a run, one after another, each of one or several sets of pairs that its steps draw from evenly.

    Args:
        parts:      of equal length in steps; each part's sets are ranges of the pairs' indices.
        batch_size: pairs a step, at least as many as a part has sets.
        seed:       of the orders.
    """

    parts: tuple[tuple[range, ...], ...]
    batch_size: int
    seed: int

    def indices(self, step: int, total: int) -> Tensor:
        """(batch_size,) int64 indices of a step's pairs; each set is gone through in whole, shuffled rounds.

        Args:
            step:  counted from 1.
            total: steps of the run.
        """
        sets = self.parts[self._part(step, total)]
        drawn = [self._drawn(pairs, *self._share(number, len(sets), step)) for number, pairs in enumerate(sets)]
        return torch.cat(drawn)

    def fraction(self, step: int, total: int) -> float:
        """How far a step is along its part, 0 to 1: each part warms up and anneals by itself.

        Args:
            step:  counted from 1.
            total: steps of the run.
        """
        part = self._part(step, total)
        begin, end = (round(number * total / len(self.parts)) for number in (part, part + 1))
        return (step - 1 - begin) / (end - begin)

    def _part(self, step: int, total: int) -> int:
        ends = [round(number * total / len(self.parts)) for number in range(1, len(self.parts) + 1)]
        return next(number for number, end in enumerate(ends) if step <= end)

    def _share(self, number: int, n_sets: int, step: int) -> tuple[int, int]:
        """The places, first and behind the last, that a step takes of one of several sets, counted over all steps."""
        first, last = (at * self.batch_size for at in (step - 1, step))
        return (first + number) // n_sets, (last + number) // n_sets

    def _drawn(self, pairs: range, first: int, last: int) -> Tensor:
        rounds = range(first // len(pairs), (last - 1) // len(pairs) + 1)
        orders = [self._order(pairs, number) for number in rounds]
        skipped = rounds.start * len(pairs)
        return pairs.start + torch.cat(orders)[first - skipped : last - skipped]

    def _order(self, pairs: range, number: int) -> Tensor:
        draw = stream(self.seed, number, f"order of pairs {pairs.start}")
        return torch.randperm(len(pairs), generator=draw, **WHOLE)
