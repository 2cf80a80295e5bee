"""The compiled kernels against the plain backend in double precision, on every instruction set here."""

import logging

import numpy as np
import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from nerp.camera import Camera
from nerp.errors import UsageError
from nerp.projection import available_backends, dispatch, march, project_labels, siddon
from nerp.projection.backends import cpu
from nerp.projection.backends.cpu import integrals, library, operators
from nerp.projection.rays import cast_rays
from nerp.volume import Fields, Volume

pytestmark = pytest.mark.skipif(cpu.missing() is not None, reason=str(cpu.missing()))

LABELS = [0, 2, 3, 7]
relaxed = settings(
    max_examples=40, deadline=None, derandomize=True, suppress_health_check=[HealthCheck.function_scoped_fixture]
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


def rotation(rng) -> np.ndarray:
    turn, _ = np.linalg.qr(rng.normal(size=(3, 3)))
    return turn


def random_affine(rng, shape, kind: str) -> torch.Tensor:
    """Anisotropic, mirrored, and oblique unless `straight`; the grid's middle near the world's origin."""
    axes = np.eye(3)[rng.permutation(3)] * rng.choice([-1, 1], 3) if kind == "straight" else rotation(rng)
    affine = np.eye(4)
    affine[:3, :3] = axes * rng.uniform(0.5, 3.0, 3)
    affine[:3, 3] = -affine[:3, :3] @ ((np.array(shape) - 1) / 2) + (rng.normal(size=3) if kind != "straight" else 0)
    return torch.from_numpy(affine)


def random_camera(rng, n_views: int, kind: str, *, near_mm: float = 40.0) -> Camera:
    """Cameras of a few pixels: `inside` starts within the grid, `missing` looks away, `straight` along an axis."""
    parts = []
    for _ in range(n_views):
        right, down, ahead = (np.eye(3)[rng.permutation(3)] if kind == "straight" else rotation(rng)).copy()
        source = -near_mm * ahead if kind != "inside" else rng.normal(size=3) * 0.5
        aside = 500.0 * right if kind == "missing" else 0.0 if kind == "straight" else rng.normal(size=3)
        parts.append((source + aside, source + 2.2 * near_mm * ahead + aside, right, down))
    source, centre, right, down = (torch.from_numpy(np.array(part)) for part in zip(*parts, strict=True))
    shape = tuple(int(n) for n in rng.integers(1, 12, 2))
    return Camera(source, centre, right, down, shape, tuple(rng.uniform(0.5, 4.0, 2)))


geometries = st.tuples(
    st.integers(0, 2**32 - 1),
    st.tuples(*[st.sampled_from([1, 2, 3, 5, 8, 13])] * 3),
    st.sampled_from(["straight", "oblique"]),
    st.sampled_from(["straight", "anywhere", "inside", "missing"]),
    st.integers(1, 3),
)


def geometry(case) -> tuple[np.random.Generator, tuple[int, int, int], torch.Tensor, Camera]:
    seed, shape, grid, view, n_views = case
    rng = np.random.default_rng(seed)
    return rng, shape, random_affine(rng, shape, grid), random_camera(rng, n_views, view)


def close(found: torch.Tensor, expected: torch.Tensor, bound: float) -> None:
    """Equal within `bound` of the largest expected number."""
    assert found.shape == expected.shape
    error = (found.double() - expected.double()).abs().max().item() if found.numel() else 0.0
    scale = expected.abs().max().item() if found.numel() else 0.0
    assert error <= bound * scale + 1e-30, f"off by {error:.2e} of {scale:.2e}"


@relaxed
@given(case=geometries)
def test_siddon_equals_the_reference(instruction_set, case):
    rng, shape, affine, camera = geometry(case)
    values = torch.from_numpy(rng.uniform(size=(2, *shape))).float()
    expected = siddon(Volume(values.double(), affine), camera, backend="reference")
    close(siddon(Volume(values, affine), camera, backend="cpu"), expected, 1e-5)


@relaxed
@given(case=geometries)
def test_label_lengths_equal_the_reference(instruction_set, case):
    rng, shape, affine, camera = geometry(case)
    volume = Volume(torch.from_numpy(rng.integers(-1, 8, (2, *shape))).float(), affine, "label")
    expected = project_labels(volume, camera, LABELS, backend="reference")
    close(project_labels(volume, camera, LABELS, backend="cpu"), expected, 2e-5)


@relaxed
@given(case=geometries, n_samples=st.integers(1, 40), opacity_is=st.sampled_from(["per_mm", "per_sample"]))
def test_march_equals_the_reference(instruction_set, case, n_samples, opacity_is):
    rng, shape, affine, camera = geometry(case)
    n_fields = len(camera) if case[0] % 2 else 1
    matter, opacity = (torch.from_numpy(rng.uniform(size=(n_fields, *shape))).float() for _ in range(2))
    double = Fields(matter.double(), opacity.double(), affine)
    expected = march(double, camera, n_samples, opacity_is=opacity_is, backend="reference")
    found = march(Fields(matter, opacity, affine), camera, n_samples, opacity_is=opacity_is, backend="cpu")
    close(found, expected, 1e-5)


generic = geometries.filter(lambda case: case[3] in ("anywhere", "inside") and case[2] == "oblique")


@relaxed
@given(case=geometries)
def test_rays_equal_the_reference(instruction_set, case):
    _, shape, affine, camera = geometry(case)
    found, expected = (cast(camera, affine, shape) for cast in (cpu.cast_rays, cast_rays))
    for name in ("starts", "directions", "lengths_mm"):
        close(getattr(found, name), getattr(expected, name), 1e-10)


def gradients_of_rays(cast, affine, shape, camera, seed: int):
    """Of a random sum over the rays that hit; a ray on an edge, between two faces, would have two answers."""
    vectors = [part.clone().requires_grad_() for part in camera._vectors().values()]
    rays = cast(Camera(*vectors, camera.shape, camera.pixel_mm), affine, shape)
    noise, total = np.random.default_rng(seed), 0.0
    for line in (rays.starts, rays.directions, rays.lengths_mm[..., None]):
        hits = rays.lengths_mm.detach()[..., None] > 0
        total = total + (line * hits * torch.from_numpy(noise.normal(size=line.shape))).sum()
    return torch.autograd.grad(total, vectors)


@relaxed
@given(case=generic)
def test_gradients_of_rays_equal_the_reference(instruction_set, case):
    _, shape, affine, camera = geometry(case)
    both = [gradients_of_rays(cast, affine, shape, camera, case[0]) for cast in (cpu.cast_rays, cast_rays)]
    for found, expected in zip(*both, strict=True):
        close(found, expected, 1e-10)


def gradients(project, tensors, camera, upstream):
    """Gradients of a projection in its tensors and in its camera's vectors."""
    tensors = [tensor.clone().requires_grad_() for tensor in tensors]
    vectors = [part.clone().requires_grad_() for part in (camera.source, camera.detector_centre, camera.image_right)]
    moved = Camera(*vectors, camera.image_down, camera.shape, camera.pixel_mm)
    image = project(*tensors, moved)
    return torch.autograd.grad((image * upstream.to(image)).sum(), [*tensors, *vectors])


@relaxed
@given(case=generic)
def test_gradients_of_siddon_equal_the_reference(instruction_set, case):
    rng, shape, affine, camera = geometry(case)
    values = torch.from_numpy(rng.uniform(size=(2, *shape))).float()
    upstream = torch.from_numpy(rng.normal(size=(len(camera), 2, *camera.shape)))

    def project(backend):
        return lambda values, camera: siddon(Volume(values, affine), camera, backend=backend)

    expected = gradients(project("reference"), [values.double()], camera, upstream)
    for found, wanted in zip(gradients(project("cpu"), [values], camera, upstream), expected, strict=True):
        close(found, wanted, 1e-4)


@relaxed
@given(case=generic, opacity_is=st.sampled_from(["per_mm", "per_sample"]))
def test_gradients_of_the_march_equal_the_reference(instruction_set, case, opacity_is):
    rng, shape, affine, camera = geometry(case)
    fields = [torch.from_numpy(rng.uniform(size=(1, *shape))).float() for _ in range(2)]
    fields[1][0, 0, 0, 0] = 1.0  # an opaque voxel, behind which nothing is seen
    upstream = torch.from_numpy(rng.normal(size=(len(camera), 1, *camera.shape)))

    def project(backend):
        def image(matter, opacity, camera):
            return march(Fields(matter, opacity, affine), camera, 19, opacity_is=opacity_is, backend=backend)

        return image

    expected = gradients(project("reference"), [part.double() for part in fields], camera, upstream)
    for found, wanted in zip(gradients(project("cpu"), fields, camera, upstream), expected, strict=True):
        close(found, wanted, 1e-4)


def chest(n_fields: int = 1, size: int = 24):
    """Fields, volume and a camera batch large enough to be shared by several threads."""
    rng = np.random.default_rng(0)
    affine = random_affine(rng, (size, size + 3, size - 5), "oblique")
    matter, opacity = torch.from_numpy(rng.uniform(size=(2, n_fields, size, size + 3, size - 5))).float()
    camera = random_camera(rng, 2, "anywhere", near_mm=150.0)
    return Fields(matter, opacity * 0.1, affine), Camera(
        camera.source, camera.detector_centre, camera.image_right, camera.image_down, (36, 45), (2.0, 2.0)
    )


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
    near = Camera(camera.source * 0.02, *list(camera._vectors().values())[1:4], camera.shape, camera.pixel_mm)
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
    torch.library.opcheck(integrals.siddon, (values, *lines, shape), test_utils=utilities)
    fields = values, values.detach() + 0.1
    torch.library.opcheck(operators.march, (*fields, *joined, shape, 9, False), test_utils=utilities)
    maps, plain = values.detach().round(), [part.detach() for part in lines]
    torch.library.opcheck(operators.label_lengths, (maps, [0, 1], *plain, shape), test_utils=utilities)


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
