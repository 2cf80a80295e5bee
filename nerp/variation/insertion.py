"""Findings drawn into the lungs of a CT, by the same bodies that phantoms have."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import partial
from typing import Any

import numpy as np
import torch
from torch import Tensor

from nerp.anatomy import closed_lungs, rib_cage
from nerp.devices import SINGLE
from nerp.phantom.chest import Walls
from nerp.phantom.findings import draw_consolidation, draw_nodules, paint_consolidation, paint_nodules
from nerp.phantom.patient import stream
from nerp.phantom.pleura import draw_pleural, paint_pleural
from nerp.phantom.tissue import GRAIN_HU, USUAL_GRAIN_HU, Noise
from nerp.variation.chest import ScannedChest, measure_chest
from nerp.variation.ground import LungGround
from nerp.variation.settings import INSERTABLE
from nerp.volume import Volume

ROOM_CLOSE_MM = 6.0
"""Vessels within the lungs, and fissures, are room for findings."""
SCANNER_HU = 10.0
"""Noise of a CT in soft tissue, as usual with the kernels of the chest."""
BOTH_SIDES = 0.1
"""A finding with more than this part of its volume on either side lies on both."""
AIR_GRAIN_HU = 4.0
RIM_VOXELS = 1.8
AERATED_HU = -60.0
FLUID_HU = 12.0


class _Cage:
    """What fluid and free air need to know of a scanned chest, in the frame of its ground.

    Args:
        chest:  its measures, world mm.
        ground: of its lungs.
        wall:   (d, h, w) distance to the rib cage, mm, negative inside.
    """

    def __init__(self, chest: ScannedChest, ground: LungGround, wall: Tensor):
        self.dome_mm = chest.dome - ground.origin[2]
        self._wall = wall

    def cupola(self, x: Tensor, y: Tensor, z: Tensor) -> Tensor:
        """The rib cage closes above the lungs as well: what lies below it is below the cupola, mm.

        Args:
            x, y, z: coordinates of the ground, mm.
        """
        return self._wall - 20.0


def insert_findings(
    ct: Volume, labels: Volume, *, lungs: Sequence[int], values: Mapping[str, int], seed: int
) -> tuple[Volume, Volume, list[dict[str, Any]]]:
    """A CT and its labels with findings in the lungs; what was lung there takes the finding's label.

    Args:
        ct:     `(1, D, H, W)` HU.
        labels: `(M, D, H, W)`, on the same grid.
        lungs:  label values of the lungs.
        values: label value of each finding that is to be there; names of `INSERTABLE`.
        seed:   decides sides, sizes, places.

    Returns:
        CT, labels, and of each finding its `kind`, `label`, `side` (`right`, `left`, `both`, or `none` where the lungs
        have no room for it), `volume_ml`, `mean_hu`.

    Raises:
        DataError: there is no lung.
    """
    room = closed_lungs(labels, lungs, close_mm=ROOM_CLOSE_MM, working_mm=3.0)
    chest = measure_chest(room)
    codes = {name: number for number, name in enumerate(INSERTABLE, start=1)}
    ground = LungGround(ct, room, chest, codes)
    _paint(ground, chest, tuple(values), seed)
    hu, marked = ct.values.clone(), labels.values.clone()
    hu[0][ground.part] = ground.hu.round().to(hu.device, hu.dtype)
    is_lung = torch.isin(marked, torch.tensor(list(lungs), dtype=marked.dtype, device=marked.device))
    of_lungs = int(is_lung.flatten(1).sum(1).argmax())
    for name, value in values.items():
        _mark(marked, (ground.painted == codes[name]).to(marked.device), (is_lung, of_lungs), ground.part, value)
    facts = [_facts(ground, name, value) for name, value in values.items()]
    return Volume(hu, ct.affine, "hu"), Volume(marked, labels.affine, "label"), facts


def _paint(ground: LungGround, chest: ScannedChest, names: Sequence[str], seed: int) -> None:
    """Fluid and air, then clouds, then nodules, as in a phantom; then the grain of each."""
    noise = Noise.laid(ground.hu.shape, ground.spacing_mm, seed)
    lung, case = ground.space, draw_pleural(seed, tuple(names))
    if case.effusion or case.pneumothorax:
        wall = -_depth_mm(ground)
        cage, walls = _Cage(chest, ground, wall), Walls(wall, ground.points[2])
        paint_pleural(ground, cage, case, walls, lung)
        lung = case.aerated(cage, ground.points, walls, lung)
    room = partial(ground.read, lung)
    if "consolidation" in names:
        paint_consolidation(ground, draw_consolidation(seed, room), lung, noise.coarse)
    if "nodule" in names:
        paint_nodules(ground, draw_nodules(seed, room), noise.fine)
    _wet_rim(ground)
    _add_grain(ground, noise.fine, stream(seed, "inserted"))


def _wet_rim(ground: LungGround) -> None:
    """Half-aerated voxels of the pleura beside fluid are no longer aerated."""
    from scipy import ndimage

    fluid = (ground.painted == ground.codes["effusion"]).numpy()
    if not fluid.any():
        return
    beside_mm = ndimage.distance_transform_edt(~fluid, sampling=ground.spacing_mm)
    rim = torch.from_numpy(beside_mm <= RIM_VOXELS * max(ground.spacing_mm)) & ~ground.inside
    ground.hu[rim & (ground.hu < AERATED_HU)] = FLUID_HU


def _depth_mm(ground: LungGround) -> Tensor:
    """(d, h, w) distance from the rib cage, mm: from the lungs' outline in their slice and in those above it."""
    from scipy import ndimage

    cage = rib_cage(ground.inside, ground.affine).numpy()
    return torch.from_numpy(ndimage.distance_transform_edt(cage, sampling=ground.spacing_mm)).float()


def _add_grain(ground: LungGround, fine: Tensor, generator: torch.Generator) -> None:
    scanner = torch.randn(ground.hu.shape, generator=generator, **SINGLE)
    for name, code in ground.codes.items():
        where = ground.painted == code
        grain = AIR_GRAIN_HU if name == "pneumothorax" else GRAIN_HU.get(name, USUAL_GRAIN_HU)
        noise = AIR_GRAIN_HU if name == "pneumothorax" else SCANNER_HU
        ground.hu[where] += (grain * fine + noise * scanner)[where]
    ground.hu.clamp_(min=-1024.0)


def _mark(marked: Tensor, where: Tensor, lungs: tuple[Tensor, int], part: tuple[slice, ...], value: int) -> None:
    """Write a finding's label: over the lungs' in every map, and where nothing is labelled in the lungs' own."""
    is_lung, of_lungs = lungs
    for number, (one, lung) in enumerate(zip(marked, is_lung, strict=True)):
        free = lung[part] | (one[part] == 0) if number == of_lungs else lung[part]
        one[part][where & free] = float(value)
    free = (marked == 0).all(dim=0)[part]
    marked[of_lungs][part][where & free] = float(value)


def _facts(ground: LungGround, name: str, value: int) -> dict[str, Any]:
    """What a record says of one finding."""
    where = ground.painted == ground.codes[name]
    voxel_ml, count = float(np.prod(ground.spacing_mm)) / 1000.0, int(where.sum())
    facts = {"kind": name, "label": value, "side": "none", "volume_ml": round(count * voxel_ml, 3), "mean_hu": None}
    if not count:
        return facts
    right = float((ground.points[0].expand(where.shape)[where] > 0).double().mean())
    side = "right" if right > 1 - BOTH_SIDES else "left" if right < BOTH_SIDES else "both"
    return {**facts, "side": side, "mean_hu": round(float(ground.hu[where].double().mean()), 1)}
