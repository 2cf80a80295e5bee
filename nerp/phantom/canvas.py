"""The grid being painted: HU and labels, with the coordinates of every voxel in the patient's own frame."""

from __future__ import annotations

from math import ceil, cos, sin

import torch
from torch import Tensor

from nerp.phantom.labels import LABEL_OF
from nerp.phantom.shapes import FAR_MM, Tubes

CHUNK = 2_000_000
"""Voxels of tube boxes evaluated at once."""


class Canvas:
    """Paints bodies given by their signed distance, with partial volume at the edges.

    The patient's frame (mm at size 1, x to the right, y forward, z up, origin in the middle of the chest)
    lies turned and scaled in the world; bodies are described in it once, so that every spacing shows the
    same patient.

    Args:
        low_mm, high_mm: world corners of the grid, mm.
        spacing_mm:      distance between voxel centres, mm.
        scale:           (3,) size of this patient along its own axes.
        posture:         (3, 3) from the patient's axes to the world's; keeps heights (see `leaning`).
    """

    def __init__(self, low_mm, high_mm, spacing_mm: float, scale, posture: Tensor):
        self.shape = tuple(ceil((high - low) / spacing_mm) for low, high in zip(low_mm, high_mm, strict=True))
        first = [(a + b - (n - 1) * spacing_mm) / 2 for a, b, n in zip(low_mm, high_mm, self.shape, strict=True)]
        self.affine = torch.diag(torch.tensor([spacing_mm] * 3 + [1.0], dtype=torch.float64))
        self.affine[:3, 3] = torch.tensor(first, dtype=torch.float64)
        to_patient = torch.linalg.inv(posture.double() @ torch.diag(torch.tensor(scale, dtype=torch.float64)))
        self.step = (to_patient * spacing_mm).float()
        self.to_index = torch.linalg.inv(self.step)
        self.origin = (to_patient @ self.affine[:3, 3]).float()
        self.voxel_mm = spacing_mm / (scale[0] * scale[1] * scale[2]) ** (1 / 3)
        self.hu = torch.full(self.shape, -1000.0)
        self.labels = torch.zeros(self.shape, dtype=torch.uint8)
        self.everywhere = tuple(slice(0, n) for n in self.shape)
        self.points = self._points()

    def _points(self) -> tuple[Tensor, Tensor, Tensor]:
        i, j, k = (
            torch.arange(n, dtype=torch.float32).view([-1 if axis == a else 1 for a in range(3)])
            for axis, n in enumerate(self.shape)
        )
        (xi, xj, xk), (yi, yj, _), (_, _, zk) = self.step.tolist()
        x, y, z = self.origin.tolist()
        return xi * i + xj * j + xk * k + x, yi * i + yj * j + y, zk * k + z

    def box(self, low_mm, high_mm):
        """Slices that cover the patient-frame box between two corners, grown by two voxels."""
        corners = torch.cartesian_prod(*(torch.tensor([a, b]) for a, b in zip(low_mm, high_mm, strict=True)))
        index = (corners.float() - self.origin) @ self.to_index.T
        low, high = index.amin(0).floor().int() - 2, index.amax(0).ceil().int() + 3
        limits = zip(low.tolist(), high.tolist(), self.shape, strict=True)
        return tuple(slice(max(a, 0), max(min(b, n), 0)) for a, b, n in limits)

    def at(self, box) -> tuple[Tensor, Tensor, Tensor]:
        """Patient-frame coordinates within a box, mm: x (D, H, W), y (D, H, 1), z (1, 1, W)."""
        x, y, z = self.points
        return x[box], y[box[:2]], z[..., box[2]]

    def cover(self, distance: Tensor) -> Tensor:
        """How much of each voxel lies inside a body, 0 to 1, from the distance of its centre."""
        return (0.5 - distance / self.voxel_mm).clamp(0.0, 1.0)

    def paint(self, name: str | None, hu, distance: Tensor, box=None):
        """Fill a body with `hu` (a number or a tensor); voxels mostly inside take the label `name`."""
        box = self.everywhere if box is None else box
        value = torch.as_tensor(hu, dtype=torch.float32)
        self.hu[box] = torch.lerp(self.hu[box], value, self.cover(distance))
        if name is not None:
            self.labels[box].masked_fill_(distance < 0, LABEL_OF[name])

    def paint_bone(self, name: str, distance: Tensor, box, *, cortex_mm: float = 1.4, hu=(750.0, 220.0)):
        """Fill a bone: a dense shell round a spongy inside."""
        self.paint(name, hu[0], distance, box)
        self.paint(None, hu[1], distance + cortex_mm, box)

    def sweep(self, tubes: Tubes, margin_mm: float = 0.0):
        """The distance to a set of tubes, exact up to half a voxel and `margin_mm` outside them, far beyond that.

        Returns:
            Slices round the tubes, and (d, h, w) mm within them.
        """
        reach = tubes.radii_mm.amax(1, keepdim=True) + margin_mm + 0.6 * self.voxel_mm
        low = torch.minimum(tubes.start, tubes.end) - reach
        high = torch.maximum(tubes.start, tubes.end) + reach
        box = self.box(low.amin(0).tolist(), high.amax(0).tolist())
        field = torch.full([max(s.stop - s.start, 0) for s in box], FAR_MM)
        if field.numel():
            self._sweep_into(field, tubes, box, (low, high))
        return box, field

    def _sweep_into(self, field: Tensor, tubes: Tubes, box, limits):
        low, high = limits
        middle = ((low + high) / 2 - self.origin) @ self.to_index.T
        extent = (high - low) / 2 @ self.to_index.abs().T
        first = (middle - extent).ceil().long()
        counts = (middle + extent).floor().long() - first + 1
        counts = counts.clamp(min=1) + counts % 2  # fewer sizes, larger batches
        corner = torch.tensor([s.start for s in box])
        for size in torch.unique(counts, dim=0):
            (members,) = torch.nonzero((counts == size).all(1), as_tuple=True)
            for some in members.split(max(1, CHUNK // int(size.prod()))):
                self._nearest(field, tubes[some], first[some] - corner, corner, size)

    def _nearest(self, field: Tensor, tubes: Tubes, first: Tensor, corner: Tensor, size: Tensor):
        offsets = torch.cartesian_prod(*(torch.arange(int(n)) for n in size))
        index = first[:, None] + offsets
        points = (index + corner).float() @ self.step.T + self.origin
        shape = torch.tensor(field.shape)
        inside = ((index >= 0) & (index < shape)).all(-1)
        distance = torch.where(inside, tubes.distance(points), torch.tensor(FAR_MM))
        index = torch.minimum(index.clamp(min=0), shape - 1)
        flat = (index[..., 0] * shape[1] + index[..., 1]) * shape[2] + index[..., 2]
        field.view(-1).scatter_reduce_(0, flat.view(-1), distance.view(-1), "amin")


def leaning(yaw_rad: float, lean: float) -> Tensor:
    """(3, 3) posture: the trunk sheared sideways by `lean` per height, then turned about the upward axis.

    A shear instead of a tilt leaves every height where it is, so that profiles along the body cost a row,
    not a volume.
    """
    yaw = torch.tensor([[cos(yaw_rad), -sin(yaw_rad), 0], [sin(yaw_rad), cos(yaw_rad), 0], [0, 0, 1.0]])
    return yaw @ torch.tensor([[1.0, 0, lean], [0, 1.0, 0], [0, 0, 1.0]])
