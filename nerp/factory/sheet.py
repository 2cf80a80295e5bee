"""A sheet of some pairs of a set with the outlines of their masks, for its card; the same pairs give the same bytes."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from nerp.data.images import png_bytes
from nerp.factory.layouts import Sample

SHOWN, COLUMNS = 8, 4
SIDE, GAP = 192, 4
"""Pixels: of the square that a pair is fitted into, and between two of them."""
COLOURS = ((255, 170, 0), (0, 200, 255), (120, 255, 90), (255, 90, 160), (190, 140, 255), (255, 255, 110))
"""Of the first mask, the second, …; from the start again where there are more."""


def tile_of(sample: Sample) -> np.ndarray:
    """A pair, (S, S, 3) uint8 with S of `SIDE`, fitted in by whole numbers of pixels, masks outlined."""
    shown = np.asarray(sample.pair.shown, np.float64)
    rows, columns = _places(shown.shape)
    small = np.rint(255 * _means(shown, rows, columns)).astype(np.uint8)
    picture = np.repeat(small[..., None], 3, axis=2)
    for number, mask in enumerate(sample.pair.masks):
        inside = _means((mask > 0).astype(np.float64), rows, columns) > 0.5
        picture[_edge(inside)] = COLOURS[number % len(COLOURS)]
    tile = np.zeros((SIDE, SIDE, 3), np.uint8)
    top, left = (SIDE - picture.shape[0]) // 2, (SIDE - picture.shape[1]) // 2
    tile[top : top + picture.shape[0], left : left + picture.shape[1]] = picture
    return tile


def _places(shape: tuple[int, ...]) -> list[np.ndarray]:
    """Where, in pixels, the picture's rows and columns begin, and where the last ends."""
    scale = SIDE / max(shape)
    sides = [max(1, round(side * scale)) for side in shape]
    return [np.linspace(0, side, small + 1) for side, small in zip(shape, sides, strict=True)]


def _means(image: np.ndarray, rows: np.ndarray, columns: np.ndarray) -> np.ndarray:
    """The image's mean between places, by its integral, along one side and then the other."""
    for places in (rows, columns):
        total = np.concatenate([np.zeros((1, image.shape[1])), np.cumsum(image, axis=0)])
        below = np.minimum(places.astype(int), image.shape[0] - 1)
        part = (places - below)[:, None]
        at = total[below] * (1 - part) + total[below + 1] * part
        image = (np.diff(at, axis=0) / np.diff(places)[:, None]).T
    return image


def _edge(mask: np.ndarray) -> np.ndarray:
    padded = np.pad(mask, 1)
    inner = padded[:-2, 1:-1] & padded[2:, 1:-1] & padded[1:-1, :-2] & padded[1:-1, 2:]
    return mask & ~inner


def shown_shards(count: int) -> set[int]:
    """The shards whose pairs are shown, spread over all of them."""
    return set(np.linspace(0, count - 1, min(count, SHOWN)).round().astype(int).tolist()) if count else set()


def sheet_of(tiles: Sequence[np.ndarray]) -> bytes:
    """The PNG of some tiles, (S, S, 3) uint8 each with S of `SIDE`, spread over all that there are."""
    chosen = np.linspace(0, len(tiles) - 1, min(len(tiles), SHOWN)).round().astype(int).tolist()
    height = -(-len(chosen) // COLUMNS)
    width = min(len(chosen), COLUMNS)
    sheet = np.full((height * (SIDE + GAP) + GAP, width * (SIDE + GAP) + GAP, 3), 255, np.uint8)
    for place, number in enumerate(chosen):
        top, left = (GAP + (SIDE + GAP) * step for step in divmod(place, COLUMNS))
        sheet[top : top + SIDE, left : left + SIDE] = tiles[number]
    return png_bytes(sheet)
