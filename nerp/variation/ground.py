"""The lungs of a CT as ground that findings are painted on, in the frame in which phantoms have theirs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import torch
from torch import Tensor

from nerp.devices import SINGLE, single
from nerp.phantom.chest import APEX_MM
from nerp.phantom.shapes import FAR_MM, Box, Points
from nerp.variation.chest import ScannedChest
from nerp.volume import Volume

MARGIN_MM = 8.0


class LungGround:
    """The part of a CT about its lungs; what is painted stays within them.

    Args:
        ct:    `(1, D, H, W)` HU; a copy of its part is painted.
        lungs: `(1, D, H, W)` in 'label', more than 0 within the closed lungs.
        chest: their measures; coordinates count from its midline, and from where a phantom has its middle.
        codes: number that stands for each finding in `painted`.
    """

    def __init__(self, ct: Volume, lungs: Volume, chest: ScannedChest, codes: Mapping[str, int]):
        self.codes, self.spacing_mm, self.affine = dict(codes), ct.spacing_mm, ct.affine
        inside = lungs.values[0].cpu() > 0
        self.part = _part(inside, ct.spacing_mm)
        self.hu = ct.values[0].cpu()[self.part].float().clone()
        self.inside = inside[self.part]
        self.painted = torch.zeros(self.hu.shape, dtype=torch.uint8, device="cpu")
        self.voxel_mm = float(np.prod(ct.spacing_mm)) ** (1 / 3)
        self.origin = (chest.midline, chest.spine + 55.0, chest.high[2] - APEX_MM)
        self._step = ct.affine[:3, :3]
        first = torch.tensor([float(one.start) for one in self.part], dtype=torch.float64, device="cpu")
        self._first = (
            ct.affine[:3, 3] + self._step @ first - torch.tensor(self.origin, dtype=torch.float64, device="cpu")
        )
        self.points: Points = self._points()
        self.space = self._space()

    def _points(self) -> Points:
        axes = [
            torch.arange(n, **SINGLE).view([-1 if axis == a else 1 for a in range(3)])
            for axis, n in enumerate(self.hu.shape)
        ]
        rows, first = self._step.tolist(), self._first.tolist()
        x, y, z = (
            a * axes[0] + b * axes[1] + c * axes[2] + start for (a, b, c), start in zip(rows, first, strict=True)
        )
        return x, y, z

    def _space(self) -> Tensor:
        """(d, h, w) distance to the lungs' surface, mm, negative within."""
        from scipy import ndimage

        inside = self.inside.numpy()
        within, without = (ndimage.distance_transform_edt(part, sampling=self.spacing_mm) for part in (inside, ~inside))
        half = self.voxel_mm / 2
        return torch.from_numpy(np.where(inside, half - within, without - half)).float()

    def read(self, distance: Tensor, points: Tensor) -> Tensor:
        """A distance at some points, far where they lie outside the part.

        Args:
            distance: (d, h, w) mm, of every voxel.
            points:   (N, 3) mm.

        Returns:
            (N,) mm.
        """
        index = ((points.double() - self._first) @ torch.linalg.inv(self._step).T).round().long()
        shape = torch.tensor(self.hu.shape, dtype=torch.int64, device="cpu")
        seen = ((index >= 0) & (index < shape)).all(dim=1)
        i, j, k = torch.minimum(index.clamp(min=0), shape - 1).unbind(1)
        return torch.where(seen, distance[i, j, k], single(FAR_MM))

    def box(self, low_mm: Sequence[float], high_mm: Sequence[float]) -> Box:
        """Slices that cover the box between two corners, grown by two voxels.

        Args:
            low_mm, high_mm: (3,) corners, mm.
        """
        corners = torch.cartesian_prod(
            *(torch.tensor(pair, dtype=torch.float64, device="cpu") for pair in zip(low_mm, high_mm, strict=True))
        )
        index = (corners - self._first) @ torch.linalg.inv(self._step).T
        low, high = index.amin(0).floor().long() - 2, index.amax(0).ceil().long() + 3
        limits = zip(low.tolist(), high.tolist(), self.hu.shape, strict=True)
        return tuple(slice(min(max(a, 0), n), max(min(b, n), 0)) for a, b, n in limits)

    def at(self, box: Box) -> Points:
        """Coordinates within a box, mm, (d, h, w) each."""
        x, y, z = (one.expand(self.hu.shape)[box] for one in self.points)
        return x, y, z

    def cover(self, distance: Tensor) -> Tensor:
        """How much of each voxel lies inside a body, 0 to 1, from the distance of its centre, mm, in any shape."""
        return (0.5 - distance / self.voxel_mm).clamp(0.0, 1.0)

    def paint(self, name: str | None, hu: float | Tensor, distance: Tensor, box: Box | None = None) -> None:
        """Fill a body as far as it lies within the lungs; voxels mostly inside take its code.

        Args:
            name:     of the finding; None leaves the codes as they are.
            hu:       a number, or one a voxel of the box.
            distance: to the body, mm, negative inside, at the voxels of the box, (d, h, w).
            box:      from `box`; None for the whole part.
        """
        box = tuple(slice(0, n) for n in self.hu.shape) if box is None else box
        distance = torch.where(self.inside[box], distance, single(FAR_MM))
        value = torch.as_tensor(hu, dtype=torch.float32)
        self.hu[box] = torch.lerp(self.hu[box], value, self.cover(distance))
        if name is not None:
            self.painted[box].masked_fill_(distance < 0, self.codes[name])


def _part(inside: Tensor, spacing_mm: Sequence[float]) -> tuple[slice, ...]:
    """The slices about a mask, and a margin, within the grid."""
    found = inside.nonzero()
    low, high = found.amin(0).tolist(), found.amax(0).tolist()
    more = [round(MARGIN_MM / side) for side in spacing_mm]
    parts = zip(low, high, more, inside.shape, strict=True)
    return tuple(slice(max(0, a - m), min(n, b + 1 + m)) for a, b, m, n in parts)
