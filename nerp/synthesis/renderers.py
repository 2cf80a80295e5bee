"""How a CT becomes an image: one protocol, one class for each mode, and the registry that `mode` is the key of."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any, Protocol

import torch
from torch import Tensor

from nerp.anatomy import BodyMap, map_body
from nerp.camera import Camera
from nerp.data.ct import window
from nerp.data.settings import DataSettings
from nerp.display import HIGH, LOW, display_image
from nerp.errors import UsageError
from nerp.label_maps import label_counts
from nerp.networks.settings import MapperSettings, ViewerSettings
from nerp.physics.film import film
from nerp.physics.objects import ObjectImages
from nerp.physics.simulate import Radiograph, Setup, Simulator
from nerp.physics.truncation import truncation
from nerp.projection import march, siddon_of_ct
from nerp.projection.dispatch import choose_backend
from nerp.synthesis.chance import NOTHING, Chance, draw_scales, draw_seed
from nerp.synthesis.generator import TrainedGenerator
from nerp.synthesis.settings import PairSettings
from nerp.synthesis.siddon_jacobs import SiddonJacobsRenderer
from nerp.synthesis.structures import structure_groups
from nerp.volume import WATER_PER_MM, Fields, Volume

_log = logging.getLogger(__name__)

WINDOW_HU = DataSettings().window_hu
OPACITY_PER_MM = MapperSettings().opacity_max_per_mm
EMISSION_SAMPLES = ViewerSettings().n_samples


@dataclass(frozen=True)
class Scene:
    """What a renderer is made from.

    Args:
        ct:          `(1, D, H, W)` HU.
        device:      where it is projected.
        settings:    of the pairs.
        generator:   a trained run, for the modes that need one.
        labels:      `(M, D, H, W)` on the CT's grid, which tell what is bone and what is not.
        label_names: of the label values.
    """

    ct: Volume
    device: torch.device
    settings: PairSettings
    generator: TrainedGenerator | None = None
    labels: Volume | None = None
    label_names: Mapping[int, str] = field(default_factory=dict)

    @property
    def backend(self) -> str:
        """Of the projection, `auto` for the best that is live."""
        return self.settings.backend

    @cached_property
    def body(self) -> BodyMap:
        """Where the body lies in the CT, mm."""
        return map_body(self.ct)


class Renderer(Protocol):
    """One CT, ready to be seen by any camera. Masks by the rule `rendered` need its `fields`."""

    @property
    def backend(self) -> str:
        """Name of the projection's backend that is used here."""

    @property
    def display(self) -> dict[str, Any]:
        """How `show` scales, for the record: its `name` and what it is told."""

    @property
    def fields(self) -> Fields | None:
        """What the rays march through, (1, D, H, W) each; None where they do not march."""

    def facts(self, camera: Camera) -> dict[str, Any]:
        """What the record says of how a physical radiograph by this camera was made; nothing of others."""

    def draw(self, generator: torch.Generator) -> Chance:
        """What chance decides of one image, beside camera and objects."""

    def render(self, camera: Camera, chance: Chance = NOTHING, objects: ObjectImages | None = None) -> Tensor:
        """An image as projected, not scaled for display.

        Args:
            camera:  a batch of one.
            chance:  what was drawn for it.
            objects: what lies on and in the patient.

        Returns:
            (1, 1, H, W).
        """

    def show(self, raw: Tensor, camera: Camera) -> Tensor:
        """A rendered image as displayed.

        Args:
            raw:    (1, 1, H, W) of `render`.
            camera: that saw it.

        Returns:
            (1, 1, H, W) in 0 to 1.
        """

    @property
    def weights_sha256(self) -> str | None:
        """Hash of its weights, if it has any, for the record."""

    @property
    def config_sha256(self) -> str | None:
        """Hash of the settings that decide what it renders, if it has any, for the record."""


class _Percentile:
    """What modes have in common that scale an image by its own quantiles, and leave nothing to chance."""

    display: dict[str, Any] = {"name": "percentile", "low": LOW, "high": HIGH}

    def facts(self, camera: Camera) -> dict[str, Any]:
        """Nothing."""
        return {}

    def draw(self, generator: torch.Generator) -> Chance:
        """Nothing."""
        return NOTHING

    def show(self, raw: Tensor, camera: Camera) -> Tensor:
        """A rendered image (1, 1, H, W), scaled to 0 to 1.

        Args:
            raw:    of `render`.
            camera: not read.
        """
        return display_image(raw, "percentile")


class DRRRenderer(_Percentile):
    """Line integrals of the attenuation: mode `drr`.

    Args:
        scene: its generator is not read.
    """

    def __init__(self, scene: Scene):
        self.fields: Fields | None = None
        self.weights_sha256: str | None = None
        self.config_sha256: str | None = None
        self._ct = scene.ct.to(scene.device)
        self.backend = _backend_name(scene.backend, self._ct.values)

    def render(self, camera: Camera, chance: Chance = NOTHING, objects: ObjectImages | None = None) -> Tensor:
        """(1, 1, H, W) path integrals, unitless.

        Args:
            camera:  a batch of one.
            chance:  not read.
            objects: their attenuation at the energy of a DRR is added.
        """
        integrals = siddon_of_ct(self._ct, camera, backend=self.backend)
        return integrals if objects is None else integrals + objects.attenuation().to(integrals)


class LearnedRenderer(_Percentile):
    """Radiographs of a trained generator: mode `vrr`.

    Args:
        scene: with a generator.

    Raises:
        UsageError: there is none.
    """

    def __init__(self, scene: Scene):
        if scene.generator is None:
            raise UsageError("mode vrr needs a trained run; give the folder that nerp train wrote, or use mode drr")
        self._generator = scene.generator
        self._fields = scene.generator.fields(scene.ct, scene.device)
        self.fields: Fields | None = self._fields
        self.weights_sha256: str | None = scene.generator.weights_sha256
        self.config_sha256: str | None = scene.generator.config_sha256
        self.backend = _backend_name(scene.backend, self._fields.matter)

    def render(self, camera: Camera, chance: Chance = NOTHING, objects: ObjectImages | None = None) -> Tensor:
        """(1, 1, H, W) intensities, unitless.

        Args:
            camera:  a batch of one.
            chance:  not read.
            objects: matter of 1 before the body: see `_before`.
        """
        bound = self._generator.config.mapper.opacity_max_per_mm, self._generator.config.data.window_hu
        return _before(objects, self._generator.view(self._fields, camera, backend=self.backend), *bound)


class EmissionRenderer(_Percentile):
    """Emission and absorption in the CT as it is: mode `emission`, what the paper calls DRR and compares itself with.

    Matter is the CT in the default window of a training, opacity the same everywhere: the default bound of the mapper.

    Args:
        scene: its generator is not read.

    Source: Huy & Quan, *Neural Radiance Projection*, 4.2.1: fixed matter, constant opacity; the numbers are ours.
    """

    def __init__(self, scene: Scene):
        matter = window(scene.ct.values, WINDOW_HU).to(scene.device)
        self._fields = Fields(matter, torch.full_like(matter, OPACITY_PER_MM), scene.ct.affine)
        self.fields: Fields | None = self._fields
        self.weights_sha256: str | None = None
        self.config_sha256: str | None = None
        self.backend = _backend_name(scene.backend, matter)

    def render(self, camera: Camera, chance: Chance = NOTHING, objects: ObjectImages | None = None) -> Tensor:
        """(1, 1, H, W) intensities, unitless.

        Args:
            camera:  a batch of one.
            chance:  not read.
            objects: matter of 1 before the body: see `_before`.
        """
        image = march(self._fields, camera, EMISSION_SAMPLES, backend=self.backend)
        return _before(objects, image, OPACITY_PER_MM, WINDOW_HU)


def _before(
    objects: ObjectImages | None, image: Tensor, opacity_per_mm: float, window_hu: tuple[float, float]
) -> Tensor:
    """An image by emission and absorption, with objects between body and eye: I' = 1 - (1 - I) exp(-t).

    Their matter is 1, the most there is. Their optical depth t is their attenuation as a part of that of what stands at
    the window's upper end, which has the most opacity there is.

    Args:
        objects:        or none.
        image:          (1, 1, H, W) intensities, 0 to 1.
        opacity_per_mm: the most there is, 1/mm.
        window_hu:      HU carried to 0 and to 1.
    """
    if objects is None:
        return image
    densest_per_mm = WATER_PER_MM * (1.0 + window_hu[1] / 1000.0)
    depth = objects.attenuation().to(image) * (opacity_per_mm / densest_per_mm)
    return 1.0 - (1.0 - image) * torch.exp(-depth)


class PhysicalRenderer:
    """What a detector reads, and the film made of it: mode `physics`.

    Args:
        scene: its generator is not read.
    """

    def __init__(self, scene: Scene):
        self.fields: Fields | None = None
        self.weights_sha256: str | None = None
        self.config_sha256: str | None = None
        self._settings = scene.settings
        labels, names = scene.labels, scene.label_names
        self._scene = scene
        self._told = {**scene.settings.physics_json(), "label_names": _present_names(labels, names)}
        self.display = {"name": "film", **self._told["film"]}
        spread = scene.settings.physics.density_spread > 0
        if spread and labels is None:
            _log.warning("physics.density_spread varies labelled structures, but there are no labels; give --labels")
        self._simulator = Simulator(
            scene.ct,
            Setup(scene.settings.beam, scene.settings.detector, scene.settings.physics),
            labels=labels,
            names=names,
            groups=structure_groups(labels, names) if labels is not None and spread else None,
            body=scene.body,
            device=scene.device,
            backend=scene.backend,
        )
        self.backend = self._simulator.backend

    def facts(self, camera: Camera) -> dict[str, Any]:
        """Settings, names of labels, and what the CT cuts off this camera's view."""
        return {**self._told, "truncation": truncation(self._scene.ct, camera, body=self._scene.body).to_dict()}

    def draw(self, generator: torch.Generator) -> Chance:
        """The noise's seed, and each structure's density."""
        physics = self._settings.physics
        scales = draw_scales(self._simulator.groups, physics.density_spread, generator)
        return Chance(draw_seed(generator) if physics.noise else None, scales)

    def render(self, camera: Camera, chance: Chance = NOTHING, objects: ObjectImages | None = None) -> Tensor:
        """(1, 1, H, W) signal relative to the open field's.

        Args:
            camera:  a batch of one.
            chance:  seed of the noise, and densities.
            objects: in the beam.
        """
        noise = None if chance.noise_seed is None else torch.Generator().manual_seed(chance.noise_seed)
        made = self._simulator.expose(camera, objects=objects, scales=chance.density_scales, generator=noise)
        self._check_saturation(made, camera)
        return made.signal

    def show(self, raw: Tensor, camera: Camera) -> Tensor:
        """The film of a signal (1, 1, H, W), 0 to 1, bone bright.

        Args:
            raw:    of `render`.
            camera: whose pixels' size decides what is detail.
        """
        rows, columns = camera.pixel_mm[0].tolist()
        full = max(NEARLY_FULL * self._simulator.full_signal(camera), LEAST_OPEN)
        opened = min(self._settings.film.open_signal, full)
        return film(raw.float(), replace(self._settings.film, open_signal=opened), (rows, columns))

    def _check_saturation(self, made: Radiograph, camera: Camera) -> None:
        full = (made.primary + made.scatter > self._simulator.full_signal(camera)) & (made.primary < BODY_SIGNAL)
        lost = float(full.double().mean())
        if lost > MOST_LOST:
            detector = self._settings.detector
            stated = f"{detector.dose_mgy:g} mGy, {detector.saturation_ugy:g} uGy"
            _log.warning(
                "the panel saturates behind the body on %.0f %% of the image (%s): lower detector.dose_mgy",
                100 * lost,
                stated,
            )


RENDERERS: dict[str, Callable[[Scene], Renderer]] = {
    "drr": DRRRenderer,
    "physics": PhysicalRenderer,
    "vrr": LearnedRenderer,
    "emission": EmissionRenderer,
    "itk": SiddonJacobsRenderer,
}
"""Every mode with what renders it."""
OF_OTHERS = frozenset({"emission", "itk"})
"""How others have made images, to be compared with: shown of records of their own alone."""

NEARLY_FULL = 0.9
"""Signals above this part of what the panel can hold are taken for open beam."""
LEAST_OPEN = 0.01
BODY_SIGNAL = 0.3
MOST_LOST = 0.02
"""Part of an image that may be saturated behind the body, where less than `BODY_SIGNAL` of the beam passes, unsaid."""

NEEDS_RUN = frozenset({"vrr"})
"""Modes that render what a training has learned."""


def _present_names(labels: Volume | None, names: Mapping[int, str]) -> dict[str, str]:
    """The names of the label values that there are."""
    if labels is None:
        return {}
    values = label_counts(labels)
    return {str(value): name for value, name in sorted(names.items()) if value in values}


def _backend_name(backend: str, values: Tensor) -> str:
    """The backend that `auto` comes to here."""
    return choose_backend(backend, values).__name__.rpartition(".")[2]
