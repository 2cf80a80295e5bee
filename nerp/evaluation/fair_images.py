"""Two sets of images on equal terms: one size, one depth, one compression, so that files do not tell them apart.

What a file's history left in its pixels before it was stored cannot be undone: an image that was once a JPEG and is
now a PNG still shows it.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from nerp.data.compression import Table, coarsest, compressed, jpeg_table
from nerp.data.images import read_grey
from nerp.errors import EvaluationError

SMALLEST = 64
"""Sides below it, in pixels, hold too few frequencies to compare."""


@dataclass(frozen=True)
class FairImages:
    """Images of two sets, brought to the same terms.

    Args:
        pixels:     (N, S, S) uint8.
        side:       S, pixels.
        compressed: whether all went through the coarsest JPEG found among them.
        warnings:   what could not be made equal.
    """

    pixels: Tensor
    side: int
    compressed: bool
    warnings: list[str] = field(default_factory=list)

    def levels(self, rows: Tensor | slice = slice(None)) -> Tensor:
        """(n, S, S) float32 grey levels, 0 to 255, of some rows."""
        return self.pixels[rows].float()


def read_fairly(
    fake: Sequence[Path],
    real: Sequence[Path],
    *,
    side: int = 256,
    progress: Callable[[int, int], None] | None = None,
) -> FairImages:
    """Read both sets, the generated ones first, alike.

    Where any file is a JPEG, every image is first compressed by the coarsest table found. Then each is cut to its
    central square, shrunk once, antialiased, and rounded to 8 bits. No image is enlarged: where one is smaller than
    `side`, all are brought to the smallest.

    Args:
        fake:     files of generated images.
        real:     files of real ones.
        side:     pixels wanted.
        progress: called as progress(images done, images in all).

    Raises:
        DataError: a file that is no image.
        EvaluationError: an image smaller than 64 pixels.
    """
    files = [*fake, *real]
    tables = [jpeg_table(path) for path in files]
    table = coarsest(tables)
    read = []
    for number, path in enumerate(files, start=1):
        read.append(_square(path, side, table))
        if progress is not None:
            progress(number, len(files))
    sizes = [size for _, size in read]
    least = min(sizes)
    if least < SMALLEST:
        raise EvaluationError(
            f"{files[sizes.index(least)]} is {least} pixels wide or high; expected {SMALLEST} or more: leave it out"
        )
    used = min(side, least)
    if used < side:
        read = [_square(path, used, table) for path in files]
    pixels = torch.from_numpy(np.stack([image for image, _ in read]))
    warnings = _of_sizes(sizes[: len(fake)], sizes[len(fake) :], used, side) + _of_tables(tables, len(fake))
    return FairImages(pixels, used, table is not None, warnings)


def _square(path: Path, side: int, table: Table | None) -> tuple[np.ndarray, int]:
    """(side, side) uint8, or (n, n) of a smaller image, and n, its shorter side."""
    grey = read_grey(path)
    if table is not None:
        grey = compressed(grey, table)
    size = min(grey.shape)
    top, left = ((length - size) // 2 for length in grey.shape)
    image = torch.from_numpy(np.ascontiguousarray(grey[top : top + size, left : left + size]))[None, None]
    if size > side:
        image = F.interpolate(image, size=(side, side), mode="bilinear", antialias=True, align_corners=False)
    return (image[0, 0].clamp(0, 1) * 255).round().to(torch.uint8).numpy(), size


def _of_sizes(fake: list[int], real: list[int], used: int, wanted: int) -> list[str]:
    found = []
    if used < wanted:
        found.append(f"some images have {used} pixels only: all were brought to {used} instead of {wanted}")
    if sorted(set(fake)) != sorted(set(real)):
        spans = [
            f"{min(sizes)} to {max(sizes)}" if min(sizes) < max(sizes) else f"{min(sizes)}" for sizes in (fake, real)
        ]
        found.append(
            f"generated images have {spans[0]} pixels, real ones {spans[1]}: what resizing leaves in the finest detail "
            "may tell them apart; compare files of one size"
        )
    return found


def _of_tables(tables: Sequence[Table | None], n_fake: int) -> list[str]:
    kinds = [{table for table in part if table is not None} for part in (tables[:n_fake], tables[n_fake:])]
    lossy = kinds[0] | kinds[1]
    if not lossy:
        return []
    lossless = [None in part for part in (tables[:n_fake], tables[n_fake:])]
    if len(lossy) == 1 and kinds[0] == kinds[1] and not any(lossless):
        return []
    found = [
        "some files are JPEGs: all images were compressed by the coarsest of their tables, and finer detail is lost"
    ]
    if len(lossy) > 1:
        found.append(
            f"the JPEGs are of {len(lossy)} qualities: what was compressed twice may be told by it; compare files of "
            "one quality, or uncompressed ones"
        )
    return found
