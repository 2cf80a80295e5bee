"""The workload on which projections are timed, and the contestants that project it.

A 256 mm cube seen by a detector of 256 x 256 pixels of 1.8 mm, 700 mm from source to centre and
1020 mm to the detector: as a volume of 256^3 voxels of 1 mm, or as two fields of 128^3 of 2 mm with
512 samples a ray.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor
from torch.nn.functional import grid_sample

from nerp.camera import Camera
from nerp.projection import march, project_labels, siddon
from nerp.volume import Fields, Volume

SIZE_MM, SOURCE_CENTRE_MM, SOURCE_DETECTOR_MM = 256.0, 700.0, 1020.0
PIXELS, PIXEL_MM, SAMPLES = 256, 1.8, 512
TILT_DEG = (23.0, -11.0, 7.0)
N_LABELS = 100

Run = Callable[[], Tensor]


def rotation() -> np.ndarray:
    """Columns image right, image down and forward of the oblique view; AP is its untilted self."""
    return tilt(*np.deg2rad(TILT_DEG)) @ ap_axes()


def ap_axes() -> np.ndarray:
    """The same for the view along +y."""
    return np.array([[1.0, 0, 0], [0, 0, 1], [0, -1, 0]])


def tilt(about_z: float, about_x: float, about_y: float) -> np.ndarray:
    """Rotation matrix: first about y, then x, then z; angles in radians."""
    (cz, sz), (cx, sx), (cy, sy) = ((np.cos(a), np.sin(a)) for a in (about_z, about_x, about_y))
    z = np.array([[cz, -sz, 0], [sz, cz, 0], [0, 0, 1]])
    x = np.array([[1, 0, 0], [0, cx, -sx], [0, sx, cx]])
    y = np.array([[cy, 0, sy], [0, 1, 0], [-sy, 0, cy]])
    return z @ x @ y


def view(axes: np.ndarray, *, pixels: int = PIXELS) -> Camera:
    """The workload's camera with these axes; fewer pixels cover the same detector."""
    right, down, ahead = (torch.tensor(axes[:, k], dtype=torch.float32)[None] for k in range(3))
    source = -SOURCE_CENTRE_MM * ahead
    pixel_mm = PIXEL_MM * PIXELS / pixels
    return Camera(source, source + SOURCE_DETECTOR_MM * ahead, right, down, (pixels, pixels), (pixel_mm, pixel_mm))


def grid(n: int) -> Tensor:
    """Affine of an n^3 grid of the cube around the world's origin."""
    spacing = SIZE_MM / n
    affine = torch.diag(torch.tensor([spacing, spacing, spacing, 1.0], dtype=torch.float64))
    affine[:3, 3] = -spacing * (n - 1) / 2
    return affine


def body(n: int = 256) -> Tensor:
    """(n, n, n) attenuation of an ellipsoid with soft lumps, 1/mm, float32."""
    rng = np.random.default_rng(0)
    axis = ((np.arange(n) + 0.5) / n - 0.5) * SIZE_MM
    x, y, z = np.meshgrid(axis, axis, axis, indexing="ij", sparse=True)
    depth = (x / 110) ** 2 + (y / 80) ** 2 + (z / 118) ** 2
    values = np.clip((1.05 - depth) / 0.1, 0, 1) * 0.02
    for _ in range(14):
        centre, width, height = rng.uniform(-60, 60, 3), rng.uniform(6, 22), rng.uniform(-0.008, 0.03)
        lump = [np.exp(-((a - c) ** 2) / (2 * width**2)) for a, c in zip((x, y, z), centre, strict=True)]
        values += height * lump[0] * lump[1] * lump[2] * (depth < 1)
    return torch.from_numpy(np.clip(values, 0, None).astype(np.float32))


def cells(n: int = 256) -> Tensor:
    """(n, n, n) map of `N_LABELS` labels: the nearest of as many random points."""
    points = torch.rand(N_LABELS, 3, generator=torch.Generator().manual_seed(0)) * n
    coarse = torch.stack(torch.meshgrid(*[torch.arange(2.0, n, 4)] * 3, indexing="ij"), dim=-1)
    labels = torch.cdist(coarse.reshape(-1, 3), points).argmin(dim=1).reshape(coarse.shape[:3])
    return labels.float().repeat_interleave(4, 0).repeat_interleave(4, 1).repeat_interleave(4, 2)


def random_fields(n: int = 128) -> tuple[Tensor, Tensor]:
    """(1, n, n, n) matter in 0..1 and opacity of at most 0.02 per mm."""
    matter, opacity = torch.rand(2, 1, n, n, n, generator=torch.Generator().manual_seed(0))
    return matter, opacity * 0.02


def plain_march(matter: Tensor, opacity: Tensor, camera: Camera, *, rays_at_once: int | None = None) -> Tensor:
    """(R,) the same image as a user of PyTorch would write it, all rays at once or so many."""
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
    shine, dim = sampled[0, ..., 0]
    step_mm = (span.norm(dim=-1) * (leave - enter) / SAMPLES)[:, None]
    alpha = 1 - torch.exp(-dim * step_mm)
    passed = torch.cumprod(torch.cat([torch.ones_like(alpha[:, :1]), 1 - alpha[:, :-1]], dim=1), dim=1)
    return (passed * alpha * shine).sum(dim=1)


def with_gradient(image: Callable[..., Tensor], *inputs: Tensor) -> Run:
    """A call that renders `image(*inputs)` and carries the gradient of its mean square back to the inputs."""
    leaves = [part.clone().requires_grad_() for part in inputs]

    def run() -> Tensor:
        return torch.autograd.grad(image(*leaves).square().mean(), leaves)[0]

    return run


def without_gradient(image: Callable[..., Tensor], *inputs: Tensor) -> Run:
    """A call that only renders."""

    def run() -> Tensor:
        with torch.no_grad():
            return image(*inputs)

    return run


def vectors(camera: Camera) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """What of a camera can be differentiated: source, detector's centre, image right and down."""
    return camera.source, camera.detector_centre, camera.image_right, camera.image_down


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
        """(1, 1, H, W) of two fields of 128^3."""
        camera = self._camera(moved)
        return march(Fields(matter, opacity, grid(128)), camera, self.samples)

    def siddon(self, values: Tensor, *moved: Tensor) -> Tensor:
        """(1, 1, H, W) of a volume of 256^3."""
        return siddon(Volume(values, grid(256)), self._camera(moved))

    def labels(self, labels: Tensor) -> Tensor:
        """(1, K, H, W) of a map of 256^3."""
        volume = Volume(labels, grid(256), "label")
        return project_labels(volume, self.camera, range(N_LABELS))

    def _camera(self, moved: tuple[Tensor, ...]) -> Camera:
        camera = self.camera
        return Camera(*(moved or vectors(camera)), camera.shape, camera.pixel_mm)


def contestants(*, samples: int = SAMPLES, device: str = "cpu") -> dict[str, Run]:
    """Our projections of the workload, each ready to run."""
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
    }


def plain_contestants(*, device: str = "cpu") -> dict[str, Run]:
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


def _gradient_in_pieces(fields: Tensor, camera: Camera, *, rays_at_once: int = 4096) -> Run:
    """The gradient of the mean square, added up piece by piece: larger ones, since each clears a whole gradient."""
    leaf, pixels = fields.requires_grad_(), camera.pixels().reshape(-1, 3)

    def run() -> Tensor:
        leaf.grad = None
        for part in pixels.split(rays_at_once):
            (_plain_light(leaf, camera.source[0], part).square().sum() / len(pixels)).backward()
        return leaf.grad

    return run
