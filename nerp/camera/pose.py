"""What a camera looks like to a radiographer: its angles, and the name of the view that it is."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from nerp.camera.perspective import Camera

NAMED_WITHIN_DEG = 20.0
"""A beam this close to a named view's is still called so; patients stand a little turned."""

_BEAMS = {"pa": (0.0, 1.0, 0.0), "ap": (0.0, -1.0, 0.0), "lateral": (-1.0, 0.0, 0.0)}


@dataclass(frozen=True)
class ViewAngles:
    """Where the central beams of B cameras head. Each angle is right-handed about the axis of its turn.

    Args:
        azimuth_deg:   (B,) heading about the superior axis, -180 to 180; 0 runs from back to front.
        elevation_deg: (B,) climb towards the head, -90 to 90.
        roll_deg:      (B,) the detector's turn about the beam, -180 to 180.
    """

    azimuth_deg: Tensor
    elevation_deg: Tensor
    roll_deg: Tensor


def view_angles(camera: Camera) -> ViewAngles:
    """The angles of B cameras against the patient's axes, measured from their geometry alone.

    Args:
        camera: B views.

    Returns:
        (B,) float64 angles in degrees. A beam along the superior axis has no level line: its roll is 0.
    """
    camera = camera.to("cpu", torch.float64)
    beam, right = _beam(camera), camera.image_right
    up = torch.tensor([0.0, 0.0, 1.0], dtype=torch.float64, device="cpu").expand_as(beam)
    level = torch.linalg.cross(beam, up)
    side = _dot(right, level).sign()[:, None]
    level = side * level / level.norm(dim=-1, keepdim=True).clamp(min=1e-9)
    return ViewAngles(
        azimuth_deg=torch.atan2(-beam[:, 0], beam[:, 1]).rad2deg(),
        elevation_deg=torch.asin(beam[:, 2].clamp(-1.0, 1.0)).rad2deg(),
        roll_deg=torch.atan2(_dot(torch.linalg.cross(level, right), beam), _dot(right, level)).rad2deg(),
    )


def view_names(camera: Camera) -> list[str]:
    """What each of B cameras is: `pa`, `ap`, `lateral` within 20 degrees of the central beam, else `oblique`.

    Args:
        camera: B views.

    Returns:
        B names. A lateral with the source on the left counts as one, too.
    """
    beam = _beam(camera.to("cpu", torch.float64))
    names = list(_BEAMS)
    cosines = beam @ torch.tensor([_BEAMS[name] for name in names], dtype=torch.float64, device="cpu").T
    cosines[:, names.index("lateral")] = cosines[:, names.index("lateral")].abs()
    angle_deg, nearest = torch.acos(cosines.clamp(-1.0, 1.0)).rad2deg().min(dim=1)
    is_near = (angle_deg <= NAMED_WITHIN_DEG).tolist()
    return [names[index] if near else "oblique" for index, near in zip(nearest.tolist(), is_near, strict=True)]


def _beam(camera: Camera) -> Tensor:
    """(B, 3) unit directions from the source to the detector's centre."""
    beam = camera.detector_centre - camera.source
    return beam / beam.norm(dim=-1, keepdim=True)


def _dot(one: Tensor, other: Tensor) -> Tensor:
    return (one * other).sum(dim=-1)
