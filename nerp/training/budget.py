"""How long a training may go on: steps planned, and the time that they may take."""

from __future__ import annotations

import math
import time

import torch

from nerp.training.checkpoint import State

_RECKONED_EVERY = 20


class Budget:
    """How many steps, and how long they may take; steps that cannot fit into the time are given up.

    `seconds` is the time that the steps done so far took, `total` how many there will be.

    Args:
        steps:   planned.
        minutes: limit of the time spent on them, over all parts of an interrupted run.
    """

    def __init__(self, steps: int, minutes: float = math.inf):
        self.planned = self.total = steps
        self._limit, self.seconds = 60.0 * minutes, 0.0
        self.start()

    def start(self) -> None:
        """Begin to count, after what was counted before."""
        self._origin = time.monotonic() - self.seconds

    def count(self, done: int) -> None:
        """Count the time of a step, when so many are done; every 20 steps, reckon how many fit if all are as slow."""
        self.seconds = time.monotonic() - self._origin
        if done % _RECKONED_EVERY == 0:
            fitting = done * self._limit / self.seconds if self.seconds > 0 else math.inf
            self.total = self.planned if fitting >= self.planned else max(done, int(fitting))

    def allows(self, done: int) -> bool:
        """Whether there is another step after so many; the first is always allowed."""
        return done < self.total and (done == 0 or self.seconds <= self._limit)

    def state(self) -> State:
        """Seconds spent and steps that fit, where the time is limited; else nothing."""
        if math.isinf(self._limit):
            return {}
        return {"budget": torch.tensor([self.seconds, self.total], dtype=torch.float64, device="cpu")}

    def restore(self, tensors: State) -> None:
        """Put back what `state` gave; the time since then does not count."""
        if "budget" in tensors:
            self.seconds, self.total = float(tensors["budget"][0]), int(tensors["budget"][1])
            self.start()
