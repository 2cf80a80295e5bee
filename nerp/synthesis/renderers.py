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
    """One CT, ready to be seen by any camera.

    Args:
        backend:  name of the projection's backend that is used here.
        display:  name of the display scaling, see `nerp.display`.
        fields:   what the rays march through, None where they do not march; masks by the rule `rendered` need it.
    """

    backend: str
    display: str
    fields: Fields | None

    def render(self, camera: Camera) -> Tensor:
        """(1, 1, H, W) image as projected, not scaled for display, of a batch of one camera."""

    def facts(self) -> dict[str, str | None]:
        """What a record must say of the renderer: hashes of its weights and of its settings, or None."""


class DRRRenderer:
    """Line integrals of the attenuation: mode `drr`.

    Args:
        scene: its generator is not read.
    """

    display = "percentile"
    fields = None

    def __init__(self, scene: Scene):
        self._attenuation = attenuation(scene.ct).to(scene.device)
        self.backend = _backend_name(scene.backend, self._attenuation.values)

    def render(self, camera: Camera) -> Tensor:
        """(1, 1, H, W) path integrals, unitless."""
        return siddon(self._attenuation, camera, backend=self.backend)

    def facts(self) -> dict[str, str | None]:
        """No weights, no settings."""
        return {"weights_sha256": None, "config_sha256": None}


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
        self.fields = scene.generator.fields(scene.ct, scene.device)
        self.backend = _backend_name(scene.backend, self.fields.matter)

    def render(self, camera: Camera) -> Tensor:
        """(1, 1, H, W) intensities, unitless."""
        return self._generator.view(self.fields, camera, backend=self.backend)

    def facts(self) -> dict[str, str | None]:
        """Hashes of the generator's weights and of the settings that decide what it renders."""
        return {
            "weights_sha256": self._generator.weights_sha256,
            "config_sha256": self._generator.config_sha256,
        }


RENDERERS: dict[str, Callable[[Scene], Renderer]] = {"drr": DRRRenderer, "vrr": LearnedRenderer}
"""Every mode with what renders it."""

NEEDS_RUN = frozenset({"vrr"})
"""Modes that render what a training has learned."""


def _backend_name(backend: str, values: Tensor) -> str:
    """The backend that `auto` comes to here."""
    return choose_backend(backend, values).__name__.rpartition(".")[2]
