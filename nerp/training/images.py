"""Images as a training needs them: all in memory, at one size."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import torch
from torch import Tensor

from nerp.data.images import read_image
from nerp.networks.segmenter import resize


def load_images(files: Sequence[Path], side: int) -> Tensor:
    """(N, 1, side, side) uint8, 0 to 255, each image squared to a side, antialiased.

    Args:
        files: images, at least one.
        side:  pixels.

    Raises:
        DataError: see `read_image`.
    """
    squares = (resize(read_image(file), (side, side)) for file in files)
    return torch.cat([(square * 255).round().clamp(0, 255).to(torch.uint8) for square in squares])
