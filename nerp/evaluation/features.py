"""Images to features: what a network says of each, so that two sets of images can be compared."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TypeAlias

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from nerp.data.images import read_colour
from nerp.errors import EvaluationError

Features: TypeAlias = tuple[Tensor, Tensor | None]
"""Features (B, F), and class logits (B, K) or None."""


@dataclass(frozen=True)
class Extractor:
    """A feature network, and what identifies it.

    Args:
        name:   as the result states it.
        sha256: of the weights file.
        side:   images are brought to a square of so many pixels, antialiased.
        call:   (B, 3, side, side) float32 in 0..1 -> features (B, F) and class logits (B, K), or None without classes.
        device: where `call` takes its images and gives its features.
    """

    name: str
    sha256: str
    side: int
    call: Callable[[Tensor], Features]
    device: torch.device = torch.device("cpu")


def extract(
    extractor: Extractor,
    files: list[Path],
    *,
    batch_size: int = 16,
    progress: Callable[[int, int], None] | None = None,
) -> Features:
    """Features, and logits where there are classes, of image files, in their order.

    Args:
        extractor:  from `load_extractor`.
        files:      image files of any kind that `read_stored` knows.
        batch_size: images at a time; it does not change the features beyond rounding.
        progress:   called as progress(images done, images in all).

    Returns:
        (N, F) float64 features and (N, K) float64 logits or None, on the CPU.

    Raises:
        DataError: a file that is no image.
        EvaluationError: features that are not finite, or not one row an image.
    """
    rows, logits = [], []
    for start in range(0, len(files), batch_size):
        batch = files[start : start + batch_size]
        features, classes = _features_of(extractor, batch)
        rows.append(features)
        if classes is not None:
            logits.append(classes)
        if progress is not None:
            progress(start + len(batch), len(files))
    return torch.cat(rows).double(), torch.cat(logits).double() if logits else None


def _features_of(extractor: Extractor, files: list[Path]) -> Features:
    """What the network says of one batch of image files, on the CPU."""
    images = torch.cat([read_square(path, extractor.side) for path in files]).to(extractor.device)
    with torch.inference_mode():
        features, classes = extractor.call(images)
    features = _checked(features, len(files), extractor.name)
    return features.cpu(), None if classes is None else classes.cpu()


def read_square(path: Path, side: int) -> Tensor:
    """An image file squared: bilinear, antialiased where it shrinks.

    Args:
        path: of an image of any kind that `read_stored` knows.
        side: of the square, pixels.

    Returns:
        (1, 3, side, side) float32 in 0..1.
    """
    image = torch.from_numpy(np.ascontiguousarray(read_colour(path))).permute(2, 0, 1)[None]
    return F.interpolate(image, size=(side, side), mode="bilinear", antialias=True, align_corners=False).clamp(0, 1)


def _checked(features: object, count: int, name: str) -> Tensor:
    found = tuple(features.shape) if isinstance(features, Tensor) else type(features).__name__
    if not isinstance(features, Tensor) or features.ndim != 2 or len(features) != count or features.shape[1] < 2:
        raise EvaluationError(
            f"extractor {name} returned {found} for {count} images; expected features ({count}, F), F of 2 or more"
        )
    if not torch.isfinite(features).all():
        raise EvaluationError(
            f"extractor {name} returned features that are not finite; check the images and the weights"
        )
    return features
