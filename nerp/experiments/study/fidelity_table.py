"""The fidelity of a study's sets as a table: scores by extractor and set, each as a part of the first set's."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

from nerp.evaluation.ratios import RATIOS, ratio
from nerp.experiments.study.fidelity import Look, looks_of
from nerp.experiments.study.settings import ALIGNMENT, StudyConfig

SCORES = ("fid", "kid", "isc", "precision", "recall", "density", "coverage", "fid_infinity")
OF_MASKS = ("alignment", "agreement", "dx", "dy", "mirrored")
"""What the table tells of how the masks lie on the images."""

Kept = Mapping[Look, dict[str, Any]]
"""The scores of each look that is there."""


def fidelity_of(config: StudyConfig, kept: Kept) -> dict[str, Any]:
    """All sets in the eyes of all extractors, as far as they are there.

    Args:
        config: the study.
        kept:   the scores of its looks.

    Returns:
        JSON-ready: `baseline`, the first set; `extractors`, by name: `extractor`, its identity, `n_real`, `floor`, of
        real images against real ones, and `sets`, by name: `fid`, `kid` and on, each with value, ci95, n, and of all
        but the first `fid_ratio` and `kid_ratio`, to the first one's; `alignment`, by set: how its masks lie on its
        images; `warnings`, in words.
    """
    seen = dict.fromkeys(look.by for look in looks_of(config) if look in kept)
    there = {by: _of_extractor(config, _seen_by(by, kept)) for by in seen if by != ALIGNMENT}
    return {
        "baseline": config.fidelity[0],
        "extractors": there,
        "alignment": {
            name: {key: scores[key] for key in OF_MASKS} for name, scores in _seen_by(ALIGNMENT, kept).items()
        },
        "warnings": [*_unlike(there, kept), *_doubts(config, kept)],
    }


def _seen_by(by: str, kept: Kept) -> dict[str, dict[str, Any]]:
    """The scores of one extractor, by set."""
    return {look.set_name: scores for look, scores in kept.items() if look.by == by}


def _of_extractor(config: StudyConfig, found: Mapping[str, dict[str, Any]]) -> dict[str, Any]:
    first = next(iter(found.values()))
    sets = {one: _told(one, found, config.fidelity[0]) for one in found}
    return {"extractor": first["extractor"], "n_real": first["n_real"], "floor": first["floor"], "sets": sets}


def _told(name: str, found: Mapping[str, dict[str, Any]], baseline: str) -> dict[str, Any]:
    scores = {key: found[name][key] for key in SCORES}
    if name == baseline or baseline not in found:
        return scores
    return scores | {f"{key}_ratio": ratio(found[name], found[baseline], key) for key in RATIOS}


def _doubts(config: StudyConfig, kept: Kept) -> list[str]:
    """What each set's scores are to be read with."""
    by_text: dict[str, list[Look]] = {}
    for look, scores in kept.items():
        for text in scores["warnings"]:
            by_text.setdefault(text, []).append(look)
    missing = [look.label for look in looks_of(config) if look not in kept]
    absent = [f"no look {', '.join(missing)} is there yet"] if missing else []
    return [*(f"{', '.join(_named(config, looks))}: {text}" for text, looks in by_text.items()), *absent]


def _named(config: StudyConfig, looks: Sequence[Look]) -> Iterator[str]:
    """Labels of looks; an extractor's name alone where it is all of its own."""
    for by in dict.fromkeys(look.by for look in looks):
        labels = [look.label for look in looks if look.by == by]
        yield from [by] if len(labels) == len(config.fidelity) else labels


def _unlike(extractors: Iterable[str], kept: Kept) -> list[str]:
    """What forbids to compare sets."""
    found = []
    for by in extractors:
        looks = _seen_by(by, kept)
        if len({(one["extractor"]["sha256"], one["extractor"]["resize"]) for one in looks.values()}) > 1:
            found.append(
                f"{by} is not the same network for all sets: its scores have different scales; make them again"
            )
        counts = {one: scores["n_fake"] for one, scores in looks.items()}
        if len(set(counts.values())) > 1:
            told = ", ".join(f"{one} {count}" for one, count in counts.items())
            found.append(f"{by} saw different counts of images ({told}), on which FID's bias depends: go by KID")
    return found
