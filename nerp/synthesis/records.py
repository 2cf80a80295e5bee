"""The record of a pair: every number that renders it again, and nothing that names a patient."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import Tensor

from nerp import __version__
from nerp.camera import Camera
from nerp.errors import DataError, GeometryError, UsageError


def camera_of(record: dict) -> Camera:
    """The float64 camera, a batch of one, that a record holds.

    Raises:
        DataError: its numbers are damaged or missing.
    """
    try:
        return Camera.from_dict(_with_unit_directions(record["camera"]))
    except (GeometryError, KeyError, TypeError, ValueError) as error:
        raise DataError(f"the camera of record {record.get('id')} is damaged ({error}); restore the records") from error


def _with_unit_directions(numbers: dict) -> dict:
    """Before schema 2 one `pixel_mm` served all views, and the length of each direction multiplied it."""
    pixels = numbers["pixel_mm"]
    if pixels and isinstance(pixels[0], list):
        return numbers
    right, down = (torch.tensor(numbers[name], dtype=torch.float64) for name in ("image_right", "image_down"))
    lengths = [_length(directions) for directions in (down, right)]
    pixel_mm = torch.cat([length * pixel for length, pixel in zip(lengths, pixels, strict=True)], dim=1)
    units = {"image_down": (down / lengths[0]).tolist(), "image_right": (right / lengths[1]).tolist()}
    return {**numbers, **units, "pixel_mm": pixel_mm.tolist()}


def _length(directions: Tensor) -> Tensor:
    """(B, 1) lengths; exactly 1 where only rounding differs, so that nothing is rounded twice."""
    lengths = directions.norm(dim=-1, keepdim=True)
    return torch.where((lengths - 1).abs() < 1e-12, 1.0, lengths)


def pair_id(ct_sha256: str, view_index: int) -> str:
    """The name of a pair's files: from the CT's hash and the view, never from a file's name."""
    return f"{ct_sha256[:12]}_{view_index:03d}"


def whole_record(
    made: dict, *, files: tuple[str, str | None], hashes: tuple[str, str | None], seed: int | None, view_index: int
) -> dict:
    """A pair's record with what names it in front, its image's file first.

    Args:
        made:   what the synthesiser says of the pair.
        files:  names of image and mask, relative to the record's folder.
        hashes: SHA-256 of CT and labels.
    """
    return {
        "file_name": files[0],
        "mask_file_name": files[1],
        "id": pair_id(hashes[0], view_index),
        "ct_sha256": hashes[0],
        "labels_sha256": hashes[1],
        "seed": seed,
        "view_index": view_index,
        **made,
    }


def pair_generator(seed: int, ct_sha256: str, view_index: int) -> torch.Generator:
    """Each pair's own randomness, whatever was rendered before it and in which order."""
    digest = hashlib.sha256(f"{seed}:{ct_sha256}:{view_index}".encode()).digest()
    return torch.Generator().manual_seed(int.from_bytes(digest[:8], "big") >> 1)


def environment(device: str) -> dict:
    """What, beside the settings, decides the last bits of an image."""
    return {
        "nerp": __version__,
        "torch": str(torch.__version__),
        "device": device,
        "threads": torch.get_num_threads(),
    }


def check_device(device: str) -> str:
    """The device, if this machine has it.

    Raises:
        UsageError: an unknown device, or `cuda` without a usable GPU.
    """
    if device not in ("cpu", "cuda"):
        raise UsageError(f"device is {device!r}; expected cpu or cuda")
    if device == "cuda" and not torch.cuda.is_available():
        raise UsageError("device is cuda, but torch finds no usable GPU here; use cpu, or a machine with one")
    return device


@contextmanager
def repeatable(threads: int | None = None) -> Iterator[None]:
    """Render with `threads` CPU threads and deterministic GPU kernels, then restore what was set."""
    before = torch.get_num_threads()
    torch.set_num_threads(threads or before)
    try:
        with torch.inference_mode(), torch.backends.cudnn.flags(benchmark=False, deterministic=True, allow_tf32=False):
            yield
    finally:
        torch.set_num_threads(before)


def differences(record: dict, here: dict) -> list[str]:
    """How this environment differs from the one a pair was made in: `torch 2.4.0 then, 2.5.0 here`."""
    return [f"{key} {record[key]} then, {value} here" for key, value in here.items() if record.get(key) != value]
