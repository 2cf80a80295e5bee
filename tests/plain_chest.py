"""A chest of ellipsoids in air: all of it is known, and nothing of it is cut."""

import torch

from nerp.volume import Volume

SPACING_MM = 4.0
SIZE_MM = (400.0, 320.0, 400.0)
CENTRE_MM = (10.0, -20.0, 35.0)


def places(size_mm=SIZE_MM, spacing_mm=SPACING_MM):
    """x, y, z of the voxels about the chest's middle, and the affine of (x, y, z) axes that run to R, A, S."""
    axes = [(torch.arange(round(side / spacing_mm)).double() + 0.5) * spacing_mm - side / 2 for side in size_mm]
    affine = torch.eye(4, dtype=torch.float64) * spacing_mm
    affine[:3, 3] = torch.stack([axis[0] for axis in axes]) + torch.tensor(CENTRE_MM, dtype=torch.float64)
    affine[3, 3] = 1.0
    return torch.meshgrid(*axes, indexing="ij"), affine


def ellipsoid(xyz, middle, radii):
    return sum(((axis - at) / radius) ** 2 for axis, at, radius in zip(xyz, middle, radii, strict=True)) < 1


def plain_chest(size_mm=SIZE_MM, spacing_mm=SPACING_MM, air_hu=-1000.0) -> Volume:
    """Body, two lungs, spine, breastbone and windpipe, HU."""
    xyz, affine = places(size_mm, spacing_mm)
    x, y, z = xyz
    hu = torch.full(x.shape, air_hu, dtype=torch.float32)
    hu[ellipsoid(xyz, (0, 0, 0), (150, 100, 180))] = 40.0
    for side in (-1, 1):
        hu[ellipsoid(xyz, (side * 70, 0, 0), (50, 70, 110))] = -850.0
    hu[((x**2 + (y + 70) ** 2) < 15**2) & (z.abs() < 110)] = 500.0
    hu[(x.abs() < 14) & ((y - 80).abs() < 6) & (z > -20) & (z < 60)] = 300.0
    hu[((x**2 + (y + 10) ** 2) < 9**2) & (z > 20) & (z < 130)] = -1000.0
    return Volume(hu[None], affine, "hu")
