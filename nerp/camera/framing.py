"""How a detector is laid over an anatomy: its middle, its size, and where it touches the body."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from nerp.anatomy import Anatomy, Tissue

LUNG_FILL = 0.8
"""Fraction of the detector's side that the lungs take up, as in radiographs of practice."""
TIGHTEST_FILL = 0.92
"""Fraction up to which the detector may shrink so as not to show what the CT did not scan."""
NEAR_DETECTOR = 1.3
"""Body this many times beyond the detector's half still counts for where the detector touches it."""
LUNG_EDGE = 2e-4
BODY_EDGE = 2e-5
"""Part of a tissue that may lie beyond its edge: so that no edge hangs on a single voxel."""


@dataclass(frozen=True)
class Frame:
    """A detector over an anatomy.

    Args:
        centre:   (3,) world point at the detector's middle and the thorax's depth, mm: the isocentre.
        touch_mm: distance along the beam from that point to the detector.
        pixel_mm: side of the detector's square pixels.
    """

    centre: Tensor
    touch_mm: float
    pixel_mm: float


def frame(anatomy: Anatomy, axes: Tensor, shape: tuple[int, int], *, sdd_mm: float) -> Frame:
    """Lay a detector over the thorax, or over the whole body where there are no lungs.

    The detector is centred on the box of both lungs, where each side is also taken for the other's, lest a lung
    without air be left out; then shrunk and shifted along its rows as far as the lungs allow, lest it look above
    or below what was scanned. It touches the foremost of the body within it. All edges are quantiles of weights:
    continuous in the CT.

    Args:
        anatomy: body and lungs, world mm.
        axes:    (3, 3) unit rows: image down, image right, beam.
        shape:   (H, W) pixels.
        sdd_mm:  distance from the source to the detector.
    """
    thorax = anatomy.thorax()
    target, fill = (anatomy.body, 1.0) if thorax is None else (thorax, LUNG_FILL)
    edge = BODY_EDGE if thorax is None else LUNG_EDGE
    box = torch.stack([_ends(target, axis, anatomy.voxel_mm, edge) for axis in axes], dim=1)
    sides = box[1] - box[0]
    pixel = max(float(side) / count for side, count in zip(sides, shape, strict=False))
    scanned = _ends(anatomy.body, axes[0], anatomy.voxel_mm, BODY_EDGE)
    widest = max(float(scanned[1] - scanned[0]) / shape[0], pixel / max(TIGHTEST_FILL, fill))
    pixel = min(pixel / fill, widest)
    middle = box.mean(dim=0)
    middle[0] = _slide(middle[0], pixel * shape[0] / 2, box[:, 0], scanned)
    half = pixel * torch.tensor(shape, dtype=torch.float64, device="cpu") / 2 * NEAR_DETECTOR
    near = _near(anatomy, axes, middle, half)
    touch_mm = float(_ends(near, axes[2], anatomy.voxel_mm, BODY_EDGE)[1] - middle[2])
    return Frame(middle @ axes, touch_mm, pixel * sdd_mm / (sdd_mm - touch_mm))


def _near(anatomy: Anatomy, axes: Tensor, middle: Tensor, half: Tensor) -> Tissue:
    """The body before a detector, fading within a voxel of its border."""
    body, fade_mm = anatomy.body, max(anatomy.voxel_mm, 1.0)
    beyond = ((body.points @ axes[:2].T - middle[:2]).abs() - half).amax(dim=1)
    return Tissue(body.points, body.weights * (0.5 - beyond / fade_mm).clamp(0.0, 1.0))


def _ends(tissue: Tissue, axis: Tensor, voxel_mm: float, edge: float) -> Tensor:
    """(2,) where a tissue begins and ends along an axis, mm, but for the part `edge` of it on either side.

    Each voxel's weight is spread evenly over its width.
    """
    along = tissue.points @ axis
    if voxel_mm == 0.0:
        return torch.stack([along.amin(), along.amax()])
    places, order = along.sort()
    weights = tissue.weights[order]
    whole = float(weights.sum())
    zero = weights.new_zeros(1)
    mass, moment = (torch.cat([zero, part.cumsum(0)]) for part in (weights, weights * places))
    ends = [_quantile(share * whole, places, mass, moment, voxel_mm) for share in (edge, 1.0 - edge)]
    return torch.tensor(ends, dtype=torch.float64, device="cpu")


def _quantile(wanted: float, places: Tensor, mass: Tensor, moment: Tensor, width: float) -> float:
    """Below where `wanted` of the mass lies, by bisection; the mass below grows without steps."""
    low, high = float(places[0]) - width, float(places[-1]) + width
    for _ in range(60):
        at = (low + high) / 2
        first, last = torch.searchsorted(
            places, torch.tensor([at - width / 2, at + width / 2], dtype=torch.float64, device="cpu")
        ).tolist()
        partly = (mass[last] - mass[first]) * (at / width + 0.5) - (moment[last] - moment[first]) / width
        below = float(mass[first] + partly)
        low, high = (at, high) if below < wanted else (low, at)
    return (low + high) / 2


def _slide(middle: Tensor, half: float, lungs: Tensor, scanned: Tensor) -> Tensor:
    """Move a detector of half-height `half` into what was scanned, the lungs staying within it."""
    low, high = scanned[0] + half, scanned[1] - half
    requested = torch.minimum(torch.maximum(middle, low), high) if low <= high else scanned.mean()
    return torch.minimum(torch.maximum(requested, lungs[1] - half), lungs[0] + half)
