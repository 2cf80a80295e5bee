"""What people pass to Python functions: arrays and lists where tensors are meant, one number for several."""

from __future__ import annotations

import math
import numbers
from typing import Any

import numpy as np
import torch
from torch import Tensor

from nerp.errors import GeometryError, UsageError

MOST_LABEL = 2**31 - 1


def tensor_of(what: str, value: Any) -> Tensor:
    """A tensor of a tensor, an array or nested lists of numbers, of the same shape (...) and unit.

    Floating types stay as they are; numbers of Python become float64, whole ones float32.

    Args:
        what:  the argument's name, for the message.
        value: given.

    Raises:
        GeometryError: not numbers, or lists of unequal lengths.
    """
    if isinstance(value, Tensor):
        return value if value.is_floating_point() else value.to(torch.float32)
    try:
        array = np.asarray(value)
        if array.dtype.kind not in "fiub":
            raise ValueError(f"values of type {array.dtype}")
        array = array.astype(np.float32) if array.dtype.kind in "iub" else array
        return torch.from_numpy(np.ascontiguousarray(array.astype(array.dtype.newbyteorder("="))))
    except (TypeError, ValueError) as error:
        raise GeometryError(
            f"{what} is {type(value).__name__} ({error}); expected a tensor or array of numbers"
        ) from None


def image_shape(shape: Any) -> tuple[int, int]:
    """(H, W) of a pair of counts, or of one count for both.

    Raises:
        GeometryError: neither.
    """
    pair = (shape, shape) if isinstance(shape, numbers.Integral) else shape
    try:
        rows, columns = (float(count) for count in pair if not isinstance(count, str))
        if rows.is_integer() and columns.is_integer() and min(rows, columns) >= 1:
            return int(rows), int(columns)
    except (TypeError, ValueError):
        pass
    found = tuple(shape) if isinstance(shape, list | tuple) else shape
    raise GeometryError(f"camera shape is {found!r}; expected (H, W), both at least 1")


def label_values(labels: Any) -> list[int]:
    """Label values of one, or of several.

    Args:
        labels: an integer, or a sequence or array of them.

    Raises:
        UsageError: none, names, fractions, or values beyond 32 bits.
    """
    several = labels.tolist() if isinstance(labels, Tensor | np.ndarray) else labels
    try:
        several = [several] if isinstance(several, numbers.Number | str) else list(several)
    except TypeError:
        several = [several]
    if not several:
        raise UsageError("no labels are asked for; expected at least one integer")
    return [_label(one) for one in several]


def _label(label: Any) -> int:
    value = float(label) if isinstance(label, numbers.Real) else math.nan
    if value.is_integer() and abs(value) <= MOST_LABEL:
        return int(value)
    names = "; names are for select_labels(text, names)" if isinstance(label, str) else ""
    raise UsageError(f"label {label!r} is no integer of 32 bits; expected label values such as 10{names}")
