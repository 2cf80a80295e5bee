"""Images of one shape in one file on disk, each in its own place, for sets that are too large for the memory."""

from __future__ import annotations

import hashlib
import logging
import zlib
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

LEVELS = 65535
KEY_BYTES, SUM_BYTES = 16, 4


class KeptImages:
    """Grey images in [0, 1], kept as 16-bit numbers in the places of one file.

    A place holds the key of what it was made from, a checksum, and the image. What a killed process
    wrote in part, what was made from another file, and what was never written all fail that test and count as absent,
    so that several processes may read and write at once and none has to mend anything. Nothing stays in
    memory and no file stays open.

    Args:
        path:  of the file, made when first written to; the parts that were never written take no room.
        shape: (H, W) of every image.
    """

    def __init__(self, path: Path, shape: tuple[int, int]):
        self.path, self.shape = path, shape
        self._n_bytes = 2 * shape[0] * shape[1]
        self._is_writable = True

    def read(self, place: int, key: bytes) -> Tensor | None:
        """The image of a place, (1, H, W) float32 in [0, 1], or None where it is not there.

        Args:
            place: from 0.
            key:   of what the image was made from, of any length.
        """
        try:
            with self.path.open("rb") as file:
                file.seek(place * self._stride)
                found = file.read(self._stride)
        except OSError:
            return None
        head, data = found[: KEY_BYTES + SUM_BYTES], found[KEY_BYTES + SUM_BYTES :]
        return self._image(data) if len(data) == self._n_bytes and head == _head(key, data) else None

    def write(self, place: int, key: bytes, image: Tensor) -> Tensor:
        """Put an image into its place; where that fails there is a warning, and nothing else is lost.

        Args:
            place: from 0.
            key:   of what the image was made from, of any length.
            image: (1, H, W) in [0, 1].

        Returns:
            (1, H, W) float32, the image as `read` will give it, whether it could be written or not.
        """
        data = np.rint(image.numpy() * LEVELS).astype("<u2").tobytes()
        if self._is_writable:
            try:
                self._put(place * self._stride, _head(key, data) + data)
            except OSError as error:
                self._is_writable = False
                logging.getLogger(__name__).warning(
                    "%s: cannot be written (%s); images are read again each time", self.path, error.strerror
                )
        return self._image(data)

    @property
    def _stride(self) -> int:
        return KEY_BYTES + SUM_BYTES + self._n_bytes

    def _put(self, at: int, data: bytes) -> None:
        self.path.parent.mkdir(parents=True, exist_ok=True)
        self.path.touch()
        with self.path.open("r+b") as file:
            file.seek(at)
            file.write(data)

    def _image(self, data: bytes) -> Tensor:
        values = np.frombuffer(data, "<u2").astype(np.float32) / LEVELS
        return torch.from_numpy(values.reshape(1, *self.shape))


def _head(key: bytes, data: bytes) -> bytes:
    return hashlib.blake2b(key, digest_size=KEY_BYTES).digest() + zlib.crc32(data).to_bytes(SUM_BYTES, "little")
