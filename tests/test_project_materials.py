"""Areal densities of many materials at once: against integrals of each, on every backend, and their gradients."""

import numpy as np
import pytest
import torch

from nerp.camera import Camera
from nerp.errors import GeometryError, UsageError
from nerp.projection import available_backends, siddon
from nerp.projection.backends import cpu
from nerp.projection.backends.cpu import library
from nerp.projection.blocks import blocks_of
from nerp.projection.materials import MaterialVolume, project_materials
from nerp.volume import Volume

SHAPE = (7, 9, 8)
AFFINE = torch.tensor([[0, 2.0, 0.3, -8], [-2.2, 0, 0, 9], [0, 0.1, 1.9, -7], [0, 0, 0, 1]], dtype=torch.float64)
CAMERA_PARTS = ("detector_centre", "image_right", "image_down", "shape", "pixel_mm")
needs_kernels = pytest.mark.skipif(library.missing() is not None, reason=str(library.missing()))
BACKENDS = ["reference", pytest.param("cpu", marks=needs_kernels)]


def view(n_views: int = 2, shape: tuple[int, int] = (11, 21), dtype: torch.dtype = torch.float32) -> Camera:
    """Oblique views, some rays of which miss the grid."""
    turn = torch.linspace(0.2, 0.9, n_views, dtype=torch.float64)
    ahead = torch.stack([turn.cos(), turn.sin(), 0.1 * turn], dim=-1)
    ahead = ahead / ahead.norm(dim=-1, keepdim=True)
    right = torch.linalg.cross(ahead, torch.tensor([[0, 0, 1.0]], dtype=torch.float64).expand_as(ahead))
    right = right / right.norm(dim=-1, keepdim=True)
    down = torch.linalg.cross(ahead, right)
    pixel_mm = torch.full((n_views, 2), 2.0, dtype=torch.float64)
    parts = (-60 * ahead, 40 * ahead, right, down)
    return Camera(*(part.to(dtype) for part in parts), shape, pixel_mm.to(dtype))


def volume(
    n_knots: int = 8,
    n_materials: int = 6,
    groups: int = 1,
    slots: int | None = None,
    dtype: torch.dtype = torch.float32,
) -> MaterialVolume:
    generator = torch.Generator().manual_seed(3)
    n_slots = slots or groups
    codes = torch.rand(SHAPE, generator=generator, dtype=torch.float64).to(dtype) * (n_knots - 1)
    densities = 2 * torch.rand(n_slots, n_knots, n_materials, generator=generator, dtype=torch.float64).to(dtype)
    places = torch.randint(n_slots, SHAPE, generator=generator) if n_slots > 1 else None
    names = [f"material {m}" for m in range(n_materials)], [f"group {g}" for g in range(groups)]
    group_of = tuple(slot % groups for slot in range(n_slots))
    return MaterialVolume(codes, densities, AFFINE, *map(tuple, names), places, group_of)


def one_by_one(materials: MaterialVolume, camera: Camera) -> torch.Tensor:
    """(B, G M, H, W) by `siddon` of each material's density in each group."""
    densities = materials.densities_g_per_cm3().double()
    slots = torch.zeros(SHAPE, dtype=torch.int64) if materials.group_map is None else materials.group_map
    groups = torch.tensor(materials.group_of)[slots]
    apart = [densities * (groups == group) for group in range(len(materials.groups))]
    return siddon(Volume(torch.cat(apart) / 10, AFFINE), camera)


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize(
    ("n_knots", "n_materials", "groups", "slots"),
    [(8, 6, 1, 1), (2, 1, 1, 1), (5, 8, 3, 3), (8, 3, 2, 5), (8, 11, 2, 2), (11, 4, 2, 3), (8, 2, 40, 40)],
)
def test_all_materials_at_once_are_each_by_itself(backend, n_knots, n_materials, groups, slots):
    materials, camera = volume(n_knots, n_materials, groups, slots), view()
    found = project_materials(materials, camera, backend=backend)
    assert found.shape == (2, groups * n_materials, *camera.shape) and found.dtype == torch.float32
    torch.testing.assert_close(found.double(), one_by_one(materials, camera), rtol=2e-5, atol=2e-5)


@needs_kernels
@pytest.mark.parametrize("name", ["baseline", "avx2", "avx512"])
@pytest.mark.parametrize("shape", [(40, 33), (1, 70), (70, 1)])
def test_every_instruction_set_and_shape_of_image(name, shape):
    materials, camera, before = volume(groups=3), view(1, shape), library.instruction_set()
    try:
        if not library.choose_instruction_set(name):
            pytest.skip(f"this processor has no {name}")
        found = project_materials(materials, camera, backend="cpu")
    finally:
        library.choose_instruction_set(before)
    torch.testing.assert_close(found.double(), one_by_one(materials, camera), rtol=2e-5, atol=2e-5)


@pytest.mark.parametrize("backend", BACKENDS)
def test_a_batch_is_its_views_and_a_detector_of_no_pixels_is_empty(backend):
    materials, camera = volume(groups=2), view(3)
    together = project_materials(materials, camera, backend=backend)
    for n in range(3):
        parts = (part[n : n + 1] for part in (camera.source, camera.detector_centre, camera.image_right))
        alone = Camera(*parts, camera.image_down[n : n + 1], camera.shape, camera.pixel_mm[n : n + 1])
        torch.testing.assert_close(project_materials(materials, alone, backend=backend)[0], together[n])


@needs_kernels
def test_threads_change_no_bit():
    materials, camera, before = volume(groups=3), view(2, (50, 60)), torch.get_num_threads()
    try:
        images = []
        for threads in (1, 2):
            torch.set_num_threads(threads)
            images.append(project_materials(materials, camera, backend="cpu"))
    finally:
        torch.set_num_threads(before)
    assert torch.equal(*images)


@pytest.mark.parametrize("backend", BACKENDS)
def test_nothing_is_negative_and_nothing_is_invented(backend):
    """What no voxel has, no ray meets: not by a rounding error either."""
    materials = volume()
    materials.codes.clamp_(max=4.0)
    materials.densities[:, 5:, :] = 1e6
    materials.densities[:, :3, 1] = 0
    found = project_materials(materials, view(), backend=backend)
    assert found.min() == 0 and found.max() < 100


def test_an_even_block_weighs_its_thickness():
    """20 cm along an axis: density times path."""
    codes = torch.full((10, 10, 200), 1.5)
    densities = torch.tensor([[[0.0, 1.0], [1.0, 0.5], [2.0, 0.0]]])
    block = MaterialVolume(codes, densities, torch.eye(4), ("a", "b"))
    vectors = [[[4.5, 4.5, -2000.0]], [[4.5, 4.5, 300.0]], [[1.0, 0, 0]], [[0, 1.0, 0]]]
    camera = Camera(*map(torch.tensor, vectors), (1, 1), torch.ones(1, 2))
    torch.testing.assert_close(project_materials(block, camera).flatten(), torch.tensor([30.0, 5.0]))


@pytest.mark.parametrize("backend", BACKENDS)
def test_gradients_in_the_densities_are_the_paths_through_knots(backend):
    materials, camera = volume(groups=2, slots=3), view()
    leaf = materials.densities.clone().requires_grad_()
    parts = (AFFINE, materials.materials, materials.groups, materials.group_map, materials.group_of)
    found = project_materials(MaterialVolume(materials.codes, leaf, *parts), camera, backend=backend)
    plain = project_materials(materials, camera, backend=backend)
    torch.testing.assert_close(found.detach(), plain, rtol=1e-5, atol=1e-5)
    found.sum().backward()
    lengths = siddon(Volume(torch.full((1, *SHAPE), 0.1), AFFINE), camera)
    torch.testing.assert_close(leaf.grad.sum(dim=(0, 1)), lengths.sum().expand(6), rtol=1e-4, atol=0)


def test_gradients_of_codes_densities_and_camera():
    materials, camera = volume(n_knots=4, n_materials=2, groups=2, dtype=torch.float64), view(1, (3, 4), torch.float64)
    vectors = (camera.source, camera.detector_centre)
    inputs = [part.clone().requires_grad_() for part in (materials.codes, materials.densities, *vectors)]

    def image(codes, densities, source, centre):
        parts = (AFFINE, materials.materials, materials.groups, materials.group_map)
        moved = Camera(source, centre, camera.image_right, camera.image_down, camera.shape, camera.pixel_mm)
        return project_materials(MaterialVolume(codes, densities, *parts), moved)

    assert torch.autograd.gradcheck(image, inputs, fast_mode=True)


@needs_kernels
def test_gradients_are_those_of_the_reference():
    materials, camera, found = volume(groups=2, slots=3), view(dtype=torch.float64), []
    parts = (AFFINE, materials.materials, materials.groups, materials.group_map, materials.group_of)
    for backend in ("reference", "cpu"):
        leaves = [part.clone().requires_grad_() for part in (materials.codes, materials.densities, camera.source)]
        moved = Camera(leaves[2], *(getattr(camera, name) for name in CAMERA_PARTS))
        image = project_materials(MaterialVolume(*leaves[:2], *parts), moved, backend=backend)
        found.append(torch.autograd.grad(image.square().mean(), leaves))
    for one, other in zip(*found, strict=True):
        torch.testing.assert_close(one, other, rtol=1e-4, atol=1e-4)


def test_densities_between_knots():
    densities = torch.tensor([[[0.0], [1.0], [3.0]], [[5.0], [6.0], [7.0]]])
    codes = torch.tensor([0.0, 0.5, 1.5, 2.0]).reshape(1, 1, 4)
    slots = torch.tensor([0, 1, 0, 1]).reshape(1, 1, 4)
    volume = MaterialVolume(codes, densities, torch.eye(4), ("a",), ("x", "y"), slots)
    assert volume.densities_g_per_cm3().flatten().tolist() == [0.0, 5.5, 2.0, 7.0]
    assert volume.packed.flatten().tolist() == [0.0, 16.5, 1.5, 18.0]
    assert volume.to("cpu").group_of == (0, 1)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"codes": torch.full(SHAPE, 7.5)}, "codes of the materials run from 7.5 to 7.5; expected 0 to 7"),
        ({"codes": torch.full(SHAPE, -0.1)}, "codes of the materials run from -0.1"),
        ({"codes": torch.full(SHAPE, float("nan"))}, "run from nan to nan"),
        ({"codes": torch.zeros(3, 3)}, r"codes \(3, 3\).*expected \(D, H, W\)"),
        ({"densities": torch.full((2, 8, 6), -1.0)}, "densities reach -1 g/cm³; expected 0 or more"),
        ({"densities": torch.ones(2, 8, 5)}, "for 6 materials, 2 slots in 2 groups"),
        ({"group_map": torch.full(SHAPE, 2)}, "slots of the materials run from 2 to 2; expected 0 to 1"),
        ({"group_map": torch.zeros(2, 2, 2)}, "expected those of the codes"),
        ({"group_map": None}, "2 slots and no group_map"),
        ({"group_of": (0, 2)}, r"slots belong to groups \(0, 2\); expected 0 to 1"),
    ],
)
def test_what_does_not_fit_is_refused(change, message):
    good = volume(groups=2)
    names = ("codes", "densities", "affine", "materials", "groups", "group_map", "group_of")
    with pytest.raises(GeometryError, match=message):
        MaterialVolume(**{**{name: getattr(good, name) for name in names}, **change})


def test_backends_that_are_not_live_are_refused():
    if available_backends()["cuda"] == "live":
        pytest.skip("a GPU is live here")
    with pytest.raises(UsageError, match="backend 'cuda' is not live"):
        project_materials(volume(), view(), backend="cuda")


@needs_kernels
def test_the_kernel_is_never_given_a_group_that_is_not_there():
    materials, camera = volume(), view()
    rays = cpu.cast_rays(camera, AFFINE, SHAPE)
    with pytest.raises(GeometryError, match=r"1 slots are in groups \[1\]; expected each in one of 1"):
        cpu.areal_densities(materials.packed, materials.densities, [1], 1, rays)


@pytest.mark.parametrize(("n_knots", "n_materials"), [(8, 7), (3, 2), (9, 2), (4, 9)])
@pytest.mark.parametrize("voxel_mm", [0.5, 4.1, 6.0])
def test_blocks_weigh_what_their_voxels_do(n_knots, n_materials, voxel_mm):
    """Compiled and plain; the means by NumPy's own hands."""
    materials = volume(n_knots, n_materials, groups=2, slots=3)
    blocks = blocks_of(materials, voxel_mm)
    factors = [max(1, round(voxel_mm / size)) for size in AFFINE[:3, :3].norm(dim=0).tolist()]
    fine, volume_of = materials.densities_g_per_cm3().numpy(), np.prod(factors)
    d, h, w = (slice(0, factor) for factor in factors)
    assert blocks.densities[:, 0, 0, 0].numpy() == pytest.approx(fine[:, d, h, w].mean(axis=(1, 2, 3)), rel=1e-5)
    assert blocks.densities.sum(dim=(1, 2, 3)).numpy() * volume_of == pytest.approx(fine.sum(axis=(1, 2, 3)), rel=1e-5)
    middle = torch.tensor([(factor - 1) / 2 for factor in factors], dtype=torch.float64)
    torch.testing.assert_close(blocks.affine[:3, 3], AFFINE[:3, :3] @ middle + AFFINE[:3, 3])
    d, h, w = (min(factor // 2, size - 1) for factor, size in zip(factors, SHAPE, strict=True))
    assert int(blocks.groups[0, 0, 0]) == materials.group_of[int(materials.group_map[d, h, w])]


def test_blocks_have_a_size_and_need_no_groups():
    assert blocks_of(volume(), 4.0).groups is None
    with pytest.raises(GeometryError, match="blocks of voxels are 0 mm; expected more than 0"):
        blocks_of(volume(), 0.0)
