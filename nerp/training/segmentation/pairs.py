"""Labelled pairs as a segmenter's training needs them: all in memory, at one size."""

from __future__ import annotations

from pathlib import Path

import torch
from torch import Tensor

from nerp.data.checking import check_pairs
from nerp.data.folders import find_pairs
from nerp.data.images import read_image, read_mask
from nerp.errors import DataError
from nerp.networks.segmenter import resize


def load_pairs(
    folder: str | Path, side: int, *, mask_name: str | None = None, skip_bad: bool = False
) -> tuple[Tensor, Tensor]:
    """All pairs of a folder.

    Args:
        folder:    holds images/ and masks/, matched by file name; or a public set. See `find_pairs`.
        side:      pixels; every image becomes a square of it.
        mask_name: which of the pairs' masks, where they have several.
        skip_bad:  leave pairs out that cannot be read, with a warning.

    Returns:
        Images, 0 to 255, and masks, 0 or 1, each (N, 1, side, side) uint8.

    Raises:
        DataError: fewer than two pairs, unreadable files, or masks that are all empty.
    """
    pairs, _ = find_pairs(folder, mask=mask_name)
    pairs = check_pairs(pairs, skip_bad=skip_bad)[0]
    if len(pairs) < 2:
        raise DataError(f"{folder} has {len(pairs)} image-mask pairs; expected 2 or more, matched by file name")
    images = torch.cat([resize(read_image(image), (side, side)) for image, _ in pairs])
    masks = torch.cat([resize(read_mask(mask), (side, side)) for _, mask in pairs])
    masks = (masks > 0.5).to(torch.uint8)
    if not masks.any():
        raise DataError(f"all {len(pairs)} masks in {folder} are empty; expected some pixels of the structure to learn")
    return (images * 255).round().clamp(0, 255).to(torch.uint8), masks
