"""Planes in order along their normal, and the affine that their places give; gaps are proven, not assumed."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import groupby
from pathlib import Path

import numpy as np

from nerp.dicom.frames import Frame
from nerp.errors import VolumeError

POSITION_MM = 0.01
"""Two slices closer than this lie at the same place."""

MOST_DISTANCES = 3
WIDEST_TO_NARROWEST = 10.0


@dataclass(frozen=True)
class Stack:
    """Planes from first to last along their normal.

    Args:
        frames:  in order.
        heights: (planes,) mm along the normal, rising.
        affine:  (4, 4) from (column, row, plane) to LPS mm, for evenly spaced planes over the same span.
        planes:  how many of them there are to be; more than there are frames where distances differ.
        remark:  why they are resampled; empty where they are even.
    """

    frames: list[Frame]
    heights: np.ndarray
    affine: np.ndarray
    planes: int
    remark: str


def stacked(path: Path, frames: list[Frame]) -> Stack:
    """Order the planes of a series and prove that they make one grid.

    Args:
        path:   for messages.
        frames: in any order.

    Raises:
        VolumeError: planes of unequal geometry, missing, doubled, out of line or unevenly spaced.
    """
    _check_alike(path, frames)
    normal = frames[0].normal
    heights = np.array([frame.position @ normal for frame in frames])
    order = np.argsort(heights, kind="stable")
    frames, heights = [frames[i] for i in order], heights[order]
    remark, planes = _check_heights(path, frames, heights)
    places = np.stack([frame.position for frame in frames])
    step = (places[-1] - places[0]) / (planes - 1)
    along = (heights - heights[0]) / (heights[-1] - heights[0]) * (planes - 1) if remark else np.arange(planes)
    strays = np.abs(places - places[0] - along[:, None] * step).max(1)
    if strays.max() > max(0.1 * np.linalg.norm(step), 0.1):
        raise VolumeError(f"{path}: slice at {heights[strays.argmax()]:.2f} mm is out of line; expected even steps")
    between_rows, between_columns = frames[0].spacing
    rightwards, downwards = frames[0].orientation.reshape(2, 3)
    affine = np.eye(4)
    affine[:3] = np.stack([rightwards * between_columns, downwards * between_rows, step, places[0]], axis=1)
    return Stack(frames, heights, affine, planes, remark)


def _check_alike(path: Path, frames: list[Frame]) -> None:
    first = frames[0]
    for frame in frames[1:]:
        for tag, one, other in (
            ("Rows", first.rows, frame.rows),
            ("Columns", first.columns, frame.columns),
            ("PixelSpacing", first.spacing, frame.spacing),
            ("ImageOrientationPatient", first.orientation, frame.orientation),
        ):
            if not np.allclose(one, other, atol=1e-3):
                raise VolumeError(
                    f"{path}: slices differ in {tag} ({frame.file.path.name}: {other}, {first.file.path.name}: {one}); "
                    "expected one stack: move the others out"
                )
        if (first.intercept is None) != (frame.intercept is None):
            without = (first if first.intercept is None else frame).file.path.name
            raise VolumeError(f"{path}: {without} has no RescaleIntercept and others have; expected it in all or none")


def _check_heights(path: Path, frames: list[Frame], heights: np.ndarray) -> tuple[str, int]:
    """The remark on differing distances, empty if there are none, and how many even planes the span takes."""
    if len(heights) < 2:
        raise VolumeError(f"{path}: holds 1 slice; expected at least 2 to know their distance")
    gaps = np.diff(heights)
    _check_doubled(path, heights, heights[1:][gaps < POSITION_MM])
    step = np.sort(gaps)[(len(gaps) - 1) // 2]
    tolerance = max(0.1 * step, 0.1)
    is_even = np.abs(gaps - step).max() <= tolerance
    drift = np.abs(heights - np.linspace(heights[0], heights[-1], len(heights))).max()
    if is_even and drift <= tolerance:
        return "", len(frames)
    distances = _distances(gaps, frames)
    if distances:
        steps = " and ".join(f"{distance:.4g} mm ({count} times)" for distance, count in distances)
        planes = round((heights[-1] - heights[0]) / distances[0][0]) + 1
        spacing = (heights[-1] - heights[0]) / (planes - 1)
        return f"slices are {steps} apart; they are interpolated linearly to {spacing:.4g} mm", planes
    if is_even:
        return "", len(frames)  # whatever drifts is found to be out of line
    raise VolumeError(f"{path}: {_gaps_in_words(heights, gaps, step)}")


def _check_doubled(path: Path, heights: np.ndarray, doubled: np.ndarray) -> None:
    places = len(heights) - len(doubled)
    if len(doubled) and len(heights) % places == 0 and places > 1:
        raise VolumeError(
            f"{path}: holds {len(heights)} slices at {places} positions, {len(doubled)} slices doubled, at "
            f"{_listed(doubled)} mm; expected one each: move other phases or copies out"
        )
    if len(doubled):
        raise VolumeError(f"{path}: {len(doubled)} slices doubled, at {_listed(doubled)} mm; remove the copies")


def _gaps_in_words(heights: np.ndarray, gaps: np.ndarray, step: float) -> str:
    missing = [
        low + step * number
        for low, gap in zip(heights[:-1], gaps, strict=True)
        for number in range(1, round(gap / step))
    ]
    if missing:
        return f"{len(missing)} slices missing, at {_listed(missing)} mm; fetch the series again"
    found = Counter(np.round(gaps, 2).tolist()).most_common(3)
    steps = ", ".join(f"{gap:g} mm ({count} times)" for gap, count in found)
    return f"slices are unevenly spaced, {steps}; resample them to one distance first"


def _distances(gaps: np.ndarray, frames: list[Frame]) -> list[tuple[float, int]]:
    """The few constant distances of a stack with none missing, each with its count, rising; else nothing.

    A protocol changes its distance for a stretch of slices, a loss leaves a single wide gap. So each distance has to
    hold for three gaps in a row, or for two between slices that are numbered in a row; one gap may lie
    between two stretches if it is no wider than the wider of them.
    """
    kinds = _kinds(gaps)
    levels = [float(np.median(gaps[kinds == kind])) for kind in range(kinds.max() + 1)]
    runs, at = [], 0
    for kind, members in groupby(kinds.tolist()):
        runs.append((kind, at, at + len(list(members))))
        at = runs[-1][2]
    steady = {kind for kind, start, end in runs if _is_steady(frames[start : end + 1])}
    for number, (kind, start, end) in enumerate(runs):
        between = 0 < number < len(runs) - 1 and end - start == 1
        around = sorted(runs[i][0] for i in (number - 1, number + 1)) if between else []
        is_transition = between and around[0] < kind < around[1] and set(around) <= steady
        if not (_is_steady(frames[start : end + 1]) or is_transition):
            return []
    if len(steady) > MOST_DISTANCES or max(levels) > WIDEST_TO_NARROWEST * min(levels):
        return []
    return [(level, int((kinds == kind).sum())) for kind, level in enumerate(levels)]


def _kinds(gaps: np.ndarray) -> np.ndarray:
    """Which distance each gap is, numbered from the narrowest; equal ones differ by no more than jitter."""
    order = np.argsort(gaps)
    kinds = np.empty(len(gaps), int)
    kind, start = 0, gaps[order[0]]
    for index in order:
        if gaps[index] - start > max(0.05 * start, 0.1):
            kind, start = kind + 1, gaps[index]
        kinds[index] = kind
    return kinds


def _is_steady(frames: list[Frame]) -> bool:
    """Whether a stretch of slices is long enough, or numbered in a row, to show that none is missing."""
    if len(frames) >= 4:
        return True
    instances = [frame.instance for frame in frames if frame.instance is not None]
    return len(frames) == len(instances) == 3 and abs(instances[2] - instances[0]) == 2


def interpolated(planes: np.ndarray, heights: np.ndarray, count: int) -> np.ndarray:
    """Planes at even heights over the same span, each between its two neighbours in proportion.

    Args:
        planes:  (n, rows, columns) HU.
        heights: (n,) mm, rising.
        count:   of planes to make.

    Returns:
        (count, rows, columns) float32 HU; a plane that lies on a given one is equal to it.
    """
    wanted = np.linspace(heights[0], heights[-1], count)
    below = np.clip(np.searchsorted(heights, wanted, side="right") - 1, 0, len(heights) - 2)
    weights = ((wanted - heights[below]) / (heights[below + 1] - heights[below])).astype(np.float32)
    weights[np.abs(weights) < 1e-4], weights[np.abs(weights - 1) < 1e-4] = 0, 1
    made = np.empty((count, *planes.shape[1:]), np.float32)
    for plane, low, weight in zip(made, below, weights, strict=True):
        plane[:] = planes[low] * (1 - weight) + planes[low + 1] * weight
    return made


def _listed(positions: Sequence[float] | np.ndarray) -> str:
    shown = ", ".join(f"{position:.2f}" for position in positions[:5])
    return f"{shown}, ... ({len(positions) - 5} more)" if len(positions) > 5 else shown
