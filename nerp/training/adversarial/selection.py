"""Which mapper of a run is the best, told without a label: like real radiographs, its lungs where the CT has them.

The distance to the radiographs alone would choose lungs that shrank or filled with fog, if that is how films look; so a
mapper is chosen only while the edges about its lungs agree with those of the DRR by the same camera.
"""

from __future__ import annotations

import copy
import math
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional

from nerp.anatomy import map_body
from nerp.camera import Camera
from nerp.display import display_image
from nerp.evaluation.distances import squared_mmd
from nerp.evaluation.extractors import load_extractor
from nerp.networks.mapper import Mapper
from nerp.projection import siddon
from nerp.randomness import choose, stream
from nerp.training.adversarial.parts import Sources
from nerp.training.adversarial.rendering import Rendering
from nerp.training.checkpoint import State, pack_module, unpack_module
from nerp.training.phantom_radiographs import blurred
from nerp.training.settings import TrainerSettings
from nerp.volume import Volume

EXTRACTOR = "efficientnet-lite0"
RADIOGRAPHS = 500
"""Real images that the rendered ones are compared with, at most."""
BATCH = 16
LUNG_MM = 20.0
"""Pixels whose ray passes more air within the body than this show lung."""
AROUND = 1 / 24
"""Of the image's side, about the lungs: their edges lie there."""
SMOOTH = 1 / 96
"""Standard deviation of the smoothing before edges are taken, of the image's side."""


@dataclass(frozen=True)
class _View:
    """One CT by one camera: what of it never changes.

    Args:
        index:  of the CT.
        camera: a batch of one.
        drr:    (1, 1, H, W) display image.
        lungs:  (1, 1, H, W) bool, lungs and what is about them.
    """

    index: int
    camera: Camera
    drr: Tensor
    lungs: Tensor


class Selection:
    """Keeps the averaged mapper whose radiographs are the nearest to real ones.

    Args:
        mapper:    of the kind that is kept.
        rendering: renders the views, the same at every step.
        sources:   CTs, radiographs and cameras.
        settings:  how often, how many views, the least agreement.
        seed:      of views and radiographs.

    Raises:
        EvaluationError: the extractor's weights are not installed.
    """

    def __init__(self, mapper: Mapper, rendering: Rendering, *, sources: Sources, settings: TrainerSettings, seed: int):
        self.mapper = copy.deepcopy(mapper).requires_grad_(False).eval()
        self.step, self.distance = 0, math.inf
        self._rendering, self._sources, self._settings, self._seed = rendering, sources, settings, seed
        self._extractor = load_extractor(EXTRACTOR)
        self._views: list[_View] | None = None
        self._real: Tensor | None = None

    @torch.no_grad()
    def judge(self, step: int, mapper: Mapper) -> dict[str, float]:
        """Compare a mapper with the best so far, and keep it where it is better.

        Args:
            step:   of the run.
            mapper: the averaged one.

        Returns:
            `select_kid`, the squared distance of features to the radiographs'; `select_agreement` of the lungs' edges
            with the DRRs', -1 to 1; `selected_step`, the step of the mapper that is kept, 0 for none yet.
        """
        views = self._views = self._views or self._all_views()
        images = self._rendered(mapper, views)
        distance = self._distance(images)
        agreement = sum(
            edge_agreement(image[None], view.drr, view.lungs) for image, view in zip(images, views, strict=True)
        ) / len(views)
        if agreement >= self._settings.select_agreement and distance < self.distance:
            self.step, self.distance = step, distance
            self.mapper.load_state_dict(mapper.state_dict())
        return {"select_kid": distance, "select_agreement": agreement, "selected_step": float(self.step)}

    def state(self) -> State:
        """The mapper that is kept, and its step and distance."""
        best = torch.tensor([float(self.step), self.distance], dtype=torch.float64, device="cpu")
        return {**pack_module("selected", self.mapper), "selection": best}

    def restore(self, tensors: State) -> None:
        """Put back what `state` gave."""
        unpack_module("selected", self.mapper, tensors)
        self.step, self.distance = int(tensors["selection"][0]), float(tensors["selection"][1])

    def _all_views(self) -> list[_View]:
        return [self._view(number) for number in range(self._settings.select_views)]

    def _view(self, number: int) -> _View:
        index = number % len(self._sources.volumes)
        volume = self._rendering.volume(index)
        camera = self._sources.cameras.sample(volume.camera, 1, stream(self._seed, number, "selection"))
        drr = display_image(self._rendering.integrals(volume, camera))
        return _View(index, camera, drr, lung_region(volume.attenuation, camera).to(drr.device))

    def _rendered(self, mapper: Mapper, views: list[_View]) -> Tensor:
        """(N, 1, H, W) display images; each CT is mapped once."""
        images: dict[int, Tensor] = {}
        for index in sorted({view.index for view in views}):
            volume = self._rendering.volume(index)
            fields = mapper(volume.windowed_ct, volume.attenuation.affine)
            for number, view in enumerate(views):
                if view.index == index:
                    images[number] = self._rendering.vrr(fields, view.camera)
        return torch.cat([images[number] for number in range(len(views))])

    def _distance(self, images: Tensor) -> float:
        if self._real is None:
            radiographs = self._sources.radiographs
            n = min(RADIOGRAPHS, len(radiographs))
            chosen = choose(n, len(radiographs), stream(self._seed, 0, "selection of radiographs"))
            self._real = self._features(torch.stack([radiographs[index] for index in chosen]))
        return float(squared_mmd(self._features(images), self._real))

    def _features(self, images: Tensor) -> Tensor:
        """(N, F) float64 on the CPU of display images (N, 1, H, W), 0 to 1."""
        size, rows = (self._extractor.side, self._extractor.side), []
        for batch in images.cpu().split(BATCH):
            squares = functional.interpolate(batch, size=size, mode="bilinear", antialias=True, align_corners=False)
            rows.append(self._extractor.call(squares.clamp(0, 1).expand(-1, 3, -1, -1))[0].double())
        return torch.cat(rows)


def lung_region(attenuation: Volume, camera: Camera) -> Tensor:
    """Where a camera sees lungs, and what is about them.

    Args:
        attenuation: `(1, D, H, W)` 1/mm.
        camera:      B views.

    Returns:
        (B, 1, H, W) bool, on the CPU.
    """
    body = map_body(attenuation)
    air = torch.from_numpy((body.inside & ~body.tissue).astype("float32"))[None]
    lengths_mm = siddon(Volume(air, body.affine, "1/mm"), camera.to("cpu"))
    reach = max(1, round(AROUND * max(camera.shape)))
    seen = (lengths_mm > LUNG_MM).float()
    return functional.max_pool2d(seen, 2 * reach + 1, 1, reach) > 0


def edge_agreement(images: Tensor, others: Tensor, region: Tensor) -> float:
    """How well the edges of two sets of images agree, -1 to 1: the correlation of their smoothed gradients.

    It falls where an edge has moved by more than it is wide, and where it has gone; it knows nothing of brightness.

    Args:
        images: (B, 1, H, W) on the device of the others.
        others: (B, 1, H, W).
        region: (B, 1, H, W) bool, where edges count.

    Source: the normalised gradient correlation of two images, Penney et al. 1998.
    """
    sigma = SMOOTH * max(images.shape[2:])
    first, second = (_gradients(blurred(one.cpu(), sigma)) * region.cpu() for one in (images, others))
    sizes = first.square().sum() * second.square().sum()
    return float((first * second).sum() / sizes.sqrt().clamp_min(1e-12))


def _gradients(images: Tensor) -> Tensor:
    """(B, 2, H, W) central differences along rows and columns."""
    return torch.cat(torch.gradient(images, dim=(2, 3)), dim=1)
