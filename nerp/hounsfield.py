"""Whether values can be Hounsfield units, judged by where they pile up, not by their extremes alone.

Of ten chest CTs and one of an abdomen, from 0.7 to 10 mm between voxels: 20 to 59 % of the voxels lie within
150 HU of water, soft tissue's peak at -110 to 50 HU; 32 to 66 % lie below -900 HU; 0.1 to 0.9 % are denser than
600 HU; 0.1 to 0.5 % are exactly 0; below -1100 HU lies one filling, and 0.7 % around it; no corner of a grid
holds nine equal values above -900 HU.
"""

from __future__ import annotations

from collections.abc import Iterator
from itertools import product
from pathlib import Path

import numpy as np

from nerp.errors import VolumeError

PADDING_BELOW_HU = -1100.0
"""No matter has less; below it lie only the scanners' fillings (-2000, -2048, -3024)."""

AIR_BELOW_HU = -850.0
"""What fills a grid outside the field of view may be anything below: air, or a scanner's filling."""

SAMPLE = 2**20
"""Voxels that are counted, taken evenly; a share of 1 % is then known to 0.01 %."""

MODEL_VALUES = 64
"""A grid with fewer values was drawn, not scanned: a phantom of plain parts."""

FEW = 10_000
"""Grids of fewer voxels are judged by their extremes alone."""


def check_finite(path: Path, values: np.ndarray) -> None:
    """Refuse what is not finite.

    Args:
        path:   as the message names it.
        values: any shape, HU or labels.

    Raises:
        VolumeError: NaN or infinite values; their share is named.
    """
    if np.isfinite(values.min()) and np.isfinite(values.max()):  # both carry NaN; no mask of the whole volume
        return
    share = 100 * float(1 - np.isfinite(values).mean())
    raise VolumeError(
        f"{path}: holds NaN or infinite values ({share:.2g} % of all); replace them (air is -1000 HU) and try again"
    )


def check_hounsfield(path: Path, values: np.ndarray) -> list[str]:
    """Refuse what surely are no Hounsfield units, and say what is doubtful.

    Args:
        path:   as messages name it.
        values: (I, J, K) float32 HU, finite.

    Returns:
        Doubts, each a clause that can follow the file's name; none for a CT as scanners and resamplers write it.

    Raises:
        VolumeError: constant, unscaled, scaled twice, normalised, inverted, windowed, or filled with what is no
            air; the message says how to repair it.
    """
    _check_extremes(path, values)
    if values.size < FEW:
        return []
    _check_filling(path, values)
    sample = _sample(values)
    _check_density(path, sample)
    _check_ends(path, sample)
    return [*_doubts_of_tissue(sample), *_doubts_of_steps(sample), *_doubts_of_blocks(values)]


def _check_extremes(path: Path, values: np.ndarray) -> None:
    least, most = float(values.min()), float(values.max())
    if least == most:
        raise VolumeError(f"{path}: every voxel is {least:g}; expected a CT, the file holds no image")
    air = least if least >= PADDING_BELOW_HU else float(values[values >= PADDING_BELOW_HU].min(initial=most))
    found = f"{path}: values run from {least:g} to {most:g}"
    if least < -32768 or most > 32767:
        raise VolumeError(
            f"{found}; expected HU within -32768 to 32767: this cannot be a CT, or its filling is to be set to -1000"
        )
    if air >= 0 and most > 255:
        raise VolumeError(f"{found}; expected HU with air near -1000: apply the rescale (often minus 1024) first")
    if most < -500:
        raise VolumeError(
            f"{found}; expected HU with air near -1000 and tissue near 0: it holds air alone, or the intercept "
            "(often -1024) was taken twice"
        )
    if air > -200:
        raise VolumeError(f"{found}; expected HU with air near -1000 and tissue near 0: normalised values are no CT")


def _sample(values: np.ndarray) -> np.ndarray:
    """(N,) values, evenly from the whole grid."""
    step = max(1, round((values.size / SAMPLE) ** (1 / 3)))
    return values[::step, ::step, ::step].ravel()


def _share(mask: np.ndarray) -> float:
    return float(mask.mean())


def _check_filling(path: Path, values: np.ndarray) -> None:
    """Refuse a grid whose corners, or some of whose slices, hold one value that is neither air nor a filling."""
    found = [corner[0] for corner in _corners(values) if (corner == corner[0]).all() and corner[0] > AIR_BELOW_HU]
    if found:
        filling = max(set(found), key=found.count)
        matter = "water" if filling == 0 else "no air"
        raise VolumeError(
            f"{path}: the rim of its grid is filled with {filling + 0:g} HU, which is {matter}; "
            "set what lies outside the field of view to -1000 HU"
        )
    for axis in range(3):
        step = max(1, max(values.shape) // 64)
        planes = np.moveaxis(values, axis, 0)[:, ::step, ::step].reshape(values.shape[axis], -1)
        blank = (planes.min(1) == planes.max(1)) & (planes[:, 0] > AIR_BELOW_HU)
        if blank.any():
            raise VolumeError(
                f"{path}: {int(blank.sum())} slices along axis {axis} hold nothing but {planes[blank][0, 0] + 0:g}; "
                "crop them off, or fetch it again"
            )


def _corners(values: np.ndarray) -> Iterator[np.ndarray]:
    """Nine values at each corner of each face."""
    for axis, end in product(range(3), (0, -1)):
        face = values.take(end, axis=axis)
        for rows, columns in product((slice(0, 3), slice(-3, None)), repeat=2):
            yield face[rows, columns].ravel()


def _check_density(path: Path, sample: np.ndarray) -> None:
    dense = _share(sample > 600)
    if dense > 0.25:
        raise VolumeError(
            f"{path}: {100 * dense:.0f} % of its voxels lie above 600 HU, as bone does; expected a few: "
            "apply the rescale (often minus 1024) first, or turn the sign if it is inverted"
        )
    below = sample[sample < PADDING_BELOW_HU]
    varied = _varied(below) / sample.size
    soft = _share(np.abs(sample) < 150)
    air = _share((sample >= PADDING_BELOW_HU) & (sample < AIR_BELOW_HU))
    if varied > 0.05 and (soft < 0.02 or air < 0.3 * varied):
        raise VolumeError(
            f"{path}: {100 * varied:.0f} % of its voxels lie below {PADDING_BELOW_HU:g} HU and vary; expected air near "
            "-1000: the intercept (often -1024) was taken twice, or the slope is wrong: apply the rescale once"
        )
    if soft < 0.005:
        raise VolumeError(
            f"{path}: {100 * soft:.1f} % of its voxels are within 150 HU of water; expected HU with tissue near 0: "
            "rescale it to HU"
        )


def _varied(below: np.ndarray) -> int:
    """How many values differ from the two most common ones, which are fillings."""
    if not below.size:
        return 0
    counts = np.unique(below, return_counts=True)[1]
    return below.size - int(np.sort(counts)[-2:].sum())


def _check_ends(path: Path, sample: np.ndarray) -> None:
    """Refuse a window that cut lungs or tissue away."""
    inside = sample[sample >= PADDING_BELOW_HU]
    least, most = float(inside.min()), float(inside.max())
    if len(np.unique(inside)) < MODEL_VALUES:
        return
    at_least, at_most = _share(inside == least), _share(inside == most)
    if (least > -850 and at_least > 0.1) or (most < 300 and at_most > 0.03):
        raise VolumeError(
            f"{path}: values are cut off at {least:g} and {most:g} ({100 * at_least:.0f} and {100 * at_most:.0f} % "
            "of all); expected HU from air to bone: give the CT before windowing"
        )


def _doubts_of_tissue(sample: np.ndarray) -> list[str]:
    doubts = []
    below = sample[sample < PADDING_BELOW_HU]
    varied = _varied(below) / sample.size
    if varied > 0.05:
        doubts.append(f"{100 * varied:.0f} % of its voxels vary below -1100 HU: strong noise, or values that are no HU")
    dark = float(np.quantile(sample[sample >= PADDING_BELOW_HU], 0.01))
    if dark > -850:
        doubts.append(f"its darkest voxels lie near {dark:.0f} HU; expected air near -1000: are these HU?")
    matter = sample[(sample > -300) & (sample < 2000)]
    soft = _share(np.abs(sample) < 150)
    if soft < 0.02 or matter.size == 0:
        return [
            *doubts,
            f"only {100 * soft:.1f} % of its voxels are within 150 HU of water: are these HU of a whole chest?",
        ]
    counts, edges = np.histogram(matter, bins=np.arange(-300, 2020, 20))
    peak = edges[np.convolve(counts, np.ones(3), "same").argmax()] + 10
    if abs(peak) > 150:
        doubts.append(f"most of its tissue lies near {peak:.0f} HU; expected -110 (fat) to 60 (muscle): are these HU?")
    elif soft * sample.size < 0.5 * matter.size:
        doubts.append("less than half of its tissue is within 150 HU of water: are these HU?")
    return doubts


def _doubts_of_steps(sample: np.ndarray) -> list[str]:
    """Few values, evenly apart, or many at the top: a picture's window, carried back to HU."""
    values = np.unique(sample[sample >= PADDING_BELOW_HU])
    doubts = []
    if MODEL_VALUES <= len(values) <= 257 and sample.size > 50_000 and np.median(np.diff(values)) > 1.5:
        doubts.append(f"it holds only {len(values)} different values: an 8-bit picture, not the CT itself")
    at_most = _share(sample == values[-1])
    if values[-1] < 1500 and at_most > 0.003 and len(values) >= MODEL_VALUES:
        doubts.append(f"its values end at {values[-1]:g} HU, where {100 * at_most:.1f} % lie: dense bone is cut off")
    return doubts


def _doubts_of_blocks(values: np.ndarray) -> list[str]:
    step = max(1, values.shape[0] // 16)
    planes = values[step // 2 :: step]
    blocks = (planes[:, 1:, 1:] == 0) & (planes[:, :-1, 1:] == 0) & (planes[:, 1:, :-1] == 0)
    share = _share(blocks)
    return [f"{100 * share:.0f} % of its voxels are exactly 0, in blocks: was a part blanked?"] if share > 0.01 else []
