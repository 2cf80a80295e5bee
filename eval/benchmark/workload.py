"""The workload on which projections are timed: a volume, two fields, a map of labels, and a view.

A 256 mm cube seen by a detector of 256 x 256 pixels of 1.8 mm, 700 mm from source to centre and
1020 mm to the detector: as a volume of 256^3 voxels of 1 mm, or as two fields of 128^3 of 2 mm with
512 samples a ray.
"""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from nerp.camera import Camera
from nerp.projection.materials import MaterialVolume

SIZE_MM, SOURCE_CENTRE_MM, SOURCE_DETECTOR_MM = 256.0, 700.0, 1020.0
PIXELS, PIXEL_MM, SAMPLES = 256, 1.8, 512
TILT_DEG = (23.0, -11.0, 7.0)
N_LABELS, N_MATERIALS, N_KNOTS = 100, 6, 8


def rotation() -> np.ndarray:
    """(3, 3) with columns image right, image down and forward of the oblique view; AP is its untilted self."""
    return tilt(*np.deg2rad(TILT_DEG)) @ ap_axes()


def ap_axes() -> np.ndarray:
    """(3, 3), the same for the view along +y."""
    return np.array([[1.0, 0, 0], [0, 0, 1], [0, -1, 0]])


def tilt(about_z: float, about_x: float, about_y: float) -> np.ndarray:
    """Rotation first about y, then x, then z.

    Args:
        about_z: angle, radians.
        about_x: angle, radians.
        about_y: angle, radians.

    Returns:
        (3, 3) matrix, float64.
    """
    (cz, sz), (cx, sx), (cy, sy) = ((np.cos(a), np.sin(a)) for a in (about_z, about_x, about_y))
    z = np.array([[cz, -sz, 0], [sz, cz, 0], [0, 0, 1]])
    x = np.array([[1, 0, 0], [0, cx, -sx], [0, sx, cx]])
    y = np.array([[cy, 0, sy], [0, 1, 0], [-sy, 0, cy]])
    return z @ x @ y


def view(axes: np.ndarray, *, pixels: int = PIXELS) -> Camera:
    """The workload's camera.

    Args:
        axes:   (3, 3) unit directions as columns: image right, image down, forward.
        pixels: rows and columns; fewer cover the same detector.
    """
    right, down, ahead = (torch.tensor(axes[:, k], dtype=torch.float32)[None] for k in range(3))
    source = -SOURCE_CENTRE_MM * ahead
    pixel_mm = torch.full((1, 2), PIXEL_MM * PIXELS / pixels)
    return Camera(source, source + SOURCE_DETECTOR_MM * ahead, right, down, (pixels, pixels), pixel_mm)


def grid(n: int) -> Tensor:
    """(4, 4) affine, float64, from voxel index to mm, of an n^3 grid of the cube around the world's origin."""
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


def materials(groups: int = 1, n: int = 256) -> MaterialVolume:
    """The body taken apart into `N_MATERIALS` at random densities, its cells dealt out to so many groups."""
    codes = body(n) * (0.9 * (N_KNOTS - 1) / body(n).max())
    generator = torch.Generator().manual_seed(0)
    densities = torch.rand(groups, N_KNOTS, N_MATERIALS, generator=generator)
    names = tuple(f"material {m}" for m in range(N_MATERIALS)), tuple(f"group {g}" for g in range(groups))
    places = (cells(n) % groups).to(torch.uint8) if groups > 1 else None
    return MaterialVolume(codes, densities, grid(n), *names, places)
