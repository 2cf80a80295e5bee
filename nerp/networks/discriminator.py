"""The discriminator: a U-Net that tells real from rendered at every pixel and for the whole image."""

from __future__ import annotations

from torch import Tensor, nn
from torch.nn.utils.parametrizations import spectral_norm

from nerp.errors import ConfigError, GeometryError
from nerp.networks.adaptation import replace_batch_norm

DISCRIMINATOR_ENCODERS = ("resnet18", "resnet34")
DEPTHS = (3, 4, 5)


class Discriminator(nn.Module):
    """Tells real radiographs from rendered ones.

    Args:
        encoder:  `resnet18` or `resnet34`; never pretrained, nothing is downloaded.
        depth:    3 to 5 halvings of the image.
        channels: width of the decoder's last level, doubled at each level below it.

    Every convolution and the last linear layer are spectrally normalised; batch normalisations are exchanged for group
    normalisations, so that an image's logits do not depend on what stands beside it in the batch.

    Source: Schoenfeld et al. 2020 (U-Net discriminator); Miyato et al. 2018 (spectral normalisation).

    Raises:
        ConfigError: no such encoder or depth.
    """

    def __init__(self, encoder: str = "resnet18", depth: int = 5, channels: int = 16):
        super().__init__()
        if encoder not in DISCRIMINATOR_ENCODERS or depth not in DEPTHS:
            known = " or ".join(DISCRIMINATOR_ENCODERS)
            raise ConfigError(f"discriminator has encoder '{encoder}', depth {depth}; expected {known}, depth 3 to 5")
        self.depth = depth
        self.network = replace_batch_norm(_unet(encoder, depth, channels))
        for module in list(self.network.modules()):
            if isinstance(module, (nn.Conv2d, nn.Linear)):
                spectral_norm(module)

    def forward(self, images: Tensor) -> tuple[Tensor, Tensor]:
        """How real display images look.

        Args:
            images: (B, 1, H, W) in 0 to 1; sides multiples of 2**depth.

        Returns:
            logits of being real, float32: per pixel (B, 1, H, W), and of the whole image (B, 1).
            Differentiable in the weights and in the images.

        Raises:
            GeometryError: wrong shape, or sides that do not fit.
        """
        found, multiple = tuple(images.shape), 2**self.depth
        if images.ndim != 4 or found[1] != 1 or any(side % multiple for side in found[2:]):
            raise GeometryError(
                f"discriminator got images of shape {found}; expected (B, 1, H, W) with sides multiples of {multiple}:"
                " change viewer.shape or discriminator.depth"
            )
        per_pixel, whole = self.network(images * 2.0 - 1.0)
        return per_pixel.float(), whole.float()


def _unet(encoder: str, depth: int, channels: int) -> nn.Module:
    import segmentation_models_pytorch as smp  # costs seconds

    network = smp.Unet(
        encoder,
        encoder_depth=depth,
        encoder_weights=None,
        decoder_channels=[channels * 2**level for level in reversed(range(depth))],
        in_channels=1,
        aux_params={"classes": 1, "dropout": 0.0},
    )
    for unused in ("layer3", "layer4")[depth - 3 :]:
        setattr(network.encoder, unused, nn.Identity())  # built whatever the depth, but never run
    return network
