"""Which device computes, chosen by name."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from nerp.errors import UsageError

SINGLE: dict[str, Any] = {"dtype": torch.float32, "device": "cpu"}
WHOLE: dict[str, Any] = {"dtype": torch.int64, "device": "cpu"}
"""What new tensors are, whatever `torch.set_default_dtype` and `torch.set_default_device` say; use as `**SINGLE`."""

DEVICES = ("auto", "cpu", "cuda")


def single(values: Any) -> Tensor:
    """A new float32 tensor on the CPU, of (nested) numbers of any unit: (N,), (N, M), ...; whatever the defaults."""
    return torch.tensor(values, **SINGLE)


def choose_device(name: str) -> torch.device:
    """The device of a name: `auto` takes CUDA where it is usable and the CPU elsewhere.

    Args:
        name: `auto`, `cpu` or `cuda`.

    Returns:
        `cpu`, or `cuda`: torch's current CUDA device.

    Raises:
        UsageError: another name, or `cuda` where there is none to use, with the reason.
    """
    if name not in DEVICES:
        raise UsageError(f"unknown device {name!r}; expected one of {', '.join(DEVICES)}")
    if name == "cuda" and not torch.cuda.is_available():
        reason = "finds no usable GPU" if torch.version.cuda else "is built without CUDA"
        raise UsageError(f"device 'cuda' is not usable here: this torch {reason}; use auto or cpu")
    if name == "auto":
        name = "cuda" if torch.cuda.is_available() else "cpu"
    return torch.device(name)
