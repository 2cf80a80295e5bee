"""The network that learns to outline lungs, or other structures, in a radiograph."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from nerp.errors import CheckpointError, GeometryError, UsageError
from nerp.files import replacing
from nerp.networks.adaptation import replace_batch_norm

ENCODERS = ("resnet18", "resnet34", "tu-resnet10t")
"""Encoders that train from nothing within minutes on a few CPU cores; none needs a download."""


class Segmenter(nn.Module):
    """A U-Net for one-channel images, started from random weights, that standardises its own input.

    Each image is brought to mean 0 and deviation 1 on its own, inside the network, so that rendered and real
    radiographs, training and testing, all pass the very same normalisation. Group normalisation keeps nothing of the
    training images' statistics, which matters where rendered images are learned and real ones are met.

    Args:
        encoder: one of `ENCODERS`.
        side:    working resolution, pixels, a multiple of 32: what it is trained at and what `segment` works at.
        structures: names, where it outlines several, a channel each, which may overlap; none of one structure.

    Raises:
        UsageError: an encoder that is not listed.

    Source: U-Net, Ronneberger 2015; group normalisation, Wu and He 2018; built by segmentation_models_pytorch.
    """

    def __init__(self, encoder: str = "resnet18", side: int = 128, structures: Sequence[str] = ()):
        import segmentation_models_pytorch

        super().__init__()
        if encoder not in ENCODERS:
            raise UsageError(f"segmenter encoder is {encoder!r}; expected one of {', '.join(ENCODERS)}")
        self.encoder, self.side, self.structures = encoder, side, tuple(structures)
        channels = (128, 64, 48, 32, 16)
        unet = segmentation_models_pytorch.Unet(
            encoder, encoder_weights=None, in_channels=1, classes=len(self.structures) or 1, decoder_channels=channels
        )
        self.unet = replace_batch_norm(unet).to(memory_format=torch.channels_last)

    def forward(self, images: Tensor) -> Tensor:
        """Logits of each structure at each pixel.

        Args:
            images: (B, 1, H, W) of any scale; H and W multiples of 32.

        Returns:
            (B, K, H, W) float32, a channel a structure. Differentiable in the weights and in the images.

        Raises:
            GeometryError: wrong shape, or sides that do not fit.
        """
        if images.ndim != 4 or images.shape[1] != 1 or images.shape[2] % 32 or images.shape[3] % 32:
            raise GeometryError(
                f"images have shape {tuple(images.shape)}; expected (B, 1, H, W), H and W multiples of 32"
            )
        return self.unet(standardise(images).contiguous(memory_format=torch.channels_last))

    @property
    def device(self) -> torch.device:
        """Where the weights are."""
        return next(self.parameters()).device

    @torch.no_grad()
    def segment(self, images: Tensor) -> Tensor:
        """Probability of each structure at each pixel, (B, K, H, W) in 0..1, of images (B, 1, H, W) of any size.

        The images are squared to the working side, and the logits brought back to the images' own shape. Images may be
        on any device; the answer is on the network's.
        """
        logits = self(resize(images.to(self.device), (self.side, self.side)))
        return F.interpolate(logits, size=images.shape[2:], mode="bilinear", align_corners=False).sigmoid()


def resize(images: Tensor, shape: tuple[int, int]) -> Tensor:
    """Images at another size, bilinear, antialiased where it shrinks.

    Args:
        images: (B, 1, H, W).
        shape:  rows and columns requested, pixels.

    Returns:
        (B, 1, *shape). Differentiable.
    """
    return F.interpolate(images, size=shape, mode="bilinear", antialias=True, align_corners=False)


def standardise(images: Tensor) -> Tensor:
    """Each image of (B, 1, H, W) with mean 0 and deviation 1; a blank image becomes 0, never NaN. Differentiable."""
    mean = images.mean(dim=(2, 3), keepdim=True)
    deviation = images.std(dim=(2, 3), keepdim=True, correction=0)
    return (images - mean) / (deviation + 1e-3)


KIND = "nerp segmenter"


def save_segmenter(path: str | Path, network: Segmenter) -> None:
    """Write the weights as safetensors, with encoder, side and any structures in its metadata; never half-done.

    Equal weights make equal bytes: the metadata is one text, since safetensors writes several in any order.

    Args:
        path:    the file, by custom segmenter.safetensors.
        network: on any device.
    """
    from safetensors.torch import save_file

    weights = {name: value.detach().cpu().contiguous() for name, value in network.state_dict().items()}
    header: dict[str, Any] = {"kind": KIND, "encoder": network.encoder, "side": network.side}
    if network.structures:
        header["structures"] = list(network.structures)
    with replacing(path) as temporary:
        save_file(weights, temporary, {"header": json.dumps(header)})


def load_segmenter(path: str | Path) -> Segmenter:
    """The segmenter of a weights file, on the CPU, in evaluation mode.

    Raises:
        CheckpointError: the file is missing, is no safetensors file, is no segmenter's, or another version's.
    """
    from safetensors import SafetensorError, safe_open

    try:
        with safe_open(path, framework="pt") as file:
            metadata = file.metadata() or {}
            weights = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
    except (OSError, SafetensorError) as error:
        raise CheckpointError(f"{path} cannot be read ({error}); expected a segmenter.safetensors file") from error
    header = _header(metadata)
    if header.get("kind") != KIND:
        raise CheckpointError(f"{path} holds no segmenter; expected the segmenter.safetensors that training writes")
    try:
        network = Segmenter(header["encoder"], int(header["side"]), header.get("structures", ()))
        network.load_state_dict(weights)
    except (KeyError, TypeError, ValueError, RuntimeError, UsageError) as error:
        reason = " ".join(str(error).split())[:120]
        raise CheckpointError(f"{path} does not fit this version's segmenter ({reason}); train it again") from error
    return network.eval()


def _header(metadata: dict[str, str]) -> dict[str, Any]:
    """What a weights file says of itself: one text, or a text each in the version before."""
    try:
        header = json.loads(metadata["header"]) if "header" in metadata else metadata
    except ValueError:
        return {}
    return header if isinstance(header, dict) else {}
