"""The segmenter: what it standardises, what it answers, and its weights on disk."""

import pytest
import torch

from nerp.errors import CheckpointError, GeometryError, UsageError
from nerp.networks.segmenter import KIND, Segmenter, load_segmenter, save_segmenter, standardise


def test_a_segmenter_sees_through_brightness_and_contrast():
    network = Segmenter("tu-resnet10t", 32).eval()
    images = torch.rand(2, 1, 32, 32)
    with torch.no_grad():
        assert torch.allclose(network(images), network(0.5 * images + 0.3), atol=0.02)
        assert torch.allclose(network(images)[:1], network(images[:1]), atol=1e-4)
    assert torch.equal(standardise(torch.ones(1, 1, 4, 4)), torch.zeros(1, 1, 4, 4))


def test_segment_gives_probabilities_of_the_images_own_shape():
    probability = Segmenter("tu-resnet10t", 32).eval().segment(torch.rand(1, 1, 70, 90))
    assert probability.shape == (1, 1, 70, 90)
    assert 0 <= probability.min() <= probability.max() <= 1


def test_weights_come_back_as_they_were(tmp_path):
    network = Segmenter("tu-resnet10t", 64).eval()
    save_segmenter(tmp_path / "segmenter.safetensors", network)
    again = load_segmenter(tmp_path / "segmenter.safetensors")
    assert (again.encoder, again.side) == ("tu-resnet10t", 64)
    images = torch.rand(1, 1, 64, 64)
    with torch.no_grad():
        assert torch.equal(network(images), again(images))
    assert [path.name for path in tmp_path.iterdir()] == ["segmenter.safetensors"]


def test_weights_of_the_version_before_are_read(tmp_path):
    from safetensors.torch import save_file

    network = Segmenter("tu-resnet10t", 64)
    weights = {name: value.contiguous() for name, value in network.state_dict().items()}
    save_file(weights, tmp_path / "a.safetensors", {"kind": KIND, "encoder": "tu-resnet10t", "side": "64"})
    again = load_segmenter(tmp_path / "a.safetensors")
    assert again.side == 64
    assert all(torch.equal(value, weights[name]) for name, value in again.state_dict().items())


def test_weights_that_are_none_are_refused(tmp_path):
    from safetensors.torch import save_file

    with pytest.raises(CheckpointError, match="absent.* cannot be read"):
        load_segmenter(tmp_path / "absent.safetensors")
    for text in ("{", "[]"):
        save_file({"a": torch.zeros(1)}, tmp_path / "header.safetensors", {"header": text})
        with pytest.raises(CheckpointError, match="holds no segmenter"):
            load_segmenter(tmp_path / "header.safetensors")
    (tmp_path / "text").write_text("no weights")
    with pytest.raises(CheckpointError, match="cannot be read"):
        load_segmenter(tmp_path / "text")
    save_file({"a": torch.zeros(1)}, tmp_path / "other.safetensors")
    with pytest.raises(CheckpointError, match="holds no segmenter"):
        load_segmenter(tmp_path / "other.safetensors")
    for change in ({"encoder": "vgg"}, {"side": "x"}, {"side": None}):
        metadata = {"kind": KIND, "encoder": "tu-resnet10t", "side": "32", **change}
        metadata = {key: value for key, value in metadata.items() if value is not None}
        save_file({"a": torch.zeros(1)}, tmp_path / "old.safetensors", metadata)
        with pytest.raises(CheckpointError, match="does not fit this version's segmenter"):
            load_segmenter(tmp_path / "old.safetensors")


def test_a_network_refuses_what_does_not_fit():
    with pytest.raises(UsageError, match="segmenter encoder is 'vgg'"):
        Segmenter("vgg")
    with pytest.raises(GeometryError, match=r"images have shape \(1, 1, 30, 32\)"):
        Segmenter("tu-resnet10t")(torch.zeros(1, 1, 30, 32))
