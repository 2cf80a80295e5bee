"""The grid being painted: HU and labels, with the coordinates of every voxel in the patient's own frame."""

from __future__ import annotations

from collections.abc import Sequence
from math import ceil, cos, sin
from typing import Protocol

import torch
from torch import Tensor

from nerp.devices import SINGLE, WHOLE, single
from nerp.phantom.labels import LABEL_OF
from nerp.phantom.shapes import FAR_MM, Box, Points, Tubes

CHUNK = 2_000_000
"""Voxels of tube boxes evaluated at once."""


class Ground(Protocol):
    """What findings are painted on: a phantom being made, or a CT. Coordinates x, y, z in mm about the chest's middle.

    Args:
        hu: of every voxel, painted in place.
    """

    hu: Tensor

    @property
    def points(self) -> Points:
        """Coordinates of every voxel."""

    def box(self, low_mm: Sequence[float], high_mm: Sequence[float]) -> Box:
        """Slices that cover the box between two corners.

        Args:
            low_mm, high_mm: (3,) corners.
        """

    def at(self, box: Box) -> Points:
        """Coordinates within a box, mm."""

    def cover(self, distance: Tensor) -> Tensor:
        """How much of each voxel lies inside a body, 0 to 1, from the distance of its centre, mm, in any shape."""

    def paint(self, name: str | None, hu: float | Tensor, distance: Tensor, box: Box | None = None) -> None:
        """Fill a body; voxels mostly inside take its label.

        Args:
            name:     of the label; None leaves the labels as they are.
            hu:       a number, or one a voxel of the box.
            distance: to the body, mm, negative inside, at the voxels of the box, (d, h, w).
            box:      from `box`; None for the whole grid.
        """


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

    def __init__(
        self,
        low_mm: Sequence[float],
        high_mm: Sequence[float],
        *,
        spacing_mm: float,
        scale: Sequence[float],
        posture: Tensor,
    ):
        self.shape = tuple(ceil((high - low) / spacing_mm) for low, high in zip(low_mm, high_mm, strict=True))
        first = [(a + b - (n - 1) * spacing_mm) / 2 for a, b, n in zip(low_mm, high_mm, self.shape, strict=True)]
        self.affine = torch.diag(torch.tensor([spacing_mm] * 3 + [1.0], dtype=torch.float64, device="cpu"))
        self.affine[:3, 3] = torch.tensor(first, dtype=torch.float64, device="cpu")
        to_patient = torch.linalg.inv(
            posture.double() @ torch.diag(torch.tensor(scale, dtype=torch.float64, device="cpu"))
        )
        self.step = (to_patient * spacing_mm).float()
        self.to_index = torch.linalg.inv(self.step)
        self.origin = (to_patient @ self.affine[:3, 3]).float()
        self.voxel_mm = spacing_mm / (scale[0] * scale[1] * scale[2]) ** (1 / 3)
        self.hu = torch.full(self.shape, -1000.0, **SINGLE)
        self.labels = torch.zeros(self.shape, dtype=torch.uint8, device="cpu")
        self.everywhere: Box = tuple(slice(0, n) for n in self.shape)
        self.points = self._points()

    def _points(self) -> Points:
        i, j, k = (
            torch.arange(n, dtype=torch.float32, device="cpu").view([-1 if axis == a else 1 for a in range(3)])
            for axis, n in enumerate(self.shape)
        )
        (xi, xj, xk), (yi, yj, _), (_, _, zk) = self.step.tolist()
        x, y, z = self.origin.tolist()
        return xi * i + xj * j + xk * k + x, yi * i + yj * j + y, zk * k + z

    def box(self, low_mm: Sequence[float], high_mm: Sequence[float]) -> Box:
        """Slices that cover the patient-frame box between two corners, grown by two voxels.

        Args:
            low_mm, high_mm: (3,) corners in the patient's frame.
        """
        corners = torch.cartesian_prod(*(single([a, b]) for a, b in zip(low_mm, high_mm, strict=True)))
        index = (corners.float() - self.origin) @ self.to_index.T
        low, high = index.amin(0).floor().int() - 2, index.amax(0).ceil().int() + 3
        limits = zip(low.tolist(), high.tolist(), self.shape, strict=True)
        return tuple(slice(max(a, 0), max(min(b, n), 0)) for a, b, n in limits)

    def at(self, box: Box) -> Points:
        """Patient-frame coordinates within a box, mm: x (D, H, W), y (D, H, 1), z (1, 1, W)."""
        x, y, z = self.points
        return x[box], y[box[:2]], z[..., box[2]]

    def cover(self, distance: Tensor) -> Tensor:
        """How much of each voxel lies inside a body, 0 to 1, from the distance of its centre, mm, in any shape."""
        return (0.5 - distance / self.voxel_mm).clamp(0.0, 1.0)

    def paint(self, name: str | None, hu: float | Tensor, distance: Tensor, box: Box | None = None) -> None:
        """Fill a body; voxels mostly inside take its label.

        Args:
            name:     of the label; None leaves the labels as they are.
            hu:       a number, or one a voxel of the box.
            distance: to the body, mm, negative inside, at the voxels of the box, (d, h, w).
            box:      from `box`; None for the whole grid.
        """
        box = self.everywhere if box is None else box
        value = torch.as_tensor(hu, dtype=torch.float32)
        self.hu[box] = torch.lerp(self.hu[box], value, self.cover(distance))
        if name is not None:
            self.labels[box].masked_fill_(distance < 0, LABEL_OF[name])

    def paint_bone(self, name: str, distance: Tensor, box: Box, *, cortex_mm: float, hu: tuple[float, float]) -> None:
        """Fill a bone: a dense shell round a spongy inside.

        Args:
            name:      of the label.
            distance:  to the bone, mm, negative inside, at the voxels of the box, (d, h, w).
            box:       from `box`.
            cortex_mm: thickness of the shell.
            hu:        of the shell and of the inside.
        """
        self.paint(name, hu[0], distance, box)
        self.paint(None, hu[1], distance + cortex_mm, box)

    def sweep(self, tubes: Tubes, margin_mm: float = 0.0) -> tuple[Box, Tensor]:
        """The distance to a set of tubes, far where it is not asked for.

        Args:
            tubes:     in the patient's frame.
            margin_mm: the distance is exact up to half a voxel and this far outside them.

        Returns:
            Slices round the tubes, and (d, h, w) mm within them.
        """
        reach = tubes.radii_mm.amax(1, keepdim=True) + margin_mm + 0.6 * self.voxel_mm
        low = torch.minimum(tubes.start, tubes.end) - reach
        high = torch.maximum(tubes.start, tubes.end) + reach
        box = self.box(low.amin(0).tolist(), high.amax(0).tolist())
        field = torch.full([max(s.stop - s.start, 0) for s in box], FAR_MM, **SINGLE)
        if field.numel():
            self._sweep_into(field, tubes, box, (low, high))
        return box, field

    def _sweep_into(self, field: Tensor, tubes: Tubes, box: Box, limits: tuple[Tensor, Tensor]) -> None:
        low, high = limits
        middle = ((low + high) / 2 - self.origin) @ self.to_index.T
        extent = (high - low) / 2 @ self.to_index.abs().T
        first = (middle - extent).ceil().long()
        counts = (middle + extent).floor().long() - first + 1
        counts = counts.clamp(min=1) + counts % 2  # fewer sizes, larger batches
        corner = torch.tensor([s.start for s in box], **WHOLE)
        for size in torch.unique(counts, dim=0):
            (members,) = torch.nonzero((counts == size).all(1), as_tuple=True)
            for some in members.split(max(1, CHUNK // int(size.prod()))):
                self._nearest(field, tubes[some], first[some] - corner, corner, size)

    def _nearest(self, field: Tensor, tubes: Tubes, first: Tensor, corner: Tensor, size: Tensor) -> None:
        offsets = torch.cartesian_prod(*(torch.arange(int(n), **WHOLE) for n in size))
        index = first[:, None] + offsets
        points = (index + corner).float() @ self.step.T + self.origin
        shape = torch.tensor(field.shape, **WHOLE)
        inside = ((index >= 0) & (index < shape)).all(-1)
        distance = torch.where(inside, tubes.distance(points), single(FAR_MM))
        index = torch.minimum(index.clamp(min=0), shape - 1)
        flat = (index[..., 0] * shape[1] + index[..., 1]) * shape[2] + index[..., 2]
        field.view(-1).scatter_reduce_(0, flat.view(-1), distance.view(-1), "amin")


def leaning(yaw_rad: float, lean: float) -> Tensor:
    """(3, 3) posture: the trunk sheared sideways, then turned about the upward axis.

    Args:
        yaw_rad: turn about the upward axis, counted to the left.
        lean:    sideways shift per height, unitless.

    A shear instead of a tilt leaves every height where it is, so that profiles along the body cost a row,
    not a volume.
    """
    yaw = single([[cos(yaw_rad), -sin(yaw_rad), 0], [sin(yaw_rad), cos(yaw_rad), 0], [0, 0, 1.0]])
    return yaw @ single([[1.0, 0, lean], [0, 1.0, 0], [0, 0, 1.0]])
