"""What of a body its CT does not hold, and which part of a detector looks there."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from nerp.anatomy import BodyMap, Cuts, find_cuts, map_body
from nerp.camera import Camera
from nerp.projection import siddon
from nerp.volume import Volume

BEYOND_MM, BELOW_MM = 20.0, 200.0
"""So far outside the CT a body that is cut is taken to go straight on; and below its lowest slice."""
SMALLEST_CUT = 0.05
"""A chest wall that is cut in less of its height than this only touches the field's edge."""
SMALLEST_LUNG_MM2 = 300.0
"""Lung on the first or last slice; less is the thin edge of a recess."""


@dataclass(frozen=True)
class Truncation:
    """What a CT cuts off, and where that shows.

    Args:
        cuts: what is cut, whatever the camera.
        mask: (B, 1, H, W) bool, pixels whose ray leaves the CT through the body, or meets it within `BEYOND_MM`
              outside, or `BELOW_MM` below.
    """

    cuts: Cuts
    mask: Tensor

    @property
    def fraction(self) -> Tensor:
        """(B,) float64, the part of each detector that the mask takes up, 0 to 1."""
        return self.mask.double().mean(dim=(1, 2, 3))

    @property
    def missing(self) -> tuple[str, ...]:
        """What is cut that a chest radiograph should show, in words; shoulders and arms are not counted."""
        found = [
            f"the chest wall at the {_side(side)} ({100 * part:.0f} % of its height)"
            for side, part in self.cuts.sides.items()
            if part >= SMALLEST_CUT
        ]
        for name, area in (("apices", self.cuts.apex_mm2), ("bases", self.cuts.base_mm2)):
            if area >= SMALLEST_LUNG_MM2:
                found.append(f"the lung {name} ({area / 100:.0f} cm2 of lung on the outermost slice)")
        return tuple(found)

    @property
    def warning(self) -> str | None:
        """One line where something is missing, else None."""
        if not self.missing:
            return None
        return f"the CT cuts {', '.join(self.missing)}; {self._seen()}: choose another CT, or mask these pixels"

    @property
    def text(self) -> str:
        """One line on all that is and is not in the CT."""
        chest = f"the CT cuts {', '.join(self.missing)}" if self.missing else "the CT holds the whole chest"
        if not self.cuts.has_lungs:
            chest += ", in which no lungs are found"
        shoulders = "are cut" if self.cuts.shoulders >= SMALLEST_CUT else "are not cut"
        arms = "arms lie beside the chest" if self.cuts.arms_beside else "no arms lie beside the chest"
        return f"{chest}; the shoulders {shoulders}; {arms}; {self._seen()}"

    def to_dict(self) -> dict[str, Any]:
        """Plain numbers for a record."""
        cuts = self.cuts
        return {
            "missing": list(self.missing),
            "sides": {side: round(part, 4) for side, part in cuts.sides.items()},
            "shoulders": round(cuts.shoulders, 4),
            "apex_mm2": round(cuts.apex_mm2, 1),
            "base_mm2": round(cuts.base_mm2, 1),
            "above_mm": round(cuts.above_mm, 2),
            "below_mm": round(cuts.below_mm, 2),
            "arms_beside": cuts.arms_beside,
            "detector_fraction": [round(part, 5) for part in self.fraction.tolist()],
        }

    def _seen(self) -> str:
        return f"{100 * float(self.fraction.max()):.1f} % of the detector looks where the body goes on beyond the CT"


def truncation(ct: Volume, camera: Camera, *, body: BodyMap | None = None) -> Truncation:
    """Find what the field of view and the first and last slice cut off, and the pixels that this touches.

    Shoulders and arms, which nearly every CT cuts or lacks, are stated but not missed.

    Args:
        ct:     `(C, D, H, W)` in HU or 1/mm.
        camera: B views.
        body:   the CT's `map_body`, where that is known.

    Raises:
        VolumeError: another unit, or no tissue.
    """
    body = map_body(ct) if body is None else body
    cuts = find_cuts(body)
    before, after = (
        [math.ceil(far / step) for far, step in zip((end, BEYOND_MM, BEYOND_MM), body.spacing_mm, strict=True)]
        for end in (BELOW_MM, BEYOND_MM)
    )
    surface = np.pad(cuts.surface, list(zip(before, after, strict=True)), mode="edge")
    shift = torch.eye(4, dtype=torch.float64, device="cpu")
    shift[:3, 3] = -torch.tensor(before, dtype=torch.float64, device="cpu")
    values = torch.from_numpy(surface.astype(np.float32))[None]
    lengths = siddon(Volume(values, body.affine @ shift, "1/mm"), camera)
    return Truncation(cuts, lengths > 0)


def _side(side: str) -> str:
    return f"patient's {side}" if side in ("left", "right") else side
