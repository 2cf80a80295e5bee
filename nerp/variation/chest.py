"""The few measures of a scanned chest that breath and findings go by."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch

from nerp.errors import DataError
from nerp.volume import Volume

SPINE_MM = 32.0
"""The vertebrae's middle lies so far before the lungs' hindmost part."""
MOST_POINTS = 400_000


@dataclass(frozen=True)
class ScannedChest:
    """Measures of a chest, world mm.

    Args:
        low, high: (3,) box of both lungs.
        midline:   x between the lungs.
        spine:     y of the vertebrae's middle.
        dome:      z of the diaphragm's domes.
        floor:     z of the CT's lowest voxels.
    """

    low: tuple[float, float, float]
    high: tuple[float, float, float]
    midline: float
    spine: float
    dome: float
    floor: float

    @property
    def middle(self) -> tuple[float, float, float]:
        """Of the lungs' box."""
        x, y, z = ((a + b) / 2 for a, b in zip(self.low, self.high, strict=True))
        return x, y, z


def measure_chest(lungs: Volume) -> ScannedChest:
    """Measure a chest by its lungs.

    Args:
        lungs: `(1, D, H, W)` in 'label', more than 0 in either lung.

    Raises:
        DataError: there is none.
    """
    index = (lungs.values[0].cpu() > 0).nonzero()
    if not len(index):
        raise DataError("the labels hold no lung to vary the CT by; give labels of lungs (--labels, --label-names)")
    points = lungs.to_world(index[:: max(1, len(index) // MOST_POINTS)].double()).numpy()
    low, high = np.quantile(points, 0.001, axis=0), np.quantile(points, 0.999, axis=0)
    floor = float(lungs.corners_mm()[:, 2].min())
    midline = float((low[0] + high[0]) / 2)
    return ScannedChest(_triple(low), _triple(high), midline, float(low[1]) + SPINE_MM, _dome(points, low, high), floor)


def _triple(numbers: np.ndarray) -> tuple[float, float, float]:
    x, y, z = numbers.tolist()
    return x, y, z


def _dome(points: np.ndarray, low: np.ndarray, high: np.ndarray) -> float:
    """z that three quarters of the columns of lung reach down to, of those that end in the lower half."""
    cells = np.floor((points[:, :2] - low[:2]) / 8.0).astype(int).clip(0)
    _, column = np.unique(cells, axis=0, return_inverse=True)
    lowest = np.full(int(column.max()) + 1, np.inf)
    np.minimum.at(lowest, column.ravel(), points[:, 2])
    below = lowest[lowest < (low[2] + high[2]) / 2]
    return float(np.quantile(below, 0.75)) if len(below) else float(low[2])


def lungs_of(labels: Volume, values: tuple[int, ...]) -> Volume:
    """`(1, D, H, W)` in 'label': 1 in any of the lungs' labels.

    Args:
        labels: `(M, D, H, W)`.
        values: of the lungs.
    """
    chosen = torch.tensor(values, dtype=labels.values.dtype, device=labels.values.device)
    return Volume(torch.isin(labels.values, chosen).any(dim=0, keepdim=True).float(), labels.affine, "label")
