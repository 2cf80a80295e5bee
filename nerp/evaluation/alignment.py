"""Whether masks lie on their images: a score a pair and for the set, the shift that would fit better, and mirroring."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch

from nerp.data.checking import Bad, check_pairs, settle
from nerp.data.masked_images import MaskedImages, find_masked_images, read_masked_image, shrunk
from nerp.errors import DataError, EvaluationError, UsageError
from nerp.evaluation.bootstrap import mean_score, percentile_interval, resamples
from nerp.evaluation.borders import Fit, common_shift, edges_of, fit_of, fitting_side, maps_of
from nerp.evaluation.pair_settings import AlignmentConfig
from nerp.evaluation.probing import Probes, probed, separation
from nerp.evaluation.score import Score
from nerp.evaluation.uncovered import FindLabels, uncovered_scores

TELLING_PX = 1.0
"""A set's median shift beyond this is warned of, pixels: its masks lie off in common."""


@dataclass(frozen=True)
class Aligned:
    """What is measured of one pair.

    Args:
        image:  its file.
        group:  its CT or patient.
        factor: pixels of the file that one compared pixel is, >= 1.
        maps:   (2, 2 R + 1, 2 R + 1) agreement of the mask at every shift, -1 to 1; see `maps_of`.
        probes: likewise of the mask shifted and mirrored on purpose; empty where that is not asked for.
    """

    image: Path
    group: str
    factor: float
    maps: np.ndarray
    probes: Probes


def evaluate_alignment(
    config: AlignmentConfig,
    *,
    find_labels: FindLabels | None = None,
    progress: Callable[[int, int], None] | None = None,
) -> dict[str, Any]:
    """How well the masks of a folder lie on their images.

    Args:
        config:      the folder, and how it is compared.
        find_labels: the labels that a record names; None leaves out how much of the lungs the masks miss.
        progress:    called as progress(pairs done, pairs in all).

    Returns:
        JSON-ready: `alignment`, the mean score, 0 to 1; `agreement`, of the borders as they are, -1 to 1; `dx`, `dy`,
        the medians of the shifts that would fit best, pixels of the files; `mirrored`, the part that fits better
        mirrored; each with `value`, `ci95`, `n`; `per_image`; `inside`; `separation` of probes, or null; `uncovered`,
        or the reason why not; `images_without_mask`, `masks_without_image`; `unscored`, stems of empty masks;
        `patients`, how many, and `patients_by`, what told them; `warnings`, `skipped`.

    Raises:
        UsageError: no folder.
        DataError: as `find_masked_images`, or files that cannot be used and may not be skipped.
        EvaluationError: no mask has a border.
    """
    if config.pairs is None:
        raise UsageError("no pairs to score; give pairs=… a folder with images/ and masks/")
    naming = {"pattern": config.masks_pattern, "mask": config.mask_name}
    found = find_masked_images(config.pairs, **naming, index=config.patients)
    measured, unscored, bad = _measured(found, config, progress)
    if not measured:
        raise EvaluationError(f"no mask of {config.pairs} has a border: all are empty or full; choose other masks")
    inside = config.inside if config.inside != "auto" else fitting_side([one.maps for one in measured])
    result = summarised(measured, inside, config) | {
        "uncovered": uncovered_scores(found, config, find_labels),
        "images_without_mask": found.images_without_mask,
        "masks_without_image": found.masks_without_image,
        "unscored": unscored,
        **found.counted,
        "skipped": [one.path.name for one in bad],
        "settings": asdict(config) | {"pairs": Path(config.pairs).name, "ct": None, "labels": None, "patients": None},
    }
    result["warnings"] = [*found.remarks, *_warnings(result), *found.doubts]
    return result


def _measured(
    found: MaskedImages, config: AlignmentConfig, progress: Callable[[int, int], None] | None
) -> tuple[list[Aligned], list[str], list[Bad]]:
    """What is measured of every pair, the stems of masks without a border, and what cannot be used."""
    groups = dict(zip((image for image, _ in found.pairs), found.groups, strict=True))
    pairs, bad = check_pairs(found.pairs, skip_bad=config.skip_bad)
    measured, unscored, unread = [], [], []
    for number, (image, masks) in enumerate(pairs, start=1):
        try:
            values, inside = read_masked_image(image, masks)
        except DataError as error:
            if len(pairs) == 1:
                raise
            unread.append(Bad(image, str(error)))
            continue
        if inside.any() and not inside.all():
            measured.append(_aligned(image, groups[image], values, inside, config))
        else:
            unscored.append(image.stem)
        if progress is not None:
            progress(number, len(pairs))
    settle(unread, len(pairs), what="pairs", skip_bad=config.skip_bad)
    return measured, unscored, bad + unread


def _aligned(image: Path, group: str, values: np.ndarray, inside: np.ndarray, config: AlignmentConfig) -> Aligned:
    small, mask, factor = shrunk(values, inside, config.side)
    edges = edges_of(small, config.reach_px)
    probes = probed(edges, mask, config.probe_px) if config.probe_px else {}
    return Aligned(image, group, factor, maps_of(edges, mask), probes)


def summarised(measured: Sequence[Aligned], inside: str, config: AlignmentConfig) -> dict[str, Any]:
    """The scores of a set, and of each of its pairs.

    Args:
        measured: at least one.
        inside:   `dark` or `bright`.
        config:   seed and count of the draws.
    """
    common = common_shift([one.maps for one in measured], inside=inside)
    about = common if config.about == "set" else (0.0, 0.0)

    def fit(maps: np.ndarray) -> Fit:
        return fit_of(maps, inside=inside, tolerance=config.tolerance_px, about=about)

    chosen, groups = [fit(one.maps) for one in measured], [one.group for one in measured]
    shifts = {"dx": [one.dx for one in chosen], "dy": [one.dy for one in chosen]}
    factors = [one.factor for one in measured]

    def mean(values: Sequence[float]) -> dict[str, Any]:
        drawn = torch.Generator().manual_seed(config.seed)
        return mean_score(values, generator=drawn, groups=groups, n_resamples=config.n_resamples).to_dict()

    return {
        "kind": "alignment",
        "alignment": mean([one.score for one in chosen]),
        "agreement": mean([one.agreement for one in chosen]),
        **{key: _median(np.multiply(values, factors), groups, config) for key, values in shifts.items()},
        "mirrored": mean([float(one.is_mirrored) for one in chosen]),
        "inside": inside,
        "about": list(about),
        "separation": separation(
            [one.score for one in chosen],
            [one.probes for one in measured],
            groups,
            config,
            score_of=lambda maps: fit(maps).score,
        ),
        "per_image": {one.image.stem: told(its, one.factor) for one, its in zip(measured, chosen, strict=True)},
        "n_groups": len(set(groups)),
    }


def told(fit: Fit, factor: float) -> dict[str, Any]:
    """A pair's fit as JSON values, shifts in pixels of the file.

    Args:
        fit:    in compared pixels.
        factor: pixels of the file that one of these is, >= 1.
    """
    numbers = {"score": fit.score, "agreement": fit.agreement, "dx": fit.dx * factor, "dy": fit.dy * factor}
    return {**{name: round(value, 4) for name, value in numbers.items()}, "mirrored": fit.is_mirrored}


def _median(values: np.ndarray, groups: Sequence[str], config: AlignmentConfig) -> dict[str, Any]:
    draws = resamples(groups, config.n_resamples, generator=torch.Generator().manual_seed(config.seed))
    interval = percentile_interval([float(np.median(values[rows.numpy()])) for rows in draws])
    return Score(float(np.median(values)), interval, len(values)).to_dict()


def _warnings(result: dict[str, Any]) -> list[str]:
    found = []
    dx, dy, n = result["dx"]["value"], result["dy"]["value"], result["alignment"]["n"]
    if np.hypot(dx, dy) > TELLING_PX and n > 1:
        found.append(
            f"the masks lie off in common: half of them would fit better {dx:+.1f} columns and {dy:+.1f} rows from "
            "where they are; were images and masks resized or cropped alike?"
        )
    if result["mirrored"]["value"] > 0.5:
        found.append("most masks fit better mirrored: images or masks are flipped left to right")
    if result["unscored"]:
        found.append(f"{len(result['unscored'])} masks are empty or full and have no border to score")
    if result["n_groups"] == 1:
        found.append("all pairs are of one CT or image: the intervals say nothing of others")
    return found
