"""The random choices of a step: the same whatever the number of processes that share it."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from nerp.randomness import choose, stream


@dataclass(frozen=True)
class Draws:
    """Everything random of one process: drawn for all of them, and of that its own part taken.

    So two processes of one CT each learn what one process of two CTs learns.

    Args:
        seed: of the run.
        rank: number of this process.
        of:   how many there are.
    """

    seed: int
    rank: int = 0
    of: int = 1

    def stream(self, step: int, name: str) -> torch.Generator:
        """A generator that all processes have alike.

        Args:
            step: counted from 1.
            name: what is drawn; another name is another draw.
        """
        return stream(self.seed, step, name)

    def chosen(self, n: int, among: int, generator: torch.Generator) -> list[int]:
        """This process's indices, without repetition over all processes while there are enough.

        Args:
            n:         how many, of this process.
            among:     all are below it.
            generator: from `stream`.
        """
        return choose(n * self.of, among, generator)[self.rank * n : (self.rank + 1) * n]

    def own(self, drawn: Tensor) -> Tensor:
        """The part of this process, (N, ...), of what was drawn for all, (N `of`, ...)."""
        n = len(drawn) // self.of
        return drawn[self.rank * n : (self.rank + 1) * n]

    def place(self, index: int, n: int) -> int:
        """Number, over all processes, of the item `index` of this one, each having `n`.

        Args:
            index: from 0.
            n:     items of a process.
        """
        return self.rank * n + index
