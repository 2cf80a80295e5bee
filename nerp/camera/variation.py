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
    """Cameras turned about their isocentres, then shifted along the film, then zoomed.

    The detector retreats with the source as far as a turned body needs room in front of it: that
    of an elliptic cylinder as deep as the detector was away and as wide and high as the film.

    Args:
        camera:             B views with isocentres.
        angles_rad:         (B, 3) yaw about superior, pitch about right, roll about the beam, rad.
        shift_mm:           (B, 2) along the film's columns and rows, mm.
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
    axes = [_unit(axis) for axis in (camera.image_right, camera.image_down)]
    new_beam = _unit(turned.detector_centre - turned.source)
    half_right, half_down = _half_sizes_mm(camera)
    room = _dot(new_beam, beam) * _dot(camera.detector_centre - pivot, beam)
    across, along = _dot(new_beam, axes[0]) * half_right, _dot(new_beam, axes[1]) * half_down
    touch_mm = torch.hypot(room, across) + along.abs()
    touch_mm = torch.maximum(touch_mm, _dot(camera.detector_centre - pivot, beam))
    shift = shift_mm[:, :1] * _unit(turned.image_right) + shift_mm[:, 1:] * _unit(turned.image_down)
    detector = pivot + shift + touch_mm[:, None] * new_beam
    return replace(
        turned,
        source=detector - source_detector_mm[:, None] * new_beam,
        detector_centre=detector,
        image_right=turned.image_right * field_scale[:, None],
        image_down=turned.image_down * field_scale[:, None],
        isocentre=pivot + shift,
    )


def _half_sizes_mm(camera: Camera) -> tuple[Tensor, Tensor]:
    """Half the film's width and height, carried back to the isocentre."""
    to_film = (camera.detector_centre - camera.source).norm(dim=-1)
    carried = (camera.turning_point() - camera.source).norm(dim=-1) / to_film / 2
    height, width = (count * pixel for count, pixel in zip(camera.shape, camera.pixel_mm, strict=True))
    return carried * width * camera.image_right.norm(dim=-1), carried * height * camera.image_down.norm(dim=-1)


def _unit(vectors: Tensor) -> Tensor:
    return vectors / vectors.norm(dim=-1, keepdim=True)


def _dot(one: Tensor, other: Tensor) -> Tensor:
    return (one * other).sum(dim=-1)
