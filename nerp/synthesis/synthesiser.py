"""One CT under many cameras: each gives a radiograph, its mask from the same rays, and what renders both again."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from torch import Tensor

from nerp.camera import Camera, view_names
from nerp.data.images import png_bytes
from nerp.data.records import PairRecord
from nerp.data.source_files import SourceFile
from nerp.devices import choose_device
from nerp.display import HIGH, LOW, display_image
from nerp.errors import DataError, GeometryError
from nerp.projection import obscuring_tissue, project_mask
from nerp.synthesis.coverage import label_points, outside_fraction
from nerp.synthesis.environment import here, pair_id, repeatable
from nerp.synthesis.generator import TrainedGenerator
from nerp.synthesis.renderers import RENDERERS, Scene
from nerp.synthesis.settings import PairSettings
from nerp.volume import Volume

UNNAMED: dict[str, Any] = {
    "file_name": "",
    "mask_file_name": None,
    "id": "",
    "ct_sha256": "",
    "labels_sha256": None,
    "seed": None,
    "view_index": 0,
}
"""What a record says of files before `named` fills it in."""


@dataclass(frozen=True)
class Pair:
    """A radiograph with its mask, each with its file's bytes.

    Args:
        raw:       (H, W) float32, as projected, not scaled for display.
        image:     (H, W) uint8, the display image.
        mask:      (H, W) uint8, 0 or 255; None without labels.
        image_png: the image's file.
        mask_png:  the mask's file; None without labels.
        record:    what renders the pair again on the same CT; its files and hashes of CT and labels are filled in
            by `named`.
    """

    raw: np.ndarray
    image: np.ndarray
    mask: np.ndarray | None
    image_png: bytes
    mask_png: bytes | None
    record: PairRecord


class Synthesiser:
    """Renders pairs of one CT; holds what all its views share: attenuation or mapped fields.

    Args:
        ct:        `(1, D, H, W)` HU.
        labels:    the same grid, unit `label`; None for images without masks.
        settings:  mode, mask, device and backend; its views, seed and camera are not read.
        generator: a trained one, from `load_generator`, for mode `vrr`.

    Raises:
        DataError:     none of the mask's label values is in `labels`.
        GeometryError: CT and labels are not on one grid.
        UsageError:    labels and no mask chosen, `vrr` without a generator, or a device that is not there.
    """

    def __init__(
        self,
        ct: Volume,
        labels: Volume | None = None,
        *,
        settings: PairSettings | None = None,
        generator: TrainedGenerator | None = None,
    ):
        self.ct, self.settings = ct, settings or PairSettings()
        self.device = choose_device(self.settings.device)
        self.labels = None if labels is None else self._checked(labels).to(self.device)
        self._points = torch.empty(0, 3) if labels is None else label_points(labels, self.settings.mask.labels)
        with repeatable():
            scene = Scene(ct, self.device, self.settings.backend, generator)
            self.renderer = RENDERERS[self.settings.mode](scene)
            self._obscuring = self._obscuring_tissue()

    def pair(self, camera: Camera) -> Pair:
        """The pair that one camera (a batch of one) sees; the same camera gives the same bits."""
        with repeatable():
            camera = camera.to(torch.float64)
            raw = self.renderer.render(camera)
            mask = None if self.labels is None else self._mask(self.labels, camera)
            image = _bytes(display_image(raw, self.renderer.display))
        image_png, mask_png = png_bytes(image), None if mask is None else png_bytes(mask)
        record = self._record(camera, image_png, mask_png, mask)
        return Pair(raw[0, 0].float().cpu().numpy(), image, mask, image_png, mask_png, record)

    def _checked(self, labels: Volume) -> Volume:
        self.settings.mask.check_chosen()
        if labels.shape != self.ct.shape or not torch.allclose(labels.affine, self.ct.affine, atol=1e-3):
            raise GeometryError(
                f"labels are {labels.shape} voxels on another grid than the CT's {self.ct.shape}; "
                "read them with read_labels(path, like=ct)"
            )
        values, chosen = labels.values.unique(), self.settings.mask.labels
        if not self.settings.allow_empty and not torch.isin(values, torch.tensor(chosen).to(values)).any():
            there = ", ".join(f"{value:g}" for value in values[values > 0][:20].tolist())
            raise DataError(
                f"the labels hold {there} and none of the mask's {', '.join(map(str, chosen))}; choose --mask among "
                "them, or allow empty masks (--allow-empty)"
            )
        return labels

    def _obscuring_tissue(self) -> Volume | None:
        mask = self.settings.mask
        if self.labels is None or mask.rule.name != "visible":
            return None
        return obscuring_tissue(self.labels, mask.labels, mask.obscuring_labels())

    def _mask(self, labels: Volume, camera: Camera) -> np.ndarray:
        """(H, W) 0 or 255."""
        mask = self.settings.mask
        options: dict[str, Any] = {"obscuring": self._obscuring, "fields": self.renderer.fields}
        return _bytes(project_mask(mask.rule, labels, camera, mask.labels, backend=self.settings.backend, **options))

    def _record(self, camera: Camera, image_png: bytes, mask_png: bytes | None, mask: np.ndarray | None) -> PairRecord:
        settings = self.settings.mask
        unnamed: dict[str, Any] = {
            "file_name": "",
            "mask_file_name": None,
            "id": "",
            "ct_sha256": "",
            "labels_sha256": None,
        }
        facts: dict[str, Any] = {
            "mode": self.settings.mode,
            "view": view_names(camera)[0],
            "mask_labels": list(settings.labels),
            "rule": settings.rule.to_dict(),
            "obscuring_labels": settings.obscuring_labels(),
            "camera": camera.to_dict(),
            "display": {"name": self.renderer.display, "low": LOW, "high": HIGH},
            "ct_shape": list(self.ct.shape),
            "ct_spacing_mm": list(self.ct.spacing_mm),
            "weights_sha256": self.renderer.weights_sha256,
            "config_sha256": self.renderer.config_sha256,
            "image_sha256": hashlib.sha256(image_png).hexdigest(),
        }
        place = vars(here(self.device, self.renderer.backend))
        return PairRecord(
            **unnamed, **facts, **place, **self._mask_facts(camera, mask_png, mask), seed=None, view_index=0
        )

    def _mask_facts(self, camera: Camera, mask_png: bytes | None, mask: np.ndarray | None) -> dict[str, Any]:
        if mask is None or mask_png is None:
            return {"mask_sha256": None, "mask_fraction": None, "mask_outside_fraction": None}
        return {
            "mask_sha256": hashlib.sha256(mask_png).hexdigest(),
            "mask_fraction": float((mask > 0).mean()),
            "mask_outside_fraction": outside_fraction(self._points, camera),
        }


def named(
    record: PairRecord,
    *,
    files: tuple[str, str | None],
    ct: SourceFile,
    labels: SourceFile | None,
    seed: int | None,
    view_index: int,
) -> PairRecord:
    """A pair's record with what names it: its files and the hashes of what it was made from.

    Args:
        record:     of `Pair`.
        files:      names of image and mask, relative to the record's folder.
        ct:         the CT.
        labels:     its labels.
        seed:       that the camera was drawn by.
        view_index: which of the CT's views.
    """
    return replace(
        record,
        file_name=files[0],
        mask_file_name=files[1],
        id=pair_id(ct.sha256, view_index),
        ct_sha256=ct.sha256,
        labels_sha256=None if labels is None else labels.sha256,
        seed=seed,
        view_index=view_index,
    )


def _bytes(images: Tensor) -> np.ndarray:
    """(H, W) uint8 of one image (1, 1, H, W) in 0 to 1, or of a mask."""
    return (images[0, 0].float() * 255.0).round().to(torch.uint8).cpu().numpy()
