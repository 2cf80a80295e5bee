"""An image as its file holds it, whatever the container, and what white is in it."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

LUMINANCE = np.array([0.299, 0.587, 0.114], np.float32)


@dataclass(frozen=True)
class StoredImage:
    """An image in its file's own scale, upright, bone bright where the file tells.

    Args:
        values:     (H, W) grey or (H, W, 3) colour, float32.
        white:      the value that is shown white; 0 is black.
        is_outside: (H, W) bool, True where there is padding and no image; None if nowhere.
    """

    values: np.ndarray
    white: float
    is_outside: np.ndarray | None = None

    @property
    def grey(self) -> np.ndarray:
        """(H, W) float32: the values, or their luminance."""
        return luminance(self.values)


def luminance(values: np.ndarray) -> np.ndarray:
    """(H, W) of grey (H, W) or of colours (H, W, 3); grey pixels stored in colour stay exactly what they are."""
    if values.ndim == 2:
        return values
    is_grey = (values == values[..., :1]).all(-1)
    return np.where(is_grey, values[..., 0], values @ LUMINANCE)
