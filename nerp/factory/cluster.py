"""Shards made by a Ray cluster; every node sees the set's folder and the CTs under the same paths."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from nerp.errors import DataError, NerpError, UsageError
from nerp.factory.workers import MOST_DEATHS, Done, fatal

IN_FLIGHT = 2
"""Shards that are handed out for each that can be worked on at a time."""


class Cluster:
    """A Ray cluster that makes shards; a context manager. A node that is lost is Ray's care: its shards are made again.

    Args:
        address:   of the cluster, as `ray.init` takes it, such as `auto`.
        plan_file: settings of the plan, as YAML.
        out:       the set's folder.
        threads:   cores that a shard takes.

    Raises:
        UsageError: Ray is not installed, or no cluster answers there.
    """

    def __init__(self, address: str, plan_file: Path, out: Path, *, threads: int):
        try:
            import ray
        except ImportError:
            raise UsageError("--ray needs Ray, which is not installed; pip install nerp[ray]") from None
        self._ray, self._threads = ray, threads
        self._files = str(plan_file.resolve()), str(out.resolve())
        try:
            ray.init(address=address, log_to_driver=False, logging_level="ERROR", include_dashboard=False)
        except (ConnectionError, ValueError, RuntimeError) as error:
            told = str(error).strip().splitlines()[0]
            raise UsageError(f"no Ray cluster answers at {address} ({told}); start one: ray start --head") from error
        self._make = ray.remote(num_cpus=threads, max_retries=MOST_DEATHS)(_make)

    def __enter__(self) -> Cluster:
        return self

    def __exit__(self, *error: object) -> None:
        self._ray.shutdown()

    def run(self, shards: Sequence[int]) -> Iterator[Done]:
        """Make shards, in whatever order they are finished.

        Args:
            shards: their numbers.

        Raises:
            DataError: a node cannot write, or one shard kills every worker.
        """
        waiting, running = deque(shards), dict[Any, int]()
        while waiting or running:
            cores = self._ray.cluster_resources().get("CPU", 1.0)
            while waiting and len(running) < IN_FLIGHT * max(1, cores // self._threads):
                number = waiting.popleft()
                running[self._make.remote(*self._files, number)] = number
            for task in self._ray.wait(list(running), num_returns=1)[0]:
                yield self._done(task, running.pop(task))

    def _done(self, task: Any, number: int) -> Done:
        try:
            answer = self._ray.get(task)
        except self._ray.exceptions.RayError as error:
            told = str(error).strip().splitlines()[0]
            raise DataError(f"shard {number} ends every worker ({told}); the rest is kept: look at its CTs") from error
        if "fatal" in answer:
            raise fatal(answer["fatal"])
        return Done(number, answer["made"], answer["failed"])


def _make(plan_file: str, out: str, number: int) -> dict[str, Any]:
    """What a node does; only JSON values come back."""
    from nerp.factory.shard import maker_of

    try:
        made, failed = maker_of(Path(plan_file), Path(out)).make(number)
    except (OSError, NerpError) as error:
        return {"fatal": str(error)}
    return {"made": made, "failed": failed}
