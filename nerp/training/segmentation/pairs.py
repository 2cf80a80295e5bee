"""Labelled pairs as a segmenter's training needs them: all in memory, at one size."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import torch
from torch import Tensor

from nerp.data.images import read_mask
from nerp.data.structures import check_outlined, find_outlined, structure_names
from nerp.errors import DataError
from nerp.networks.segmenter import resize
from nerp.training.images import load_images


def load_pairs(
    folder: str | Path, side: int, *, mask_name: str | None = None, skip_bad: bool = False
) -> tuple[Tensor, Tensor]:
    """All pairs of a folder.

    Args:
        folder:    holds images/ and masks/, matched by file name; or a public set. See `find_pairs`.
        side:      pixels; every image becomes a square of it.
        mask_name: which of the pairs' masks, where they have several; or several, with commas between.
        skip_bad:  leave pairs out that cannot be read, with a warning.

    Returns:
        Images (N, 1, side, side) uint8, 0 to 255, and masks (N, K, side, side) uint8, 0 or 1, of K structures.

    Raises:
        DataError: fewer than two pairs, unreadable files, or masks that are all empty.
    """
    names = structure_names(mask_name)
    pairs = check_outlined(find_outlined(folder, names)[0], skip_bad=skip_bad)[0]
    if len(pairs) < 2:
        raise DataError(f"{folder} has {len(pairs)} image-mask pairs; expected 2 or more, matched by file name")
    images = load_images([image for image, _ in pairs], side)
    masks = torch.cat([_masks(files, side) for _, files in pairs])
    for name, channel in zip(names or ("",), masks.unbind(1), strict=True):
        if not channel.any():
            of = f" of {name}" if len(names) > 1 else ""
            raise DataError(
                f"all {len(pairs)} masks{of} in {folder} are empty; expected some pixels of the structure to learn"
            )
    return images, masks


def _masks(structures: Sequence[Sequence[Path]], side: int) -> Tensor:
    """(1, K, side, side) uint8, 0 or 1."""
    masks = [resize(read_mask(files), (side, side)) > 0.5 for files in structures]
    return torch.cat(masks, dim=1).to(torch.uint8)
