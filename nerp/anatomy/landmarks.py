"""Places in and on a chest that things are put at: skin, midline, lungs, windpipe, breastbone."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from nerp.anatomy.airway import follow_windpipe
from nerp.anatomy.body import BodyMap
from nerp.anatomy.cuts import find_lungs

SMOOTH_MM = 8.0
"""Standard deviation of the smoothing of the skin: hair, folds and voxels are not followed."""
CARINA_HEIGHT = 0.66
"""Of the lungs' height, from the base, where no windpipe is found."""
STERNUM_HU = 130.0
BESIDE_STERNUM_MM = 18.0
SKIN_TO_STERNUM_MM = 14.0
"""Where no bone is found behind the skin."""


@dataclass(frozen=True)
class Landmarks:
    """Places of a chest, world mm.

    Args:
        front_mm:   (Z, X) y of the skin in front, over the grid of `x_mm` and `z_mm`.
        back_mm:    (Z, X) y of the skin behind.
        x_mm:       (X,) growing, from the patient's left to the right.
        z_mm:       (Z,) growing, from inferior to superior.
        midline_mm: x of the spine's plane.
        lungs_mm:   (2, 2, 3) lowest and highest x, y, z of the right and of the left lung.
        windpipe:   (K, 3) its middle, from above to the carina.
        sternum:    (N, 3) front of the breastbone on the midline, from above.
    """

    front_mm: np.ndarray
    back_mm: np.ndarray
    x_mm: np.ndarray
    z_mm: np.ndarray
    midline_mm: float
    lungs_mm: np.ndarray
    windpipe: np.ndarray
    sternum: np.ndarray

    @property
    def carina(self) -> np.ndarray:
        """(3,) where the windpipe divides, world mm."""
        return self.windpipe[-1]

    @property
    def top_mm(self) -> float:
        """z of the lungs' highest point."""
        return float(self.lungs_mm[:, 1, 2].max())

    @property
    def base_mm(self) -> float:
        """z of the lungs' lowest point."""
        return float(self.lungs_mm[:, 0, 2].min())

    def skin(
        self, x_mm: float, z_mm: float, *, above_mm: float = 0.0, back: bool = False
    ) -> tuple[float, float, float]:
        """A point on the skin, or above it; beside the body at the height of its side.

        Args:
            x_mm, z_mm: world mm.
            above_mm:   distance outwards along y.
            back:       behind, not in front.
        """
        surface, sign = (self.back_mm, -1.0) if back else (self.front_mm, 1.0)
        return x_mm, _interpolated(surface, self.z_mm, self.x_mm, z_mm, x_mm) + sign * above_mm, z_mm


def find_landmarks(body: BodyMap) -> Landmarks:
    """Find the places in the map of a body; what is not found is put where it is on the average.

    Args:
        body: of a CT, (Z, Y, X) coarse voxels, axes within some 20° of the world's.
    """
    lungs = find_lungs(body)
    at_lungs = np.ones(len(body.hu), bool) if lungs is None else lungs.any(axis=(1, 2))
    columns = body.inside[at_lungs].sum(axis=(0, 1))
    middle = float((np.arange(len(columns)) * columns).sum() / columns.sum())
    front, back = (_surface(body, back=back) for back in (False, True))
    boxes = _boxes(body, lungs, middle)
    windpipe = follow_windpipe(body, middle)
    if windpipe is None:
        windpipe = _usual_windpipe(boxes, float(_axis(body, 2)[0] + middle * body.spacing_mm[2]))
    place = Landmarks(
        front_mm=front,
        back_mm=back,
        x_mm=_axis(body, 2),
        z_mm=_axis(body, 0),
        midline_mm=float(_axis(body, 2)[0] + middle * body.spacing_mm[2]),
        lungs_mm=boxes,
        windpipe=windpipe,
        sternum=np.zeros((0, 3)),
    )
    return _with_sternum(place, body, middle)


def world(body: BodyMap, index: np.ndarray) -> np.ndarray:
    """(N, 3) world mm of (N, 3) indices z, y, x of a body map.

    Args:
        body:  the map.
        index: fractional ones too.
    """
    affine = body.affine.numpy()
    return index @ affine[:3, :3].T + affine[:3, 3]


def _axis(body: BodyMap, axis: int) -> np.ndarray:
    """World coordinate of the voxels along a turned axis, through the grid's middle."""
    index = np.tile((np.array(body.hu.shape) - 1) / 2, (body.hu.shape[axis], 1))
    index[:, axis] = np.arange(body.hu.shape[axis])
    return world(body, index)[:, 2 - axis]


def _surface(body: BodyMap, *, back: bool) -> np.ndarray:
    """(Z, X) y of the skin, smooth; beside the body as at its nearest side."""
    from scipy import ndimage

    y, half = _axis(body, 1), body.spacing_mm[1] / 2
    first = np.argmax(body.inside, axis=1)
    last = len(y) - 1 - np.argmax(np.flip(body.inside, 1), axis=1)
    height = y[first] - half if back else y[last] + half
    found = body.inside.any(axis=1)
    nearest = ndimage.distance_transform_edt(~found, return_distances=False, return_indices=True)
    filled = height[tuple(nearest)]
    return ndimage.gaussian_filter(filled, [SMOOTH_MM / body.spacing_mm[0], SMOOTH_MM / body.spacing_mm[2]])


def _boxes(body: BodyMap, lungs: np.ndarray | None, middle: float) -> np.ndarray:
    """(2, 2, 3) world box of the right and the left lung; without lungs thirds of the body's."""
    sides = (np.s_[:, :, round(middle) :], np.s_[:, :, : round(middle)])
    boxes = []
    for number, part in enumerate(sides):
        found = None if lungs is None else np.argwhere(lungs[part])
        if found is None or len(found) == 0:
            found = np.argwhere(body.inside[part])
            found = found[
                (found > np.quantile(found, 0.2, axis=0)).all(1) & (found < np.quantile(found, 0.8, axis=0)).all(1)
            ]
        found = found + np.array([0, 0, round(middle) if number == 0 else 0])
        points = world(body, found.astype(float))
        boxes.append([points.min(axis=0), points.max(axis=0)])
    return np.array(boxes)


def _usual_windpipe(boxes: np.ndarray, midline_mm: float) -> np.ndarray:
    low, high = boxes[:, 0].min(axis=0), boxes[:, 1].max(axis=0)
    y = low[1] + 0.5 * (high[1] - low[1])
    carina = low[2] + CARINA_HEIGHT * (high[2] - low[2])
    heights = np.linspace(high[2] + 40.0, carina, 8)
    return np.stack([np.full(8, midline_mm), y + 0.15 * (heights - carina), heights], axis=1)


def _with_sternum(place: Landmarks, body: BodyMap, middle: float) -> Landmarks:
    """The landmarks with the front of the bone behind the skin of the midline, from above the carina downwards."""
    span = max(1, round(BESIDE_STERNUM_MM / body.spacing_mm[2]))
    columns = np.s_[max(0, round(middle) - span) : round(middle) + span + 1]
    y, depths = _axis(body, 1), []
    heights = np.linspace(place.carina[2] + 45.0, place.carina[2] - 95.0, 15)
    for z in heights:
        number = int(np.abs(place.z_mm - z).argmin())
        skin = place.skin(place.midline_mm, float(z))[1]
        rows = np.flatnonzero((body.hu[number][:, columns] > STERNUM_HU).any(axis=1) & (y < skin) & (y > skin - 45.0))
        depths.append(skin - y[rows[-1]] - body.spacing_mm[1] / 2 if len(rows) else np.nan)
    usual = np.nanmedian(depths) if np.isfinite(depths).any() else SKIN_TO_STERNUM_MM
    behind = np.where(np.isfinite(depths), depths, usual)
    smooth = np.convolve(np.pad(behind, 2, mode="edge"), np.ones(5) / 5, mode="valid")
    points = [
        place.skin(place.midline_mm, float(z), above_mm=-float(deep)) for z, deep in zip(heights, smooth, strict=True)
    ]
    return Landmarks(**{**vars(place), "sternum": np.array(points)})


def _interpolated(values: np.ndarray, rows: np.ndarray, columns: np.ndarray, row: float, column: float) -> float:
    """Bilinear value at a place, held constant beyond the edges."""
    i = float(np.clip(np.interp(row, rows, np.arange(len(rows))), 0, len(rows) - 1))
    j = float(np.clip(np.interp(column, columns, np.arange(len(columns))), 0, len(columns) - 1))
    above, left = min(int(i), len(rows) - 2), min(int(j), len(columns) - 2)
    s, t = i - above, j - left
    corner = values[above : above + 2, left : left + 2]
    return float(
        (1 - s) * ((1 - t) * corner[0, 0] + t * corner[0, 1]) + s * ((1 - t) * corner[1, 0] + t * corner[1, 1])
    )
