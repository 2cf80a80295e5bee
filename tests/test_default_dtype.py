"""Results do not depend on torch's defaults, and nothing but what a kernel expects reaches it."""

import ast
import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from nerp.anatomy import find_anatomy
from nerp.camera import chest_camera
from nerp.data.ct import mapper_grid
from nerp.display import display_image
from nerp.errors import GeometryError
from nerp.evaluation.bootstrap import percentile_interval
from nerp.phantom import thorax
from nerp.projection import MaskRule, available_backends, march, obscuring_tissue, project_labels, project_mask, siddon
from nerp.projection.backends.cpu import library
from nerp.training.segmentation.augmentation import augment
from nerp.volume import Fields, Volume, attenuation

ROOT = Path(__file__).parents[1]
MADE = {"zeros", "ones", "empty", "full", "linspace", "logspace", "eye", "rand", "randn", "tensor", "arange"}
MADE |= {"randint", "randperm"}
BACKENDS = [name for name in ("reference", "cpu") if available_backends()[name].startswith("live")]


def made_without_kind(source: str) -> list[str]:
    """Calls of torch that make a tensor whose dtype or device is torch's default."""
    found = []
    for node in ast.walk(ast.parse(source)):
        if not (isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute)):
            continue
        if getattr(node.func.value, "id", "") != "torch" or node.func.attr not in MADE:
            continue
        keys = {keyword.arg for keyword in node.keywords}
        if None not in keys and not {"dtype", "device"} <= keys:
            found.append(f"line {node.lineno}: torch.{node.func.attr}")
    return found


def test_calls_without_kind_are_seen():
    assert made_without_kind("torch.zeros(3)\ntorch.zeros(3, dtype=x)\ntorch.zeros(3, **SINGLE)\n") == [
        "line 1: torch.zeros",
        "line 2: torch.zeros",
    ]


@pytest.mark.parametrize("path", sorted((ROOT / "nerp").rglob("*.py")), ids=lambda path: path.stem)
def test_every_new_tensor_states_dtype_and_device(path):
    assert not made_without_kind(path.read_text())


@pytest.fixture(scope="module")
def scene():
    """A phantom of 10 mm with its labels, fields and a camera, all of stated types."""
    phantom = thorax(0, spacing_mm=10.0)
    ct, labels = phantom.ct, phantom.labels
    mu = attenuation(ct)
    fields = Fields(mu.values.clamp(0, 1), mu.values, mu.affine)
    return ct, labels, mu, fields, chest_camera(ct, shape=(24, 20))


def projected(scene, backend):
    """Images, masks and gradients of every operator."""
    ct, labels, mu, fields, camera = scene
    values = mu.values.clone().requires_grad_(True)
    matter, opacity = (part.clone().requires_grad_(True) for part in (fields.matter, fields.opacity))
    image = siddon(Volume(values, mu.affine, "1/mm"), camera, backend=backend)
    light = march(Fields(matter, opacity, mu.affine), camera, n_samples=32, backend=backend)
    grads = torch.autograd.grad(image.square().sum() + light.square().sum(), (values, matter, opacity))
    lengths = project_labels(labels, camera, [10, 11], backend=backend)
    mask = project_mask(MaskRule("visible"), labels, camera, (10, 11), backend=backend)
    return [image.detach(), light.detach(), *grads, lengths, mask, display_image(image.detach())]


def prepared(scene):
    """What does not project: phantoms, anatomy, grids, intervals, augmentation."""
    ct, labels, *_ = scene
    again = thorax(0, spacing_mm=10.0)
    grid = mapper_grid(ct, size=32)
    generator = torch.Generator().manual_seed(0)
    images = (torch.arange(2 * 32 * 32, dtype=torch.float32).reshape(2, 1, 32, 32) / 2048).clone()
    augmented, masks = augment(images, (images > 0.5).float(), generator=generator)
    anatomy = find_anatomy(ct)
    obscuring = obscuring_tissue(labels, [10, 11]).values
    interval = torch.tensor(percentile_interval([0.1, 0.5, 0.7]), dtype=torch.float64)
    return [
        again.ct.values,
        again.labels.values,
        grid.values,
        augmented,
        masks,
        anatomy.body.points,
        obscuring,
        interval,
    ]


@pytest.fixture
def default_dtype(request):
    before = torch.get_default_dtype()
    torch.set_default_dtype(request.param)
    yield request.param
    torch.set_default_dtype(before)


DEFAULTS = pytest.mark.parametrize("default_dtype", [torch.float64, torch.float16], indirect=True, ids=str)


@pytest.fixture(scope="module")
def expected(scene):
    return {**{name: projected(scene, name) for name in BACKENDS}, "prepared": prepared(scene)}


def same(found, expected):
    for number, (one, other) in enumerate(zip(found, expected, strict=True)):
        assert one.dtype == other.dtype and torch.equal(one, other), f"result {number} differs"


@DEFAULTS
@pytest.mark.parametrize("backend", BACKENDS)
def test_projections_do_not_depend_on_the_default_dtype(expected, scene, backend, default_dtype):
    same(projected(scene, backend), expected[backend])


@DEFAULTS
def test_nothing_else_depends_on_the_default_dtype(expected, scene, default_dtype):
    same(prepared(scene), expected["prepared"])


@pytest.mark.parametrize("name", ["float64", pytest.param("float16", marks=pytest.mark.slow)])
def test_the_projection_tests_pass_under_another_default(name):
    files = [ROOT / "tests" / file for file in ("test_projection.py", "test_geometries.py", "test_marching.py")]
    environment = {**os.environ, "NERP_TEST_DTYPE": name, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}
    command = [sys.executable, "-m", "pytest", "-q", "-x", "-p", "no:cacheprovider", *files]
    done = subprocess.run(command, capture_output=True, text=True, env=environment, timeout=300)
    assert done.returncode == 0, done.stdout[-3000:]


NUMBERS = torch.zeros(2, 3, dtype=torch.float32)


@pytest.mark.parametrize(
    ("tensor", "message"),
    [
        (NUMBERS.double(), "float64"),
        (NUMBERS.half(), "float16"),
        (NUMBERS[:, :2], r"float32 \(2, 2\)"),
        (NUMBERS.mT, "not contiguous"),
        (NUMBERS.to("meta"), "on meta"),
        (torch.zeros(0, dtype=torch.float32), r"\(0,\)"),
        (NUMBERS.to_sparse(), "not contiguous"),
    ],
)
def test_what_a_kernel_does_not_expect_is_refused(tensor, message):
    with pytest.raises(GeometryError, match=f"a compiled kernel was given .*{message}"):
        library.floats(tensor, 2, 3)
    assert library.floats(NUMBERS, 2, 3) == NUMBERS.data_ptr()
    assert library.floats(torch.zeros(0, dtype=torch.float32), 0, 3) is None


@pytest.mark.skipif("cpu" not in BACKENDS, reason="the compiled kernels are not built")
def test_operators_refuse_tensors_that_do_not_fit():
    values = torch.zeros(1, 4, 4, 4, dtype=torch.float64)
    lines = [torch.zeros(1, 6, 3, dtype=torch.float64), torch.zeros(1, 6, 3, dtype=torch.float64)]
    lengths = torch.zeros(1, 6, dtype=torch.float64)
    with pytest.raises(GeometryError, match="float64"):
        torch.ops.nerp.siddon_cpu(values, *lines, lengths, [2, 3])
    with pytest.raises(GeometryError, match="expected 18 contiguous"):
        torch.ops.nerp.siddon_cpu(values.float(), lines[0][:, :5].contiguous(), lines[1], lengths, [2, 3])
    with pytest.raises(GeometryError, match="6 rays fill no images of 4 x 4 pixels"):
        torch.ops.nerp.siddon_cpu(values.float(), *lines, lengths, [4, 4])
