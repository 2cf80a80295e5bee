"""How many times as far one set of images is from the real ones as another: ratios of FID and of KID.

Two sets of the same CTs and cameras, held to the same real images, err alike. So both are taken without the same blocks
of images, and the ratio's interval is that of the ratios: narrower than those of two sets that have nothing in common.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from typing import Any

from nerp.evaluation.jackknife import Subsets, interval_of
from nerp.evaluation.sample import Sample
from nerp.evaluation.score import Score

RATIOS = ("fid", "kid")
"""Scores that can be 0 for a set as close as can be, so that a ratio of two says how much closer one is."""


def told_left_out(
    statistics: Mapping[str, Sequence[float]], subsets: Subsets, samples: tuple[Sample, Sample]
) -> dict[str, Any]:
    """What a result keeps for ratios.

    Args:
        statistics: of each score, that of all images first, then without each block of the fake ones, then of the real.
        subsets:    the blocks.
        samples:    the fake and the real images.

    Returns:
        JSON-ready: the statistics by score; `sizes` of the blocks of each set; `blocks`, a hash of which images are in
        which block: equal for two sets whose images are of the same CTs in the same order.
    """
    fake, real = samples
    numbers = {label: number for number, label in enumerate(dict.fromkeys(real.labels))}
    whose = [list(fake.labels), [numbers[label] for label in real.labels]]
    held = repr([whose, [blocks.tolist() for blocks in subsets.blocks]])
    told = {name: list(map(float, values)) for name, values in statistics.items()}
    return {**told, "sizes": subsets.sizes, "blocks": hashlib.sha256(held.encode()).hexdigest()}


def ratio(later: Mapping[str, Any], earlier: Mapping[str, Any], name: str) -> dict[str, Any]:
    """One set's score as a part of another's.

    Args:
        later:   result of one extractor, with `left_out`.
        earlier: likewise, of the same extractor and the same real images.
        name:    `fid` or `kid`.

    Returns:
        `value`, `ci95`, `n`; a `reason` where there is none: the other's score is not above 0. No interval where the
        images are not of the same CTs and views, or leaving some out brings the other's score to 0.
    """
    above, below = later[name], earlier[name]
    if below["value"] is None or above["value"] is None or below["value"] <= 0.0:
        reason = f"the {name.upper()} that it is a part of is {below['value']}; expected one above 0"
        return Score(None, None, above["n"]).to_dict() | {"reason": reason}
    value = above["value"] / below["value"]
    return Score(value, _interval(value, later["left_out"], earlier["left_out"], name), above["n"]).to_dict()


def _interval(value: float, later: Any, earlier: Any, name: str) -> tuple[float, float] | None:
    if not later or not earlier or later["blocks"] != earlier["blocks"] or min(earlier[name]) <= 0.0:
        return None
    statistics = [above / below for above, below in zip(later[name], earlier[name], strict=True)]
    ends = interval_of(value, statistics, later["sizes"])
    return ends if ends is None or name != "fid" else (max(ends[0], 0.0), ends[1])
