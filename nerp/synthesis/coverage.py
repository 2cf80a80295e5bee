"""How much of the labelled tissue a view's border cuts off."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

from nerp.camera import Camera
from nerp.label_maps import where_labelled
from nerp.volume import Volume

WORKING_MM = 2.0
"""Voxels about so far apart are enough to tell how much is outside,"""
LEAST_POINTS = 1000
"""where there are so many of them."""


def outside_fraction(points: Tensor, camera: Camera) -> float | None:
    """The part of some points that the detector misses.

    Args:
        points: (N, 3) world mm.
        camera: a batch of one.

    Returns:
        0 to 1; None without points.
    """
    if not len(points):
        return None
    right, down, centre = camera.image_right[0], camera.image_down[0], camera.detector_centre[0]
    normal, rays = torch.linalg.cross(right, down), points - camera.source[0]
    on_detector = camera.source[0] + rays * ((centre - camera.source[0]) @ normal / (rays @ normal))[:, None] - centre
    inside = torch.ones(len(points), dtype=torch.bool, device=points.device)
    for axis, direction in enumerate((down, right)):
        inside &= (on_detector @ direction).abs() <= camera.size_mm[0, axis] / 2
    return 1.0 - float(inside.double().mean())


def label_points(labels: Volume, chosen: Sequence[int], limit: int = 20_000) -> Tensor:
    """Centres of the voxels with one of the chosen values, evenly thinned.

    Args:
        labels: `(M, D, H, W)`.
        chosen: label values.
        limit:  points at most.

    Returns:
        (N, 3) world mm, float64.
    """
    thin = labels.thinned(WORKING_MM)
    index = np.flatnonzero(where_labelled(thin, chosen))
    if len(index) >= LEAST_POINTS:
        labels = thin
    else:
        index = np.flatnonzero(where_labelled(labels, chosen))
    index = index[:: max(1, -(-len(index) // limit))]
    return labels.to_world(torch.from_numpy(np.stack(np.unravel_index(index, labels.shape), axis=1)).double())
