"""Shadows of voxels: their width, and that averaging over them is linear interpolation."""

import pytest
import torch

from nerp.camera import Camera
from nerp.physics.softening import softened, voxel_shadow_px


def camera(pixel_mm=(0.5, 1.0)) -> Camera:
    vectors = ((0.0, -1000.0, 0.0), (0.0, 1000.0, 0.0), (-1.0, 0.0, 0.0), (0.0, 0.0, -1.0))
    return Camera(*(torch.tensor([v], dtype=torch.float64) for v in vectors), shape=(4, 6), pixel_mm=pixel_mm)


def test_a_voxel_s_shadow_is_its_edge_enlarged():
    """Half way between source and detector: twice as large."""
    affine = torch.diag(torch.tensor([2.0, 3.0, 4.0, 1.0], dtype=torch.float64))
    assert voxel_shadow_px(camera(), affine, (1, 1, 1)) == pytest.approx((2 * 4 / 0.5, 2 * 2 / 1.0))


def test_steps_become_ramps():
    """Blocks of four pixels, averaged over four: straight lines between their middles."""
    levels = torch.tensor([0.0, 1.0, 3.0, 2.0], dtype=torch.float64)
    blocks = levels.repeat_interleave(4).repeat(3, 1)[None, None]
    found = softened(blocks, (1e-3, 4.0))[0, 0, 1, 2:14]
    middles = torch.arange(4, dtype=torch.float64) * 4 + 1.5
    at = torch.arange(2, 14, dtype=torch.float64)
    below = ((at - 1.5) / 4).floor().long().clamp(0, 2)
    expected = levels[below] + (at - middles[below]) / 4 * (levels[below + 1] - levels[below])
    torch.testing.assert_close(found, expected, rtol=0, atol=1e-12)


@pytest.mark.parametrize("widths", [(0.7, 0.3), (1.0, 2.5), (3.0, 40.0)])
def test_even_images_and_sums_stay(widths):
    even = torch.full((2, 3, 20, 30), 4.0)
    torch.testing.assert_close(softened(even, widths), even)
    point = torch.zeros((1, 1, 101, 101), dtype=torch.float64)
    point[0, 0, 50, 50] = 1.0
    assert float(softened(point, widths).sum()) == pytest.approx(1.0)


def test_the_box_has_its_width():
    point = torch.zeros((1, 1, 101, 101), dtype=torch.float64)
    point[0, 0, 50, 50] = 1.0
    for width in (1.5, 2.0, 3.7, 6.0):
        spread = softened(point, (width, 1e-3))[0, 0, :, 50]
        assert float(spread.max()) == pytest.approx(1 / width, rel=1e-9)


def test_it_is_differentiable_and_leaves_fine_voxels():
    image = torch.rand((1, 2, 5, 6), dtype=torch.float64, generator=torch.Generator().manual_seed(0)).requires_grad_()
    assert torch.autograd.gradcheck(lambda x: softened(x, (2.2, 1.3)), (image,))
    assert softened(image, (0.5, 0.2)) is image
