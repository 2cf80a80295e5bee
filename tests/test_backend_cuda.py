"""The Triton kernels against the plain backend: on a GPU where there is one, else interpreted."""

import subprocess
import sys

import pytest
import torch
from agreement import agree, close, fields_of, gradients, largest, march_by
from geometries import (
    KINDS,
    clip_moves_smoothly,
    geometries,
    in_a_face,
    march_moves_smoothly,
    shifted,
    siddon_moves_smoothly,
)
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from nerp.camera import Camera
from nerp.errors import GeometryError, UsageError
from nerp.projection.backends import cuda, reference
from nerp.projection.rays import Rays, cast_rays

DEVICE = "cuda" if torch.cuda.is_available() else "cpu"
with pytest.MonkeyPatch.context() as first_import:
    # Whether a kernel is interpreted is decided where it is defined, and asked again at every call.
    if DEVICE == "cpu":
        first_import.setenv("TRITON_INTERPRET", "1")
    pytest.importorskip("triton", reason="triton is not installed: it exists for Linux alone")
    from nerp.projection.backends.cuda import launch

OBLIQUE = torch.tensor([[0.0, 0, 11, -28], [9, 1, 0, -27], [0, 10, 1, -31], [0, 0, 0, 1]], dtype=torch.float64)
STRAIGHT = torch.diag(torch.tensor([10.0, 10, 10, 1], dtype=torch.float64))
GEOMETRIES = {
    "oblique": ((70.0, -290.0, 40.0), OBLIQUE, (7, 6, 5)),
    "source_inside": ((3.0, -11.0, 8.0), OBLIQUE, (7, 6, 5)),
    "along_an_axis": ((25.0, -300.0, 32.0), STRAIGHT, (6, 7, 8)),
    "one_voxel": ((20.0, -90.0, 4.0), STRAIGHT, (1, 1, 1)),
    "flat_and_missed_by_some": ((20.0, -90.0, 4.0), STRAIGHT, (4, 1, 6)),
    "missed_by_all": ((2000.0, -90.0, 900.0), STRAIGHT, (4, 3, 6)),
}


@pytest.fixture(autouse=True)
def interpreter(monkeypatch):
    if DEVICE == "cpu":
        monkeypatch.setenv("TRITON_INTERPRET", "1")


def vectors(source) -> list[torch.Tensor]:
    """Source, detector's centre, image right and down, ready for gradients."""
    parts = [source, (-13.0, 61, -9), (-0.9, -0.2, 0.05), (0.03, 0.1, -0.99)]
    if source[0] == 25.0:
        parts[1:] = [(25.0, 80, 32), (1.0, 0, 0), (0.0, 0, -1)]
    places = torch.tensor(parts[:2], dtype=torch.float64)
    directions = torch.nn.functional.normalize(torch.tensor(parts[2:], dtype=torch.float64))
    return [part[None].clone().requires_grad_() for part in (*places, *directions)]


def rays_of(name, parts, n_views=1) -> Rays:
    _, affine, shape = GEOMETRIES[name]
    return cast_rays(Camera(*parts, shape=(5, 6), pixel_mm=(21.0, 18.0)).repeat(n_views), affine, shape)


def random(*shape, dtype=torch.float64, scale=1.0) -> torch.Tensor:
    values = torch.rand(*shape, generator=torch.Generator().manual_seed(len(shape)), dtype=torch.float64) * scale
    return values.to(dtype).to(DEVICE).requires_grad_()


def compare(compute, inputs, parts, *, within=1e-12, factor=None):
    """`compute(backend, *inputs)` and its gradients by both backends; the plain one sees float64."""
    doubles = [part.detach().double().requires_grad_() for part in inputs]
    one, other = compute(reference, *doubles), compute(cuda, *inputs)
    assert one.shape == other.shape
    weights = torch.rand(one.shape, generator=torch.Generator().manual_seed(5), dtype=torch.float64).to(DEVICE)
    results = [
        (result, *torch.autograd.grad(result, [*leaves, *parts], weights.to(result), retain_graph=True))
        for result, leaves in ((one, doubles), (other, inputs))
    ]
    for k, (expected, found) in enumerate(zip(*results, strict=True)):
        size = expected.abs().max().clamp(min=1e-9)
        assert (expected - found).abs().max() <= size * within * (10 if k and within > 1e-12 else 1), (
            f"result {k}: {(expected - found).abs().max() / size}"
        )
    return other


@pytest.mark.parametrize("per_sample", [False, True])
@pytest.mark.parametrize("name", GEOMETRIES)
def test_march_and_its_gradients(name, per_sample):
    source, _, shape = GEOMETRIES[name]
    parts = vectors(source)
    rays = rays_of(name, parts, n_views=2).reshape(2, -1)

    def compute(backend, matter, opacity):
        return backend.march(matter, opacity, rays, n_samples=9, per_sample=per_sample)

    image = compare(compute, [random(2, *shape), random(2, *shape, scale=0.05)], parts)
    assert image.dtype == torch.float64
    assert (image.abs().max() == 0) == (name == "missed_by_all")


@pytest.mark.parametrize("name", GEOMETRIES)
def test_siddon_and_its_gradients(name):
    source, _, shape = GEOMETRIES[name]
    parts = vectors(source)
    rays = rays_of(name, parts, n_views=2)
    # Rays along an axis lie on faces, where the derivative by the camera is whatever side one takes.
    wanted = [] if name == "along_an_axis" else parts
    compare(lambda backend, values: backend.siddon(values, rays), [random(2, *shape)], wanted)


@pytest.mark.parametrize("name", GEOMETRIES)
def test_label_lengths_of_all_labels_in_several_maps(name):
    source, _, shape = GEOMETRIES[name]
    maps, labels = (random(2, *shape).detach() * 6).floor().float() * 3 - 4, [-4, -1, 0, 5, 11]
    parts = vectors(source)
    rays = rays_of(name, parts, n_views=2)
    expected, found = (backend.label_lengths(maps, labels, rays) for backend in (reference, cuda))
    assert found.dtype == torch.float32 and found.shape == (2, 30, 5)
    assert (expected - found).abs().max() <= 1e-5 * expected.max()
    one, other = (torch.autograd.grad(x[..., 1].sum(), parts, retain_graph=True) for x in (expected, found))
    assert all(torch.equal(*pair) for pair in zip(one, other, strict=True))


def test_areal_densities_and_their_gradients():
    source, _, shape = GEOMETRIES["oblique"]
    parts = vectors(source)
    rays = rays_of("oblique", parts)
    slots = 16 * (random(*shape).detach() * 2).floor()

    def compute(backend, codes, densities):
        return backend.areal_densities(codes + slots, densities, [0, 0], 1, rays)

    compare(compute, [random(*shape, scale=2.0), random(2, 3, 2)], parts)


of_every_kind = pytest.mark.parametrize("kind", KINDS)
few = settings(
    max_examples=3, deadline=None, derandomize=True, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
small = {"longest": 5, "most_pixels": 4, "most_views": 2}
precisions = st.sampled_from([torch.float32, torch.float64])


def rounded(project, dtype):
    """`project` of rays rounded to `dtype` first, so that both backends see the same ones."""
    return lambda *inputs: project(*inputs[:-1], inputs[-1].to(torch.empty(0, dtype=dtype)))


def close_or_between(project, expected_project, rays, shape, terms):
    """Equal; of rays in a face, where a rounding error decides on the voxel, between those on its sides."""
    found, expected = project(rays).double(), expected_project(rays)
    around = torch.stack([expected, *map(expected_project, shifted(rays, 2e-6))])
    beside = in_a_face(rays, shape).to(found.device)
    close(found[~beside], expected[~beside], 1e-5, terms=terms)
    slack = 1e-5 * largest(expected) + 1e-6 * terms
    assert (around.amin(dim=0) - slack <= found).all() and (found <= around.amax(dim=0) + slack).all()


@pytest.mark.slow
@of_every_kind
@few
@given(data=st.data(), dtype=precisions)
def test_siddon_before_every_kind_of_geometry(kind, data, dtype):
    """Both ways; a ray in a face or through two at a point has no derivative but a finite answer."""
    view = data.draw(geometries(kind, **small))
    values, rays = view.random(2, *view.shape).to(DEVICE, dtype), view.rays()
    by_cuda, by_reference = (rounded(backend.siddon, dtype) for backend in (cuda, reference))
    double = values.double()
    terms = 0.0 if dtype == torch.float64 else largest(rays.lengths_mm)
    close_or_between(lambda r: by_cuda(values, r), lambda r: by_reference(double, r), rays, view.shape, terms)
    steady = ~in_a_face(rays, view.shape)
    upstream = ((view.random(*rays.lengths_mm.shape, 2) - 0.5) * steady[..., None]).to(DEVICE)
    _, *expected = gradients(by_reference, [double], view, upstream)
    _, *found = gradients(by_cuda, [values], view, upstream)
    smooth = siddon_moves_smoothly(rays, view.shape) & clip_moves_smoothly(rays, view.shape, view.source())
    agree(found, expected, smooth, terms)


@pytest.mark.slow
@of_every_kind
@few
@given(data=st.data(), dtype=precisions, n_samples=st.integers(1, 9), per_sample=st.booleans())
def test_march_before_every_kind_of_geometry(kind, data, dtype, n_samples, per_sample):
    """Both ways; a sample between two cells has two slopes, its ray no derivative but a finite answer."""
    view = data.draw(geometries(kind, **small))
    fields, rays = [part.to(DEVICE, dtype) for part in fields_of(view)], view.rays()
    by_cuda, by_reference = (rounded(march_by(b, n_samples, per_sample), dtype) for b in (cuda, reference))
    upstream = (view.random(*rays.lengths_mm.shape) - 0.5).to(DEVICE)
    image, *expected = gradients(by_reference, [part.double() for part in fields], view, upstream)
    found_image, *found = gradients(by_cuda, fields, view, upstream)
    close(found_image, image, 1e-5)
    smooth = march_moves_smoothly(rays, view.shape, n_samples)
    smooth &= clip_moves_smoothly(rays, view.shape, view.source())
    # What lies behind a sample is divided by what passes it, `marching.OPAQUE` of it or more: 100 roundings.
    per_alpha = 10 if dtype == torch.float32 else 1
    terms = largest(upstream) * (per_alpha if per_sample else largest(rays.lengths_mm) / n_samples)
    agree(found, expected, smooth, terms)


@pytest.mark.slow
@of_every_kind
@few
@given(data=st.data())
def test_label_lengths_before_every_kind_of_geometry(kind, data):
    view = data.draw(geometries(kind, **small))
    maps, rays, labels = (view.random(2, *view.shape) * 9 - 1).floor().to(DEVICE), view.rays(), [0, 2, 3, 7]

    def expected(rays):
        lengths = [reference.siddon((maps == label).double(), rays).sum(dim=-1) for label in labels]
        return torch.stack(lengths, dim=-1)

    by_cuda = rounded(lambda rays: cuda.label_lengths(maps, labels, rays), torch.float32)
    terms = 2 * largest(rays.lengths_mm)
    close_or_between(by_cuda, rounded(expected, torch.float32), rays, view.shape, terms)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float16, torch.bfloat16])
def test_lower_precision_is_computed_in_float32(dtype):
    source, _, shape = GEOMETRIES["oblique"]
    parts = vectors(source)
    rays = rays_of("oblique", parts)
    fields = [random(1, *shape, dtype=dtype), random(1, *shape, dtype=dtype, scale=0.05)]
    within = 1e-6 if dtype == torch.float32 else 1e-3

    def compute(backend, matter, opacity):
        return backend.march(matter, opacity, rays, n_samples=9, per_sample=False)

    image = compare(compute, fields, parts, within=within)
    double = reference.march(*(field.double() for field in fields), rays, n_samples=9, per_sample=False)
    assert image.dtype == torch.float32 and (image - double).abs().max() <= 1e-6
    assert torch.autograd.grad(image.sum(), fields[0])[0].dtype == dtype
    compare(lambda backend, values: backend.siddon(values, rays), fields[:1], parts, within=within)


def test_opaque_samples_pass_gradients_to_what_lies_behind_them():
    source, _, shape = GEOMETRIES["oblique"]
    rays = rays_of("oblique", vectors(source))
    opacity = random(1, *shape).detach()
    opacity[:, 2] = 1.0
    opacity[:, :, :3] = 0.9999999

    def compute(backend, matter, opacity):
        return backend.march(matter, opacity, rays, n_samples=9, per_sample=True)

    compare(compute, [random(1, *shape, dtype=torch.float32), opacity.float().requires_grad_()], [], within=1e-6)


def test_label_weights_on_a_grid_of_their_own():
    source, _, shape = GEOMETRIES["oblique"]
    rays = rays_of("oblique", vectors(source))
    maps = (random(2, 5, 6, 4).detach() * 4).floor().float()
    carry = torch.tensor([[0.7, 0.1, 0, -0.4], [0, 0.8, 0.1, 0.2], [0.1, 0, 0.6, 1], [0, 0, 0, 1]])

    def compute(backend, opacity):
        return backend.label_weights(opacity[0], maps, [0, 2, 3], carry.double(), rays, n_samples=9)

    shares = compare(compute, [random(1, *shape, scale=0.05)], [])
    assert shares.amax() > 0.2 and (shares[0, rays.lengths_mm[0] == 0] == 0).all()


def test_labels_too_far_apart_for_a_table_are_found_all_the_same():
    rays, maps = rays_of("oblique", vectors((70.0, -290.0, 40.0))), random(1, 7, 6, 5).detach().round() * 2**21
    expected, found = (backend.label_lengths(maps, [0, 2**21], rays) for backend in (reference, cuda))
    assert torch.equal(expected, found) and found.sum() > 0


def test_tiny_opacity_keeps_its_digits():
    source, _, shape = GEOMETRIES["oblique"]
    rays = rays_of("oblique", vectors(source))
    fields = [random(1, *shape, dtype=torch.float32), random(1, *shape, dtype=torch.float32, scale=1e-8)]
    compare(lambda b, *f: b.march(*f, rays, n_samples=9, per_sample=False), fields, [], within=1e-6)


def test_neither_tiles_nor_the_batch_change_a_pixel():
    source, _, shape = GEOMETRIES["oblique"]
    camera = Camera(*vectors(source), shape=(9, 19), pixel_mm=(9.0, 8.0)).repeat(2)
    rays = cast_rays(camera, OBLIQUE, shape)
    listed = Rays(rays.starts.detach(), rays.directions.detach(), rays.lengths_mm.detach())
    values = random(1, *shape).detach()
    for compute in (
        lambda rays: cuda.march(values, values / 30, rays.reshape(1, -1), n_samples=5, per_sample=False),
        lambda rays: cuda.siddon(values, rays),
    ):
        image = compute(rays)
        assert rays.image_shape == (9, 19) and torch.equal(image, compute(listed))
        assert torch.equal(*image.reshape(2, -1))


def test_nothing_gives_nothing():
    values, none = random(2, 4, 4, 4), torch.zeros(2, 0, 3)
    rays = Rays(none, none, none[..., 0])
    image = cuda.march(values, values, rays, n_samples=4, per_sample=False)
    assert image.shape == (2, 0)
    assert torch.equal(torch.autograd.grad(image.sum(), values)[0], torch.zeros_like(values))
    assert cuda.siddon(values, rays).shape == (2, 0, 2)
    assert cuda.label_lengths(values.detach(), [1, 2, 3], rays).shape == (2, 0, 3)


def test_second_derivatives_are_those_of_the_plain_backend():
    source, _, shape = GEOMETRIES["oblique"]
    parts, values = vectors(source), random(1, *shape)

    def twice(compute, backend):
        image = compute(backend, rays_of("oblique", parts))
        firsts = torch.autograd.grad(image.square().sum(), [values, *parts], create_graph=True)
        return torch.autograd.grad(sum(first.square().sum() for first in firsts), [values, *parts])

    for compute in (
        lambda backend, rays: backend.march(values, values / 30, rays, n_samples=5, per_sample=False),
        lambda backend, rays: backend.siddon(values, rays),
    ):
        for one, other in zip(twice(compute, reference), twice(compute, cuda), strict=True):
            assert torch.allclose(one, other, rtol=1e-9, atol=1e-9 * one.abs().max().item())


def test_operators_keep_the_rules_of_torch_library():
    rays, values = rays_of("oblique", vectors((70.0, -290.0, 40.0))).to(random(1)), random(1, 7, 6, 5)
    cuda.siddon(values.detach(), rays)
    parts = [part.detach().to(DEVICE).requires_grad_() for part in (rays.starts, rays.directions, rays.lengths_mm)]
    checks = ("test_schema", "test_autograd_registration", "test_faketensor")
    torch.library.opcheck(torch.ops.nerp.siddon_cuda, (values, *parts, 6), test_utils=checks)
    torch.library.opcheck(torch.ops.nerp.march_cuda, (values, values / 30, *parts, 6, 3, False), test_utils=checks)


def test_compiles_without_a_graph_break():
    rays, values = rays_of("oblique", [part.detach() for part in vectors((70.0, -290.0, 40.0))]), random(1, 7, 6, 5)

    def loss(values):
        return cuda.march(values.sigmoid(), values / 30, rays, n_samples=3, per_sample=False).sum()

    compiled = torch.compile(loss, fullgraph=True, backend="aot_eager")
    plain, traced = (torch.autograd.grad(function(values), values)[0] for function in (loss, compiled))
    assert torch.allclose(plain, traced)


COMPILE = """
import triton
from triton.backends.compiler import GPUTarget
from triton.compiler import ASTSource
from nerp.projection.backends.cuda import labelling, marching, walking

CHOICES = {"PER_SAMPLE": True, "FIELDS": True, "VALUES": True, "RAYS": True, "BLOCK": 128, "TILE_COLUMNS": 8}
TYPES = {"shape": ("i32",) * 3, "map_shape": ("i32",) * 3, "column_of": "*i32", "matter": "*bf16", "values": "*fp16"}
for kernel in (
    marching.march_forward, marching.march_backward, walking.siddon_forward, walking.siddon_backward,
    labelling.label_lengths, labelling.label_weights,
):
    chosen = {name: choice for name, choice in CHOICES.items() if name in kernel.arg_names}
    numbers = ("lowest", "n_values", "n_maps", "n_labels", "n_samples", "n_rays", "columns")
    types = {name: TYPES.get(name, "i32" if name in numbers else "*fp32") for name in kernel.arg_names}
    source = ASTSource(kernel, types | dict.fromkeys(chosen, "constexpr"), constexprs=chosen)
    built = triton.compile(source, GPUTarget("cuda", 80, 32), {"num_warps": 4, "enable_fp_fusion": True})
    assert len(built.asm["cubin"]) > 0
    assert "convert_layout" not in built.asm["ttgir"], "lanes must not exchange what belongs to their rays"
"""


def test_every_kernel_compiles_for_a_gpu_without_one(monkeypatch, tmp_path):
    """The interpreter takes more than the compiler does."""
    monkeypatch.setenv("TRITON_INTERPRET", "0")
    monkeypatch.setenv("TRITON_CACHE_DIR", str(tmp_path))
    done = subprocess.run([sys.executable, "-c", COMPILE], check=False, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


def test_a_tensor_off_the_gpu_is_refused(monkeypatch):
    monkeypatch.delenv("TRITON_INTERPRET", raising=False)
    rays = rays_of("one_voxel", vectors((20.0, -90.0, 4.0)))
    with pytest.raises(UsageError, match="backend 'cuda' got a tensor on cpu; move it to 'cuda' or use backend='auto'"):
        cuda.siddon(torch.zeros(1, 1, 1, 1), rays)


def test_a_volume_beyond_32_bits_is_refused(monkeypatch):
    monkeypatch.setattr(launch, "MOST_VOXELS", 9)
    rays = rays_of("one_voxel", vectors((20.0, -90.0, 4.0)))
    with pytest.raises(GeometryError, match="volume has 27 voxels; backend 'cuda' takes at most 9"):
        cuda.siddon(torch.zeros(1, 3, 3, 3, device=DEVICE), rays)


def test_says_why_it_is_missing(monkeypatch):
    assert cuda.missing() is None
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    assert cuda.missing() is None or DEVICE == "cuda"
    monkeypatch.delenv("TRITON_INTERPRET", raising=False)
    assert cuda.missing() == "PyTorch sees no GPU"
    monkeypatch.setattr(cuda, "version", lambda name: "3.1.0")
    assert cuda.missing() == "triton 3.1 is too old; it needs 3.3"
    monkeypatch.setattr(cuda, "find_spec", lambda name: None)
    assert cuda.missing() == "triton is not installed (it comes with PyTorch for Linux)"


def test_kernels_are_imported_only_for_use():
    program = """
import sys
import nerp.projection
from nerp.projection.backends import cuda
cuda.missing()
sys.exit("nerp.projection.backends.cuda.operators" in sys.modules)
"""
    assert subprocess.run([sys.executable, "-c", program], check=False).returncode == 0
