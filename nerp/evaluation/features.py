"""Images to features: what networks say of each, so that two sets of images can be compared.

Each image is decoded once for all extractors, a few threads ahead of the networks, and resized once for each side that
they ask for.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import TypeAlias

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from nerp.data.checking import Bad
from nerp.data.images import read_colour
from nerp.errors import DataError, EvaluationError

Features: TypeAlias = tuple[Tensor, Tensor | None]
"""Features (B, F), and class logits (B, K) or None."""

BATCH = 16
DECODERS = 2
"""Threads that read images while the networks work on those before."""

Squares: TypeAlias = dict[int, Tensor]
"""An image (1, 3, side, side) float32 in 0..1 for each side."""


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

    @property
    def resize(self) -> str:
        """The rule by which images get their size, as the result states it."""
        return f"bilinear, antialiased, to {self.side} x {self.side}"


@dataclass(frozen=True)
class Extraction:
    """What several extractors say of the same images.

    Args:
        files:    the images that could be read, in their order.
        bad:      those that could not.
        features: of each extractor, (N, F) float64 and (N, K) float64 logits or None, N as many as `files`.
    """

    files: list[Path]
    bad: list[Bad]
    features: list[Features]


def extract(
    extractor: Extractor,
    files: list[Path],
    *,
    batch_size: int = BATCH,
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
    return extract_all([extractor], files, batch_size=batch_size, progress=progress).features[0]


def extract_all(
    extractors: Sequence[Extractor],
    files: Sequence[Path],
    *,
    skip_bad: bool = False,
    batch_size: int = BATCH,
    progress: Callable[[int, int], None] | None = None,
) -> Extraction:
    """Features of image files by several extractors, each image decoded once.

    Args:
        extractors: from `load_extractor`.
        files:      image files of any kind that `read_stored` knows.
        skip_bad:   leave images that turn out damaged out, and list them.
        batch_size: images at a time.
        progress:   called as progress(images done, images in all).

    Raises:
        DataError: a file that is no image, or none that is one.
        EvaluationError: features that are not finite, or not one row an image.
    """
    parts: list[list[Features]] = [[] for _ in extractors]
    good: list[Path] = []
    bad: list[Bad] = []
    done = 0
    for batch in _batches(_decoded(files, sorted({one.side for one in extractors})), batch_size):
        done += len(batch)
        whole = [(path, squares) for path, squares in batch if isinstance(squares, dict)]
        bad += _refused(batch, skip_bad=skip_bad)
        good += [path for path, _ in whole]
        for extractor, part in zip(extractors, parts, strict=True):
            if whole:
                part.append(_features_of(extractor, [squares[extractor.side] for _, squares in whole]))
        if progress is not None:
            progress(done, len(files))
    if not good:
        raise DataError(f"none of {len(files)} images can be read: {bad[0].reason}")
    return Extraction(good, bad, [_joined(part) for part in parts])


def _refused(batch: Iterable[tuple[Path, Squares | DataError]], *, skip_bad: bool) -> list[Bad]:
    bad = [(path, found) for path, found in batch if isinstance(found, DataError)]
    if bad and not skip_bad:
        raise bad[0][1]
    return [Bad(path, str(error)) for path, error in bad]


def _joined(parts: Sequence[Features]) -> Features:
    logits = [classes for _, classes in parts if classes is not None]
    return torch.cat([rows for rows, _ in parts]).double(), torch.cat(logits).double() if logits else None


def _batches(items: Iterator[tuple[Path, Squares | DataError]], size: int) -> Iterator[list]:
    batch = []
    for item in items:
        batch.append(item)
        if len(batch) == size:
            yield batch
            batch = []
    if batch:
        yield batch


def _decoded(files: Sequence[Path], sides: Sequence[int]) -> Iterator[tuple[Path, Squares | DataError]]:
    """Each file and its squares, or why it has none; read ahead, two batches at most."""
    pool = ThreadPoolExecutor(DECODERS, thread_name_prefix="decoder")
    waiting: deque[tuple[Path, Future[Squares | DataError]]] = deque()
    try:
        for path in files:
            waiting.append((path, pool.submit(_squares, path, sides)))
            if len(waiting) > 2 * BATCH:
                first, found = waiting.popleft()
                yield first, found.result()
        for first, found in waiting:
            yield first, found.result()
    finally:
        pool.shutdown(wait=True, cancel_futures=True)


def _squares(path: Path, sides: Sequence[int]) -> Squares | DataError:
    try:
        image = read_colour(path)
    except DataError as error:
        return error
    return {side: _square(image, side) for side in sides}


def read_square(path: Path, side: int) -> Tensor:
    """An image file squared: bilinear, antialiased where it shrinks.

    Args:
        path: of an image of any kind that `read_stored` knows.
        side: of the square, pixels.

    Returns:
        (1, 3, side, side) float32 in 0..1.
    """
    return _square(read_colour(path), side)


def _square(colours: np.ndarray, side: int) -> Tensor:
    """(1, 3, side, side) of (H, W, 3); what is grey is resized once for all three channels."""
    is_grey = np.array_equal(colours[..., 0], colours[..., 1]) and np.array_equal(colours[..., 0], colours[..., 2])
    image = torch.from_numpy(np.ascontiguousarray(colours[..., :1] if is_grey else colours)).permute(2, 0, 1)[None]
    small = F.interpolate(image, size=(side, side), mode="bilinear", antialias=True, align_corners=False)
    return small.clamp(0, 1).expand(1, 3, side, side)


def _features_of(extractor: Extractor, squares: Sequence[Tensor]) -> Features:
    """What the network says of one batch of images, on the CPU."""
    images = torch.cat(list(squares)).to(extractor.device)
    with torch.inference_mode():
        features, classes = extractor.call(images)
    features = _checked(features, len(squares), extractor.name)
    return features.cpu(), None if classes is None else classes.cpu()


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
