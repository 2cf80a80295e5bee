"""One CT under many cameras: each gives a radiograph, its mask from the same rays, and what renders both again."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from torch import Tensor

from nerp.camera import Camera, view_names
from nerp.data.images import png_bytes
from nerp.data.records import MaskRecord, PairRecord, mask_fields
from nerp.data.source_files import SourceFile
from nerp.devices import choose_device
from nerp.display import HIGH, LOW, display_image
from nerp.errors import GeometryError
from nerp.projection import obscuring_tissue, project_masks
from nerp.synthesis.coverage import label_points, outside_fraction
from nerp.synthesis.environment import here, pair_id, repeatable
from nerp.synthesis.generator import TrainedGenerator
from nerp.synthesis.renderers import RENDERERS, Scene
from nerp.synthesis.settings import PairSettings
from nerp.synthesis.structures import MaskPlan, check_present, plan_masks
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
NO_MASKS = MaskPlan((), (), (), ())


@dataclass(frozen=True)
class Pair:
    """A radiograph with its masks, each with its file's bytes.

    Args:
        raw:       (H, W) float32, as projected, not scaled for display.
        image:     (H, W) uint8, the display image.
        masks:     (H, W) uint8 each, 0 or 255; none without labels.
        image_png: the image's file.
        mask_pngs: the masks' files; none without labels.
        record:    what renders the pair again on the same CT; its files and hashes of CT and labels are filled in
            by `named`.
    """

    raw: np.ndarray
    image: np.ndarray
    masks: tuple[np.ndarray, ...]
    image_png: bytes
    mask_pngs: tuple[bytes, ...]
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
            scene = Scene(ct, self.device, self.settings.backend, generator)
            self.renderer = RENDERERS[self.settings.mode](scene)
            self._obscuring = self._obscuring_tissue()

    def pair(self, camera: Camera) -> Pair:
        """The pair that one camera (a batch of one) sees; the same camera gives the same bits."""
        with repeatable():
            camera = camera.to(torch.float64)
            raw = self.renderer.render(camera)
            masks, crossed = self._masks(camera)
            image = _bytes(display_image(raw, self.renderer.display))
        image_png, mask_pngs = png_bytes(image), tuple(map(png_bytes, masks))
        facts = [
            {
                "sha256": hashlib.sha256(png).hexdigest(),
                "fraction": float((mask > 0).mean()),
                "any_fraction": any_fraction,
                "outside_fraction": outside_fraction(points, camera),
            }
            for png, mask, any_fraction, points in zip(mask_pngs, masks, crossed, self._points, strict=True)
        ]
        record = self._record(camera, image_png, facts)
        return Pair(raw[0, 0].float().cpu().numpy(), image, masks, image_png, mask_pngs, record)

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

    def _obscuring_tissue(self) -> Volume | None:
        visible = [one for one in self.plan.structures if one.rule.name == "visible"]
        if self.labels is None or not visible:
            return None
        return obscuring_tissue(self.labels, visible[0].all_lungs(), self.plan.obscuring)

    def _masks(self, camera: Camera) -> tuple[tuple[np.ndarray, ...], list[float]]:
        """Masks (H, W), 0 or 255, and the fraction of the image that each structure's rays cover."""
        if self.labels is None:
            return (), []
        options: dict[str, Any] = {"obscuring": self._obscuring, "fields": self.renderer.fields}
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
                **fact,
            )
            for one, reason, fact in zip(self.plan.structures, self.plan.reasons, facts, strict=True)
        ]
        return PairRecord(
            mode=self.settings.mode,
            view=view_names(camera)[0],
            camera=camera.to_dict(),
            display={"name": self.renderer.display, "low": LOW, "high": HIGH},
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
        told = {label for mask in masks for label in (*mask.labels, *mask.lung_labels, *mask.obscuring_labels)}
        return sorted(told & self.label_names.keys())


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
        files:      names of the image and of each mask, relative to the record's folder.
        ct:         the CT.
        labels:     its labels.
        seed:       that the camera was drawn by.
        view_index: which of the CT's views.
    """
    masks = [replace(mask, file_name=name) for mask, name in zip(record.masks, files[1:], strict=True)]
    return replace(
        record,
        **mask_fields(masks),
        file_name=files[0],
        id=pair_id(ct.sha256, view_index),
        ct_sha256=ct.sha256,
        labels_sha256=None if labels is None else labels.sha256,
        seed=seed,
        view_index=view_index,
    )


def _bytes(images: Tensor) -> np.ndarray:
    """(H, W) uint8 of one image (1, 1, H, W) in 0 to 1, or of a mask."""
    return (images[0, 0].float() * 255.0).round().to(torch.uint8).cpu().numpy()
