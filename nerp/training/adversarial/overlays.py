"""What lies on real films, laid on rendered ones before they are judged: objects, the lead letter, the collimator.

A discriminator that has seen them on real films alone would tell by them; the mapper, which cannot draw them, would
try. They are laid on the display image: it is cheap, and the gradient passes through to the anatomy between them.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from nerp.anatomy import Landmarks
from nerp.camera import Camera
from nerp.devices import SINGLE
from nerp.networks.settings import DiscriminatorSettings
from nerp.physics.marker import drawn
from nerp.physics.objects import project_object_materials, random_objects

LETTER_INSET_MM = 25.0
"""The lead letter lies up to so far inwards of where `nerp.physics.marker` puts it."""
WIDEST_BORDER = 0.08
"""Of the collimator's shadow, as a fraction of the image's side; each of the four is drawn by itself."""
SAMPLES = 2
"""Rays along each side of a pixel: wires thinner than a pixel get their right weight."""


@dataclass(frozen=True)
class Overlay:
    """What is laid on B display images: `image * kept + added`.

    Args:
        kept:  (B, 1, H, W) 0 to 1, what is left of the image.
        added: (B, 1, H, W) 0 to 1, what is put over it.
    """

    kept: Tensor
    added: Tensor

    def on(self, images: Tensor) -> Tensor:
        """(B, 1, H, W) of (B, 1, H, W) in 0 to 1, in 0 to 1; differentiable in the images."""
        return images * self.kept.to(images) + self.added.to(images)


def draw_overlay(
    settings: DiscriminatorSettings,
    camera: Camera,
    marks: Landmarks | None,
    *,
    span: float,
    generator: torch.Generator,
) -> Overlay:
    """What lies on one film, at random.

    Objects brighten as they would a DRR of the same range, without ever passing white: an image x becomes
    1 - (1 - x) exp(-a / span) behind an attenuation a.

    Args:
        settings:  which objects, and how often there are such, letters and borders.
        camera:    a batch of one.
        marks:     where objects can lie; None where there are none.
        span:      between black and white of the DRR by this camera, unitless.
        generator: decides all.

    Source: Beer-Lambert law for the shadow; ours for its place on the display's scale.
    """
    chance = torch.rand(8, generator=generator, **SINGLE).tolist()
    wanted = marks is not None and settings.objects != "none" and chance[0] < settings.objects_fraction
    kept = torch.ones(1, 1, *camera.shape, **SINGLE)
    if wanted and marks is not None:
        kept = _behind_objects(settings.objects, camera, marks, generator, span)
    added = 1.0 - kept
    if chance[1] < settings.borders:
        field = _field(camera.shape, chance[2:6])
        kept, added = kept * field, added * field
    if chance[6] < settings.markers:
        letter = _letter(camera, chance[7], generator)
        kept, added = kept * (1.0 - letter), added * (1.0 - letter) + letter
    return Overlay(kept, added)


def joined(overlays: list[Overlay]) -> Overlay:
    """Overlays of several films in one."""
    return Overlay(torch.cat([one.kept for one in overlays]), torch.cat([one.added for one in overlays]))


def _behind_objects(setting: str, camera: Camera, marks: Landmarks, generator: torch.Generator, span: float) -> Tensor:
    """(1, 1, H, W) what is left of the darkness behind a random set of objects."""
    camera = camera.to("cpu")
    placed = random_objects(marks, generator, setting=setting)
    return torch.exp(-project_object_materials(placed, camera, samples=SAMPLES).attenuation() / span)


def _field(shape: tuple[int, int], widths: list[float]) -> Tensor:
    """(H, W) transparency of the collimator's blades, 0 or 1, an edge one pixel soft; widths 0 to 1 of the widest."""
    sides = []
    for count, (first, last) in zip(shape, (widths[:2], widths[2:]), strict=True):
        place = torch.arange(count, **SINGLE) + 0.5
        inside = torch.minimum(place - WIDEST_BORDER * first * count, (1 - WIDEST_BORDER * last) * count - place)
        sides.append((inside + 0.5).clamp(0.0, 1.0))
    return sides[0][:, None] * sides[1][None]


def _letter(camera: Camera, share: float, generator: torch.Generator) -> Tensor:
    """(1, 1, H, W) 0 to 1, R or L at the patient's own side."""
    side = "R" if torch.rand((), generator=generator, **SINGLE) < 0.5 else "L"
    rows_mm, columns_mm = camera.pixel_mm[0].tolist()
    return drawn(side, camera.shape, (rows_mm, columns_mm), inset_mm=share * LETTER_INSET_MM).to(torch.float32)
