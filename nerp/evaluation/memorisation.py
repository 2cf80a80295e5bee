"""Generated images that are copies of real ones, and how near all lie to what was learned from.

Each generated image is set beside its nearest real one, as a picture (`likeness`) and in a network's features. What is
too near is told by how near real images of different patients come to each other.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from nerp.errors import EvaluationError
from nerp.evaluation.bootstrap import mean_score
from nerp.evaluation.copies import Judged, Space, judge, least_rate, twins_of
from nerp.evaluation.features import extract
from nerp.evaluation.image_sets import ImageSet, read_set
from nerp.evaluation.likeness import read_small
from nerp.evaluation.nearest import cosine_distance, nearest, picture_distance
from nerp.evaluation.privacy import false_alarm, space_result
from nerp.evaluation.score import Score
from nerp.evaluation.set_settings import MemorisationConfig
from nerp.randomness import stream

SAME_PICTURE = 0.04
"""Pictures nearer than that are one, whatever a set's own threshold: of 1000 real films no two of different patients
came nearer than 0.12; one again as a JPEG of quality 30 has 0.01, with noise of 5 % of white 0.03."""


def evaluate_memorisation(
    settings: MemorisationConfig, *, progress: Callable[[int, int], None] | None = None
) -> dict[str, Any]:
    """Copies among generated images, their nearest real ones, and a summary of privacy.

    Args:
        settings: names the folders.
        progress: called as progress(images done, images in all), once for each space.

    Returns:
        JSON-ready. `copies`: how many images are flagged in either space, and the part of all with its interval;
        `false_alarm`: the rate asked for, and the part of real images, of pairs of real images of different patients,
        and of held-out images that the thresholds flag; `spaces`: of `pixels` and `features`, the `threshold`,
        `copies`, `distances` (quantiles) and `privacy`; `nearest`: generated images with their nearest real ones, all
        that are flagged and the nearest others; `extractor`; `folders`, their names; `fake`, `real`,
        `held_out`, `warnings`, `skipped`.

    Raises:
        DataError: a folder that is missing or empty, or a file that is no image.
        EvaluationError: fewer than two images of a set, or real ones of one patient only.
        UsageError: an unknown extractor.
    """
    sets, warnings = _read(settings)
    spaces, identity = _spaces(sets, settings, progress)
    groups = sets["real"].groups
    twins = twins_of(nearest(spaces[0].real, spaces[0].real, picture_distance, groups=(groups, groups)), SAME_PICTURE)
    rate = settings.false_alarm / len(spaces)
    judged = [
        judge(space, groups, twins=twins, false_alarm=rate, at_least=SAME_PICTURE if space.name == "pixels" else 0.0)
        for space in spaces
    ]
    flags = torch.stack([one.flags for one in judged]).any(0)
    copies = mean_score(
        flags.double().tolist(),
        generator=stream(settings.seed, 0, "copies"),
        groups=sets["fake"].groups,
        n_resamples=settings.n_resamples or 1,
    )
    return {
        "kind": "memorisation",
        "copies": {"count": int(flags.sum()), **_without(copies, settings).to_dict()},
        "false_alarm": false_alarm(judged, settings.false_alarm),
        "spaces": {one.space.name: space_result(one, sets, settings) for one in judged},
        "nearest": _listed(judged, sets, flags, settings.listed),
        "extractor": identity,
        "folders": {name: Path(getattr(settings, name)).name for name in sets},
        **{name: one.counted for name, one in sets.items()},
        "warnings": warnings + _warnings(twins, rate, judged, flags, settings),
        "skipped": [name for one in sets.values() for name in one.skipped],
    }


def _without(score: Score, settings: MemorisationConfig) -> Score:
    """The score, without its interval where none was asked for."""
    return score if settings.n_resamples else Score(score.value, None, score.n)


def _read(settings: MemorisationConfig) -> tuple[dict[str, ImageSet], list[str]]:
    """The sets by name, and what is to be said of them."""
    reading: dict[str, Any] = {"index": settings.patients, "skip_bad": settings.skip_bad}
    sets = {"fake": read_set(settings.fake, what="generated", **reading)}
    sets["real"] = read_set(settings.real, what="real", **reading)
    if len(set(sets["real"].groups)) < 2:
        raise EvaluationError(
            f"all real images in {settings.real} are of one patient; expected 2 or more: how near different patients "
            "come to each other tells what is too near"
        )
    warnings = []
    if sets["real"].patients.unknown:
        warnings.append(
            f"nothing tells the patients of {sets['real'].patients.unknown} real images (--patients FILE): where one "
            "has several, thresholds are nearer than they should be, and copies may pass"
        )
    if settings.held_out is not None:
        sets["held_out"], told = _held_out(read_set(settings.held_out, what="held-out", **reading), sets["real"])
        warnings += told
    return sets, warnings


def _held_out(images: ImageSet, real: ImageSet) -> tuple[ImageSet, list[str]]:
    """Held-out images of patients of whom nothing was learned.

    Raises:
        EvaluationError: fewer than two.
    """
    known = set(real.patients.labels)
    rows = [row for row, label in enumerate(images.patients.labels) if label not in known]
    left_out = len(images.files) - len(rows)
    if len(rows) < 2:
        raise EvaluationError(
            f"{left_out} of {len(images.files)} held-out images are of patients whose images are among the real ones; "
            "expected 2 or more of other patients"
        )
    if not left_out:
        return images, []
    told = f"{left_out} held-out images are left out: their patients' images are among the real ones"
    return images.chosen(rows), [told]


def _spaces(
    sets: dict[str, ImageSet], settings: MemorisationConfig, progress: Callable[[int, int], None] | None
) -> tuple[list[Space], dict[str, str] | None]:
    """All images in pixels and, unless no extractor is wanted, in features; and which extractor that is."""
    files = [file for one in sets.values() for file in one.files]
    counts = [len(one.files) for one in sets.values()]
    extractor = None
    if settings.extractor != "none":
        from nerp.evaluation.extractors import load_extractor

        extractor = load_extractor(settings.extractor, weights=settings.weights, device=settings.device)
    spaces = [_space("pixels", read_small(files, progress=progress), counts)]
    if extractor is None:
        return spaces, None
    features, _ = extract(extractor, files, progress=progress)
    spaces.append(_space("features", features - features[counts[0] : counts[0] + counts[1]].mean(0), counts))
    return spaces, {"name": extractor.name, "sha256": extractor.sha256, "device": extractor.device.type}


def _space(name: str, values: Tensor, counts: list[int]) -> Space:
    fake, real, *held_out = values.split(counts)
    distance = picture_distance if name == "pixels" else cosine_distance
    return Space(name, distance, fake, real, held_out[0] if held_out else None)


def _listed(judged: list[Judged], sets: dict[str, ImageSet], flags: Tensor, count: int) -> list[dict[str, Any]]:
    """Generated images with their nearest real ones, the nearest for its threshold first."""
    closeness = torch.stack([one.fake.distances / max(one.threshold, 1e-9) for one in judged]).amin(0)
    order = closeness.argsort(stable=True).tolist()
    kept = [row for place, row in enumerate(order) if place < count or flags[row]]
    return [_neighbours(row, judged, sets) for row in kept]


def _neighbours(row: int, judged: list[Judged], sets: dict[str, ImageSet]) -> dict[str, Any]:
    found: dict[str, Any] = {
        "file": _name(sets["fake"], row),
        "flagged_by": [one.space.name for one in judged if one.flags[row]],
    }
    for one in judged:
        found[one.space.name] = {
            "nearest": _name(sets["real"], int(one.fake.indices[row])),
            "distance": round(float(one.fake.distances[row]), 5),
        }
    return found


def _name(images: ImageSet, row: int) -> str:
    return images.files[row].name


def _warnings(
    twins: Tensor, rate: float, judged: list[Judged], flags: Tensor, settings: MemorisationConfig
) -> list[str]:
    found = []
    count = int((~twins).sum())
    if bool(twins.any()):
        found.append(
            f"{int(twins.sum())} real images show the same picture as another patient's: they are left out of the "
            "thresholds; check the patients"
        )
    if least_rate(count) > rate:
        found.append(
            f"{count} real images cannot promise a false-alarm rate of {settings.false_alarm:g}: about "
            f"{len(judged) * least_rate(count):.2g} may be flagged by chance"
        )
    if bool((judged[0].fake.distances < 1e-6).all()):
        found.append("every generated image is a real one: the two sets may be the same images")
    return found
