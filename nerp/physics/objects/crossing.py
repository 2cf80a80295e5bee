"""Which rays of a camera may meet a solid, and the stretches of each ray within one."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from nerp.camera import Camera
from nerp.physics.objects.solids import Solids

PRESSED_MM = 15.0
"""What lies no further than this behind the detector is pressed before it, not cut off: the detector touches the body,
and things on the skin there would be behind it."""
MARGIN_PIXELS = 0.75
"""Beyond a solid's shadow, in which rays are tried: half a pixel's diagonal."""
CHUNK = 2**16
"""Rays that are crossed at once, so that what is computed of them stays in a processor's cache."""


@dataclass(frozen=True)
class Stretches:
    """Parts of rays within solids.

    Args:
        owners: (M,) int64, the group of the solid.
        rays:   (M,) int64, number of the ray: pixel by pixel, row by row, the samples of a pixel contiguous.
        enter:  (M,) mm from the source.
        leave:  (M,) mm, more.
    """

    owners: Tensor
    rays: Tensor
    enter: Tensor
    leave: Tensor


@dataclass(frozen=True)
class View:
    """One camera, with its rays in pixel coordinates.

    Args:
        camera:  of batch 1, float64, on the CPU.
        samples: rays along each side of a pixel.
    """

    camera: Camera
    samples: int

    def directions(self, rays: Tensor) -> tuple[Tensor, Tensor]:
        """Unit directions (3, M) of rays (M,) and their lengths (M,) to the detector, mm. Differentiable."""
        camera, n_each = self.camera, self.samples
        (down,), (right,) = camera.steps_mm()
        pixel, sample = rays.div(n_each**2, rounding_mode="floor"), rays.remainder(n_each**2)
        row, column = pixel.div(camera.shape[1], rounding_mode="floor"), pixel.remainder(camera.shape[1])
        within = [sample.div(n_each, rounding_mode="floor"), sample.remainder(n_each)]
        steps = [
            place.double() + (part.double() + 0.5) / n_each - count / 2
            for place, part, count in zip((row, column), within, camera.shape, strict=True)
        ]
        centre = camera.detector_centre[0] - camera.source[0]
        span = torch.stack([centre[k] + steps[0] * down[k] + steps[1] * right[k] for k in range(3)])
        length = (span[0] * span[0] + span[1] * span[1] + span[2] * span[2]).sqrt()
        return span / length, length

    def places(self, points: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Row and column (N,) at which points (N, 3) are seen, and depths (N,): 1 in the detector, 0 in the source."""
        (down,), (right,) = self.camera.steps_mm()
        centre = self.camera.detector_centre[0] - self.camera.source[0]
        basis = torch.stack([down, right, centre], dim=1)
        found = torch.linalg.solve(basis, (points - self.camera.source[0]).T)
        depth = found[2].clamp(min=1e-9)
        row, column = (
            (part / depth + (count - 1) / 2) for part, count in zip(found[:2], self.camera.shape, strict=True)
        )
        return row, column, found[2]


def cross(solids: Solids, view: View) -> Stretches:
    """The stretches of a view's rays within solids, mm. Differentiable in the camera.

    Args:
        solids: N of one family.
        view:   one camera.
    """
    with torch.no_grad():
        which, pixels = _candidates(solids, view)
    starts, chunk = _towards(solids, view), max(1, CHUNK // view.samples**2)
    parts = zip(which.split(chunk), pixels.split(chunk), strict=True)
    return united([_cross_chunk(solids, view, starts, *part) for part in parts])


def _cross_chunk(solids: Solids, view: View, starts: Tensor, which: Tensor, pixels: Tensor) -> Stretches:
    """The stretches of the rays of some pixels (M,) within the solids `which` (M,), followed from `starts` (N,) mm."""
    n_each = view.samples**2
    if n_each > 1:
        which = which.repeat_interleave(n_each)
        sample = torch.arange(n_each, dtype=torch.int64, device="cpu")
        pixels = (pixels[:, None] * n_each + sample).flatten()
    directions, lengths = view.directions(pixels)
    start = starts[which]
    origins = view.camera.source[0][:, None] + start * directions
    enter, leave = solids.cross(origins, directions, solids.numbers[:, which])
    enter, leave = (enter + start).clamp(min=0.0), torch.minimum(leave + start, lengths + PRESSED_MM)
    hit = torch.nonzero(enter < leave)[:, 0]
    return Stretches(solids.owners[which[hit]], pixels[hit], enter[hit], leave[hit])


def _towards(solids: Solids, view: View) -> Tensor:
    """(N,) mm from the source to each solid: rays are followed from near it, where float64 resolves thin wires."""
    return (solids.ends.mean(dim=1) - view.camera.source.detach()).norm(dim=1)


def _candidates(solids: Solids, view: View) -> tuple[Tensor, Tensor]:
    """Numbers of solids, and the pixels that their shadows may touch."""
    height, width = view.camera.shape
    rows, columns, depth, radius = _shadows(solids, view)
    margin = radius + MARGIN_PIXELS
    low_row, high_row = _range(rows, margin, height)
    low_column, high_column = _range(columns, margin, width)
    wide = (high_column - low_column).clamp(min=0)
    counts = (high_row - low_row).clamp(min=0) * wide * (depth.amax(dim=1) * _upright_mm(view) > -solids.reach_mm)
    which = torch.repeat_interleave(counts)
    local = torch.arange(len(which), dtype=torch.int64, device="cpu") - (counts.cumsum(0) - counts)[which]
    row = low_row[which] + local.div(wide[which], rounding_mode="floor")
    column = low_column[which] + local.remainder(wide[which])
    near = _distance(row, column, rows[which], columns[which]) <= margin[which]
    return which[near], row[near] * width + column[near]


def _shadows(solids: Solids, view: View) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Rows, columns and depths (N, 2) of the solids' ends, and what their reach becomes on the detector, pixels (N,).

    A ball's shadow is longer than its radius, magnified, by 1 / cos² of the angle at which it is seen; that of one
    near the source, or behind it in part, is everywhere.
    """
    row, column, depth = (part.view(-1, 2) for part in view.places(solids.ends.reshape(-1, 3)))
    away = (solids.ends - view.camera.source[0]).norm(dim=2)
    upright = _upright_mm(view)
    cosine = (depth * upright / away).clamp(1e-3, 1.0)
    pixel = float(view.camera.pixel_mm.min())
    radius = (solids.reach_mm[:, None] / depth.clamp(min=1e-9) / cosine**2 / pixel).amax(dim=1) * 1.02
    near = (depth * upright).amin(dim=1) < 3 * solids.reach_mm
    everywhere = float(sum(view.camera.shape)) + row.abs().amax(dim=1) + column.abs().amax(dim=1)
    return row, column, depth, torch.where(near, everywhere, radius)


def _upright_mm(view: View) -> float:
    """Distance of the source from the detector's plane."""
    camera = view.camera
    normal = torch.linalg.cross(camera.image_right[0], camera.image_down[0])
    return float(((camera.detector_centre[0] - camera.source[0]) @ normal).abs() / normal.norm())


def _range(places: Tensor, margin: Tensor, count: int) -> tuple[Tensor, Tensor]:
    """First and last + 1 pixel along an axis, (N,) int64, within the image."""
    low = (places.amin(dim=1) - margin).clamp(0, count).ceil()
    high = (places.amax(dim=1) + margin).clamp(-1, count - 1).floor() + 1
    return low.long(), high.long()


def _distance(row: Tensor, column: Tensor, rows: Tensor, columns: Tensor) -> Tensor:
    """(M,) pixels from pixels to the segments between two places."""
    down, right = rows[:, 1] - rows[:, 0], columns[:, 1] - columns[:, 0]
    from_row, from_column = row - rows[:, 0], column - columns[:, 0]
    square = (down * down + right * right).clamp(min=1e-12)
    share = ((from_row * down + from_column * right) / square).clamp(0.0, 1.0)
    return torch.hypot(from_row - share * down, from_column - share * right)


def united(stretches: list[Stretches]) -> Stretches:
    """All stretches in one.

    Args:
        stretches: of one view.
    """
    parts = [torch.cat([getattr(one, name) for one in stretches]) for name in ("owners", "rays", "enter", "leave")]
    return Stretches(*parts)


def union_lengths(keys: Tensor, enter: Tensor, leave: Tensor) -> tuple[Tensor, Tensor]:
    """How long the unions of stretches are.

    Args:
        keys:  (M,) int64, stretches of one key are united.
        enter: (M,) mm.
        leave: (M,) mm, more.

    Returns:
        (M,) keys, sorted, and (M,) what each stretch adds to those before it, mm, >= 0: the sum over a key is the
        length of its union. Differentiable.
    """
    order = enter.detach().argsort(stable=True)
    order = order[keys[order].argsort(stable=True)]
    keys, enter, leave = keys[order], enter[order], leave[order]
    _, rank = torch.unique_consecutive(keys, return_inverse=True)
    first, last = (float(end) for end in (enter.detach().amin(), leave.detach().amax())) if len(keys) else (0.0, 0.0)
    shift = rank.double() * (last - first + 1.0) - first
    reached = (leave + shift).cummax(dim=0).values
    before = torch.cat([reached.new_full((1,), -math.inf), reached[:-1]])[: len(keys)] - shift
    return keys, (leave - torch.maximum(enter, before)).clamp(min=0.0)
