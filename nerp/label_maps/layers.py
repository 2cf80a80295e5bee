"""Label maps of several layers in one file: taken apart, each structure with a value of its own."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import numpy as np

from nerp.errors import VolumeError
from nerp.label_maps.stored import CONVERT, Structure, pack
from nerp.volume import MAX_LABEL, check_label_values

log = logging.getLogger(__name__)

ReadLayer = Callable[[int], np.ndarray]
"""From a layer's number to its values (I, J, K)."""


def from_layers(path: Path, read: ReadLayer, n_layers: int, *, max_voxels: int) -> list[np.ndarray]:
    """The maps of layers of which nothing is known but their values.

    Layers of 0 and 1 alone are a structure each: layer 0 is label 1, layer 1 is label 2. Where every voxel
    lies in exactly one of them, layer 0 is the background, and layer 1 is label 1. Layers of other values
    keep those, where no value stands in two layers.

    Args:
        path:       as messages name it.
        read:       gives one layer's values (I, J, K); called twice for each.
        n_layers:   how many there are.
        max_voxels: more, in all maps together, are refused.

    Returns:
        Maps (I, J, K) of whole numbers.

    Raises:
        VolumeError: values that are no labels, or one value in two layers.
    """
    held: list[set[int]] = []
    covered: np.ndarray | None = None
    for number in range(n_layers):
        layer = _whole(path, read(number))
        held.append(set(np.unique(layer).tolist()) - {0})
        covered = (layer > 0).astype(np.int32) if covered is None else covered + (layer > 0)
    binary = all(values <= {1} for values in held)
    one_hot = binary and n_layers > 1 and covered is not None and bool((covered == 1).all())
    if not binary:
        _check_apart(path, held)
    elif n_layers > 1:
        first = (
            "layer 0 is taken for the background, layer 1 for label 1" if one_hot else "layer 0 is taken for label 1"
        )
        log.warning("%s: has %d layers of 0 and 1; %s, and so on", path, n_layers, first)
    values = [[number + (0 if one_hot else 1)] if binary else sorted(held[number]) for number in range(n_layers)]
    shape = covered.shape if covered is not None else (0, 0, 0)
    return pack(path, _structures(read, values, binary=binary), shape, max_voxels=max_voxels)


def _structures(read: ReadLayer, values: Sequence[Sequence[int]], *, binary: bool) -> Iterator[Structure]:
    for number, wanted in enumerate(values):
        layer = read(number)
        for value in wanted:
            if value:
                yield value, layer == (1 if binary else value)


def _whole(path: Path, layer: np.ndarray) -> np.ndarray:
    check_label_values(path, layer, may_be_empty=True)
    return layer


def _check_apart(path: Path, held: Sequence[set[int]]) -> None:
    seen: set[int] = set()
    for number, values in enumerate(held):
        if seen & values:
            value = min(seen & values)
            raise VolumeError(
                f"{path}: layer {number} of {len(held)} holds the value {value} of an earlier one; {CONVERT}"
            )
        seen |= values


def free_values(used: set[int]) -> Iterator[int]:
    """Label values that nothing has, ascending from above the largest that is used."""
    yield from range(max(used, default=0) + 1, MAX_LABEL)
