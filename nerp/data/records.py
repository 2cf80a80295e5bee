"""The record of a pair: every number that renders it again, and nothing that names a patient.

This is the one place that writes and reads records. `SCHEMA` counts up whenever a key changes; records of every
schema before are brought up to date when they are read, so that they still replay.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from typing import Any

import torch
from torch import Tensor

from nerp.camera import Camera
from nerp.errors import DataError, GeometryError

SCHEMA = 2
"""1: a direction's length multiplied one `pixel_mm` of all views; keys `hiding_labels`, `mask_share`, ...
2: unit directions, `pixel_mm` of each view; `view` is measured; the processor is named."""

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
        display:               how the image was scaled: `name`, `low`, `high`.
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
        schema:                of the keys; a record of a former schema is brought to this one when it is read.
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
    schema: int = SCHEMA

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
        if not isinstance(values, dict):
            values = {}
        if values.get("schema", 1) == 1:
            values = _from_schema_1(values, where)
        if not isinstance(values["schema"], int) or values["schema"] > SCHEMA:
            raise DataError(
                f"{where} has schema {values['schema']}; this nerp reads up to {SCHEMA}: install a newer one"
            )
        missing = sorted(names - values.keys() - {"processor"})
        if missing:
            raise DataError(f"{where} lacks {', '.join(missing)}; give a record that nerp wrote")
        if not isinstance(values["mask_labels"], list) or not isinstance(values["rule"], dict):
            raise DataError(f"{where} is damaged: mask_labels or rule hold no such thing; restore the records")
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
    return {**renamed, **changed, "schema": SCHEMA}


def _with_unit_directions(numbers: Mapping[str, Any]) -> tuple[dict[str, Any], float]:
    """A camera of schema 1 with directions of length 1, and the length that its columns' had."""
    right, down = (torch.tensor(numbers[name], dtype=torch.float64) for name in ("image_right", "image_down"))
    lengths = [_length(directions) for directions in (down, right)]
    pixel_mm = torch.cat([length * pixel for length, pixel in zip(lengths, numbers["pixel_mm"], strict=True)], dim=1)
    units = {"image_down": (down / lengths[0]).tolist(), "image_right": (right / lengths[1]).tolist()}
    return {**numbers, **units, "pixel_mm": pixel_mm.tolist()}, float(lengths[1][0])


def _length(directions: Tensor) -> Tensor:
    """(B, 1) lengths; exactly 1 where only rounding differs, so that nothing is rounded twice."""
    lengths = directions.norm(dim=-1, keepdim=True)
    return torch.where((lengths - 1).abs() < 1e-12, 1.0, lengths)
