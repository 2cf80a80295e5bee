"""CTs as training needs them: windowed, as attenuation, and with the camera that frames the chest."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import lru_cache

import torch
from torch import Tensor

from nerp.camera import Camera, ViewSettings
from nerp.data.ct import window
from nerp.volume import Volume, attenuation


@dataclass(frozen=True)
class Patient:
    """One CT on the mapper's grid.

    Args:
        ct01:        (1, 1, D, H, W) windowed to 0..1.
        attenuation: the same grid, 1/mm.
        camera:      a batch of one, that frames the chest.
    """

    ct01: Tensor
    attenuation: Volume
    camera: Camera

    def to(self, device: torch.device) -> Patient:
        """The same patient with its tensors on `device`; the camera stays where it is."""
        return replace(self, ct01=self.ct01.to(device), attenuation=self.attenuation.to(device))


class Patients(Sequence):
    """Patients made of HU volumes when asked for, the last used ones kept in memory.

    Args:
        volumes:   HU, each on the mapper's grid.
        settings:  view and angle of the base camera.
        shape:     (H, W) of its images.
        window_hu: HU carried to 0 and to 1.
        kept:      how many to keep.
    """

    def __init__(
        self,
        volumes: Sequence[Volume],
        settings: ViewSettings,
        *,
        shape: tuple[int, int],
        window_hu: tuple[float, float],
        kept: int,
    ):
        self._volumes, self._settings, self._shape, self._window_hu = volumes, settings, shape, window_hu
        self._kept = lru_cache(maxsize=kept)(self._make)

    def __len__(self) -> int:
        return len(self._volumes)

    def __getitem__(self, index: int) -> Patient:
        return self._kept(index)

    def _make(self, index: int) -> Patient:
        volume = self._volumes[index]
        ct01 = window(volume.values, self._window_hu)[None]
        camera = self._settings.base_camera(volume, self._shape)
        return Patient(ct01, attenuation(volume), camera)
