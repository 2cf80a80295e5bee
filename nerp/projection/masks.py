"""From path lengths to masks: named rules whose numbers go into each pair's record."""

from __future__ import annotations

import logging
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import torch
import torch.nn.functional as F
from torch import Tensor

from nerp.anatomy import closed_lungs
from nerp.camera import Camera
from nerp.errors import GeometryError, UsageError
from nerp.projection.labels import march_labels, project_labels
from nerp.projection.obscuring import APICAL, OBSCURING, obscuring_tissue
from nerp.volume import Fields, Volume

RULES: dict[str, dict[str, float]] = {
    "any": {},
    "thickness": {"thickness_mm": 10.0},
    "visible": {
        "lung_mm": 8.0,
        "obscured_mm": 5.0,
        "obscured_per_lung": 0.4,
        "apex_obscured": 0.5,
        "smooth_mm": 2.5,
        "part_mm": 10.0,
        "close_mm": 15.0,
        "grid_mm": 2.0,
    },
    "rendered": {"fraction": 0.1},
}
"""Every rule with its default numbers; `visible` is tuned to how people outline lung fields."""

UNTOLD = {"close_mm": 0.0, "apex_obscured": 1.0, "grid_mm": 0.0}
"""What records of `visible` mean that do not tell of closing, of apices, or of a grid of its own."""

TOUCHED_MM = 1e-3
"""Less path than this is no part of a structure, even where `part_mm` is 0."""

FORMER_NUMBERS = {"hidden_mm": "obscured_mm", "hidden_per_lung": "obscured_per_lung", "share": "fraction"}
"""Names of the version before, still understood for one release."""

_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class MaskRule:
    """A named way from what a ray crosses to a mask, with all its numbers.

    * `any`: some of the label lies on the ray.
    * `thickness`: at least `thickness_mm` of it.
    * `visible`: the lung field that a reader sees: at least `lung_mm` of lung on the ray, and no
      more than `obscured_mm + obscured_per_lung * lung` of what obscures it (heart, mediastinum, organs
      below the diaphragm); the outline is smoothed by `smooth_mm` on the detector, as a hand draws it.
      Lung is the whole field: each lung closed by `close_mm` over its disease, see `closed_lungs`; 0 takes the
      labels as they are. It is told on voxels about `grid_mm` apart, where the labels are finer: outlines are
      smoother than that; 0 takes every voxel.
      Of a part of the lungs, such as a lobe: where the lungs are seen and at least `part_mm` of it is crossed.
    * `rendered`: the label gives at least `fraction` of the emission weights of `march`.

    Args:
        name:    one of `RULES`.
        numbers: what differs from the defaults; the rest is filled in.

    Raises:
        UsageError: an unknown rule or number, or a number that is negative or not finite.
    """

    name: str = "visible"
    numbers: Mapping[str, float] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if self.name not in RULES:
            raise UsageError(f"unknown mask rule {self.name!r}; expected one of {', '.join(RULES)}")
        known, numbers = RULES[self.name], self._renamed()
        for name, number in numbers.items():
            if name not in known:
                has = ", ".join(known) or "no numbers"
                raise UsageError(f"mask rule {self.name!r} has no number {name!r}; it has {has}")
            if not 0 <= number < math.inf:
                raise UsageError(f"mask rule {self.name!r}: {name} is {number}; expected a finite number, 0 or more")
        object.__setattr__(self, "numbers", {**known, **numbers})

    def _renamed(self) -> dict[str, float]:
        """The numbers under today's names; a former one is warned of."""
        numbers = {}
        for name, number in self.numbers.items():
            new = FORMER_NUMBERS.get(name, name)
            if new != name and new in RULES[self.name]:
                _log.warning("number %s of mask rule %r is now called %s: write that", name, self.name, new)
            numbers[new if new in RULES[self.name] else name] = number
        return numbers

    def to_dict(self) -> dict[str, str | float]:
        """The rule as a record holds it: its name and every number."""
        return {"name": self.name, **self.numbers}

    @classmethod
    def from_dict(cls, record: Mapping[str, str | float]) -> MaskRule:
        """The rule that `to_dict` wrote."""
        name, numbers = str(record["name"]), {key: float(number) for key, number in record.items() if key != "name"}
        return cls(name, {**(UNTOLD if name == "visible" else {}), **numbers})


@dataclass(frozen=True)
class Structure:
    """What one mask shows.

    Args:
        labels: the integers whose union is masked.
        rule:   which rays count.
        lungs:  of rule `visible`: the labels of all lungs, where `labels` are a part of them; none: `labels` are all.
        name:   of the mask, where there are several.
    """

    labels: tuple[int, ...]
    rule: MaskRule = field(default_factory=MaskRule)
    lungs: tuple[int, ...] = ()
    name: str = ""

    def all_lungs(self) -> tuple[int, ...]:
        """The labels of all lungs, or of the structure itself where none are given."""
        return self.lungs or self.labels


def project_masks(
    structures: Sequence[Structure],
    label_volume: Volume,
    camera: Camera,
    *,
    obscuring: Volume | None = None,
    closed: Volume | None = None,
    fields: Fields | None = None,
    backend: str = "auto",
) -> tuple[Tensor, Tensor]:
    """The masks of several structures, on the rays of the image from the same camera.

    The labels are traversed once, or twice where the rule `visible` is told on a grid of its own.

    Args:
        structures:   S of them; they may share labels.
        label_volume: `(M, D, H, W)` in 'label'.
        camera:       B views of (H, W) pixels.
        obscuring:    of `visible`: what obscures the lungs, from `obscuring_tissue` of the labels, thinned to the
                      rule's `grid_mm`, which is called with the lungs of the first such structure where nothing is
                      given; make it once for many views.
        closed:       of `visible`: the lungs, closed, from `closed_lungs` of the same, which is called with the lungs
                      of all such structures where nothing is given and the rule has a `close_mm`.
        fields:       of `rendered`: the fields that the image is marched through.
        backend:      `auto`, `reference`, `cpu` or `cuda`.

    Returns:
        The masks (B, S, H, W) bool, and (B, S, H, W) bool where any of each structure lies on the ray: what the
        rule `any` gives.

    Raises:
        UsageError:    `rendered` without fields, or several `visible` that close the lungs differently.
        GeometryError: `obscuring` or `closed` lies on another grid than the labels.
    """
    visible = [structure for structure in structures if structure.rule.name == "visible"]
    labels = sorted({label for one in structures for label in (*one.labels, *one.all_lungs())})
    thin, seen_mm = label_volume.thinned(grid_mm(visible)), dict[int, Tensor]()
    if visible:
        fields_of_lungs, more = _lung_fields(visible, thin, obscuring, closed)
        seen_mm = _lengths_of(fields_of_lungs, camera, [*labels, *more], backend)
    is_all = bool(visible) and thin is label_volume
    lengths_mm = seen_mm if is_all else _lengths_of(label_volume, camera, labels, backend)
    crossed = [_of(structure.labels, lengths_mm) > 0 for structure in structures]
    masks = [
        _rendered(structure, label_volume, camera, fields, backend)
        if structure.rule.name == "rendered"
        else _by_lengths(structure, seen_mm if structure.rule.name == "visible" else lengths_mm, camera)
        for structure in structures
    ]
    return torch.cat(masks, dim=1), torch.cat(crossed, dim=1)


def project_mask(
    rule: MaskRule,
    label_volume: Volume,
    camera: Camera,
    labels: Sequence[int],
    *,
    lungs: Sequence[int] = (),
    obscuring: Volume | None = None,
    fields: Fields | None = None,
    backend: str = "auto",
) -> Tensor:
    """The mask of a union of labels, on the rays of the image from the same camera.

    Args:
        rule:         which rays count.
        label_volume: `(M, D, H, W)` in 'label'.
        camera:       B views of (H, W) pixels.
        labels:       the integers whose union is masked.
        lungs:        of `visible`: the labels of all lungs, where `labels` are a part of them.
        obscuring:    of `visible`: as for `project_masks`.
        fields:       of `rendered`: the fields that the image is marched through.
        backend:      `auto`, `reference`, `cpu` or `cuda`.

    Returns:
        (B, 1, H, W) bool.

    Raises:
        UsageError:    `rendered` without fields.
        GeometryError: `obscuring` lies on another grid than the labels.
    """
    structure = Structure(tuple(labels), rule, tuple(lungs))
    return project_masks([structure], label_volume, camera, obscuring=obscuring, fields=fields, backend=backend)[0]


def _lung_fields(
    visible: Sequence[Structure], label_volume: Volume, obscuring: Volume | None, closed: Volume | None
) -> tuple[Volume, list[int]]:
    """The labels with what obscures lung and the closed lungs as one more map, and the labels of that map."""
    lungs = sorted({label for one in visible for label in (*one.labels, *one.all_lungs())})
    if closed is None and (close_mm := closing_mm(visible)):
        closed = closed_lungs(label_volume, lungs, close_mm=close_mm)
    if obscuring is None:
        obscuring = obscuring_tissue(label_volume, visible[0].all_lungs(), closed=closed)
    if all(one.rule.numbers["apex_obscured"] == 1 for one in visible):
        obscuring = Volume(obscuring.values.clamp_min(OBSCURING), obscuring.affine, "label")
    more = [OBSCURING, *APICAL, *([] if closed is None else [_closed(label) for label in lungs])]
    return _stacked(label_volume, obscuring, closed), more


def _lengths_of(source: Volume, camera: Camera, labels: Sequence[int], backend: str) -> dict[int, Tensor]:
    """(B, H, W) mm through each label."""
    lengths = project_labels(source, camera, labels, backend=backend)
    return dict(zip(labels, lengths.unbind(1), strict=True))


def closing_mm(visible: Sequence[Structure]) -> float:
    """By how much structures of the rule `visible` close the lungs, mm.

    Raises:
        UsageError: some by another number than others.
    """
    return _agreed(visible, "close_mm")


def grid_mm(visible: Sequence[Structure]) -> float:
    """How far apart the voxels are on which structures of the rule `visible` are told, mm; 0: as the labels' are.

    Raises:
        UsageError: some have another number than others.
    """
    return _agreed(visible, "grid_mm")


def _agreed(visible: Sequence[Structure], name: str) -> float:
    """A number of all rules."""
    numbers = sorted({one.rule.numbers[name] for one in visible})
    if len(numbers) > 1:
        found = ", ".join(f"{number:g}" for number in numbers)
        raise UsageError(f"masks of rule 'visible' have {name} {found}; expected one number for all of them")
    return numbers[0] if numbers else 0.0


def _of(labels: Sequence[int], lengths_mm: Mapping[int, Tensor]) -> Tensor:
    """(B, 1, H, W) mm through the union of some labels."""
    return torch.stack([lengths_mm[label] for label in labels], dim=1).sum(dim=1, keepdim=True)


def _by_lengths(structure: Structure, lengths_mm: Mapping[int, Tensor], camera: Camera) -> Tensor:
    """The mask (B, 1, H, W) of a structure by a rule that asks for path lengths alone."""
    rule, own_mm = structure.rule, _of(structure.labels, lengths_mm)
    if rule.name != "visible":
        return any_mask(own_mm) if rule.name == "any" else thickness_mask(own_mm, **rule.numbers)
    lungs, parts = (
        [_closed(label) if _closed(label) in lengths_mm else label for label in labels]
        for labels in (structure.all_lungs(), structure.labels)
    )
    seen = visible_mask(_of(lungs, lengths_mm), _obscured(lengths_mm, rule.numbers["apex_obscured"]), rule)
    if structure.lungs and set(structure.lungs) != set(structure.labels):
        seen = seen & (_of(parts, lengths_mm) >= max(rule.numbers["part_mm"], TOUCHED_MM))
    return smooth_mask(seen, rule.numbers["smooth_mm"], pixel_mm=camera.pixel_mm)


def _obscured(lengths_mm: Mapping[int, Tensor], apex_obscured: float) -> Tensor:
    """(B, 1, H, W) mm through what obscures, which counts less about the apices."""
    whole = _of([OBSCURING], lengths_mm)
    for step, label in enumerate(APICAL):
        counts = apex_obscured + (1 - apex_obscured) * step / len(APICAL)
        whole = whole + counts * _of([label], lengths_mm)
    return whole


def _rendered(
    structure: Structure, label_volume: Volume, camera: Camera, fields: Fields | None, backend: str
) -> Tensor:
    if fields is None:
        raise UsageError("mask rule 'rendered' needs the fields of the image; give fields=... or another rule")
    fractions = march_labels(fields, label_volume, camera, structure.labels, backend=backend)
    return rendered_mask(_union(fractions), **structure.rule.numbers)


def any_mask(lengths_mm: Tensor) -> Tensor:
    """Rays with any path in the label; lengths in mm, any shape."""
    return lengths_mm > 0


def thickness_mask(lengths_mm: Tensor, thickness_mm: float) -> Tensor:
    """Rays with enough path in the label.

    Args:
        lengths_mm:   path in the label, mm, any shape.
        thickness_mm: the least that counts, mm.

    Returns:
        bool of the same shape.
    """
    return lengths_mm >= thickness_mm


def visible_mask(lung_mm: Tensor, obscured_mm: Tensor, rule: MaskRule) -> Tensor:
    """Rays with enough lung and little in its way.

    Args:
        lung_mm:     path through lung, mm, any shape.
        obscured_mm: path through what obscures it, mm, of the same shape.
        rule:        `visible`, with its numbers.

    Returns:
        bool of the same shape.
    """
    limit_mm = rule.numbers["obscured_mm"] + rule.numbers["obscured_per_lung"] * lung_mm
    return (lung_mm >= rule.numbers["lung_mm"]) & (obscured_mm <= limit_mm)


def rendered_mask(fractions: Tensor, fraction: float) -> Tensor:
    """Rays whose light comes from the label by a fraction.

    Args:
        fractions: of the emission weights that fall into the label, 0 to 1, any shape.
        fraction:  the least that counts, 0 to 1.

    Returns:
        bool of the same shape.
    """
    return fractions >= fraction


def smooth_mask(mask: Tensor, smooth_mm: float, *, pixel_mm: Tensor) -> Tensor:
    """Where a Gaussian blur of the mask stays above one half: outlines without steps and specks.

    Args:
        mask:      (B, 1, H, W) bool.
        smooth_mm: standard deviation on the detector, mm; 0 changes nothing.
        pixel_mm:  (B, 2) between rows and between columns of each view, mm.

    Returns:
        (B, 1, H, W) bool.
    """
    sizes = pixel_mm.tolist()
    return torch.cat([_smoothed(one, smooth_mm, size) for one, size in zip(mask.split(1), sizes, strict=True)])


def _smoothed(mask: Tensor, smooth_mm: float, pixel_mm: tuple[float, float]) -> Tensor:
    """`smooth_mask` of one view (1, 1, H, W)."""
    blurred = mask.float()
    for axis, pixel in ((2, pixel_mm[0]), (3, pixel_mm[1])):
        radius = min(math.ceil(3 * smooth_mm / pixel), mask.shape[axis] - 1)
        if radius > 0:
            offsets = torch.arange(-radius, radius + 1, device=mask.device, dtype=torch.float32) * pixel / smooth_mm
            kernel = torch.exp(-(offsets**2) / 2)
            sides = (0, 0, radius, radius) if axis == 2 else (radius, radius, 0, 0)
            shape = (1, 1, -1, 1) if axis == 2 else (1, 1, 1, -1)
            blurred = F.conv2d(F.pad(blurred, sides, mode="replicate"), (kernel / kernel.sum()).view(shape))
    return blurred > 0.5


def _union(per_label: Tensor) -> Tensor:
    return per_label.sum(dim=1, keepdim=True)


def _closed(label: int) -> int:
    """What stands for a lung's label where it is closed; below `OBSCURING`."""
    return APICAL[-1] - label


def _stacked(label_volume: Volume, obscuring: Volume, closed: Volume | None) -> Volume:
    """The labels, and as one more map what obscures lung and the closed lungs."""
    for name, one in (("obscuring tissue", obscuring), ("closed lungs", closed)):
        if one is None:
            continue
        if one.shape != label_volume.shape or not torch.allclose(one.affine, label_volume.affine):
            made = "obscuring_tissue" if one is obscuring else "closed_lungs"
            found = f"{one.shape} for labels of {label_volume.shape}"
            raise GeometryError(f"{name} lies on another grid: {found}; make it with {made}(labels.thinned(grid_mm))")
    more = obscuring.values
    if closed is not None:
        more = torch.where(closed.values > 0, APICAL[-1] - closed.values, more)
    return Volume(torch.cat([label_volume.values, more]), label_volume.affine, "label")
