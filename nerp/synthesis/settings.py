"""What decides a set of pairs, beside the CTs themselves: the view, the mask, and the set."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, field
from typing import Any, ClassVar

from nerp.camera import Camera, ViewSettings
from nerp.devices import choose_device
from nerp.errors import UsageError
from nerp.label_names import lung_labels, obscuring_labels
from nerp.projection import MaskRule
from nerp.settings import Settings, choice, number, section
from nerp.volume import MAX_LABEL, Volume

LARGEST_SIDE = 4096
"""Pixels; the largest flat detectors have about as many."""
TERMS = "The terms of the CTs and of the labels they were made from hold for these pairs."


@dataclass(frozen=True)
class MaskSettings(Settings):
    """Which labels make the mask, and when a ray counts as inside.

    Args:
        labels:      label values whose union is the mask; none takes those that `label_names` calls lungs.
        rule:        with its numbers.
        obscuring:   label values that obscure lung under rule `visible`; None takes those whose names tell so.
        label_names: name of each label value, as told in `dataset.json`.

    Raises:
        UsageError: label values that cannot be.
    """

    SECTION: ClassVar[str] = "mask"

    labels: tuple[int, ...] = ()
    rule: MaskRule = field(default_factory=MaskRule)
    obscuring: tuple[int, ...] | None = None
    label_names: dict[int, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        super().__post_init__()
        object.__setattr__(self, "labels", tuple(self.labels) or tuple(sorted(lung_labels(self.label_names))))
        if not all(1 <= label < MAX_LABEL for label in self.labels) or len(set(self.labels)) != len(self.labels):
            expected = f"distinct label values from 1 to {MAX_LABEL - 1}, such as 10,11"
            raise UsageError(f"mask is {list(self.labels)}; expected {expected}")

    def check_chosen(self) -> None:
        """Refuse labels without a choice among them, with a UsageError."""
        if not self.labels:
            raise UsageError("no mask is chosen; give label values such as 10,11, or label names that tell the lungs")

    def obscuring_labels(self) -> list[int]:
        """The label values that obscure lung to a reader, for the rule `visible`; of others none."""
        if self.rule.name != "visible":
            return []
        return sorted(obscuring_labels(self.label_names) if self.obscuring is None else self.obscuring)

    def as_json(self) -> dict[str, Any]:
        """What decides the masks, as JSON values."""
        return {"labels": list(self.labels), "rule": self.rule.to_dict(), "obscuring": self.obscuring_labels()}


@dataclass(frozen=True)
class PairSettings(Settings):
    """Everything but files that decides the pairs; the same settings make the same pairs.

    Args:
        mode:        `drr`, line integrals of the attenuation; `vrr`, a trained run's radiographs.
        shape:       (H, W) pixels.
        camera:      the view, and the ranges that cameras are drawn from.
        mask:        labels and rule.
        views:       cameras for each CT.
        seed:        of the cameras; each pair draws from (seed, hash of its CT, view index) alone.
        device:      `auto` takes a GPU where there is one.
        backend:     of the projection.
        licence:     terms of the set, as told in `dataset.json`.
        allow_empty: keep CTs on none of whose views the mask has a pixel, such as those without a finding.

    Raises:
        UsageError: a value that cannot be.
    """

    mode: str = choice("drr", "vrr")
    shape: tuple[int, int] = number((256, 256), 1, LARGEST_SIDE)
    camera: ViewSettings = section(ViewSettings)
    mask: MaskSettings = section(MaskSettings)
    views: int = number(10, 1)
    seed: int = number(0, 0)
    device: str = choice("auto", "cpu", "cuda")
    backend: str = choice("auto", "reference", "cpu", "cuda")
    licence: str = TERMS
    allow_empty: bool = False

    def __post_init__(self) -> None:
        if self.mode == "physics":
            raise UsageError("mode physics is not yet available; use drr, or vrr with a trained run")
        super().__post_init__()
        if self.mask.rule.name == "rendered" and self.mode != "vrr":
            raise UsageError(f"mask rule 'rendered' needs the fields of mode vrr, but mode is {self.mode}")

    def as_json(self) -> dict[str, Any]:
        """What decides the pairs, as JSON values, for `dataset.json` and for comparing.

        Not what only tells of them, nor `allow_empty`, which may be allowed when a set is taken up again.
        """
        camera = {**asdict(self.camera), "angle_deg": self.camera.turn_deg}
        values = {name: getattr(self, name) for name in ("mode", "views", "seed", "shape", "backend")}
        device = choose_device(self.device).type
        return json.loads(json.dumps({**values, "device": device, "camera": camera, "mask": self.mask.as_json()}))

    def base_camera(self, ct: Volume) -> Camera:
        """The view's preset on a CT `(1, D, H, W)`, a batch of one, float64."""
        return self.camera.base_camera(ct, self.shape)


OF_SETS = ("views", "seed", "allow_empty", "licence")
"""Settings of a set of pairs that a single view does not have, or has for itself."""


def restated(settings: PairSettings) -> dict[str, Any]:
    """Settings as a YAML file states them, without paths and names: `--config` of it makes the same pairs again."""
    mask = settings.mask
    camera = {key: list(value) if isinstance(value, tuple) else value for key, value in asdict(settings.camera).items()}
    names = ("mode", "device", "backend", *OF_SETS)
    values = {name: getattr(settings, name) for name in names}
    stated = {
        "labels": list(mask.labels),
        "rule": mask.rule.name,
        "numbers": dict(mask.rule.numbers),
        "obscuring": mask.obscuring_labels(),
    }
    return {**values, "shape": list(settings.shape), "camera": camera, "mask": stated}
