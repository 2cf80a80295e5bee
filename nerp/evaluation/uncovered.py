"""How much of the lungs' volume the masks leave out: what people's outlines do, and what a rule of masks does."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, TypeAlias

import torch
from torch import Tensor

from nerp.camera import Camera
from nerp.data.images import read_mask
from nerp.data.masked_images import MaskedImages
from nerp.data.records import MaskRecord, PairRecord
from nerp.evaluation.bootstrap import mean_score
from nerp.evaluation.pair_settings import AlignmentConfig
from nerp.label_maps import LabelMap
from nerp.volume import Volume

FindLabels: TypeAlias = Callable[[PairRecord], LabelMap]
"""Finds the labels that a record names."""

RADIOLOGISTS = {"lungs": 0.273, "right": 0.228, "left": 0.329}
"""Part of healthy lungs' volume that radiologists' outlines on line integrals leave out. Source: arXiv 2402.11510."""
MOST_POINTS = 200_000
"""Voxels that stand for all of a structure's, evenly chosen."""


def uncovered_scores(found: MaskedImages, config: AlignmentConfig, find_labels: FindLabels | None) -> dict[str, Any]:
    """The part of the lungs' volume that lies outside the masks, over the pairs whose records tell lungs.

    Args:
        found:       the pairs.
        config:      the mask's name, seed and count of the draws.
        find_labels: the labels that a record names.

    Returns:
        `lungs`, and `right` and `left` where names tell them, each with `value`, 0 to 1, `ci95`, `n`; `radiologists`;
        `per_image`. Where nothing can be told: `value` null and the `reason`.
    """
    reason = _reason(found, find_labels)
    if reason or find_labels is None:
        return {"value": None, "reason": reason}
    rows: dict[str, dict[str, float]] = {}
    groups = []
    for image, masks in found.pairs:
        record = found.records.get(image)
        lungs = None if record is None else _lungs_of(record, config.mask_name)
        if record is None or not lungs:
            continue
        parts = uncovered_parts(record, find_labels(record), lungs, read_mask(list(masks))[0, 0] > 0)
        rows[image.stem] = parts
        groups.append(record.ct_sha256)
    return {**_means(rows, groups, config), "radiologists": RADIOLOGISTS, "per_image": rows}


def _reason(found: MaskedImages, find_labels: FindLabels | None) -> str:
    if find_labels is None:
        return "no CT and labels are given (--ct, --labels)"
    if not found.records:
        return "no records tell which CT and labels the pairs are of"
    if not any(_lungs_of(record) for record in found.records.values()):
        return "no record's mask is of lungs"
    return ""


def _lungs_of(record: PairRecord, mask_name: str | None = None) -> list[int]:
    """Label values of the lungs, where a mask shows all of them; else none."""
    masks = [one for one in record.masks if mask_name is None or one.name in ("", mask_name)]
    return list(masks[0].labels) if masks and _shows_lungs(masks[0], record) else []


def _shows_lungs(mask: MaskRecord, record: PairRecord) -> bool:
    names = [record.label_names.get(str(value), "") for value in mask.labels]
    by_name = all(name.lower().startswith(("lung", "left lung", "right lung")) for name in names)
    return not mask.lung_labels and (mask.rule_reason.startswith("lungs") or by_name)


def uncovered_parts(record: PairRecord, labels: LabelMap, lungs: Sequence[int], mask: Tensor) -> dict[str, float]:
    """What a mask leaves out of the lungs, and of the right and the left one where names tell them.

    Args:
        record: with the camera.
        labels: of its CT, (M, D, H, W).
        lungs:  label values.
        mask:   (H, W) bool.

    Returns:
        0 to 1 for `lungs`, `right`, `left`; what no voxel has is left out.
    """
    names = {value: record.label_names.get(str(value)) or labels.names.get(value, "") for value in lungs}
    sides = {side: [value for value, name in names.items() if side in name.lower()] for side in ("right", "left")}
    camera = record.make_camera()
    found = {
        name: uncovered_fraction(labels.volume, values, camera, mask)
        for name, values in {"lungs": list(lungs), **sides}.items()
        if values
    }
    return {name: value for name, value in found.items() if value is not None}


def uncovered_fraction(labels: Volume, chosen: Sequence[int], camera: Camera, mask: Tensor) -> float | None:
    """The part of a structure's volume whose rays do not meet the detector inside a mask.

    Every voxel counts by its centre; each stands for the same volume, wherever between source and detector it lies.

    Args:
        labels: (M, D, H, W) in `label`.
        chosen: label values.
        camera: a batch of one.
        mask:   (H, W) bool, of the camera's shape.

    Returns:
        0 to 1; None where no voxel has the labels.
    """
    values = labels.values.cpu()
    index = torch.isin(values, torch.tensor(list(chosen), dtype=values.dtype, device="cpu")).any(dim=0).nonzero()
    index = index[:: max(1, len(index) // MOST_POINTS)].double()
    if not len(index):
        return None
    rows, columns = detector_pixels(labels.to_world(index), camera).round().long().unbind(1)
    inside = (rows >= 0) & (rows < mask.shape[0]) & (columns >= 0) & (columns < mask.shape[1])
    covered = mask[rows[inside], columns[inside]]
    return 1.0 - float(covered.sum()) / len(index)


def detector_pixels(points: Tensor, camera: Camera) -> Tensor:
    """Where the rays through some points meet the detector's plane.

    Args:
        points: (N, 3) world mm.
        camera: a batch of one.

    Returns:
        (N, 2) row and column, pixels, fractions too; 0 is the first pixel's centre.
    """
    right, down, centre = camera.image_right[0], camera.image_down[0], camera.detector_centre[0]
    normal, rays = torch.linalg.cross(right, down), points - camera.source[0]
    reached = camera.source[0] + rays * ((centre - camera.source[0]) @ normal / (rays @ normal))[:, None] - centre
    across = torch.stack([reached @ down, reached @ right], dim=1) / camera.pixel_mm[0]
    middle = torch.tensor([(size - 1) / 2 for size in camera.shape], dtype=across.dtype, device=across.device)
    return across + middle


def _means(rows: dict[str, dict[str, float]], groups: Sequence[str], config: AlignmentConfig) -> dict[str, Any]:
    made = {}
    for name in ("lungs", "right", "left"):
        told = [(row[name], group) for row, group in zip(rows.values(), groups, strict=True) if name in row]
        if not told:
            continue
        values, whose = zip(*told, strict=True)
        drawn = torch.Generator().manual_seed(config.seed)
        score = mean_score(values, generator=drawn, groups=whose, n_resamples=config.n_resamples)
        made[name] = score.to_dict()
    return made
