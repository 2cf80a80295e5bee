"""Ranges of views, and drawing from them."""

from __future__ import annotations

import math
from dataclasses import dataclass, fields

import torch
from torch import Tensor

from nerp.camera.perspective import Camera
from nerp.camera.variation import vary
from nerp.camera.views import chest_camera
from nerp.errors import UsageError
from nerp.volume import Volume


@dataclass(frozen=True)
class CameraDistribution:
    """Ranges, each (lowest, highest), from which views around a base camera are drawn evenly.

    Args:
        yaw_deg:            turn about the superior axis.
        pitch_deg:          turn about the patient's right axis.
        roll_deg:           turn about the beam.
        shift_mm:           shift of the detector, along its columns and along its rows.
        source_detector_mm: distance between source and detector; None keeps the base camera's.
        field_scale:        factor of the field of view.

    Raises:
        UsageError: a range that is not two ascending finite numbers, or not above 0 where it must be.
    """

    yaw_deg: tuple[float, float] = (-10.0, 10.0)
    pitch_deg: tuple[float, float] = (-5.0, 5.0)
    roll_deg: tuple[float, float] = (-3.0, 3.0)
    shift_mm: tuple[float, float] = (-10.0, 10.0)
    source_detector_mm: tuple[float, float] | None = None
    field_scale: tuple[float, float] = (0.95, 1.1)

    def __post_init__(self):
        for field in fields(self):
            limits = getattr(self, field.name)
            if field.name == "source_detector_mm" and limits is None:
                continue
            ascending = len(limits) == 2 and -math.inf < limits[0] <= limits[1] < math.inf
            if not ascending or (field.name in ("source_detector_mm", "field_scale") and limits[0] <= 0):
                bound = " above 0" if field.name in ("source_detector_mm", "field_scale") else ""
                raise UsageError(f"camera range {field.name} is {limits}; expected (lowest, highest){bound}")

    def sample(self, base: Camera | Volume, n: int, generator: torch.Generator) -> Camera:
        """Draw `n` views around each base camera.

        Args:
            base:      B cameras with isocentres, or a CT, whose PA view is then taken.
            n:         views of each base camera.
            generator: the source of randomness; seven numbers are drawn for each view.

        Returns:
            B n float64 cameras; the views of each base camera are contiguous. The same generator
            state gives the same cameras. Differentiable in the base cameras.

        Raises:
            GeometryError: the base cameras have no isocentre.
        """
        base = (chest_camera(base) if isinstance(base, Volume) else base).to(torch.float64).repeat(n)
        fractions = torch.rand(len(base), 7, dtype=torch.float64, generator=generator, device=generator.device)
        fractions = fractions.to(base.source.device)
        angles, shift, distance, scale = fractions.split([3, 2, 1, 1], dim=1)
        ranges = zip((self.yaw_deg, self.pitch_deg, self.roll_deg), angles.unbind(1), strict=True)
        source_detector_mm = (base.detector_centre - base.source).norm(dim=-1)
        if self.source_detector_mm is not None:
            source_detector_mm = _within(self.source_detector_mm, distance[:, 0])
        return vary(
            base,
            torch.stack([_within(limits, fraction) for limits, fraction in ranges], dim=1).deg2rad(),
            shift_mm=_within(self.shift_mm, shift),
            source_detector_mm=source_detector_mm,
            field_scale=_within(self.field_scale, scale[:, 0]),
        )


def _within(limits: tuple[float, float], fractions: Tensor) -> Tensor:
    return limits[0] + (limits[1] - limits[0]) * fractions
