"""How a detector is laid over an anatomy: its middle, its size, and where it touches the body."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from nerp.anatomy import Anatomy

LUNG_FILL = 0.8
"""Fraction of the detector's side that the lungs take up, as in radiographs of practice."""
TIGHTEST_FILL = 0.92
"""Fraction up to which the detector may shrink so as not to show what the CT did not scan."""
NEAR_DETECTOR = 1.3
"""Body this many times beyond the detector's half still counts for where the detector touches it."""


@dataclass(frozen=True)
class Frame:
    """A detector over an anatomy.

    Args:
        centre:   (3,) world point at the detector's middle and the lungs' depth, mm: the isocentre.
        touch_mm: distance along the beam from that point to the detector.
        pixel_mm: side of the detector's square pixels.
    """

    centre: Tensor
    touch_mm: float
    pixel_mm: float


def frame(anatomy: Anatomy, axes: Tensor, shape: tuple[int, int], *, sdd_mm: float) -> Frame:
    """Lay a detector over the lungs, or over the whole body where there are none.

    The detector is centred on the lungs' box, then shrunk and shifted along its rows as far as the
    lungs allow, lest it look above or below what was scanned. It touches the foremost of the body
    within it.

    Args:
        anatomy: body and lungs, world mm.
        axes:    (3, 3) unit rows: image down, image right, beam.
        shape:   (H, W) pixels.
        sdd_mm:  distance from the source to the detector.
    """
    target, fill = (anatomy.body, 1.0) if anatomy.lungs is None else (anatomy.lungs, LUNG_FILL)
    box, body = _box(target @ axes.T, anatomy.radius_mm), anatomy.body @ axes.T
    sides = box[1] - box[0]
    pixel = max(float(side) / count for side, count in zip(sides, shape, strict=False))
    scanned = _box(body, anatomy.radius_mm)[:, 0]
    widest = max(float(scanned[1] - scanned[0]) / shape[0], pixel / max(TIGHTEST_FILL, fill))
    pixel = min(pixel / fill, widest)
    middle = box.mean(dim=0)
    middle[0] = _slide(middle[0], pixel * shape[0] / 2, box[:, 0], scanned)
    half = pixel * torch.tensor(shape, dtype=torch.float64, device="cpu") / 2 * NEAR_DETECTOR
    near = ((body - middle)[:, :2].abs() <= half).all(dim=1)
    touch_mm = float((body[near, 2] - middle[2]).amax()) + anatomy.radius_mm
    return Frame(middle @ axes, touch_mm, pixel * sdd_mm / (sdd_mm - touch_mm))


def _box(points: Tensor, radius_mm: float) -> Tensor:
    """(2, 3) lowest and highest coordinates, the voxels' own size included."""
    return torch.stack([points.amin(dim=0) - radius_mm, points.amax(dim=0) + radius_mm])


def _slide(middle: Tensor, half: float, lungs: Tensor, scanned: Tensor) -> Tensor:
    """Move a detector of half-height `half` into what was scanned, the lungs staying within it."""
    low, high = scanned[0] + half, scanned[1] - half
    requested = torch.minimum(torch.maximum(middle, low), high) if low <= high else scanned.mean()
    return torch.minimum(torch.maximum(requested, lungs[1] - half), lungs[0] + half)
