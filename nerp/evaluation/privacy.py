"""How near generated images lie to what was learned from, beside real images that lie near by chance."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from nerp.evaluation.auroc import auroc, auroc_interval
from nerp.evaluation.copies import Judged
from nerp.evaluation.image_sets import ImageSet
from nerp.evaluation.score import Score
from nerp.evaluation.set_settings import MemorisationConfig
from nerp.randomness import stream

QUANTILES = (0.01, 0.05, 0.25, 0.5, 0.75, 0.95, 0.99)
NEAR = 0.05
"""`very_near` counts generated images nearer than this part of real ones."""


def false_alarm(judged: list[Judged], asked: float) -> dict[str, Any]:
    """What the thresholds flag where nothing is a copy.

    Args:
        judged: every space.
        asked:  the rate that was asked for, 0 to 1.

    Returns:
        JSON-ready: `asked`; `real`, the part of real images that are flagged beside other patients'; `pairs`, the part
        of pairs of real images of different patients, in the space that flags more; `held_out`, the part of held-out
        images, or None.
    """
    found: dict[str, Any] = {"asked": asked, "real": _part([one.real.distances < one.threshold for one in judged])}
    near, pairs = max(one.pairs[0] for one in judged), judged[0].pairs[1]
    found["pairs"] = Score(near / pairs, None, pairs).to_dict()
    held_out = [one.held_out.distances < one.threshold for one in judged if one.held_out is not None]
    return found | {"held_out": _part(held_out) if held_out else None}


def _part(flags: list[Tensor]) -> dict[str, Any]:
    """The part of images that any space flags."""
    either = torch.stack(flags).any(0)
    return Score(float(either.double().mean()), None, len(either)).to_dict()


def space_result(one: Judged, sets: dict[str, ImageSet], settings: MemorisationConfig) -> dict[str, Any]:
    """What one space says: `threshold`, `copies`, quantiles of `distances` to the nearest real image, `privacy`.

    Args:
        one:      the space.
        sets:     `fake`, `real` and maybe `held_out`.
        settings: of the draws.
    """
    found = {"fake": one.fake, "real": one.real, **({"held_out": one.held_out} if one.held_out else {})}
    quantiles = torch.tensor(QUANTILES, dtype=torch.float64, device="cpu")
    return {
        "threshold": one.threshold,
        "copies": int(one.flags.sum()),
        "distances": {
            "quantiles": list(QUANTILES),
            **{
                name: [round(value, 5) for value in part.distances.quantile(quantiles).tolist()]
                for name, part in found.items()
            },
        },
        "privacy": _privacy(one, sets, settings),
    }


def _privacy(one: Judged, sets: dict[str, ImageSet], settings: MemorisationConfig) -> dict[str, Any]:
    """How generated images lie to real ones, beside held-out images, or else beside real ones of other patients.

    `nearer`: the probability that a generated image is nearer to its nearest real image than such an image is; .5 of
    images as new as those. `very_near`: the part of generated images nearer than 5 % of them.
    """
    name = "real" if one.held_out is None else "held_out"
    others = one.real if one.held_out is None else one.held_out
    scores = -torch.cat([one.fake.distances, others.distances]).numpy()
    labels = [1] * len(one.fake.distances) + [0] * len(others.distances)
    groups = [*(("fake", group) for group in sets["fake"].groups), *((name, group) for group in sets[name].groups)]
    interval = None
    if settings.n_resamples:
        generator = stream(settings.seed, 0, f"privacy {one.space.name}")
        interval = auroc_interval(scores, labels, groups, generator, n_resamples=settings.n_resamples)
    near = one.fake.distances < others.distances.quantile(NEAR)
    return {
        "beside": name,
        "nearer": Score(auroc(scores, labels), interval, len(one.fake.distances)).to_dict(),
        "very_near": Score(float(near.double().mean()), None, len(near)).to_dict() | {"expected": NEAR},
    }
