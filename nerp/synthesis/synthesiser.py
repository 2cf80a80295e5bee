"""One CT under many cameras: each gives a radiograph, its mask from the same rays, and what renders both again."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

import numpy as np
import torch
from torch import Tensor

from nerp.anatomy import Landmarks, closed_lungs, find_landmarks, windpipe_voxels
from nerp.camera import Camera, view_names
from nerp.data.images import png_bytes
from nerp.data.records import MaskRecord, PairRecord, mask_fields
from nerp.data.source_files import SourceFile
from nerp.devices import SINGLE, choose_device
from nerp.errors import GeometryError
from nerp.physics.objects import ObjectImages, PlacedObject, object_masks, project_object_materials
from nerp.projection import Structure, closing_mm, grid_mm, obscuring_tissue, project_masks
from nerp.synthesis.chance import NOTHING, Chance
from nerp.synthesis.coverage import label_points, outside_fraction
from nerp.synthesis.environment import here, pair_id, repeatable
from nerp.synthesis.generator import TrainedGenerator
from nerp.synthesis.renderers import RENDERERS, Scene
from nerp.synthesis.settings import PairSettings
from nerp.synthesis.structures import MaskPlan, check_present, plan_masks
from nerp.synthesis.visibility import Exposure, FindingWatch
from nerp.volume import Volume

UNNAMED: dict[str, Any] = {
    "file_name": "",
    "id": "",
    "ct_sha256": "",
    "labels_sha256": None,
    "seed": None,
    "view_index": 0,
}
"""What a record says of files before `named` fills it in."""
WINDPIPE_MM3 = 3000.0
"""Lungs' labels that hold so much of the windpipe are told of; a whole one has 25 to 60 ml."""
NO_MASKS = MaskPlan((), (), (), ())


@dataclass(frozen=True)
class Pair:
    """A radiograph with its masks, each with its file's bytes.

    Args:
        raw:       (H, W) float32, as projected, not scaled for display.
        shown:     (H, W) float32, 0 to 1, the display image.
        image:     (H, W) uint8, or uint16 where 16 bits are wanted, the same.
        masks:     (H, W) uint8 each, 0 or 255; none without labels.
        image_png: the image's file.
        mask_pngs: the masks' files; none without labels.
        object_pngs: the files of the objects' masks.
        record:    what renders the pair again on the same CT; its files and hashes of CT and labels are filled in
            by `named`.
    """

    raw: np.ndarray
    shown: np.ndarray
    image: np.ndarray
    masks: tuple[np.ndarray, ...]
    image_png: bytes
    mask_pngs: tuple[bytes, ...]
    object_pngs: tuple[bytes, ...]
    record: PairRecord

    @property
    def mask(self) -> np.ndarray | None:
        """(H, W) uint8, the first mask; None without labels."""
        return self.masks[0] if self.masks else None

    @property
    def mask_png(self) -> bytes | None:
        """The first mask's file; None without labels."""
        return self.mask_pngs[0] if self.mask_pngs else None


class Synthesiser:
    """Renders pairs of one CT; holds what all its views share: attenuation or mapped fields.

    Args:
        ct:          `(1, D, H, W)` HU.
        labels:      `(M, D, H, W)` on the same grid, unit `label`; None for images without masks.
        settings:    mode, masks, device and backend; its views, seed and camera are not read.
        generator:   a trained one, from `load_generator`, for mode `vrr`.
        label_names: of the label values, as the labels' file tells; the settings' own come first.
        plan:        what the masks show, where a record states it; None chooses by the settings.

    Raises:
        DataError:     none of the masks' label values is in `labels`.
        GeometryError: CT and labels are not on one grid.
        UsageError:    labels and no mask chosen, a rule that does not fit its labels, `vrr` without a generator, or a
            device that is not there.
    """

    def __init__(
        self,
        ct: Volume,
        labels: Volume | None = None,
        *,
        settings: PairSettings | None = None,
        generator: TrainedGenerator | None = None,
        label_names: Mapping[int, str] | None = None,
        plan: MaskPlan | None = None,
    ):
        self.ct, self.settings = ct, settings or PairSettings()
        self.device = choose_device(self.settings.device)
        self.label_names = {**(label_names or {}), **self.settings.mask.label_names}
        self.plan = NO_MASKS if labels is None else self._planned(labels, plan)
        self.labels = None if labels is None else labels.to(self.device)
        self._points = [] if labels is None else [label_points(labels, one.labels) for one in self.plan.structures]
        with repeatable():
            self.scene = Scene(ct, self.device, self.settings, generator, self.labels, self.label_names)
            self.renderer = RENDERERS[self.settings.mode](self.scene)
            self.before: Volume | None = None  # the CT without the findings that were drawn into it
            self.holds_windpipe = False
            self._seen_labels = None if self.labels is None else self.labels.thinned(grid_mm(self._visible))
            self._closed = self._closed_lungs()
            self._obscuring = self._obscuring_tissue()

    @cached_property
    def landmarks(self) -> Landmarks:
        """Where objects can lie on this CT's patient, mm."""
        return find_landmarks(self.scene.body)

    @cached_property
    def _watch(self) -> FindingWatch | None:
        """What tells which findings a film shows, where that is asked for."""
        wanted = self.settings.findings.visibility and self.labels is not None
        return FindingWatch(self.scene, self.renderer, self.before) if wanted else None

    def draw(self, camera: Camera, generator: torch.Generator) -> Chance:
        """What chance decides of a pair beside its camera: noise, densities, objects.

        Args:
            camera:    that sees it, a batch of one.
            generator: decides.

        Raises:
            UsageError: a stated object lies outside the field.
        """
        chance = self.renderer.draw(generator)
        if not self.settings.objects.any:
            return chance
        return replace(chance, objects=self.settings.objects.draw(self.landmarks, camera, generator))

    def pair(self, camera: Camera, chance: Chance = NOTHING) -> Pair:
        """The pair that one camera sees; the same camera and chance give the same bits.

        Args:
            camera: a batch of one.
            chance: what `draw` gave, or a record.
        """
        with repeatable():
            camera = camera.to(torch.float64)
            objects = self._objects(chance.objects, camera)
            raw = self.renderer.render(camera, chance, objects)
            masks, crossed = self._masks(camera)
            shown = self.renderer.show(raw, camera)
            image = _bytes(shown) if self.settings.bits == 8 else _deep(shown)
            watch = self._watch
            findings = [] if watch is None else watch.facts(Exposure(camera, chance, objects, raw))
        image_png, mask_pngs = png_bytes(image), tuple(map(png_bytes, masks))
        shadows = [] if objects is None else list(object_masks(objects.lengths_mm)[0].split(1))
        object_pngs = tuple(png_bytes(_bytes(one[None])) for one in shadows)
        facts = [
            {
                "sha256": hashlib.sha256(png).hexdigest(),
                "fraction": float((mask > 0).mean()),
                "any_fraction": any_fraction,
                "outside_fraction": outside_fraction(points, camera),
            }
            for png, mask, any_fraction, points in zip(mask_pngs, masks, crossed, self._points, strict=True)
        ]
        placed = [_object_facts(one, *made) for one, *made in zip(chance.objects, object_pngs, shadows, strict=True)]
        record = replace(
            self._record(camera, image_png, facts),
            objects=placed,
            physics=self._physics(camera, chance),
            shown_findings=findings,
        )
        raw_image, shown_image = (one[0, 0].float().cpu().numpy() for one in (raw, shown))
        return Pair(raw_image, shown_image, image, masks, image_png, mask_pngs, object_pngs, record)

    def _objects(self, objects: Sequence[PlacedObject], camera: Camera) -> ObjectImages | None:
        if not objects:
            return None
        return project_object_materials(objects, camera, samples=self.settings.objects.samples)

    def _physics(self, camera: Camera, chance: Chance) -> dict[str, Any]:
        made = self.renderer.facts(camera)
        samples = {"object_samples": self.settings.objects.samples} if chance.objects else {}
        return {**made, **(chance.as_json() if made else {}), **samples}

    def _planned(self, labels: Volume, plan: MaskPlan | None) -> MaskPlan:
        if labels.shape != self.ct.shape or not torch.allclose(labels.affine, self.ct.affine, atol=1e-3):
            raise GeometryError(
                f"labels are {labels.shape} voxels on another grid than the CT's {self.ct.shape}; "
                "read them with read_labels(path, like=ct)"
            )
        if plan is None:
            plan = plan_masks(self.settings.mask, self.ct, labels, self.label_names)
            if not self.settings.allow_empty:
                check_present(plan, labels, self.label_names)
        return plan

    @property
    def _visible(self) -> list[Structure]:
        return [one for one in self.plan.structures if one.rule.name == "visible"]

    def _closed_lungs(self) -> Volume | None:
        """The lungs as the rule `visible` takes them: closed over their disease, without the windpipe."""
        close_mm = closing_mm(self._visible)
        if self._seen_labels is None or not close_mm:
            return None
        lungs = sorted({label for one in self._visible for label in (*one.labels, *one.all_lungs())})
        apart = None
        if not any("trachea" in name.lower() for name in self.label_names.values()):
            apart = windpipe_voxels(self.ct.thinned(grid_mm(self._visible)), self.scene.body)
            there = torch.isin(self._seen_labels.values.cpu()[:, apart], torch.tensor(lungs, **SINGLE)).any(dim=0)
            volume_mm3 = float(there.sum()) * math.prod(self._seen_labels.spacing_mm)
            self.holds_windpipe = volume_mm3 >= WINDPIPE_MM3
        return closed_lungs(self._seen_labels, lungs, close_mm=close_mm, joined=self.plan.joined, apart=apart)

    def remarks(self) -> list[str]:
        """One line on each mask's rule, and on labels that are corrected, for people."""
        more = ["the lungs' labels hold the windpipe: it is left out of the lung field"] if self.holds_windpipe else []
        return [*self.plan.remarks(), *more]

    def _obscuring_tissue(self) -> Volume | None:
        if self._seen_labels is None or not self._visible:
            return None
        lungs = self._visible[0].all_lungs()
        return obscuring_tissue(self._seen_labels, lungs, self.plan.obscuring, closed=self._closed)

    def _masks(self, camera: Camera) -> tuple[tuple[np.ndarray, ...], list[float]]:
        """Masks (H, W), 0 or 255, and the fraction of the image that each structure's rays cover."""
        if self.labels is None:
            return (), []
        options: dict[str, Any] = {"obscuring": self._obscuring, "closed": self._closed, "fields": self.renderer.fields}
        structures, backend = self.plan.structures, self.settings.backend
        masks, crossed = project_masks(structures, self.labels, camera, backend=backend, **options)
        return tuple(map(_bytes, masks.split(1, dim=1))), crossed[0].double().mean(dim=(1, 2)).tolist()

    def _record(self, camera: Camera, image_png: bytes, facts: list[dict[str, Any]]) -> PairRecord:
        masks = [
            MaskRecord(
                name=one.name,
                file_name="",
                labels=list(one.labels),
                rule=one.rule.to_dict(),
                lung_labels=list(one.lungs),
                obscuring_labels=list(self.plan.obscuring) if one.rule.name == "visible" else [],
                rule_reason=reason,
                joined_labels=list(self.plan.joined) if one.rule.name == "visible" else [],
                **fact,
            )
            for one, reason, fact in zip(self.plan.structures, self.plan.reasons, facts, strict=True)
        ]
        return PairRecord(
            mode=self.settings.mode,
            view=view_names(camera)[0],
            camera=camera.to_dict(),
            display={**self.renderer.display, **({} if self.settings.bits == 8 else {"bits": self.settings.bits})},
            ct_shape=list(self.ct.shape),
            ct_spacing_mm=list(self.ct.spacing_mm),
            weights_sha256=self.renderer.weights_sha256,
            config_sha256=self.renderer.config_sha256,
            image_sha256=hashlib.sha256(image_png).hexdigest(),
            **vars(here(self.device, self.renderer.backend)),
            label_names={str(label): self.label_names[label] for label in self._named(masks)},
            **UNNAMED,
            **mask_fields(masks),
        )

    def _named(self, masks: Sequence[MaskRecord]) -> list[int]:
        """The label values of some masks whose names are known."""
        told = {label for mask in masks for label in _told_labels(mask)}
        return sorted(told & self.label_names.keys())


def _told_labels(mask: MaskRecord) -> list[int]:
    return [*mask.labels, *mask.lung_labels, *mask.obscuring_labels, *mask.joined_labels]


def named(
    record: PairRecord,
    *,
    files: Sequence[str],
    ct: SourceFile,
    labels: SourceFile | None,
    seed: int | None,
    view_index: int,
) -> PairRecord:
    """A pair's record with what names it: its files and the hashes of what it was made from.

    Args:
        record:     of `Pair`.
        files:      names of the image, of each mask and of each object, relative to the record's folder.
        ct:         the CT.
        labels:     its labels.
        seed:       that the camera was drawn by.
        view_index: which of the CT's views.
    """
    n_masks = len(record.masks)
    masks = [replace(mask, file_name=name) for mask, name in zip(record.masks, files[1 : n_masks + 1], strict=True)]
    objects = [{**one, "file_name": name} for one, name in zip(record.objects, files[n_masks + 1 :], strict=True)]
    return replace(
        record,
        **mask_fields(masks),
        objects=objects,
        file_name=files[0],
        id=pair_id(ct.sha256, view_index),
        ct_sha256=ct.sha256,
        labels_sha256=None if labels is None else labels.sha256,
        seed=seed,
        view_index=view_index,
    )


def _object_facts(placed: PlacedObject, png: bytes, mask: Tensor) -> dict[str, Any]:
    """What a record says of an object: its shapes, and its mask (1, H, W)."""
    fraction = float(mask.double().mean())
    return {**placed.to_dict(), "file_name": "", "sha256": hashlib.sha256(png).hexdigest(), "fraction": fraction}


def _bytes(images: Tensor) -> np.ndarray:
    """(H, W) uint8 of one image (1, 1, H, W) in 0 to 1, or of a mask."""
    return (images[0, 0].float() * 255.0).round().to(torch.uint8).cpu().numpy()


def _deep(images: Tensor) -> np.ndarray:
    """(H, W) uint16 of one image (1, 1, H, W) in 0 to 1."""
    return (images[0, 0].float() * 65535.0).round().cpu().numpy().astype(np.uint16)
