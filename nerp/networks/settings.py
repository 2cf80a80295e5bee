"""What the networks are built with."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from nerp.errors import ConfigError
from nerp.settings import Settings, choice, limits, number


@dataclass(frozen=True)
class MapperSettings(Settings):
    """Of `Mapper`.

    Args:
        arch:               MONAI's V-Net, or a light U-Net for CPU.
        channels:           width of the `unet`'s first level; the V-Net's is fixed.
        opacity_max_per_mm: bound of the opacity, 1/mm: 1 % in 360/512 mm; with `per_sample` a bare alpha.
        residual:           ours, not the paper's: the network learns a change of the windowed CT.
        checkpointing:      the V-Net's blocks are computed again for the gradient: less memory, more work.
    """

    SECTION: ClassVar[str] = "mapper"

    arch: str = choice("vnet", "unet")
    channels: int = number(8, 2, 256)
    opacity_max_per_mm: float = number(0.0143, 1e-6, 1.0)
    residual: bool = True
    checkpointing: bool = False


@dataclass(frozen=True)
class ViewerSettings(Settings):
    """Of `Viewer`.

    Args:
        n_samples: along each ray.
        shape:     rows, columns of every image.
        opacity:   `extinction` per mm, or `per_sample`, the original bare alpha of each sample.
        fine_size: of a trained run's images: voxels along the CT's longest side, a multiple of 16, of a finer grid that
                   takes the learned change and keeps the CT's own resolution; none: the grid of the training.
    """

    SECTION: ClassVar[str] = "viewer"

    n_samples: int = number(512, 2, 8192)
    shape: tuple[int, int] = number((256, 256), 8, 4096)
    opacity: str = choice("extinction", "per_sample")
    fine_size: int | None = number(None, 16, 1024)

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.fine_size is not None and self.fine_size % 16:
            raise ConfigError(f"viewer.fine_size is {self.fine_size}; expected a multiple of 16, such as 256")


@dataclass(frozen=True)
class DiscriminatorSettings(Settings):
    """Of the `Discriminator`, of one of the same kind for patches, and of what they are shown.

    Args:
        encoder:          never pretrained.
        depth:            halvings of the image.
        channels:         width of the decoder's last level, doubled at each level below.
        zoom:             random zoom of what it sees, real and rendered alike.
        shift:            random shift likewise, as a fraction of the image.
        patches:          of each image, at random places, for a discriminator of their own; 0 for none.
        patch_extent:     smallest and largest side of a patch, as a fraction of the image's shorter side.
        augment:          random brightness, contrast, shift and cut-out of whole images and patches, real and
                          rendered alike.
        objects:          laid on rendered images before they are judged, as at the bedside or where patients stand.
        objects_fraction: of the rendered images that get objects.
        markers:          fraction of the rendered images that get a lead letter.
        borders:          fraction of the rendered images that get the collimator's shadow.
    """

    SECTION: ClassVar[str] = "discriminator"

    encoder: str = choice("resnet18", "resnet34")
    depth: int = number(5, 3, 5)
    channels: int = number(16, 4, 256)
    zoom: float = number(0.1, 0.0, 0.5)
    shift: float = number(0.05, 0.0, 0.5)
    patches: int = number(0, 0, 64)
    patch_extent: tuple[float, float] = limits((0.25, 0.5), 0.05, 1.0)
    augment: str = choice("none", "light", "strong")
    objects: str = choice("none", "standing", "bedside")
    objects_fraction: float = number(0.5, 0.0, 1.0)
    markers: float = number(0.0, 0.0, 1.0)
    borders: float = number(0.0, 0.0, 1.0)
