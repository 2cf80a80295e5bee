"""What the networks are built with."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from nerp.settings import Settings, choice, number


@dataclass(frozen=True)
class MapperSettings(Settings):
    """Of `Mapper`.

    Args:
        arch:               MONAI's V-Net, or a light U-Net for CPU.
        channels:           width of the `unet`'s first level; the V-Net's is fixed.
        opacity_max_per_mm: bound of the opacity, 1/mm: 1 % in 360/512 mm; with `per_sample` a bare alpha.
        residual:           ours, not the paper's: the network learns a change of the windowed CT.
    """

    SECTION: ClassVar[str] = "mapper"

    arch: str = choice("vnet", "unet")
    channels: int = number(8, 2, 256)
    opacity_max_per_mm: float = number(0.0143, 1e-6, 1.0)
    residual: bool = True


@dataclass(frozen=True)
class ViewerSettings(Settings):
    """Of `Viewer`.

    Args:
        n_samples: along each ray.
        shape:     rows, columns of every image.
        opacity:   `extinction` per mm, or `per_sample`, the original bare alpha of each sample.
    """

    SECTION: ClassVar[str] = "viewer"

    n_samples: int = number(512, 2, 8192)
    shape: tuple[int, int] = number((256, 256), 8, 4096)
    opacity: str = choice("extinction", "per_sample")


@dataclass(frozen=True)
class DiscriminatorSettings(Settings):
    """Of `Discriminator`, and of what it is shown.

    Args:
        encoder:  never pretrained.
        depth:    halvings of the image.
        channels: width of the decoder's last level, doubled at each level below.
        zoom:     random zoom of what it sees, real and rendered alike.
        shift:    random shift likewise, as a fraction of the image.
    """

    SECTION: ClassVar[str] = "discriminator"

    encoder: str = choice("resnet18", "resnet34")
    depth: int = number(5, 3, 5)
    channels: int = number(16, 4, 256)
    zoom: float = number(0.1, 0.0, 0.5)
    shift: float = number(0.05, 0.0, 0.5)
