"""What an extractor says of a set of images, and whom the images are of."""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from dataclasses import dataclass

from torch import Tensor


@dataclass(frozen=True)
class Sample:
    """Features of a set of images.

    Args:
        features: (N, F) float64.
        logits:   (N, K) class logits, or None without classes.
        groups:   one label an image, of the patient it is of; None where every image stands alone.
    """

    features: Tensor
    logits: Tensor | None = None
    groups: Sequence[Hashable] | None = None

    @property
    def labels(self) -> Sequence[Hashable]:
        """One label an image."""
        return range(len(self.features)) if self.groups is None else self.groups

    @property
    def n_images(self) -> int:
        """How many images there are."""
        return len(self.features)

    @property
    def n_groups(self) -> int:
        """How many patients they are of, as far as told."""
        return len(set(self.labels))
