"""Where rays start and end: perspective cameras in world millimetres."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from nerp.errors import GeometryError


@dataclass(frozen=True)
class Camera:
    """A batch of point sources, each with its flat detector, in world RAS+ mm.

    Args:
        source:          (B, 3) position of the source, mm.
        detector_centre: (B, 3) centre of the detector, mm.
        image_right:     (B, 3) unit direction in which the column index grows.
        image_down:      (B, 3) unit direction in which the row index grows.
        shape:           (H, W) detector pixels.
        pixel_mm:        distance (between rows, between columns), mm.

    Pixel (i, j) is centred at `detector_centre + (j - (W-1)/2) pixel_mm[1] image_right
    + (i - (H-1)/2) pixel_mm[0] image_down`. The pair's handedness is free: a PA film viewed face
    to face is mirrored with respect to the beam.
    """

    source: Tensor
    detector_centre: Tensor
    image_right: Tensor
    image_down: Tensor
    shape: tuple[int, int]
    pixel_mm: tuple[float, float]

    def __post_init__(self):
        parts = (self.source, self.detector_centre, self.image_right, self.image_down)
        shapes = {tuple(part.shape) for part in parts}
        if len(shapes) != 1 or self.source.ndim != 2 or self.source.shape[1] != 3:
            raise GeometryError(f"camera vectors have shapes {sorted(shapes)}; expected all (B, 3) with one B")

    def __len__(self) -> int:
        return self.source.shape[0]

    def __getitem__(self, index) -> Camera:
        """The cameras of `index` (an int or a slice), still as a batch."""
        index = slice(index, index + 1) if isinstance(index, int) else index
        parts = (self.source, self.detector_centre, self.image_right, self.image_down)
        return Camera(*(part[index] for part in parts), self.shape, self.pixel_mm)

    def to(self, *args, **kwargs) -> Camera:
        """The same cameras moved or cast as by `Tensor.to`."""
        parts = (self.source, self.detector_centre, self.image_right, self.image_down)
        return Camera(*(part.to(*args, **kwargs) for part in parts), self.shape, self.pixel_mm)
