"""Worker processes, each told one shard at a time; one that dies is replaced, and its shard made again."""

from __future__ import annotations

import json
import os
import selectors
import subprocess
import sys
from collections import Counter, deque
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from nerp.errors import DataError

MOST_DEATHS = 10
"""Workers that may die over one shard before it is taken for their killer."""


def fatal(told: str) -> DataError:
    """What ends all work, of what a worker could not do."""
    return DataError(f"{told}; what is finished is kept: make room or rights, and go on")


@dataclass(frozen=True)
class Done:
    """A finished shard.

    Args:
        shard:  its number.
        made:   CTs.
        failed: CTs.
    """

    shard: int
    made: int
    failed: int


class Workers:
    """Processes that make shards; a context manager.

    Args:
        plan_file: settings of the plan, as YAML.
        out:       the set's folder.
        count:     of processes.
        threads:   of each.
    """

    def __init__(self, plan_file: Path, out: Path, *, count: int, threads: int):
        self._command = [sys.executable, "-m", "nerp.factory.worker", str(plan_file), str(out)]
        self._count, self._threads = count, threads
        self._busy: dict[subprocess.Popen[str], int | None] = {}
        self._deaths = Counter[int]()
        self._ready = selectors.DefaultSelector()

    def __enter__(self) -> Workers:
        return self

    def __exit__(self, *error: object) -> None:
        for process in self._busy:
            process.kill()
        for process in list(self._busy):
            self._forget(process)
        self._ready.close()

    def run(self, shards: Sequence[int]) -> Iterator[Done]:
        """Make shards, in whatever order they are finished.

        Args:
            shards: their numbers.

        Raises:
            DataError: a worker cannot write, or one shard kills every worker.
        """
        waiting, left = deque(shards), len(shards)
        for _ in range(min(self._count, left)):
            self._start()
        while left:
            for key, _ in self._ready.select():
                process = key.data
                line = process.stdout.readline()
                if not line:
                    waiting.extendleft(self._died(process))
                    self._start()
                    continue
                answer, shard = json.loads(line), self._busy[process]
                if "fatal" in answer:
                    raise fatal(answer["fatal"])
                if shard is not None:
                    left -= 1
                    yield Done(shard, answer["made"], answer["failed"])
                self._tell(process, waiting.popleft() if waiting else None)

    def _start(self) -> None:
        threads = str(self._threads)
        environment = {**os.environ, "OMP_NUM_THREADS": threads, "MKL_NUM_THREADS": threads}
        process = subprocess.Popen(
            self._command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=environment
        )
        self._busy[process] = None
        self._ready.register(_out(process), selectors.EVENT_READ, process)

    def _tell(self, process: subprocess.Popen[str], shard: int | None) -> None:
        self._busy[process] = shard
        if shard is not None:
            with suppress(BrokenPipeError):  # it died: its silence tells
                assert process.stdin is not None
                process.stdin.write(f"{shard}\n")
                process.stdin.flush()

    def _died(self, process: subprocess.Popen[str]) -> list[int]:
        """The shard that a dead worker was at, if any."""
        shard, code = self._busy[process], process.wait()
        self._forget(process)
        if shard is None:
            self._deaths[-1] += 1
            if self._deaths[-1] > MOST_DEATHS:
                raise DataError(f"no worker comes up (exit code {code}): look at its messages")
            return []
        self._deaths[shard] += 1
        if self._deaths[shard] > MOST_DEATHS:
            raise DataError(
                f"shard {shard} killed {MOST_DEATHS} workers (exit code {code}); the rest is kept: give it more "
                "memory, or take its CTs out of the plan"
            )
        return [shard]

    def _forget(self, process: subprocess.Popen[Any]) -> None:
        self._ready.unregister(_out(process))
        for stream in (process.stdin, process.stdout):
            if stream is not None:
                with suppress(OSError):
                    stream.close()
        process.wait()
        del self._busy[process]


def _out(process: subprocess.Popen[Any]) -> Any:
    assert process.stdout is not None
    return process.stdout
