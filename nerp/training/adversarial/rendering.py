"""What the generator renders in a step, what that is held to, and what is laid on it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache

import torch
from torch import Tensor

from nerp.anatomy import Landmarks, find_landmarks, map_body
from nerp.camera import Camera
from nerp.display import display_image, display_limits
from nerp.networks.settings import DiscriminatorSettings
from nerp.networks.viewer import Viewer
from nerp.projection import siddon
from nerp.training.adversarial.drawing import Draws
from nerp.training.adversarial.overlays import Overlay, draw_overlay, joined
from nerp.training.adversarial.parts import Recipe, Sources
from nerp.training.adversarial.targets import PhysicalImages
from nerp.training.adversarial.training_volumes import TrainingVolume
from nerp.volume import Fields

FieldsOf = Callable[[Tensor], tuple[Tensor, Tensor]]
"""Matter and opacity, each (B, D, H, W), of a windowed CT (B, 1, D, H, W)."""
KEPT = 64
"""CTs of which landmarks, and materials, are kept in memory."""


@dataclass(frozen=True)
class Views:
    """What one generator forward gives.

    Args:
        vrr:          (B, 1, H, W) display images, 0 to 1, with their graph.
        target:       (B, 1, H, W) display images of the same cameras, 0 to 1, that the L1 term ties them to.
        fields:       of each CT, with their graph.
        windowed_cts: of the same CTs, each (1, 1, D, H, W), 0 to 1.
        overlay:      what is laid on the images before they are judged; None for nothing.
    """

    vrr: Tensor
    target: Tensor
    fields: list[Fields]
    windowed_cts: list[Tensor]
    overlay: Overlay | None = None

    def judged(self) -> Tensor:
        """(B, 1, H, W) what the discriminators are shown of the images, 0 to 1, with their graph."""
        return self.vrr if self.overlay is None else self.overlay.on(self.vrr)


class Rendering:
    """Renders CTs of the sources.

    Args:
        viewer:  from fields and a camera to radiographs.
        sources: CTs and cameras.
        recipe:  counts of a step, target, what is laid on images.
        draws:   of this process.
        device:  where all is computed.
    """

    def __init__(self, viewer: Viewer, sources: Sources, *, recipe: Recipe, draws: Draws, device: torch.device):
        self._viewer, self._sources, self._recipe = viewer, sources, recipe
        self._draws, self._device = draws, device
        self._landmarks = lru_cache(maxsize=KEPT)(self._find_landmarks)
        self._physical = lru_cache(maxsize=KEPT)(self._prepare_physical)

    def volume(self, index: int) -> TrainingVolume:
        """The CT of an index, on the device."""
        return self._sources.volumes[index].to(self._device)

    def step(self, step: int, fields_of: FieldsOf) -> Views:
        """The views of a step, counted from 1.

        Args:
            step:      decides CTs, cameras and what lies on the films.
            fields_of: the mapper.
        """
        n, draws = self._recipe.trainer.volumes_per_step, self._draws
        # streams keep the names they were first drawn by: other names are other draws
        chosen = draws.chosen(n, len(self._sources.volumes), draws.stream(step, "patients"))
        parts = [self._views(step, draws.place(place, n), index, fields_of) for place, index in enumerate(chosen)]
        overlays = [part.overlay for part in parts if part.overlay is not None]
        return Views(
            torch.cat([part.vrr for part in parts]),
            torch.cat([part.target for part in parts]),
            [fields for part in parts for fields in part.fields],
            [ct for part in parts for ct in part.windowed_cts],
            joined(overlays) if overlays else None,
        )

    def vrr(self, fields: Fields, camera: Camera) -> Tensor:
        """(B, 1, H, W) display images, 0 to 1, differentiable in the fields.

        Args:
            fields: of one CT.
            camera: B views.
        """
        return display_image(self._viewer(fields, camera.to(fields.matter.device)))

    @torch.no_grad()
    def integrals(self, volume: TrainingVolume, camera: Camera) -> Tensor:
        """(B, 1, H, W) path integrals of the attenuation, unitless.

        Args:
            volume: on the device.
            camera: B views.
        """
        return siddon(volume.attenuation, camera.to(volume.windowed_ct.device), backend=self._viewer.backend)

    def physical(self, index: int, camera: Camera) -> Tensor:
        """(B, 1, H, W) physical display images, 0 to 1, of a CT.

        Args:
            index:  of the CT.
            camera: B views.
        """
        return self._physical(index)(camera.to(self._device))

    def _views(self, step: int, place: int, index: int, fields_of: FieldsOf) -> Views:
        volume = self.volume(index)
        draw = self._draws.stream(step, f"cameras {place}")
        camera = self._sources.cameras.sample(volume.camera, self._recipe.trainer.views_per_volume, draw)
        matter, opacity = fields_of(volume.windowed_ct)
        fields = Fields(matter, opacity, volume.attenuation.affine)
        vrr, integrals = self.vrr(fields, camera), self.integrals(volume, camera)
        is_physical = self._recipe.loss.l1_target == "physics"
        target = self.physical(index, camera) if is_physical else display_image(integrals)
        overlay = self._overlay(step, place, index, camera, integrals) if _lays(self._recipe.shown) else None
        return Views(vrr, target, [fields], [volume.windowed_ct], overlay)

    def _overlay(self, step: int, place: int, index: int, camera: Camera, integrals: Tensor) -> Overlay:
        shown, draw = self._recipe.shown, self._draws.stream(step, f"overlays {place}")
        marks = self._landmarks(index) if shown.objects != "none" else None
        low, high = display_limits(integrals)
        spans = (high - low).clamp_min(1e-3).tolist()
        return joined([
            draw_overlay(shown, camera[number], marks, span=span, generator=draw) for number, span in enumerate(spans)
        ])  # fmt: skip

    def _find_landmarks(self, index: int) -> Landmarks:
        return find_landmarks(map_body(self._sources.volumes[index].attenuation))

    def _prepare_physical(self, index: int) -> PhysicalImages:
        return PhysicalImages(self._sources.volumes[index], self._device, self._viewer.backend)


def _lays(shown: DiscriminatorSettings) -> bool:
    """Whether anything may be laid on images."""
    return shown.objects != "none" or shown.markers > 0 or shown.borders > 0
