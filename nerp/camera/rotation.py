"""Rotations of views in the world, from angles that may carry gradients."""

from __future__ import annotations

import torch
from torch import Tensor


def view_rotation(*, yaw_rad: Tensor, pitch_rad: Tensor, roll_rad: Tensor, beam: Tensor) -> Tensor:
    """World rotation of a view: roll about the beam, then pitch about right, then yaw about superior.

    Each angle turns right-handed about its axis: a positive yaw carries +x (right) towards +y
    (anterior), a positive pitch +y towards +z.

    Args:
        yaw_rad, pitch_rad, roll_rad: (B,) angles, rad.
        beam: (B, 3) unit direction from the source to the detector's centre, before turning.

    Returns:
        (B, 3, 3) rotation. Differentiable in all.
    """
    x, _, z = torch.eye(3, dtype=beam.dtype, device=beam.device)
    yaw, pitch = _about(z.expand_as(beam), yaw_rad), _about(x.expand_as(beam), pitch_rad)
    return yaw @ pitch @ _about(beam, roll_rad)


def _about(axis: Tensor, angle_rad: Tensor) -> Tensor:
    """Rotation about unit axes (B, 3) by angles (B,): Rodrigues' formula."""
    zero = torch.zeros_like(axis[:, 0])
    x, y, z = axis.unbind(-1)
    cross = torch.stack([zero, -z, y, z, zero, -x, -y, x, zero], dim=-1).view(-1, 3, 3)
    sine, cosine = angle_rad.sin()[:, None, None], angle_rad.cos()[:, None, None]
    eye = torch.eye(3, dtype=axis.dtype, device=axis.device)
    return eye + sine * cross + (1 - cosine) * (cross @ cross)


def apply_rotation(rotation: Tensor, vectors: Tensor) -> Tensor:
    """Turn vectors. Differentiable in both.

    Args:
        rotation: (B, 3, 3), or one (3, 3) for all.
        vectors:  (B, 3).

    Returns:
        (B, 3).
    """
    return (rotation @ vectors.unsqueeze(-1)).squeeze(-1)
