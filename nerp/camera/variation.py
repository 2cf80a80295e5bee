"""Views turned, shifted and zoomed around a given one, as a patient stands a little differently."""

from __future__ import annotations

from dataclasses import replace

import torch
from torch import Tensor

from nerp.camera.perspective import Camera
from nerp.camera.rotation import view_rotation


def vary(
    camera: Camera, angles_rad: Tensor, *, shift_mm: Tensor, source_detector_mm: Tensor, field_scale: Tensor
) -> Camera:
    """Cameras turned about their isocentres, then shifted along the detector, then zoomed.

    The detector retreats with the source as far as a turned body needs room in front of it: that
    of an elliptic cylinder as deep as the detector was away and as wide and high as the detector.

    Args:
        camera:             B views with isocentres.
        angles_rad:         (B, 3) yaw about superior, pitch about right, roll about the beam, rad.
        shift_mm:           (B, 2) along the detector's columns and rows, mm.
        source_detector_mm: (B,) distance between source and detector, mm.
        field_scale:        (B,) factor of the field of view.

    Returns:
        B views. Differentiable in every argument.

    Raises:
        GeometryError: the camera has no isocentre.
    """
    pivot, beam = camera.turning_point(), _unit(camera.detector_centre - camera.source)
    yaw, pitch, roll = angles_rad.unbind(-1)
    turned = camera.rotated(view_rotation(yaw_rad=yaw, pitch_rad=pitch, roll_rad=roll, beam=beam))
    new_beam = _unit(turned.detector_centre - turned.source)
    half_right, half_down = _half_sizes_mm(camera)
    room = _dot(new_beam, beam) * _dot(camera.detector_centre - pivot, beam)
    across, along = _dot(new_beam, camera.image_right) * half_right, _dot(new_beam, camera.image_down) * half_down
    touch_mm = torch.hypot(room, across) + along.abs()
    touch_mm = torch.maximum(touch_mm, _dot(camera.detector_centre - pivot, beam))
    shift = shift_mm[:, :1] * turned.image_right + shift_mm[:, 1:] * turned.image_down
    detector = pivot + shift + touch_mm[:, None] * new_beam
    return replace(
        turned,
        source=detector - source_detector_mm[:, None] * new_beam,
        detector_centre=detector,
        pixel_mm=turned.pixel_mm * field_scale[:, None],
        isocentre=pivot + shift,
    )


def _half_sizes_mm(camera: Camera) -> tuple[Tensor, Tensor]:
    """(B,) half the detector's width and height, carried back to the isocentre, mm."""
    to_detector = (camera.detector_centre - camera.source).norm(dim=-1)
    carried = (camera.turning_point() - camera.source).norm(dim=-1) / to_detector / 2
    height, width = camera.size_mm.unbind(-1)
    return carried * width, carried * height


def _unit(vectors: Tensor) -> Tensor:
    return vectors / vectors.norm(dim=-1, keepdim=True)


def _dot(one: Tensor, other: Tensor) -> Tensor:
    return (one * other).sum(dim=-1)
