"""A recorded view in every mode: what the same rays show as line integrals, physically, learned, and of the labels."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from nerp.camera import Camera
from nerp.data.images import png_bytes
from nerp.data.records import PairRecord
from nerp.devices import choose_device
from nerp.errors import DataError
from nerp.physics.objects import ObjectImages, project_object_materials
from nerp.projection import project_labels
from nerp.runs import find_run
from nerp.synthesis.chance import NOTHING, Chance, recorded_chance
from nerp.synthesis.environment import chance_generator, repeatable
from nerp.synthesis.generator import load_generator
from nerp.synthesis.renderers import NEEDS_RUN, OF_OTHERS, RENDERERS, Renderer, Scene
from nerp.synthesis.rerendering import check_weights, recorded_settings, recorded_volumes
from nerp.synthesis.settings import DEFAULTS, PairSettings
from nerp.volume import Volume


@dataclass(frozen=True)
class View:
    """What one camera shows in one way.

    Args:
        mode:      `drr`, `physics`, `vrr`, or `thickness` of what the first mask shows.
        image:     (H, W) uint8.
        most_mm:   path that a `thickness` map shows white, mm; 0 of the others.
        is_same:   whether it equals the pair's own file, byte for byte; None where the pair is of another mode.
    """

    mode: str
    image: np.ndarray
    most_mm: float = 0.0
    is_same: bool | None = None


def views_of(
    record: PairRecord,
    *,
    ct: str | Path,
    labels: str | Path | None = None,
    run: str | Path | None = None,
    device: str = "auto",
) -> list[View]:
    """A recorded view rendered as DRR, as physical radiograph, as learned one, and the thickness of its labels.

    The pair's own mode has the record's settings and chance; the other modes have their defaults and the record's
    objects. Learned radiographs have neither noise nor objects.

    Args:
        record: of a pair.
        ct:     where the CT lies: the file, or a folder that is searched for its hash.
        labels: likewise the labels, for a pair with a mask.
        run:    RUN, for learned radiographs; None looks among `runs/*` where the pair itself is one.
        device: `auto`, `cpu` or `cuda`.

    Raises:
        DataError, UsageError, CheckpointError: see `replay`.
    """
    settings = recorded_settings(record, device)
    volume, label_volume, _, _ = recorded_volumes(record, settings.inputs, ct=ct, labels=labels)
    run = find_run(str(record.weights_sha256)) if run is None and record.mode in NEEDS_RUN else run
    generator = None if run is None else load_generator(run)
    if record.mode in NEEDS_RUN:
        check_weights(record, generator, run)
    scene = Scene(volume, choose_device(settings.device), settings, generator, label_volume, _names(record))
    with repeatable(record.threads):
        return [*_rendered(record, scene), *_thickness(record, label_volume)]


def _names(record: PairRecord) -> dict[int, str]:
    return {int(value): name for value, name in record.physics.get("label_names", record.label_names).items()}


def _rendered(record: PairRecord, scene: Scene) -> Iterator[View]:
    """The view in every mode that can be rendered; in those of others only where the record is one."""
    camera = record.make_camera().to(torch.float64)
    for mode in RENDERERS:
        if (mode in NEEDS_RUN and scene.generator is None) or (mode in OF_OTHERS and mode != record.mode):
            continue
        renderer = RENDERERS[mode](replace(scene, settings=_settings_for(mode, scene.settings)))
        chance = _chance(record, mode, renderer)
        raw = renderer.render(camera, chance, _objects(chance, scene, camera))
        image = _bytes(renderer.show(raw, camera))
        own = hashlib.sha256(png_bytes(image)).hexdigest() == record.image_sha256
        yield View(mode, image, is_same=own if mode == record.mode else None)


def _settings_for(mode: str, settings: PairSettings) -> PairSettings:
    """The record's settings in its own mode; of another mode with the defaults of physics."""
    if mode == settings.mode:
        return settings
    defaults: dict[str, Any] = dict(DEFAULTS)
    return replace(settings, mode=mode, **defaults)


def _chance(record: PairRecord, mode: str, renderer: Renderer) -> Chance:
    recorded = recorded_chance(record)
    if mode == record.mode:
        return recorded
    if mode in NEEDS_RUN:
        return NOTHING
    drawn = renderer.draw(chance_generator(record.seed or 0, record.ct_sha256, record.view_index))
    return replace(drawn, objects=recorded.objects)


def _objects(chance: Chance, scene: Scene, camera: Camera) -> ObjectImages | None:
    if not chance.objects:
        return None
    return project_object_materials(chance.objects, camera, samples=scene.settings.objects.samples)


def _thickness(record: PairRecord, label_volume: Volume | None) -> list[View]:
    """Millimetres of the first mask's labels on each ray, from 0, black, to the longest path, white."""
    if label_volume is None or not record.mask_labels:
        return []
    camera = record.make_camera().to(torch.float64)
    lengths_mm = project_labels(label_volume, camera, record.mask_labels).sum(1, keepdim=True)
    most = float(lengths_mm.max())
    if most <= 0:
        raise DataError(f"pair {record.id}: none of its labels is on any ray; give the labels that it was made from")
    return [View("thickness", _bytes(lengths_mm / most), most_mm=most)]


def _bytes(image: Tensor) -> np.ndarray:
    """(H, W) uint8 of one image (1, 1, H, W) in 0 to 1."""
    return (image[0, 0].float() * 255.0).round().to(torch.uint8).cpu().numpy()
