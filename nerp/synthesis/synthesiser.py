"""One CT under many cameras: each gives a radiograph, its mask from the same rays, and a record."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from nerp.camera import Camera, view_names
from nerp.data.images import png_bytes
from nerp.display import HIGH, LOW, display_image
from nerp.errors import DataError, GeometryError, UsageError
from nerp.projection import obscuring_tissue, project_mask, siddon
from nerp.projection.dispatch import choose_backend
from nerp.synthesis.records import check_device, environment, repeatable
from nerp.synthesis.run import Run
from nerp.synthesis.settings import PairSettings
from nerp.volume import Fields, Volume, attenuation

DISPLAY = "percentile"


@dataclass(frozen=True)
class Pair:
    """A radiograph with its mask.

    Args:
        raw:    (H, W) float32, as projected, not scaled for display.
        image:  (H, W) uint8, the display image.
        mask:   (H, W) uint8, 0 or 255; None without labels.
        record: what renders it again on the same CT.
    """

    raw: np.ndarray
    image: np.ndarray
    mask: np.ndarray | None
    record: dict


class Synthesiser:
    """Renders pairs of one CT; holds what all its views share: attenuation or mapped fields.

    Args:
        ct:        `(1, D, H, W)` HU.
        labels:    the same grid, unit `label`; None for images without masks.
        settings:  mode, mask and rule, device and backend; its views, seed and cameras are not read.
        run:       a trained one, from `load_run`, for mode `vrr`.

    Raises:
        DataError:     none of the mask's label values is in `labels`.
        GeometryError: CT and labels are not on one grid.
        UsageError:    labels and no mask chosen, `vrr` without a run, or a device that is not there.
    """

    def __init__(
        self,
        ct: Volume,
        labels: Volume | None = None,
        *,
        settings: PairSettings | None = None,
        run: Run | None = None,
    ):
        self.settings = settings or PairSettings()
        self.device = torch.device(check_device(self.settings.device))
        self.ct, self.run = ct, run
        self.labels = None if labels is None else self._checked(labels).to(self.device)
        self._mask_points = None if labels is None else label_points(labels, self.settings.mask)
        with repeatable():
            self._source = self._prepare()
            self._obscuring = self._obscuring_tissue()
        self.backend = _backend_name(self.settings.backend, self._source)

    def pair(self, camera: Camera) -> Pair:
        """The pair that one camera (a batch of one) sees; the same camera gives the same bits."""
        with repeatable():
            camera = camera.to(torch.float64)
            raw = self._render(camera)
            mask = None if self.labels is None else self._mask(camera)
            image = _bytes(display_image(raw, DISPLAY))
        return Pair(raw[0, 0].float().cpu().numpy(), image, mask, self._record(camera, image, mask))

    def _checked(self, labels: Volume) -> Volume:
        self.settings.check_mask()
        if labels.shape != self.ct.shape or not torch.allclose(labels.affine, self.ct.affine, atol=1e-3):
            raise GeometryError(
                f"labels are {labels.shape} voxels on another grid than the CT's {self.ct.shape}; "
                "read them with read_labels(path, like=ct)"
            )
        values = labels.values.unique()
        if not self.settings.allow_empty and not torch.isin(values, torch.tensor(self.settings.mask).to(values)).any():
            held = ", ".join(f"{value:g}" for value in values[values > 0][:20].tolist())
            wanted = ", ".join(map(str, self.settings.mask))
            raise DataError(
                f"the labels hold {held} and none of the mask's {wanted}; choose --mask among them, "
                "or allow empty masks (--allow-empty)"
            )
        return labels

    def _prepare(self):
        if self.settings.mode == "drr":
            return attenuation(self.ct).to(self.device)
        if self.run is None:
            raise UsageError("mode vrr needs a trained run; give the folder that nerp train wrote, or use mode drr")
        return self.run.fields(self.ct, self.device)

    def _obscuring_tissue(self) -> Volume | None:
        if self.labels is None or self.settings.rule.name != "visible":
            return None
        return obscuring_tissue(self.labels, self.settings.mask, self.settings.obscuring_labels())

    def _render(self, camera: Camera) -> Tensor:
        """(1, 1, H, W) unscaled radiograph."""
        if self.settings.mode == "drr":
            return siddon(self._source, camera, backend=self.backend)
        return self.run.view(self._source, camera, backend=self.backend)

    def _mask(self, camera: Camera) -> np.ndarray:
        """(H, W) 0 or 255."""
        fields = self._source if isinstance(self._source, Fields) else None
        options = {"obscuring": self._obscuring, "fields": fields, "backend": self.settings.backend}
        mask = project_mask(self.settings.rule, self.labels, camera, self.settings.mask, **options)
        return _bytes(mask)

    def _record(self, camera: Camera, image: np.ndarray, mask: np.ndarray | None) -> dict:
        record = {
            "mode": self.settings.mode,
            "view": view_names(camera)[0],
            "mask_labels": list(self.settings.mask),
            "rule": self.settings.rule.to_dict(),
            "obscuring_labels": self.settings.obscuring_labels(),
            "camera": camera.to_dict(),
            "display": {"name": DISPLAY, "low": LOW, "high": HIGH},
            "ct_shape": list(self.ct.shape),
            "ct_spacing_mm": list(self.ct.spacing_mm),
            "weights_sha256": self.run and self.run.weights_sha256,
            "config_sha256": self.run and self.run.config_sha256,
            **environment(self.device.type),
            "backend": self.backend,
            "image_sha256": hashlib.sha256(png_bytes(image)).hexdigest(),
        }
        return {**record, **self._mask_facts(camera, mask)}

    def _mask_facts(self, camera: Camera, mask: np.ndarray | None) -> dict:
        if mask is None:
            return {"mask_sha256": None, "mask_share": None, "mask_outside_share": None}
        return {
            "mask_sha256": hashlib.sha256(png_bytes(mask)).hexdigest(),
            "mask_share": float((mask > 0).mean()),
            "mask_outside_share": outside_share(self._mask_points, camera),
        }


def _bytes(images: Tensor) -> np.ndarray:
    """(H, W) uint8 of one image (1, 1, H, W) in 0 to 1, or of a mask."""
    return (images[0, 0].float() * 255.0).round().to(torch.uint8).cpu().numpy()


def _backend_name(backend: str, source: Volume | Fields) -> str:
    """The backend that `auto` comes to here."""
    values = source.matter if isinstance(source, Fields) else source.values
    return choose_backend(backend, values).__name__.rpartition(".")[2]


def outside_share(points: Tensor, camera: Camera) -> float | None:
    """The part of some points that the detector misses: how much of the labelled tissue the border cuts off.

    Args:
        points: (N, 3) world mm.
        camera: a batch of one.

    Returns:
        0 to 1; None without points.
    """
    if not len(points):
        return None
    right, down, centre = camera.image_right[0], camera.image_down[0], camera.detector_centre[0]
    normal, rays = torch.linalg.cross(right, down), points - camera.source[0]
    on_detector = camera.source[0] + rays * ((centre - camera.source[0]) @ normal / (rays @ normal))[:, None] - centre
    inside = torch.ones(len(points), dtype=torch.bool)
    for axis, direction in enumerate((down, right)):
        inside &= (on_detector @ direction).abs() <= camera.size_mm[0, axis] / 2
    return 1.0 - float(inside.double().mean())


def label_points(labels: Volume, mask: tuple[int, ...], limit: int = 20_000) -> Tensor:
    """Centres of the voxels with one of the `mask`'s values, evenly thinned to `limit`: (N, 3) world mm, float64."""
    values = labels.values[0].cpu()
    index = torch.isin(values, torch.tensor(mask).to(values)).nonzero()
    index = index[:: max(1, -(-len(index) // limit))].double()
    return labels.to_world(index)
