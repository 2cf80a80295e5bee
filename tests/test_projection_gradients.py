"""Derivatives of every projection, first and second, against finite differences in float64."""

import pytest
import torch
from torch.autograd import gradcheck, gradgradcheck

from nerp.camera import Camera
from nerp.projection import march, project_labels, siddon
from nerp.projection.backends.reference.trilinear import trilinear
from nerp.volume import Fields, Volume

AFFINE = torch.tensor([[0.0, 0, 11, -16], [9, 1, 0, -14], [0, 10, 1, -15], [0, 0, 0, 1]], dtype=torch.float64)
SHAPE = (4, 3, 4)


@pytest.fixture(params=[False, True], ids=["whole", "chunked"])
def chunks(request, monkeypatch):
    """Both ways of computing: all rays at once, and one ray at a time, computed again for gradients."""
    if request.param:
        monkeypatch.setattr("nerp.projection.backends.reference.chunks.CHUNK_BYTES", 1)


@pytest.fixture
def values(generator) -> torch.Tensor:
    return torch.rand(1, *SHAPE, generator=generator, dtype=torch.float64)


def vectors() -> list[torch.Tensor]:
    """Source, detector's centre, image right and down of a skewed view, ready for gradients."""
    parts = [[70.0, -290, 40], [-13, 61, -9], [-0.9, -0.2, 0.05], [0.03, 0.1, -0.99]]
    places = torch.tensor(parts[:2], dtype=torch.float64)
    directions = torch.nn.functional.normalize(torch.tensor(parts[2:], dtype=torch.float64))
    return [part[None].clone().requires_grad_() for part in (*places, *directions)]


def view(*parts: torch.Tensor) -> Camera:
    return Camera(*parts, shape=(2, 2), pixel_mm=(9.0, 8.0))


def test_siddon_in_volume_and_camera(values, chunks):
    def image(v, *parts):
        return siddon(Volume(v, AFFINE), view(*parts))

    inputs = (values.requires_grad_(True), *vectors())
    assert image(*inputs).min() > 0
    assert gradcheck(image, inputs, fast_mode=True) and gradgradcheck(image, inputs, fast_mode=True)


@pytest.mark.parametrize("opacity_is", ["per_mm", "per_sample"])
def test_march_in_fields_and_camera(values, chunks, opacity_is):
    def image(matter, opacity, *parts):
        return march(Fields(matter, opacity, AFFINE), view(*parts), 5, opacity_is=opacity_is)

    inputs = (values.requires_grad_(True), (values.detach() / 9).requires_grad_(True), *vectors())
    assert image(*inputs).min() > 0
    assert gradcheck(image, inputs, fast_mode=True) and gradgradcheck(image, inputs, fast_mode=True)


def test_label_lengths_follow_the_camera_as_siddon_does(values, generator):
    indicator = (values.detach() > 0.5).double()
    parts = vectors()
    lengths = project_labels(Volume(indicator, AFFINE, "label"), view(*parts), [1])
    weights = torch.rand(lengths.shape, generator=generator)
    grads = torch.autograd.grad((lengths * weights).sum(), parts)
    expected = torch.autograd.grad((siddon(Volume(indicator, AFFINE), view(*parts)) * weights).sum(), parts)
    assert all(torch.allclose(one, other, rtol=1e-3, atol=1e-3) for one, other in zip(grads, expected, strict=True))


def test_a_ray_that_grazes_and_one_that_misses_have_finite_gradients(values):
    source = torch.tensor([[0.0, -300.0, 1000.0]], dtype=torch.float64, requires_grad=True)
    _, *rest = vectors()
    image = siddon(Volume(values, AFFINE), view(source, *rest))
    assert torch.isfinite(torch.autograd.grad(image.sum(), source)[0]).all()


def test_opacity_of_zero_and_one_have_finite_gradients():
    for value in (0.0, 1.0):
        opacity = torch.full((1, *SHAPE), value, requires_grad=True)
        for mode in ("per_mm", "per_sample"):
            image = march(Fields(torch.ones(1, *SHAPE), opacity, AFFINE), view(*vectors()), 8, opacity_is=mode)
            assert torch.isfinite(torch.autograd.grad(image.sum(), opacity)[0]).all()


@pytest.mark.parametrize("shape", [(3, 4, 5), (1, 2, 3)])
def test_trilinear_is_twice_differentiable_and_equals_its_plain_form(generator, shape):
    values = torch.rand(2, 2, *shape, generator=generator, dtype=torch.float64, requires_grad=True)
    sizes = torch.tensor(shape, dtype=torch.float64)
    points = torch.rand(2, 6, 3, generator=generator, dtype=torch.float64) * (sizes + 1) - 1
    points.requires_grad_(True)
    assert gradcheck(trilinear, (values, points), fast_mode=True)
    assert gradgradcheck(trilinear, (values, points), fast_mode=True)
    plain = torch.autograd.grad(trilinear(values, points).pow(2).sum(), (values, points))
    twice = torch.autograd.grad(trilinear(values, points).pow(2).sum(), (values, points), create_graph=True)
    assert all(torch.allclose(one, other) for one, other in zip(plain, twice, strict=True))


def test_an_input_made_from_another_counts_once():
    """`march(v, v / 30)` with a graph: the gradient in v is the same as without one."""
    affine = torch.eye(4, dtype=torch.float64)
    camera = Camera(
        *(torch.tensor([part], dtype=torch.float64) for part in ([1.7, 1.6, -40.0], [1.5, 1.5, 9.0], [1.0, 0, 0])),
        torch.tensor([[0.0, 1.0, 0.0]], dtype=torch.float64),
        (3, 3),
        (1.0, 1.0),
    )
    for dtype in (torch.float32, torch.float64):
        value = torch.linspace(0.1, 0.9, 64, dtype=dtype).reshape(1, 4, 4, 4).requires_grad_()

        def image(value=value):
            return march(Fields(value, value / 30, affine), camera, 16).square().sum()

        (plain,) = torch.autograd.grad(image(), value)
        (with_graph,) = torch.autograd.grad(image(), value, create_graph=True)
        torch.testing.assert_close(with_graph, plain, rtol=1e-4, atol=1e-7)
