"""Integrals along rays against closed forms, against each other, and under moves of the world."""

import math

import pytest
import torch

from nerp.camera import Camera
from nerp.errors import GeometryError, UsageError
from nerp.projection import available_backends, march, siddon
from nerp.projection.rays import cast_rays
from nerp.volume import Fields, Volume


def affine_of(spacing_mm, centre_index, rotation=None) -> torch.Tensor:
    """Affine whose voxel `centre_index` lies at the world's origin."""
    affine = torch.eye(4, dtype=torch.float64)
    turn = torch.eye(3, dtype=torch.float64) if rotation is None else rotation
    affine[:3, :3] = turn @ torch.diag(torch.tensor(spacing_mm, dtype=torch.float64))
    affine[:3, 3] = -affine[:3, :3] @ torch.tensor(centre_index, dtype=torch.float64)
    return affine


def camera(source=(0.0, -900.0, 0.0), shape=(17, 17), pixel_mm=4.0, detector_mm=150.0) -> Camera:
    """A film square to the ray from `source` through the world's origin, `detector_mm` behind it."""
    source = torch.tensor([source], dtype=torch.float64)
    beam = -source / source.norm()
    right = torch.linalg.cross(torch.tensor([[0.0, 0, 1]], dtype=torch.float64), beam)
    right = right / right.norm()
    return Camera(source, detector_mm * beam, right, torch.linalg.cross(beam, right), shape, (pixel_mm, pixel_mm))


def cube(n=20, side_mm=100.0, value=0.02, rotation=None) -> Volume:
    values = torch.full((1, n, n, n), value, dtype=torch.float32)
    return Volume(values, affine_of([side_mm / n] * 3, [(n - 1) / 2] * 3, rotation))


def turned(angle=0.4) -> torch.Tensor:
    cosine, sine = math.cos(angle), math.sin(angle)
    about_z = torch.tensor([[cosine, -sine, 0], [sine, cosine, 0], [0, 0, 1]], dtype=torch.float64)
    about_x = torch.tensor([[1, 0, 0], [0, cosine, -sine], [0, sine, cosine]], dtype=torch.float64)
    return about_z @ about_x


def chords_mm(view: Camera, half_mm: float) -> torch.Tensor:
    """Path of each ray within a cube about the origin: the slab method in world coordinates."""
    pixels = view.pixels().flatten(1, 2)
    offset = pixels - view.source[:, None]
    one, other = (-half_mm - view.source[:, None]) / offset, (half_mm - view.source[:, None]) / offset
    enter = torch.minimum(one, other).amax(dim=-1).clamp(min=0)
    leave = torch.maximum(one, other).amin(dim=-1).clamp(max=1)
    return ((leave - enter).clamp(min=0) * offset.norm(dim=-1)).view(len(view), 1, *view.shape)


def blobs(affine: torch.Tensor, shape) -> torch.Tensor:
    """Two smooth lumps of attenuation, evaluated at a grid's world points; (1, D, H, W)."""
    index = torch.stack(torch.meshgrid(*(torch.arange(n, dtype=torch.float64) for n in shape), indexing="ij"), -1)
    world = index @ affine[:3, :3].T + affine[:3, 3]
    centres = torch.tensor([[10.0, -5.0, 8.0], [-14.0, 9.0, -6.0]], dtype=torch.float64)
    lumps = [torch.exp(-((world - centre) ** 2).sum(-1) / (2 * 14.0**2)) for centre in centres]
    return (0.02 * (lumps[0] + 0.5 * lumps[1]))[None].float()


def test_cube_of_100_mm_integrates_to_two():
    image = siddon(cube(), camera())
    assert image.shape == (1, 1, 17, 17) and image.dtype == torch.float32
    assert image[0, 0, 8, 8].item() == pytest.approx(2.0, abs=1e-5)


@pytest.mark.parametrize("source", [(0.0, -900.0, 0.0), (700.0, -500.0, 300.0), (-3.0, 5.0, 800.0)])
@pytest.mark.parametrize("n", [1, 7, 20])
def test_chords_of_a_cube_from_any_side(source, n):
    view = camera(source, shape=(33, 33), pixel_mm=6.0)
    expected = 0.02 * chords_mm(view, 50.0)
    assert torch.allclose(siddon(cube(n), view).double(), expected, atol=1e-5)
    assert (expected == 0).any() and (expected > 2).any()


def test_empty_space_and_missing_rays_give_zero():
    assert siddon(cube(value=0.0), camera()).abs().max() == 0
    aside = camera().moved(torch.tensor([500.0, 0, 0], dtype=torch.float32))
    fields = Fields(
        torch.ones(1, 20, 20, 20, dtype=torch.float32), torch.ones(1, 20, 20, 20, dtype=torch.float32), cube().affine
    )
    for mode in ("per_mm", "per_sample"):
        assert march(fields, aside, 16, opacity_is=mode).abs().max() == 0
    assert siddon(cube(), aside).abs().max() == 0


def test_rays_along_an_axis_and_on_a_voxel_face_stay_finite(generator):
    fields = Fields(
        torch.rand(1, 8, 8, 8, generator=generator, dtype=torch.float32),
        torch.rand(1, 8, 8, 8, generator=generator, dtype=torch.float32) * 0.01,
        affine_of([10.0] * 3, [3.5] * 3),
    )
    for offset in (0.0, 5.0, 40.0):
        view = camera(shape=(1, 1)).moved(torch.tensor([offset, 0, offset], dtype=torch.float64))
        source = view.source.clone().requires_grad_(True)
        view = Camera(source, view.detector_centre, view.image_right, view.image_down, view.shape, view.pixel_mm)
        image = siddon(Volume(fields.opacity, fields.affine), view).sum() + march(fields, view, 32).sum()
        assert torch.isfinite(image) and torch.isfinite(torch.autograd.grad(image, source)[0]).all()


def test_rays_start_at_the_source_and_end_at_the_detector():
    inside = camera(source=(0.0, -20.0, 0.0), detector_mm=30.0, shape=(1, 1))
    assert siddon(cube(), inside).item() == pytest.approx(0.02 * 50, abs=1e-5)
    rays = cast_rays(inside, cube().affine, cube().shape)
    assert rays.lengths_mm.item() == pytest.approx(50.0)


def test_a_point_of_a_grid_lands_on_the_pixel_that_geometry_names():
    values = torch.zeros(1, 9, 9, 9, dtype=torch.float32)
    values[0, 6, 4, 7] = 1.0
    view = camera(source=(0.0, -500.0, 0.0), shape=(101, 101), pixel_mm=1.0, detector_mm=100.0)
    image = siddon(Volume(values, affine_of([10.0, 10, 10], [4, 4, 4])), view)[0, 0]
    rows, columns = (torch.nonzero(image > image.max() / 2).float().mean(dim=0)).tolist()
    right, down = view.image_right[0], view.image_down[0]
    point = torch.tensor([20.0, 0, 30], dtype=torch.float64) * 600 / 500
    assert columns == pytest.approx(50 + float(point @ right), abs=0.6)
    assert rows == pytest.approx(50 + float(point @ down), abs=0.6)


@pytest.mark.parametrize("n_samples", [128, 512, 2048])
def test_march_of_uniform_opacity_is_one_minus_beer_lambert(n_samples):
    opacity = cube(value=0.013)
    fields = Fields(torch.ones_like(opacity.values), opacity.values, opacity.affine)
    for view in (camera(), camera((700.0, -500.0, 300.0), shape=(17, 17), pixel_mm=12.0)):
        expected = 1 - torch.exp(-siddon(opacity, view))
        assert torch.allclose(march(fields, view, n_samples), expected, atol=1e-5)
        assert (expected > 0.5).any()


def test_march_of_a_smooth_field_agrees_with_siddon():
    affine = affine_of([2.5] * 3, [31.5] * 3)
    opacity = blobs(affine, (64, 64, 64))
    fields, view = Fields(torch.ones_like(opacity), opacity, affine), camera((500.0, -700.0, 100.0), pixel_mm=8.0)
    expected = 1 - torch.exp(-siddon(Volume(opacity, affine), view))
    assert (march(fields, view, 512) - expected).abs().max() < 1e-3
    assert expected.max() > 0.4


def test_march_samples_trilinearly_and_holds_values_to_the_faces():
    values = torch.tensor([1.0, 3.0], dtype=torch.float32).view(1, 1, 2, 1)
    fields = Fields(values, torch.full_like(values, 1.0), affine_of([10.0, 10, 10], [0, 0.5, 0]))
    image = march(fields, camera(shape=(1, 1)), 4, opacity_is="per_sample")
    assert image.item() == pytest.approx(1.0)
    thin = Fields(values, torch.full_like(values, 1e-7), fields.affine)
    assert march(thin, camera(shape=(1, 1)), 4).item() == pytest.approx(1e-7 * 5 * (1 + 1.5 + 2.5 + 3), rel=1e-3)


def test_per_sample_opacity_is_each_samples_alpha():
    ones = torch.ones(1, 4, 4, 4, dtype=torch.float32)
    fields = Fields(ones, 0.1 * ones, affine_of([10.0] * 3, [1.5] * 3))
    for n_samples in (3, 30):
        image = march(fields, camera(shape=(1, 1)), n_samples, opacity_is="per_sample")
        assert image.item() == pytest.approx(1 - 0.9**n_samples, abs=1e-6)


def test_far_matter_is_dimmed_by_near_opacity():
    matter = torch.tensor([0.0, 1.0], dtype=torch.float32).view(1, 1, 2, 1)
    fields = Fields(matter, torch.full_like(matter, 0.05), affine_of([10.0, 10, 10], [0, 0.5, 0]))
    behind, before = (march(fields, camera((0.0, y, 0.0), shape=(1, 1)), 64).item() for y in (-900.0, 900.0))
    assert before > behind > 0


def test_moving_volume_and_camera_together_changes_nothing(generator):
    values, affine = (
        torch.rand(2, 10, 12, 14, generator=generator, dtype=torch.float32),
        affine_of([9.0, 8, 7], [4.5, 5.5, 6.5]),
    )
    view = camera((600.0, -700.0, 200.0), pixel_mm=7.0)
    shift = torch.tensor([37.0, -210.0, 1000.0], dtype=torch.float64)
    move = torch.eye(4, dtype=torch.float64)
    move[:3, :3], move[:3, 3] = turned(), shift
    base = Camera(*(getattr(view, n) for n in ("source", "detector_centre", "image_right", "image_down")),
                  view.shape, view.pixel_mm, torch.zeros_like(view.source))  # fmt: skip
    moved = base.rotated(move[:3, :3]).moved(shift)
    here, there = siddon(Volume(values, affine), view), siddon(Volume(values, move @ affine), moved)
    assert torch.allclose(here, there, atol=1e-4 * here.max().item())
    here = march(Fields(values[:1], values[1:], affine), view, 64)
    assert torch.allclose(here, march(Fields(values[:1], values[1:], move @ affine), moved, 64), atol=1e-5)


def test_a_batch_of_views_equals_its_views_alone(generator):
    volume = Volume(
        torch.rand(2, 8, 9, 10, generator=generator, dtype=torch.float32), affine_of([10.0] * 3, [3.5, 4, 4.5])
    )
    views = camera().repeat(2).moved(torch.tensor([[0.0, 0, 0], [11.0, 3, -7]], dtype=torch.float64))
    both = siddon(volume, views)
    assert both.shape == (2, 2, 17, 17)
    assert torch.equal(both, torch.cat([siddon(volume, views[k]) for k in range(2)]))


def test_views_are_dealt_to_fields_in_contiguous_runs(generator):
    values, affine = (
        torch.rand(2, 8, 9, 10, generator=generator, dtype=torch.float32),
        affine_of([10.0] * 3, [3.5, 4, 4.5]),
    )
    views = camera().repeat(4).moved(torch.arange(12, dtype=torch.float64).view(4, 3))
    together = march(Fields(values, values / 50, affine), views, 32)
    for k in range(4):
        field = values[k // 2 : k // 2 + 1]
        assert torch.allclose(together[k : k + 1], march(Fields(field, field / 50, affine), views[k], 32), atol=1e-6)


def test_permuted_and_flipped_storage_of_one_world_gives_one_image(generator):
    values, affine = (
        torch.rand(1, 8, 9, 10, generator=generator, dtype=torch.float32),
        affine_of([10.0, 9, 8], [3.5, 4, 4.5], turned(0.2)),
    )
    flip = torch.diag(torch.tensor([1.0, -1, 1, 1], dtype=torch.float64))
    flip[1, 3] = 8
    order = [2, 0, 1, 3]
    stored, stored_affine = values.flip(2).permute(0, 3, 1, 2), (affine @ flip)[:, order]
    one, other = siddon(Volume(values, affine), camera()), siddon(Volume(stored, stored_affine), camera())
    assert (one - other).abs().max() < 1e-5 * one.max()
    one = march(Fields(values, values / 50, affine), camera(), 64)
    assert (one - march(Fields(stored, stored / 50, stored_affine), camera(), 64)).abs().max() < 1e-5


def test_oblique_grid_of_one_world_gives_one_image():
    straight, oblique = affine_of([2.0] * 3, [47.5] * 3), affine_of([2.0] * 3, [47.5] * 3, turned(0.35))
    lumps = [(blobs(affine, (96, 96, 96)), affine) for affine in (straight, oblique)]
    one, other = (march(Fields(torch.ones_like(lump), lump, affine), camera(), 256) for lump, affine in lumps)
    assert (one - other).abs().max() < 1e-3 * one.max()


def test_margins_of_air_change_nothing(generator):
    values, affine = (
        torch.rand(1, 12, 12, 12, generator=generator, dtype=torch.float32),
        affine_of([8.0] * 3, [5.5] * 3),
    )
    padded, shifted = torch.nn.functional.pad(values, [3] * 6), affine.clone()
    shifted[:3, 3] -= 3 * 8.0
    view = camera(pixel_mm=6.0)
    one, other = siddon(Volume(values, affine), view), siddon(Volume(padded, shifted), view)
    assert torch.allclose(one, other, atol=1e-5 * one.max().item())


def test_march_of_a_cropped_grid_is_that_of_the_whole():
    affine = affine_of([2.5] * 3, [31.5] * 3)
    opacity = blobs(affine, (64, 64, 64))
    opacity = torch.where(opacity > 1e-3, opacity, 0.0)
    found = torch.nonzero(opacity[0])
    low, high = found.amin(dim=0), found.amax(dim=0) + 2
    cropped = opacity[:, low[0] - 1 : high[0], low[1] - 1 : high[1], low[2] - 1 : high[2]]
    moved = affine.clone()
    moved[:3, 3] += affine[:3, :3] @ (low - 1).double()
    view = camera(pixel_mm=5.0)
    one = march(Fields(torch.ones_like(opacity), opacity, affine), view, 512)
    other = march(Fields(torch.ones_like(cropped), cropped, moved), view, 512)
    assert (one - other).abs().max() < 1e-3


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_half_precision_is_accumulated_in_float32(dtype):
    volume = cube(value=0.0203125)
    image = siddon(volume.to(dtype), camera())
    assert image.dtype == torch.float32
    assert torch.equal(image, siddon(volume.to(dtype).to(torch.float32), camera()))
    half = march(Fields(volume.values.to(dtype), volume.values.to(dtype), volume.affine), camera(), 256)
    assert half.dtype == torch.float32 and half.max() > 0


def test_float64_stays_float64_and_camera_precision_does_not_blur():
    volume = Volume(torch.full((1, 20, 20, 20), 0.02, dtype=torch.float64), cube().affine)
    assert siddon(volume, camera()).dtype == torch.float64
    assert siddon(volume, camera())[0, 0, 8, 8].item() == pytest.approx(2.0, abs=1e-12)
    single = siddon(volume, camera().to(torch.float32))
    assert torch.allclose(single, siddon(volume, camera()), atol=1e-5)


def test_chunks_of_rays_give_the_image_of_all(monkeypatch, generator):
    values, affine = (
        torch.rand(1, 8, 9, 10, generator=generator, dtype=torch.float32),
        affine_of([10.0] * 3, [3.5, 4, 4.5]),
    )
    view, fields = camera().repeat(2), Fields(values, values / 50, affine)
    whole = siddon(Volume(values, affine), view), march(fields, view, 32)
    monkeypatch.setattr("nerp.projection.backends.reference.chunks.CHUNK_BYTES", 100_000)
    parts = siddon(Volume(values, affine), view), march(fields, view, 32)
    assert all(torch.allclose(one, other, atol=1e-6) for one, other in zip(whole, parts, strict=True))


@pytest.mark.parametrize(
    ("unit", "message"),
    [
        ("hu", r"siddon\(\) needs a volume in '1/mm', found 'hu'; use attenuation\(volume\) first"),
        ("label", r"siddon\(\) needs a volume in '1/mm', found 'label'; labels go through project_labels"),
    ],
)
def test_siddon_refuses_what_is_not_attenuation(unit, message):
    with pytest.raises(GeometryError, match=message):
        siddon(Volume(cube().values, cube().affine, unit), camera())


def test_march_refuses_what_does_not_fit(generator):
    values = torch.rand(2, 4, 4, 4, generator=generator, dtype=torch.float32)
    fields = Fields(values, values, torch.eye(4, dtype=torch.float32))
    with pytest.raises(GeometryError, match="3 cameras for 2 fields; expected a multiple"):
        march(fields, camera().repeat(3), 8)
    with pytest.raises(UsageError, match="n_samples is 0; expected at least 1"):
        march(fields, camera().repeat(2), 0)
    with pytest.raises(UsageError, match="unknown opacity_is 'alpha'; expected one of per_mm, per_sample"):
        march(fields, camera().repeat(2), 8, opacity_is="alpha")


def test_backends_are_named_with_their_state():
    states = available_backends()
    assert list(states) == ["reference", "cpu", "cuda"] and states["reference"] == "live"
    torch.testing.assert_close(siddon(cube(), camera(), backend="reference"), siddon(cube(), camera()))
    with pytest.raises(UsageError, match="unknown backend 'gpu'; expected auto, reference, cpu, cuda"):
        siddon(cube(), camera(), backend="gpu")
    for name in [name for name, state in states.items() if state != "live"]:
        with pytest.raises(UsageError, match=f"backend '{name}' is not live: .*; use 'auto' or 'reference'"):
            siddon(cube(), camera(), backend=name)
