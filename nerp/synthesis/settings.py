"""What decides a set of pairs, beside the CTs themselves."""

from __future__ import annotations

import json
import math
from dataclasses import asdict, dataclass, field

from nerp.camera import Camera, CameraDistribution, chest_camera
from nerp.errors import UsageError
from nerp.label_names import lung_labels, obscuring_labels
from nerp.projection import MaskRule
from nerp.volume import MAX_LABEL, Volume

MODES = ("drr", "vrr", "physics")
MAX_SIDE = 4096
"""Pixels; the largest flat detectors have about as many."""
TERMS = "The terms of the CTs and of the labels they were made from hold for these pairs."


@dataclass(frozen=True)
class PairSettings:
    """Everything but files that decides the pairs; the same settings make the same pairs.

    Args:
        mode:         `drr`, line integrals of the attenuation; `vrr`, a trained run's radiographs.
        view:         preset that the cameras vary about: `pa`, `ap`, `lateral`, `oblique`.
        angle_deg:    turn of the `oblique` view; set to 0 for the others, which do not turn.
        shape:        (H, W) pixels.
        mask:         label values whose union is the mask; none takes those that `label_names` calls lungs.
        rule:         when a ray counts as inside, and its numbers.
        views:        cameras for each CT.
        seed:         of the cameras; each pair draws from (seed, hash of its CT, view index) alone.
        cameras:      the ranges that cameras are drawn from.
        device:       `cpu` or `cuda`.
        backend:      of the projection.
        label_names:  name of each label value, as told in `dataset.json`.
        obscuring:       label values that obscure lung under rule `visible`; None takes those whose names tell so.
        licence:      terms of the set, as told there.
        allow_empty:  keep CTs on none of whose views the mask has a pixel, such as those without a finding.

    Raises:
        UsageError: a value that cannot be.
    """

    mode: str = "drr"
    view: str = "pa"
    angle_deg: float = 30.0
    shape: tuple[int, int] = (256, 256)
    mask: tuple[int, ...] = ()
    rule: MaskRule = field(default_factory=MaskRule)
    views: int = 10
    seed: int = 0
    cameras: CameraDistribution = field(default_factory=CameraDistribution)
    device: str = "cpu"
    backend: str = "auto"
    label_names: dict[int, str] = field(default_factory=dict)
    obscuring: tuple[int, ...] | None = None
    licence: str = TERMS
    allow_empty: bool = False

    def __post_init__(self):
        object.__setattr__(self, "angle_deg", float(self.angle_deg) if self.view == "oblique" else 0.0)
        object.__setattr__(self, "mask", tuple(self.mask) or tuple(sorted(lung_labels(self.label_names))))
        if self.mode == "physics":
            raise UsageError("mode physics is not yet available; use drr, or vrr with a trained run")
        if self.mode not in MODES:
            raise UsageError(f"mode is {self.mode!r}; expected drr or vrr")
        if self.views < 1 or self.seed < 0:
            raise UsageError(f"views is {self.views}, seed {self.seed}; expected views >= 1 and seed >= 0")
        if not math.isfinite(self.angle_deg):
            raise UsageError(f"angle is {self.angle_deg} degrees; expected a finite number")
        if not all(1 <= side <= MAX_SIDE for side in self.shape):
            raise UsageError(f"shape is {'x'.join(map(str, self.shape))} pixels; expected sides of 1 to {MAX_SIDE}")
        self._check_mask_values()
        if self.rule.name == "rendered" and self.mode != "vrr":
            raise UsageError(f"mask rule 'rendered' needs the fields of mode vrr, but mode is {self.mode}")

    def _check_mask_values(self) -> None:
        if not all(1 <= label < MAX_LABEL for label in self.mask) or len(set(self.mask)) != len(self.mask):
            expected = f"distinct label values from 1 to {MAX_LABEL - 1}, such as 10,11"
            raise UsageError(f"mask is {list(self.mask)}; expected {expected}")

    def check_mask(self) -> None:
        """Refuse labels without a choice among them, with a UsageError."""
        if not self.mask:
            raise UsageError("no mask is chosen; give label values such as 10,11, or label names that tell the lungs")

    def as_json(self) -> dict:
        """What decides the pairs, as JSON values, for `dataset.json` and for comparing.

        Not what only tells of them, nor `allow_empty`, which may be allowed when a set is taken up again.
        """
        values = {**asdict(self), "rule": self.rule.to_dict(), "obscuring": self.obscuring_labels()}
        left_out = ("label_names", "licence", "allow_empty")
        return json.loads(json.dumps({key: value for key, value in values.items() if key not in left_out}))

    def obscuring_labels(self) -> list[int]:
        """The label values that obscure lung from a reader, for the rule `visible`."""
        if self.rule.name != "visible":
            return []
        return sorted(obscuring_labels(self.label_names) if self.obscuring is None else self.obscuring)

    def base_camera(self, ct: Volume) -> Camera:
        """The view's preset on a CT, float64."""
        return chest_camera(ct, self.view, shape=self.shape, angle_deg=self.angle_deg)
