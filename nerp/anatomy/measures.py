"""What the labels of a CT measure: volumes of the lungs, width of heart and chest, bend of the spine, the carina."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import torch

from nerp.anatomy.carina import bronchial_angle
from nerp.label_names import superclass_labels
from nerp.volume import Volume

CUT_MM2 = 100.0
"""More of a structure than this on a face of the grid is a structure that the CT cuts off."""
SLAB_MM = 5.0
"""Height of the slabs whose middles make the spine's curve."""
TILT_MM = 25.0
"""The spine's tilt at a height is that of the line through its middles so far above and below: a vertebra each."""
MIDDLE_MM = 12.5
"""The spine's middle at a height is that of the same line, through the middles so far above and below."""
LEAST_SPINE_MM = 100.0
MOST_FRACTION = 0.5
"""A slab with less than this part of the usual number of voxels is none: the first and last are cut."""


@dataclass(frozen=True)
class Measure:
    """A number that labels tell, or why they do not.

    Args:
        value:  in the unit that its name ends in; None where the labels do not tell it.
        reason: why there is none; empty where there is a value.
    """

    value: float | None
    reason: str = ""

    @classmethod
    def none(cls, reason: str) -> Measure:
        """No value, for a reason."""
        return cls(None, reason)


def measure_volume(labels: Volume, names: Mapping[int, str]) -> dict[str, Measure]:
    """What a CT's labels measure in three dimensions.

    * `lung_volume_ml`, `lung_volume_left_ml`, `lung_volume_right_ml`: voxels of the lungs' labels times a voxel's
      volume, as `lung_volumes` says.
    * `cardiothoracic_ratio_3d`: see `axial_ratio`.
    * `spine_angle_deg`, `spine_deviation_mm`: see `spine_curve`.
    * `carina_angle_deg`: see `bronchial_angle`.

    Args:
        labels: `(M, D, H, W)` in 'label'.
        names:  of the label values.
    """
    angle, deviation = spine_curve(labels, superclass_labels(names, "spine"))
    return {
        **lung_volumes(labels, names),
        "cardiothoracic_ratio_3d": axial_ratio(labels, names),
        "spine_angle_deg": angle,
        "spine_deviation_mm": deviation,
        "carina_angle_deg": _carina(labels, names),
    }


def lung_volumes(labels: Volume, names: Mapping[int, str]) -> dict[str, Measure]:
    """Volumes of both lungs, of the left and of the right, ml.

    What has a label of its own, such as a vessel or a consolidation, is not counted. There is none of a lung that the
    CT cuts off, by more than `CUT_MM2` on a face of its grid, and none of a side that no label tells.

    Args:
        labels: `(M, D, H, W)` in 'label'.
        names:  of the label values.
    """
    voxel_ml = float(labels.affine[:3, :3].det().abs()) / 1000.0
    found = {}
    for superclass, key in (("lungs", ""), ("lung_left", "_left"), ("lung_right", "_right")):
        chosen = voxels_of(labels, superclass_labels(names, superclass))
        reason = whole_reason(labels, chosen, "lung" if key else "lungs", side=key[1:])
        value = None if reason else float(chosen.sum()) * voxel_ml
        found[f"lung_volume{key}_ml"] = Measure(value, reason)
    return found


def whole_reason(labels: Volume, chosen: np.ndarray, what: str, *, side: str = "") -> str:
    """Why a structure cannot be measured as a whole; empty where it can.

    Args:
        labels: whose grid it lies on.
        chosen: (D, H, W) bool, its voxels.
        what:   it is called.
        side:   `left` or `right`, where it has one.
    """
    called = f"{side} {what}".strip()
    if not chosen.any():
        return f"no label is a {called}" if side else f"no label is of the {called}"
    return f"the CT cuts the {called} off" if cut_mm2(labels, chosen) > CUT_MM2 else ""


def cut_mm2(labels: Volume, chosen: np.ndarray) -> float:
    """The largest area of a structure on one face of the grid, mm².

    Args:
        labels: whose grid it lies on.
        chosen: (D, H, W) bool.
    """
    spacing = labels.spacing_mm
    areas = []
    for axis in range(3):
        side = math.prod(spacing[:axis] + spacing[axis + 1 :])
        areas += [float(np.take(chosen, end, axis=axis).sum()) * side for end in (0, -1)]
    return max(areas)


def voxels_of(labels: Volume, values: Sequence[int]) -> np.ndarray:
    """(D, H, W) bool: voxels that have one of some label values in any map.

    Args:
        labels: `(M, D, H, W)` in 'label'.
        values: of the structure.
    """
    chosen = np.zeros(max(values, default=0) + 2, bool)
    chosen[list(values)] = True
    found = np.zeros(labels.shape, bool)
    for one in labels.values.cpu().numpy():
        for number, plane in enumerate(one):  # whole numbers of all planes at once would take several times the memory
            found[number] |= chosen[np.minimum(plane, len(chosen) - 1).astype(np.int32)]
    return found


def places_mm(labels: Volume, chosen: np.ndarray) -> np.ndarray:
    """(N, 3) world mm of the voxels of a structure.

    Args:
        labels: whose grid it lies on.
        chosen: (D, H, W) bool.
    """
    return labels.to_world(torch.from_numpy(np.argwhere(chosen)).double()).numpy()


def axial_ratio(labels: Volume, names: Mapping[int, str]) -> Measure:
    """Cardiothoracic ratio of the CT: greatest transverse width of the heart by the greatest inner width of the chest.

    Each is the greatest left-to-right extent in one slab of a voxel's height, from voxel face to voxel face; that of
    the chest is the lungs', and of what takes their place, from the one's outer border to the other's, which is the
    inner chest wall. It has none of a film's magnification, which is larger for what lies nearer to the source.

    Args:
        labels: `(M, D, H, W)` in 'label'; the patient's left to right is world x.
        names:  of the label values.

    Source: Gollub et al. 2012, J Comput Assist Tomogr 36:67: greatest transverse cardiac diameter, outer to outer
    myocardium, by greatest transverse thoracic diameter, inner to inner chest wall, on axial images.
    """
    heart, lungs, findings = (
        voxels_of(labels, superclass_labels(names, superclass)) for superclass in ("heart", "lungs", "findings")
    )
    reason = whole_reason(labels, heart, "heart") or whole_reason(labels, lungs, "lungs") or _one_sided(labels, names)
    if reason:
        return Measure.none(reason)
    return Measure(_greatest_width_mm(labels, heart) / _greatest_width_mm(labels, lungs | findings))


def _one_sided(labels: Volume, names: Mapping[int, str]) -> str:
    """Why a chest's width is not told: the labels tell of one lung alone."""
    there = {side: voxels_of(labels, superclass_labels(names, f"lung_{side}")).any() for side in ("left", "right")}
    missing = [side for side, found in there.items() if not found]
    return f"no label is a {missing[0]} lung" if len(missing) == 1 else ""


def _greatest_width_mm(labels: Volume, chosen: np.ndarray) -> float:
    """Greatest extent along world x within a slab of a voxel's height."""
    points = places_mm(labels, chosen)
    height, width = (float(labels.affine[axis, :3].abs().max()) for axis in (2, 0))
    slabs = np.round((points[:, 2] - points[:, 2].min()) / height).astype(int)
    low, high = (np.full(slabs.max() + 1, sign * np.inf) for sign in (1, -1))
    np.minimum.at(low, slabs, points[:, 0])
    np.maximum.at(high, slabs, points[:, 0])
    return float((high - low).max()) + width


def spine_curve(labels: Volume, spine: Sequence[int]) -> tuple[Measure, Measure]:
    """How far the spine bends sideways: an angle, degrees, and the greatest deviation, mm.

    The curve is that of the middles of its voxels in slabs of `SLAB_MM`, seen from the front. Its tilt at a height is
    that of the line fitted to the middles within `TILT_MM` above and below, as far as both are there; the angle is
    between the two most different tilts, as Cobb's is between the end plates of the two most tilted vertebrae. The
    deviation is the greatest distance from the straight line between the curve's ends. Lying obliquely changes neither.
    What the CT does not show of the spine is not in it.

    Args:
        labels: `(M, D, H, W)` in 'label'; left to right is world x, up is world z.
        spine:  label values of vertebrae, discs, or the whole spine.

    Source: Cobb 1948, AAOS Instructional Course Lectures 5:261; of a curve through vertebral middles in place of end
    plates, Stokes 1994, Spine 19:236 (analytic Cobb angle).
    """
    points = places_mm(labels, voxels_of(labels, spine))
    if not len(points):
        return Measure.none("no label is of the spine"), Measure.none("no label is of the spine")
    heights, aside = _middles(points, max(SLAB_MM, float(labels.affine[2, :3].abs().max())))
    if len(heights) < 3 or heights[-1] - heights[0] < LEAST_SPINE_MM:
        short = Measure.none(f"less than {LEAST_SPINE_MM:g} mm of spine is labelled")
        return short, short
    within = heights[(heights - heights[0] >= TILT_MM) & (heights[-1] - heights >= TILT_MM)]
    tilts = [math.atan(_line(heights, aside, height, TILT_MM)[1]) for height in within]
    smooth = np.array([_line(heights, aside, height, MIDDLE_MM)[0] for height in heights])
    chord = np.interp(heights, heights[[0, -1]], smooth[[0, -1]])
    steep = math.atan2(smooth[-1] - smooth[0], heights[-1] - heights[0])
    deviation = float(np.abs(smooth - chord).max()) * math.cos(steep)
    return Measure(math.degrees(max(tilts) - min(tilts))), Measure(deviation)


def _middles(points: np.ndarray, slab_mm: float) -> tuple[np.ndarray, np.ndarray]:
    """z and x of the middles of slabs, ascending; slabs with few voxels are left out."""
    slabs = np.floor((points[:, 2] - points[:, 2].min()) / slab_mm).astype(int)
    counts = np.bincount(slabs)
    kept = counts >= MOST_FRACTION * np.median(counts[counts > 0])
    z, x = (np.bincount(slabs, weights=points[:, axis])[kept] / counts[kept] for axis in (2, 0))
    return z, x


def _line(heights: np.ndarray, aside: np.ndarray, height: float, reach_mm: float) -> tuple[float, float]:
    """The line fitted to the middles about a height: its place there, mm, and how far it goes aside per height."""
    near = np.abs(heights - height) <= reach_mm
    z, x = heights[near], aside[near]
    spread = float(((z - z.mean()) ** 2).sum())
    slope = float(((z - z.mean()) * (x - x.mean())).sum()) / spread if spread else 0.0
    return float(x.mean()) + slope * (height - float(z.mean())), slope


def _carina(labels: Volume, names: Mapping[int, str]) -> Measure:
    """The angle by the windpipe's own label where that divides, else by all airways'."""
    found = Measure.none("no label is of the airways")
    for superclass in ("trachea", "airways"):
        values = superclass_labels(names, superclass)
        if values and found.value is None:
            angle, reason = bronchial_angle(labels, voxels_of(labels, values))
            found = Measure(angle, reason)
    return found
