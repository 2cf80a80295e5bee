"""What labels measure on a film, and all that they measure of a CT and a camera as one flat dictionary."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor

from nerp.anatomy.measures import Measure, measure_volume, voxels_of, whole_reason
from nerp.camera import Camera, view_names
from nerp.label_names import superclass_labels
from nerp.projection.masks import MaskRule, Structure, project_masks
from nerp.volume import Volume

FRONTAL = ("pa", "ap")
SIDES = ("", "_left", "_right")


def measure(
    label_volume: Volume,
    names: Mapping[int, str],
    camera: Camera,
    *,
    lung_rule: MaskRule | None = None,
    backend: str = "auto",
) -> dict[str, float | str | None]:
    """All measures of a CT's labels and of one view of it.

    Those of `nerp.anatomy.measures.measure_volume`, and on the film:

    * `cardiothoracic_ratio`: see `cardiothoracic_ratio`.
    * `lung_area_mm2`, `lung_area_left_mm2`, `lung_area_right_mm2`: of the lungs' masks, in the isocentre's plane.

    Args:
        label_volume: `(M, D, H, W)` in 'label'.
        names:        of the label values, by any of the programs that `superclasses.csv` knows.
        camera:       a batch of one, with its isocentre.
        lung_rule:    of the lungs' masks; None takes `any`, their whole shadow.
        backend:      `auto`, `reference`, `cpu` or `cuda`.

    Returns:
        Each measure under its name, which ends in its unit, None where the labels do not tell it; and `not_measured`,
        the reasons, `name: reason` parted by `; `, or an empty text. The keys are always the same.
    """
    found = measure_volume(label_volume, names)
    found |= measure_film(label_volume, names, camera, lung_rule=lung_rule, backend=backend)
    reasons = "; ".join(f"{key}: {one.reason}" for key, one in found.items() if one.value is None)
    return {**{key: one.value for key, one in found.items()}, "not_measured": reasons}


def measure_film(
    label_volume: Volume,
    names: Mapping[int, str],
    camera: Camera,
    *,
    lung_rule: MaskRule | None = None,
    backend: str = "auto",
) -> dict[str, Measure]:
    """What labels measure on one film: cardiothoracic ratio and lung areas.

    Args:
        label_volume: `(M, D, H, W)` in 'label'.
        names:        of the label values.
        camera:       a batch of one.
        lung_rule:    of the lungs' masks; None takes `any`.
        backend:      `auto`, `reference`, `cpu` or `cuda`.
    """
    chosen = {key: superclass_labels(names, key) for key in ("heart", "lungs", "lung_left", "lung_right", "findings")}
    lungs, rule = chosen["lungs"], lung_rule or MaskRule("any")
    whole = lungs if rule.name == "visible" else ()
    shadows = {"heart": chosen["heart"], "chest": (*lungs, *chosen["findings"]) if lungs else ()}
    structures = {key: Structure(labels, MaskRule("any")) for key, labels in shadows.items()}
    structures |= {key: Structure(chosen[key], rule, whole) for key in ("lungs", "lung_left", "lung_right")}
    masks = _masks({key: one for key, one in structures.items() if one.labels}, label_volume, camera, backend)
    reasons = {key: _reason(label_volume, chosen[key], key) for key in ("heart", "lungs", "lung_left", "lung_right")}
    areas = {
        f"lung_area{side}_mm2": _area(masks, f"lung{side}" if side else "lungs", reasons, camera) for side in SIDES
    }
    if one_sided := _one_sided(reasons):
        reasons["lungs"] = reasons["lungs"] or one_sided
    return {"cardiothoracic_ratio": _ratio(masks, reasons, camera), **areas}


def cardiothoracic_ratio(heart: Tensor, chest: Tensor) -> float:
    """Greatest transverse width of the heart's shadow by the greatest inner width of the chest, both on a frontal film.

    The heart's width is from its outermost column on the one side to that on the other, at whatever heights, as the
    sum of its greatest distances to either side of the midline is; the chest's is the greatest in one row from the one
    lung's outer border to the other's, which is the ribs' inner border.

    Args:
        heart: (H, W) bool.
        chest: (H, W) bool, both lungs and what takes their place.

    Returns:
        Unitless; both masks hold something.

    Source: Danzer 1919, Am J Med Sci 157:513.
    """
    columns = heart.any(dim=0).nonzero()
    width = int(columns.max() - columns.min()) + 1
    rows = chest[chest.any(dim=1)].to(torch.uint8)
    inner = chest.shape[1] - rows.argmax(dim=1) - rows.flip(1).argmax(dim=1)
    return width / int(inner.max())


def isocentre_area_mm2(camera: Camera) -> float | None:
    """What a pixel covers in the plane through the isocentre parallel to the detector, mm²; None without an isocentre.

    Args:
        camera: a batch of one.
    """
    if camera.isocentre is None:
        return None
    normal = torch.linalg.cross(camera.image_right[0], camera.image_down[0])
    near, far = (float((place[0] - camera.source[0]) @ normal) for place in (camera.isocentre, camera.detector_centre))
    return float(camera.pixel_mm[0].prod()) * (near / far) ** 2


def _masks(
    structures: Mapping[str, Structure], label_volume: Volume, camera: Camera, backend: str
) -> dict[str, Tensor]:
    """(H, W) bool of each structure."""
    if not structures:
        return {}
    made, _ = project_masks(list(structures.values()), label_volume, camera, backend=backend)
    return dict(zip(structures, made[0].cpu(), strict=True))


def _reason(labels: Volume, values: tuple[int, ...], key: str) -> str:
    """Why a structure cannot be measured on a film, as far as the CT goes."""
    side, what = (key.partition("_")[2], "lung") if key.startswith("lung_") else ("", key)
    return whole_reason(labels, voxels_of(labels, values), what, side=side)


def _one_sided(reasons: Mapping[str, str]) -> str:
    """Why a chest's width is not told: labels of one lung alone."""
    missing = [side for side in ("left", "right") if reasons[f"lung_{side}"].startswith("no label")]
    return f"no label is a {missing[0]} lung" if len(missing) == 1 else ""


def _area(masks: Mapping[str, Tensor], key: str, reasons: Mapping[str, str], camera: Camera) -> Measure:
    reason = reasons[key] or (_touching(masks[key], "lung", sides=False) if key in masks else "")
    pixel_mm2 = isocentre_area_mm2(camera)
    if reason or pixel_mm2 is None:
        return Measure.none(reason or "the camera has no isocentre")
    return Measure(float(masks[key].sum()) * pixel_mm2)


def _ratio(masks: Mapping[str, Tensor], reasons: Mapping[str, str], camera: Camera) -> Measure:
    view = view_names(camera)[0]
    if view not in FRONTAL:
        return Measure.none(f"the view is {view}; expected pa or ap")
    reason = reasons["heart"] or reasons["lungs"]
    if not reason:
        reason = _touching(masks["heart"], "heart") or _touching(masks["chest"], "chest")
    if reason:
        return Measure.none(reason)
    return Measure(cardiothoracic_ratio(masks["heart"], masks["chest"]))


def _touching(mask: Tensor, what: str, *, sides: bool = True) -> str:
    """Why a shadow (H, W) cannot be measured: it is empty, or reaches the film's left or right edge, or any edge."""
    if not mask.any():
        return f"the film does not show the {what}"
    ends = [mask[:, [0, -1]], *([] if sides else [mask[[0, -1]]])]
    return f"the film cuts the {what} off" if any(bool(end.any()) for end in ends) else ""
