"""Which findings a film shows: each rendered with it and without it by the same camera."""

from __future__ import annotations

import logging
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

import torch
from torch import Tensor

from nerp.camera import Camera
from nerp.display import display_limits
from nerp.label_maps import present_labels
from nerp.physics.film import LEAST_SIGNAL
from nerp.physics.objects import ObjectImages
from nerp.projection import project_labels
from nerp.projection.detectability import detectability
from nerp.projection.measures import isocentre_area_mm2
from nerp.synthesis.chance import NOTHING, Chance
from nerp.synthesis.renderers import RENDERERS, Renderer, Scene
from nerp.synthesis.structures import lung_values
from nerp.variation import finding_parts, without_finding
from nerp.volume import Volume

_log = logging.getLogger(__name__)

OPEN_BEAM = 0.02
"""Pixels of less than this part of the brightest tissue's value are beam that met nobody."""
DIGITS = 4
"""Of the numbers in a record: the rest is rounding."""


@dataclass(frozen=True)
class Exposure:
    """One film of a scene with all that is in it.

    Args:
        camera:  a batch of one.
        chance:  what was drawn for it.
        objects: on and in the patient.
        raw:     (1, 1, H, W) as rendered, any unit.
    """

    camera: Camera
    chance: Chance
    objects: ObjectImages | None
    raw: Tensor


class FindingWatch:
    """Tells of every labelled finding of one CT whether a film shows it.

    Args:
        scene:    of the CT, with its labels and their names.
        renderer: of the scene.
        before:   `(1, D, H, W)` HU, the CT without findings, where that is known; see `without_finding`.

    Raises:
        UsageError: findings are chosen by names that no label has.
    """

    def __init__(self, scene: Scene, renderer: Renderer, before: Volume | None = None):
        self._scene, self._renderer, self._before = scene, renderer, before
        self._values = () if scene.labels is None else scene.settings.findings.chosen(scene.label_names)
        if not (scene.label_names or self._values):
            _log.warning("findings.visibility: no label has a name; give --label-names, or values as findings.labels")

    @cached_property
    def _without(self) -> dict[int, tuple[Renderer, Volume]]:
        """For each finding that there is, what renders the CT without it, and its pieces."""
        scene, labels = self._scene, self._scene.labels
        if labels is None:
            return {}
        labels = labels.to("cpu")
        there = present_labels(labels)
        lungs = sorted(lung_values(scene.ct, labels, scene.label_names) & there)
        render, made = RENDERERS[scene.settings.mode], {}
        for value in (value for value in self._values if value in there):
            ct = without_finding(scene.ct, labels, value, before=self._before, lungs=lungs)
            made[value] = render(replace(scene, ct=ct)), finding_parts(labels, value).to(scene.device)
        return made

    def facts(self, film: Exposure) -> list[dict[str, Any]]:
        """What a record says of the findings on one film, in the order of their labels.

        Args:
            film: (1, 1, H, W) as rendered, with its camera.

        Returns:
            Of each finding that the CT has: its `name` and `label`; `fraction`, of the image that its shadow covers;
            `area_px` and `area_mm2`, of the shadow, the latter in the isocentre's plane; `contrast`, which it adds to
            the film within its shadow on the average, in parts of the grey scale; `visibility`, see `detectability`;
            `visible`, whether that reaches the threshold; `parts`, its pieces. Contrast and visibility are those of
            its most visible piece, and None where the film shows none of it.
        """
        if not self._without:
            return []
        clean = replace(film.chance, noise_seed=None)
        noiseless = film.raw if clean == film.chance else self._renderer.render(film.camera, clean, film.objects)
        return [
            self._of(
                value, film, self._density(noiseless), self._density(other.render(film.camera, clean, film.objects))
            )
            for value, (other, _) in self._without.items()
        ]

    def _density(self, raw: Tensor) -> Tensor:
        """(1, 1, H, W) as the film takes it, 0 where the beam met nobody: of a detector's signal, its logarithm."""
        return -raw.clamp_min(LEAST_SIGNAL).log() if self._scene.settings.mode == "physics" else raw

    def _of(self, value: int, film: Exposure, present: Tensor, absent: Tensor) -> dict[str, Any]:
        density = self._density(film.raw)
        low, high = display_limits(density)
        span = (high - low).clamp_min(LEAST_SIGNAL)
        signal = ((present - absent) / span)[0, 0]
        background, body = density[0, 0] / span - signal, (density > OPEN_BEAM * high)[0, 0]
        pixel_mm = (float(film.camera.pixel_mm[0, 0]), float(film.camera.pixel_mm[0, 1]))
        masks = self._masks(value, film.camera)
        seen = [detectability(signal, background, mask, body=body, pixel_mm=pixel_mm) for mask in masks]
        best = max((one for one in seen if one is not None), key=lambda one: one.visibility, default=None)
        visibility = None if best is None else _rounded(best.visibility)
        return {
            "name": self._scene.label_names.get(value, str(value)),
            "label": value,
            **_extent(masks, film.camera),
            "contrast": None if best is None else _rounded(best.contrast),
            "visibility": visibility,
            "visible": visibility is not None and visibility >= self._scene.settings.findings.threshold,
            "parts": len(masks),
        }

    def _masks(self, value: int, camera: Camera) -> Tensor:
        """(K, H, W) bool: the shadow of each piece of a finding, and of the crumbs with none."""
        parts = self._without[value][1]
        lengths = project_labels(parts, camera, range(1, int(parts.values.max()) + 1), backend=self._scene.backend)
        return lengths[0] > 0


def _extent(masks: Tensor, camera: Camera) -> dict[str, Any]:
    """Fraction and areas of the union of some masks (K, H, W)."""
    union = masks.any(dim=0)
    pixels, pixel_mm2 = int(union.sum()), isocentre_area_mm2(camera)
    area_mm2 = None if pixel_mm2 is None else _rounded(pixels * pixel_mm2)
    return {"fraction": float(union.double().mean()), "area_px": pixels, "area_mm2": area_mm2}


def _rounded(number: float) -> float:
    return float(f"{number:.{DIGITS}g}")


def finding_visibility(
    scene: Scene, camera: Camera, chance: Chance = NOTHING, *, before: Volume | None = None
) -> list[dict[str, Any]]:
    """Which of its labelled findings a film of a CT shows, without writing it.

    Args:
        scene:  the CT `(1, D, H, W)` HU, its labels, their names, and settings of the pairs.
        camera: that sees it, a batch of one.
        chance: noise and densities, where there are any.
        before: the CT without its findings, where that is known: a phantom's twin, or what findings were drawn into.

    Returns:
        What `FindingWatch.facts` says.
    """
    renderer = RENDERERS[scene.settings.mode](scene)
    camera = camera.to(torch.float64)
    raw = renderer.render(camera, chance)
    return FindingWatch(scene, renderer, before).facts(Exposure(camera, chance, None, raw))
