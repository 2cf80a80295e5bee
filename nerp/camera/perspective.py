"""Where rays start and end: perspective cameras in world millimetres."""

from __future__ import annotations

from dataclasses import dataclass, fields

import torch
from torch import Tensor

from nerp.camera.rotation import apply_rotation
from nerp.errors import GeometryError


@dataclass(frozen=True)
class Camera:
    """A batch of point sources, each with its flat detector, in world RAS+ mm.

    Args:
        source:          (B, 3) position of the source, mm.
        detector_centre: (B, 3) centre of the detector, mm.
        image_right:     (B, 3) direction in which the column index grows; its length, 1 as a
                         rule, multiplies `pixel_mm` (a batch may mix fields of view).
        image_down:      (B, 3) direction in which the row index grows; likewise.
        shape:           (H, W) detector pixels.
        pixel_mm:        distance (between rows, between columns), mm.
        isocentre:       (B, 3) point about which views turn, mm; None where nothing turns.

    Pixel (i, j) is centred at `detector_centre + (j - (W-1)/2) pixel_mm[1] image_right
    + (i - (H-1)/2) pixel_mm[0] image_down`. The pair's handedness is free: a PA film viewed face
    to face is mirrored with respect to the beam.

    Raises:
        GeometryError: vectors that are not all (B, 3), or a shape or pixel that is not positive.
    """

    source: Tensor
    detector_centre: Tensor
    image_right: Tensor
    image_down: Tensor
    shape: tuple[int, int]
    pixel_mm: tuple[float, float]
    isocentre: Tensor | None = None

    def __post_init__(self):
        shapes = {tuple(part.shape) for part in self._vectors().values()}
        if len(shapes) != 1 or self.source.ndim != 2 or self.source.shape[1] != 3:
            raise GeometryError(f"camera vectors have shapes {sorted(shapes)}; expected all (B, 3) with one B")
        if len(self.shape) != 2 or min(self.shape) < 1:
            raise GeometryError(f"camera shape is {tuple(self.shape)}; expected (H, W), both at least 1")
        if len(self.pixel_mm) != 2 or not all(pixel > 0 for pixel in self.pixel_mm):
            raise GeometryError(f"camera pixel_mm is {tuple(self.pixel_mm)}; expected two distances above 0 mm")

    def __len__(self) -> int:
        return self.source.shape[0]

    def __getitem__(self, index) -> Camera:
        """The cameras of `index` (an int or a slice), still as a batch."""
        if isinstance(index, int):
            index = slice(index, index + 1 or None)
        return self._with({name: part[index] for name, part in self._vectors().items()})

    def to(self, *args, **kwargs) -> Camera:
        """The same cameras moved or cast as by `Tensor.to`."""
        return self._with({name: part.to(*args, **kwargs) for name, part in self._vectors().items()})

    def pixels(self) -> Tensor:
        """(B, H, W, 3) centres of the detector's pixels, mm. Differentiable in the camera."""
        down, right = (self._offsets(axis) for axis in (0, 1))
        rows = down[:, None, None] * self.image_down[:, None, None]
        columns = right[:, None] * self.image_right[:, None, None]
        return self.detector_centre[:, None, None] + rows + columns

    def repeat(self, n: int) -> Camera:
        """Each camera n times over, its copies contiguous."""
        return self._with({name: part.repeat_interleave(n, dim=0) for name, part in self._vectors().items()})

    def moved(self, shift_mm: Tensor) -> Camera:
        """The cameras shifted by `shift_mm` (B, 3) or (3,), mm. Differentiable."""
        places = ("source", "detector_centre", "isocentre")
        return self._with({k: v + shift_mm if k in places else v for k, v in self._vectors().items()})

    def rotated(self, rotation: Tensor) -> Camera:
        """The cameras turned as rigid bodies about their isocentres.

        Args:
            rotation: (B, 3, 3) or (3, 3) world rotation, as made by `view_rotation`.

        Returns:
            The turned cameras. Differentiable in `rotation` and in the cameras.

        Raises:
            GeometryError: the cameras have no isocentre.
        """
        pivot = self.turning_point()
        turned = {"isocentre": pivot}
        for name in ("source", "detector_centre"):
            turned[name] = pivot + apply_rotation(rotation, getattr(self, name) - pivot)
        for name in ("image_right", "image_down"):
            turned[name] = apply_rotation(rotation, getattr(self, name))
        return self._with(turned)

    def turning_point(self) -> Tensor:
        """(B, 3) isocentres; a camera without one is refused with a GeometryError."""
        if self.isocentre is None:
            raise GeometryError("camera has no isocentre to turn about; give Camera(..., isocentre=(B, 3) mm)")
        return self.isocentre

    def to_dict(self) -> dict:
        """Plain numbers that `from_dict` makes the same float64 camera of, exactly."""
        vectors = {name: part.detach().double().cpu().tolist() for name, part in self._vectors().items()}
        return {**vectors, "shape": list(self.shape), "pixel_mm": list(self.pixel_mm)}

    @classmethod
    def from_dict(cls, numbers: dict) -> Camera:
        """The camera that `to_dict` wrote, float64."""
        unknown = set(numbers) ^ {field.name for field in fields(cls)}
        if unknown - {"isocentre"}:
            raise GeometryError(f"camera record lacks or adds {', '.join(sorted(unknown))}; write it with to_dict()")
        lists = {name: value for name, value in numbers.items() if name not in ("shape", "pixel_mm")}
        vectors = {name: torch.tensor(value, dtype=torch.float64) for name, value in lists.items()}
        return cls(**vectors, shape=tuple(numbers["shape"]), pixel_mm=tuple(numbers["pixel_mm"]))

    def _vectors(self) -> dict[str, Tensor]:
        named = {field.name: getattr(self, field.name) for field in fields(self)}
        return {name: part for name, part in named.items() if isinstance(part, Tensor)}

    def _with(self, vectors: dict[str, Tensor]) -> Camera:
        return Camera(**vectors, shape=self.shape, pixel_mm=self.pixel_mm)

    def _offsets(self, axis: int) -> Tensor:
        """Signed distances of the pixels' centres from the detector's, along one image axis."""
        count = self.shape[axis]
        steps = torch.arange(count, dtype=self.source.dtype, device=self.source.device)
        return (steps - (count - 1) / 2) * self.pixel_mm[axis]
