"""What a pair is measured by to tell whether it can be one: grey values of the image, areas and parts of the mask."""

from __future__ import annotations

import numpy as np

END = 1.5 / 255
"""Grey values so near to black or to white count as it: the last two steps of 8 bits."""
LEVELS = 256
SIDES = 2


def image_measures(image: np.ndarray) -> dict[str, float]:
    """What the grey values of an image tell.

    Args:
        image: (H, W) in 0..1.

    Returns:
        `black` and `white`, the parts of the pixels at either end of the scale, 0 to 1; `spread`, from the 1st to the
        99th percentile, 0 to 1; `entropy` of the grey values in 256 steps, 0 to 8 bits.

    Source: H = -Σ p log2(p), Shannon 1948.
    """
    low, high = np.quantile(image, [0.01, 0.99])
    counts = np.histogram(image, bins=LEVELS, range=(0.0, 1.0))[0]
    parts = counts[counts > 0] / image.size
    return {
        "black": float((image <= END).mean()),
        "white": float((image >= 1 - END).mean()),
        "spread": float(high - low),
        "entropy": float(-(parts * np.log2(parts)).sum()) + 0.0,
    }


def mask_measures(mask: np.ndarray) -> dict[str, float]:
    """What the shape of a mask tells.

    Args:
        mask: (H, W) bool.

    Returns:
        `area`, as a part of the image, 0 to 1; `parts`, the connected ones; `crumbs`, the area of all parts but the two
        largest, as a part of the mask; `balance`, the smaller side's area by the larger's, 0 to 1; `width`, of the box
        around the two largest parts, as a part of the image's, or `lone_width` where there is only one part; `cut`, the
        part of the mask's border that lies on the image's, 0 to 1. Of an empty mask `area` alone.
    """
    area = float(mask.mean())
    if not mask.any():
        return {"area": area}
    largest, crumbs, parts = _largest_parts(mask)
    columns = np.flatnonzero(largest.any(0))
    return {
        "area": area,
        "parts": float(parts),
        "crumbs": crumbs,
        "balance": _balance(largest),
        "width" if parts > 1 else "lone_width": float(columns[-1] - columns[0] + 1) / mask.shape[1],
        "cut": _cut(mask),
    }


def _largest_parts(mask: np.ndarray) -> tuple[np.ndarray, float, int]:
    """The two largest connected parts, the rest as a part of the mask, and how many parts there are."""
    from scipy.ndimage import label

    numbered, count = label(mask)
    sizes = np.bincount(numbered.ravel(), minlength=count + 1)[1:]
    order = np.argsort(sizes)[::-1][:SIDES] + 1
    return np.isin(numbered, order), 1.0 - float(sizes[order - 1].sum()) / int(mask.sum()), count


def _balance(mask: np.ndarray) -> float:
    """The smaller part's area by the larger's; of a single part, of its halves left and right of its box's middle."""
    from scipy.ndimage import label

    numbered, count = label(mask)
    if count > 1:
        sizes = np.bincount(numbered.ravel())[1:]
        return float(sizes.min() / sizes.max())
    columns = np.flatnonzero(mask.any(0))
    middle = (columns[0] + columns[-1] + 1) // 2
    left, right = int(mask[:, :middle].sum()), int(mask[:, middle:].sum())
    return float(min(left, right) / max(left, right))


def _cut(mask: np.ndarray) -> float:
    """The part of the mask's border that lies on the image's, by counts of pixels' sides."""
    on_frame = sum(int(line.sum()) for line in (mask[0], mask[-1], mask[:, 0], mask[:, -1]))
    inner = sum(int((np.diff(mask.astype(np.int8), axis=axis) != 0).sum()) for axis in (0, 1))
    return on_frame / (on_frame + inner)
