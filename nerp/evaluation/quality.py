"""Pairs looked through: which cannot be what they should be, and why."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np
import torch

from nerp.data.checking import Bad, settle
from nerp.data.chosen_pairs import check_target, write_chosen
from nerp.data.folders import Pairs
from nerp.data.masked_images import MaskedImages, find_masked_images, read_masked_image, shrunk
from nerp.data.records import MaskRecord, PairRecord
from nerp.errors import NerpError, UsageError
from nerp.evaluation.alignment import TELLING_PX
from nerp.evaluation.bootstrap import mean_score
from nerp.evaluation.borders import Fit, common_shift, edges_of, fit_of, fitting_side, maps_of
from nerp.evaluation.extractors import load_extractor
from nerp.evaluation.faults import MISALIGNED, Fault, faults_of
from nerp.evaluation.features import extract
from nerp.evaluation.outliers import FEWEST, neighbour_distances, outlier_limit
from nerp.evaluation.pair_settings import AlignmentConfig, QualityConfig
from nerp.evaluation.plausibility import image_measures, mask_measures

Progress: TypeAlias = Callable[[int, int], None]


@dataclass
class Seen:
    """What is found out about one pair.

    Args:
        image:    its file.
        measures: by name.
        maps:     (2, 2 R + 1, 2 R + 1) agreement of the mask at every shift, -1 to 1; none without a border.
        fit:      what they tell.
        faults:   what is wrong.
    """

    image: Path
    measures: dict[str, float] = field(default_factory=dict)
    maps: np.ndarray | None = None
    fit: Fit | None = None
    faults: list[Fault] = field(default_factory=list)


def evaluate_quality(config: QualityConfig, *, progress: Progress | None = None) -> dict[str, Any]:
    """Look through the pairs of a folder, and write those that are good where that is asked for.

    Args:
        config:   the folder, the limits, and where the good ones go.
        progress: called as progress(images done, images in all), of the features too.

    Returns:
        JSON-ready: `rejected`, the part of the pairs, with `value`, `ci95`, `n`; `n`, `n_rejected`; `pairs`, those that
        are rejected, each with `file_name` and `faults`, each with `check` and `reason`; `checks`, how many pairs fail
        each; `structure`, `inside`; `patients`, how many, and `patients_by`, what told them; `images_without_mask`,
        `masks_without_image`; `warnings`; `skipped`, files that cannot be read: they are rejected, too.

    Raises:
        UsageError: no folder.
        DataError: as `find_masked_images`, no file that can be read, or a place that cannot be written to.
    """
    if config.pairs is None:
        raise UsageError("no pairs to look through; give pairs=… a folder with images/ and masks/")
    if config.reject is not None:
        check_target(config.reject, config.pairs)
    naming = {"pattern": config.masks_pattern, "mask": config.mask_name}
    found = find_masked_images(config.pairs, **naming, index=config.patients)
    seen, bad = _looked_at(found, config, progress)
    inside, remarks = _fitted(seen, config)
    _judge(seen, found, config)
    remarks += _outliers(seen, config, progress)
    result = _told(seen, found, config, inside)
    if config.reject is not None:
        remarks += _write_kept(found, seen, result, config)
    return result | {
        "warnings": [*found.remarks, *_assumed(found, config), *remarks, *found.doubts],
        "skipped": [one.path.name for one in bad],
    }


def _write_kept(found: MaskedImages, seen: Sequence[Seen], result: dict[str, Any], config: QualityConfig) -> list[str]:
    """Write the good pairs, with a note on the others; a sentence where there are none."""
    good = {one.image for one in seen if not one.faults}
    kept: Pairs = [pair for pair in found.pairs if pair[0] in good]
    if not kept:
        return [f"no pair is good: nothing was written to {Path(str(config.reject)).name}"]
    by = {"structure": result["structure"], "inside": result["inside"], "mask_name": config.mask_name}
    by |= {"extractor": config.extractor, "limits": asdict(config.limits)}
    why = {"by": "nerp evaluate quality", "rejected": len(found.pairs) - len(kept), **by}
    rejected = {one["file_name"]: [fault["check"] for fault in one["faults"]] for one in result["pairs"]}
    source, records = str(config.pairs), found.records
    write_chosen(str(config.reject), kept, source=source, records=records, why=why, facts={"rejected": rejected})
    return []


def _looked_at(found: MaskedImages, config: QualityConfig, progress: Progress | None) -> tuple[list[Seen], list[Bad]]:
    """The measures of every pair, and what cannot be read."""
    seen, bad = [], []
    total = len(found.pairs) * (2 if config.extractor else 1)
    for number, (image, masks) in enumerate(found.pairs, start=1):
        try:
            seen.append(_measured(image, masks, _mask_of(found.records.get(image), config)))
        except NerpError as error:
            if len(found.pairs) == 1:
                raise
            bad.append(Bad(image, str(error)))
            seen.append(Seen(image, faults=[{"check": "unreadable", "reason": str(error)}]))
        if progress is not None:
            progress(number, total)
    settle(bad, len(found.pairs), what="pairs", skip_bad=True)
    return seen, bad


def _mask_of(record: PairRecord | None, config: QualityConfig) -> MaskRecord | None:
    """What the record says of the mask that is looked at."""
    masks = [] if record is None else record.masks
    return next((one for one in masks if one.name == config.mask_name), masks[0] if masks else None)


def _measured(image: Path, masks: Sequence[Path], record: MaskRecord | None) -> Seen:
    values, inside = read_masked_image(image, masks)
    measures = {**image_measures(values), **mask_measures(inside)}
    if record is not None and record.outside_fraction is not None:
        measures["outside"] = record.outside_fraction
    if inside.all() or not inside.any():
        return Seen(image, measures)
    small, mask, _ = shrunk(values, inside, AlignmentConfig.side)
    edges = edges_of(small, AlignmentConfig.reach_px)
    return Seen(image, measures, maps_of(edges, mask))


def _fitted(seen: Sequence[Seen], config: QualityConfig) -> tuple[str, list[str]]:
    """Give every pair its fit; tells what the structures were taken for, and of a common shift."""
    maps = [one.maps for one in seen if one.maps is not None]
    inside = config.inside if config.inside != "auto" else fitting_side(maps)
    common = common_shift(maps, inside=inside) if len(maps) > 1 else (0.0, 0.0)
    distance = float(np.hypot(*common))
    about = common if distance <= config.limits.common_most else (0.0, 0.0)
    for one in seen:
        if one.maps is not None:
            one.fit = fit_of(one.maps, inside=inside, tolerance=AlignmentConfig.tolerance_px, about=about)
            one.measures["alignment"] = one.fit.score
    done = "left out of account" if about == common else "held against them"
    told = f"the masks lie off in common, by {common[0]:+.1f} columns and {common[1]:+.1f} rows: {done}"
    return inside, [told] if distance > TELLING_PX else []


def _judge(seen: Sequence[Seen], found: MaskedImages, config: QualityConfig) -> None:
    """Give every pair its faults."""
    for one in seen:
        record = found.records.get(one.image)
        frontal = record is None or record.view in ("pa", "ap")
        lungs = shows_lungs(record, config)
        one.faults += faults_of(one.measures, config.limits, lungs=lungs, frontal=frontal) if one.measures else []
        if one.fit is not None and one.fit.is_mirrored and any(fault["check"] == MISALIGNED for fault in one.faults):
            one.faults.append({"check": "mirrored mask", "reason": "the mask fits better flipped left to right"})


def shows_lungs(record: PairRecord | None, config: QualityConfig) -> bool:
    """Whether a pair's mask is judged as lungs.

    Args:
        record: of the pair, where there is one.
        config: what is stated, and the mask's name.
    """
    if config.structure != "auto":
        return config.structure == "lungs"
    mask = _mask_of(record, config)
    if record is None or mask is None:
        return config.mask_name is None or "lung" in config.mask_name.lower()
    names = [record.label_names.get(str(value), "").lower() for value in mask.labels]
    is_part = bool(set(mask.lung_labels) - set(mask.labels))
    return not is_part and (mask.rule_reason.startswith("lungs") or all("lung" in name for name in names))


def _outliers(seen: Sequence[Seen], config: QualityConfig, progress: Progress | None) -> list[str]:
    """Give images that are unlike all others their fault; a sentence where that cannot be told."""
    if config.extractor is None:
        return []
    known = [one for one in seen if one.measures]
    if len(known) < FEWEST:
        return [f"outliers in feature space were not sought: {len(known)} images, expected {FEWEST} or more"]
    extractor = load_extractor(config.extractor, weights=config.weights, device=config.device)
    offset = len(seen)

    def tick(done: int, total: int) -> None:
        if progress is not None:
            progress(offset + done, offset + total)

    features, _ = extract(extractor, [one.image for one in known], progress=tick)
    distances = neighbour_distances(features)
    limit = outlier_limit(distances, config.limits.false_alarms)
    for one, distance in zip(known, distances.tolist(), strict=True):
        if distance > limit:
            reason = f"its features lie {distance / limit:.2f} times the limit from those of other images"
            one.faults.append({"check": "outlier", "reason": reason})
    return []


def _told(seen: Sequence[Seen], found: MaskedImages, config: QualityConfig, inside: str) -> dict[str, Any]:
    rejected = [one for one in seen if one.faults]
    checks = Counter(name for one in rejected for name in {fault["check"] for fault in one.faults})
    drawn = torch.Generator().manual_seed(config.seed)
    values = [float(bool(one.faults)) for one in seen]
    score = mean_score(values, generator=drawn, groups=found.groups, n_resamples=config.n_resamples)
    source = Path(str(config.pairs))
    return {
        "kind": "quality",
        "rejected": score.to_dict(),
        "n": len(seen),
        "n_rejected": len(rejected),
        "pairs": [{"file_name": _name(one.image, source), "faults": one.faults} for one in rejected],
        "checks": dict(sorted(checks.items())),
        "structure": _structures(found, config),
        "inside": inside,
        **found.counted,
        "images_without_mask": found.images_without_mask,
        "masks_without_image": found.masks_without_image,
        "settings": asdict(config) | {"pairs": source.name, "reject": None, "weights": None, "patients": None},
    }


def _name(path: Path, source: Path) -> str:
    return path.relative_to(source).as_posix() if path.is_relative_to(source) else path.name


def _structures(found: MaskedImages, config: QualityConfig) -> str:
    kinds = {shows_lungs(found.records.get(image), config) for image, _ in found.pairs}
    return " and ".join(name for name, is_lungs in (("lungs", True), ("other", False)) if is_lungs in kinds)


def _assumed(found: MaskedImages, config: QualityConfig) -> list[str]:
    if config.structure != "auto" or found.records or config.mask_name is not None:
        return []
    return ["no record says what the masks show: they are judged as lungs; say structure=other if they are not"]
