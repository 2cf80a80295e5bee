"""The walls of the chest: where the spine runs, the rib cage's inner surface, the skin, the diaphragm, the lungs."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor

from nerp.devices import single
from nerp.phantom.patient import Patient
from nerp.phantom.shapes import Points, Profile, ellipsoid, smooth_intersection, smooth_union

APEX_MM = 116.0
"""Height of the lungs' tops above the chest's middle."""

_SPINE_Z = (-200, -165, -137, -110, -84, -60, -36, -12, 10, 32, 53, 72, 90, 105, 120, 140, 160, 200)
_SPINE_Y = (20, 11, 5, -1, -5, -7, -8, -8, -8, -6, -2, 4, 12, 20, 28, 36, 40, 42)
_WALL_Z = (-220, -190, -150, -110, -70, -30, 10, 45, 70, 90, 105, 118, 130)
_WALL_WIDTH = (112, 120, 132, 139, 140, 137, 131, 122, 110, 95, 80, 62, 40)
_WALL_FRONT = (58, 62, 71, 77, 77, 72, 61, 44, 30, 18, 9, 2, -2)
_BODY_Z = (-220, -190, -150, -100, -50, 0, 40, 70, 90, 106, 120, 134, 150, 175, 220)
_BODY_WIDTH = (140, 142, 149, 156, 160, 162, 164, 166, 162, 148, 114, 78, 61, 54, 54)
_BODY_FRONT = (86, 89, 92, 92, 90, 82, 68, 52, 42, 33, 29, 30, 36, 42, 44)
_BODY_BACK = (-106, -110, -116, -123, -128, -130, -129, -123, -116, -107, -99, -91, -85, -80, -80)


class Walls(NamedTuple):
    """Where points lie with regard to the walls of the chest.

    Args:
        wall:  distance to the rib cage's inner surface, mm, negative inside.
        above: height above the diaphragm, mm.
    """

    wall: Tensor
    above: Tensor


class Chest:
    """Profiles of one patient's trunk; every method takes coordinates x, y, z in the patient's frame, mm.

    Coordinates may have any shapes that broadcast; results have their common shape.
    """

    def __init__(self, patient: Patient):
        self.patient = patient
        bend = [y * patient.kyphosis - 55.0 for y in _SPINE_Y]
        self.spine_y = Profile(_SPINE_Z, bend)
        self.spine_x = Profile((-200, -60, 60, 200), (0, patient.scoliosis_mm, -patient.scoliosis_mm / 2, 0))
        swell = 0.97 + 0.045 * patient.inspiration
        self.wall_width = Profile(_WALL_Z, [w * swell for w in _WALL_WIDTH])
        self.wall_front = Profile(_WALL_Z, [y * swell for y in _WALL_FRONT])
        bulk = 1.0 + 0.04 * (patient.muscle - 1.0)
        self.body_width = Profile(_BODY_Z, [w * bulk for w in _BODY_WIDTH])
        self.body_front = Profile(_BODY_Z, _BODY_FRONT)
        self.body_back = Profile(_BODY_Z, _BODY_BACK)
        self.dome_mm = -68.0 - 27.0 * patient.inspiration

    def wall_back(self, z: Tensor) -> Tensor:
        """y of the gutters beside the spine, mm, at heights z, mm."""
        return self.spine_y(z) - 28.0

    def wall_centre(self, z: Tensor) -> Tensor:
        """y of the rib cage's widest place, mm, at heights z, mm."""
        back = self.wall_back(z)
        return back + 0.46 * (self.wall_front(z) - back)

    def wall(self, x: Tensor, y: Tensor, z: Tensor) -> Tensor:
        """Distance to the inner surface of the rib cage, mm, negative inside (radial, hence a slight overestimate).

        Args:
            x, y, z: coordinates, mm.
        """
        return _oval(x, y, (self.wall_width(z), self.wall_back(z), self.wall_front(z), self.wall_centre(z)))

    def body(self, x: Tensor, y: Tensor, z: Tensor) -> Tensor:
        """Distance to the surface of the muscles of trunk and neck, mm, negative inside.

        Args:
            x, y, z: coordinates, mm.
        """
        back, front = self.body_back(z), self.body_front(z)
        return _oval(x, y, (self.body_width(z), back, front, (back + front) / 2))

    def diaphragm(self, x: Tensor, y: Tensor) -> Tensor:
        """Height of the diaphragm, mm: two domes, the right one higher, falling steeply to the chest wall.

        Args:
            x, y: coordinates, mm.
        """
        right = self._dome(x, y, 60.0, self.dome_mm)
        left = self._dome(-x, y, 62.0, self.dome_mm - self.patient.dome_gap_mm)
        return smooth_union(right, left, 6.0).maximum(right.maximum(left))

    def _dome(self, x: Tensor, y: Tensor, centre_mm: float, top_mm: float) -> Tensor:
        reach = self.wall_width(single(-110.0)).item() - centre_mm
        aside2 = ((x - centre_mm) / reach) ** 2
        fore = y / 70.0
        outer = 46.0 * aside2 * (0.4 + 0.6 * aside2)
        inner = 16.0 * ((x - centre_mm) / centre_mm) ** 2
        inner = torch.where(x < 0, inner + (x / 12.0) ** 2, inner)
        ahead = 26.0 * fore**2 * (0.5 + 0.5 * fore**2)
        behind = 34.0 * fore**2 * (0.45 + 0.55 * fore**2)
        return top_mm - torch.where(x > centre_mm, outer, inner) - torch.where(y > 0, ahead, behind)

    def cupola(self, x: Tensor, y: Tensor, z: Tensor) -> Tensor:
        """Distance above the rounded lung tops, mm, negative below.

        Args:
            x, y, z: coordinates, mm.
        """
        aside = (x.abs() - 52.0) / 54.0
        fore = (y - self.spine_y(single(APEX_MM)) - 22.0) / 52.0
        return (z - APEX_MM + 40.0 * (aside**2 + fore**2)) * 0.75

    def mediastinum(self, x: Tensor, y: Tensor, z: Tensor) -> Tensor:
        """Distance to the partition between the lungs without its organs, mm, negative inside.

        Args:
            x, y, z: coordinates, mm.
        """
        back = self.spine_y(z)
        depth = (y - back) / (self.wall_front(z) - back)
        lower = _DEPTH_WIDTH(100.0 * depth)
        upper = ((z - 30.0) / 45.0).clamp(0.0, 1.0)
        return (x - self.spine_x(z)).abs() - (lower + upper * (24.5 - lower).clamp(min=0.0))

    def walls(self, points: Points) -> Walls:
        """Chest wall and diaphragm as seen from points (x, y, z), mm, computed once for all who ask."""
        x, y, z = points
        return Walls(self.wall(x, y, z), z - self.diaphragm(x, y))

    def lung(self, points: Points, walls: Walls) -> Tensor:
        """Distance to both pleural spaces, mediastinal organs not yet cut out, mm, negative inside.

        Args:
            points: x, y, z, mm.
            walls:  those of the same points.
        """
        outer = smooth_intersection(walls.wall + 2.0, self.cupola(*points), 10.0)
        beside = smooth_intersection(outer, -self.mediastinum(*points), 8.0)
        return torch.maximum(beside, (2.0 - walls.above) * 0.8)


_DEPTH_WIDTH = Profile((-40, -20, 0, 20, 45, 65, 85, 110), (34, 29, 24, 20, 24, 18, 13, 16))


def _oval(x: Tensor, y: Tensor, shape: Sequence[Tensor]) -> Tensor:
    """Radial distance to a rounded-box section (exponent 2.5) given by half width, back, front and centre y."""
    width, back, front, centre = shape
    across = (x / width).abs()
    fore = y - centre
    fore = torch.where(fore > 0, fore / (front - centre), fore / (back - centre))
    radius = (across**2 * across.sqrt() + fore**2 * fore.sqrt()).clamp(min=1e-6) ** 0.4
    return torch.hypot(x, y - centre) * (1.0 - 1.0 / radius)


def breasts(chest: Chest, x: Tensor, y: Tensor, z: Tensor) -> Tensor:
    """Distance to both breasts, mm, negative inside.

    Args:
        chest:   whose they are.
        x, y, z: coordinates, mm.
    """
    size = chest.patient.breast_mm
    front = chest.body_front(single(-60.0)).item()
    return ellipsoid((x.abs(), y, z), (74.0, front - 14.0, -60.0), (size * 1.2, size * 0.95, size))


def axilla(x: Tensor, y: Tensor, z: Tensor) -> Tensor:
    """Distance to the fat of both armpits, mm, negative inside.

    Args:
        x, y, z: coordinates, mm.
    """
    return ellipsoid((x.abs(), y, z), (140.0, -18.0, 34.0), (13.0, 30.0, 46.0))
