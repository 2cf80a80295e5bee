"""How a CT becomes an image: one protocol, one class for each mode, and the registry that `mode` is the key of."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

import torch
from torch import Tensor

from nerp.camera import Camera
from nerp.errors import UsageError
from nerp.projection import siddon
from nerp.projection.dispatch import choose_backend
from nerp.synthesis.generator import TrainedGenerator
from nerp.volume import Fields, Volume, attenuation


@dataclass(frozen=True)
class Scene:
    """What a renderer is made from.

    Args:
        ct:        `(1, D, H, W)` HU.
        device:    where it is projected.
        backend:   of the projection, `auto` for the best that is live.
        generator: a trained run, for the modes that need one.
    """

    ct: Volume
    device: torch.device
    backend: str
    generator: TrainedGenerator | None = None


class Renderer(Protocol):
    """One CT, ready to be seen by any camera. Masks by the rule `rendered` need its `fields`."""

    @property
    def backend(self) -> str:
        """Name of the projection's backend that is used here."""

    @property
    def display(self) -> str:
        """Name of the display scaling, see `nerp.display`."""

    @property
    def fields(self) -> Fields | None:
        """What the rays march through, (1, D, H, W) each; None where they do not march."""

    def render(self, camera: Camera) -> Tensor:
        """(1, 1, H, W) image as projected, not scaled for display, of a batch of one camera."""

    @property
    def weights_sha256(self) -> str | None:
        """Hash of its weights, if it has any, for the record."""

    @property
    def config_sha256(self) -> str | None:
        """Hash of the settings that decide what it renders, if it has any, for the record."""


class DRRRenderer:
    """Line integrals of the attenuation: mode `drr`.

    Args:
        scene: its generator is not read.
    """

    display = "percentile"

    def __init__(self, scene: Scene):
        self.fields: Fields | None = None
        self.weights_sha256: str | None = None
        self.config_sha256: str | None = None
        self._attenuation = attenuation(scene.ct).to(scene.device)
        self.backend = _backend_name(scene.backend, self._attenuation.values)

    def render(self, camera: Camera) -> Tensor:
        """(1, 1, H, W) path integrals, unitless."""
        return siddon(self._attenuation, camera, backend=self.backend)


class LearnedRenderer:
    """Radiographs of a trained generator: mode `vrr`.

    Args:
        scene: with a generator.

    Raises:
        UsageError: there is none.
    """

    display = "percentile"

    def __init__(self, scene: Scene):
        if scene.generator is None:
            raise UsageError("mode vrr needs a trained run; give the folder that nerp train wrote, or use mode drr")
        self._generator = scene.generator
        self._fields = scene.generator.fields(scene.ct, scene.device)
        self.fields: Fields | None = self._fields
        self.weights_sha256: str | None = scene.generator.weights_sha256
        self.config_sha256: str | None = scene.generator.config_sha256
        self.backend = _backend_name(scene.backend, self._fields.matter)

    def render(self, camera: Camera) -> Tensor:
        """(1, 1, H, W) intensities, unitless."""
        return self._generator.view(self._fields, camera, backend=self.backend)


RENDERERS: dict[str, Callable[[Scene], Renderer]] = {"drr": DRRRenderer, "vrr": LearnedRenderer}
"""Every mode with what renders it."""

NEEDS_RUN = frozenset({"vrr"})
"""Modes that render what a training has learned."""


def _backend_name(backend: str, values: Tensor) -> str:
    """The backend that `auto` comes to here."""
    return choose_backend(backend, values).__name__.rpartition(".")[2]
