"""The hard kinds of geometry are as hard as they are meant to be: of the ray that is aimed, each time."""

from functools import cache

import numpy as np
import pytest
import torch
from geometries import (
    KINDS,
    NEAR,
    SIZES,
    faces_near,
    geometry,
    in_a_face,
    march_moves_smoothly,
    siddon_moves_smoothly,
)


@cache
def views(kind: str, count: int = 40) -> list:
    """Views before straight and oblique grids in turn, the same each time."""
    rng = np.random.default_rng(0)
    return [
        geometry(kind, seed, rng.choice(SIZES, 3).tolist(), seed % 2 == 0, rng.integers(1, 12, 2).tolist(), 2)
        for seed in range(count)
    ]


@cache
def aimed(kind: str, count: int = 40) -> list:
    """Rays of a kind and the shape of their grid: straight, and looked at through the aimed pixel alone."""
    found = [geometry(kind, seed, (3, 5, 8), True, (1, 1), 3) for seed in range(count)]
    return [(view.rays(), view.shape) for view in found]


def fraction(kind: str, mark) -> float:
    """Of the rays of a kind that hit, those that `mark(rays, shape)` marks."""
    rays = [(view.rays(), view.shape) for view in views(kind)]
    hits = [lines.lengths_mm > 0 for lines, _ in rays]
    marked = sum(int((mark(*pair) & hit).sum()) for pair, hit in zip(rays, hits, strict=True))
    return marked / sum(int(hit.sum()) for hit in hits)


def on_planes(points):
    """Which coordinates of points (..., 3) are those of planes between voxels, or of the grid's faces."""
    return (points + 0.5 - (points + 0.5).round()).abs() < NEAR


def planes_at_once(rays):
    """(B, R) how many planes a ray meets in one point: the most along it."""
    ends = torch.stack([rays.starts, rays.starts + rays.lengths_mm[..., None] * rays.directions], dim=-2)
    planes = torch.arange(0, max(SIZES) + 1, dtype=torch.float64) - 0.5
    paths = (planes - rays.starts[..., None]) / rays.directions[..., None]
    paths = paths.where((paths >= 0) & (paths <= rays.lengths_mm[..., None, None]), 0.0).flatten(-2)
    points = torch.cat([rays.starts[..., None, :] + paths[..., None] * rays.directions[..., None, :], ends], dim=-2)
    return on_planes(points).sum(dim=-1).amax(dim=-1)


def test_grids_are_straight_or_oblique_mirrored_or_not_and_anisotropic():
    linear = torch.stack([view.affine[:3, :3] for view in views("anywhere")])
    sizes = linear.norm(dim=1)
    assert (linear.det() > 0).any() and (linear.det() < 0).any()
    assert (sizes.amax(dim=1) > 1.9 * sizes.amin(dim=1)).any()
    exact = (linear != 0).sum(dim=(1, 2)) == 3
    assert exact.tolist() == [view.seed % 2 == 0 for view in views("anywhere")]
    assert (linear[exact].diagonal(dim1=1, dim2=2) == 0).any(), "no axes are permuted"


@pytest.mark.parametrize(("kind", "place"), [("inside", 0), ("on_a_face", 1), ("far", 0)])
def test_sources_are_where_their_kind_says(kind, place):
    for view in views(kind):
        source, shape = view.source(), torch.tensor(view.shape, dtype=torch.float64)
        inside = ((source > -0.5 - NEAR) & (source < shape - 0.5 + NEAR)).all(dim=-1)
        assert (inside == (kind != "far")).all()
        assert (faces_near(source, view.shape) == place).all()
        assert kind != "far" or (view.camera.source.norm(dim=-1) > 1e4).all()


@pytest.mark.parametrize(("kind", "still", "on"), [("along_an_axis", 2, 0), ("face", 1, 1), ("along_an_edge", 2, 2)])
def test_rays_along_planes_stay_in_as_many_as_their_kind_says(kind, still, on):
    """`still` coordinates do not change along the ray, `on` of them are a plane's."""
    for rays, _ in aimed(kind):
        fixed = rays.directions == 0
        assert (fixed.sum(dim=-1) == still).all()
        assert ((fixed & on_planes(rays.starts)).sum(dim=-1) == on).all()


@pytest.mark.parametrize(("kind", "planes"), [("anywhere", 1), ("edge", 2), ("corner", 3)])
def test_rays_meet_as_many_planes_at_once_as_their_kind_says(kind, planes):
    found = [(rays, shape) for rays, shape in aimed(kind) if (rays.lengths_mm > NEAR).all()]
    assert len(found) > 5, "most of them only touch the grid"
    assert all((planes_at_once(rays) == planes).all() for rays, _ in found)


@pytest.mark.parametrize("kind", ["touching_an_edge", "touching_a_corner"])
def test_rays_that_touch_the_grid_cut_next_to_nothing_off_it(kind):
    lengths_mm = torch.cat([rays.lengths_mm for rays, _ in aimed(kind)])
    assert (lengths_mm < NEAR).all() and (lengths_mm > 0).any()
    assert all((faces_near(r.starts, shape) > 1)[r.lengths_mm > 0].all() for r, shape in aimed(kind))


def test_rays_that_miss_meet_nothing():
    assert all((view.rays().lengths_mm == 0).all() for view in views("missing"))


@pytest.mark.parametrize("kind", ["face", "edge", "along_an_edge", "corner"])
def test_hard_kinds_have_rays_without_a_derivative(kind):
    assert fraction(kind, lambda rays, shape: ~siddon_moves_smoothly(rays, shape)) > 0


@pytest.mark.parametrize("kind", ["face", "along_an_edge"])
def test_rays_in_a_face_are_found(kind):
    assert fraction(kind, in_a_face) > 0 == fraction("anywhere", in_a_face)


@pytest.mark.parametrize("kind", [kind for kind in KINDS if kind != "missing"])
def test_enough_rays_have_derivatives_to_compare(kind):
    assert fraction(kind, siddon_moves_smoothly) > 1 / 3
    assert fraction(kind, lambda rays, shape: march_moves_smoothly(rays, shape, 19)) > 1 / 3
