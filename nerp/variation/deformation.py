"""Breath and build: a smooth displacement of a CT and its labels, and a scale of the whole body."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

import torch
from torch import Tensor

from nerp.devices import WHOLE
from nerp.errors import DataError, GeometryError
from nerp.variation.chest import ScannedChest
from nerp.variation.settings import DeformationSettings
from nerp.variation.warping import lattice_index, warp
from nerp.volume import Volume

LEAST_JACOBIAN = 0.35
"""Nowhere is tissue pressed to less than this part of its volume, nor stretched to the inverse."""
HELD = 0.85
"""A displacement that would press more is made less by this factor, again and again."""
WALL_PER_DIAPHRAGM = (0.08, 0.15, 0.15)
"""How far the lower ribs move outwards, forwards and upwards while the diaphragm goes down by 1: a chest is some 3 to
5 mm wider and deeper after a breath that lowers the diaphragm by 3 cm."""
SPINE_WIDTH_MM = 32.0
BUMPS = 6
BUMP_MM = 70.0

_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Deformation:
    """One drawn deformation.

    Args:
        diaphragm_mm: by how much the domes rise; negative: a deeper breath.
        scale:        of the body along x, y, z.
        irregular_mm: standard deviation of the smooth displacements.
        seed:         of their places and directions.
    """

    diaphragm_mm: float = 0.0
    scale: tuple[float, float, float] = (1.0, 1.0, 1.0)
    irregular_mm: float = 0.0
    seed: int = 0

    @property
    def moves(self) -> bool:
        """Whether any voxel is displaced, beside the scale."""
        return bool(self.diaphragm_mm or self.irregular_mm)

    def to_dict(self) -> dict[str, Any]:
        """As JSON values."""
        return {**asdict(self), "scale": list(self.scale)}

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> Deformation:
        """What `to_dict` gave.

        Raises:
            DataError: numbers that no deformation has.
        """
        try:
            x, y, z = (float(one) for one in values["scale"])
            made = cls(float(values["diaphragm_mm"]), (x, y, z), float(values["irregular_mm"]), int(values["seed"]))
        except (KeyError, TypeError, ValueError) as error:
            raise DataError(f"a record's deformation is damaged ({error}); restore the records") from error
        if not all(0.25 < one < 4 for one in made.scale) or abs(made.diaphragm_mm) > 200:
            raise DataError(f"a record's deformation is damaged ({made}); restore the records")
        return made


def draw_deformation(settings: DeformationSettings, generator: torch.Generator) -> Deformation:
    """A deformation by chance.

    Args:
        settings:  how much it may be.
        generator: decides.
    """
    numbers = torch.rand(1, generator=generator, dtype=torch.float64, device="cpu")
    spread = torch.randn(3, generator=generator, dtype=torch.float64, device="cpu").clamp(-2.5, 2.5)
    seed = int(torch.randint(2**31, (), generator=generator, **WHOLE))
    x, y, z = (round(one, 6) for one in (settings.scale_spread * spread).exp().tolist())
    diaphragm_mm = round(settings.amplitude_mm * (2 * float(numbers[0]) - 1), 3)
    return Deformation(diaphragm_mm, (x, y, z), settings.irregular_mm, seed if settings.irregular_mm else 0)


def deform(
    ct: Volume, labels: Volume | None, deformation: Deformation, chest: ScannedChest
) -> tuple[Volume, Volume | None, dict[str, float]]:
    """A CT (linear) and its labels (nearest) moved by one map, each on its own grid; the scale moves the grids.

    Args:
        ct:          `(1, D, H, W)` HU.
        labels:      `(M, D, H, W)`, on the same grid, or None.
        deformation: what is done.
        chest:       that it is done to.

    Returns:
        CT, labels, and what came of it: `applied`, the part of the displacement that tissue takes without being
        pressed below `LEAST_JACOBIAN`, and `least_jacobian`.

    Raises:
        GeometryError: the grid is too coarse to tell, or labels lie on another one.
    """
    facts = {"applied": 1.0, "least_jacobian": 1.0}
    if labels is not None and labels.shape != ct.shape:
        raise GeometryError(f"labels are {labels.shape} voxels, the CT {ct.shape}; expected one grid")
    if deformation.moves:
        offsets, facts = displacement(ct, deformation, chest)
        ct = warp(ct, offsets, nearest=False)
        labels = None if labels is None else warp(labels, offsets, nearest=True)
    grown = _scaling(deformation.scale, chest)
    if deformation.scale != (1.0, 1.0, 1.0):
        ct = Volume(ct.values, grown @ ct.affine, ct.unit)
        labels = None if labels is None else Volume(labels.values, grown @ labels.affine, labels.unit)
    return ct, labels, facts


def displacement(volume: Volume, deformation: Deformation, chest: ScannedChest) -> tuple[Tensor, dict[str, float]]:
    """Where each place of a grid takes its values from, on a coarse lattice over the grid.

    Args:
        volume:      gives the grid.
        deformation: what is done; its scale is not read.
        chest:       that it is done to.

    Returns:
        (d, h, w, 3) offsets in voxels, and the facts of `deform`.

    Raises:
        GeometryError: no part of it can be applied without folding tissue.
    """
    index = lattice_index(volume)
    to_index = torch.linalg.inv(volume.affine[:3, :3])
    whole = -(moved_mm(volume.to_world(index), deformation, chest) @ to_index.T)
    applied = 1.0
    while applied > 0.1:
        offsets = applied * whole
        jacobian = jacobians(index, offsets)
        least, most = float(jacobian.min()), float(jacobian.max())
        if least >= LEAST_JACOBIAN and most <= 1 / LEAST_JACOBIAN:
            if applied < 1.0:
                _log.info("%.0f %% of a deformation is applied, lest tissue be pressed too much", 100 * applied)
            return offsets, {"applied": round(applied, 6), "least_jacobian": round(min(least, 1 / most), 6)}
        applied *= HELD
    raise GeometryError(
        f"a deformation by {deformation.diaphragm_mm:g} mm would fold the tissue of this CT; lower "
        "deformation.amplitude_mm or deformation.irregular_mm"
    )


def moved_mm(points: Tensor, deformation: Deformation, chest: ScannedChest) -> Tensor:
    """How far tissue comes from, at some places, before any of it is held back.

    The domes go up and down, the more the nearer to them, with nothing at the lungs' tops, at the wall, at the spine
    and at the CT's lowest slice; the ribs follow as they do in breathing; six smooth displacements make bodies differ.

    Args:
        points:      (..., 3) world mm.
        deformation: what is done.
        chest:       that it is done to.

    Returns:
        (..., 3) mm, in world axes.
    """
    x, y, z = points.unbind(-1)
    height = _height(z, chest)
    down = -deformation.diaphragm_mm * height
    outwards, forwards, upwards = WALL_PER_DIAPHRAGM
    half, depth = (chest.high[0] - chest.low[0]) / 2, chest.high[1] - chest.spine
    aside, ahead = ((x - chest.midline) / half).clamp(-2, 2), ((y - chest.spine) / depth).clamp(-0.5, 2)
    made = torch.stack(
        [
            down * outwards * aside,
            down * forwards * ahead,
            down * upwards * ahead.clamp(min=0.0) ** 2 * (1 - _within(x, y, chest)) - down * _within(x, y, chest),
        ],
        dim=-1,
    )
    return made + _bumps(points, deformation, chest) if deformation.irregular_mm else made


def _height(z: Tensor, chest: ScannedChest) -> Tensor:
    """0 at the lungs' tops, 1 at the diaphragm, 0 again at the CT's floor."""
    above = _smooth((chest.high[2] - z) / (chest.high[2] - chest.dome))
    below = _smooth((z - chest.floor) / max(chest.dome - chest.floor, 1.0))
    return torch.minimum(above, below)


def _smooth(part: Tensor) -> Tensor:
    part = part.clamp(0.0, 1.0)
    return part * part * (3 - 2 * part)


def _within(x: Tensor, y: Tensor, chest: ScannedChest) -> Tensor:
    """1 where the diaphragm moves freely, 0 at the wall and at the spine."""
    half = [(high - low) / 2 for low, high in zip(chest.low, chest.high, strict=True)]
    radius2 = ((x - chest.middle[0]) / half[0]) ** 2 + ((y - chest.middle[1]) / half[1]) ** 2
    spine2 = ((x - chest.midline) ** 2 + (y - chest.spine) ** 2) / SPINE_WIDTH_MM**2
    return (1 - radius2**2).clamp(min=0.0) ** 2 * (1 - (-(spine2**2) / 2).exp())


def _bumps(points: Tensor, deformation: Deformation, chest: ScannedChest) -> Tensor:
    """Smooth displacements about places in and beside the lungs' box, (..., 3) mm."""
    generator = torch.Generator().manual_seed(deformation.seed)
    drawn = torch.rand(BUMPS, 3, generator=generator, dtype=torch.float64, device="cpu")
    ways = torch.randn(BUMPS, 3, generator=generator, dtype=torch.float64, device="cpu").clamp(-2, 2)
    low, high = (torch.tensor(corner, dtype=torch.float64, device="cpu") for corner in (chest.low, chest.high))
    places = low + (1.4 * drawn - 0.2) * (high - low)
    near = (-((points[..., None, :] - places) ** 2).sum(-1) / (2 * BUMP_MM**2)).exp()
    return deformation.irregular_mm * near @ ways


def jacobians(index: Tensor, offsets: Tensor) -> Tensor:
    """Determinants of the map that offsets make of a lattice, cell by cell.

    Args:
        index:   (d, h, w, 3) voxel indices of the lattice.
        offsets: (d, h, w, 3) voxels, added to them.

    Returns:
        (d - 1, h - 1, w - 1), unitless; > 0 where nothing folds.
    """
    moved = index + offsets
    columns = []
    for axis in range(3):
        steps = moved.diff(dim=axis) / index.diff(dim=axis)[..., axis, None]
        for other in range(3):
            if other != axis:
                steps = (
                    steps.narrow(other, 0, steps.shape[other] - 1) + steps.narrow(other, 1, steps.shape[other] - 1)
                ) / 2
        columns.append(steps)
    return torch.linalg.det(torch.stack(columns, dim=-1))


def _scaling(scale: tuple[float, float, float], chest: ScannedChest) -> Tensor:
    """(4, 4) map of the world that scales it about the chest's middle."""
    made = torch.diag(torch.tensor([*scale, 1.0], dtype=torch.float64, device="cpu"))
    made[:3, 3] = torch.tensor(
        [(1 - s) * c for s, c in zip(scale, chest.middle, strict=True)], dtype=torch.float64, device="cpu"
    )
    return made
