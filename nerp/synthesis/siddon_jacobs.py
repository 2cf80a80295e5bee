"""Mode `itk`: a CT as ITK's tool by Siddon and Jacobs shows it, which made DRR-RATE."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from nerp.camera import Camera
from nerp.camera.itk import SOURCE_ISOCENTRE_MM
from nerp.physics.objects import ObjectImages
from nerp.projection.dispatch import choose_backend
from nerp.projection.siddon_jacobs import THRESHOLD_HU, WHITE, above, grey_levels, line_sums, ways_per_mm, whole
from nerp.synthesis.chance import NOTHING, Chance
from nerp.volume import WATER_PER_MM, Fields

if TYPE_CHECKING:
    from nerp.synthesis.renderers import Scene


class SiddonJacobsRenderer:
    """Sums of HU above a threshold, cut to whole numbers, scaled by their own ends.

    Args:
        scene: its generator is not read.
    """

    display: dict[str, Any] = {
        "name": "itk",
        "threshold_hu": THRESHOLD_HU,
        "source_isocentre_mm": SOURCE_ISOCENTRE_MM,
        "rounding": "truncated",
    }

    def __init__(self, scene: Scene):
        self.fields: Fields | None = None
        self.weights_sha256: str | None = None
        self.config_sha256: str | None = None
        self._above = above(scene.ct).to(scene.device)
        self.backend = choose_backend(scene.backend, self._above.values).__name__.rpartition(".")[2]

    def facts(self, camera: Camera) -> dict[str, Any]:
        """Nothing."""
        return {}

    def draw(self, generator: torch.Generator) -> Chance:
        """Nothing."""
        return NOTHING

    def render(self, camera: Camera, chance: Chance = NOTHING, objects: ObjectImages | None = None) -> Tensor:
        """(1, 1, H, W) whole numbers, in HU times the way to the plane at 1000 mm.

        Args:
            camera:  a batch of one.
            chance:  not read.
            objects: what attenuates as water does counts 1000 HU, as it would in air.
        """
        sums = line_sums(self._above, camera, backend=self.backend)
        if objects is not None:
            water_mm = objects.attenuation().to(sums) / WATER_PER_MM
            sums = sums + 1000.0 * water_mm * ways_per_mm(camera).to(sums)
        return whole(sums)

    def show(self, raw: Tensor, camera: Camera) -> Tensor:
        """A rendered image (1, 1, H, W), 0 to 1 in the tool's 256 grey levels.

        Args:
            raw:    of `render`.
            camera: not read.
        """
        return (grey_levels(raw) / WHITE).float()
