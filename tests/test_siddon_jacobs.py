"""ITK's Siddon-Jacobs tool: closed forms, a plain oracle, its rounding, ITK itself where it is there; mode `itk`."""

import logging
import math
from dataclasses import replace

import numpy as np
import pytest
import torch
from small_chests import changed, chest

from benchmark.itk_tool import drr_by_itk, itk_or_none
from nerp.camera import Camera, view_names
from nerp.camera.itk import PIXEL_MM, itk_camera
from nerp.config import read_settings
from nerp.config import reading as reading_module
from nerp.errors import UsageError, VolumeError
from nerp.physics.objects import ObjectImages
from nerp.projection import available_backends
from nerp.projection.backends.cpu import library
from nerp.projection.itk_rounding import entry, source_mm
from nerp.projection.siddon_jacobs import above, grey_levels, line_sums, siddon_jacobs, whole
from nerp.settings import dotted, flatten
from nerp.synthesis import Synthesiser
from nerp.synthesis.config import SynthesisConfig
from nerp.synthesis.renderers import Scene
from nerp.synthesis.siddon_jacobs import SiddonJacobsRenderer
from nerp.volume import Volume, read_volume, write_volume

BACKENDS = [name for name in ("reference", "cpu") if available_backends()[name] == "live"]
LPS = (-1.0, -1.0, 1.0)


def grid(values, spacing_mm, directions=LPS) -> Volume:
    """A CT whose middle is no round number, its axes along those of the world."""
    affine = torch.diag(torch.tensor([*(s * d for s, d in zip(spacing_mm, directions, strict=True)), 1.0])).double()
    affine[:3, 3] = torch.tensor([11.3, -7.9, 201.7])
    return Volume(torch.as_tensor(values)[None].float(), affine, "hu")


def speckled(shape=(23, 19, 17), spacing_mm=(5.3, 7.1, 11.9), seed=0) -> Volume:
    """Numbers at random in a rim of air, of odd voxels."""
    hu = torch.full(shape, -1000)
    inner = torch.randint(-400, 900, tuple(n - 4 for n in shape), generator=torch.Generator().manual_seed(seed))
    hu[2:-2, 2:-2, 2:-2] = inner
    return grid(hu, spacing_mm)


def by_sorting(ct: Volume, camera: Camera) -> np.ndarray:
    """Every crossing of a plane in order; the path up to each counts for the voxel behind it. In ways of 1000 mm."""
    to_index = torch.linalg.inv(ct.affine).numpy()
    source, pixels = (points.numpy() @ to_index[:3, :3].T + to_index[:3, 3] + 0.5 for points in _ends(camera))
    values, shape = np.clip(ct.values[0].numpy() + 100.0, 0, None), np.array(ct.shape)
    to_detector = float((camera.detector_centre - camera.source).norm()) / 1000.0
    sums = []
    for pixel in pixels:
        ray = pixel - source
        with np.errstate(divide="ignore", invalid="ignore"):
            planes = [(np.arange(n + 1) - start) / step for n, start, step in zip(shape, source, ray, strict=True)]
            faces = [np.sort(one[[0, -1]]) for one, step in zip(planes, ray, strict=True) if step]
        enter, leave = max(one[0] for one in faces), min(one[1] for one in faces)
        cuts = np.unique(np.concatenate([one[(one >= enter) & (one <= leave)] for one in planes] or [[]]))
        middles = source + (cuts[:-1, None] + cuts[1:, None]) / 2 * ray
        voxels = np.floor(middles).astype(int)
        sums.append((np.diff(cuts)[:-1] * values[tuple(voxels[1:].T)]).sum() * to_detector if len(voxels) > 1 else 0.0)
    return np.array(sums).reshape(camera.shape)


def _ends(camera: Camera):
    return camera.source[0], camera.pixels()[0].flatten(0, 1)


def turned(ct: Volume) -> Camera:
    """A camera askew, which no rounding of the tool's is known of."""
    from nerp.camera import CameraDistribution

    ranges = CameraDistribution(yaw_deg=(7.0, 7.0), pitch_deg=(3.0, 3.0))
    return ranges.sample(itk_camera(ct, shape=(13, 11)), 1, torch.Generator().manual_seed(0))


@pytest.mark.parametrize("backend", BACKENDS)
def test_each_path_counts_for_the_voxel_after_it(backend):
    ct = speckled()
    camera = turned(ct)
    expected = by_sorting(ct, camera)
    found = line_sums(above(ct), camera, backend=backend)[0, 0].numpy()
    assert expected.max() > 30
    np.testing.assert_allclose(found, expected, atol=2e-4)


@pytest.mark.skipif("cpu" not in BACKENDS, reason="the compiled kernels are not built")
def test_every_instruction_set_finds_the_same():
    ct, before = above(speckled()), library.instruction_set()
    images = {}
    try:
        for name in ("baseline", "avx2", "avx512"):
            if library.choose_instruction_set(name):
                images[name] = line_sums(ct, itk_camera(ct, shape=(32, 32)), backend="cpu")
    finally:
        library.choose_instruction_set(before)
    assert "baseline" in images
    for image in images.values():
        torch.testing.assert_close(image, images["baseline"], atol=2e-4, rtol=0.0)


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize(("view", "axis"), [("ap", 1), ("lateral", 0)])
def test_along_the_axis_of_a_box_voxels_but_one_or_two_count(backend, view, axis):
    """400 HU are 500 above; N voxels of s mm give 500 (N - 1) s / 1000, or N - 2 where the tool starts one on."""
    counts = {}
    for depth in range(20, 40):
        shape = [15, 15, 15]
        shape[axis] = depth
        ct = grid(torch.full(shape, 400), (3.7, 3.7, 3.7))
        sums = line_sums(above(ct), itk_camera(ct, view, shape=(3, 3)), backend=backend)
        counted = float(sums[0, 0, 1, 1]) / (500 * 3.7 / 1000)
        counts[depth] = depth - round(counted)
        assert counted == pytest.approx(round(counted), abs=1e-3)
    assert set(counts.values()) == {1, 2}


def test_what_itk_gave_for_a_single_bright_voxel():
    """21 voxels of 1.3 mm, 30100 above the threshold, each the only one on the axis: 39 = 30.1 x 1.3, but the first."""
    for place, expected in ((0, 0), (1, 39), (5, 39), (19, 39), (20, 39)):
        hu = torch.full((21, 21, 21), -100)
        hu[10, place, 10] = 30000
        ct = grid(hu, (1.3, 1.3, 1.3))
        camera = itk_camera(ct, shape=(41, 41))
        narrow = replace(camera, pixel_mm=camera.pixel_mm * 41 / 512)
        assert siddon_jacobs(ct, narrow)[0, 0, 20, 20] == expected


def test_the_source_is_where_itk_has_it_to_the_last_bit():
    """As its Euler3DTransform gave it, version 5.4: a round number it is not."""
    assert source_mm((512, 512, 133), (0.703125, 0.703125, 2.5), 1) == -1119.9999999999998
    assert source_mm((250, 250, 148), (2.0, 2.0, 2.0), 1) == -1050.0


@pytest.mark.parametrize(
    ("shape", "spacing_mm", "axis", "skips", "one_on"),
    [
        ((250, 250, 148), 2.0, 1, False, True),
        ((230, 230, 125), 2.0, 1, False, False),
        ((64, 64, 79), 4.171872, 0, True, False),
    ],
)
def test_where_rounding_has_the_tool_start(shape, spacing_mm, axis, skips, one_on):
    """As found by comparing with ITK's images of real CTs."""
    source = source_mm(shape, (spacing_mm,) * 3, axis)
    found = entry(source, shape[axis], spacing_mm, rises=axis == 1)
    assert found.one_on == one_on
    assert found.skip_first == skips or axis == 1


def test_steps_in_single_precision_stretch_the_grid():
    """Each step is the nearest multiple of 2^-23 ways, where ways lie between 1 and 2."""
    found = entry(-1120.0, 512, 0.703125, rises=True)
    step = round(0.703125e-3 * 2**23) / 2**23 * 1000.0
    assert (found.high_mm - found.low_mm) / 512 == pytest.approx(step, rel=1e-9)
    assert found.high_mm - found.low_mm != pytest.approx(360.0, rel=1e-6)


def test_grey_levels_are_cut_not_rounded():
    ramp = torch.arange(82.0).view(1, 1, 1, 82)
    factor = 255 / 81
    assert grey_levels(ramp).flatten().tolist() == [math.floor(value * factor) for value in range(82)]
    assert grey_levels(ramp + 5).flatten()[[0, -1]].tolist() == [0, 255]
    assert grey_levels(torch.zeros(1, 1, 2, 2)).unique().tolist() == [0]
    both = torch.cat([ramp, 7 * ramp])
    assert torch.equal(grey_levels(both)[0], grey_levels(ramp)[0])


def test_whole_numbers_are_shorts_cut_towards_zero():
    assert whole(torch.tensor([0.999, 1.0, 41.9999, 1e6, -0.5])).tolist() == [0, 1, 41, 32767, 0]


def test_what_is_not_above_the_threshold_counts_for_nothing():
    ct = grid(torch.tensor([-1000.0, -100.0, -99.9, -99.0, 0.0, 60.7]).view(6, 1, 1), (1.0, 1.0, 1.0))
    assert above(ct).values.flatten().tolist() == [0, 0, 1, 1, 100, 160]
    with pytest.raises(VolumeError, match="mode itk needs a volume in 'hu'"):
        above(Volume(ct.values, ct.affine, "label"))


def test_the_camera_stands_as_the_tool_does():
    ct = speckled()
    ap, lateral = itk_camera(ct), itk_camera(ct, "lateral")
    middle = ct.to_world((torch.tensor(ct.shape).double() - 1) / 2)
    assert view_names(ap) == ["ap"] and view_names(lateral) == ["lateral"]
    for camera in (ap, lateral):
        assert camera.shape == (512, 512)
        torch.testing.assert_close(camera.isocentre[0], middle)
        assert float((camera.source - middle).norm()) == pytest.approx(1300.0)
        to_detector_mm = float((camera.detector_centre - camera.source).norm())
        assert camera.pixel_mm[0].tolist() == pytest.approx([PIXEL_MM * to_detector_mm / 1000.0] * 2)
    assert ap.image_right[0].tolist() == [-1, 0, 0] and ap.image_down[0].tolist() == [0, 0, -1]
    assert lateral.image_right[0].tolist() == [0, -1, 0]
    assert lateral.source[0, 0] < middle[0] - 1000
    assert itk_camera(ct, shape=(128, 64)).size_mm[0, 0] == pytest.approx(float(ap.size_mm[0, 0]))
    with pytest.raises(UsageError, match="mode itk has the views ap and lateral, found 'pa'; add --view ap"):
        itk_camera(ct, "pa")


def test_directions_are_ignored_as_the_tool_ignores_them():
    """The same numbers under other directions give the same image, seen from where the tool really stands."""
    lps, ras = speckled(), grid(speckled().values[0], (5.3, 7.1, 11.9), (1.0, 1.0, 1.0))
    images = [siddon_jacobs(ct, itk_camera(ct, shape=(32, 32))) for ct in (lps, ras)]
    assert torch.equal(*images) and images[0].max() > 20
    assert view_names(itk_camera(ras)) == ["pa"]


def test_a_ct_of_other_directions_is_warned_of(nerp, caplog, tmp_path):
    for name, directions in (("lps", LPS), ("ras", (1.0, 1.0, 1.0))):
        ct = tmp_path / f"{name}.nii.gz"
        write_volume(ct, grid(speckled((40, 36, 34)).values[0], (5.3, 7.1, 11.9), directions))
        caplog.clear()
        code, _, _ = nerp("render", ct, "--mode", "itk", "--view", "ap", "-o", tmp_path / name)
        assert code == 0
        said = [
            one.message for one in caplog.records if "its axes run towards RAS, and ITK's tool takes" in one.message
        ]
        assert len(said) == (name == "ras")
    assert (tmp_path / "lps" / "image.png").read_bytes() == (tmp_path / "ras" / "image.png").read_bytes()


def test_a_view_that_the_tool_has_not_is_refused_before_anything_is_read(nerp, tmp_path):
    code, _, said = nerp("render", tmp_path / "none.nii.gz", "--mode", "itk", "-o", tmp_path / "out")
    assert code != 0 and "mode itk has the views ap and lateral, found 'pa'; add --view ap" in said


def test_pairs_of_mode_itk_replay_and_their_masks_are_of_the_same_rays(nerp, chests, tmp_path):
    ct, labels = chests
    stated = ["--mode", "itk", "--view", "lateral", "--shape", "48", "--mask", "10,11", "--rule", "any"]
    out = tmp_path / "pairs"
    code, _, said = nerp("synthesize", "--config", "drr-rate", "--ct", ct, "--labels", labels, *stated, "-o", out)
    assert code == 0, said
    code, told, _ = nerp("replay", out / "metadata.jsonl", "--ct", ct, "--labels", labels, "-o", tmp_path / "again")
    assert code == 0 and "identical" in told
    volume, label_volume = chest()
    camera = itk_camera(volume, "lateral", shape=(48, 48))
    masks = [
        Synthesiser(volume, label_volume, settings=changed(mode=mode, rule=None, view="lateral")).pair(camera).mask
        for mode in ("itk", "drr")
    ]
    assert np.array_equal(*masks) and masks[0].any()


def test_the_record_tells_what_was_done(tmp_path):
    ct, labels = chest()
    pair = Synthesiser(ct, labels, settings=changed(mode="itk", view="ap")).pair(itk_camera(ct, shape=(40, 40)))
    told = {"name": "itk", "threshold_hu": -100.0, "source_isocentre_mm": 1000.0, "rounding": "truncated"}
    assert pair.record.display == told and pair.record.mode == "itk"
    assert pair.raw.dtype == np.float32 and np.array_equal(pair.raw, np.trunc(pair.raw))
    assert pair.image.max() == 255 and pair.image.min() == 0


def test_objects_count_as_water_in_air():
    ct = speckled()
    renderer = SiddonJacobsRenderer(Scene(ct, torch.device("cpu"), changed(mode="itk")))
    camera = itk_camera(ct, shape=(9, 9))
    lead = ObjectImages(torch.zeros(1, 1, 9, 9), ("water",), torch.full((1, 1, 9, 9), 5.0))
    more = renderer.render(camera, objects=lead) - renderer.render(camera)
    assert float(more[0, 0, 4, 4]) == pytest.approx(1000 * 50 / 1000, abs=1.5)  # 50 mm, 1000 HU more than air


@pytest.mark.parametrize("name", ["drr-rate", "drr-rate-chest"])
def test_presets_load_by_name_and_state_only_differences(name):
    config, defaults = (flatten(read_settings(SynthesisConfig, source, [])) for source in (name, None))
    stated = dotted(reading_module.read_layer(reading_module.preset_path(name))[1])
    assert {key for key in stated if config[key] == defaults[key]} == set()
    settings = read_settings(SynthesisConfig, name, []).set_settings()
    assert (settings.mode, settings.shape, settings.views) == ("itk" if name == "drr-rate" else "drr", (512, 512), 1)


ITK = itk_or_none()
with_itk = pytest.mark.skipif(ITK is None, reason="itk-twoprojectionregistration is missing: pip install nerp[itk]")


def agreement(ct: Volume, view: str) -> float:
    """Part of the pixels within one grey level of ITK's own."""
    _, theirs = drr_by_itk(ITK, ct.values[0].numpy(), ct.spacing_mm, view)
    ours = grey_levels(siddon_jacobs(ct, itk_camera(ct, view)))[0, 0].numpy()
    return float((np.abs(ours - theirs.astype(float)) <= 1).mean())


@with_itk
@pytest.mark.parametrize("view", ["ap", "lateral"])
@pytest.mark.parametrize("spacing_mm", [(5.3, 7.1, 11.9), (8.0, 8.0, 8.0), (4.171872, 4.171872, 3.987342)])
def test_equals_itk_on_a_small_volume(view, spacing_mm):
    assert agreement(speckled((40, 38, 30), spacing_mm), view) >= 0.999


@with_itk
@pytest.mark.parametrize("view", ["ap", "lateral"])
@pytest.mark.parametrize("name", ["lidc-idri-0314/ct_2mm.nii.gz", "slicer-ctchest4/CTChest4.nrrd", "cip-64/ct-64.nrrd"])
def test_equals_itk_on_real_cts(real_data, caplog, view, name):
    with caplog.at_level(logging.ERROR):
        assert agreement(read_volume(real_data / "ct" / name), view) >= 0.999
