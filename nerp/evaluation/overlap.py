"""How well two masks agree: Dice, Jaccard, and the distances between their outlines.

Empty masks have no outline, so their scores are conventions, the same everywhere:

* both masks empty: they agree; Dice and Jaccard are 1, HD, HD95 and ASD are 0.
* one mask empty: they share nothing; Dice and Jaccard are 0, HD, HD95 and ASD are the image's diagonal, the
  largest distance that the image can hold. A missed organ so costs a finite, stated amount in every mean.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from nerp.errors import EvaluationError

METRICS = ("dice", "jaccard", "hd", "hd95", "asd")
DISTANCES = ("hd", "hd95", "asd")


def overlap(
    predicted: np.ndarray, target: np.ndarray, *, spacing: tuple[float, float] = (1.0, 1.0)
) -> dict[str, float]:
    """All scores of one image.

    Args:
        predicted: (H, W) mask; non-zero is inside.
        target:    (H, W) mask; non-zero is inside.
        spacing:   distance between (rows, columns): (1, 1) gives distances in pixels, millimetres give them in mm.

    Returns:
        `dice` and `jaccard` in 0..1, `hd`, `hd95` and `asd` in the unit of `spacing`.

    Raises:
        EvaluationError: the masks are not two (H, W) of one shape, or the spacing is not two positive numbers.
    """
    predicted, target = _as_masks(predicted, target, spacing)
    there, back = outline_distances(predicted, target, spacing=spacing)
    return {
        "dice": dice(predicted, target),
        "jaccard": jaccard(predicted, target),
        "hd": hausdorff(there, back),
        "hd95": hd95(there, back),
        "asd": asd(there, back),
    }


def dice(predicted: np.ndarray, target: np.ndarray) -> float:
    """2 |A and B| / (|A| + |B|) of two masks, 0 to 1; 1 where both are empty.

    Args:
        predicted, target: (H, W) bool.

    Source: Dice 1945.
    """
    total = int(predicted.sum()) + int(target.sum())
    return 2.0 * int((predicted & target).sum()) / total if total else 1.0


def jaccard(predicted: np.ndarray, target: np.ndarray) -> float:
    """|A and B| / |A or B| of two masks, 0 to 1; 1 where both are empty.

    Args:
        predicted, target: (H, W) bool.

    Source: Jaccard 1912.
    """
    union = int((predicted | target).sum())
    return int((predicted & target).sum()) / union if union else 1.0


def outline_distances(
    predicted: np.ndarray, target: np.ndarray, *, spacing: tuple[float, float]
) -> tuple[np.ndarray, np.ndarray]:
    """From each outline pixel of one mask to the nearest outline pixel of the other, both ways.

    The outline is every mask pixel with a side neighbour outside the mask; outside the image counts as outside.

    Args:
        predicted: (H, W) bool.
        target:    (H, W) bool.
        spacing:   distance between (rows, columns).

    Returns:
        Two float64 vectors: predicted to target, and target to predicted. For empty masks see the module.
    """
    from scipy.ndimage import distance_transform_edt

    if not predicted.any() or not target.any():
        agree = predicted.any() == target.any()
        farthest = np.zeros(1) if agree else np.array([np.hypot(*np.multiply(predicted.shape, spacing))])
        return farthest, farthest
    edge, edge_target = outline(predicted), outline(target)
    to_target = distance_transform_edt(~edge_target, sampling=spacing)
    to_predicted = distance_transform_edt(~edge, sampling=spacing)
    return to_target[edge], to_predicted[edge_target]


def outline(mask: np.ndarray) -> np.ndarray:
    """The pixels of a boolean (H, W) mask that touch, side to side, what is not mask."""
    from scipy.ndimage import binary_erosion

    return mask & ~binary_erosion(mask)


def hausdorff(there: np.ndarray, back: np.ndarray) -> float:
    """The largest outline distance, either way, in their unit: one stray pixel decides it.

    Args:
        there: (N,) from one outline to the other.
        back:  (M,) the other way.

    Source: Huttenlocher 1993.
    """
    return float(max(there.max(), back.max()))


def hd95(there: np.ndarray, back: np.ndarray) -> float:
    """The larger of the two directed 95th percentiles of the outline distances, in their unit.

    Args:
        there: (N,) from one outline to the other.
        back:  (M,) the other way.

    Source: Huttenlocher 1993.
    """
    return float(max(np.percentile(there, 95), np.percentile(back, 95)))


def asd(there: np.ndarray, back: np.ndarray) -> float:
    """The average symmetric surface distance: the mean over the pixels of both outlines, in the distances' unit.

    Args:
        there: (N,) from one outline to the other.
        back:  (M,) the other way.

    Source: Heimann 2009.
    """
    return float(np.concatenate([there, back]).mean())


def _as_masks(predicted: np.ndarray, target: np.ndarray, spacing: Sequence[float]) -> tuple[np.ndarray, np.ndarray]:
    predicted, target = np.asarray(predicted) != 0, np.asarray(target) != 0
    if predicted.ndim != 2 or predicted.shape != target.shape:
        found = f"{predicted.shape} and {target.shape}"
        raise EvaluationError(f"masks have shapes {found}; expected two equal (H, W): resize the prediction")
    if len(spacing) != 2 or not all(np.isfinite(s) and s > 0 for s in spacing):
        raise EvaluationError(f"spacing is {spacing}; expected two positive distances (between rows, between columns)")
    return predicted, target
