"""The network that learns which findings a radiograph shows."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

import torch
from torch import Tensor, nn

from nerp.errors import CheckpointError, GeometryError, UsageError
from nerp.files import replacing
from nerp.networks.segmenter import standardise

CLASSIFIERS = ("densenet121", "small")
KIND = "nerp classifier"
LAST_LAYER = "class_layers.out"
"""Of the DenseNet: as many outputs as findings, so that it is never taken from a file."""


class Classifier(nn.Module):
    """Tells findings in one-channel images, which it standardises each by itself, as the segmenter does.

    `densenet121` is the field's usual network, with batch normalisation: in evaluation mode it carries the statistics
    of the images that it learned from. `small` is four convolutions with group normalisation, for trials on a CPU.

    Args:
        network:  one of `CLASSIFIERS`; starts from random weights.
        findings: names, one output each.
        side:     working resolution, pixels.

    Raises:
        UsageError: a network that is not listed.

    Source: DenseNet, Huang 2017; CheXNet, Rajpurkar 2017, arXiv:1711.05225; built by MONAI.
    """

    def __init__(self, network: str, findings: Sequence[str], side: int = 128):
        super().__init__()
        if network not in CLASSIFIERS:
            raise UsageError(f"classifier network is {network!r}; expected one of {', '.join(CLASSIFIERS)}")
        self.kind, self.findings, self.side = network, tuple(findings), side
        self.network = _densenet(len(self.findings)) if network == "densenet121" else _small(len(self.findings))

    def forward(self, images: Tensor) -> Tensor:
        """Logits of each finding.

        Args:
            images: (B, 1, H, W) of any scale, sides of 32 or more.

        Returns:
            (B, K) float32. Differentiable in the weights and in the images.

        Raises:
            GeometryError: wrong shape.
        """
        if images.ndim != 4 or images.shape[1] != 1 or min(images.shape[2:]) < 32:
            raise GeometryError(f"images have shape {tuple(images.shape)}; expected (B, 1, H, W), sides of 32 or more")
        return self.network(standardise(images)).float()

    @property
    def device(self) -> torch.device:
        """Where the weights are."""
        return next(self.parameters()).device


def _densenet(n_findings: int) -> nn.Module:
    from monai.networks.nets import DenseNet121

    return DenseNet121(spatial_dims=2, in_channels=1, out_channels=n_findings)


def _small(n_findings: int) -> nn.Module:
    layers: list[nn.Module] = []
    for before, after in ((1, 16), (16, 32), (32, 64), (64, 96)):
        convolution = nn.Conv2d(before, after, 3, padding=1, bias=False)
        layers += [convolution, nn.GroupNorm(after // 8, after), nn.ReLU(), nn.MaxPool2d(2)]
    return nn.Sequential(*layers, nn.AdaptiveAvgPool2d(4), nn.Flatten(), nn.Linear(96 * 16, n_findings))


def save_classifier(path: str | Path, network: Classifier) -> None:
    """Write the weights as safetensors, with network, findings and side in its metadata; never half-done.

    Args:
        path:    the file, by custom classifier.safetensors.
        network: on any device.
    """
    from safetensors.torch import save_file

    weights = {name: value.detach().cpu().contiguous() for name, value in network.network.state_dict().items()}
    header = {"kind": KIND, "network": network.kind, "findings": list(network.findings), "side": network.side}
    with replacing(path) as temporary:
        save_file(weights, temporary, {"header": json.dumps(header)})


def fill(network: Classifier, path: str | Path) -> None:
    """Begin with weights of a file: an earlier classifier's, or a DenseNet-121's under MONAI's or torchvision's names.

    The last layer is taken from none. A first layer for three channels is summed over them, which is what it gives for
    a grey image.

    Args:
        network: changed in place.
        path:    a safetensors file.

    Raises:
        CheckpointError: no such file, or it lacks a tensor of the network, or holds one of another shape.
    """
    asked, given = network.network.state_dict(), _tensors(path)
    last = f"{LAST_LAYER}." if network.kind == "densenet121" else f"{len(list(network.network.children())) - 1}."
    for name in [name for name in asked if not name.startswith(last) and not name.endswith("num_batches_tracked")]:
        found = given.get(name, given.get(name.replace(".layers.", ".")))
        if found is not None and found.ndim == 4 and found.shape[1] == 3 and asked[name].shape[1] == 1:
            found = found.sum(1, keepdim=True)
        if found is None or found.shape != asked[name].shape:
            shape = "nothing" if found is None else f"{tuple(found.shape)}"
            raise CheckpointError(
                f"{path} holds {shape} as {name}; expected {tuple(asked[name].shape)}, of a network {network.kind}"
            )
        asked[name] = found.to(asked[name].dtype)
    network.network.load_state_dict(asked)


def _tensors(path: str | Path) -> dict[str, Tensor]:
    from safetensors import SafetensorError
    from safetensors.torch import load_file

    try:
        return load_file(path)
    except (OSError, SafetensorError) as error:
        reason = " ".join(str(error).split())
        raise CheckpointError(f"{path} cannot be read ({reason}); expected weights as safetensors") from error
