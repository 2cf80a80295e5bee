"""The record of a pair: every number that renders it again, and nothing that names a patient.

This is the one place that writes and reads records. `SCHEMA` counts up whenever a key changes; records of every
schema before are brought up to date when they are read, so that they still replay.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, fields
from typing import Any

import torch
from torch import Tensor

from nerp.camera import Camera
from nerp.errors import DataError, GeometryError

SCHEMA = 6
"""1: a direction's length multiplied one `pixel_mm` of all views; keys `hiding_labels`, `mask_share`, ...
2: unit directions, `pixel_mm` of each view; `view` is measured; the processor is named.
3: several masks; how the CT's place was stated.
4: how a physical radiograph was made; objects on and in the patient.
5: how the CT was varied; what is joined to the lungs.
6: which findings the film shows."""

_RENAMED_IN_2 = {
    "hiding_labels": "obscuring_labels",
    "mask_share": "mask_fraction",
    "mask_outside_share": "mask_outside_fraction",
}
_RULE_NUMBERS_RENAMED_IN_2 = {
    "hidden_mm": "obscured_mm",
    "hidden_per_lung": "obscured_per_lung",
    "share": "fraction",
}

OF_THE_FIRST = {
    "name": "mask_name",
    "file_name": "mask_file_name",
    "labels": "mask_labels",
    "rule": "rule",
    "lung_labels": "lung_labels",
    "obscuring_labels": "obscuring_labels",
    "joined_labels": "joined_labels",
    "sha256": "mask_sha256",
    "fraction": "mask_fraction",
    "any_fraction": "mask_any_fraction",
    "outside_fraction": "mask_outside_fraction",
    "rule_reason": "mask_rule_reason",
}
"""Fields of a `MaskRecord`, and the keys under which a record tells them of its first mask."""
LISTS = ("mask_labels", "lung_labels", "obscuring_labels", "joined_labels")
NEW_IN_3 = (
    "mask_name",
    "mask_any_fraction",
    "mask_rule_reason",
    "lung_labels",
    "more_masks",
    "ct_reading",
    "label_names",
)
NEW_IN_4 = ("physics", "objects")
NEW_IN_5 = ("joined_labels", "variation")
NEW_IN_6 = ("shown_findings",)
OPTIONAL = {"processor", "labels_on_ct_grid", *NEW_IN_3, *NEW_IN_4, *NEW_IN_5, *NEW_IN_6}
"""Keys that records of former schemas lack."""

FOLDED = "record"
"""Key of a whole record as text, in lines that hold columns for other readers beside it."""


@dataclass(frozen=True)
class MaskRecord:
    """One mask of a radiograph, and how it was made.

    Args:
        name:             of the mask, where there are several.
        file_name:        of the mask, relative to the record's folder.
        labels:           label values whose union is the mask.
        rule:             `name` and every number.
        lung_labels:      label values of all lungs, where the mask shows a part of them; else none.
        obscuring_labels: label values that obscure lung under the rule `visible`.
        sha256:           of the mask's file.
        fraction:         of the image that the mask covers, 0 to 1.
        any_fraction:     of the image whose rays meet any of the labels, 0 to 1; None of records before schema 3.
        outside_fraction: of the labelled tissue that the detector misses, 0 to 1; None where there is none.
        rule_reason:      why it has this rule: `stated`, `lungs by name`, ...
        joined_labels:    label values that belong to a lung where they touch one, under the rule `visible`.
    """

    name: str
    file_name: str
    labels: list[int]
    rule: dict[str, Any]
    lung_labels: list[int]
    obscuring_labels: list[int]
    sha256: str
    fraction: float
    any_fraction: float | None
    outside_fraction: float | None
    rule_reason: str = "stated"
    joined_labels: list[int] = field(default_factory=list)


@dataclass(frozen=True)
class PairRecord:
    """One radiograph, its mask, and how both were made.

    Args:
        file_name:             of the image, relative to the record's folder.
        mask_file_name:        likewise of the mask; None without labels.
        id:                    names the pair; from the CT's hash and the view, never from a file's name.
        ct_sha256:             hash of the CT, by which it is found again.
        labels_sha256:         likewise of the labels.
        seed:                  of the camera; None where it was not drawn.
        view_index:            which of the CT's views, from 0.
        mode:                  `drr` or `vrr`.
        view:                  what the camera is, measured: see `nerp.camera.view_names`.
        mask_labels:           label values whose union is the mask.
        rule:                  the mask's rule: `name` and every number.
        obscuring_labels:      label values that obscure lung under the rule `visible`.
        camera:                what `Camera.to_dict` writes.
        display:               how the image was scaled: `name`, `low`, `high`; `bits` where they are 16.
        ct_shape:              (D, H, W) voxels of the CT.
        ct_spacing_mm:         between its voxels, mm.
        weights_sha256:        of the generator, for `vrr`.
        config_sha256:         of the generator's settings, for `vrr`.
        nerp, torch:           versions.
        device:                `cpu` or `cuda`.
        threads:               of the CPU.
        backend:               of the projection.
        image_sha256:          of the image's file.
        mask_sha256:           of the mask's file.
        mask_fraction:         of the image that the mask covers, 0 to 1.
        mask_outside_fraction: of the labelled tissue that the detector misses, 0 to 1.
        processor:             instruction set that PyTorch uses on the CPU; None in schema 1.
        mask_name:             of the mask, where there are several.
        mask_any_fraction:     of the image whose rays meet any of the labels, 0 to 1; None before schema 3.
        mask_rule_reason:      why the mask has its rule: `stated`, `lungs by name`, ...
        lung_labels:           label values of all lungs, where the mask shows a part of them; else none.
        label_names:           of the label values that the masks' keys hold, where they are known.
        more_masks:            further masks, each what `MaskRecord` says.
        ct_reading:            what was stated of the CT's place: `orientation`, `spacing_mm`, where they were.
        labels_on_ct_grid:     whether the labels were laid on the CT's grid, whatever place their file gives.
        physics:               of a physical radiograph: beam, scatter, detector, film, and what chance decided.
        objects:               what lies on and in the patient: each one's shapes, and its mask's file, hash, fraction.
        joined_labels:         label values that belong to a lung where they touch one, under the rule `visible`.
        variation:             how the CT was deformed, and which findings were inserted; empty where it was not.
        shown_findings:        of each labelled finding, whether the film shows it; empty where it was not asked for.
        schema:                of the keys; a record of a former schema is brought to this one when it is read.

    What `mask_…`, `rule`, `lung_labels`, `obscuring_labels` and `joined_labels` say is of the first mask; `masks` has
    all of them.
    """

    file_name: str
    mask_file_name: str | None
    id: str
    ct_sha256: str
    labels_sha256: str | None
    seed: int | None
    view_index: int
    mode: str
    view: str
    mask_labels: list[int]
    rule: dict[str, Any]
    obscuring_labels: list[int]
    camera: dict[str, Any]
    display: dict[str, Any]
    ct_shape: list[int]
    ct_spacing_mm: list[float]
    weights_sha256: str | None
    config_sha256: str | None
    nerp: str
    torch: str
    device: str
    threads: int
    backend: str
    image_sha256: str
    mask_sha256: str | None
    mask_fraction: float | None
    mask_outside_fraction: float | None
    processor: str | None = None
    mask_name: str = ""
    mask_any_fraction: float | None = None
    mask_rule_reason: str = "stated"
    lung_labels: list[int] = field(default_factory=list)
    more_masks: list[dict[str, Any]] = field(default_factory=list)
    label_names: dict[str, str] = field(default_factory=dict)
    ct_reading: dict[str, Any] = field(default_factory=dict)
    labels_on_ct_grid: bool = False
    physics: dict[str, Any] = field(default_factory=dict)
    objects: list[dict[str, Any]] = field(default_factory=list)
    joined_labels: list[int] = field(default_factory=list)
    variation: dict[str, Any] = field(default_factory=dict)
    shown_findings: list[dict[str, Any]] = field(default_factory=list)
    schema: int = SCHEMA

    @property
    def masks(self) -> list[MaskRecord]:
        """Every mask, the first first; none where the image has none.

        Raises:
            DataError: what is said of a further mask is damaged.
        """
        if self.mask_file_name is None:
            return []
        first = MaskRecord(**{own: getattr(self, key) for own, key in OF_THE_FIRST.items()})
        try:
            return [first, *(MaskRecord(**values) for values in self.more_masks)]
        except TypeError as error:
            raise DataError(f"more_masks of record {self.id} is damaged ({error}); restore the records") from error

    @property
    def hashes(self) -> tuple[str | None, ...]:
        """The hashes of the image's, of every mask's and of every object's file."""
        return (self.image_sha256, *(mask.sha256 for mask in self.masks), *(one["sha256"] for one in self.objects))

    @property
    def file_names(self) -> tuple[str, ...]:
        """The image's file, every mask's and every object's, relative to the record's folder."""
        objects = (one["file_name"] for one in self.objects)
        return (self.file_name, *(mask.file_name for mask in self.masks), *objects)

    def to_dict(self) -> dict[str, Any]:
        """JSON values, `file_name` first, so that a folder of pairs loads as an image folder."""
        return asdict(self)

    def to_line(self) -> bytes:
        """The record as a line of `metadata.jsonl`."""
        return (json.dumps(self.to_dict(), allow_nan=False) + "\n").encode()

    @classmethod
    def from_dict(cls, values: Any, *, where: str) -> PairRecord:
        """The record of JSON values, of this schema or of one before.

        Args:
            values: what `to_dict` gave, now or in a former version.
            where:  what to call it in messages, such as `line 3 of pairs/metadata.jsonl`.

        Raises:
            DataError: no record, of a newer schema, with a key missing, or damaged.
        """
        names = {item.name for item in fields(cls)}
        values = _unfolded(values, where) if isinstance(values, dict) else {}
        if values.get("schema", 1) == 1:
            values = _from_schema_1(values, where)
        if values["schema"] in (2, 3, 4, 5):
            values = {**values, "schema": SCHEMA}
        if not isinstance(values["schema"], int) or values["schema"] > SCHEMA:
            raise DataError(
                f"{where} has schema {values['schema']}; this nerp reads up to {SCHEMA}: install a newer one"
            )
        missing = sorted(names - values.keys() - OPTIONAL)
        if missing:
            raise DataError(f"{where} lacks {', '.join(missing)}; give a record that nerp wrote")
        kinds = {"mask_labels": list, "rule": dict, "physics": dict, "objects": list, "variation": dict}
        kinds |= {"shown_findings": list}
        damaged = [name for name, kind in kinds.items() if not isinstance(values.get(name, kind()), kind)]
        if damaged or not all(_is_object(one) for one in values.get("objects", ())):
            raise DataError(f"{where} is damaged: {' or '.join(damaged) or 'objects'} holds no such thing; restore it")
        return cls(**{name: values[name] for name in names & values.keys()})

    def make_camera(self) -> Camera:
        """The float64 camera, a batch of one, that the record holds.

        Raises:
            DataError: its numbers are damaged or missing.
        """
        try:
            return Camera.from_dict(self.camera)
        except (GeometryError, KeyError, TypeError, ValueError) as error:
            raise DataError(f"the camera of record {self.id} is damaged ({error}); restore the records") from error


def _unfolded(values: dict[str, Any], where: str) -> dict[str, Any]:
    """The record that a line holds as text beside columns, as data sets do whose columns have one type each."""
    if not isinstance(text := values.get(FOLDED), str):
        return values
    try:
        whole = json.loads(text)
    except ValueError as error:
        raise DataError(f"{where} has a {FOLDED} that is no JSON ({error}); restore the records") from error
    return whole if isinstance(whole, dict) else {}


def _is_object(values: Any) -> bool:
    return isinstance(values, dict) and {"name", "file_name", "sha256"} <= values.keys()


def mask_fields(masks: Sequence[MaskRecord]) -> dict[str, Any]:
    """What a record says of its masks: the fields of the first, and `more_masks`."""
    if not masks:
        nothing: dict[str, Any] = dict.fromkeys(OF_THE_FIRST.values())
        lists: dict[str, Any] = {name: [] for name in (*LISTS, "more_masks")}
        return {**nothing, **lists, "rule": {}, "mask_name": "", "mask_rule_reason": "stated"}
    first = {key: getattr(masks[0], own) for own, key in OF_THE_FIRST.items()}
    return {**first, "more_masks": [asdict(mask) for mask in masks[1:]]}


def _from_schema_1(values: Mapping[str, Any], where: str) -> dict[str, Any]:
    """A record of the first schema under today's keys and in today's geometry.

    The first schema smoothed masks as if the field of view had not been scaled; its `smooth_mm` is scaled here
    instead, which gives the same mask.
    """
    renamed = {_RENAMED_IN_2.get(key, key): value for key, value in values.items()}
    rule, camera = renamed.get("rule"), renamed.get("camera")
    if isinstance(rule, dict):
        rule = {_RULE_NUMBERS_RENAMED_IN_2.get(key, key): value for key, value in rule.items()}
    if isinstance(camera, dict):
        try:
            camera, scale = _with_unit_directions(camera)
        except (KeyError, TypeError, ValueError, RuntimeError) as error:
            raise DataError(f"the camera of {where} is damaged ({error}); restore the records") from error
        if isinstance(rule, dict) and "smooth_mm" in rule:
            rule = {**rule, "smooth_mm": rule["smooth_mm"] * scale}
    changed = {"rule": rule, "camera": camera} if {"rule", "camera"} <= renamed.keys() else {}
    return {**renamed, **changed, "schema": 2}


def _with_unit_directions(numbers: Mapping[str, Any]) -> tuple[dict[str, Any], float]:
    """A camera of schema 1 with directions of length 1, and the length that its columns' had."""
    right, down = (
        torch.tensor(numbers[name], dtype=torch.float64, device="cpu") for name in ("image_right", "image_down")
    )
    lengths = [_length(directions) for directions in (down, right)]
    pixel_mm = torch.cat([length * pixel for length, pixel in zip(lengths, numbers["pixel_mm"], strict=True)], dim=1)
    units = {"image_down": (down / lengths[0]).tolist(), "image_right": (right / lengths[1]).tolist()}
    return {**numbers, **units, "pixel_mm": pixel_mm.tolist()}, float(lengths[1][0])


def _length(directions: Tensor) -> Tensor:
    """(B, 1) lengths; exactly 1 where only rounding differs, so that nothing is rounded twice."""
    lengths = directions.norm(dim=-1, keepdim=True)
    return torch.where((lengths - 1).abs() < 1e-12, 1.0, lengths)
