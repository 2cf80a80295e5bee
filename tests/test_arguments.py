"""Arrays, lists and single numbers where tensors and sequences are meant; anything else refused in one line."""

import numpy as np
import pytest
import torch

from nerp.arguments import image_shape, label_values, tensor_of
from nerp.camera import Camera, chest_camera
from nerp.errors import GeometryError, NerpError, UsageError
from nerp.projection import march, project_labels, siddon
from nerp.volume import Fields, Volume

AFFINE = np.diag([5.0, 5.0, 5.0, 1.0])
VALUES = np.random.default_rng(0).random((1, 6, 7, 8), dtype=np.float32)


@pytest.fixture
def camera() -> Camera:
    return chest_camera(Volume(VALUES, AFFINE), shape=8)


def test_arrays_and_lists_give_what_tensors_give(camera):
    expected = siddon(Volume(torch.from_numpy(VALUES), torch.from_numpy(AFFINE)), camera)
    assert torch.equal(siddon(Volume(VALUES, AFFINE.tolist()), camera), expected)
    parts = {name: getattr(camera, name).numpy() for name in ("source", "detector_centre", "image_right", "image_down")}
    other = Camera(**parts, shape=[8, 8], pixel_mm=camera.pixel_mm.tolist())
    assert torch.equal(siddon(Volume(VALUES, AFFINE), other), expected)
    light = march(Fields(VALUES, VALUES * 0.01, AFFINE), camera, n_samples=8)
    assert light.shape == (1, 1, 8, 8) and light.dtype == torch.float32


def test_whole_numbers_become_float32():
    assert tensor_of("x", np.arange(3)).dtype == torch.float32
    assert tensor_of("x", torch.arange(3)).dtype == torch.float32
    assert tensor_of("x", [0.5, 1]).dtype == torch.float64
    assert tensor_of("x", np.arange(3, dtype=">f4")).tolist() == [0, 1, 2]


@pytest.mark.parametrize("labels", [10, np.int64(10), [10], (10,), np.array([10]), torch.tensor([10]), [10.0], {10}])
def test_labels_of_any_kind(camera, labels):
    volume = Volume((VALUES > 0.5) * 10, AFFINE, "label")
    assert torch.equal(project_labels(volume, camera, labels), project_labels(volume, camera, [10]))


@pytest.mark.parametrize(
    ("labels", "message"),
    [
        (["lung"], "label 'lung' is no integer of 32 bits; .* select_labels"),
        ("lung", "label 'lung' is no integer"),
        ([10.7], "label 10.7 is no integer"),
        ([2**31], "label 2147483648 is no integer"),
        ([float("nan")], "label nan is no integer"),
        ([], "no labels are asked for"),
        ([None], "label None is no integer"),
        (None, "label None is no integer"),
    ],
)
def test_labels_that_cannot_be_are_refused(labels, message):
    with pytest.raises(UsageError, match=message):
        label_values(labels)


@pytest.mark.parametrize("shape", [64, (64, 64), [64, 64], np.array([64, 64]), torch.Size([64, 64]), (64.0, 64)])
def test_shapes_of_any_kind(shape):
    assert image_shape(shape) == (64, 64)


@pytest.mark.parametrize("shape", [0, (0, 4), (4,), (4, 4, 4), "64", None, (4.5, 4), 4.5])
def test_shapes_that_cannot_be_are_refused(shape):
    with pytest.raises(GeometryError, match=r"camera shape is .*; expected \(H, W\)"):
        image_shape(shape)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: Volume("ct.nii", AFFINE), "volume values is str"),
        (lambda: Volume([[1], [1, 2]], AFFINE), "volume values is list"),
        (lambda: Volume(VALUES[0], AFFINE), r"volume values have shape \(6, 7, 8\)"),
        (lambda: Volume(VALUES, "identity"), "affine is str"),
        (lambda: Volume(VALUES, np.eye(3)), r"affine has shape \(3, 3\)"),
        (lambda: Fields(VALUES, None, AFFINE), "opacity is NoneType"),
        (lambda: Camera([0, 0, 0], [0, 1, 0], [1, 0, 0], [0, 0, 1], 4, 1.0), "camera vectors have shapes"),
        (lambda: Camera([[0, 0, 0]], [[0, 1, 0]], [[1, 0, 0]], [[0, 0, 1]], 4, "x"), "camera pixel_mm is str"),
    ],
)
def test_what_is_no_number_is_refused_by_name(make, message):
    with pytest.raises(NerpError, match=message):
        make()
