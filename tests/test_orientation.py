"""One patient, one camera, one radiograph: however the CT is stored on disk."""

import math

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from dicom_series import write_series
from test_volume import ORDER_NAMES, ORDERS, restored

from nerp.camera import Camera
from nerp.data.ct import mapper_grid
from nerp.projection import siddon
from nerp.volume import Volume, attenuation, read_volume, write_volume

CENTRE = torch.tensor([5.0, -40.0, 120.0], dtype=torch.float64)


def blobs(affine: torch.Tensor, shape: tuple[int, int, int]) -> Volume:
    """Smooth lumps of tissue in air, no two alike, placed in the world."""
    index = torch.stack(torch.meshgrid(*(torch.arange(n, dtype=torch.float64) for n in shape), indexing="ij"), -1)
    world = index @ affine[:3, :3].T + affine[:3, 3] - CENTRE
    lumps = [((0, 0, 0), 9, 900), ((8, 3, -6), 5, 700), ((-7, -6, 9), 6, 500), ((2, 9, 8), 4, 1200)]
    values = torch.full(shape, -1000.0, dtype=torch.float64)
    for place, width, height in lumps:
        values += height * torch.exp(-((world - torch.tensor(place)) ** 2).sum(-1) / (2 * width**2))
    return Volume(values.round().float()[None], affine, "hu")


def centred(rotation: torch.Tensor, spacing_mm, shape) -> torch.Tensor:
    affine = torch.eye(4, dtype=torch.float64)
    affine[:3, :3] = rotation * torch.tensor(spacing_mm, dtype=torch.float64)
    middle = (torch.tensor(shape, dtype=torch.float64) - 1) / 2
    affine[:3, 3] = CENTRE - affine[:3, :3] @ middle
    return affine


def posterior_anterior(turn: torch.Tensor, n_fine: int = 1) -> Camera:
    """Set askew, so that no ray runs between two voxels, where either is right; turned about the middle."""
    vectors = torch.tensor([[12.37, -1500.0, 20.29], [0.13, 80.0, -0.21], [-1.0, 0.0, 0.0], [0.0, 0.0, -1.0]])
    source, detector, right, down = (vectors.double() @ turn.T)[:, None].unbind(0)
    return Camera(
        (source + CENTRE).float(),
        (detector + CENTRE).float(),
        right.float(),
        down.float(),
        (48 * n_fine, 40 * n_fine),
        (1.6 / n_fine, 1.6 / n_fine),
    )


def radiograph(volume: Volume, turn: torch.Tensor | None = None, n_fine: int = 1) -> torch.Tensor:
    camera = posterior_anterior(torch.eye(3, dtype=torch.float64) if turn is None else turn, n_fine)
    return siddon(attenuation(volume), camera, backend="reference")


def assert_same(found: torch.Tensor, expected: torch.Tensor, share: float = 1e-3) -> None:
    spread = float(expected.max() - expected.min())
    assert spread > 0.3
    torch.testing.assert_close(found, expected, rtol=0, atol=share * spread)


def turned(angle: float, tilt: float) -> torch.Tensor:
    cos, sin, cos_tilt, sin_tilt = math.cos(angle), math.sin(angle), math.cos(tilt), math.sin(tilt)
    about_z = torch.tensor([[cos, -sin, 0], [sin, cos, 0], [0, 0, 1]], dtype=torch.float64)
    about_x = torch.tensor([[1, 0, 0], [0, cos_tilt, -sin_tilt], [0, sin_tilt, cos_tilt]], dtype=torch.float64)
    return about_z @ about_x


EYE, SHAPE, SPACING = torch.eye(3, dtype=torch.float64), (60, 56, 48), (1.0, 1.2, 1.5)
UPRIGHT, OBLIQUE = centred(EYE, SPACING, SHAPE), centred(turned(0.35, 0.2), SPACING, SHAPE)


@pytest.mark.parametrize(("order", "flips"), ORDERS, ids=ORDER_NAMES)
@pytest.mark.parametrize("affine", [UPRIGHT, OBLIQUE], ids=["upright", "oblique"])
@pytest.mark.parametrize("ending", ["nii.gz", "nrrd", "mha"])
def test_storage_does_not_show(tmp_path, ending, affine, order, flips):
    ct = blobs(affine, SHAPE)
    write_volume(tmp_path / f"ct.{ending}", restored(ct, order, flips))
    assert_same(radiograph(read_volume(tmp_path / f"ct.{ending}")), radiograph(ct))


@pytest.mark.parametrize("ending", ["nii.gz", "nrrd"])
def test_a_patient_turned_with_the_camera_shows_the_same(tmp_path, ending):
    turn = turned(-0.7, 0.4)
    ct = blobs(UPRIGHT, SHAPE)
    write_volume(tmp_path / f"ct.{ending}", Volume(ct.values, centred(turn, SPACING, SHAPE), "hu"))
    assert_same(radiograph(read_volume(tmp_path / f"ct.{ending}"), turn), radiograph(ct))


def test_a_dicom_series_shows_the_same_patient(tmp_path):
    spacing, shape = (1.5, 2.0, 3.0), (52, 40, 24)  # what the test's series has: columns, rows, slices
    rotation = torch.diag(torch.tensor([-1.0, -1.0, 1.0], dtype=torch.float64))
    affine = centred(rotation, spacing, shape)
    ct = blobs(affine, shape)
    heights = [float(affine[2, 3]) + 3.0 * number for number in range(shape[2])]
    folder = write_series(tmp_path / "s", ct.values[0].permute(2, 1, 0).numpy().astype(np.int16), heights)
    found = read_volume(folder)
    shift = torch.eye(4, dtype=torch.float64)
    shift[:3, 3] = (affine - found.affine)[:3, 3]
    assert shift[2, 3] == pytest.approx(0)
    moved = Volume(found.values, shift @ found.affine, "hu")
    assert_same(radiograph(moved), radiograph(ct))


@pytest.mark.parametrize("affine", [UPRIGHT, OBLIQUE], ids=["upright", "oblique"])
@pytest.mark.parametrize("spacing_mm", [1.0, 2.0])
def test_the_mappers_grid_shows_the_same_patient(spacing_mm, affine):
    """Voxels are boxes to a ray, so lines through two grids agree only when averaged over some voxels."""
    ct = blobs(affine, SHAPE)
    grid = mapper_grid(ct, spacing_mm=spacing_mm)
    found, expected = (F.avg_pool2d(radiograph(volume, n_fine=3), 12) for volume in (grid, ct))
    assert_same(found, expected, 0.02)
