"""Where rays start and end: perspective cameras in world millimetres, and chest presets."""

from __future__ import annotations

import math
from dataclasses import dataclass, fields

import torch
from torch import Tensor

from nerp.anatomy import find_anatomy
from nerp.errors import GeometryError, UsageError
from nerp.framing import frame
from nerp.rotation import apply_rotation, view_rotation
from nerp.variation import vary
from nerp.volume import Volume


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


@dataclass(frozen=True)
class _Preset:
    beam: tuple[float, float, float]
    image_right: tuple[float, float, float]
    source_detector_mm: float


VIEWS = {
    "pa": _Preset((0.0, 1.0, 0.0), (-1.0, 0.0, 0.0), 1800.0),
    "ap": _Preset((0.0, -1.0, 0.0), (-1.0, 0.0, 0.0), 1000.0),
    "lateral": _Preset((-1.0, 0.0, 0.0), (0.0, -1.0, 0.0), 1800.0),
    "oblique": _Preset((0.0, 1.0, 0.0), (-1.0, 0.0, 0.0), 1800.0),
}
"""Beam from source to detector and direction of growing columns, before `oblique` turns."""


def chest_camera(
    volume: Volume, view: str = "pa", *, shape: tuple[int, int] = (256, 256), angle_deg: float = 0.0
) -> Camera:
    """One camera that frames a chest as a radiograph does.

    The isocentre is the lungs' middle, or a little below or above it where the scan ends too soon;
    the lungs take about four fifths of the film, the detector touches the body, pixels are square.
    Without lungs the whole body is framed, without HU or 1/mm values the whole grid.

    | view      | source       | detector touches  | source to detector | column 0        |
    |-----------|--------------|-------------------|--------------------|-----------------|
    | `pa`      | behind       | the chest's front | 1800 mm            | patient's right |
    | `ap`      | in front     | the back          | 1000 mm (bedside)  | patient's right |
    | `lateral` | on the right | the left side     | 1800 mm            | anterior        |
    | `oblique` | as `pa`, turned by `angle_deg` about the superior axis  | 1800 mm | right |

    Args:
        volume:    `(C, D, H, W)` in HU or 1/mm; anything else is framed by its box.
        view:      `pa`, `ap`, `lateral` or `oblique`.
        shape:     (H, W) detector pixels.
        angle_deg: of `oblique` alone; positive brings the left front side to the detector (LAO).

    Returns:
        A batch of one float64 camera on the CPU, with its isocentre.

    Raises:
        UsageError: an unknown view, or an angle with a view that does not turn.
    """
    if view not in VIEWS:
        raise UsageError(f"unknown view {view!r}; expected one of {', '.join(VIEWS)}")
    if angle_deg and view != "oblique":
        raise UsageError(f"view {view!r} does not turn but angle_deg is {angle_deg:g}; use view 'oblique' or drop it")
    axes, sdd_mm = _axes(VIEWS[view], math.radians(angle_deg)), VIEWS[view].source_detector_mm
    film = frame(find_anatomy(volume), axes, shape, sdd_mm=sdd_mm)
    down, right, beam = axes
    source, detector = film.centre - beam * (sdd_mm - film.touch_mm), film.centre + beam * film.touch_mm
    vectors = (part[None] for part in (source, detector, right, down))
    return Camera(*vectors, tuple(shape), (film.pixel_mm, film.pixel_mm), film.centre[None])


def _axes(preset: _Preset, yaw_rad: float) -> Tensor:
    """Unit rows: image down, image right, beam."""
    vectors = torch.tensor([(0.0, 0.0, -1.0), preset.image_right, preset.beam], dtype=torch.float64)
    zero = torch.zeros(1, dtype=torch.float64)
    turn = view_rotation(yaw_rad=zero + yaw_rad, pitch_rad=zero, roll_rad=zero, beam=vectors[2:])
    return apply_rotation(turn, vectors)


@dataclass(frozen=True)
class CameraDistribution:
    """Ranges, each (lowest, highest), from which views around a base camera are drawn evenly.

    Args:
        yaw_deg:            turn about the superior axis.
        pitch_deg:          turn about the patient's right axis.
        roll_deg:           turn about the beam.
        shift_mm:           shift of the film, along its columns and along its rows.
        source_detector_mm: distance between source and detector; None keeps the base camera's.
        field_scale:        factor of the field of view.

    Raises:
        UsageError: a range that is not two ascending finite numbers, or not above 0 where it must be.
    """

    yaw_deg: tuple[float, float] = (-5.0, 5.0)
    pitch_deg: tuple[float, float] = (-5.0, 5.0)
    roll_deg: tuple[float, float] = (-3.0, 3.0)
    shift_mm: tuple[float, float] = (-10.0, 10.0)
    source_detector_mm: tuple[float, float] | None = None
    field_scale: tuple[float, float] = (0.95, 1.05)

    def __post_init__(self):
        for field in fields(self):
            limits = getattr(self, field.name)
            if field.name == "source_detector_mm" and limits is None:
                continue
            ascending = len(limits) == 2 and -math.inf < limits[0] <= limits[1] < math.inf
            if not ascending or (field.name in ("source_detector_mm", "field_scale") and limits[0] <= 0):
                bound = " above 0" if field.name in ("source_detector_mm", "field_scale") else ""
                raise UsageError(f"camera range {field.name} is {limits}; expected (lowest, highest){bound}")

    def sample(self, base: Camera | Volume, n: int, generator: torch.Generator) -> Camera:
        """Draw `n` views around each base camera.

        Args:
            base:      B cameras with isocentres, or a CT, whose PA view is then taken.
            n:         views of each base camera.
            generator: the source of randomness; seven numbers are drawn for each view.

        Returns:
            B n float64 cameras; the views of each base camera are contiguous. The same generator
            state gives the same cameras. Differentiable in the base cameras.

        Raises:
            GeometryError: the base cameras have no isocentre.
        """
        base = (chest_camera(base) if isinstance(base, Volume) else base).to(torch.float64).repeat(n)
        shares = torch.rand(len(base), 7, dtype=torch.float64, generator=generator, device=generator.device)
        shares = shares.to(base.source.device)
        angles, shift, distance, scale = shares.split([3, 2, 1, 1], dim=1)
        ranges = zip((self.yaw_deg, self.pitch_deg, self.roll_deg), angles.unbind(1), strict=True)
        source_detector_mm = (base.detector_centre - base.source).norm(dim=-1)
        if self.source_detector_mm is not None:
            source_detector_mm = _within(self.source_detector_mm, distance[:, 0])
        return vary(
            base,
            torch.stack([_within(limits, share) for limits, share in ranges], dim=1).deg2rad(),
            shift_mm=_within(self.shift_mm, shift),
            source_detector_mm=source_detector_mm,
            field_scale=_within(self.field_scale, scale[:, 0]),
        )


def _within(limits: tuple[float, float], shares: Tensor) -> Tensor:
    return limits[0] + (limits[1] - limits[0]) * shares
