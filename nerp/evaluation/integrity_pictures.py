"""Pictures of what gives generated images away: the places, the waves, and the most telling patches."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from nerp.data.images import png_bytes
from nerp.evaluation.patches import PATCH, patch_corner
from nerp.files import sha256, write_bytes

if TYPE_CHECKING:
    from nerp.evaluation.integrity import Evidence

LESS, NEUTRAL, MORE = np.array([(33, 102, 172), (247, 247, 247), (217, 95, 2)], np.float64)
"""Colours of an AUROC of 0, .5 and 1; told apart by the colour-blind, too."""
CELL = 32
"""Pixels of a wave's square."""
A_ROW = 8
"""Patches in a row."""
GAP = 4
"""Pixels between pictures."""


def write_pictures(folder: Path, evidence: Evidence, result: dict[str, Any]) -> dict[str, str]:
    """Write `places.png`, `waves.png` and `patches.png`.

    Args:
        folder:   made if missing.
        evidence: of the score.
        result:   from `evaluate_integrity`.

    Returns:
        Their names, and the SHA-256 of each, by which a report knows that they belong to the result.
    """
    drawn = {
        "places.png": places_picture(evidence, np.array(result["by_place"]["auroc"])),
        "waves.png": np.kron(coloured(np.array(result["by_wave"]["auroc"])), np.ones((CELL, CELL, 1))).astype(np.uint8),
        "patches.png": patches_picture(evidence, result["telling"]),
    }
    for name, pixels in drawn.items():
        write_bytes(folder / name, png_bytes(pixels))
    return {name: sha256(folder / name) for name in drawn}


def coloured(areas: np.ndarray) -> np.ndarray:
    """(H, W, 3) uint8 of (H, W) AUROCs: blue at 0, white at .5, orange at 1."""
    distance = np.abs(2 * areas - 1)[..., None].clip(0, 1)
    end = np.where(areas[..., None] < 0.5, LESS, MORE)
    return (NEUTRAL + distance * (end - NEUTRAL)).round().astype(np.uint8)


def places_picture(evidence: Evidence, areas: np.ndarray) -> np.ndarray:
    """The mean generated image, the mean real one, and the AUROC of each place in colour.

    Args:
        evidence: of the score.
        areas:    (R, R) AUROC of the patches of each place, 0 to 1.

    Returns:
        (S, 3 S + 2 gaps, 3) uint8. A pixel has the mean of the patches that it lies in.
    """
    n_fake, side = len(evidence.fake.files), evidence.images.side
    means = [evidence.images.levels(rows).mean(0).numpy() for rows in (slice(n_fake), slice(n_fake, None))]
    greys = [np.repeat(mean.round().astype(np.uint8)[..., None], 3, axis=2) for mean in means]
    return beside([*greys, coloured(_spread(areas, side))])


def _spread(areas: np.ndarray, side: int) -> np.ndarray:
    """(S, S): the mean AUROC of the patches that hold each pixel; .5 where none does."""
    sums, counts = np.zeros((side, side)), np.zeros((side, side))
    for place, area in enumerate(areas.flatten()):
        top, left = patch_corner(place, side)
        sums[top : top + PATCH, left : left + PATCH] += area
        counts[top : top + PATCH, left : left + PATCH] += 1
    return np.where(counts > 0, sums / counts.clip(min=1), 0.5)


def patches_picture(evidence: Evidence, listed: dict[str, list[dict[str, Any]]]) -> np.ndarray:
    """The most telling patches: generated ones above, real ones below a wider gap.

    Args:
        evidence: of the score.
        listed:   `telling` of the result.

    Returns:
        (H, W, 3) uint8.
    """
    numbers = {
        "generated": {file.name: row for row, file in enumerate(evidence.fake.files)},
        "real": {file.name: row + len(evidence.fake.files) for row, file in enumerate(evidence.real.files)},
    }
    blocks = [_montage(evidence, [(numbers[kind][one["file"]], one) for one in listed[kind]]) for kind in numbers]
    gap = np.full((3 * GAP, blocks[0].shape[1], 3), 255, np.uint8)
    return np.concatenate([blocks[0], gap, blocks[1]])


def _montage(evidence: Evidence, chosen: Sequence[tuple[int, dict[str, Any]]]) -> np.ndarray:
    """Patches in rows of `A_ROW`, (H, W, 3) uint8."""
    tiles = []
    for row, one in chosen:
        image = evidence.images.pixels[row].numpy()
        tile = image[one["row"] : one["row"] + PATCH, one["column"] : one["column"] + PATCH]
        tiles.append(np.repeat(tile[..., None], 3, axis=2))
    tiles += [np.full((PATCH, PATCH, 3), 255, np.uint8)] * (-len(tiles) % A_ROW)
    rows = [beside(tiles[start : start + A_ROW]) for start in range(0, len(tiles), A_ROW)]
    gap = np.full((GAP, rows[0].shape[1], 3), 255, np.uint8)
    return np.concatenate([part for row in rows for part in (row, gap)][:-1])


def beside(pictures: Sequence[np.ndarray]) -> np.ndarray:
    """Pictures (H, W, 3) uint8 of one height in a row, a white gap between them."""
    gap = np.full((pictures[0].shape[0], GAP, 3), 255, np.uint8)
    return np.concatenate([part for picture in pictures for part in (picture, gap)][:-1], axis=1)
