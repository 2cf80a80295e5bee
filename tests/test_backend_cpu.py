"""The compiled kernels against the plain backend in double precision, on every instruction set here."""

import logging
from dataclasses import replace

import numpy as np
import pytest
import torch
from agreement import agree, close, fields_of, gradients, largest, march_by
from geometries import (
    GENERIC,
    KINDS,
    clip_moves_smoothly,
    geometries,
    geometry,
    march_moves_smoothly,
    oblique_affine,
    siddon_moves_smoothly,
)
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from nerp.camera import Camera
from nerp.errors import UsageError
from nerp.projection import available_backends, dispatch, march, project_labels, siddon
from nerp.projection.backends import cpu, reference
from nerp.projection.backends.cpu import library
from nerp.projection.rays import Rays, cast_rays
from nerp.volume import Fields, Volume

pytestmark = pytest.mark.skipif(cpu.missing() is not None, reason=str(cpu.missing()))

LABELS = [0, 2, 3, 7]
NOTHING_MM = 1e-6  # a path of a millionth of this is a rounding error of the casting in float64
of_every_kind = pytest.mark.parametrize("kind", KINDS)
relaxed = settings(
    max_examples=6, deadline=None, derandomize=True, suppress_health_check=[HealthCheck.function_scoped_fixture]
)


@pytest.fixture(params=["baseline", "avx2", "avx512"])
def instruction_set(request):
    """Runs a test once for each set of kernels that this processor can run."""
    best = library.instruction_set()
    if not library.choose_instruction_set(request.param):
        pytest.skip(f"this processor has no {request.param}")
    yield request.param
    library.choose_instruction_set(best)


@pytest.fixture
def one_thread():
    count = torch.get_num_threads()
    yield
    torch.set_num_threads(count)


@of_every_kind
@relaxed
@given(data=st.data())
def test_rays_equal_the_reference(instruction_set, kind, data):
    """To rounding; where that alone decides whether a box is touched, the path is no longer than that."""
    view = data.draw(geometries(kind))
    found, expected = (cast(view.camera, view.affine, view.shape) for cast in (cpu.cast_rays, cast_rays))
    assert torch.allclose(found.lengths_mm, expected.lengths_mm, rtol=0, atol=1e-9)
    assert torch.allclose(found.directions, expected.directions, rtol=0, atol=1e-12)
    both = (found.lengths_mm > 0) == (expected.lengths_mm > 0)
    assert torch.allclose(found.starts[both], expected.starts[both], rtol=1e-12, atol=1e-9)


def gradients_of_rays(cast, view, seen):
    """Of a random sum over the rays that are `seen`."""
    parts = {name: part.clone().requires_grad_() for name, part in view.camera._vectors().items()}
    rays, vectors = cast(Camera(**parts, shape=view.camera.shape), view.affine, view.shape), list(parts.values())
    noise = np.random.default_rng(view.seed)
    lines = (rays.starts, rays.directions, rays.lengths_mm[..., None])
    total = sum((line * seen[..., None] * torch.from_numpy(noise.normal(size=line.shape))).sum() for line in lines)
    return torch.autograd.grad(total, vectors)


@of_every_kind
@relaxed
@given(data=st.data())
def test_gradients_of_rays_equal_the_reference(instruction_set, kind, data):
    """A ray into an edge, between two faces, has two answers; it gets one of them, and a finite one."""
    view = data.draw(geometries(kind))
    rays = view.rays()
    smooth = clip_moves_smoothly(rays, view.shape, view.source())
    both = [gradients_of_rays(cast, view, smooth) for cast in (cpu.cast_rays, cast_rays)]
    for found, expected in zip(*both, strict=True):
        close(found, expected, 1e-9)
    assert all(part.isfinite().all() for part in gradients_of_rays(cpu.cast_rays, view, rays.lengths_mm > 0))


@of_every_kind
@relaxed
@given(data=st.data())
def test_siddon_equals_the_reference(instruction_set, kind, data):
    """Also of rays in a face, or 1e-7 voxels beside it: they belong to the voxels that they lie in."""
    view = data.draw(geometries(kind))
    values, rays = view.random(2, *view.shape), view.rays()
    close(cpu.siddon(values, rays), reference.siddon(values.double(), rays), 1e-5, terms=NOTHING_MM)


@of_every_kind
@relaxed
@given(data=st.data())
def test_label_lengths_equal_the_reference(instruction_set, kind, data):
    """Which computes them in float32 itself: the integrals of where each label is, in float64."""
    view = data.draw(geometries(kind))
    maps, rays = (view.random(2, *view.shape) * 9 - 1).floor(), view.rays()
    expected = [reference.siddon((maps == label).double(), rays).sum(dim=-1) for label in LABELS]
    found = cpu.label_lengths(maps, LABELS, rays)
    close(found, torch.stack(expected, dim=-1), 1e-5, terms=10 * largest(rays.lengths_mm) + NOTHING_MM)


def test_labels_of_views_in_one_row_are_those_of_each():
    fields, camera = chest()
    maps, rays = (fields.opacity * 1000).round(), cast_rays(camera, fields.affine, fields.shape)
    labels = maps.unique()[:4].int().tolist()
    apart = cpu.label_lengths(maps, labels, rays)
    assert len(camera) > 1 and apart.amax() > 0
    assert torch.equal(cpu.label_lengths(maps, labels, rays.reshape(1, -1)), apart.flatten(0, 1)[None])


def test_labels_that_floats_cannot_tell_apart_are_not_mixed_up():
    """Single precision holds 2^24, and takes 2^24 + 1 for it; the reference compares integers."""
    fields, camera = chest()
    volume = Volume(torch.full_like(fields.opacity, 2**24), fields.affine, "label")
    found = project_labels(volume, camera, [2**24, 2**24 + 1], backend="cpu")
    assert found[:, 0].amax() > 0 and found[:, 1].amax() == 0


@of_every_kind
@relaxed
@given(data=st.data(), n_samples=st.integers(1, 40), per_sample=st.booleans())
def test_march_equals_the_reference(instruction_set, kind, data, n_samples, per_sample):
    view = data.draw(geometries(kind))
    fields = fields_of(view)
    rays = view.rays().reshape(len(fields[0]), -1)
    expected = reference.march(*(part.double() for part in fields), rays, n_samples=n_samples, per_sample=per_sample)
    close(cpu.march(*fields, rays, n_samples=n_samples, per_sample=per_sample), expected, 1e-5)


@of_every_kind
@pytest.mark.parametrize(("shape", "n_views"), [((1, 1, 1), 2), ((1, 5, 2), 2), ((1, 1, 1), 0)])
def test_least_grids_through_one_pixel_and_no_views_equal_the_reference(instruction_set, kind, shape, n_views):
    for view in (geometry(kind, seed, shape, seed % 2 == 0, (1, 1), n_views) for seed in range(6)):
        fields, doubles, rays = fields_of(view), [part.double() for part in fields_of(view)], view.rays()
        close(cpu.siddon(fields[0], rays), reference.siddon(doubles[0], rays), 1e-5, terms=NOTHING_MM)
        close(march_by(cpu, 7, False)(*fields, rays), march_by(reference, 7, False)(*doubles, rays), 1e-5)


@of_every_kind
@relaxed
@given(data=st.data())
def test_gradients_of_siddon_equal_the_reference(instruction_set, kind, data):
    """A ray that lies in a face, or meets two at a point, has no derivative; its paths still give the volume's."""
    view = data.draw(geometries(kind))
    values, rays = view.random(2, *view.shape), view.rays()
    upstream = view.random(*rays.lengths_mm.shape, 2) - 0.5
    _, *expected = gradients(reference.siddon, [values.double()], view, upstream)
    image, *found = gradients(cpu.siddon, [values], view, upstream)
    smooth = siddon_moves_smoothly(rays, view.shape) & clip_moves_smoothly(rays, view.shape, view.source())
    agree(found, expected, smooth, NOTHING_MM)
    along, back = (image * upstream).double(), (values * found[0]).double()
    assert (along.sum() - back.sum()).abs() <= 1e-5 * along.abs().sum(), "not the adjoint"


@of_every_kind
@relaxed
@given(data=st.data(), n_samples=st.integers(1, 40), per_sample=st.booleans())
def test_gradients_of_the_march_equal_the_reference(instruction_set, kind, data, n_samples, per_sample):
    """A sample between two cells has two slopes, and its ray no derivative; the fields have theirs all the same."""
    view = data.draw(geometries(kind))
    fields, rays = fields_of(view), view.rays()
    upstream = view.random(*rays.lengths_mm.shape) - 0.5
    _, *expected = gradients(
        march_by(reference, n_samples, per_sample), [part.double() for part in fields], view, upstream
    )
    _, *found = gradients(march_by(cpu, n_samples, per_sample), fields, view, upstream)
    smooth = march_moves_smoothly(rays, view.shape, n_samples)
    smooth &= clip_moves_smoothly(rays, view.shape, view.source())
    agree(found, expected, smooth, largest(upstream) * (1 if per_sample else largest(rays.lengths_mm) / n_samples))


@pytest.mark.parametrize("kind", GENERIC)
@relaxed
@given(data=st.data())
def test_gradients_reach_the_camera_as_in_the_reference(kind, data):
    """From images back to the camera, through the public functions."""
    view = data.draw(geometries(kind))
    rays, values = view.rays(), view.random(2, 1, *view.shape)
    smooth = siddon_moves_smoothly(rays, view.shape) & march_moves_smoothly(rays, view.shape, 19)
    smooth &= clip_moves_smoothly(rays, view.shape, view.source())
    upstream = (view.random(*smooth.shape).double() - 0.5) * smooth

    def slopes(backend, dtype):
        parts = {name: part.clone().requires_grad_() for name, part in view.camera._vectors().items()}
        camera, vectors = Camera(**parts, shape=view.camera.shape), list(parts.values())
        images = (
            siddon(Volume(values[0].to(dtype), view.affine), camera, backend=backend),
            march(Fields(*values.to(dtype), view.affine), camera, 19, backend=backend),
        )
        return [g for image in images for g in torch.autograd.grad((image.flatten(1) * upstream).sum(), vectors)]

    for found, expected in zip(slopes("cpu", torch.float32), slopes("reference", torch.float64), strict=True):
        close(found, expected, 1e-4, terms=0.05)  # of rays that cancel


def chest(n_fields: int = 1, size: int = 24):
    """Fields, volume and a camera batch large enough to be shared by several threads."""
    rng = np.random.default_rng(0)
    affine = torch.from_numpy(oblique_affine(rng, (size, size + 3, size - 5)))
    matter, opacity = torch.from_numpy(rng.uniform(size=(2, n_fields, size, size + 3, size - 5))).float()
    ahead, right, down = (torch.from_numpy(np.stack(axes)) for axes in zip(*turns(rng, 2), strict=True))
    camera = Camera(-150 * ahead, 180 * ahead + right, right, down, (36, 45), (2.0, 2.0))
    return Fields(matter, opacity * 0.1, affine), camera


def turns(rng, count: int) -> list[np.ndarray]:
    return [np.linalg.qr(rng.normal(size=(3, 3)))[0] for _ in range(count)]


def all_results(threads: int) -> list[torch.Tensor]:
    torch.set_num_threads(threads)
    fields, camera = chest(n_fields=2)
    matter, opacity = fields.matter.clone().requires_grad_(), fields.opacity.clone().requires_grad_()
    image = march(Fields(matter, opacity, fields.affine), camera, 64, backend="cpu")
    values = fields.opacity[:1].clone().requires_grad_()
    integral = siddon(Volume(values, fields.affine), camera, backend="cpu")
    grads = torch.autograd.grad((image**2).sum() + (integral**2).sum(), [matter, opacity, values])
    return [image, integral, *grads]


def test_results_do_not_notice_the_number_of_threads(instruction_set, one_thread):
    alone = all_results(1)
    for threads in (1, 2, 3):
        assert all(torch.equal(found, first) for found, first in zip(all_results(threads), alone, strict=True))


def test_threads_share_the_gradient_of_a_source_inside_the_volume(one_thread):
    """No strips of such an image stay apart: one thread must do it alone, and does."""
    fields, camera = chest()
    near = replace(camera, source=camera.source * 0.02)
    results = []
    for threads in (1, 3):
        torch.set_num_threads(threads)
        values = fields.opacity.clone().requires_grad_()
        results.append(torch.autograd.grad(siddon(Volume(values, fields.affine), near).square().sum(), values)[0])
    assert results[0].abs().sum() > 0 and torch.equal(*results)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_half_precision_is_summed_in_single(dtype):
    fields, camera = chest()
    short = Fields(fields.matter.to(dtype), fields.opacity.to(dtype), fields.affine)
    image = march(short, camera, 64, backend="cpu")
    assert image.dtype == torch.float32
    long = Fields(short.matter.double(), short.opacity.double(), fields.affine)
    close(image, march(long, camera, 64, backend="reference"), 1e-5)
    values = short.opacity.clone().requires_grad_()
    integral = siddon(Volume(values, fields.affine), camera, backend="cpu")
    assert torch.autograd.grad(integral.sum(), values)[0].dtype == dtype and integral.dtype == torch.float32


def test_doubles_stay_in_the_reference_unless_asked():
    fields, camera = chest()
    values = fields.opacity.double()
    alone = siddon(Volume(values, fields.affine), camera)
    assert torch.equal(alone, siddon(Volume(values, fields.affine), camera, backend="reference"))
    asked = siddon(Volume(values, fields.affine), camera, backend="cpu")
    assert asked.dtype == torch.float64
    close(asked, alone, 1e-5)


def test_second_derivatives_come_from_the_reference():
    fields, camera = chest(size=12)

    def penalty_gradient(backend):
        opacity = fields.opacity[:, :12].clone().requires_grad_()
        image = march(Fields(fields.matter, opacity, fields.affine), camera, 16, backend=backend)
        (slope,) = torch.autograd.grad((image**2).sum(), opacity, create_graph=True)
        return torch.autograd.grad((slope**2).sum(), opacity)[0]

    close(penalty_gradient("cpu"), penalty_gradient("reference"), 1e-4)


def test_no_rays_no_numbers():
    fields, camera = chest()
    nobody = camera[0:0]
    assert siddon(Volume(fields.opacity, fields.affine), nobody, backend="cpu").shape == (0, 1, 36, 45)
    volume = Volume(fields.opacity.round(), fields.affine, "label")
    assert project_labels(volume, nobody, [0, 1], backend="cpu").shape == (0, 2, 36, 45)
    matter = fields.matter.clone().requires_grad_()
    image = march(Fields(matter, fields.opacity, fields.affine), nobody, 8, backend="cpu")
    assert image.shape == (0, 1, 36, 45)
    assert torch.equal(torch.autograd.grad(image.sum(), matter)[0], torch.zeros_like(matter))


def test_strong_weak_and_broken_opacity(instruction_set):
    fields, camera = chest()
    for factor in (1e-9, 1e-4, 1.0, 1e3, 1e9):
        opacity = fields.opacity * factor
        expected = march(Fields(fields.matter.double(), opacity.double(), fields.affine), camera, 64)
        close(march(Fields(fields.matter, opacity, fields.affine), camera, 64, backend="cpu"), expected, 1e-5)
    broken = fields.matter.clone()
    broken[0, 12, 12, 9] = torch.nan
    image = march(Fields(broken, fields.opacity, fields.affine), camera, 64, backend="cpu")
    assert 0 < image.isnan().float().mean() < 0.5


@pytest.mark.parametrize("per_sample", [False, True])
def test_a_ray_that_misses_has_no_share_in_broken_matter(instruction_set, per_sample):
    """Though it travels in one packet with rays that meet it."""
    fields, camera = chest()
    rays = cast_rays(camera, fields.affine, fields.shape).reshape(1, -1)
    missing = rays.lengths_mm == 0
    broken = torch.full_like(fields.matter, torch.nan)
    image = cpu.march(broken, fields.opacity, rays, n_samples=8, per_sample=per_sample)
    assert 0 < missing.float().mean() < 1
    assert torch.equal(image.isnan(), ~missing) and image[missing].eq(0).all()


def operator_inputs():
    fields, camera = chest(size=8)
    small = Camera(camera.source, camera.detector_centre, camera.image_right, camera.image_down, (5, 6), (9.0, 9.0))
    rays = cast_rays(small, fields.affine, fields.shape)
    lines = [part.contiguous().requires_grad_() for part in (rays.starts, rays.directions, rays.lengths_mm)]
    return fields, lines, [5, 6]


@pytest.mark.filterwarnings("ignore:The .grad attribute")  # the checker's own
def test_operators_are_well_formed():
    fields, lines, shape = operator_inputs()
    values = fields.opacity.clone().requires_grad_()
    joined = [part.flatten(0, 1)[None].detach().requires_grad_() for part in lines]
    utilities = ("test_schema", "test_autograd_registration", "test_faketensor", "test_aot_dispatch_static")
    torch.library.opcheck(torch.ops.nerp.siddon_cpu.default, (values, *lines, shape), test_utils=utilities)
    fields = values, values.detach() + 0.1
    torch.library.opcheck(torch.ops.nerp.march_cpu.default, (*fields, *joined, shape, 9, False), test_utils=utilities)
    maps, plain = values.detach().round(), [part.detach() for part in lines]
    torch.library.opcheck(torch.ops.nerp.label_lengths_cpu.default, (maps, [0, 1], *plain, shape), test_utils=utilities)


def test_compiled_programs_keep_the_kernels_in_one_graph():
    """Given fields and volumes; checking an affine on the way to new ones looks at numbers, and breaks the graph."""
    fields, camera = chest(size=8)

    def loss(fields, volume):
        return march(fields, camera, 12).square().sum() + siddon(volume, camera).sum()

    results = []
    for function in (torch.compile(loss, backend="aot_eager", fullgraph=True), loss):
        inputs = [part.clone().requires_grad_() for part in (fields.matter, fields.opacity)]
        value = function(Fields(*inputs, fields.affine), Volume(inputs[1], fields.affine))
        results.append(torch.autograd.grad(value, inputs))
    for found, expected in zip(*results, strict=True):
        close(found, expected, 1e-6)


def test_kernels_of_another_version_are_not_called(monkeypatch):
    """Structures cross as plain memory: a stale build would read and write wherever its own numbers point."""
    assert library.load.__wrapped__()._name == library.load()._name
    monkeypatch.setattr(library, "ABI", library.ABI + 1)
    assert library.load.__wrapped__() == library.STALE
    monkeypatch.undo()
    with_symbols = library.ctypes.CDLL
    monkeypatch.setattr(library.ctypes, "CDLL", lambda path: with_symbols(None))  # this process: no nerp_abi
    assert library.load.__wrapped__() == library.STALE


def test_without_the_library_auto_falls_back_and_says_so_once(monkeypatch, caplog):
    fields, camera = chest(size=8)
    monkeypatch.setattr(cpu, "_REASON", library.BUILD)
    dispatch._log_once.cache_clear()
    volume = Volume(fields.opacity, fields.affine)
    with caplog.at_level(logging.WARNING):
        images = [siddon(volume, camera) for _ in range(2)]
    assert torch.equal(images[0], siddon(volume, camera, backend="reference"))
    assert [record.message for record in caplog.records] == [
        f"projecting with the slower 'reference' backend: {library.BUILD}"
    ]
    assert available_backends()["cpu"] == library.BUILD
    with pytest.raises(UsageError, match="backend 'cpu' is not live: the compiled kernels are not built; install g"):
        siddon(volume, camera, backend="cpu")
    dispatch._log_once.cache_clear()


def test_a_ray_through_an_edge_has_the_gradient_of_one_side(instruction_set):
    """Diagonally from voxel 1 to voxel 8, by way of 2 or of 4: d and h are crossed in one point."""
    values = torch.tensor([[[1.0], [2.0]], [[4.0], [8.0]]])[None]
    start = torch.tensor([[[-0.5, -0.5, 0.0]]], dtype=torch.float64, requires_grad=True)
    direction = torch.tensor([[[1.0, 1.0, 0.0]]], dtype=torch.float64)
    length_mm = torch.tensor([[2.0]], dtype=torch.float64)
    integral = cpu.siddon(values, Rays(start, direction, length_mm, (1, 1)))
    assert integral.item() == pytest.approx(9.0)
    (gradient,) = torch.autograd.grad(integral, start)
    sides = [[3.0, 4.0, 0.0], [6.0, 1.0, 0.0]]  # after less before, first along d, or first along h
    assert gradient.flatten().tolist() in sides
