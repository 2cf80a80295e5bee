"""Ranges of views, and drawing from them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from nerp.camera.perspective import Camera
from nerp.camera.variation import vary
from nerp.camera.views import OBLIQUE_DEG, VIEWS, chest_camera
from nerp.settings import Settings, choice, limits, number
from nerp.volume import Volume


@dataclass(frozen=True)
class CameraDistribution(Settings):
    """Ranges, each (lowest, highest), from which views around a base camera are drawn evenly.

    Args:
        yaw_deg:            turn about the superior axis.
        pitch_deg:          turn about the patient's right axis.
        roll_deg:           turn about the beam.
        shift_mm:           shift of the detector, along its columns and along its rows.
        source_detector_mm: distance between source and detector; None keeps the base camera's.
        field_scale:        factor of the field of view that is fitted to the chest.

    Raises:
        ConfigError: a range that is not two ascending numbers within its bounds.
    """

    SECTION: ClassVar[str] = "camera"

    yaw_deg: tuple[float, float] = limits((-10.0, 10.0), -180.0, 180.0)
    pitch_deg: tuple[float, float] = limits((-5.0, 5.0), -90.0, 90.0)
    roll_deg: tuple[float, float] = limits((-3.0, 3.0), -180.0, 180.0)
    shift_mm: tuple[float, float] = limits((-10.0, 10.0), -1000.0, 1000.0)
    source_detector_mm: tuple[float, float] | None = limits(None, 100.0, 20_000.0)
    field_scale: tuple[float, float] = limits((0.95, 1.1), 0.2, 5.0)

    def sample(self, base: Camera | Volume, n: int, generator: torch.Generator) -> Camera:
        """Draw `n` views around each base camera.

        Args:
            base:      B cameras with isocentres, mm; or a CT `(1, D, H, W)`, whose PA view is then taken.
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


@dataclass(frozen=True)
class ViewSettings(CameraDistribution):
    """A view, and the ranges in which cameras vary about it: the same for training, DRR pairs and VRR pairs.

    Args:
        view:      preset that the cameras vary about.
        angle_deg: turn of the `oblique` view; the others do not turn, whatever it says.
        yaw_deg, pitch_deg, roll_deg, shift_mm, source_detector_mm, field_scale: as for `CameraDistribution`.
    """

    view: str = choice("pa", *(name for name in VIEWS if name != "pa"))
    angle_deg: float = number(OBLIQUE_DEG, -90.0, 90.0)

    @property
    def turn_deg(self) -> float:
        """`angle_deg` of the oblique view; 0 for the others."""
        return float(self.angle_deg) if self.view == "oblique" else 0.0

    def base_camera(self, ct: Volume, shape: tuple[int, int]) -> Camera:
        """The view's preset on a CT.

        Args:
            ct:    `(1, D, H, W)` HU or 1/mm.
            shape: (H, W) pixels.

        Returns:
            A batch of one float64 camera.
        """
        return chest_camera(ct, self.view, shape=shape, angle_deg=self.turn_deg)
