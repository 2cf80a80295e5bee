"""The hard kinds of geometry are as hard as they are meant to be, in what the tests of the backends draw."""

import torch
from geometries import (
    KINDS,
    NEAR,
    faces_near,
    geometries,
    in_a_face,
    march_moves_smoothly,
    siddon_moves_smoothly,
)
from hypothesis import given, settings

N_DRAWN = 60


def drawn(kind: str) -> list:
    """What tests see of a kind."""
    found = []

    @settings(max_examples=N_DRAWN, deadline=None, derandomize=True, database=None)
    @given(geometries(kind))
    def collect(view):
        found.append(view)

    collect()
    return found


def count(kind: str, mark) -> int:
    """Rays of a kind that hit and that `mark(rays, shape)` marks."""
    views = [view for view in drawn(kind) if len(view.camera)]
    pairs = [(view.rays(), view.shape) for view in views]
    return sum(int((mark(rays, shape) & (rays.lengths_mm > 0)).sum()) for rays, shape in pairs)


def tiny(rays, shape):
    return rays.lengths_mm < NEAR


def straight(rays, shape):
    return (rays.directions == 0).sum(dim=-1) == 2


def test_every_kind_also_comes_as_one_voxel_through_one_pixel_and_as_nothing():
    for kind in KINDS:
        views = drawn(kind)
        assert any(view.shape == (1, 1, 1) for view in views)
        assert any(view.camera.shape == (1, 1) for view in views)
        assert {len(view.camera) for view in views} == {0, 1, 2, 3}
        assert any(1 in view.shape and max(view.shape) > 1 for view in views)


def test_grids_are_straight_or_oblique_mirrored_or_not_and_anisotropic():
    linear = torch.stack([view.affine[:3, :3] for view in drawn("anywhere")])
    sizes = linear.norm(dim=1)
    assert (linear.det() > 0).any() and (linear.det() < 0).any()
    assert (sizes.amax(dim=1) > 1.9 * sizes.amin(dim=1)).any()
    exact = (linear != 0).sum(dim=(1, 2)) == 3
    assert exact.any() and not exact.all()
    assert (linear[exact].diagonal(dim1=1, dim2=2) == 0).any(), "no axes are permuted"


def test_sources_are_where_their_kind_says():
    for kind, place in (("inside", 0), ("on_a_face", 1), ("far", 0)):
        for view in drawn(kind):
            source, shape = view.source(), torch.tensor(view.shape)
            inside = ((source > -0.5 - NEAR) & (source < shape - 0.5 + NEAR)).all(dim=-1)
            assert (inside == (kind != "far")).all()
            assert (faces_near(source, view.shape) == place).all()
            assert kind != "far" or (view.camera.source.norm(dim=-1) > 1e4).all()


def test_rays_meet_planes_as_their_kind_says():
    assert count("along_an_axis", straight) > 20 and count("along_an_axis", in_a_face) == 0
    assert count("along_an_edge", straight) > 20 and count("along_an_edge", in_a_face) > 20
    assert count("face", in_a_face) > 20
    assert count("touching_an_edge", tiny) > 10 and count("touching_a_corner", tiny) > 10
    assert count("missing", lambda rays, shape: rays.lengths_mm > 0) == 0
    for kind in ("touching_an_edge", "touching_a_corner"):
        assert count(kind, lambda rays, shape: faces_near(rays.starts, shape) > 1) > 10
    for kind in ("face", "edge", "along_an_edge", "corner"):
        assert count(kind, lambda rays, shape: ~siddon_moves_smoothly(rays, shape)) > 10


def test_most_rays_have_derivatives_to_compare():
    for kind in set(KINDS) - {"missing"}:
        all_hits = count(kind, lambda rays, shape: rays.lengths_mm > 0)
        assert count(kind, siddon_moves_smoothly) > 0.5 * all_hits
        assert count(kind, lambda rays, shape: march_moves_smoothly(rays, shape, 19)) > 0.5 * all_hits
