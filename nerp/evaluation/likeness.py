"""How alike two radiographs are as pictures, whatever their size, compression, slight noise, grey scale or mirroring.

Each is made small and flat (every grey level as frequent as any other, so that no brightness, contrast or gamma
counts), loses its coarsest forms, which all chests share, and is laid on the other in several ways: the correlation of
the best is how alike they are. Rotated copies, and such as were cut by more than a few hundredths, are not found.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from nerp.data.images import read_grey
from nerp.devices import SINGLE

SIDE = 32
"""Pixels of the small image."""
COARSE = 2.0
"""Forms beyond this standard deviation of a Gaussian, in small pixels, are taken off."""
SHIFT = 1
"""Small pixels by which one image is shifted on the other."""


def read_small(files: Sequence[Path], *, progress: Callable[[int, int], None] | None = None) -> Tensor:
    """Image files as what `likeness` compares.

    Args:
        files:    image files of any kind that `read_stored` knows.
        progress: called as progress(images done, images in all).

    Returns:
        (N, 32, 32) float32, from `flattened`.

    Raises:
        DataError: a file that is no image.
    """
    found = []
    for number, path in enumerate(files, start=1):
        image = torch.from_numpy(np.ascontiguousarray(read_grey(path)))[None, None]
        size = (SIDE, SIDE)
        found.append(F.interpolate(image, size=size, mode="bilinear", antialias=True, align_corners=False)[:, 0])
        if progress is not None:
            progress(number, len(files))
    return flattened(torch.cat(found))


def flattened(images: Tensor) -> Tensor:
    """Each pixel's rank among its image's, from 0 to 1, without the coarse forms.

    Args:
        images: (N, S, S) float32 of any scale; equal values share their mean rank, so a flat image becomes 0.

    Returns:
        (N, S, S) float32. Any growing function of an image's values leaves it as it is.
    """
    ranks = torch.from_numpy(np.stack([_midranks(image) for image in images.flatten(1).numpy()]))
    ranked = ranks.view(len(images), 1, *images.shape[1:])
    reach = math.ceil(3 * COARSE)
    places = torch.arange(-reach, reach + 1, **SINGLE)
    weights = torch.exp(-0.5 * (places / COARSE).square())
    weights = weights / weights.sum()
    padded = F.pad(ranked, (reach,) * 4, mode="replicate")
    coarse = F.conv2d(F.conv2d(padded, weights.view(1, 1, 1, -1)), weights.view(1, 1, -1, 1))
    return (ranked - coarse)[:, 0]


def _midranks(values: np.ndarray) -> np.ndarray:
    """(n,) float32: the mean rank of equal values, 0 to 1."""
    _, place, counts = np.unique(values, return_inverse=True, return_counts=True)
    return ((np.cumsum(counts) - (counts + 1) / 2)[place] / max(len(values) - 1, 1)).astype(np.float32)


def likeness(first: Tensor, second: Tensor) -> Tensor:
    """The largest correlation of each image with each other, over shifts and with either side to the left.

    Args:
        first:  (N, S, S) from `flattened`.
        second: (M, S, S) likewise.

    Returns:
        (N, M) float32, -1 to 1; 1 is the same picture; a flat image has 0 with all.

    Source: normalised cross-correlation, Lewis 1995.
    """
    inner = slice(SHIFT, second.shape[-1] - SHIFT)
    fixed = _normalised(second[:, inner, inner]).T
    best = torch.full((len(first), len(second)), -1.0, **SINGLE)
    for moved in _laid(first):
        best = torch.maximum(best, _normalised(moved) @ fixed)
    return best.clamp(-1.0, 1.0)


def _laid(images: Tensor) -> Iterator[Tensor]:
    """Every way of laying images on others."""
    inner = images.shape[-1] - 2 * SHIFT
    for turned in (images, images.flip(-1)):
        for down in range(2 * SHIFT + 1):
            for across in range(2 * SHIFT + 1):
                yield turned[:, down : down + inner, across : across + inner]


def _normalised(images: Tensor) -> Tensor:
    """(N, P) of zero mean and unit length; zeros of a flat image."""
    flat = images.flatten(1)
    flat = flat - flat.mean(1, keepdim=True)
    return flat / flat.norm(dim=1, keepdim=True).clamp(min=1e-4)
