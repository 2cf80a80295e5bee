"""Views of the chest as radiographers take them."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from nerp.anatomy import find_anatomy
from nerp.arguments import image_shape
from nerp.camera.framing import frame
from nerp.camera.perspective import Camera
from nerp.camera.rotation import apply_rotation, view_rotation
from nerp.errors import UsageError
from nerp.volume import Volume

OBLIQUE_DEG = 30.0
"""Turn of the oblique view where none is given; radiographers use 10 to 60."""


@dataclass(frozen=True)
class _Preset:
    beam: tuple[float, float, float]
    image_right: tuple[float, float, float]
    source_detector_mm: float


VIEWS = {
    "pa": _Preset((0.0, 1.0, 0.0), (-1.0, 0.0, 0.0), 1800.0),
    "ap": _Preset((0.0, -1.0, 0.0), (-1.0, 0.0, 0.0), 1000.0),
    "lateral": _Preset((-1.0, 0.0, 0.0), (0.0, -1.0, 0.0), 1800.0),
    "oblique": _Preset((0.0, 1.0, 0.0), (-1.0, 0.0, 0.0), 1800.0),
}
"""Beam from source to detector and direction of growing columns, before `oblique` turns."""


def chest_camera(
    volume: Volume, view: str = "pa", *, shape: tuple[int, int] | int = (256, 256), angle_deg: float = 0.0
) -> Camera:
    """One camera that frames a chest as a radiograph does.

    The isocentre is the lungs' middle, or a little below or above it where the scan ends too soon;
    the lungs take about four fifths of the detector, the detector touches the body, pixels are square.
    Without lungs the whole body is framed, without HU or 1/mm values the whole grid.

    | view      | source       | detector touches  | source to detector | column 0        |
    |-----------|--------------|-------------------|--------------------|-----------------|
    | `pa`      | behind       | the chest's front | 1800 mm            | patient's right |
    | `ap`      | in front     | the back          | 1000 mm (bedside)  | patient's right |
    | `lateral` | on the right | the left side     | 1800 mm            | anterior        |
    | `oblique` | as `pa`, turned by `angle_deg` about the superior axis  | 1800 mm | right |

    Args:
        volume:    `(C, D, H, W)` in HU or 1/mm; anything else is framed by its box.
        view:      `pa`, `ap`, `lateral` or `oblique`.
        shape:     (H, W) detector pixels; one number is both.
        angle_deg: of `oblique` alone; positive brings the left front side to the detector (LAO).

    Returns:
        A batch of one float64 camera on the CPU, with its isocentre.

    Raises:
        UsageError: an unknown view, or an angle with a view that does not turn.
    """
    shape = image_shape(shape)
    if view not in VIEWS:
        raise UsageError(f"unknown view {view!r}; expected one of {', '.join(VIEWS)}")
    if angle_deg and view != "oblique":
        raise UsageError(f"view {view!r} does not turn but angle_deg is {angle_deg:g}; use view 'oblique' or drop it")
    axes, sdd_mm = _axes(VIEWS[view], math.radians(angle_deg)), VIEWS[view].source_detector_mm
    framed = frame(find_anatomy(volume), axes, shape, sdd_mm=sdd_mm)
    down, right, beam = axes
    source, detector = framed.centre - beam * (sdd_mm - framed.touch_mm), framed.centre + beam * framed.touch_mm
    pixel_mm = torch.full((1, 2), framed.pixel_mm, dtype=torch.float64, device="cpu")
    places = (source[None], detector[None], right[None], down[None])
    return Camera(*places, shape=(shape[0], shape[1]), pixel_mm=pixel_mm, isocentre=framed.centre[None])


def _axes(preset: _Preset, yaw_rad: float) -> Tensor:
    """Unit rows: image down, image right, beam."""
    vectors = torch.tensor([(0.0, 0.0, -1.0), preset.image_right, preset.beam], dtype=torch.float64, device="cpu")
    zero = torch.zeros(1, dtype=torch.float64, device="cpu")
    turn = view_rotation(yaw_rad=zero + yaw_rad, pitch_rad=zero, roll_rad=zero, beam=vectors[2:])
    return apply_rotation(turn, vectors)
