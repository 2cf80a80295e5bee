"""From measures to faults: each check names a measure, its limit, and what it means in words."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TypeAlias

from nerp.evaluation.pair_settings import Limits

Fault: TypeAlias = dict[str, str]
"""`check`, its name, and `reason`, in words."""


@dataclass(frozen=True)
class Check:
    """One thing that a pair is looked at for.

    Args:
        name:    of the fault.
        measure: that is compared.
        limit:   field of `Limits`; its name ends with `least` or `most`.
        words:   of the fault, with `{value}` and `{limit}`.
        of:      `any` mask, `lungs` alone, or lungs in `frontal` views alone.
    """

    name: str
    measure: str
    limit: str
    words: str
    of: str = "any"


MISALIGNED = "misaligned mask"
CHECKS = (
    Check("blank image", "spread", "spread_least", "its grey values span {value:.2f} of the scale, under {limit:g}"),
    Check("blank image", "entropy", "entropy_least", "its grey values hold {value:.1f} bits, under {limit:g}"),
    Check("near-empty view", "black", "black_most", "{value:.0%} of it is black, over {limit:.0%}"),
    Check("saturated image", "white", "white_most", "{value:.0%} of it is white, over {limit:.0%}"),
    Check("mask in pieces", "parts", "parts_most", "the mask has {value:.0f} parts, over {limit:g}"),
    Check("mask in pieces", "crumbs", "crumbs_most", "{value:.0%} of it is small parts, over {limit:.0%}", "lungs"),
    Check("lungs unbalanced", "balance", "balance_least", "one has {value:.2f} of the other's area", "frontal"),
    Check("one lung", "width", "width_least", "they span {value:.0%} of the width, under {limit:.0%}", "frontal"),
    Check("one lung", "lone_width", "lone_width_least", "its one part spans {value:.0%}, under {limit:.0%}", "frontal"),
    Check("cut by the border", "cut", "cut_most", "{value:.0%} of the mask's border is the image's, over {limit:.0%}"),
    Check("cut by the border", "outside", "outside_most", "{value:.0%} of it lies outside, over {limit:.0%}"),
    Check(MISALIGNED, "alignment", "alignment_least", "its score is {value:.2f}, under {limit:g}", "lungs"),
)


def faults_of(measures: Mapping[str, float], limits: Limits, *, lungs: bool, frontal: bool) -> list[Fault]:
    """What is wrong with a pair, by its measures.

    Args:
        measures: by name; one that is missing is not judged.
        limits:   what is allowed.
        lungs:    whether the mask shows lungs.
        frontal:  whether they are seen from the front or the back.

    Returns:
        One fault for each check that fails; an empty list for a good pair.
    """
    judged = {"any"} | ({"lungs"} if lungs else set()) | ({"frontal"} if lungs and frontal else set())
    found = _of_area(measures, limits.lungs_area if lungs else limits.other_area)
    for check in CHECKS:
        if check.of in judged and check.measure in measures:
            value, limit = measures[check.measure], getattr(limits, check.limit)
            if value < limit if check.limit.endswith("least") else value > limit:
                found.append({"check": check.name, "reason": check.words.format(value=value, limit=limit)})
    return found


def _of_area(measures: Mapping[str, float], allowed: tuple[float, float]) -> list[Fault]:
    area = measures.get("area")
    if area is None or allowed[0] <= area <= allowed[1]:
        return []
    if area == 0:
        return [{"check": "empty mask", "reason": "no pixel is inside the mask"}]
    reason = f"the mask covers {area:.2%} of the image; expected {allowed[0]:.2%} to {allowed[1]:.0%}"
    return [{"check": "implausible area", "reason": reason}]
