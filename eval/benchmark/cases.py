"""What is timed: our projections of the workload, and the same march as a user of PyTorch would write it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial

import torch
from torch import Tensor
from torch.nn.functional import grid_sample

from benchmark.workload import (
    N_LABELS,
    PIXELS,
    SAMPLES,
    SIZE_MM,
    ap_axes,
    body,
    cells,
    grid,
    materials,
    random_fields,
    rotation,
    view,
)
from nerp.camera import Camera
from nerp.projection import march, project_labels, siddon
from nerp.projection.materials import project_materials
from nerp.volume import Fields, Volume

N_GROUPS = 20

Call = Callable[[], Tensor]
"""A case, ready to run."""


def plain_march(matter: Tensor, opacity: Tensor, camera: Camera, *, rays_at_once: int | None = None) -> Tensor:
    """The image of `march` as a user of PyTorch would write it.

    Args:
        matter:       (1, n, n, n) emission, unitless.
        opacity:      (1, n, n, n) extinction, 1/mm.
        camera:       one view of (H, W) pixels.
        rays_at_once: of how many rays samples are kept at a time; None for all.

    Returns:
        (H W,) light, unitless. Differentiable in the fields.

    Source: Max 1995, eq. 10.
    """
    fields, pixels = torch.stack([matter, opacity], dim=1), camera.pixels().reshape(-1, 3)
    parts = pixels.split(rays_at_once or len(pixels))
    return torch.cat([_plain_light(fields, camera.source[0], part) for part in parts])


def _plain_light(fields: Tensor, source: Tensor, pixels: Tensor) -> Tensor:
    """(r,) light at pixels (r, 3) through fields (1, 2, n, n, n): `grid_sample`, then cumulative products."""
    span = pixels - source
    near, far = (-SIZE_MM / 2 - source) / span, (SIZE_MM / 2 - source) / span
    enter = torch.minimum(near, far).amax(dim=-1).clamp(0, 1)
    leave = torch.maximum(near, far).amin(dim=-1).clamp(0, 1).maximum(enter)
    number = torch.arange(SAMPLES, device=fields.device)
    along = enter[:, None] + (leave - enter)[:, None] * (number + 0.5) / SAMPLES
    points = (source + along[..., None] * span[:, None]) / (SIZE_MM / 2)
    sampled = grid_sample(fields, points.flip(-1)[None, :, :, None], align_corners=False)
    emission, opacity = sampled[0, ..., 0]
    step_mm = (span.norm(dim=-1) * (leave - enter) / SAMPLES)[:, None]
    alpha = 1 - torch.exp(-opacity * step_mm)
    passed = torch.cumprod(torch.cat([torch.ones_like(alpha[:, :1]), 1 - alpha[:, :-1]], dim=1), dim=1)
    return (passed * alpha * emission).sum(dim=1)


def with_gradient(image: Callable[..., Tensor], *inputs: Tensor) -> Call:
    """A call that renders an image and carries the gradient of its mean square back.

    Args:
        image:  from the inputs to an image of any shape.
        inputs: of any shapes; all get a gradient.

    Returns:
        A call that gives the gradient in the first input, of its shape.
    """
    leaves = [part.clone().requires_grad_() for part in inputs]

    def run() -> Tensor:
        return torch.autograd.grad(image(*leaves).square().mean(), leaves)[0]

    return run


def without_gradient(image: Callable[..., Tensor], *inputs: Tensor) -> Call:
    """A call that only renders.

    Args:
        image:  from the inputs to an image of any shape.
        inputs: of any shapes.

    Returns:
        A call that gives the image.
    """

    def run() -> Tensor:
        with torch.no_grad():
            return image(*inputs)

    return run


def vectors(camera: Camera) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """What of a camera is differentiated: source, detector's centre (mm), image right and down, each (B, 3)."""
    return camera.source, camera.detector_centre, camera.image_right, camera.image_down


def with_vectors(camera: Camera, source: Tensor, centre: Tensor, right: Tensor, down: Tensor) -> Camera:
    """The same detector elsewhere.

    Args:
        camera: B views.
        source: (B, 3) mm, and so the rest, in the order of `vectors`.
        centre: (B, 3) mm.
        right:  (B, 3) unit direction.
        down:   (B, 3) unit direction.
    """
    return replace(camera, source=source, detector_centre=centre, image_right=right, image_down=down)


@dataclass(frozen=True)
class Projections:
    """Our projections of the workload as functions of what can be differentiated, on one device."""

    samples: int = SAMPLES
    pixels: int = PIXELS
    device: str = "cpu"

    @property
    def camera(self) -> Camera:
        """The oblique view."""
        return view(rotation(), pixels=self.pixels).to(self.device)

    def march(self, matter: Tensor, opacity: Tensor, *moved: Tensor) -> Tensor:
        """Emission and absorption along all rays.

        Args:
            matter:  (1, 128, 128, 128) unitless.
            opacity: (1, 128, 128, 128) 1/mm.
            moved:   the vectors of another camera, if any, each (1, 3).

        Returns:
            (1, 1, H, W) light, unitless. Differentiable in all.
        """
        camera = self._camera(moved)
        return march(Fields(matter, opacity, grid(128)), camera, self.samples)

    def siddon(self, values: Tensor, *moved: Tensor) -> Tensor:
        """Path integrals along all rays.

        Args:
            values: (1, 256, 256, 256) 1/mm.
            moved:  the vectors of another camera, if any, each (1, 3).

        Returns:
            (1, 1, H, W) unitless. Differentiable in all.
        """
        return siddon(Volume(values, grid(256)), self._camera(moved))

    def labels(self, labels: Tensor) -> Tensor:
        """(1, K, H, W) path through each label of a map (1, 256, 256, 256), mm."""
        volume = Volume(labels, grid(256), "label")
        return project_labels(volume, self.camera, range(N_LABELS))

    def _camera(self, moved: tuple[Tensor, ...]) -> Camera:
        return with_vectors(self.camera, *moved) if moved else self.camera


def cases(*, samples: int = SAMPLES, device: str = "cpu") -> dict[str, Call]:
    """Our projections of the workload, each ready to run.

    Args:
        samples: on each ray of a march.
        device:  where they run.
    """
    ours = Projections(samples=samples, device=device)
    volume, labels = body()[None].to(device), cells()[None].to(device)
    fields, moved = [part.to(device) for part in random_fields()], vectors(ours.camera)
    ap = vectors(view(ap_axes()).to(device))
    return {
        "march": without_gradient(ours.march, *fields),
        "march fields": with_gradient(ours.march, *fields),
        "march camera": with_gradient(lambda *moved: ours.march(*fields, *moved), *moved),
        "siddon": without_gradient(ours.siddon, volume),
        "siddon ap": without_gradient(ours.siddon, volume, *ap),
        "siddon volume": with_gradient(ours.siddon, volume),
        "siddon camera": with_gradient(lambda *moved: ours.siddon(volume, *moved), *moved),
        "labels": without_gradient(ours.labels, labels),
        "materials": partial(project_materials, materials().to(device), ours.camera),
        "materials of groups": partial(project_materials, materials(N_GROUPS).to(device), ours.camera),
    }


def plain_cases(*, device: str = "cpu") -> dict[str, Call]:
    """The same march in plain PyTorch; in pieces of some rays too, which spares it the wait for fresh memory."""
    fields, camera = [part.to(device) for part in random_fields()], view(rotation()).to(device)

    def plain(matter, opacity):
        return plain_march(matter, opacity, camera)

    def in_pieces(matter, opacity):
        return plain_march(matter, opacity, camera, rays_at_once=1024)

    return {
        "torch march": without_gradient(plain, *fields),
        "torch march in pieces": without_gradient(in_pieces, *fields),
        "torch march fields": with_gradient(plain, *fields),
        "torch march in pieces fields": _gradient_in_pieces(torch.stack(fields, dim=1), camera),
    }


def _gradient_in_pieces(fields: Tensor, camera: Camera, *, rays_at_once: int = 4096) -> Call:
    """The gradient of the mean square, added up piece by piece: larger ones, since each clears a whole gradient."""
    leaf, pixels = fields.requires_grad_(), camera.pixels().reshape(-1, 3)

    def run() -> Tensor:
        leaf.grad = None
        for part in pixels.split(rays_at_once):
            (_plain_light(leaf, camera.source[0], part).square().sum() / len(pixels)).backward()
        assert leaf.grad is not None
        return leaf.grad

    return run
