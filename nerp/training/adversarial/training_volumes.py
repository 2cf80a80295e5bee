"""CTs as training needs them: windowed, as attenuation, and with the camera that frames the chest."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import lru_cache
from typing import Protocol, TypeVar

import torch
from torch import Tensor

from nerp.camera import Camera, ViewSettings
from nerp.data.ct import window
from nerp.volume import Volume, attenuation

Item = TypeVar("Item", covariant=True)


class Items(Protocol[Item]):
    """What has so many items and gives each by its index, from 0; read when asked for, as a rule."""

    def __len__(self) -> int: ...

    def __getitem__(self, index: int, /) -> Item: ...


@dataclass(frozen=True)
class TrainingVolume:
    """A CT on the mapper's grid.

    Args:
        windowed_ct: (1, 1, D, H, W), 0 to 1.
        attenuation: the same grid, 1/mm.
        camera:      a batch of one, that frames the chest.
    """

    windowed_ct: Tensor
    attenuation: Volume
    camera: Camera

    def to(self, device: torch.device) -> TrainingVolume:
        """The same volume with its tensors on `device`; the camera stays where it is."""
        return replace(self, windowed_ct=self.windowed_ct.to(device), attenuation=self.attenuation.to(device))


class TrainingVolumes:
    """Training volumes made of HU volumes when asked for, the last used ones kept in memory.

    Args:
        volumes:   HU, each on the mapper's grid.
        settings:  view and angle of the base camera.
        shape:     (H, W) of its images.
        window_hu: HU carried to 0 and to 1.
        n_kept:    how many stay in memory.
    """

    def __init__(
        self,
        volumes: Items[Volume],
        settings: ViewSettings,
        *,
        shape: tuple[int, int],
        window_hu: tuple[float, float],
        n_kept: int,
    ):
        self._volumes, self._settings, self._shape, self._window_hu = volumes, settings, shape, window_hu
        self._kept = lru_cache(maxsize=n_kept)(self._make)

    def __len__(self) -> int:
        return len(self._volumes)

    def __getitem__(self, index: int) -> TrainingVolume:
        return self._kept(index)

    def _make(self, index: int) -> TrainingVolume:
        volume = self._volumes[index]
        windowed_ct = window(volume.values, self._window_hu)[None]
        camera = self._settings.base_camera(volume, self._shape)
        return TrainingVolume(windowed_ct, attenuation(volume), camera)
