"""A body that goes on beyond its CT."""

import torch
from plain_chest import plain_chest

from nerp.anatomy.extension import extended
from nerp.camera import chest_camera
from nerp.physics.settings import Physics
from nerp.physics.simulate import simulate
from nerp.volume import Volume


def test_the_ends_go_on_and_the_rest_stays_where_it_is():
    affine = torch.diag(torch.tensor([3.0, 2.0, -4.0, 1.0], dtype=torch.float64))
    values = torch.arange(24.0).view(1, 2, 3, 4)
    found = extended(Volume(values, affine, "hu"), 9.0)
    assert found.shape == (2, 3, 8)
    torch.testing.assert_close(found.values[..., 2:6], values)
    assert bool((found.values[..., :2] == values[..., :1]).all() and (found.values[..., 6:] == values[..., 3:]).all())
    index = torch.tensor([1.0, 2.0, 3.0], dtype=torch.float64)
    shifted = index + torch.tensor([0.0, 0.0, 2.0], dtype=torch.float64)
    before, after = Volume(values, affine, "hu").to_world(index), found.to_world(shifted)
    torch.testing.assert_close(before, after)


def test_nothing_is_added_where_nothing_is_asked_for():
    ct = plain_chest(spacing_mm=16.0)
    assert extended(ct, 0.0) is ct and extended(ct, 15.0) is ct


def test_a_film_has_no_black_bars():
    """A chest cut in half: below it the frame sees air, or the trunk that goes on."""
    whole = plain_chest(spacing_mm=8.0)
    view = chest_camera(whole, "pa", shape=(40, 40))
    affine = whole.affine.clone()
    affine[2, 3] += 15 * 8.0
    half = Volume(whole.values[..., 15:], affine, "hu")
    signals = {
        length: simulate(half, view, physics=Physics(scatter="none", grid="none", extended_mm=length))[0, 0, -3, 20]
        for length in (0.0, 120.0)
    }
    assert float(signals[0.0]) > 0.5
    assert float(signals[120.0]) < 0.05
