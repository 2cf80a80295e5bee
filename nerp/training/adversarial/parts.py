"""What a training is put together from: networks, data, and how it learns."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from torch import Tensor

from nerp.networks.discriminator import Discriminator
from nerp.networks.mapper import Mapper
from nerp.networks.settings import DiscriminatorSettings
from nerp.networks.viewer import Viewer
from nerp.training.adversarial.training_volumes import Items, TrainingVolume
from nerp.training.settings import LossSettings, OptimizerSettings, TrainerSettings

if TYPE_CHECKING:
    from nerp.camera import CameraDistribution


@dataclass(frozen=True)
class Networks:
    """The generator in its two parts, and what judges it.

    Args:
        mapper:              from a windowed CT to fields.
        viewer:              from fields and a camera to radiographs.
        discriminator:       from radiographs to logits of being real.
        patch_discriminator: from patches of them to such logits; None where no patches are judged.
    """

    mapper: Mapper
    viewer: Viewer
    discriminator: Discriminator
    patch_discriminator: Discriminator | None = None


@dataclass(frozen=True)
class Sources:
    """Unpaired data, wherever it comes from, and the cameras to look with.

    Args:
        volumes:          CTs on the mapper's grid, each with its base camera.
        radiographs:      real display images, each (1, H, W) in 0 to 1.
        cameras:          what is drawn around a volume's base camera.
        radiographs_name: what the radiographs are called in pictures.
    """

    volumes: Items[TrainingVolume]
    radiographs: Items[Tensor]
    cameras: CameraDistribution
    radiographs_name: str = "real"


@dataclass(frozen=True)
class Recipe:
    """How to learn: the weights of the terms, the rates, the numbers of a step, and what is judged.

    Args:
        loss:      weights of the terms.
        optimizer: of all networks.
        trainer:   counts of a step, memory of the average.
        shown:     how images are shown to the discriminators.
    """

    loss: LossSettings
    optimizer: OptimizerSettings
    trainer: TrainerSettings
    shown: DiscriminatorSettings = field(default_factory=DiscriminatorSettings)
