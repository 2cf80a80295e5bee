"""A CT without one of its findings, and the parts that a finding has."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch

from nerp.anatomy.lung_field import box_about
from nerp.anatomy.measures import voxels_of
from nerp.errors import GeometryError
from nerp.volume import Volume

RIM_VOXELS = 2
"""So far around its label a finding's partial volumes and wet rims lie."""
SHELL_MM = 8.0
"""Tissue within this distance of a finding is what would be in its place."""
LEAST_LUNG = 0.1
"""A finding is one of the lungs where so much of the shell is lung: then lung alone would be in its place."""
SMALLEST_PART = 0.02
"""A piece of a finding with less than this part of the largest's voxels is a crumb."""
MOST_PARTS = 8


def without_finding(
    ct: Volume, labels: Volume, value: int, *, before: Volume | None = None, lungs: Sequence[int] = ()
) -> Volume:
    """A CT in whose finding is what was there before; where that is not known, the tissue around it.

    Where the CT before is known (a phantom, a finding that was inserted), its values take the place of the finding and
    of the voxels within `RIM_VOXELS` of it. Else the finding's voxels become as dense as the median of what lies within
    `SHELL_MM` of it: of the lungs where a tenth of that is lung, else of all of it. That is an approximation: it knows
    nothing of the vessels that ran there, of a lung that a finding pressed together, of an organ that it pushed away.

    Args:
        ct:     `(1, D, H, W)` HU.
        labels: `(M, D, H, W)`, on the same grid.
        value:  of the finding's label.
        before: `(1, D, H, W)` HU on the same grid: the CT without it, or without any finding.
        lungs:  label values of the lungs.

    Returns:
        `(1, D, H, W)` HU; the CT itself where the finding has no voxel.

    Raises:
        GeometryError: the grids differ.
    """
    for name, one in (("labels", labels), ("the CT before", before)):
        if one is not None and one.shape != ct.shape:
            raise GeometryError(f"{name}: found {one.shape} voxels for a CT of {ct.shape}; expected one grid")
    found = voxels_of(labels, (value,))
    if not found.any():
        return ct
    box = box_about(found, [max(RIM_VOXELS, int(np.ceil(SHELL_MM / side))) + 1 for side in ct.spacing_mm])
    hu = ct.values.clone()
    part, inside = hu[0][box], found[box]
    if before is not None:
        rim = torch.from_numpy(_grown(inside)).to(hu.device)
        part[rim] = before.values[0][box].to(hu)[rim]
        return Volume(hu, ct.affine, "hu")
    lung = voxels_of(labels, lungs)[box] if lungs else np.zeros_like(inside)
    part[torch.from_numpy(inside).to(hu.device)] = round(_tissue_hu(part.cpu().numpy(), inside, lung, ct.spacing_mm))
    return Volume(hu, ct.affine, "hu")


def _tissue_hu(hu: np.ndarray, inside: np.ndarray, lung: np.ndarray, spacing_mm: Sequence[float]) -> float:
    """Median HU of what lies around a finding."""
    from scipy import ndimage

    away_mm = ndimage.distance_transform_edt(~inside, sampling=spacing_mm)
    rim_mm = max(spacing_mm)
    shell = (away_mm > rim_mm) & (away_mm <= max(SHELL_MM, 2.5 * rim_mm))
    within = shell & lung
    chosen = within if within.sum() >= LEAST_LUNG * shell.sum() and within.any() else shell
    return float(np.median(hu[chosen])) if chosen.any() else float(np.median(hu[inside]))


def finding_parts(labels: Volume, value: int) -> Volume:
    """The pieces of a finding, such as its nodules, each under a number of its own.

    Args:
        labels: `(M, D, H, W)`.
        value:  of the finding's label.

    Returns:
        `(1, D, H, W)` in 'label': 1 for the largest piece, 2, ... for others that are no crumbs, `MOST_PARTS` at most;
        0 elsewhere.
    """
    from scipy import ndimage

    found = voxels_of(labels, (value,))
    numbers = np.zeros(found.shape, np.float32)
    if found.any():
        box = box_about(found, [0, 0, 0])
        pieces, _ = ndimage.label(found[box], structure=np.ones((3, 3, 3), bool))
        counts = np.bincount(pieces.ravel())[1:]
        order = [at for at in np.argsort(-counts, kind="stable") if counts[at] >= SMALLEST_PART * counts.max()]
        lookup = np.zeros(len(counts) + 1, np.float32)
        lookup[np.array(order[:MOST_PARTS]) + 1] = np.arange(1, len(order[:MOST_PARTS]) + 1)
        numbers[box] = lookup[pieces]
    return Volume(torch.from_numpy(numbers)[None], labels.affine, "label")


def _grown(inside: np.ndarray) -> np.ndarray:
    from scipy import ndimage

    return ndimage.binary_dilation(inside, iterations=RIM_VOXELS)
