"""Where rays start and end: perspective cameras in world millimetres."""

from __future__ import annotations

from dataclasses import dataclass, fields
from typing import Any

import torch
from torch import Tensor

from nerp.arguments import image_shape, tensor_of
from nerp.camera.rotation import apply_rotation
from nerp.errors import GeometryError

UNIT_TOLERANCE = 1e-4
"""How far from 1 the length of a direction may be: what float32 and gradient checks leave of it."""


@dataclass(frozen=True)
class Camera:
    """A batch of point sources, each with its flat detector, in world RAS+ mm.

    Args:
        source:          (B, 3) position of the source, mm.
        detector_centre: (B, 3) centre of the detector, mm.
        image_right:     (B, 3) unit direction in which the column index grows.
        image_down:      (B, 3) unit direction in which the row index grows.
        shape:           (H, W) detector pixels.
        pixel_mm:        (B, 2) distance between rows and between columns, mm; a batch may mix fields
                         of view. A pair of numbers serves all views.
        isocentre:       (B, 3) point about which views turn, mm; None where nothing turns.

    Pixel (i, j) of view b is centred at `detector_centre[b] + (j - (W-1)/2) pixel_mm[b, 1] image_right[b]
    + (i - (H-1)/2) pixel_mm[b, 0] image_down[b]`. The pair's handedness is free: a PA image viewed face
    to face is mirrored with respect to the beam.

    Raises:
        GeometryError: vectors that are not all (B, 3), directions that are not of length 1, or a shape or
            pixel that is not positive.
    """

    source: Tensor
    detector_centre: Tensor
    image_right: Tensor
    image_down: Tensor
    shape: tuple[int, int]
    pixel_mm: Tensor
    isocentre: Tensor | None = None

    def __post_init__(self) -> None:
        if not torch.compiler.is_compiling():
            self._take_in()
        places = [part for part in (self.source, self.detector_centre, self.isocentre) if part is not None]
        shapes = {tuple(part.shape) for part in (*places, self.image_right, self.image_down)}
        if len(shapes) != 1 or self.source.ndim != 2 or self.source.shape[1] != 3:
            raise GeometryError(f"camera vectors have shapes {sorted(shapes)}; expected all (B, 3) with one B")
        object.__setattr__(self, "pixel_mm", _each_pixel(self.pixel_mm, like=self.source))
        for name in ("image_right", "image_down"):
            _check_unit(name, getattr(self, name))

    def _take_in(self) -> None:
        """Arrays and lists become tensors of the source's type and device; other tensors stay as they are."""
        source = tensor_of("camera source", self.source)
        object.__setattr__(self, "source", source)
        for name in ("detector_centre", "image_right", "image_down", "isocentre"):
            value = getattr(self, name)
            if value is not None and not isinstance(value, Tensor):
                object.__setattr__(self, name, tensor_of(f"camera {name}", value).to(source))
        object.__setattr__(self, "shape", image_shape(self.shape))

    def __len__(self) -> int:
        return self.source.shape[0]

    def __getitem__(self, index: int | slice) -> Camera:
        """The cameras of `index` (an int or a slice), still as a batch."""
        if isinstance(index, int):
            index = slice(index, index + 1 or None)
        return self._with({name: part[index] for name, part in self._vectors().items()})

    def to(self, *args: Any, **kwargs: Any) -> Camera:
        """The same cameras moved or cast.

        Args:
            *args, **kwargs: as `Tensor.to` takes them: a device, a type, or both.
        """
        return self._with({name: part.to(*args, **kwargs) for name, part in self._vectors().items()})

    def pixels(self) -> Tensor:
        """(B, H, W, 3) centres of the detector's pixels, world mm. Differentiable in the camera."""
        return pixel_centres(self.detector_centre, *self.steps_mm(), self.shape)

    def steps_mm(self) -> tuple[Tensor, Tensor]:
        """(B, 3) vectors from one row to the next and from one column to the next, mm. Differentiable."""
        return self.image_down * self.pixel_mm[:, :1], self.image_right * self.pixel_mm[:, 1:]

    @property
    def size_mm(self) -> Tensor:
        """(B, 2) height and width of the detector, mm. Differentiable in `pixel_mm`."""
        return self.pixel_mm * torch.tensor(self.shape, dtype=self.pixel_mm.dtype, device=self.pixel_mm.device)

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

    def to_dict(self) -> dict[str, Any]:
        """Plain numbers that `from_dict` makes the same float64 camera of, exactly."""
        vectors = {name: part.detach().double().cpu().tolist() for name, part in self._vectors().items()}
        return {**vectors, "shape": list(self.shape)}

    @classmethod
    def from_dict(cls, numbers: dict[str, Any]) -> Camera:
        """The camera that `to_dict` wrote, float64."""
        unknown = set(numbers) ^ {field.name for field in fields(cls)}
        if unknown - {"isocentre"}:
            raise GeometryError(f"camera record lacks or adds {', '.join(sorted(unknown))}; write it with to_dict()")
        lists = {name: value for name, value in numbers.items() if name != "shape"}
        vectors = {name: torch.tensor(value, dtype=torch.float64, device="cpu") for name, value in lists.items()}
        return cls(**vectors, shape=tuple(numbers["shape"]))

    def _vectors(self) -> dict[str, Tensor]:
        named = {field.name: getattr(self, field.name) for field in fields(self)}
        return {name: part for name, part in named.items() if isinstance(part, Tensor)}

    def _with(self, vectors: dict[str, Tensor]) -> Camera:
        return Camera(**{**self._vectors(), **vectors}, shape=self.shape)


def pixel_centres(centre: Tensor, row_step_mm: Tensor, column_step_mm: Tensor, shape: tuple[int, int]) -> Tensor:
    """Centres of a detector's pixels.

    Args:
        centre:         (B, 3) centre of the detector, mm.
        row_step_mm:    (B, 3) from one row to the next, mm.
        column_step_mm: (B, 3) from one column to the next, mm.
        shape:          (H, W) pixels.

    Returns:
        (B, H, W, 3) mm. Differentiable in the first three.
    """
    down, right = (torch.arange(n, dtype=centre.dtype, device=centre.device) - (n - 1) / 2 for n in shape)
    rows = down[:, None, None] * row_step_mm[:, None, None]
    columns = right[:, None] * column_step_mm[:, None, None]
    return centre[:, None, None] + rows + columns


def _each_pixel(pixel_mm: Any, *, like: Tensor) -> Tensor:
    """(B, 2) distances of (B, 2), or of one pair for all views."""
    pixels = pixel_mm if isinstance(pixel_mm, Tensor) else tensor_of("camera pixel_mm", pixel_mm)
    pixels = pixels.to(like)
    pixels = pixels.expand(len(like), 2) if pixels.shape == (2,) else pixels
    if torch.compiler.is_compiling():  # of a camera that was checked when it was made
        return pixels
    if pixels.shape != (len(like), 2) or not bool((pixels > 0).all()) or not bool(torch.isfinite(pixels).all()):
        found = pixels.tolist() if pixels.numel() <= 4 else f"of shape {tuple(pixels.shape)}"
        raise GeometryError(
            f"camera pixel_mm is {found}; expected (between rows, between columns) above 0 mm, or (B, 2)"
        )
    return pixels


def _check_unit(name: str, directions: Tensor) -> None:
    if torch.compiler.is_compiling():
        return
    lengths = directions.detach().norm(dim=-1)
    if not bool(((lengths - 1).abs() <= UNIT_TOLERANCE).all()):
        found = lengths.tolist()[int((lengths - 1).abs().nan_to_num(torch.inf).argmax())]
        raise GeometryError(f"camera {name} has length {found:g}; expected unit directions: scale pixel_mm instead")
