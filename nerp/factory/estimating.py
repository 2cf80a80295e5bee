"""What a plan will take, by a sample of it that is made and measured."""

from __future__ import annotations

import tempfile
import time
from pathlib import Path
from typing import Any

from nerp.errors import DataError
from nerp.factory.planning import PlannedCT, make_plan
from nerp.factory.settings import FactoryConfig
from nerp.factory.shard import Made, ShardMaker


def estimate(config: FactoryConfig) -> dict[str, Any]:
    """Counts, disk and time of a plan, measured on the first CT that can be used.

    Args:
        config: the plan.

    Returns:
        JSON-ready: `cts`, `patients`, `pairs`, `parts`, `workers`, the `sample` with its `seconds` and `bytes`, and
        from it `gigabytes` and `hours`.

    Raises:
        DataError: see `make_plan`; or none of the first CTs can be used.
    """
    plan = make_plan(config)
    sample = _sample(plan.volumes, ShardMaker(plan, Path()), plan.pairs_each)
    total = len(plan.volumes)
    return {
        "kind": "factory estimate",
        "cts": total,
        "patients": len({one.listed.patient for one in plan.volumes}),
        "pairs": total * plan.pairs_each,
        "parts": {part: _counts(plan.volumes, part) for part in sorted({one.part for one in plan.volumes})},
        "workers": config.workers,
        "sample": sample,
        "gigabytes": total * sample["bytes"] / 1e9,
        "hours": total * sample["seconds"] / config.workers / 3600,
    }


def _counts(volumes: tuple[PlannedCT, ...], part: str) -> dict[str, int]:
    own = [one.listed for one in volumes if one.part == part]
    return {"cts": len(own), "patients": len({one.patient for one in own})}


TRIED = 5
"""CTs that may fail before no sample is taken."""


def _sample(volumes: tuple[PlannedCT, ...], maker: ShardMaker, pairs: int) -> dict[str, Any]:
    made = Made()
    for volume in volumes[:TRIED]:
        with tempfile.TemporaryDirectory() as folder:
            begun = time.perf_counter()
            maker.make_volume(volume, Path(folder), 0, made)
            seconds = time.perf_counter() - begun
            held = sum(path.stat().st_size for path in Path(folder).rglob("*") if path.is_file())
        if made.records:
            return {"file": volume.listed.name, "seconds": seconds, "bytes": held, "pairs": pairs}
    raise DataError(f"none of the first {len(made.errors)} CTs can be used: {made.errors[0][1]}: {made.errors[0][2]}")
